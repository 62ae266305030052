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
# Section 4 multiplied Jacobians. Section 5 says what this multiplication is. The frames of the data manifold form a
# principal bundle, on which $GL(d)$ acts from the right. The metrics form a bundle associated with it, on which $GL(d)$
# acts from the left. A network moves the metric by one group element for each layer.
#
# For a reader from deep learning: a Jacobian changes the *components* of vectors and of the metric at once. Nothing
# that has a meaning depends on the components that one writes down. For a geometer: the claims are checked here as they
# stand. The notebook also states the convention that makes them true, the space that the fibre has to be, and where
# there is no group element.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live
seed: int = 0  # of the random frames, metrics and group elements
draws: int = 200  # of them for each dimension
dimensions: int = 6  # 1 to this
points: int = 1000  # on the spirals
depth: int = 10  # layers of the trained networks
seeds: int = 24  # of them
updates: int = 2000  # gradient steps each

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

# %%
notebook.opening("§5 Lie group actions", device=device)

# %% [markdown]
# ## Frames (Definition 5.1)
#
# A frame at a point is a basis $(e_1, \dots, e_d)$ of the tangent space. Its vectors are the columns of an invertible
# matrix. All frames at all points are the frame bundle $LM$. A group element $h \in GL(d)$ makes of a frame another one
# at the same point:
#
# $$(e \triangleleft h)_a = e_b\, h^b{}_a .$$
#
# In components this is a matrix product on the right, `act_on_frame(e, h)`. Three things make $LM$ a principal bundle.
#
# - It is a right action: $e \triangleleft 1 = e$ and $(e \triangleleft h) \triangleleft k = e \triangleleft (hk)$.
# - It is free: only $h = 1$ leaves a frame where it is.
# - Its orbits are exactly the fibres, so that $LM$ divided by the action is $M$ again. The action keeps the point. For
#   two frames at one point there is an $h$ from one to the other, which `change_of_frame` finds.
#
# The word *bundle* contains one more condition. A tangent space has no components before a chart is chosen. A change of
# chart with Jacobian $J$ multiplies every frame by $J$ from the *left*. The action has to mean the same in all charts,
# so it has to commute with this product. This is why it acts on the right. The same matrices acting on the left obey
# the axioms of a group action just as well, but they do not commute with $J$. Now take a layer whose coordinates are a
# chart of all the data. Its coordinate frame is a section of $LM$ over all of the data. So the bundle is the product
# $M \times GL(d)$: it is not twisted, and the group acts on the second factor.

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
# The controls are wrong actions. A product with $h$ from the left composes in the wrong order, and depends on the
# chart. The third control drops the demand that the vectors be independent. Then the action is not free: where the last
# vector of the "frame" is zero, stretching it does nothing, and the group element cannot be found again.


# %%
def wrong_frame_laws(e, f, h, k, J):
    """How far the same laws are from holding for wrong actions."""
    dependent = torch.cat([e[..., :-1], torch.zeros_like(e[..., -1:])], -1)
    return {
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
        "largest error": order_of_magnitude(max(frame_errors.values())),
        "controls": frame_controls,
    },
    protocol="Relative deviation in float64 over random frames and group elements with singular values in [1/2, 2], "
    "of both orientations.",
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
# components are the unit matrix: a metric is the class of the frames that are orthonormal for it. The dashed ellipses
# are what $h^{\mathsf T}$ in place of $h^{-\mathsf T}$ gives.

# %%
e, f, h, root = (m.cpu() for m in group_elements(4, 2, seed=seed + 5, spread=1.8, device=device))
g = root.mT @ root
orthonormal = change_of_frame(e, torch.linalg.inv(torch.linalg.cholesky(act_on_metric(e, g))).mT)
moves = torch.stack([torch.eye(2, dtype=e.dtype), f, h, orthonormal])
same, transposed = act_on_metric(moves, g, inverse=True), act_on_metric(moves.mT, g)
names = ["$e$", r"$e \triangleleft h$", r"$e \triangleleft k$", "orthonormal"]
fig = section5.one_class(act_on_frame(e.expand_as(moves), moves), same, transposed, names)
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
    components, transposed = act_on_metric(moves, form, inverse=True), act_on_metric(moves.mT, form)
    return section5.one_class(moved, components, transposed, [names[0], names[1], names[3]])


play(frame_moved_by, **{entry: (-2.0, 2.0, 0.1) for entry in ("h11", "h12", "h21", "h22")})

# %% [markdown]
# The check computes the number $\hat u^{\mathsf T} g\,\hat v$ from its definition. It solves for the components of
# random vectors in each frame, in each of two charts. It never uses the shorter form $e \triangleright g$.


# %%
def number(e, u, g):
    """What the components g of a metric in the frame e give on all pairs of the d vectors in u."""
    components = change_of_frame(e, u)
    return components.mT @ g @ components


