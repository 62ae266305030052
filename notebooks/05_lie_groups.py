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
# Section 4 multiplied Jacobians. Section 5 says what kind of thing that multiplication is: the frames of the data manifold form a principal
# bundle on which $GL(d)$ acts from the right, the metrics form a bundle associated with it, on which $GL(d)$ acts from the left, and a network
# moves the metric by one group element a layer.
#
# For a deep-learning reader the content is this. A Jacobian changes the *components* of vectors and of the metric at once, and nothing that
# has a meaning depends on which components one writes down. For a geometer: the claims are checked here as they stand, with the convention that
# makes them true, the space the fibre has to be, and the place where the group gives out.

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
import torch

import riemlib as rl
from riemlib import figures, ledger, notebook
from riemlib.bundles import act_on_frame, act_on_metric, group_elements, transition
from riemlib.evidence import deviation
from riemlib.figures import bundles as drawn

# %%
notebook.opening("§5 Lie group actions", device=device)

# %% [markdown]
# ## Frames (Definition 5.1)
#
# A frame at a point is a basis $(e_1, \dots, e_d)$ of the tangent space: the columns of an invertible matrix. All frames at all points are the
# frame bundle $LM$, and $h \in GL(d)$ makes of a frame another at the same point,
#
# $$(e \triangleleft h)_a = e_b\, h^b{}_a .$$
#
# In components this is a matrix product on the right, `act_on_frame(e, h)`. Three things make $LM$ a principal bundle. It is a right action:
# $e \triangleleft 1 = e$ and $(e \triangleleft h) \triangleleft k = e \triangleleft (hk)$. It is free: only $h = 1$ leaves a frame where
# it is. And its orbits are exactly the fibres, so that $LM$ divided by the action is $M$ again: the action stays over its point, and between two
# frames over one point there is an $h$, which `transition` finds.
#
# One condition hides in the word *bundle*. A tangent space has no components before a chart is chosen, and a change of chart with Jacobian $J$
# multiplies every frame by $J$ from the *left*. The action has to mean the same in all charts, so it has to commute with that. This is why it
# acts on the right, and why the same matrices acting on the left, which obey the axioms of a group action just as well, do not do. Wherever
# a layer's coordinates are a chart of all the data, their coordinate frame is a section of $LM$ over all of it, and the bundle is the product
# $M \times GL(d)$: nothing is twisted here, and the group acts on the second factor.

# %%
cases = [group_elements(5 * draws, d, seed=seed + d, device=device).split(draws) for d in range(1, dimensions + 1)]
one = [torch.eye(d, dtype=torch.float64, device=device) for d in range(1, dimensions + 1)]
frame_laws = {
    "identity": max(deviation(act_on_frame(e, i), e) for (e, *_), i in zip(cases, one, strict=True)),
    "composition": max(deviation(act_on_frame(act_on_frame(e, h), k), act_on_frame(e, h @ k)) for e, f, h, k, J in cases),
    "transitive on a fibre": max(deviation(act_on_frame(e, transition(e, f)), f) for e, f, h, k, J in cases),
    "free": max(deviation(transition(e, act_on_frame(e, h)), h) for e, f, h, k, J in cases),
    "the same in every chart": max(deviation(act_on_frame(J @ e, h), J @ act_on_frame(e, h)) for e, f, h, k, J in cases),
}
for law, error in frame_laws.items():
    print(f"{law:24} holds to {ledger.power(error)}")

# %% [markdown]
# The controls are the actions that would be wrong. Multiplying by $h$ from the left composes in the wrong order, and depends on the chart. And
# without the demand that the vectors be independent the action is not free: where the last "frame" vector is zero, stretching
# it does nothing, and the group element cannot be recovered.

# %%
several = cases[1:]  # in one dimension all matrices commute
dependent = [torch.cat([e[..., :-1], torch.zeros_like(e[..., -1:])], -1) for e, *_ in several]
wrong_actions = {
    "left product, composition": min(deviation(k @ (h @ e), (h @ k) @ e) for e, f, h, k, J in several),
    "left product, another chart": min(deviation(h @ (J @ e), J @ (h @ e)) for e, f, h, k, J in several),
    "free, dependent vectors": min(
        deviation(torch.linalg.pinv(e) @ (e @ h), h) for e, (_, _, h, *_) in zip(dependent, several, strict=True)
    ),
}
for law, error in wrong_actions.items():
    print(f"{law:28} is off by {error:.1f}")
