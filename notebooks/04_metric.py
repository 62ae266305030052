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
# # §4 The Riemannian metric a network induces
#
# A trained network sends the data to coordinates in which a linear readout tells the classes apart. Distance is then best measured there,
# at the output, and the paper's idea is to carry that yardstick back: put the Euclidean metric on the last layer and pull it back, layer by
# layer, to the input. What comes out is a Riemannian metric on the data, one symmetric matrix a point, and it is the same distance in
# whichever layer's coordinates it is written.
#
# This notebook takes Eqs. 8 to 13 and Definitions 4.2 and 4.3 one at a time: the statement, the call that is that equation, a picture or a
# check, and a control that has to fail. Each check is against automatic differentiation, which knows nothing of our layer-by-layer
# formulas. Then come the section's remarks: changing dimension, better charts, more width, near and far. Last are two things that the paper
# does not say about its metric and a geometer would ask first: is it curved, and does it depend on choices that the classifier does not
# see?

# %% tags=["parameters"]
points: int = 1000  # on the spiral, both arms together
depth: int = 10  # layers
draw_seeds: int = 8  # trained for the pictures
draw_updates: int = 1200  # Adam updates of those
batch_size: int = 300  # points in a minibatch
learning_rate: float = 1e-2  # at the start; cosine decay to 0
study_seeds: int = 100  # for each condition of the studies
study_updates: int = 600  # Adam updates of those
widths: list = [3, 4, 8]  # beside 2, in the study of width
neighbours: list = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96]  # of Locally Linear Embedding
seed: int = 0  # of the random networks, points and vectors of the checks
device: str = "cpu"  # where the networks live

# %%
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import LocallyLinearEmbedding
from sklearn.neighbors import NearestNeighbors
from torch.func import jacrev, jvp, vmap

import riemlib as rl
from riemlib import figures, ledger, notebook
from riemlib.curvature import ball_preimages, christoffel, gauss_equation, riemann, transition
from riemlib.evidence import deviation, holm, mcnemar, median_interval, rank_correlation, success_table, wilson
from riemlib.figures import metric as drawn
from riemlib.flow import order_of_convergence

notebook.opening("§4 The metric", device=device, time="about a minute")

# %% [markdown]
# ## The networks of the checks
#
# The identities are checked in double precision on random networks of orders 0 to 4 and of mixed orders, with unequal steps, with a width
# that changes, and with activations other than tanh. `transition(net, l)` is the rest of the network from layer $l$ on, as a function to be
# differentiated automatically: the oracle of this section.

# %%
torch.manual_seed(seed)
f64 = {"dtype": torch.float64, "device": device, "seed": seed}
cases = {f"order {k}": rl.CkNetwork([3] * 6, order=k, step=0.5, **f64) for k in range(5)}
cases["mixed orders, unequal steps"] = rl.CkNetwork([3] * 6, order=[1, 2, 0, 4, 3], step=[0.1, 0.4, 0.2, 0.7, 0.3], **f64)
cases["changing width"] = rl.CkNetwork([3, 3, 5, 5, 2, 4], order=[1, 0, 2, 0, 0], **f64)
cases["softplus"] = rl.CkNetwork([3] * 6, activation="softplus", **f64)
cases["ReLU"] = rl.CkNetwork([3] * 6, activation="relu", **f64)
x = torch.randn(32, 3, dtype=torch.float64, device=device)
[f"{name}: orders {net.orders}" for name, net in cases.items()]

# %% [markdown]
# ## Eq. 8: Euclidean at the output
#
# At the last layer the metric is the identity in the coordinates $x^{(L)}$, by decree:
#
# $$g\bigl(x^{(L)}\bigr)_{ab} = \eta_{ab}. \tag{8}$$
#
# It is a choice, and the only one: everything below follows from it. `output_metric` makes another, and the end of this notebook shows what
# that changes. For orders above 1 a layer's state also carries differences of $x$; those have length zero at the output.

# %%
net = cases["order 1"]
eta = rl.pullback_metrics(net, x)[-1]
other = rl.pullback_metrics(net, x, output_metric=torch.diag(torch.tensor([1.0, 2.0, 3.0]).to(x)))[-1]
assert torch.equal(eta, torch.eye(3).to(x).expand(32, 3, 3)) and not torch.equal(eta, other)
eta[0]

# %% [markdown]
# ## Eqs. 9 and 10: the pullback, layer by layer
#
# One layer pulls the metric back through its Jacobian $J = \partial x^{(l+1)}/\partial x^{(l)}$, once for each index,
#
# $$g\bigl(x^{(l)}\bigr)_{ab} = \Bigl(\tfrac{\partial x^{(l+1)}}{\partial x^{(l)}}\Bigr)^{c}{}_{a}
# \Bigl(\tfrac{\partial x^{(l+1)}}{\partial x^{(l)}}\Bigr)^{d}{}_{b}\, g\bigl(x^{(l+1)}\bigr)_{cd}, \tag{9}$$
#
# and all layers from the output down to layer $l$ together make
#
# $$g\bigl(x^{(l)}\bigr) = P^{\mathsf T} \eta\, P, \qquad P = \frac{\partial x^{(L)}}{\partial x^{(l)}}. \tag{10}$$
#
# `pullback_metrics` is Eq. 9 swept once from the output to the input; it returns $g$ at every layer. Nothing in it asks for a derivative of
# more than one layer, which is why the paper speaks of backpropagating the metric.

