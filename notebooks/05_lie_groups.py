# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # §5 Lie group actions on the metric
#
# Section 4 multiplied Jacobians. Section 5 says what this multiplication is. The frames of the manifold $M$
# ([§2](02_notation.ipynb) says what $M$ is) form a principal bundle, on which the group $GL(d)$ of invertible matrices
# acts from the right. The metrics form a bundle associated with it. Its fibre is a space of metric components, and on
# this fibre $GL(d)$ acts from the left. Each layer of a network contributes one group element at each point of $M$.
#
# For a reader from deep learning: a Jacobian changes the *components* of vectors and of the metric together, so that
# lengths stay. For a geometer: the claims are checked here as they stand, under the hypotheses that the paper states:
# layers are coordinate systems, and the group is $GL(d)$.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live
seed: int = 0  # of the random frames, metrics and group elements
draws: int = 200  # of them for each dimension
dimensions: int = 6  # 1 to this
seeds: int = 100  # trained networks of each order
updates: int = 3000  # gradient steps each

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

import riemlib as rl
from riemlib.bundles import act_on_frame, act_on_metric, change_of_frame, group_elements
from riemlib.companion import notebook, rules
from riemlib.companion.figures import save, section5
from riemlib.companion.rules import order_of_magnitude
from riemlib.companion.statistics import relative_error

notebook.opening("§5 Lie group actions", device=device, time="about half a minute")

# %% [markdown]
# ## One layer by hand: polar coordinates
#
# Let $M$ be the plane without the origin. A network of one layer takes the input coordinates $(r,\theta)$ of a point to
# its output coordinates $(x^1,x^2)=(r\cos\theta,\,r\sin\theta)$. Its Jacobian is
#
# $$h=\begin{pmatrix}\cos\theta & -r\sin\theta\\ \sin\theta & r\cos\theta\end{pmatrix},\qquad
# g^{(0)} = h^{\mathsf T}\,\eta\,h = \begin{pmatrix}1&0\\0&r^2\end{pmatrix}.$$
#
# These two matrices show what this section is about. The columns of $h$ are the coordinate frame
# $(\partial_r,\partial_\theta)$ of the input, written in output coordinates. $h$ is another matrix at every point: a
# function $M\to GL(2)$, not one element of $GL(2)$. The metric of the plane is the same before and after the layer, only
# its components change. At $r=0$ there is no group element: $\det h=r$, and the two columns are no frame. The control
# puts the factors of $g^{(0)}$ the other way round.

# %%
def to_plane(x):
    return torch.stack([x[:, 0] * x[:, 1].cos(), x[:, 0] * x[:, 1].sin()], 1)


r, theta = torch.cartesian_prod(torch.tensor([0.7, 1.3, 1.9]), torch.arange(8) * torch.pi / 4).double().T
h = rl.pushforward_of(to_plane, torch.stack([r, theta], 1))  # by automatic differentiation
by_hand = torch.stack([theta.cos(), -r * theta.sin(), theta.sin(), r * theta.cos()], 1).view(-1, 2, 2)
g = act_on_metric(h, torch.eye(2, dtype=torch.float64), inverse=True)
polar = torch.diag_embed(torch.stack([r**0, r**2], 1))
other_way = relative_error(h @ h.mT, polar)
assert torch.allclose(h, by_hand) and torch.allclose(g, polar) and other_way > 0.1
print(f"h and g as by hand; control, h η hᵀ: off by {other_way:.1g}")
try:
    act_on_frame(torch.eye(2, dtype=torch.float64), torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double())
except ValueError as refusal:
    print("at r = 0, θ = 0:", refusal)
fig = section5.polar_chart(torch.stack([r, theta], 1), h)
save(fig, "section5_polar")
plt.show()