assert max(frame_laws.values()) < 1e-10 < min(wrong_actions.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "frame-bundle",
    ledger.identity(frame_laws, wrong_actions),
    {"dimensions": [1, dimensions], "frames per dimension": draws, "largest error": ledger.power(max(frame_laws.values())), "controls": wrong_actions},
    protocol="Relative deviation in float64 over random frames and group elements with singular values in [1/2, 2], of both orientations.",
)

# %% [markdown]
# ## Metrics (Definition 5.2)
#
# Let the group act on metric components from the left,
#
# $$h \triangleright g = h^{-\mathsf T} g\, h^{-1}, \qquad\text{so that}\qquad h^{-1} \triangleright g = h^{\mathsf T} g\, h ,$$
#
# and call two pairs the same when one group element moves both:
#
# $$(e,\, g) \sim (e \triangleleft h,\; h^{-1} \triangleright g) .$$
#
# A class of pairs is a point of the associated bundle, and it is nothing else than a bilinear form on the tangent space. Write two vectors in the
# frame, $u = e\,\hat u$ and $v = e\,\hat v$, and take $\hat u^{\mathsf T} g\, \hat v$. When the frame changes by $h$ the components change by
# $h^{-1}$ and the metric by $h^{\mathsf T} \cdot h$, and the number stays. In one line, the form is $e \triangleright g$, and
# $(e \triangleleft h) \triangleright (h^{-1} \triangleright g) = e \triangleright g$ because $\triangleright$ is a left action.
#
# The picture shows one class in four of its representatives. Above, the frames differ and the unit ball is one and the same ellipse; below, each
# frame's own components of it. In the last the components are those of the unit matrix: a metric is the class of the frames
# that are orthonormal for it. Dashed, what comes out of $h^{\mathsf T}$ in place of $h^{-\mathsf T}$.

# %%
e, f, h, root = (m.cpu() for m in group_elements(4, 2, seed=seed + 5, spread=1.8, device=device))
g = root.mT @ root
orthonormal = transition(e, torch.linalg.inv(torch.linalg.cholesky(act_on_metric(e, g))).mT)
moves = torch.stack([torch.eye(2, dtype=e.dtype), f, h, orthonormal])
same, transposed = act_on_metric(moves, g, inverse=True), act_on_metric(moves.mT, g)
fig = drawn.one_class(act_on_frame(e.expand_as(moves), moves), same, transposed, ["e", "e ◁ h", "e ◁ k", "orthonormal"])
figures.save(fig, "section5_one_class")
plt.show()

# %% [markdown]
# The check takes the number $\hat u^{\mathsf T} g\,\hat v$ literally: it solves for the components of random vectors in each frame, in
# each of two charts, and never uses the shortcut $e \triangleright g$.

# %%
metrics = [root.mT @ root for *_, root in cases]
left_laws = {
    "identity": max(deviation(act_on_metric(i, g), g) for g, i in zip(metrics, one, strict=True)),
    "composition": max(
        deviation(act_on_metric(h, act_on_metric(k, g)), act_on_metric(h @ k, g)) for (_, _, h, k, _), g in zip(cases, metrics, strict=True)
    ),
    "the inverse undoes": max(
        deviation(act_on_metric(h, act_on_metric(h, g, inverse=True)), g) for (_, _, h, *_), g in zip(cases, metrics, strict=True)
    ),
    "stays positive": max(float((torch.linalg.eigvalsh(act_on_metric(c[2], g)) <= 0).sum()) for c, g in zip(cases, metrics, strict=True)),
}

# %%
well_defined, wrong_forms, charts = [], [], []
for (e, u, h, J, _), g in zip(cases, metrics, strict=True):
    number = transition(e, u).mT @ g @ transition(e, u)  # on all pairs of the d vectors in u
    moved = act_on_frame(e, h)
    components = transition(moved, u)
    well_defined.append(deviation(components.mT @ act_on_metric(h, g, inverse=True) @ components, number))
    wrong_forms.append(deviation(components.mT @ act_on_metric(h.mT, g) @ components, number))
    charts.append(deviation(transition(J @ e, J @ u).mT @ g @ transition(J @ e, J @ u), number))