# %%
metrics = rl.pullback_metrics(net, x)
J = rl.jacobians(net, x)
step = max(deviation(J[l].mT @ metrics[l + 1] @ J[l], metrics[l]) for l in range(len(J)))
assert step < 1e-12
[tuple(g.shape) for g in metrics]

# %% [markdown]
# The check: for every network above and every layer, the recursion against $J^{\mathsf T}\eta J$ of the whole rest of the network,
# differentiated automatically. The control multiplies by the Jacobians from the wrong side, $J g J^{\mathsf T}$, an easy slip that gives a
# matrix just as symmetric and positive.

# %%
errors = {}
for name, case in cases.items():
    states = [state.detach() for state in case.states(x)]
    reference = [rl.pullback_metric(transition(case, l), state) for l, state in enumerate(states[:-1])]
    errors[name] = max(deviation(g, r) for g, r in zip(rl.pullback_metrics(case, x), reference, strict=False))

wrong = metrics[-1]
for layer in reversed(J):
    wrong = layer @ wrong @ layer.mT
controls = {"transposed Jacobians": deviation(wrong, metrics[0])}
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "pullback-recursion",
    ledger.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation over all layers and 32 random points, float64",
)

# %% [markdown]
# ## Eq. 11: the Jacobian of a residual layer
#
# For a first-order layer $x^{(l+1)} = x^{(l)} + f(z^{(l+1)})\,\Delta l$ with $z^{(l+1)} = W x^{(l)} + b$, the chain rule gives
#
# $$\frac{\partial x^{(l+1)}}{\partial x^{(l)}} = \delta + \frac{\partial f(z^{(l+1)})}{\partial z^{(l+1)}}
# \frac{\partial z^{(l+1)}}{\partial x^{(l)}}\, \Delta l, \tag{11}$$
#
# the identity and a correction of the size of the step. `jacobians` computes it for all layers; for orders above 1 the same rule acts on
# the layer's whole state. Below it is compared with automatic differentiation of single layers, and with two slips that must show: the step
# left out, and $W$ transposed.

# %%
coordinates, layers = [y.detach() for y in net.coordinates(x)], range(len(net.weights))
reference = [vmap(jacrev(transition(net, l, l + 1)))(coordinates[l]) for l in layers]
errors = {"jacobians": max(deviation(a, b) for a, b in zip(rl.jacobians(net, x), reference, strict=True))}

weights, biases = [W.detach() for W in net.weights], [b.detach() for b in net.biases]
slopes = [1 - torch.tanh(y @ W.mT + b) ** 2 for y, W, b in zip(coordinates, weights, biases, strict=False)]
by_hand = [torch.eye(3).to(x) + s[..., None] * W * h for s, W, h in zip(slopes, weights, net.steps, strict=True)]
errors["Eq. 11 as printed"] = max(deviation(a, b) for a, b in zip(by_hand, reference, strict=True))
no_step = [torch.eye(3).to(x) + s[..., None] * W for s, W in zip(slopes, weights, strict=True)]
transposed = [torch.eye(3).to(x) + s[..., None] * W.mT * h for s, W, h in zip(slopes, weights, net.steps, strict=True)]
controls = {"step left out": deviation(no_step[0], reference[0]), "W transposed": deviation(transposed[0], reference[0])}
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "residual-jacobian",
    ledger.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation of each layer, 32 random points, order 1, tanh, float64",
)

# %% [markdown]
# ## Eq. 12: the ordered product
#
# The Jacobian from layer $l$ to the output is the product of the layers' Jacobians. They do not commute, so the order is part of the
# statement: the last layer stands leftmost,
#
# $$P^{a_L}{}_{a_l} = \prod_{l'=L-1}^{l} \Bigl[\delta + \frac{\partial f}{\partial z}\frac{\partial z}{\partial x}\,\Delta l\Bigr]. \tag{12}$$

# %%
errors, controls = {}, {}
for name, case in cases.items():
    states = [state.detach() for state in case.states(x)]
    reference = [vmap(jacrev(transition(case, l)))(state) for l, state in enumerate(states)]
    errors[name] = max(deviation(rl.pushforward(case, x, layer=l), r) for l, r in enumerate(reference))

P = torch.linalg.multi_dot
reversed_product = torch.stack([P([J[l][n] for l in layers]) for n in range(len(x))])
controls["reversed product"] = deviation(reversed_product, rl.pushforward(net, x))
errors["written out"] = deviation(torch.stack([P([J[l][n] for l in reversed(layers)]) for n in range(len(x))]), rl.pushforward(net, x))
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "product-order",
    ledger.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation over all layers, 32 random points, float64",
)

# %% [markdown]
# ## A trained network to look at
#
# The pictures of this section use one residual tanh network of width 2, trained on the spiral; what follows is computed in double
# precision. Of a few seeds we draw a typical one among those with the least error; it is an illustration, and no verdict rests on it.

# %%
spiral = rl.spiral(points, device=device)
template = rl.CkNetwork([2] * (depth + 1), device=device)
training = {"batch_size": batch_size, "updates": draw_updates, "learning_rate": learning_rate}
run = rl.fit(template, spiral, seeds=range(draw_seeds), **training)
trained, sample = run.networks[run.typical()].double().requires_grad_(False), spiral.to(torch.float64)
print(f"{int(run.solved.sum())} of {draw_seeds} at 0.0 % error; drawn: error {float(run.error[run.typical()]):.1%}")