def wrong_number(e, u, h, k, root):
    """How far the number of a class is from one number, with h^T in place of h^-T."""
    g = root.mT @ root
    return relative_error(number(act_on_frame(e, h), u, act_on_metric(h.mT, g)), number(e, u, g))


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
metric_controls = {"h^T for h^-T, number of a class": min(wrong_number(*case) for case in cases)}
for law, error in (metric_errors | metric_controls).items():
    print(f"{law:34} {'0' if error == 0 else order_of_magnitude(error)}")
assert max(metric_errors.values()) < 1e-10 < min(metric_controls.values())

# %% [markdown]
# ## What the fibre has to be
#
# The paper takes as fibre the product of two cospaces, $F = (\mathbb R^d)^* \times (\mathbb R^d)^*$. Read as it is
# written, this is a pair of covectors $(\alpha, \beta)$. The bilinear form that belongs to it, $\alpha_a \beta_b$, has
# rank one. No metric in more than one dimension has rank one. The tensor product
# $(\mathbb R^d)^* \otimes (\mathbb R^d)^*$ is large enough. But it also contains forms that are not symmetric, not
# positive, or degenerate. The fibre that is meant is
#
# $$F = \{\, g \in (\mathbb R^d)^* \otimes (\mathbb R^d)^* : g_{ab} = g_{ba},\ g_{ab}v^av^b > 0
# \text{ for } v \neq 0 \,\}.$$
#
# On this fibre the action is closed, as checked above, and transitive: $F = GL(d)/O(d)$. Each metric is a class of
# orthonormal frames, as drawn. The convention needs care, too. The paper writes the left action through its inverse,
# $h^{-1} \triangleright g$, with two factors $h$ and no inverse in it. This is right. The inverses are in
# $\triangleright$ itself.

# %%
ranks = [torch.linalg.matrix_rank(root.mT @ root) for *_, root in cases]
beyond = sum(int((rank > 1).sum()) for rank in ranks)
tried = sum(len(rank) for rank in ranks)
print("dimension d, rank of a metric, rank of a pair of covectors:")
print(", ".join(f"({d}, {int(rank.min())}, 1)" for d, rank in enumerate(ranks, 1)))

# %% tags=["nbval-check-output"]
notebook.decide(
    "associated-bundle",
    rules.given(
        rules.identity(metric_errors, metric_controls),
        beyond,
        tried,
        when="with F the symmetric positive forms",
        otherwise="a metric is not in the product of the two cospaces",
    ),
    {
        "dimensions": [1, dimensions],
        "metrics per dimension": draws,
        "largest error": order_of_magnitude(max(metric_errors.values())),
        "controls": metric_controls,
    },
    protocol="Left-action axioms, positivity, and the number that a class gives on vectors; relative deviation, "
    "float64.",
)

# %% [markdown]
# ## The network as a sequence of left actions (Equation 14)
#
# Let $h_l = \partial x^{(l+1)} / \partial x^{(l)}$ at a point. The coordinate frame of layer $l$ is that of layer
# $l + 1$ moved by $h_l$: $\partial^{(l)} = \partial^{(l+1)} \triangleleft h_l$. This is the chain rule. So the
# components of the metric move by $h_l^{-1} \triangleright$:
#
# $$g^{(0)} = (h_0^{-1} \bullet h_1^{-1} \bullet \dots \bullet h_{L-1}^{-1}) \triangleright \eta
# = (h_{L-1} \cdots h_0)^{\mathsf T}\, \eta\, (h_{L-1} \cdots h_0). \tag{14}$$
#
# The element of the last layer acts first. The pairs (coordinate frame, metric components) of all the layers are one
# class. So the network does not change the metric. Its layers are representatives of one point of the associated
# bundle. In the coordinates of the input the metric is complicated. In those of the output it is Euclidean.

# %%
sample = rl.spiral(points, dtype=torch.float64, device=device)
kinds = {
    "order 0": {"order": 0},
    "order 1": {"order": 1},
    "order 1, ReLU": {"order": 1, "activation": "relu"},
    "order 1, short steps": {"order": 1, "step": 1 / depth},
    "order 2": {"order": 2},
    "order 3": {"order": 3},
    "mixed": {"order": [1, 2, 0, 1] + [1] * (depth - 4)},
}
f64 = {"seed": seed, "dtype": torch.float64, "device": device}
nets = {kind: rl.CkNetwork([2] * (depth + 1), **{"step": 0.5} | kinds[kind], **f64) for kind in kinds}
nets = {kind: net.requires_grad_(False) for kind, net in nets.items()}

