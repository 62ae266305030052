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
# A trained network sends the data to coordinates in which a linear readout tells the classes apart. Distance is then best measured there, at the
# output, and the paper's idea is to carry that yardstick back: put the Euclidean metric on the last layer and pull it back, layer by layer, to the
# input. What comes out is a Riemannian metric on the data, one symmetric matrix a point, and it is the same distance in whichever layer's
# coordinates it is written.
#
# This notebook takes Eqs. 8 to 13 and Definitions 4.2 and 4.3 one at a time: the statement, the call that is that equation, a picture or a check, and
# a control that has to fail. Each check is against automatic differentiation, which knows nothing of our layer-by-layer formulas. Then come the
# section's remarks: changing dimension, better charts, more width, near and far. Last are two things that the paper does not say about its metric and a
# geometer would ask first: is it curved, and does it depend on choices that the classifier does not see?

# %% tags=["parameters"]
points: int = 1000  # on the spiral, both arms together
depth: int = 10  # layers
draw_seeds: int = 8  # trained for the pictures
draw_updates: int = 1500  # Adam updates of those
batch_size: int = 300  # points in a minibatch
learning_rate: float = 1e-2  # at the start; cosine decay to 0
seed: int = 0  # of the random networks, points and vectors of the checks
device: str = "cpu"  # where the networks live

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.func import jacrev, jvp, vmap

import riemlib as rl
from riemlib import figures, ledger, notebook
from riemlib.curvature import ball_preimages, transition
from riemlib.evidence import deviation, median_interval
from riemlib.figures import metric as drawn

notebook.opening("§4 The metric", device=device, time="about a minute")

# %% [markdown]
# ## The networks of the checks
#
# The identities are checked in double precision on random networks of orders 0 to 4 and of mixed orders, with unequal steps, with a width that
# changes, and with activations other than tanh. `transition(net, l)` is the rest of the network from layer $l$ on, as a function to be differentiated
# automatically: the oracle of this section.

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
# It is a choice, and the only one: everything below follows from it. `output_metric` makes another, and the end of this notebook shows what that
# changes. For orders above 1 a layer's state also carries differences of $x$; those have length zero at the output.

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
# `pullback_metrics` is Eq. 9 swept once from the output to the input; it returns $g$ at every layer. Nothing in it asks for a derivative of more than
# one layer, which is why the paper speaks of backpropagating the metric.

# %%
metrics = rl.pullback_metrics(net, x)
J = rl.jacobians(net, x)
step = max(deviation(J[l].mT @ metrics[l + 1] @ J[l], metrics[l]) for l in range(len(J)))
assert step < 1e-12
[tuple(g.shape) for g in metrics]

# %% [markdown]
# The check: for every network above and every layer, the recursion against $J^{\mathsf T}\eta J$ of the whole rest of the network, differentiated
# automatically. The control multiplies by the Jacobians from the wrong side, $J g J^{\mathsf T}$, an easy slip that gives a matrix just as symmetric
# and positive.

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
# the identity and a correction of the size of the step. `jacobians` computes it for all layers; for orders above 1 the same rule acts on the layer's
# whole state. Below it is compared with automatic differentiation of single layers, and with two slips that must show: the step left out, and $W$
# transposed.

# %%
coordinates, layers = net.coordinates(x), range(len(net.weights))
reference = [vmap(jacrev(transition(net, l, l + 1)))(coordinates[l]) for l in layers]
errors = {"jacobians": max(deviation(a, b) for a, b in zip(rl.jacobians(net, x), reference, strict=True))}

slopes = [1 - torch.tanh(coordinates[l] @ net.weights[l].mT + net.biases[l]) ** 2 for l in layers]
by_hand = [torch.eye(3).to(x) + s[..., None] * W * h for s, W, h in zip(slopes, net.weights, net.steps, strict=True)]
errors["Eq. 11 as printed"] = max(deviation(a, b) for a, b in zip(by_hand, reference, strict=True))
no_step = [torch.eye(3).to(x) + s[..., None] * W for s, W in zip(slopes, net.weights, strict=True)]
transposed = [torch.eye(3).to(x) + s[..., None] * W.mT * h for s, W, h in zip(slopes, net.weights, net.steps, strict=True)]
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
# The Jacobian from layer $l$ to the output is the product of the layers' Jacobians. They do not commute, so the order is part of the statement: the
# last layer stands leftmost,
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
# The pictures of this section use one residual tanh network of width 2, trained on the spiral, in double precision. Of a few seeds we draw a
# typical one among those with the least error; it is an illustration, and no verdict rests on it.

# %%
sample = rl.spiral(points, dtype=torch.float64, device=device)
template = rl.CkNetwork([2] * (depth + 1), dtype=torch.float64, device=device)
training = {"batch_size": batch_size, "updates": draw_updates, "learning_rate": learning_rate}
run = rl.fit(template, sample, seeds=range(draw_seeds), **training)
trained = run.networks[run.typical()]
print(f"{int(run.solved.sum())} of {draw_seeds} at 0.0 % error; drawn: error {float(run.error[run.typical()]):.1%}")