# %% [markdown]
# Does a change of coordinates make the plane curved? The metric $\mathrm{diag}(1,r^2)$ is not constant, and neither are its
# Christoffel symbols: $\Gamma^r_{\theta\theta}=-r$ and $\Gamma^\theta_{r\theta}=1/r$. But its Riemann tensor is 0. The
# control is $\mathrm{diag}(1,\sin^2r)$, the metric of a sphere, whose tensor is not 0.
#
# That $g$ is flat can be seen without any computation. A network gives more than a metric: the $d$ forms $dx^{(L)a}$, with
#
# $$ g=\eta_{ab}\;dx^{(L)a}\otimes dx^{(L)b}. $$
#
# Together they are a *coframe*. It is closed, and it exists at folds and bottlenecks, too, where frames do not. A metric
# alone is a reduction of the frame bundle to $O(d)$. Where the forms of the closed coframe are independent, $g$ is flat
# (§4).

# %%
def metric(x, circle=torch.square):
    return torch.diag_embed(torch.stack([torch.ones_like(x[:, 0]), circle(x[:, 0])], 1))


at = torch.stack([r, theta], 1)
Gamma, R = rl.christoffel(metric, at), rl.riemann(metric, at)
assert torch.allclose(Gamma[:, 0, 1, 1], -r) and torch.allclose(Gamma[:, 1, 0, 1], 1 / r) and R.abs().max() < 1e-12
sphere = rl.riemann(lambda x: metric(x, lambda r: r.sin() ** 2), at).flatten(1).abs().amax(1)
assert sphere.min() > 0.1
print("Γ as by hand at all points; the Riemann tensor is below", order_of_magnitude(1e-12), end="; ")
print(f"control, a sphere: {sphere.min():.1g} or more")

# %% [markdown]
# ## Frames (Definition 5.1)
#
# A frame at a point $q\in M$ is a basis $(e_1, \dots, e_d)$ of the tangent space $T_qM$. Its vectors are the columns of
# an invertible matrix. All frames at all points are the frame bundle $LM$. A group element $h \in GL(d)$ makes of a frame
# another one at the same point:
#
# $$(e \triangleleft h)_a = e_b\, h^b{}_a .$$
#
# In components this is a matrix product on the right, `act_on_frame(e, h)`. That $LM$ is a principal bundle takes three
# lines.
#
# 1. $e \triangleleft 1 = e$ and $(e \triangleleft h) \triangleleft k = e \triangleleft (hk)$: a right action. It is free,
#    since $eh=e$ and $e$ invertible give $h=1$. It moves each fibre to itself and any frame to any other, $h=e^{-1}f$:
#    the orbits are the fibres, and $LM$ divided by the action is $M$.
# 2. Over the domain $U$ of a chart a frame is a point and an invertible matrix: $LM|_U=U\times GL(d)$, on whose second
#    factor the group acts by products from the right.
# 3. A change of chart with Jacobian $J$ multiplies each frame by $J$ from the *left*, and $J(eh)=(Je)h$. So the action is
#    the same in all charts.
#
# Where a layer's coordinates are a chart of all of $M$, its coordinate frame is a section of $LM$ over all of $M$, and
# $LM=M\times GL(d)$ is not twisted. The cells below are unit tests of the three lines, for the functions that this
# notebook uses.

# %%
cases = [group_elements(5 * draws, d, seed=seed + d, device=device).split(draws) for d in range(1, dimensions + 1)]


def frame_laws(e, f, h, k, J):
    """How far the laws are from holding, for frames e, f, elements h, k and the Jacobian J of a change of chart."""
    one, moved = torch.eye(e.shape[-1]).to(e), act_on_frame(e, h)
    return {
        "identity": relative_error(act_on_frame(e, one), e),
        "composition": relative_error(act_on_frame(moved, k), act_on_frame(e, h @ k)),
        "transitive on a fibre": relative_error(act_on_frame(e, change_of_frame(e, f)), f),
        "free": relative_error(change_of_frame(e, moved), h),
        "the same in every chart": relative_error(act_on_frame(J @ e, h), J @ moved),
    }