# %%
equal = {}
for name, net in nets.items():
    expected = rl.pullback_metrics(net, sample.x)
    g, errors = expected[-1], []
    for h, e in zip(reversed(rl.jacobians(net, sample.x)), expected[-2::-1], strict=True):
        g = act_on_metric(h, g, inverse=True)
        errors.append(relative_error(g, e))
    equal[name] = max(errors)
    equal[f"{name}, autodiff"] = relative_error(g, rl.pullback_metric(net[:], sample.x))
    to_sweep, to_autodiff = order_of_magnitude(equal[name]), order_of_magnitude(equal[f"{name}, autodiff"])
    print(f"{name:22} {to_sweep:>6}   against automatic differentiation {to_autodiff:>6}")

# %% [markdown]
# The left side of Eq. 14 can be read in another way: compose the group elements first, and let the product act once.
# This way uses the group, because it needs every inverse. It is checked on the network with short steps, whose
# Jacobians are all near the identity. The control takes the layers in the wrong order, the first one first.

# %%
eta = torch.eye(2, dtype=torch.float64, device=device).expand(points, 2, 2)
reversed_order = {}
for name in ("order 0", "order 1", "order 1, short steps"):
    g = eta
    for h in rl.jacobians(nets[name], sample.x):
        g = act_on_metric(h, g, inverse=True)
    reversed_order[name] = relative_error(g, rl.pullback_metrics(nets[name], sample.x)[0])
    print(f"{name:22} first layer first: off by {reversed_order[name]:.1g}")

# %%
net, composed = nets["order 1, short steps"], eta
for h in rl.jacobians(net, sample.x):
    composed = composed @ torch.linalg.inv(h)
equal["composed first"] = relative_error(act_on_metric(composed, eta), rl.pullback_metrics(net, sample.x)[0])
print(f"composed first: holds to {order_of_magnitude(equal['composed first'])}")
assert max(equal.values()) < 1e-10 < min(reversed_order.values())

# %% [markdown]
# ## Frames carried through a trained network
#
# The picture shows frames that the Jacobians carry through the layers, at a few points of the spirals. The upper row
# starts with the coordinate frame of the input. The lower row is the frame that ends as the unit frame of the output,
# with the ball of the metric beside it. Each frame, with its ball, is drawn to a size of its own. In every layer the
# arrows of the lower row are conjugate radii of the ellipse: the frame is orthonormal for $g^{(l)}$, whatever the
# coordinates are. Read from right to left, the lower row is Eq. 14. Where the network squeezes one direction, the two
# arrows of the upper row come together and the ellipse of the lower row is very thin.

# %%
template = rl.CkNetwork([2] * (depth + 1), order=1, device=device)
training = {"batch_size": 300, "updates": updates, "learning_rate": 1e-2}
run = rl.fit(template, rl.spiral(points, device=device), seeds=range(seeds), **training)
trained = [net.double().requires_grad_(False) for net in run.networks]
net, error = trained[run.typical()], 100 * float(run.error[run.typical()])
print(f"{int(run.solved.sum())} of {seeds} networks reach 0.0 % error; the drawn one has {error:.1f} %")