left_laws |= {"one number for a class": max(well_defined), "one number in every chart": max(charts)}
wrong_laws = {"h^T for h^-T, number of a class": min(wrong_forms)}
for law, error in (left_laws | wrong_laws).items():
    print(f"{law:34} {'0' if error == 0 else ledger.power(error)}")
assert max(left_laws.values()) < 1e-10 < min(wrong_laws.values())

# %% [markdown]
# ## What the fibre has to be
#
# The paper takes as fibre the product of two cospaces, $F = (\mathbb R^d)^* \times (\mathbb R^d)^*$. Read literally that is a pair of covectors
# $(\alpha, \beta)$, and the bilinear form it stands for, $\alpha_a \beta_b$, has rank one. No metric in more than one dimension is of that kind. The
# tensor product $(\mathbb R^d)^* \otimes (\mathbb R^d)^*$ is large enough, but it also holds forms that are not symmetric, not positive
# or degenerate. The fibre that is meant is
#
# $$F = \{\, g \in (\mathbb R^d)^* \otimes (\mathbb R^d)^* : g_{ab} = g_{ba},\ g_{ab}v^av^b > 0 \text{ for } v \neq 0 \,\},$$
#
# on which the action is closed (checked above) and transitive: $F = GL(d)/O(d)$, each metric being a class of orthonormal frames, as
# drawn. The other trap is the convention. The paper writes the left action through its inverse, $h^{-1} \triangleright g$, with two factors $h$
# and no inverse in it; that is right, and it is $\triangleright$ itself that holds the inverses.

# %%
ranks = {d: torch.linalg.matrix_rank(g) for d, g in enumerate(metrics, 1)}
beyond = sum(int((rank > 1).sum()) for rank in ranks.values())
tried = sum(len(rank) for rank in ranks.values())
print("dimension d, rank of a metric, rank of a pair of covectors:")
print(", ".join(f"({d}, {int(rank.min())}, 1)" for d, rank in ranks.items()))

# %% tags=["nbval-check-output"]
notebook.decide(
    "associated-bundle",
    ledger.given(
        ledger.identity(left_laws, wrong_laws),
        beyond,
        tried,
        when="with F the symmetric positive forms",
        otherwise="a metric is not in the product of the two cospaces",
    ),
    {"dimensions": [1, dimensions], "metrics per dimension": draws, "largest error": ledger.power(max(left_laws.values())), "controls": wrong_laws},
    protocol="Left-action axioms, positivity, and the number that a class gives on vectors; relative deviation, float64.",
)

# %% [markdown]
# ## The network as a sequence of left actions (Equation 14)
#
# Let $h_l = \partial x^{(l+1)} / \partial x^{(l)}$ at a point. The coordinate frame of layer $l$ is that of layer $l + 1$ moved by it,
# $\partial^{(l)} = \partial^{(l+1)} \triangleleft h_l$: this is the chain rule. So the metric's components move by $h_l^{-1} \triangleright$,
#
# $$g^{(0)} = (h_0^{-1} \bullet h_1^{-1} \bullet \dots \bullet h_{L-1}^{-1}) \triangleright \eta
# = (h_{L-1} \cdots h_0)^{\mathsf T}\, \eta\, (h_{L-1} \cdots h_0), \tag{14}$$
#
# with the last layer's element acting first. The pairs (coordinate frame, metric components) of all the layers are one class.
# The network does not change the metric. It walks through representatives of one point of the associated bundle, from the input's
# coordinates, in which the metric is complicated, to the output's, in which it is Euclidean.

# %%
sample = rl.spiral(points, dtype=torch.float64, device=device)
cases = {
    "order 0": {"order": 0},
    "order 1": {"order": 1},
    "order 1, ReLU": {"order": 1, "activation": "relu"},
    "order 1, short steps": {"order": 1, "step": 1 / depth},
    "order 2": {"order": 2},
    "order 3": {"order": 3},
    "mixed": {"order": [1, 2, 0, 1] + [1] * (depth - 4)},
}
where = {"seed": seed, "dtype": torch.float64, "device": device}
nets = {name: rl.CkNetwork([2] * (depth + 1), **{"step": 0.5} | settings, **where) for name, settings in cases.items()}