frame_errors = pd.DataFrame([frame_laws(*case) for case in cases]).max().to_dict()  # over the dimensions
for law, error in frame_errors.items():
    print(f"{law:24} holds to {order_of_magnitude(error)}")


# %% [markdown]
# The controls of these unit tests are wrong actions. Another element takes the place of 1. The element that moves a
# frame to another is written in the wrong order, $fe^{-1}$. A product with $h$ from the left composes in the wrong
# order, and depends on the chart. The last control drops the demand that the vectors be independent. Then the action is
# not free: where the last vector of the "frame" is zero, stretching it does nothing, and the group element cannot be
# found again.


# %%
def wrong_frame_laws(e, f, h, k, J):
    """How far the same laws are from holding for wrong actions."""
    dependent = torch.cat([e[..., :-1], torch.zeros_like(e[..., -1:])], -1)
    return {
        "another element than 1": relative_error(act_on_frame(e, h), e),
        "wrong order, transitive": relative_error(act_on_frame(e, f @ torch.linalg.inv(e)), f),
        "left product, composition": relative_error(k @ (h @ e), (h @ k) @ e),
        "left product, another chart": relative_error(h @ (J @ e), J @ (h @ e)),
        "free, dependent vectors": relative_error(torch.linalg.pinv(dependent) @ (dependent @ h), h),
    }


several = cases[1:]  # in one dimension all matrices commute
frame_controls = pd.DataFrame([wrong_frame_laws(*case) for case in several]).min().to_dict()
for law, error in frame_controls.items():
    print(f"{law:28} is off by {error:.1f}")
assert max(frame_errors.values()) < 1e-10 < min(frame_controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "frame-bundle",
    rules.identity(frame_errors, frame_controls),
    {
        "dimensions": [1, dimensions],
        "frames per dimension": draws,
        "largest error of the unit tests": order_of_magnitude(max(frame_errors.values())),
        "controls": frame_controls,
    },
    protocol="A proof of three lines, and unit tests of it: relative deviation in float64 over random frames and group "
    "elements with singular values in [1/2, 2], of both orientations.",
)

# %% [markdown]
# ## Metrics (Definition 5.2)
#
# Let the group act on metric components from the left:
#
# $$h \triangleright g = h^{-\mathsf T} g\, h^{-1}, \qquad\text{so that}\qquad h^{-1} \triangleright g
# = h^{\mathsf T} g\, h .$$
#
# Two pairs are called the same when one group element moves both:
#
# $$(e,\, g) \sim (e \triangleleft h,\; h^{-1} \triangleright g) .$$
#
# A class of pairs is a point of the associated bundle. It is the same thing as a bilinear form on the tangent space.
# Write two vectors in the frame, $u = e\,\hat u$ and $v = e\,\hat v$, and take $\hat u^{\mathsf T} g\, \hat v$. When
# the frame changes by $h$, the components of the vectors change by $h^{-1}$ and the metric by $h^{\mathsf T} \cdot h$.
# The number stays. In one line: the form is $e \triangleright g$, and
# $(e \triangleleft h) \triangleright (h^{-1} \triangleright g) = e \triangleright g$, because $\triangleright$ is a
# left action.
#
# The picture shows four representatives of one class. In the upper row the frames differ, and the unit ball is the same
# ellipse in all of them. The lower row shows the ellipse in the components of each frame. In the last column these
# components are the unit matrix: a metric is determined by the set of its orthonormal frames. The dashed ellipses are
# what $h^{-1}g\,h^{-\mathsf T}$ gives in place of $h^{\mathsf T}g\,h$. That is the rule for the components $g^{ab}$, with
# upper indices.