# %% [markdown]
# A ball of radius $\varepsilon$ of the metric at a point is, to first order, the ellipse $\{v : g_{ab}v^av^b \le \varepsilon^2\}$, with
# semi-axes $\varepsilon/\sqrt{\lambda_i}$ along the eigenvectors of $g$: where the network stretches, balls are small. The picture shows
# them over the input plane beside the volume density $\sqrt{\det g} = |\det P|$. Bright is where the network stretches most. A dark
# curve in the density is a fold: there $P$ is singular and $g$ no longer a metric. §2 counts how often a residual network trained with step 1
# folds through its own data.

# %%
side = torch.linspace(-1.15, 1.15, 201, dtype=torch.float64, device=device)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
volume = torch.linalg.det(rl.pushforward(trained, plane.reshape(-1, 2))).abs().clamp(min=1e-6)
centres = plane[10::15, 10::15].reshape(-1, 2)
radius = 0.02
g = rl.pullback_metrics(trained, centres)[0]
ellipses = rl.balls(g, radius)
drawn_axes = rl.Balls(ellipses.axes.clamp(max=0.075), ellipses.directions)
cut = ellipses.axes[:, 0] > 0.075
fig = drawn.ellipse_field(sample, drawn_axes.outline(centres), cut, plane, volume.view(201, 201), radius=radius)
figures.save(fig, "section4_ellipses")
print(f"{int(cut.sum())} of {len(cut)} ellipses are longer than the grid is wide: cut there, in grey")
plt.show()

# %%
v = ellipses.directions[:, :, 1] * ellipses.axes[:, 1:]  # the short semi-axis
on_boundary = rl.squared_length(g, v)
assert torch.allclose(on_boundary.sqrt(), torch.full_like(on_boundary, radius), rtol=1e-6)

# %% [markdown]
# ## Eq. 13: the line element
#
# The squared length of a displacement $dx$ at layer $l$ is
#
# $$ds^2 = \eta_{ab}\, P^{a}{}_{c}\, P^{b}{}_{d}\, dx^{c}\, dx^{d} = g\bigl(x^{(l)}\bigr)_{cd}\, dx^c dx^d, \tag{13}$$
#
# and is the same number at every layer if $dx$ is carried along by the pushforward. So the length of a curve does not depend on the layer
# in which it is measured; and at the output it is the ordinary Euclidean length. We take one arm of the spiral, carry its tangent vector
# through the layers, and integrate `squared_length` at each. The control is the Euclidean length in layer $l$, which is another number at every layer.

# %%
def arm(t):
    return (0.1 + 0.9 * t)[..., None] * torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t)], -1)


t = torch.linspace(0, 1, 20001, dtype=torch.float64, device=device)
at, tangent = jvp(arm, (t,), (torch.ones_like(t),))
metrics, tangents = rl.pullback_metrics(trained, at), [tangent]
for J in rl.jacobians(trained, at):
    tangents.append((J @ tangents[-1][..., None])[..., 0])
speeds = [rl.squared_length(g, v).sqrt() for g, v in zip(metrics, tangents, strict=True)]
length = [float(torch.trapezoid(speed, t)) for speed in speeds]
euclidean = [float(torch.trapezoid(v.norm(dim=1), t)) for v in tangents]
errors = {f"layer {l}": deviation(speeds[l], tangents[-1].norm(dim=1)) for l in range(depth + 1)}
controls = {f"Euclidean, layer {l}": deviation(tangents[l].norm(dim=1), speeds[l]) for l in range(0, depth, 3)}
assert max(errors.values()) < 1e-9 and min(controls.values()) > 1e-3

# %% [markdown]
# With finite displacements, the chord between neighbouring points of the curve in place of the tangent vector, Eq. 13 holds only up to the
# chords' size: a line element is a statement about infinitesimal vectors. Refining the sampling shows it, with the metric averaged over the
# two ends of a chord; the error falls as the square of the spacing at every layer.

# %%
counts, chords = [251, 501, 1001, 2001, 4001], []
for count in counts:
    at = arm(torch.linspace(0, 1, count, dtype=torch.float64, device=device))
    pairs = zip(rl.pullback_metrics(trained, at), trained.coordinates(at), strict=True)
    chords.append([float(rl.squared_length((g[1:] + g[:-1]) / 2, y.diff(dim=0)).sqrt().sum()) for g, y in pairs])
off = np.abs(np.array(chords).T / length[-1] - 1)
orders = -np.polyfit(np.log(counts), np.log(off.T), 1)[0]
fig = drawn.lengths(length, euclidean, counts, off)
figures.save(fig, "section4_lengths")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "line-element",
    ledger.identity(errors, controls, tolerance=1e-9),
    {**controls, "order of the chords in the spacing, range over layers": [round(float(orders.min()), 1), round(float(orders.max()), 1)]},
    protocol="one arm in one trained network: speed by Eq. 13 at every layer against the Euclidean speed at the output, pointwise",
)

# %% [markdown]
# ## From ε to δ
#
# The paper reads Eq. 13 as an ε-δ relation: the points within $\varepsilon$ of $x^{(L)}$ at the output are a δ-ball at layer $l$. The
# ellipse of Eq. 13 is that set to first order only. The true preimage of the output's circle solves $F(x) = F(p) + \varepsilon u$ for each
# direction $u$, and Newton's method finds it. Two networks: one whose small step makes every layer a diffeomorphism, and the trained one,
# at points of its own data. The deviation of one boundary from the other, measured in $g$ and divided by $\varepsilon$, should be
# proportional to $\varepsilon$; we fit the power over the radii where it is below a tenth. The control takes semi-axes
# $\varepsilon\sqrt{\lambda}$ for $\varepsilon/\sqrt{\lambda}$, which is wrong by as much at every radius.