# %%
at = torch.arange(points // 12, points, points // 6, device=device)
carried = [torch.eye(2, dtype=torch.float64, device=device).expand(len(at), 2, 2)]
for h in rl.jacobians(net, sample.x[at]):
    carried.append(h @ carried[-1])
to_unit = change_of_frame(carried[-1], carried[0])
orthonormal = [act_on_frame(e, to_unit) for e in carried]
geometry = rl.geometry(net, sample.x)
metrics, pushforwards = ([each[at] for each in of] for of in (geometry.g, geometry.P))

# %%
drawn_layers = [0, depth // 4, depth // 2, 3 * depth // 4, depth]
on_cpu = [[t.cpu() for t in part] for part in (carried, orthonormal, pushforwards)]
coordinates = [x.cpu() for x in geometry.x]
fig = section5.frames_through_layers(coordinates, sample.label.cpu(), at.cpu(), *on_cpu, drawn_layers)
save(fig, "section5_frames")
plt.show()

# %%
unit = carried[0]
conjugate = max(float((e.mT @ g @ e - unit).abs().max()) for e, g in zip(orthonormal, metrics, strict=True))
print(f"orthonormal in every layer to {order_of_magnitude(conjugate)}")
assert conjugate < 1e-6

# %% [markdown]
# ## Where there is no group element
#
# Eq. 14 with its $h^{-1} \triangleright$ on the left needs every $h_l$ in $GL(d)$. The matrices on its right do not
# need that. Where a Jacobian is singular there is no group element. What remains is the *monoid* of all matrices:
# metrics can still be pulled back, but not pushed forward again. Two cases are simple. A ReLU layer without the
# identity path has singular Jacobians on open sets. The Jacobian of a bottleneck is not even square.

# %%
relu = rl.CkNetwork([2, 2], order=0, activation="relu", **f64)
(h,) = rl.jacobians(relu, sample.x)
rank = torch.linalg.matrix_rank(h)
rank_shares = [f"{float((rank == r).double().mean()):.2f}" for r in range(3)]
print("ReLU layer, share of points with Jacobian of rank 0, 1, 2:", rank_shares)
try:
    act_on_metric(h, torch.eye(2, dtype=torch.float64, device=device).expand_as(h))
except ValueError as refusal:
    print("the left action refuses it:", refusal)
narrow = rl.CkNetwork([2, 1, 2], order=0, **f64)
rank = torch.linalg.matrix_rank(rl.pushforward(narrow, sample.x))
print("bottleneck, Jacobian shapes:", [tuple(h.shape[1:]) for h in rl.jacobians(narrow, sample.x)])
print("rank of its metric at the input:", int(rank.max()))

# %% [markdown]
# The third case is the paper's own network, a residual one with tanh. At a data point its Jacobians are almost surely
# invertible. But suppose that the determinant is positive at one point and negative at another. Then it is zero
# somewhere between the two. There the layer folds, and there is no group element. A negative determinant by itself is
# no obstacle to the group action, because $GL(d)$ has elements of both orientations. It is the *change* of sign that
# proves a singular Jacobian. We search the square that contains the spirals.


# %%
def layer_jacobians(x):
    """The Jacobians of all layers of all trained networks at these points, (seeds, layers, points, 2, 2)."""
    return torch.stack([torch.stack(rl.jacobians(net, x)) for net in trained])


def both_signs(determinant):
    """Whether the determinants (seeds, layers, points) have both signs, for each network and layer in turn."""
    return ((determinant > 0).any(2) & (determinant < 0).any(2)).flatten().cpu()


side = torch.linspace(-1, 1, 81, dtype=torch.float64, device=device)
region = torch.cartesian_prod(side, side)
in_square, at_data = torch.linalg.det(layer_jacobians(region)), layer_jacobians(sample.x)
folds = pd.MultiIndex.from_product([range(seeds), range(depth)], names=["seed", "layer"]).to_frame(index=False)
folds = folds.assign(square=both_signs(in_square), data=both_signs(torch.linalg.det(at_data)))

# %%
by_network = folds.groupby("seed")[["square", "data"]]
folding, folding_data = by_network.any().sum()
values = torch.linalg.svdvals(at_data)
ratio = values[..., -1] / values[..., 0]
layers = by_network.sum()["square"].mean()
print(f"{folding} of {seeds} trained networks fold, in {layers:.1f} of {depth} layers on average;")
print(f"{folding_data} of them have both signs of the determinant among the data points themselves")
least = order_of_magnitude(float(ratio.min()), up=False)
print(f"σ_min / σ_max at the data: median {float(ratio.median()):.2f}, least {least}")
fig = section5.invertibility(ratio.cpu(), folds)
save(fig, "section5_invertibility")
plt.show()

# %% [markdown]
# One such layer, before and after: the pink part of the plane is turned over and lies on the grey part.

# %%
l = int(folds.loc[folds["square"], "layer"].min())  # the first layer in which a network folds
i = int(((in_square[:, l] < 0).double().mean(1) - 0.3).abs().argmin())
before, after = (x.cpu() for x in trained[i].coordinates(region)[l : l + 2])
data = [x.cpu() for x in trained[i].coordinates(sample.x)[l : l + 2]]
fig = section5.orientation_of_layer(before, after, in_square[i, l].cpu(), data, sample.label.cpu(), l)
save(fig, "section5_fold")
plt.show()

# %% [markdown]
# ## Verdict on Equation 14
#
# As a statement about matrices Eq. 14 is Eq. 10, exactly, for every order. As a statement about a group it holds where
# the Jacobians are invertible. It holds point by point: $h_l$ depends on the point. So even then a layer is not one
# element of $GL(d)$ but a field of them, a gauge transformation of the frame bundle. For orders above 1 the group is
# that of phase space, $GL(2d)$ at order 2, from the layer on where the state has its full size. The layers before it
# are embeddings.

# %% tags=["nbval-check-output"]
notebook.decide(
    "left-actions",
    rules.given(
        rules.identity(equal, reversed_order),
        int(folding),
        seeds,
        when="where every layer's Jacobian is invertible",
        otherwise="a trained network folds, so that some Jacobian is singular",
    ),
    {
        "networks compared": list(nets),
        "largest error": order_of_magnitude(max(equal.values())),
        "wrong order": reversed_order,
        "trained networks that fold": f"{folding} of {seeds}",
        "that fold among the data": f"{folding_data} of {seeds}",
    },
    protocol="Relative deviation in float64 at every layer, from Eq. 10 and from automatic differentiation; folds by "
    "the sign of det over the square.",
)

# %%
notebook.closing(seed=seed)