# %%
e, f, h, root = (m.cpu() for m in group_elements(4, 2, seed=seed + 5, spread=1.8, device=device))
g = root.mT @ root
orthonormal = change_of_frame(e, torch.linalg.inv(torch.linalg.cholesky(act_on_metric(e, g))).mT)
moves = torch.stack([torch.eye(2, dtype=e.dtype), f, h, orthonormal])
same, upper = act_on_metric(moves, g, inverse=True), act_on_metric(moves.mT, g)
names = ["$e$", r"$e \triangleleft h$", r"$e \triangleleft k$", "orthonormal"]
fig = section5.one_class(act_on_frame(e.expand_as(moves), moves), same, upper, names)
save(fig, "section5_one_class")
plt.show()

# %% [markdown]
# In JupyterLab, sliders above the figure set the group element $h$ that moves the frame in the middle. Look at the ellipse
# in the upper row: it stays as it is, while its components below change. Set all four entries to 1: this $h$ is singular,
# so it moves no frame, and `act_on_frame` refuses it.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

frame, form, to_orthonormal = e, g, orthonormal  # later cells use the names on the right again


def frame_moved_by(h11=1.0, h12=0.8, h21=0.0, h22=1.0):
    """The class of the picture above, with the frame moved by this h in the middle."""
    h = torch.tensor([[h11, h12], [h21, h22]], dtype=frame.dtype)
    moves = torch.stack([torch.eye(2, dtype=frame.dtype), h, to_orthonormal])
    moved = act_on_frame(frame.expand_as(moves), moves)
    components, upper = act_on_metric(moves, form, inverse=True), act_on_metric(moves.mT, form)
    return section5.one_class(moved, components, upper, [names[0], names[1], names[3]])


play(frame_moved_by, **{entry: (-2.0, 2.0, 0.1) for entry in ("h11", "h12", "h21", "h22")})

# %% [markdown]
# The unit tests compute the number $\hat u^{\mathsf T} g\,\hat v$ from its definition. They solve for the components of
# random vectors in each frame, in each of two charts. They never use the shorter form $e \triangleright g$.
#
# Each law has a control.
#
# - Another element than 1 moves $g$. The same element twice does not undo itself. A form that is not positive does not
#   become positive.
# - $h^{\mathsf T}gh$, taken as a left action, composes in the wrong order.
# - The rule for $g^{ab}$ does not keep the number of a class. Nor does a chart that moves the frame and not the vectors.
# - To move the components alone, $[e,g]\mapsto[e,\,h\triangleright g]$, is no action on the associated bundle: for two
#   representatives of one class it gives two different metrics.


# %%
def number(e, u, g):
    """What the components g of a metric in the frame e give on all pairs of the d vectors in u."""
    components = change_of_frame(e, u)
    return components.mT @ g @ components


# %%
def wrong_metric_laws(e, u, h, k, root):
    """How far wrong rules are from holding."""
    g = root.mT @ root
    twice = act_on_metric(h, act_on_metric(h, g))
    other_e, other_g = act_on_frame(e, k), act_on_metric(k, g, inverse=True)  # the same class
    one, other = number(e, u, act_on_metric(h, g)), number(other_e, u, act_on_metric(h, other_g))
    return {
        "another element than 1": relative_error(act_on_metric(h, g), g),
        "the same element twice, undone": relative_error(twice, g),
        "a form that is not positive": float((torch.linalg.eigvalsh(act_on_metric(h, -g)) <= 0).sum()),
        "frame in another chart, vectors not": relative_error(number(k @ e, u, g), number(e, u, g)),
        "the rule for upper indices, number of a class": relative_error(
            number(act_on_frame(e, h), u, act_on_metric(h.mT, g)), number(e, u, g)
        ),
        "h^T g h as a left action, composition": relative_error(h.mT @ (k.mT @ g @ k) @ h, (h @ k).mT @ g @ (h @ k)),
        "components moved alone, two representatives": relative_error(other, one),
    }


