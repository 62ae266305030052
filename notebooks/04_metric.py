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
# A trained network sends the data to coordinates in which a linear readout tells the classes apart. Distance is best
# measured in these coordinates, at the output. The idea of the paper is to carry this distance back to the input. Put
# the Euclidean metric on the last layer. Pull it back through one layer after the other. The result is a Riemannian
# metric on the data: one symmetric matrix at each point. It gives the same distance in the coordinates of every layer.
#
# This notebook takes Eqs. 8 to 13 and Definitions 4.2 and 4.3 one at a time. For each there is the statement, the call
# that computes it, a picture or a check, and a control that has to fail. Each check compares with automatic
# differentiation, which does not use our formulas for the layers. Then come the remarks of the section: change of
# dimension, better charts, more width, near and far. At the end are two questions that the paper does not ask about
# its metric, but that a geometer would ask first. Is the metric curved? Does it depend on choices that the classifier
# does not see?

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
from dataclasses import asdict, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import LocallyLinearEmbedding
from sklearn.neighbors import NearestNeighbors
from torch.func import jacrev, jvp, vmap

import riemlib as rl
from riemlib.companion import notebook, rules
from riemlib.companion.figures import save, section4
from riemlib.companion.statistics import holm, mcnemar, medians, rank_correlation, relative_error, shares, success_table
from riemlib.curvature import ball_preimages, christoffel, gauss_equation, riemann
from riemlib.limits import order_of_convergence
from riemlib.networks import evolve

# %%
notebook.opening("§4 The metric", device=device, time="about half a minute")

# %% [markdown]
# ## The networks of the checks
#
# The equations are checked in double precision on random networks. These have orders 0 to 4 and mixed orders, unequal
# steps, a width that changes, and activations other than tanh. `net[l:]` is the rest of the network from layer $l$ on.
# Its automatic derivative, `jacobian`, is what the formulas of this section are compared with.

# %%
torch.manual_seed(seed)
f64 = {"dtype": torch.float64, "device": device, "seed": seed}
cases = {f"order {k}": rl.CkNetwork([3] * 6, order=k, step=0.5, **f64) for k in range(5)}
unequal = {"order": [1, 2, 0, 4, 3], "step": [0.1, 0.4, 0.2, 0.7, 0.3]}
cases["mixed orders, unequal steps"] = rl.CkNetwork([3] * 6, **unequal, **f64)
cases["changing width"] = rl.CkNetwork([3, 3, 5, 5, 2, 4], order=[1, 0, 2, 0, 0], **f64)
cases["softplus"] = rl.CkNetwork([3] * 6, activation="softplus", **f64)
cases["ReLU"] = rl.CkNetwork([3] * 6, activation="relu", **f64)
cases = {name: net.requires_grad_(False) for name, net in cases.items()}
x = torch.randn(32, 3, dtype=torch.float64, device=device)
[f"{name}: orders {net.orders}" for name, net in cases.items()]


# %%
def jacobian(f, x):
    """The Jacobian of f at each point, (n, d', d), by automatic differentiation."""
    return vmap(jacrev(lambda point: f(point[None])[0]))(x)


# %% [markdown]
# ## Eq. 8: Euclidean at the output
#
# At the last layer the metric is the identity in the coordinates $x^{(L)}$. This is a choice:
#
# $$g\bigl(x^{(L)}\bigr)_{ab} = \eta_{ab}. \tag{8}$$
#
# It is the only choice: everything below follows from it. With `output_metric` one can choose another metric. The end
# of this notebook shows what that changes. For orders above 1 the state of a layer also carries differences of $x$.
# These have length zero at the output.

# %%
net = cases["order 1"]
eta = rl.pullback_metrics(net, x)[-1]
stretched = torch.diag(torch.tensor([1.0, 2.0, 3.0]).to(x))
other = rl.pullback_metrics(net, x, output_metric=stretched)[-1]
assert torch.equal(eta, torch.eye(3).to(x).expand(32, 3, 3)) and not torch.equal(eta, other)
eta[0]

# %% [markdown]
# ## Eqs. 9 and 10: the pullback, layer by layer
#
# One layer pulls the metric back through its Jacobian $J = \partial x^{(l+1)}/\partial x^{(l)}$, once for each index:
#
# $$g\bigl(x^{(l)}\bigr)_{ab} = \Bigl(\tfrac{\partial x^{(l+1)}}{\partial x^{(l)}}\Bigr)^{c}{}_{a}
# \Bigl(\tfrac{\partial x^{(l+1)}}{\partial x^{(l)}}\Bigr)^{d}{}_{b}\, g\bigl(x^{(l+1)}\bigr)_{cd}. \tag{9}$$
#
# All layers together, from the output down to layer $l$, give
#
# $$g\bigl(x^{(l)}\bigr) = P^{\mathsf T} \eta\, P, \qquad P = \frac{\partial x^{(L)}}{\partial x^{(l)}}. \tag{10}$$
#
# `pullback_metrics` applies Eq. 9 layer by layer in one sweep from the output to the input. It returns $g$ at every
# layer. It never needs the derivative of more than one layer. This is why the paper says that the metric is
# backpropagated.

# %%
metrics = rl.pullback_metrics(net, x)
J = rl.jacobians(net, x)
one_layer = max(relative_error(J[l].mT @ metrics[l + 1] @ J[l], metrics[l]) for l in range(len(J)))
assert one_layer < 1e-12
[tuple(g.shape) for g in metrics]

# %% [markdown]
# The check covers every network above and every layer. It compares the sweep with $J^{\mathsf T}\eta J$, where $J$ is
# the automatic derivative of the whole rest of the network. The control multiplies by the Jacobians from the wrong
# side, $J g J^{\mathsf T}$. This mistake is easy to make: the matrix that it gives is just as symmetric and positive.

# %%
errors = {}
for name, case in cases.items():
    reference = [rl.pullback_metric(case[l:], state) for l, state in enumerate(case.states(x)[:-1])]
    errors[name] = max(relative_error(g, r) for g, r in zip(rl.pullback_metrics(case, x), reference, strict=False))