# %%
equal, reversed_order = {}, {}
for name, net in nets.items():
    expected = rl.pullback_metrics(net, sample.x)
    g, steps = expected[-1], []
    for h in reversed(rl.jacobians(net, sample.x)):
        g = act_on_metric(h, g, inverse=True)
        steps.append(g)
    equal[name] = max(deviation(g, e) for g, e in zip(steps, expected[-2::-1], strict=True))
    reference = rl.pullback_metric(lambda x, net=net: net.coordinates(x)[-1], sample.x)
    equal[f"{name}, autodiff"] = deviation(g, reference.detach())
    print(f"{name:22} {ledger.power(equal[name]):>6}   against automatic differentiation {ledger.power(equal[f'{name}, autodiff']):>6}")

# %% [markdown]
# Composing the group elements first, and letting the product act once, is the other way to read the left side of Eq. 14, and the one that uses
# the group: it needs every inverse. It is checked on the network with short steps, whose Jacobians are all near the identity. The control takes
# the layers in the wrong order, the first one first.

# %%
eta = torch.eye(2, dtype=torch.float64, device=device).expand(points, 2, 2)
for name in ("order 0", "order 1", "order 1, short steps"):
    g, composed = eta, eta
    for h in rl.jacobians(nets[name], sample.x):
        g, composed = act_on_metric(h, g, inverse=True), composed @ torch.linalg.inv(h)
    expected = rl.pullback_metrics(nets[name], sample.x)[0]
    reversed_order[name] = deviation(g, expected)
    print(f"{name:22} first layer first: off by {reversed_order[name]:.1g}")
equal["composed first"] = deviation(act_on_metric(composed, eta), expected)
print(f"composed first: holds to {ledger.power(equal['composed first'])}")
assert max(equal.values()) < 1e-10 < min(reversed_order.values())

# %% [markdown]
# ## Frames carried through a trained network
#
# A frame of the input, carried along by the Jacobians, at a few points of the spirals: above, the input's own coordinate frame; below, the frame
# that ends as the unit frame of the output, with the metric's ball beside it, each pair drawn to a size of its own. In every layer the arrows are
# conjugate radii of the ellipse: the frame is orthonormal for $g^{(l)}$, whatever the coordinates. Read from right to left the lower row
# is Eq. 14. Where the network squeezes one direction, the two arrows of the upper row close up and the ellipse of the lower row is a needle.

# %%
template = rl.CkNetwork([2] * (depth + 1), order=1, device=device)
run = rl.fit(template, rl.spiral(points, device=device), seeds=range(seeds), batch_size=300, updates=updates, learning_rate=1e-2)
trained = [net.double() for net in run.networks]
net = trained[run.typical()]
print(f"{int(run.solved.sum())} of {seeds} networks reach 0.0 % error; the drawn one has {100 * float(run.error[run.typical()]):.1f} %")