# %%
small_step = rl.CkNetwork([2] * (depth + 1), step=1 / depth, **f64).requires_grad_(False)
radii, at = np.geomspace(1e-7, 0.1, 9), sample.x[len(sample) // 40 :: len(sample) // 20]
gaps = {"small step": [], "trained": [], "axes ε√λ": []}
for name, chosen in (("small step", small_step), ("trained", trained)):
    P = rl.pushforward(chosen, at)
    for r in radii:
        first, true = ball_preimages(transition(chosen), at, r, count=32)
        gaps[name].append(((true - first) @ P.mT).norm(dim=-1).amax(1) / r)
        if chosen is small_step:  # J^T u in place of J^-1 u: axes ε√λ along the same directions
            wrong = at[:, None] + (first - at[:, None]) @ P.mT @ P
            gaps["axes ε√λ"].append(((true - wrong) @ P.mT).norm(dim=-1).amax(1) / r)
gaps = {name: torch.stack(gap, 1) for name, gap in gaps.items()}
reach = {name: [radii[row < 0.1].max(initial=0) for row in gaps[name].numpy()] for name in ("small step", "trained")}

# %%
powers = {}
for name, gap in gaps.items():
    fitted = [(row < 0.1) if name in reach else row > 0 for row in gap.numpy()]
    pairs = [(radii[keep], row[keep]) for keep, row in zip(fitted, gap.numpy(), strict=True)]
    powers[name] = [order_of_convergence(*pair, next_term=False).value if len(pair[0]) > 3 else math.nan for pair in pairs]
spread = float(trained.coordinates(sample.x)[-1].std(0).norm())
print("ε below which the ellipse is within a tenth of the true preimage, as a share of the output's spread (median point):")
print(f"trained network: {np.median(reach['trained']) / spread:.1e}")
assert max(abs(power) for power in powers["axes ε√λ"]) < 0.1

# %%
shown, sizes = sample.x[[len(sample) // 8]], [0.3, 0.6, 0.9]
curves = [ball_preimages(transition(small_step), shown, size) for size in sizes]
fig = drawn.preimages([f[0] for f, _ in curves], [t[0] for _, t in curves], shown[0], sizes, radii, gaps)
figures.save(fig, "section4_preimages")
plt.show()

# %% tags=["nbval-check-output"]
measured = [power for name in ("small step", "trained") for power in powers[name] if not math.isnan(power)]
good = [abs(power - 1) < 0.1 for power in measured]
far = ~(gaps["trained"][:, -1] < 0.1)
notebook.decide(
    "epsilon-delta",
    ledger.condition(sum(good), len(good), int(far.sum()), len(far), when="to first order, ε small against the distance to the next fold"),
    {
        "power of ε in the deviation, median and range": {
            name: [float(np.nanmedian(power)), [float(np.nanmin(power)), float(np.nanmax(power))]] for name, power in powers.items()
        },
        "points so near a fold that the ellipse holds at fewer than four of the radii": 2 * len(at) - len(measured),
        "trained network, ε = 0.1: points where the ellipse is off by more than a tenth": f"{int(far.sum())} of {len(far)}",
    },
    protocol="20 points in each network, 32 directions, true preimage by Newton's method; a power within 0.1 of 1 counts as first order",
)

# %% [markdown]
# So the relation holds, and is first order: for the trained network the ellipse is the true preimage only for radii that are small indeed
# beside the size of its output. Pictures of balls large enough to be seen, the paper's Figure 3 included, show the metric at their centres
# and not a set of points that the network sends within $\varepsilon$ of each other.
#
# ## Definitions 4.2 and 4.3: pushforward and pullback
#
# A vector $X$ at a point of $M$ is a derivation, and the pushforward along $\varphi: M \to N$ is defined by what it does to functions; the
# pullback metric by what it does to vectors:
#
# $$(\varphi_* X) f = X(f \circ \varphi), \qquad g_M(X, Y) = g_N(\varphi_* X, \varphi_* Y).$$
#
# The code works with matrices instead, $\varphi_* X = P X$. Both definitions are checked as they stand, on random networks $\varphi$,
# random functions $f$ (the logit of another network), random vectors and a random metric on the output. The control pushes vectors forward
# with the transposed matrix.

# %%
torch.manual_seed(seed)
errors, controls = {}, {}
for name, phi in cases.items():
    X, Y = torch.randn(2, 32, 3, dtype=torch.float64, device=device)
    root = torch.randn(phi.widths[-1], phi.widths[-1], dtype=torch.float64, device=device)
    other = rl.CkNetwork([phi.widths[-1]] * 3, **f64 | {"seed": seed + 1}).requires_grad_(False)
    f, image, P = lambda y, other=other: other(y)[:, 0], transition(phi), rl.pushforward(phi, x)
    X_f_phi = jvp(lambda x, f=f, image=image: f(image(x)), (x,), (X,))[1]
    push_X, push_Y = (P @ X[..., None])[..., 0], (P @ Y[..., None])[..., 0]
    errors[f"4.2, {name}"] = deviation(jvp(f, (image(x),), (push_X,))[1], X_f_phi)
    g_M, g_N = rl.pullback_metrics(phi, x, output_metric=root @ root.mT)[0], root @ root.mT
    errors[f"4.3, {name}"] = deviation(torch.einsum("nab,na,nb->n", g_M, X, Y), torch.einsum("ab,na,nb->n", g_N, push_X, push_Y))
    if phi.widths[0] == phi.widths[-1]:
        controls[f"4.2, {name}, transposed"] = deviation(jvp(f, (image(x),), ((P.mT @ X[..., None])[..., 0],))[1], X_f_phi)
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "pushforward-pullback",
    ledger.identity(errors, controls),
    {"cases": list(cases), "weakest control": min(controls.values()), "tolerance, relative": 1e-10},
    protocol="one random function, two random vectors a point and one random output metric for each network, 32 points, float64",
)

# %% [markdown]
# ## Changing dimension
#
# A layer may be wider or narrower than the one before it (here that takes order 0: a residual layer adds its input, so it keeps the width).
# The pullback is defined for any map, and the paper takes the dimension of the data manifold to be the width of the narrowest layer, wider
# layers being immersions of it. Whether that is so can be read from ranks. The map from layer $l$ to the output is an *immersion* where its
# rank is $d_l$, a *submersion* where it is $d_L$; and $g$ at layer $l$ is a metric, positive definite as Def. 4.1 requires, only in the
# first case.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(seed)
shapes = {"widening": [2, 3, 4], "narrowing": [4, 3, 2], "bottleneck": [4, 3, 2, 3, 4], "line": [3, 2, 1, 2]}
shapes["narrow, then narrower"] = [5, 3, 4, 2, 3]
nets = {name: rl.CkNetwork(widths, order=0, **f64).requires_grad_(False) for name, widths in shapes.items()}
names = {(True, True): "both", (True, False): "immersion", (False, True): "submersion", (False, False): "neither"}
ranks = {}
for name, net in nets.items():
    at = torch.randn(200, net.widths[0], dtype=torch.float64, device=device)
    found = [torch.linalg.matrix_rank(g, hermitian=True).unique().tolist() for g in rl.pullback_metrics(net, at)]
    ranks[name] = {
        "widths": net.widths,
        "rank of g": found,
        "map to the output": [names[r == [d], r == [net.widths[-1]]] for r, d in zip(found, net.widths, strict=True)],
    }
pd.DataFrame(ranks).T

# %% [markdown]
# One rank at every one of 200 random points: these tanh networks satisfy the constant-rank hypothesis that the paper takes for granted.
# ReLU does not, and there the question for *the* dimension has no answer:

# %%
folded = rl.CkNetwork([3, 3, 3], order=0, activation="relu", **f64).requires_grad_(False)
g = rl.pullback_metrics(folded, torch.randn(200, 3, dtype=torch.float64, device=device))[0]
found, many = torch.linalg.matrix_rank(g, hermitian=True).unique(return_counts=True)
dict(zip([f"rank {r}" for r in found.tolist()], many.tolist(), strict=True))

# %% [markdown]
# The claim, then, layer by layer. A layer *after* the narrowest one is the image of the narrowest, and the map from there is an immersion
# if its rank is the narrowest width. A layer *before* it has no map from the narrowest at all: the map goes the other way, and is a
# submersion that forgets directions. Were that layer an immersion of a manifold of the narrowest dimension, $g$ would be positive definite
# on it; we count the layers where it is not.

# %%
after, before = [], []
for net in nets.values():
    narrow = min(net.widths)
    b = net.widths.index(narrow)
    at = torch.randn(200, net.widths[0], dtype=torch.float64, device=device)
    coordinates, metrics = net.coordinates(at), rl.pullback_metrics(net, at)
    for l, width in enumerate(net.widths):
        if l > b and width > narrow:
            J = vmap(jacrev(transition(net, b, l)))(coordinates[b])
            after.append(torch.linalg.matrix_rank(J).unique().tolist() == [narrow])
        if l < b:
            rank = torch.linalg.matrix_rank(metrics[l], hermitian=True)
            before.append(bool((rank < width).all()))
assert all(before) and all(after)

# %% tags=["nbval-check-output"]
notebook.decide(
    "dimension-bottleneck",
    ledger.condition(sum(after), len(after), sum(before), len(before), when="the wider layer comes after the narrowest one"),
    {
        "wider layers after the narrowest that are immersions of it": f"{sum(after)} of {len(after)}",
        "layers before it where g is degenerate at every point": f"{sum(before)} of {len(before)}",
        "control, ranks of one ReLU network over its input": found.tolist(),
    },
    protocol="five tanh networks of order 0, 200 random points each, numerical rank in float64",
)

# %% [markdown]
# The width that counts is the narrowest one *still to come*: the rank of $g$ at layer $l$ is at most the least width from $l$ on. What a
# bottleneck does to the metric is best seen at width 1. Below, a network of width 8 is squeezed to one coordinate before its output and
# trained on the spiral. At every point of the plane $g$ has rank 1; it is zero along the white strokes, which follow the level lines of the
# bottleneck's coordinate. Points along such a line are at distance zero: $g$ is a metric on the line of level sets, not on the plane.

# %%
narrow = rl.CkNetwork([2] + [8] * 4 + [1, 2], order=[0, 1, 1, 1, 0, 0], device=device)
squeezed_run = rl.fit(narrow, spiral, seeds=range(draw_seeds), **training)
squeezed = squeezed_run.networks[squeezed_run.typical()].double().requires_grad_(False)
coordinate = squeezed.coordinates(plane.reshape(-1, 2))[5].view(201, 201)
centres = plane[6::9, 6::9].reshape(-1, 2)
degenerate = rl.balls(rl.pullback_metrics(squeezed, centres)[0], 1.0)
fig = drawn.degenerate_directions(sample, plane, coordinate, centres, degenerate.directions[:, :, 0], bottleneck=5)
figures.save(fig, "section4_bottleneck")
print(f"drawn: error {float(squeezed_run.error[squeezed_run.typical()]):.1%}")
plt.show()

# %%
slope = vmap(jacrev(transition(squeezed, 0, 5)))(centres)[:, 0]
along = (slope * degenerate.directions[:, :, 0]).sum(1).abs() / slope.norm(dim=1)
assert float(along.max()) < 1e-6

# %% [markdown]
# ## Better charts, more dimensions
#
# Why is a plane spiral hard for a network of width 2? The paper answers that the network lacks the right nonlinearity, and that with polar
# coordinates, or with more dimensions to work in, it would be easy. Both are statements about frequencies of success, so both are decided
# over many seeds.
#
# **Protocol**, fixed in advance. Success is 0.0 % error on all points. Each condition trains the same seeds on the same points with the
# same minibatches, order 1 and depth as above, fewer updates than in Figure 2 (the parameters cell has the number; it is the same for every
# condition). Proportions carry Wilson 95 % intervals, differences McNemar's exact test on the paired seeds, with Holm's correction where
# there are several.
#
# *Polar.* Which angle? A point of the plane has $\theta \in (-\pi, \pi]$, which jumps along a ray and cuts both arms there; this is what a network
# could compute from the point. A chart of the *arms* has $\theta$ unwound along the spiral. That takes the spiral's pitch, though not a point's
# class, and makes the arms two parallel lines. We try both.
#
# *Width.* A residual layer keeps its width, so a wider network needs a wider input: the points are padded with zeros to the width of the
# network. Nothing is added to the data but room.

# %%
plain = rl.Condition(depth=depth, points=points, batch_size=batch_size, updates=study_updates, learning_rate=learning_rate)
conditions = {"width 2": plain, "polar": replace(plain, chart="polar"), "polar, unwound": replace(plain, chart="unwound")}
conditions |= {f"width {width}": replace(plain, width=width) for width in widths}
runs = rl.study(conditions, seeds=range(study_seeds), device=device)

# %%
counts = {name: (int(run.solved.sum()), study_seeds) for name, run in runs.items()}
intervals = {name: wilson(*count) for name, count in counts.items()}
colours = {name: figures.CLASSES[2] if "polar" in name else figures.NETWORKS["C1"] for name in counts}
fig = drawn.successes(counts, intervals, groups=colours)
figures.save(fig, "section4_charts_and_width")
plt.show()

# %% tags=["nbval-ignore-output"]
success_table(runs)

# %% tags=["nbval-check-output"]
pairs = {f"{name} less Cartesian": mcnemar(runs["width 2"].solved, runs[name].solved) for name in ("polar", "polar, unwound")}
p = holm({name: pair.p for name, pair in pairs.items()})
straight = conditions["polar, unwound"].sample()
lines = LogisticRegression(C=1e6, max_iter=1000).fit(straight.x, straight.label)
notebook.decide(
    "polar-easy",
    ledger.effects({name: (pair.difference, *pair.interval) for name, pair in pairs.items()}, p),
    {
        **{name: {"at 0.0 %": counts[name][0] / study_seeds, "interval": intervals[name]} for name in ("width 2", "polar", "polar, unwound")},
        "seeds that only polar solves, only Cartesian": {name: [pair.only_second, pair.only_first] for name, pair in pairs.items()},
        "exact McNemar p, Holm": p,
        "a linear classifier on the unwound input": lines.score(straight.x, straight.label),
    },
    protocol=f"{study_seeds} paired seeds, order 1, depth {depth}, {study_updates} updates; success is 0.0 % error on all {points} points",
)

# %% tags=["nbval-check-output"]
pairs = {f"width {w} less width 2": mcnemar(runs["width 2"].solved, runs[f"width {w}"].solved) for w in widths}
p = holm({name: pair.p for name, pair in pairs.items()})
notebook.decide(
    "width-easier",
    ledger.effects({name: (pair.difference, *pair.interval) for name, pair in pairs.items()}, p),
    {
        **{name: {"at 0.0 %": counts[name][0] / study_seeds, "interval": intervals[name]} for name in ["width 2"] + [f"width {w}" for w in widths]},
        "exact McNemar p, Holm": p,
    },
    protocol=f"{study_seeds} paired seeds, zero-padded input, order 1, depth {depth}, {study_updates} updates; success is 0.0 % error",
)

# %% [markdown]
# ## Locally Linear Embedding
#
# The paper says that Locally Linear Embedding finds the charts of the spiral with ease, its nearest neighbours being a flexible
# nonlinearity. We take scikit-learn's, over neighbourhood sizes that span the useful range, to one and to two components, and ask for two
# things: can a linear classifier tell the arms apart in the embedding, and does a coordinate of it run along each arm as a chart's must
# (rank correlation with the position on the arm, the worse of the two arms)? The method never sees a label. But its neighbourhoods may
# reach from one arm to the other, and where they do the method is fed wrong geometry; the condition is checked point by point.

# %%
cloud, label, position = spiral.x.cpu().double().numpy(), spiral.label.cpu().numpy(), spiral.position.cpu().numpy()
accuracy, order = {}, {}
for components in (1, 2):
    name = f"{components} component{'s' * (components > 1)}"
    for k in neighbours:
        embed = LocallyLinearEmbedding(n_neighbors=k, n_components=components, eigen_solver="dense")
        y = embed.fit_transform(cloud) * len(cloud) ** 0.5  # to unit variance: the classifier's penalty has a scale
        classifier = LogisticRegression(C=1e6, max_iter=1000).fit(y, label)
        accuracy.setdefault(name, []).append(classifier.score(y, label))
        along = [max(abs(rank_correlation(c[label == arm], position[label == arm])) for c in y.T) for arm in (0, 1)]
        order.setdefault(name, []).append(min(along))
nearest = NearestNeighbors(n_neighbors=max(neighbours)).fit(cloud).kneighbors(return_distance=False)
crossing = [bool((label[nearest[:, :k]] != label[:, None]).any()) for k in neighbours]

# %%
fig = drawn.neighbourhoods(neighbours, accuracy, order, crossing)
figures.save(fig, "section4_lle")
plain = LogisticRegression(C=1e6).fit(cloud, label).score(cloud, label)
print(f"a linear classifier on the input itself: {plain:.3f}")
plt.show()

# %% tags=["nbval-check-output"]
apart = np.array(list(accuracy.values())) == 1
charts = apart & (np.array(list(order.values())) > 0.99)
within, beyond = apart[:, ~np.array(crossing)], apart[:, np.array(crossing)]
when = f"no neighbourhood reaches the other arm, and separation is all that is asked: a chart comes with it in {charts.sum()} of {charts.size} settings"
notebook.decide(
    "lle-charts",
    ledger.condition(int(within.sum()), within.size, int((~beyond).sum()), beyond.size, when=when),
    {
        "neighbourhood sizes": list(neighbours),
        **{f"accuracy, {name}": row for name, row in accuracy.items()},
        **{f"rank correlation with the position on the arm, {name}": row for name, row in order.items()},
        "neighbourhoods reach the other arm": crossing,
        "control, accuracy on the input": plain,
    },
    protocol="scikit-learn's LLE on the spiral, then logistic regression; separation: no point misclassified; a chart: rank correlation above 0.99",
)

# %% [markdown]
# The two halves of the claim come apart. While every neighbourhood stays on its arm, the graph of neighbours falls into two pieces, and the
# embedding's first coordinate tells the pieces apart and is constant on each: the arms are separated, by connectedness alone, and their charts
# are not found. Where neighbourhoods do bridge the arms, a coordinate appears that runs along both arms at once, which is a chart, and does not
# tell them apart. Both in one embedding is the exception among these settings.

# %% [markdown]
# ## Near and far
#
# Two points of one class may be far apart in the input and close in the learned metric; two points of different classes near in the input
# and far apart in the learned metric. Learned distance here is the Euclidean distance at the output, the chord to which Eq. 13 adds up
# along straight output lines. Its scale means nothing by itself, so a pair's ratio of learned to input distance is taken relative to the
# network's own median pair. Fixed in advance: *far* pairs are the quarter of the pairs of one class that are farthest apart in the input,
# *near* pairs the quarter of the pairs of two classes that are nearest. All seeds count, whether they reach 0.0 % error or not; those that
# do, and the untrained networks, stand beside.

# %%
chosen = spiral.x[:: max(1, points // 250)]
kind = spiral.label[:: max(1, points // 250)]
i, j = torch.triu_indices(len(chosen), len(chosen), 1, device=device)
distance, same = (chosen[i] - chosen[j]).norm(dim=1), kind[i] == kind[j]
far = same & (distance >= distance[same].quantile(0.75))
near = ~same & (distance <= distance[~same].quantile(0.25))

medians = {"untrained": {"one class, far": [], "two classes, near": []}, "trained": {"one class, far": [], "two classes, near": []}}
start = [rl.CkNetwork([2] * (depth + 1), seed=s, device=device) for s in range(study_seeds)]
learnt = [runs["width 2"].network(s) for s in range(study_seeds)]
for state, networks in (("untrained", start), ("trained", learnt)):
    for network in networks:
        y = network.to(device).coordinates(chosen)[-1].detach()
        ratio = ((y[i] - y[j]).norm(dim=1) / distance).log2()
        medians[state]["one class, far"].append(float(ratio[far].median() - ratio.median()))
        medians[state]["two classes, near"].append(float(ratio[near].median() - ratio.median()))
medians = {state: {kind: np.array(values) for kind, values in kinds.items()} for state, kinds in medians.items()}

# %%
y = learnt[runs["width 2"].typical()].coordinates(chosen)[-1]
pairs = torch.stack([distance, (y[i] - y[j]).norm(dim=1)], 1)
fig = drawn.near_far(pairs[same][::17], pairs[~same][::17], medians)
figures.save(fig, "section4_near_far")
plt.show()

# %% tags=["nbval-check-output"]
trained_medians = medians["trained"]
learned = {"contraction of far pairs, one class": -trained_medians["one class, far"]}
learned["expansion of near pairs, two classes"] = trained_medians["two classes, near"]
solved = runs["width 2"].solved.cpu().numpy()
notebook.decide(
    "near-far",
    ledger.effects({name: median_interval(values) for name, values in learned.items()}),
    {
        "median log2 ratio, trained": {name: median_interval(values) for name, values in trained_medians.items()},
        "the same, seeds at 0.0 % error": {k: median_interval(v[solved]) if solved.any() else "none" for k, v in trained_medians.items()},
        "control, untrained": {name: median_interval(values) for name, values in medians["untrained"].items()},
    },
    protocol=f"{study_seeds} seeds, 250 points, medians with bootstrap 95 % intervals; ratios relative to each network's median pair",
)

# %% [markdown]
# ## Is the learned metric curved?
#
# At constant width it is not. Where $P$ is invertible, $g = P^{\mathsf T} P$ says that the network is an isometry from the input with $g$
# onto a piece of Euclidean space, and curvature does not survive an isometry: the Riemann tensor
#
# $$R_{abcd} = g_{ae}\bigl(\partial_c \Gamma^e{}_{db} - \partial_d \Gamma^e{}_{cb} + \Gamma^e{}_{cf}\Gamma^f{}_{db} - \Gamma^e{}_{df}\Gamma^f{}_{cb}\bigr)$$
#
# vanishes, however much the ellipses of $g$ turn and stretch. All that the network learns is *where* the flat space is folded and
# stretched, not a curved geometry. It takes an output wider than the input to make a curved surface, and then the curvature is the one that
# the Gauss equation finds from outside, from the second fundamental form of the image. `riemann` differentiates the metric field,
# `gauss_equation` the map; the two share no formula.
#
# Rounding is judged against the size of the terms that cancel, $|g|\,|\Gamma|^2$ at each point.

# %%
flat = {f"order {k}, width {d}": rl.CkNetwork([d] * 6, order=k, step=0.3, **f64) for k in (1, 2) for d in (2, 3)}
flat |= {"order 0, width 2": rl.CkNetwork([2] * 4, order=0, **f64), "trained, width 2": trained}
curved = {f"output of width {d}": rl.CkNetwork([2, 2, 2, d], order=[1, 1, 0], step=0.3, **f64) for d in (3, 5)}
errors, controls = {}, {}
for name, net in (flat | curved).items():
    at = sample.x[5::50] if net.widths[0] == 2 else 0.5 * torch.randn(20, 3, dtype=torch.float64, device=device)
    field = lambda x, net=net: rl.pullback_metrics(net, x)[0]  # noqa: E731
    R, gamma, g = (part.flatten(1).abs().amax(1) for part in (riemann(field, at), christoffel(field, at), field(at)))
    (errors if name in flat else controls)[name] = float((R / (g * gamma**2)).max())
    if name in curved:
        errors[f"Gauss equation, {name}"] = deviation(riemann(field, at), gauss_equation(transition(net), at))

# %%
side = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64, device=device)
square = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
surface = curved["output of width 3"]
R = riemann(lambda x: rl.pullback_metrics(surface, x)[0], square.reshape(-1, 2))
K = R[:, 0, 1, 0, 1] / torch.linalg.det(rl.pullback_metrics(surface, square.reshape(-1, 2))[0])
fig = drawn.curvature(square, K.view(61, 61), title="a network from the plane to three dimensions")
figures.save(fig, "section4_curvature")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "flatness",
    ledger.identity(errors, controls, tolerance=1e-8),
    {"flat": list(flat), "curved (control)": controls, "tolerance, relative": 1e-8},
    protocol="Riemann tensor by automatic differentiation of the metric field at 20 points, against the size of its terms; float64",
)

# %% [markdown]
# ## What the classifier does not see: the gauge
#
# Replace the last coordinates $x^{(L)}$ by $A x^{(L)}$ and the readout $W$ by $W A^{-1}$, for any invertible $A$. Every logit stays as it
# is, and so does every probability; no training loss can prefer one $A$ to another. But Eq. 8 puts the Euclidean metric on the new
# coordinates, and $g$ becomes $P^{\mathsf T} A^{\mathsf T} A P$. Statements about learned distance are statements about a gauge, unless the
# output metric changes with it. Two that do: the *logit* metric $W^{\mathsf T} W$, the length of the change in the logits, and the *Fisher*
# metric $W^{\mathsf T} (\operatorname{diag} p - p p^{\mathsf T}) W$, the distance of the predicted distributions. The second knows only
# what the softmax does; with two classes it has rank at most 1, as there is only one number to predict.

# %%
torch.manual_seed(seed)
A = torch.randn(2, 2, dtype=torch.float64, device=device) + 2 * torch.eye(2).to(sample.x)
image, W, b = transition(trained), trained.readout.weight, trained.readout.bias
gauges = {"as trained": (image, W), "after A": (lambda x: image(x) @ A.mT, W @ torch.linalg.inv(A))}
g = {}
for name, (f, readout) in gauges.items():
    logits = f(sample.x) @ readout.mT + b
    p = logits.softmax(1)
    scores = readout - (p @ readout)[:, None]  # of each class: the gradient of log p, whose mean square is the Fisher metric
    output = {"Euclidean": None, "logit": readout.mT @ readout, "Fisher": scores.mT @ (p[..., None] * scores)}
    g[name] = {kind: rl.pullback_metric(f, sample.x, output_metric=eta) for kind, eta in output.items()} | {"logits": logits}
first, second = g.values()
errors = {kind: deviation(second[kind], first[kind]) for kind in ("logits", "logit", "Fisher")}
controls = {"Euclidean": deviation(second["Euclidean"], first["Euclidean"])}
values = torch.linalg.eigvalsh(first["Fisher"])
errors["second eigenvalue of the Fisher metric"] = float(values[:, 0].abs().max() / values[:, 1].max())

# %% tags=["nbval-check-output"]
notebook.decide(
    "gauge",
    ledger.identity(errors, controls),
    {
        "unchanged by A": list(errors)[:3],
        "changed by A: g, Euclidean, relative": controls["Euclidean"],
        "rank of the Fisher metric, at most": int((values > 1e-10 * values.max()).sum(1).max()),
    },
    protocol="one trained network and the same classifier after a random change of output coordinates, all points of the spiral, float64",
)

# %%
notebook.closing(seed=seed, draw_seeds=draw_seeds, study_seeds=study_seeds)