wrong = metrics[-1]
for layer in reversed(J):
    wrong = layer @ wrong @ layer.mT
controls = {"transposed Jacobians": relative_error(wrong, metrics[0])}
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "pullback-recursion",
    rules.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation over all layers and 32 random points, float64",
)

# %% [markdown]
# ## Eq. 11: the Jacobian of a residual layer
#
# A layer of first order is $x^{(l+1)} = x^{(l)} + f(z^{(l+1)})\,\Delta l$ with $z^{(l+1)} = W x^{(l)} + b$. The chain
# rule gives
#
# $$\frac{\partial x^{(l+1)}}{\partial x^{(l)}} = \delta + \frac{\partial f(z^{(l+1)})}{\partial z^{(l+1)}}
# \frac{\partial z^{(l+1)}}{\partial x^{(l)}}\, \Delta l. \tag{11}$$
#
# It is the identity plus a correction of the size of the step. `jacobians` computes it for all layers. For orders above
# 1 the same rule acts on the whole state of the layer. Below it is compared with automatic differentiation of single
# layers. Two mistakes must show: the step left out, and $W$ transposed.

# %%
coordinates, layers = net.coordinates(x), range(len(net.weights))
reference = [jacobian(net[l : l + 1], coordinates[l]) for l in layers]
errors = {"jacobians": max(relative_error(a, b) for a, b in zip(rl.jacobians(net, x), reference, strict=True))}

one = torch.eye(3).to(x)
slopes = [1 - torch.tanh(y @ W.mT + b) ** 2 for y, W, b in zip(coordinates, net.weights, net.biases, strict=False)]
by_hand = [one + s[..., None] * W * h for s, W, h in zip(slopes, net.weights, net.steps, strict=True)]
errors["Eq. 11 as printed"] = max(relative_error(a, b) for a, b in zip(by_hand, reference, strict=True))
slope, W, h = slopes[0][..., None], net.weights[0], net.steps[0]
controls = {
    "step left out": relative_error(one + slope * W, reference[0]),
    "W transposed": relative_error(one + slope * W.mT * h, reference[0]),
}
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "residual-jacobian",
    rules.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation of each layer, 32 random points, order 1, tanh"
    ", float64",
)

# %% [markdown]
# ## Eq. 12: the ordered product
#
# The Jacobian from layer $l$ to the output is the product of the Jacobians of the layers. These do not commute. So the
# order is part of the statement. The last layer stands leftmost:
#
# $$P^{a_L}{}_{a_l} = \prod_{l'=L-1}^{l} \Bigl[\delta + \frac{\partial f}{\partial z}\frac{\partial z}{\partial x}
# \,\Delta l\Bigr]. \tag{12}$$

# %%
errors = {}
for name, case in cases.items():
    reference = [jacobian(case[l:], state) for l, state in enumerate(case.states(x)[:-1])]
    found = [rl.pushforward(case, x, layer=l) for l in range(len(reference))]
    errors[name] = max(relative_error(P, r) for P, r in zip(found, reference, strict=True))

last_leftmost = torch.linalg.multi_dot
products = [[last_leftmost([h[n] for h in order]) for n in range(len(x))] for order in (J[::-1], J)]
written_out, reversed_product = (torch.stack(product) for product in products)
controls = {"reversed product": relative_error(reversed_product, rl.pushforward(net, x))}
errors["written out"] = relative_error(written_out, rl.pushforward(net, x))
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "product-order",
    rules.identity(errors, controls),
    {"cases": list(errors), "tolerance, relative": 1e-10, **controls},
    protocol="largest relative deviation from automatic differentiation over all layers, 32 random points, float64",
)

# %% [markdown]
# ## A trained network to look at
#
# The pictures of this section use one residual tanh network of width 2, trained on the spiral. What follows is computed
# in double precision. A few seeds are trained. Among those with the least error we draw a typical one. It is an
# illustration: no verdict depends on which one is drawn.

# %%
spiral = rl.spiral(points, device=device)
template = rl.CkNetwork([2] * (depth + 1), device=device)
training = {"batch_size": batch_size, "updates": draw_updates, "learning_rate": learning_rate}
run = rl.fit(template, spiral, seeds=range(draw_seeds), **training)
trained, sample = run.networks[run.typical()].double().requires_grad_(False), spiral.to(torch.float64)
print(f"{int(run.solved.sum())} of {draw_seeds} at 0.0 % error; drawn: error {float(run.error[run.typical()]):.1%}")

# %% [markdown]
# A ball of the metric at a point, with radius $\varepsilon$, is to first order the ellipse
# $\{v : g_{ab}v^av^b \le \varepsilon^2\}$. Its semi-axes are $\varepsilon/\sqrt{\lambda_i}$ along the eigenvectors of
# $g$. The $\sqrt{\lambda_i}$ are the singular values of $P$, from which `balls` computes them: $g = P^{\mathsf T} P$
# keeps only half of their digits. Where the network stretches, balls are small. The picture shows them over the input
# plane. Beside it is the volume density $\sqrt{\det g} = |\det P|$. It is bright where the network stretches most. A
# dark curve is a fold: there $P$ is singular, and $g$ is not a metric. §2 counts how often a residual network that was
# trained with step 1 folds through its own data.

# %%
side = torch.linspace(-1.15, 1.15, 201, dtype=torch.float64, device=device)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
volume = torch.linalg.det(rl.pushforward(trained, plane.reshape(-1, 2))).abs().clamp(min=1e-6)
centres, radius = plane[10::15, 10::15].reshape(-1, 2), 0.02
at_centres = rl.geometry(trained, centres)
ellipses = at_centres.balls(radius)[0]

# %%
longest = 0.075  # the distance between two centres is 0.17
shortened = replace(ellipses, axes=ellipses.axes.clamp(max=longest))
cut = ellipses.axes[:, 0] > longest
fig = section4.ellipse_field(sample, shortened.outline(centres), cut, plane, volume.view(201, 201), radius=radius)
save(fig, "section4_ellipses")
print(f"{int(cut.sum())} of {len(cut)} ellipses are longer than the grid is wide: cut there, in grey")
plt.show()