# %%
at = torch.arange(points // 12, points, points // 6, device=device)
carried = [torch.eye(2, dtype=torch.float64, device=device).expand(len(at), 2, 2)]
for h in rl.jacobians(net, sample.x[at]):
    carried.append(h @ carried[-1])
to_unit = transition(carried[-1], carried[0])
orthonormal = [act_on_frame(e, to_unit) for e in carried]
metrics = rl.pullback_metrics(net, sample.x[at])

# %%
coordinates = [x.detach().cpu() for x in net.coordinates(sample.x)]
shown = [0, depth // 4, depth // 2, 3 * depth // 4, depth]
cpu = [[t.cpu() for t in part] for part in (carried, orthonormal, metrics)]
fig = drawn.frames_through_layers(coordinates, sample.label.cpu(), at.cpu(), *cpu, shown)
figures.save(fig, "section5_frames")
plt.show()

# %%
unit = carried[0]
conjugate = max(float((e.mT @ g @ e - unit).abs().max()) for e, g in zip(orthonormal, metrics, strict=True))
print(f"orthonormal in every layer to {ledger.power(conjugate)}")
assert conjugate < 1e-6

# %% [markdown]
# ## Where the group gives out
#
# Eq. 14 with its $h^{-1} \triangleright$ on the left needs every $h_l$ in $GL(d)$; the matrices on its right do not. Where a Jacobian is singular
# there is no group element, and what remains is the *monoid* of all matrices: metrics can still be pulled back, but not pushed forward
# again. Two cases are plain. A ReLU layer without the identity path has singular Jacobians on open sets. A bottleneck is not even square.

# %%
relu = rl.CkNetwork([2, 2], order=0, activation="relu", seed=seed, dtype=torch.float64, device=device)
(h,) = rl.jacobians(relu, sample.x)
rank = torch.linalg.matrix_rank(h)
print("ReLU layer, share of points with Jacobian of rank 0, 1, 2:", [f"{float((rank == r).double().mean()):.2f}" for r in range(3)])
try:
    act_on_metric(h, torch.eye(2, dtype=torch.float64, device=device).expand_as(h))
except ValueError as refusal:
    print("the left action refuses it:", refusal)
narrow = rl.CkNetwork([2, 1, 2], order=0, seed=seed, dtype=torch.float64, device=device)
print("bottleneck, Jacobian shapes:", [tuple(h.shape[1:]) for h in rl.jacobians(narrow, sample.x)])
print("rank of its metric at the input:", int(torch.linalg.matrix_rank(rl.pullback_metrics(narrow, sample.x)[0]).max()))

# %% [markdown]
# The third case is the paper's own network, a residual one with tanh. At a data point its Jacobians are almost surely invertible. But
# where one determinant is positive and another negative, on a path between the two it is zero: the layer folds, and at the fold there
# is no group element. A negative determinant by itself is no obstacle to the group action, since $GL(d)$ has elements of both
# orientations; it is the sign *change* that proves a singular Jacobian. The region searched is the square that holds the spirals.

# %%
side = torch.linspace(-1, 1, 81, dtype=torch.float64, device=device)
region = torch.cartesian_prod(side, side)
determinants = torch.stack([torch.stack([torch.linalg.det(h) for h in rl.jacobians(net, region)]) for net in trained])
folds = (determinants > 0).any(2) & (determinants < 0).any(2)
hs = torch.stack([torch.stack(rl.jacobians(net, sample.x)) for net in trained])
ratio = torch.linalg.svdvals(hs)[..., -1] / torch.linalg.svdvals(hs)[..., 0]
at_data = (torch.linalg.det(hs) > 0).any(2) & (torch.linalg.det(hs) < 0).any(2)
folding, folding_data = int(folds.any(1).sum()), int(at_data.any(1).sum())
print(f"{folding} of {seeds} trained networks fold, in {float(folds.double().sum(1).mean()):.1f} of {depth} layers on average;")
print(f"{folding_data} of them have both signs of the determinant among the data points themselves")
print(f"σ_min / σ_max at the data: median {float(ratio.median()):.2f}, least {ledger.power(float(ratio.min()), up=False)}")

# %%
fig = drawn.invertibility(ratio.cpu(), folds.cpu())
figures.save(fig, "section5_invertibility")
plt.show()

# %% [markdown]
# One such layer, before and after: the pink part of the plane is turned over and laid upon the grey.

# %%
l = int(folds.any(0).nonzero()[0])  # the first layer in which a network folds
i = int(((determinants[:, l] < 0).double().mean(1) - 0.3).abs().argmin())
before, after = (x.detach().cpu() for x in trained[i].coordinates(region)[l : l + 2])
data = [x.detach().cpu() for x in trained[i].coordinates(sample.x)[l : l + 2]]
fig = drawn.fold(before, after, determinants[i, l].cpu(), data, sample.label.cpu(), l)
figures.save(fig, "section5_fold")
plt.show()

# %% [markdown]
# ## Verdict on Equation 14
#
# As a statement about matrices Eq. 14 is Eq. 10, exactly, for every order. As a statement about a group it holds where the Jacobians are
# invertible, point by point: $h_l$ depends on the point, so even then a layer is not one element of $GL(d)$ but a field of them, a gauge
# transformation of the frame bundle. For orders above 1 the group is that of phase space, $GL(2d)$ at order 2, from the
# layer on where the state has its full size; the layers before are embeddings.

# %% tags=["nbval-check-output"]
notebook.decide(
    "left-actions",
    ledger.given(
        ledger.identity(equal, reversed_order),
        folding,
        seeds,
        when="where every layer's Jacobian is invertible",
        otherwise="a trained network folds, so that some Jacobian is singular",
    ),
    {
        "networks compared": list(nets),
        "largest error": ledger.power(max(equal.values())),
        "wrong order": reversed_order,
        "trained networks that fold": f"{folding} of {seeds}",
        "that fold among the data": f"{folding_data} of {seeds}",
    },
    protocol="Relative deviation in float64 at every layer, from Eq. 10 and from automatic differentiation; folds by the sign of det over the square.",
)

# %%
notebook.closing(seed=seed)