# %%
def metric_laws(e, u, h, k, root):
    """How far the laws are from holding, for a frame e, vectors u, group elements h, k and the metric root^T root."""
    one, g = torch.eye(e.shape[-1]).to(e), root.mT @ root
    acted, back = act_on_metric(h, g), act_on_metric(h, g, inverse=True)
    return {
        "identity": relative_error(act_on_metric(one, g), g),
        "composition": relative_error(act_on_metric(h, act_on_metric(k, g)), act_on_metric(h @ k, g)),
        "the inverse undoes": relative_error(act_on_metric(h, back), g),
        "stays positive": float((torch.linalg.eigvalsh(acted) <= 0).sum()),
        "one number for a class": relative_error(number(act_on_frame(e, h), u, back), number(e, u, g)),
        "one number in every chart": relative_error(number(k @ e, k @ u, g), number(e, u, g)),
    }


# %%
metric_errors = pd.DataFrame([metric_laws(*case) for case in cases]).max().to_dict()
metric_controls = pd.DataFrame([wrong_metric_laws(*case) for case in several]).min().to_dict()
for law, error in metric_errors.items():
    print(f"{law:46} holds to {'0' if error == 0 else order_of_magnitude(error)}")
for law, error in metric_controls.items():
    print(f"{law:46} is off by {error:.1g}")
assert max(metric_errors.values()) < 1e-10 < min(metric_controls.values())

# %% [markdown]
# ## What the fibre has to be
#
# The paper writes the fibre as $F = (\mathbb R^d)^* \times (\mathbb R^d)^*$. This is a slip of notation: the tensor
# product $\otimes$ is meant, since a pair of covectors gives a form of rank one. Its elements that are metrics are
#
# $$F = \{\, g \in (\mathbb R^d)^* \otimes (\mathbb R^d)^* : g_{ab} = g_{ba},\ g_{ab}v^av^b > 0
# \text{ for } v \neq 0 \,\}.$$
#
# On this fibre the action is closed, as the unit tests show, and transitive: $F = GL(d)/O(d)$. The convention is right as
# the paper has it. It writes the left action through its inverse, $h^{-1} \triangleright g$, with two factors $h$ and no
# inverse in it. The inverses are in $\triangleright$ itself.

# %% tags=["nbval-check-output"]
notebook.decide(
    "associated-bundle",
    rules.identity(metric_errors, metric_controls),
    {
        "dimensions": [1, dimensions],
        "metrics per dimension": draws,
        "largest error of the unit tests": order_of_magnitude(max(metric_errors.values())),
        "controls": metric_controls,
    },
    protocol="Left-action axioms, positivity, and the number that a class gives on vectors; F are the symmetric "
    "positive forms in the tensor product; relative deviation, float64.",
)

# %% [markdown]
# ## The network as a sequence of left actions (Equation 14)
#
# Let $h_l(q) = \partial x^{(l+1)} / \partial x^{(l)}$ at the point $q$. Eq. 14 says, for the metric of the input,
#
# $$g^{(0)} = (h_0^{-1} \bullet h_1^{-1} \bullet \dots \bullet h_{L-1}^{-1}) \triangleright \eta
# = (h_{L-1} \cdots h_0)^{\mathsf T}\, \eta\, (h_{L-1} \cdots h_0), \tag{14}$$
#
# the element of the last layer first. What this means takes five sentences.
#
# 1. On an open set $U\subset M$ where every layer's Jacobian is invertible, the coordinate frames $\partial^{(l)}$ are
#    $L+1$ sections of one frame bundle, $\partial^{(l)}(q)=\partial^{(l+1)}(q)\triangleleft h_l(q)$; here $h_l$ is a
#    function $U\to GL(d)$, not an element of $GL(d)$.
# 2. The metric is one section of the associated bundle, $\gamma(q)=[\partial^{(l)}(q),\,g^{(l)}(q)]$ for every $l$, and
#    $g^{(l)}(q)=h_l(q)^{-1}\triangleright g^{(l+1)}(q)$.
# 3. So "a sequence of left actions" is a sequence of changes of section: functions $U\to GL(d)$, multiplied point by
#    point, act from the left on the functions $U\to F$ of components, while $\gamma$ stays.
# 4. It is no action of $GL(d)$ on the associated bundle, which would depend on the representative unless $h$ is a multiple
#    of 1 (the last control above), and no automorphism of the bundle.
# 5. Read actively, each layer is a local diffeomorphism whose lift $(x,e)\mapsto(\varphi(x),\,h(x)e)$ commutes with
#    $\triangleleft$, and $g^{(l)}=\varphi^*g^{(l+1)}$ gives the same matrices; only the pullback survives where $h$ is
#    singular or not square, and then its $g$ may leave $F$.
#
# The hypotheses are the paper's own: layers are coordinate systems, and the group is $GL(d)$. So we check Eq. 14 on
# trained networks of orders 0 and 1 at data points away from folds, where the condition number of $h_{L-1}\cdots h_0$ is
# at most 1000: to undo such a product costs six of the sixteen digits of float64.
#
# The left side is computed in two ways: one action after the other, and the product of the group elements first, which
# needs every inverse. The right side is automatic differentiation of the whole network. There are two controls. In one
# the first layer acts first. In the other all Jacobians are taken at the coordinates of the input.