# %%
v = ellipses.directions[:, :, 1] * ellipses.axes[:, 1:]  # the short semi-axis
on_boundary = rl.squared_length(at_centres.g[0], v)
assert torch.allclose(on_boundary.sqrt(), torch.full_like(on_boundary, radius), rtol=1e-6)

# %% [markdown]
# ## Eq. 13: the line element
#
# The squared length of a displacement $dx$ at layer $l$ is
#
# $$ds^2 = \eta_{ab}\, P^{a}{}_{c}\, P^{b}{}_{d}\, dx^{c}\, dx^{d} = g\bigl(x^{(l)}\bigr)_{cd}\, dx^c dx^d. \tag{13}$$
#
# It is the same number at every layer if the pushforward carries $dx$ along. So the length of a curve does not depend
# on the layer in which it is measured. At the output it is the ordinary Euclidean length. We take one arm of the
# spiral, carry its tangent vector through the layers, and integrate `squared_length` at each layer. The control is the
# Euclidean length in layer $l$, which is another number at every layer.


# %%
def first_arm(t):
    """The first arm of the spiral at t from 0 to 1."""
    return (0.1 + 0.9 * t)[..., None] * torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t)], -1)


t = torch.linspace(0, 1, 20001, dtype=torch.float64, device=device)
at, tangent = jvp(first_arm, (t,), (torch.ones_like(t),))
metrics, tangents = rl.pullback_metrics(trained, at), [tangent]
for J in rl.jacobians(trained, at):
    tangents.append((J @ tangents[-1][..., None])[..., 0])

# %%
speeds = [rl.squared_length(g, v).sqrt() for g, v in zip(metrics, tangents, strict=True)]
euclidean_speeds = [v.norm(dim=1) for v in tangents]
length, euclidean = ([float(torch.trapezoid(each, t)) for each in of] for of in (speeds, euclidean_speeds))
errors = {f"layer {l}": relative_error(speeds[l], euclidean_speeds[-1]) for l in range(depth + 1)}
controls = {f"Euclidean, layer {l}": relative_error(euclidean_speeds[l], speeds[l]) for l in range(0, depth, 3)}
assert max(errors.values()) < 1e-9 and min(controls.values()) > 1e-3

# %% [markdown]
# Now take finite displacements: in place of the tangent vector, the chord between neighbouring points of the curve.
# Then Eq. 13 holds only up to the size of the chords, because a line element is a statement about infinitesimal
# vectors. A finer sampling shows it. The metric is averaged over the two ends of a chord. The error falls as the square
# of the spacing at every layer.

# %%
counts, chords = [251, 501, 1001, 2001, 4001], []
for count in counts:
    found = rl.geometry(trained, first_arm(torch.linspace(0, 1, count, dtype=torch.float64, device=device)))
    pieces = [rl.squared_length((g[1:] + g[:-1]) / 2, y.diff(dim=0)) for g, y in zip(found.g, found.x, strict=True)]
    chords.append([float(piece.sqrt().sum()) for piece in pieces])
off = np.abs(np.array(chords).T / length[-1] - 1)
orders = -np.polyfit(np.log(counts), np.log(off.T), 1)[0]
fig = section4.lengths(length, euclidean, counts, off)
save(fig, "section4_lengths")
plt.show()

# %% tags=["nbval-check-output"]
between = [round(float(orders.min()), 1), round(float(orders.max()), 1)]
notebook.decide(
    "line-element",
    rules.identity(errors, controls, tolerance=1e-9),
    {**controls, "order of the chords in the spacing, range over layers": between},
    protocol="one arm in one trained network: speed by Eq. 13 at every layer against the Euclidean speed at the output"
    ", pointwise",
)

# %% [markdown]
# ## From ε to δ
#
# The paper reads Eq. 13 as a relation between ε and δ: the points within $\varepsilon$ of $x^{(L)}$ at the output are a
# δ-ball at layer $l$. The ellipse of Eq. 13 is this set only to first order. The true preimage of the circle at the
# output solves $F(x) = F(p) + \varepsilon u$ for each direction $u$. Newton's method finds it. There are two networks.
# In the first the step is so small that every layer is a diffeomorphism. The second is the trained one, at points of
# its own data. The deviation of one boundary from the other is measured in $g$ and divided by $\varepsilon$. It should
# be proportional to $\varepsilon$. We fit the power over the radii where it is below a tenth. The control takes the
# semi-axes $\varepsilon\sqrt{\lambda}$ in place of $\varepsilon/\sqrt{\lambda}$. Its deviation is the same at every
# radius.