# %% [markdown]
# A ball of radius $\varepsilon$ of the metric at a point is, to first order, the ellipse $\{v : g_{ab}v^av^b \le \varepsilon^2\}$, with semi-axes
# $\varepsilon/\sqrt{\lambda_i}$ along the eigenvectors of $g$: where the network stretches, balls are small. The picture shows them over the input plane
# beside the volume density $\sqrt{\det g} = |\det P|$. The network puts its volume between the arms, where the classes have to be moved apart, and
# gives little to the arms themselves. A dark curve in the density is a fold: there $P$ is singular and $g$ no longer a metric.

# %%
side = torch.linspace(-1.15, 1.15, 201, dtype=torch.float64, device=device)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
volume = torch.linalg.det(rl.pullback_metrics(trained, plane.reshape(-1, 2))[0]).clamp(min=1e-12).sqrt()
centres = plane[10::15, 10::15].reshape(-1, 2)
radius = 0.15
ellipses = rl.balls(rl.pullback_metrics(trained, centres)[0], radius)
small = ellipses.axes[:, 0] < 0.3  # a longer ellipse would hide its neighbours
fig = drawn.ellipse_field(sample, centres, ellipses.outline(centres)[small], plane, volume.view(201, 201), radius=radius)
figures.save(fig, "section4_ellipses")
print(f"{int((~small).sum())} of {len(small)} ellipses are longer than the grid is wide, and left out")
plt.show()

# %%
v = ellipses.directions[:, :, 0] * ellipses.axes[:, :1]
on_boundary = rl.squared_length(rl.pullback_metrics(trained, centres)[0], v)
assert torch.allclose(on_boundary.sqrt(), torch.full_like(on_boundary, radius), rtol=1e-6)

# %% [markdown]
# ## Eq. 13: the line element
#
# The squared length of a displacement $dx$ at layer $l$ is
#
# $$ds^2 = \eta_{ab}\, P^{a}{}_{c}\, P^{b}{}_{d}\, dx^{c}\, dx^{d} = g\bigl(x^{(l)}\bigr)_{cd}\, dx^c dx^d, \tag{13}$$
#
# and is the same number at every layer if $dx$ is carried along by the pushforward. So the length of a curve does not depend on the layer in which it
# is measured; and at the output it is the ordinary Euclidean length. We take one arm of the spiral, carry its tangent vector through the layers, and
# integrate `squared_length` at each. The control is the Euclidean length in layer $l$, which is another number at every layer.

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
controls = {f"Euclidean, layer {l}": abs(euclidean[l] / length[-1] - 1) for l in range(0, depth, 3)}
assert max(errors.values()) < 1e-9 and min(controls.values()) > 1e-3

# %% [markdown]
# With finite displacements, the chord between neighbouring points of the curve in place of the tangent vector, Eq. 13 holds only up to the chords' size:
# a line element is a statement about infinitesimal vectors. Refining the sampling shows it, with the metric averaged over the two ends of a chord; the
# error falls as the square of the spacing at every layer.

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
    protocol="one arm of the spiral in one trained network: speed by Eq. 13 at every layer against the Euclidean speed at the output, pointwise",
)

# %% [markdown]
# ## From ε to δ
#
# The paper reads Eq. 13 as an ε-δ relation: the points within $\varepsilon$ of $x^{(L)}$ at the output are a δ-ball at layer $l$. The ellipse of Eq. 13 is
# that set to first order only. The true preimage of the output's circle solves $F(x) = F(p) + \varepsilon u$ for each direction $u$, and we find it by
# Newton's method. Two networks: the trained one, at points of its data where $P$ is invertible, and one whose small step makes every layer a
# diffeomorphism, so that there is one preimage and Newton's method finds it. The deviation of one boundary from the other, measured in $g$ and divided by
# $\varepsilon$, should be proportional to $\varepsilon$.

# %%
certified = rl.CkNetwork([2] * (depth + 1), step=1 / depth, **f64)
radii = [2.0**-k for k in range(9, 2, -1)]
found = {}
for name, map_, size in (("small step", certified, 1.0), ("trained", trained, 0.1)):
    at = sample.x[25 :: len(sample) // 20]
    P = rl.pushforward(map_, at)
    for r in radii:
        first, true = ball_preimages(transition(map_), at, size * r)
        gap = torch.einsum("nab,nkb->nka", P, true - first).norm(dim=-1).amax(1) / (size * r)
        found.setdefault(name, []).append(gap)
found = {name: torch.stack(gaps, 1) for name, gaps in found.items()}
{name: [ledger.show(v) for v in gap.nanmedian(0).values.tolist()] for name, gap in found.items()}