# %%
conditions = {f"C{order}": rl.Condition(order=order, updates=updates) for order in (0, 1)}
study = rl.study(conditions.values(), seeds=range(seeds), device=device)
sample = study.trained(conditions["C1"]).points
depth = conditions["C1"].depth


def away_from_folds(net):
    """Some data points at which the composed Jacobian has a condition number of at most 1000."""
    x = sample.x[::10]
    return x[torch.linalg.cond(rl.pushforward(net, x)) <= 1000]


def pulled_back(h, g):
    """h^-1 ▷ g, made symmetric: what many layers leave of rounding is removed."""
    g = act_on_metric(h, g, inverse=True)
    return (g + g.mT) / 2


# %%
def equation_14(net, x):
    """How far both forms of the left side of Eq. 14 are from automatic differentiation, and how far wrong ones are."""
    hs, at_input = rl.jacobians(net, x), [rl.jacobians(net[l : l + 1], x)[0] for l in range(depth)]
    expected = rl.pullback_metric(net[:], x)
    acted = wrong_order = wrong_points = composed = torch.eye(2, dtype=x.dtype).expand_as(hs[0])
    for h, first, misplaced in zip(reversed(hs), hs, reversed(at_input), strict=True):
        acted = pulled_back(h, acted)
        wrong_order = pulled_back(first, wrong_order)
        wrong_points = pulled_back(misplaced, wrong_points)
        composed = composed @ torch.linalg.inv(first)
    return {
        "one after the other": relative_error(acted, expected),
        "product first": relative_error(act_on_metric(composed, torch.eye(2, dtype=x.dtype)), expected),
        "control: first layer first": relative_error(wrong_order, expected),
        "control: all Jacobians at the input point": relative_error(wrong_points, expected),
    }


# %%
rows = []
for kind, condition in conditions.items():
    trained = study.trained(condition)
    for s, net in zip(trained.seeds, trained.networks, strict=True):
        x = away_from_folds(net)
        if len(x) and not trained.error[trained.seeds.index(s)].isnan():
            rows.append({"network": kind, "points": len(x), **equation_14(net, x)})
rows = pd.DataFrame(rows)
found = {name: rows.groupby("network")[name] for name in rows.columns[2:]}
equal = {f"{name}, trained {kind}": e for name in rows.columns[2:4] for kind, e in found[name].max().items()}
wrong = {f"{name[9:]}, trained {kind}": e for name in rows.columns[4:] for kind, e in found[name].min().items()}
for kind, table in rows.groupby("network"):
    print(f"{kind}: {len(table)} networks with such points, {int(table['points'].sum())} points")
for name, error in equal.items():
    print(f"{name:44} holds to {order_of_magnitude(error)}")
for name, error in wrong.items():
    print(f"{name:60} is off by {error:.2g} at least")