# %%
small_step = rl.CkNetwork([2] * (depth + 1), step=1 / depth, **f64).requires_grad_(False)
radii, at = np.geomspace(1e-7, 0.1, 9), sample.x[len(sample) // 40 :: len(sample) // 20]


def image(net):
    """x^(L) as a function of the points. `net[:]` is the same but for the last bits, which show at the small radii."""
    return lambda x: evolve([x.mT], net.weights, net.biases, net.stencils, net.activation)[-1][0].mT


def deviations(net, radius, wrong_axes=False):
    """At each point, the largest deviation of the ellipse from the true preimage, in g, over the radius."""
    P = rl.pushforward(net, at)
    ellipse, true = ball_preimages(image(net), at, radius, count=32)
    if wrong_axes:  # J^T u in place of J^-1 u: axes ε√λ along the same directions
        ellipse = at[:, None] + (ellipse - at[:, None]) @ P.mT @ P
    return ((true - ellipse) @ P.mT).norm(dim=-1).amax(1) / radius


# %%
compared = [("small step", small_step, False), ("trained", trained, False), ("axes ε√λ", small_step, True)]
gaps = []
for name, net, wrong_axes in compared:
    for radius in radii:
        gap = deviations(net, radius, wrong_axes).cpu()
        gaps.append(pd.DataFrame({"network": name, "point": range(len(at)), "radius": radius, "gap": gap}))
gaps = pd.concat(gaps, ignore_index=True)
control = gaps["network"] == "axes ε√λ"
fitted = gaps[np.where(control, gaps["gap"] > 0, gaps["gap"] < 0.1)]

# %%
powers = []
for (name, point), table in fitted.groupby(["network", "point"], sort=False):
    if len(table) > 3:
        power = order_of_convergence(table["radius"], table["gap"], next_term=False).value
        powers.append({"network": name, "point": point, "power": power})
powers = pd.DataFrame(powers)
below_a_tenth = fitted[fitted["network"] == "trained"].groupby("point")["radius"].max()
reach = below_a_tenth.reindex(range(len(at)), fill_value=0).median()
spread = float(trained.coordinates(sample.x)[-1].std(0).norm())
print("The ε below which the ellipse is within a tenth of the true preimage, as a share of the spread of the output")
print(f"(trained network, median point): {reach / spread:.1e}")
assert powers.loc[powers["network"] == "axes ε√λ", "power"].abs().max() < 0.1

# %%
centre, sizes = sample.x[[len(sample) // 8]], [0.3, 0.6, 0.9]
first, true = zip(*[ball_preimages(image(small_step), centre, size) for size in sizes], strict=True)
fig = section4.preimages([f[0] for f in first], [t[0] for t in true], centre[0], sizes, gaps)
save(fig, "section4_preimages")
plt.show()

# %%
ranges = powers.groupby("network", sort=False)["power"].agg(["median", "min", "max"])
of_networks = powers.loc[powers["network"] != "axes ε√λ", "power"]
good = (of_networks - 1).abs() < 0.1
largest = gaps[(gaps["network"] == "trained") & (gaps["radius"] == radii[-1])]
far = ~(largest["gap"] < 0.1)

# %% tags=["nbval-check-output"]
notebook.decide(
    "epsilon-delta",
    rules.condition(
        int(good.sum()),
        len(good),
        int(far.sum()),
        len(far),
        when="to first order, ε small against the distance to the next fold",
    ),
    {
        "power of ε in the deviation, median and range": {
            name: [middle, [low, high]] for name, middle, low, high in ranges.itertuples()
        },
        "points so near a fold that the ellipse holds at fewer than four of the radii": 2 * len(at) - len(of_networks),
        "trained network, ε = 0.1: points where the ellipse is off by more than a tenth": f"{far.sum()} of {len(far)}",
    },
    protocol="20 points in each network, 32 directions, true preimage by Newton's method; a power within 0.1 of 1 "
    "counts as first order",
)

# %% [markdown]
# So the relation holds to first order. For the trained network the ellipse is the true preimage only for radii that are
# very small beside the size of its output. Pictures of balls that are large enough to be seen, such as Figure 3 of the
# paper, show the metric at the centres of the balls. They do not show a set of points that the network sends within
# $\varepsilon$ of each other.
#
# ## Definitions 4.2 and 4.3: pushforward and pullback
#
# A vector $X$ at a point of $M$ is a derivation. The pushforward along $\varphi: M \to N$ is defined by what it does to
# functions. The pullback metric is defined by what it does to vectors:
#
# $$(\varphi_* X) f = X(f \circ \varphi), \qquad g_M(X, Y) = g_N(\varphi_* X, \varphi_* Y).$$
#
# The code works with matrices instead: $\varphi_* X = P X$. Both definitions are checked as they stand. $\varphi$ is a
# random network, $f$ a random function (the logit of another network). The vectors and the metric on the output are
# random, too. The control pushes vectors forward with the transposed matrix.


# %%
def apply(A, v):
    """The matrix A times the vector v, at each point."""
    return (A @ v[..., None])[..., 0]


def pushforward_error(phi, P, X):
    """Def. 4.2 at the points x: how far (P X) f is from X (f ∘ φ), for a random function f."""
    other = rl.CkNetwork([phi.widths[-1]] * 3, **f64 | {"seed": seed + 1}).requires_grad_(False)
    y, f_phi = jvp(lambda x: (phi[:](x), other(phi[:](x))[:, 0]), (x,), (X,))
    return relative_error(jvp(lambda y: other(y)[:, 0], (y[0],), (apply(P, X),))[1], f_phi[1])


# %%
torch.manual_seed(seed)
errors, controls = {}, {}
for name, phi in cases.items():
    X, Y = torch.randn(2, 32, 3, dtype=torch.float64, device=device)
    root = torch.randn(phi.widths[-1], phi.widths[-1], dtype=torch.float64, device=device)
    g_N = root @ root.mT
    found = rl.geometry(phi, x, output_metric=g_N)
    P, g_M = found.P[0], found.g[0]
    errors[f"4.2, {name}"] = pushforward_error(phi, P, X)
    pulled_back = torch.einsum("nab,na,nb->n", g_M, X, Y)
    errors[f"4.3, {name}"] = relative_error(pulled_back, torch.einsum("ab,na,nb->n", g_N, apply(P, X), apply(P, Y)))
    if phi.widths[0] == phi.widths[-1]:
        controls[f"4.2, {name}, transposed"] = pushforward_error(phi, P.mT, X)
assert max(errors.values()) < 1e-10 < min(controls.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "pushforward-pullback",
    rules.identity(errors, controls),
    {"cases": list(cases), "weakest control": min(controls.values()), "tolerance, relative": 1e-10},
    protocol="one random function, two random vectors a point and one random output metric for each network, 32 points"
    ", float64",
)

# %% [markdown]
# ## Changing dimension
#
# A layer may be wider or narrower than the one before it. Here this needs order 0: a residual layer adds its input, so
# it keeps the width. The pullback is defined for any map. The paper takes the dimension of the data manifold to be the
# width of the narrowest layer. It says that wider layers are immersions of this manifold. Ranks show whether that is
# so. The map from layer $l$ to the output is an *immersion* where its rank is $d_l$, and a *submersion* where it is
# $d_L$. Only in the first case is $g$ at layer $l$ a metric, positive definite as Def. 4.1 requires.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(seed)
shapes = {"widening": [2, 3, 4], "narrowing": [4, 3, 2], "bottleneck": [4, 3, 2, 3, 4], "line": [3, 2, 1, 2]}
shapes["narrow, then narrower"] = [5, 3, 4, 2, 3]
nets = {name: rl.CkNetwork(widths, order=0, **f64).requires_grad_(False) for name, widths in shapes.items()}
kinds = {(True, True): "both", (True, False): "immersion", (False, True): "submersion", (False, False): "neither"}
rows = []
for name, net in nets.items():
    at = torch.randn(200, net.widths[0], dtype=torch.float64, device=device)
    ranks = [torch.linalg.matrix_rank(P).unique().tolist() for P in rl.geometry(net, at).P]  # the ranks of g
    maps = [kinds[r == [d], r == [net.widths[-1]]] for r, d in zip(ranks, net.widths, strict=True)]
    rows.append({"network": name, "widths": net.widths, "rank of g": ranks, "map to the output": maps})
pd.DataFrame(rows).set_index("network")

# %% [markdown]
# There is one rank at all 200 random points: these tanh networks satisfy the hypothesis of constant rank, which the
# paper uses without saying so. ReLU does not satisfy it. There is then no one dimension of the
# manifold:

# %%
folded = rl.CkNetwork([3, 3, 3], order=0, activation="relu", **f64).requires_grad_(False)
P = rl.pushforward(folded, torch.randn(200, 3, dtype=torch.float64, device=device))
relu_ranks, many = torch.linalg.matrix_rank(P).unique(return_counts=True)
dict(zip([f"rank {r}" for r in relu_ranks.tolist()], many.tolist(), strict=True))

# %% [markdown]
# Now the claim, layer by layer. A layer *after* the narrowest one is the image of the narrowest. The map from there is
# an immersion if its rank is the width of the narrowest layer. For a layer *before* the narrowest one there is no map
# from the narrowest to it. The map goes the other way, and is a submersion that forgets directions. If such a layer
# were an immersion of a manifold of the narrowest dimension, $g$ would be positive definite on it. We count the layers
# where it is not.

# %%
after, before = [], []
for net in nets.values():
    narrowest = net.widths.index(min(net.widths))
    found = rl.geometry(net, torch.randn(200, net.widths[0], dtype=torch.float64, device=device))
    for l, width in enumerate(net.widths):
        if l > narrowest and width > min(net.widths):
            J = jacobian(net[narrowest:l], found.x[narrowest])
            after.append(torch.linalg.matrix_rank(J).unique().tolist() == [min(net.widths)])
        if l < narrowest:
            before.append(bool((torch.linalg.matrix_rank(found.P[l]) < width).all()))
assert all(before) and all(after)

# %% tags=["nbval-check-output"]
when = "the wider layer comes after the narrowest one"
notebook.decide(
    "dimension-bottleneck",
    rules.condition(sum(after), len(after), sum(before), len(before), when=when),
    {
        "wider layers after the narrowest that are immersions of it": f"{sum(after)} of {len(after)}",
        "layers before it where g is degenerate at every point": f"{sum(before)} of {len(before)}",
        "control, ranks of one ReLU network over its input": relu_ranks.tolist(),
    },
    protocol="five tanh networks of order 0, 200 random points each, numerical rank in float64",
)

# %% [markdown]
# The width that counts is the narrowest one *still to come*: the rank of $g$ at layer $l$ is at most the least width
# from $l$ on. What a bottleneck does to the metric is best seen at width 1. Below, a network of width 8 is narrowed to
# one coordinate before its output, and trained on the spiral. At every point of the plane $g$ has rank 1. It is zero
# along the white lines, which follow the level lines of the coordinate of the bottleneck. Points along such a line are
# at distance zero. So $g$ is a metric on the set of level lines, not on the plane.

# %%
narrow = rl.CkNetwork([2] + [8] * 4 + [1, 2], order=[0, 1, 1, 1, 0, 0], device=device)
squeezed_run = rl.fit(narrow, spiral, seeds=range(draw_seeds), **training)
squeezed = squeezed_run.networks[squeezed_run.typical()].double().requires_grad_(False)
coordinate = squeezed.coordinates(plane.reshape(-1, 2))[5].view(201, 201)
centres = plane[6::9, 6::9].reshape(-1, 2)
zero_directions = rl.geometry(squeezed, centres).balls(1.0)[0].directions[:, :, 0]  # of the longest axis
fig = section4.degenerate_directions(sample, plane, coordinate, centres, zero_directions, bottleneck=5)
save(fig, "section4_bottleneck")
print(f"drawn: error {float(squeezed_run.error[squeezed_run.typical()]):.1%}")
plt.show()

# %%
gradient = jacobian(squeezed[:5], centres)[:, 0]
along = (gradient * zero_directions).sum(1).abs() / gradient.norm(dim=1)
assert float(along.max()) < 1e-6

# %% [markdown]
# ## Better charts, more dimensions
#
# Why is a plane spiral hard for a network of width 2? The answer of the paper is that the network does not have the
# right nonlinearity. With polar coordinates, or with more dimensions to work in, the task would be easy. Both are
# statements about how often training succeeds. So both are decided over many seeds.
#
# **Protocol**, fixed in advance. Success is 0.0 % error on all points. Each condition trains the same seeds on the same
# points with the same minibatches, with order 1 and the depth given above. There are fewer updates than in Figure 2:
# the parameters cell has the number, which is the same for every condition. Proportions have Wilson's 95 % intervals.
# Differences are tested by McNemar's exact test on the paired seeds, with Holm's correction where there are several.
#
# *Polar.* Which angle? A point of the plane has $\theta \in (-\pi, \pi]$. This angle jumps along a ray and cuts both
# arms there. It is what a network could compute from the point. A chart of the *arms* has $\theta$ unwound along the
# spiral. It needs the pitch of the spiral, but not the class of a point. In it the arms are two parallel lines. We try
# both.
#
# *Width.* A residual layer keeps its width, so a wider network needs a wider input. The points are padded with zeros
# to the width of the network. This adds room to the data, and nothing else.

# %%
plain = rl.Condition(
    depth=depth, points=points, batch_size=batch_size, updates=study_updates, learning_rate=learning_rate
)
charts = [replace(plain, chart=chart) for chart in ("cartesian", "polar", "unwound")]
wider = [replace(plain, width=width) for width in widths]
study = rl.study([*charts, *wider], seeds=range(study_seeds), device=device)


def condition(chart, width):
    """What tells a condition of this study from the others, as the records call it."""
    return {"cartesian": f"width {width}", "polar": "polar", "unwound": "polar, unwound"}[chart]


settings = zip(study.runs["chart"], study.runs["width"], strict=True)
runs = study.runs.assign(condition=[condition(*each) for each in settings])

# %%
successes = shares(runs, ["condition", "chart"])
fig = section4.successes(successes)
save(fig, "section4_charts_and_width")
plt.show()

# %% tags=["nbval-ignore-output"]
success_table(runs, ["condition"])


# %%
def against_plain(conditions, plain):
    """Success under these conditions against the plain one, seed by seed: McNemar's test, p with Holm's correction."""
    solved = runs.pivot(index="seed", columns="condition", values="solved")
    tests = [asdict(mcnemar(solved["width 2"], solved[name])) for name in conditions]
    table = pd.DataFrame(tests, index=[f"{name} less {plain}" for name in conditions])
    return table.assign(p_holm=pd.Series(holm(table["p"].to_dict())))


def effects(tests):
    """The difference in success, with its interval, for each row of `against_plain`."""
    return {name: (test.difference, *test.interval) for name, test in tests.iterrows()}


def at_zero_error(conditions):
    """The share of seeds at 0.0 % error, with its interval, under each of these conditions."""
    chosen = successes.set_index("condition").loc[conditions]
    return {row.Index: {"at 0.0 %": row.share, "interval": [row.low, row.high]} for row in chosen.itertuples()}


# %% tags=["nbval-check-output"]
tests = against_plain(["polar", "polar, unwound"], "Cartesian")
unwound = charts[-1].sample()
straight = LogisticRegression(C=1e6, max_iter=1000).fit(unwound.x, unwound.label)
only_one = tests[["only_second", "only_first"]]
notebook.decide(
    "polar-easy",
    rules.effects(effects(tests), tests["p_holm"]),
    {
        **at_zero_error(["width 2", "polar", "polar, unwound"]),
        "seeds that only polar solves, only Cartesian": {name: [*counts] for name, *counts in only_one.itertuples()},
        "exact McNemar p, Holm": tests["p_holm"].to_dict(),
        "a linear classifier on the unwound input": straight.score(unwound.x, unwound.label),
    },
    protocol=f"{study_seeds} paired seeds, order 1, depth {depth}, {study_updates} updates; success is 0.0 % error on "
    f"all {points} points",
)

# %% tags=["nbval-check-output"]
wide = [f"width {width}" for width in widths]
tests = against_plain(wide, "width 2")
notebook.decide(
    "width-easier",
    rules.effects(effects(tests), tests["p_holm"]),
    {**at_zero_error(["width 2", *wide]), "exact McNemar p, Holm": tests["p_holm"].to_dict()},
    protocol=f"{study_seeds} paired seeds, zero-padded input, order 1, depth {depth}, {study_updates} updates; success "
    "is 0.0 % error",
)

# %% [markdown]
# ## Locally Linear Embedding
#
# The paper says that Locally Linear Embedding finds the charts of the spiral with ease, because its nearest neighbours
# are a flexible nonlinearity. We take the one of scikit-learn, to one and to two components, over neighbourhood sizes
# that span the useful range. We ask two questions. Can a linear classifier tell the arms apart in the embedding? Does a
# coordinate of the embedding run along each arm, as that of a chart must? The second is measured by the rank
# correlation with the position on the arm, for the worse of the two arms. The method never sees a label. But its
# neighbourhoods may reach from one arm to the other. Where they do, the method is given wrong geometry. Whether they do
# is checked at every point.

# %%
cloud, label = spiral.x.cpu().double().numpy(), spiral.label.cpu().numpy()
position = spiral.position.cpu().numpy()
nearest = NearestNeighbors(n_neighbors=max(neighbours)).fit(cloud).kneighbors(return_distance=False)


def embedded(components, k):
    """The quality of Locally Linear Embedding with k neighbours, as a row of a table."""
    method = LocallyLinearEmbedding(n_neighbors=k, n_components=components, eigen_solver="dense")
    y = method.fit_transform(cloud) * len(cloud) ** 0.5  # to unit variance: the classifier's penalty has a scale
    accuracy = LogisticRegression(C=1e6, max_iter=1000).fit(y, label).score(y, label)
    along = [max(abs(rank_correlation(c[label == arm], position[label == arm])) for c in y.T) for arm in (0, 1)]
    crossing = bool((label[nearest[:, :k]] != label[:, None]).any())
    settings = {"components": components, "neighbours": k, "crossing": crossing}
    return settings | {"accuracy": accuracy, "correlation": min(along)}


# %%
quality = pd.DataFrame([embedded(components, k) for components in (1, 2) for k in neighbours])
on_input = LogisticRegression(C=1e6).fit(cloud, label).score(cloud, label)
print(f"a linear classifier on the input itself: {on_input:.3f}")
fig = section4.embedding_quality(quality)
save(fig, "section4_lle")
plt.show()

# %%
apart, crossing = quality["accuracy"] == 1, quality["crossing"]
with_chart = apart & (quality["correlation"] > 0.99)
within, beyond = apart[~crossing], apart[crossing]
when = "no neighbourhood reaches the other arm, and separation is all that is asked: a chart comes with it in "
when += f"{with_chart.sum()} of {with_chart.size} settings"


def by_components(column, name):
    """A column of the table, over the neighbourhood sizes, for each number of components."""
    lists = quality.groupby("components")[column].agg(list)
    return {f"{name}, {count} component{'s' * (count > 1)}": values for count, values in lists.items()}


# %% tags=["nbval-check-output"]
notebook.decide(
    "lle-charts",
    rules.condition(int(within.sum()), within.size, int((~beyond).sum()), beyond.size, when=when),
    {
        "neighbourhood sizes": list(neighbours),
        **by_components("accuracy", "accuracy"),
        **by_components("correlation", "rank correlation with the position on the arm"),
        "neighbourhoods reach the other arm": crossing[quality["components"] == 1].tolist(),
        "control, accuracy on the input": on_input,
    },
    protocol="scikit-learn's LLE on the spiral, then logistic regression; separation: no point misclassified; a chart: "
    "rank correlation above 0.99",
)

# %% [markdown]
# The claim has two halves, and they do not hold together. While every neighbourhood stays on its arm, the graph of
# neighbours falls into two pieces. The first coordinate of the embedding tells the pieces apart and is constant on
# each. So the arms are separated, but only because they are not connected. Their charts are not found. Where
# neighbourhoods do connect the arms, there is a coordinate that runs along both arms at once. This is a chart, but it
# does not tell the arms apart. Few of these settings give both in one embedding.

# %% [markdown]
# ## Near and far
#
# Two points of one class may be far apart in the input and close in the learned metric. Two points of different classes
# may be near in the input and far apart in the learned metric. Learned distance means here the Euclidean distance at
# the output, which is the sum that Eq. 13 gives along straight lines at the output. Its scale means nothing by itself.
# So the ratio of learned to input distance of a pair is taken relative to the median pair of the same network. Fixed in
# advance: *far* pairs are the quarter of the pairs of one class that are farthest apart in the input. *Near* pairs are
# the quarter of the pairs of two classes that are nearest. All seeds count, whether they reach 0.0 % error or not. The
# seeds that do, and the untrained networks, are shown beside them.

# %%
stride = max(1, points // 250)
chosen, chosen_label = spiral.x[::stride], spiral.label[::stride]
i, j = torch.triu_indices(len(chosen), len(chosen), 1, device=device)
distance, same = (chosen[i] - chosen[j]).norm(dim=1), chosen_label[i] == chosen_label[j]
far = same & (distance >= distance[same].quantile(0.75))
near = ~same & (distance <= distance[~same].quantile(0.25))


# %%
def learned_distance(net):
    """The distance at the output, for all pairs of the chosen points."""
    y = net.to(device).coordinates(chosen)[-1].detach()
    return (y[i] - y[j]).norm(dim=1)


def median_ratios(net):
    """For each kind of pairs, the median log2 ratio of learned to input distance, relative to the median pair."""
    ratio = (learned_distance(net) / distance).log2()
    kinds = {"one class, far": far, "two classes, near": near}
    return {name: float(ratio[pairs].median() - ratio.median()) for name, pairs in kinds.items()}


# %%
learnt = study.trained(plain)
rows = []
for s in range(study_seeds):
    untrained = rl.CkNetwork([2] * (depth + 1), seed=s, device=device)
    for state, net in (("untrained", untrained), ("trained", learnt.network(s))):
        for pairs, value in median_ratios(net).items():
            rows.append({"state": state, "seed": s, "pairs": pairs, "value": value})
ratios = pd.DataFrame(rows)

# %%
both = torch.stack([distance, learned_distance(learnt.network(learnt.typical_seed))], 1)
fig = section4.near_far(both[same][::17], both[~same][::17], ratios)
save(fig, "section4_near_far")
plt.show()


# %%
def median_and_interval(table):
    """The median over the seeds with its interval, for each kind of pairs."""
    return {row.pairs: (row.median, row.low, row.high) for row in medians(table, ["pairs"]).itertuples()}


ratios_trained = ratios[ratios["state"] == "trained"]
solved = ratios_trained["seed"].map(dict(zip(learnt.seeds, learnt.solved.tolist(), strict=True)))
is_far = ratios_trained["pairs"] == "one class, far"
claimed = {False: "expansion of near pairs, two classes", True: "contraction of far pairs, one class"}
gains = ratios_trained.assign(
    pairs=is_far.map(claimed), value=ratios_trained["value"].where(~is_far, -ratios_trained["value"])
)
of_solved = median_and_interval(ratios_trained[solved]) if solved.any() else dict.fromkeys(ratios["pairs"], "none")

# %% tags=["nbval-check-output"]
notebook.decide(
    "near-far",
    rules.effects(median_and_interval(gains)),
    {
        "median log2 ratio, trained": median_and_interval(ratios_trained),
        "the same, seeds at 0.0 % error": of_solved,
        "control, untrained": median_and_interval(ratios[ratios["state"] == "untrained"]),
    },
    protocol=f"{study_seeds} seeds, 250 points, medians with bootstrap 95 % intervals; ratios relative to each "
    "network's median pair",
)

# %% [markdown]
# ## Is the learned metric curved?
#
# At constant width it is not. Where $P$ is invertible, $g = P^{\mathsf T} P$ says that the network is an isometry from
# the input with $g$ onto a piece of Euclidean space. An isometry keeps curvature. So the Riemann tensor
#
# $$R_{abcd} = g_{ae}\bigl(\partial_c \Gamma^e{}_{db} - \partial_d \Gamma^e{}_{cb}
# + \Gamma^e{}_{cf}\Gamma^f{}_{db} - \Gamma^e{}_{df}\Gamma^f{}_{cb}\bigr)$$
#
# vanishes, however much the ellipses of $g$ turn and stretch. The network does not learn a curved geometry. It learns
# only *where* the flat space is folded and stretched. A curved surface needs an output that is wider than the input.
# Its curvature is the one that the Gauss equation finds from outside, from the second fundamental form of the image.
# `riemann` differentiates the metric field, `gauss_equation` the map. They have no formula in common. (`riemann` takes
# second derivatives of $g$, which is the same tensor with less rounding than derivatives of $\Gamma$.)
#
# Rounding is judged against the size of the terms that cancel, $|g|\,|\Gamma|^2$ at each point.


# %%
def metric_field(net):
    """The metric at the input, as a function of points (n, d)."""
    return lambda x: rl.pullback_metrics(net, x)[0]


def relative_curvature(net, at):
    """The largest entry of the Riemann tensor at these points, against the size of its terms."""
    field = metric_field(net)
    parts = riemann(field, at), christoffel(field, at), field(at)
    R, gamma, g = (part.flatten(1).abs().amax(1) for part in parts)
    return float((R / (g * gamma**2)).max())


# %%
flat = {f"order {k}, width {d}": rl.CkNetwork([d] * 6, order=k, step=0.3, **f64) for k in (1, 2) for d in (2, 3)}
flat |= {"order 0, width 2": rl.CkNetwork([2] * 4, order=0, **f64), "trained, width 2": trained}
curved = {f"output of width {d}": rl.CkNetwork([2, 2, 2, d], order=[1, 1, 0], step=0.3, **f64) for d in (3, 5)}
errors, controls, on_spiral = {}, {}, sample.x[5::50]
for name, net in flat.items():
    on_plane = net.widths[0] == 2
    at = on_spiral if on_plane else 0.5 * torch.randn(20, 3, dtype=torch.float64, device=device)
    errors[name] = relative_curvature(net, at)
for name, net in curved.items():
    controls[name] = relative_curvature(net, on_spiral)
    from_outside = gauss_equation(net.requires_grad_(False)[:], on_spiral)
    from_inside = riemann(metric_field(net), on_spiral)
    errors[f"Gauss equation, {name}"] = relative_error(from_inside, from_outside)

# %%
side = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64, device=device)
square = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
at, surface = square.reshape(-1, 2), curved["output of width 3"]
log_volume = rl.balls_of(rl.pushforward(surface, at), 1.0).log_volume  # log √det g
K = riemann(metric_field(surface), at)[:, 0, 1, 0, 1] / (2 * log_volume).exp()
fig = section4.curvature(square, K.view(61, 61), title="a network from the plane to three dimensions")
save(fig, "section4_curvature")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "flatness",
    rules.identity(errors, controls, tolerance=1e-8),
    {"flat": list(flat), "curved (control)": controls, "tolerance, relative": 1e-8},
    protocol="Riemann tensor by automatic differentiation of the metric field at 20 points, against the size of its "
    "terms; float64",
)

# %% [markdown]
# ## What the classifier does not see: the gauge
#
# Replace the last coordinates $x^{(L)}$ by $A x^{(L)}$ and the readout $W$ by $W A^{-1}$, for any invertible $A$. Every
# logit stays as it is, and so does every probability. No training loss can prefer one $A$ to another. But Eq. 8 puts
# the Euclidean metric on the new coordinates, and $g$ becomes $P^{\mathsf T} A^{\mathsf T} A P$. So statements about
# learned distance depend on the choice of $A$, the gauge, unless the output metric changes with it. Two output metrics
# do. The *logit* metric $W^{\mathsf T} W$ is the length of the change in the logits. The *Fisher* metric
# $W^{\mathsf T} (\operatorname{diag} p - p p^{\mathsf T}) W$ is the distance between the predicted distributions. The
# Fisher metric knows only what the softmax does. With two classes it has rank at most 1, because there is only one
# number to predict.


# %%
def metrics_by_output(f, readout):
    """For a map f and a readout of its image: the logits, and the metrics at the input by three output metrics."""
    logits = f(sample.x) @ readout.mT + trained.readout.bias
    p = logits.softmax(1)
    scores = readout - (p @ readout)[:, None]  # the gradients of log p_j; their mean square is the Fisher metric
    output = {"logit": readout.mT @ readout, "Fisher": scores.mT @ (p[..., None] * scores), "Euclidean": None}
    found = {kind: rl.pullback_metric(f, sample.x, output_metric=eta) for kind, eta in output.items()}
    return {"logits": logits} | found


# %%
torch.manual_seed(seed)
A = torch.randn(2, 2, dtype=torch.float64, device=device) + 2 * torch.eye(2).to(sample.x)
W = trained.readout.weight
as_trained = metrics_by_output(trained[:], W)
after_A = metrics_by_output(lambda x: trained[:](x) @ A.mT, W @ torch.linalg.inv(A))
errors = {kind: relative_error(after_A[kind], as_trained[kind]) for kind in as_trained}
controls = {"Euclidean": errors.pop("Euclidean")}
unchanged = list(errors)
values = torch.linalg.eigvalsh(as_trained["Fisher"])
errors["second eigenvalue of the Fisher metric"] = float(values[:, 0].abs().max() / values[:, 1].max())

# %% tags=["nbval-check-output"]
notebook.decide(
    "gauge",
    rules.identity(errors, controls),
    {
        "unchanged by A": unchanged,
        "changed by A: g, Euclidean, relative": controls["Euclidean"],
        "rank of the Fisher metric, at most": int((values > 1e-10 * values.max()).sum(1).max()),
    },
    protocol="one trained network and the same classifier after a random change of output coordinates, all points of "
    "the spiral, float64",
)

# %% [markdown]
# In JupyterLab, controls above the figure set the output metric and the radius $\varepsilon$ of the balls. Look at how the
# ellipses of one network change with the output metric alone. The Fisher metric of two classes is degenerate: its ellipses
# are infinitely long, so all of them are cut, and its volume density is 0 (drawn as $10^{-6}$).

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

p, coarse = trained(centres).softmax(1), slice(None, None, 5)
scores, density = W - (p @ W)[:, None], volume.view(201, 201)[coarse, coarse]
etas = {"Euclidean": None, "logit": W.mT @ W, "Fisher": scores.mT @ (p[..., None] * scores)}
volumes = {"Euclidean": density, "logit": density * torch.linalg.det(W).abs(), "Fisher": torch.full_like(density, 1e-6)}
fields = {name: rl.geometry(trained, centres, eta) for name, eta in etas.items()}


def balls_by(output="Euclidean", epsilon=0.02):
    """Balls and volume density by one of the three output metrics."""
    balls = fields[output].balls(epsilon)[0]
    cut, axes = balls.axes[:, 0] > longest, balls.axes.clamp(max=longest)
    outlines = replace(balls, axes=axes).outline(centres, 33)
    return section4.ellipse_field(sample, outlines, cut, plane[coarse, coarse], volumes[output], radius=epsilon)


play(balls_by, output=[*etas], epsilon=(0.005, 0.1, 0.005))

# %%
notebook.closing(seed=seed, draw_seeds=draw_seeds, study_seeds=study_seeds)