# %% [markdown]
# ## Frames carried through a trained network
#
# The picture shows frames that the Jacobians carry through the layers, at a few points of the spirals. The upper row
# starts with the coordinate frame of the input. The lower row is the frame that ends as the unit frame of the output,
# with the ball of the metric. Each frame, with its ball, is drawn to a size of its own. The title says which network is
# drawn, and its percentile in elongation: the median ratio of the axes of its balls at the input, among all seeds.
#
# In every layer the arrows of the lower row are conjugate radii of the ellipse: the frame is orthonormal for $g^{(l)}$,
# whatever the coordinates are. Read from right to left, the lower row is Eq. 14. Where the network squeezes one
# direction, the two arrows of the upper row come together and the ellipse of the lower row is very thin. The frame of
# the upper row is the control: it is not orthonormal.

# %%
run = study.trained(conditions["C1"])
drawn = run.typical_seed
net, error = run.network(drawn).double(), 100 * float(run.error[run.seeds.index(drawn)])
print(f"{int(run.solved.sum())} of {seeds} networks reach 0.0 % error; the drawn one has {error:.1f} %")
at = torch.arange(len(sample) // 12, len(sample), len(sample) // 6)
carried = [torch.eye(2, dtype=torch.float64, device=device).expand(len(at), 2, 2)]
for h in rl.jacobians(net, sample.x[at]):
    carried.append(h @ carried[-1])
to_unit = change_of_frame(carried[-1], carried[0])
orthonormal = [act_on_frame(e, to_unit) for e in carried]
balls = [rl.balls_of(rl.pushforward(each.double(), sample.x), 1.0) for each in run.networks]
ratios = pd.Series([float(ball.condition_number.sqrt().median()) for ball in balls], index=run.seeds)
percentile = 100 * float((ratios < ratios[drawn]).mean())
geometry = rl.geometry(net, sample.x)
pushforwards = [P[at] for P in geometry.P]

# %%
drawn_layers = [0, depth // 4, depth // 2, 3 * depth // 4, depth]
on_cpu = [[t.cpu() for t in part] for part in (carried, orthonormal, pushforwards)]
coordinates = [x.cpu() for x in geometry.x]
title = f"C1, seed {drawn}: median late loss of the seeds with the least error ({error:.1f} %); "
title += f"percentile {percentile:.0f} of all {seeds} in elongation"
fig = section5.frames_through_layers(coordinates, sample.label.cpu(), at.cpu(), *on_cpu, drawn_layers, title=title)
save(fig, "section5_frames")
plt.show()

# %%
def off_orthonormal(frames):
    """How far frames in every layer are from orthonormal for g: the largest entry of e^T g e - 1, layer by layer."""
    pushed = [P @ e for P, e in zip(pushforwards, frames, strict=True)]  # their Gram matrix is e^T g e
    return [float((frame.mT @ frame - carried[0]).abs().max()) for frame in pushed]


off, not_moved = max(off_orthonormal(orthonormal)), min(off_orthonormal(carried))
print(f"orthonormal for g in every layer, to {order_of_magnitude(off)}; ", end="")
print(f"control, the upper row: off by {not_moved:.1g} or more")
assert off < 1e-6 < 0.1 < not_moved

# %% [markdown]
# ## Where there is no group element
#
# Eq. 14 with its $h^{-1} \triangleright$ on the left needs every $h_l$ in $GL(d)$. The matrices on its right do not
# need that. Where a Jacobian is singular there is no group element. What remains is a set of matrices with a product but
# without inverses, a *monoid*: metrics can still be pulled back, but not pushed forward again. A ReLU layer without the
# identity path has singular Jacobians on open sets. The Jacobian of a bottleneck is not even square.
#
# Trained networks like the paper's fold the plane; §2 says when, draws it, and measures how often. On the fold curve the
# determinant of a layer is 0. At a data point it almost surely is not. The left panel shows how near to singular the
# layers of trained networks are at the data: the ratio of the least singular value $\sigma_{\min}$ to the largest. The
# right panel shows in how many networks a layer has both signs of the determinant in the square that holds the spirals.

# %%
f64 = {"seed": seed, "dtype": torch.float64, "device": device}
relu = rl.CkNetwork([2, 2], order=0, activation="relu", **f64)
(h,) = rl.jacobians(relu, sample.x)
rank = torch.linalg.matrix_rank(h)
rank_shares = [f"{float((rank == k).double().mean()):.2f}" for k in range(3)]
print("ReLU layer, share of points with Jacobian of rank 0, 1, 2:", rank_shares)
try:
    act_on_metric(h, torch.eye(2, dtype=torch.float64, device=device).expand_as(h))
except ValueError as refusal:
    print("the left action refuses it:", refusal)
narrow = rl.CkNetwork([2, 1, 2], order=0, **f64)
rank = torch.linalg.matrix_rank(rl.pushforward(narrow, sample.x))
print("bottleneck, Jacobian shapes:", [tuple(h.shape[1:]) for h in rl.jacobians(narrow, sample.x)])
print("rank of its metric at the input:", int(rank.max()))

# %%
side = torch.linspace(-1, 1, 81, dtype=torch.float64, device=device)
square = torch.cartesian_prod(side, side)
negative = torch.stack([torch.linalg.det(torch.stack(rl.jacobians(net, square))) < 0 for net in run.networks])
at_data = torch.stack([torch.stack(rl.jacobians(net, sample.x[::10])) for net in run.networks])
folds = pd.MultiIndex.from_product([run.seeds, range(depth)], names=["seed", "layer"]).to_frame(index=False)
folds = folds.assign(square=(negative.any(2) & ~negative.all(2)).flatten().numpy())
values = torch.linalg.svdvals(at_data)
ratio = values[..., -1] / values[..., 0]
folding = int(folds.groupby("seed")["square"].any().sum())
print(f"{folding} of {seeds} trained networks fold in the square;")
print(f"σ_min / σ_max at the data: median {float(ratio.median()):.2f}")
fig = section5.invertibility(ratio, folds)
save(fig, "section5_invertibility")
plt.show()

# %% [markdown]
# ## Order 2, a remark of ours
#
# At order 2 the state is $(x, D_1)$, with the difference quotient $D_1$ of §3. The first layer embeds $x$ in the space of
# states, and from the second layer on $h_l\in GL(2d)$. But the form that is pulled back to a layer $l\ge1$ is no metric
# in the sense of Def. 4.1: $g^{(l)}$ is a $2d\times2d$ matrix of rank at most $d$. Its null directions are the
# displacements of the state that do not change the output. At layer 0 the form is $d\times d$, and a metric where $P$ is
# invertible.

# %%
second = rl.CkNetwork([2] * (depth + 1), order=2, **f64)
Ps = rl.geometry(second, sample.x[::10]).P
ranks = [f"{P.shape[2]}: {int(torch.linalg.matrix_rank(P).max())}" for P in Ps]
print("order 2, size of g and its largest rank, layer by layer:", *ranks, sep="  ")

# %% tags=["nbval-check-output"]
notebook.decide(
    "left-actions",
    rules.identity(equal, wrong, tolerance=1e-8),
    {
        "trained networks looked at": rows.groupby("network").size().to_dict(),
        "points": rows.groupby("network")["points"].sum().to_dict(),
        "largest error": order_of_magnitude(max(equal.values())),
        "least error of each control": wrong,
        "secondary: trained C1 networks that fold in the square (charged to §2)": f"{folding} of {seeds}",
    },
    protocol="Orders 0 and 1, where layers are coordinate systems, as the paper assumes: trained networks, data points "
    "with a condition number of at most 1000; relative deviation in float64 from automatic differentiation.",
)

# %%
from riemlib.companion.references import references

references()

# %%
notebook.closing(seed=seed, drawn={"the carried frames": drawn})
