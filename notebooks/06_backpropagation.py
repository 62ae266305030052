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
# # §6 Backpropagation as right actions
#
# Section 5 moved the metric from the output to the input by one group element for each layer. Section 6 says that
# backpropagation does the same. The gradient of the error is a covector. A covector is moved by multiplying it with the
# Jacobian of the layer on the *right*. The metric has two covector indices, so it is moved by doing this twice. At its
# end the section says that the product converges as the number of layers goes to infinity, as that of the pushforward
# does.
#
# Both are checked here. Eq. 15 is compared with automatic differentiation, for every weight and bias of networks of
# every order. The limit is compared with the adjoint equation of optimal control.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live
seed: int = 0  # of the weights, points and labels
draws: int = 5  # networks of each kind, compared with automatic differentiation
points: int = 200  # on the spirals
depth: int = 10  # layers
fields: int = 3  # smooth weight fields, for the limit
deepest: int = 512  # layers, for the limit; halved down to 16

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

import riemlib as rl
from riemlib import limits, metric
from riemlib.bundles import backpropagate, covectors, error_covector
from riemlib.companion import notebook, rules
from riemlib.companion.figures import save, section5
from riemlib.companion.rules import order_of_magnitude
from riemlib.companion.statistics import relative_error

# %%
notebook.opening("§6 Backpropagation", device=device)

# %% [markdown]
# ## The error as a covector
#
# Let $E$ be the mean softmax cross-entropy. At the output its gradient at each point is a row of $d$ numbers,
# $\partial E / \partial x^{(L)}$. It is what the coordinate frame $\partial_a$ of the output gives when it is applied
# to $E$. If the frame moves by a right action, these numbers do so, too:
#
# $$\Big(\frac{\partial}{\partial x^{(l)}}\Big)_a E
# = \Big(\Big(\frac{\partial}{\partial x^{(l+1)}}\Big) \triangleleft h_l\Big)_a E
# = \frac{\partial E}{\partial x^{(l+1)b}}\; h_l{}^b{}_a , \qquad h_l = \frac{\partial x^{(l+1)}}{\partial x^{(l)}} .$$
#
# This is one step of backpropagation. `covectors` takes covectors at the output to every layer. The picture shows the
# negative covectors of an untrained network. They point where each layer would move its points to lower the error. In
# each panel the longest arrow has the same length beside the extent of the points.

# %%
sample = rl.spiral(points, dtype=torch.float64, device=device)
f64 = {"seed": seed, "dtype": torch.float64, "device": device}
net = rl.CkNetwork([2] * (depth + 1), order=1, **f64)
error = error_covector(net, sample.x, sample.label)[:, None]
at = torch.arange(points // 40, points, points // 20)
coordinates = [x.detach().cpu() for x in net.coordinates(sample.x)]
at_points = [covector[at, 0].cpu() for covector in covectors(net, sample.x, error)]
fig = section5.error_covectors(coordinates, sample.label.cpu(), at, at_points)
save(fig, "section6_covectors")
plt.show()

# %% [markdown]
# ## Equation 15, layer by layer
#
# $$\frac{\partial E}{\partial W^{(l-1)}} = \frac{\partial E}{\partial x^{(L)}}\;
# \Big[\prod_{l'=L-1}^{l} \frac{\partial x^{(l'+1)}}{\partial x^{(l')}}\Big]\;
# \frac{\partial x^{(l)}}{\partial W^{(l-1)}} \tag{15}$$
#
# The bracket is a product of right actions, the last layer first. Here it is written out, one Jacobian for each layer.
# It is compared with the gradients with respect to the states, from automatic differentiation. There are two controls:
# the product in the wrong order, and the Jacobians acting from the left, on a column.

# %%
states = net.differences(sample.x)
loss = cross_entropy(net.readout(states[-1][0].mT), sample.label)
gradients = [g.mT for g in torch.autograd.grad(loss, [state[0] for state in states[1:]])]
hs = rl.jacobians(net, sample.x)
row, column = error, error.mT
off = [relative_error(row[:, 0], gradients[-1])]
for h, expected in zip(reversed(hs[1:]), gradients[-2::-1], strict=True):
    row, column = row @ h, h @ column
    off.append(relative_error(row[:, 0], expected))
print("layers from the output to the first, right actions:", [order_of_magnitude(e) for e in off])

# %%
wrong = error
for h in hs[1:]:
    wrong = wrong @ h
controls = {
    "first layer first": relative_error(wrong[:, 0], gradients[0]),
    "from the left": relative_error(column[..., 0], gradients[0]),
}
for name, e in controls.items():
    print(f"{name}: off by {e:.1g}")
assert max(off) < 1e-10 < min(controls.values())

# %% [markdown]
# The last factor, $\partial x^{(l)} / \partial W^{(l-1)}$, belongs to the parameters and ends the product. It is not a
# group element. It maps a change of the weights to a change of the state. Applied to a row it gives the well-known
# outer product of the error at $z$ with the input of the layer. `backpropagate` is Eq. 15 for all parameters at once,
# under the names that PyTorch gives them.
#
# For orders above 1 the row has a component for each entry of the state $(x, D_1, \dots)$. For weights that layers
# share, the contributions add. Nothing else changes.

# %%
kinds = {f"order {k}": {"order": k} for k in range(4)} | {
    "mixed orders": {"order": [1, 2, 0, 3, 2, 0, 1, 1, 3, 2]},
    "graded steps": {"order": 2, "step": [0.05 * (n + 1) for n in range(10)]},
    "shared weights": {"order": 2, "shared": True},
    "changing widths": {"order": [0, 1, 2, 0, 1, 0, 3, 3, 0, 1], "widths": [2, 5, 5, 5, 3, 3, 4, 4, 4, 2, 2]},
    "ReLU": {"order": 1, "activation": "relu"},
}


def gradient_errors(net):
    """The largest difference between Eq. 15 and automatic differentiation, for each parameter."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    expected = torch.autograd.grad(cross_entropy(net(sample.x), sample.label), parameters)
    found = backpropagate(net, sample.x, sample.label)
    return [float((found[name] - e).abs().max()) for name, e in zip(names, expected, strict=True)]


# %%
equal = {}
print(f"{'':18} order of magnitude of the largest difference")
for kind, settings in kinds.items():
    settings = {"widths": [2] * 11, "step": 0.5} | settings
    nets = [rl.CkNetwork(**settings, **f64 | {"seed": seed + draw}) for draw in range(draws)]
    errors = [gradient_errors(net) for net in nets]
    equal[kind] = max(max(each) for each in errors)
    largest = order_of_magnitude(equal[kind])
    print(f"{kind:18} {largest:>6}  over {draws} networks of {len(errors[0])} parameter tensors")
assert max(equal.values()) < 1e-10

# %% [markdown]
# ## One sweep for the metric and the error
#
# `metric.backward_sweep` multiplies covectors by the Jacobian of one layer after the other, from the output to the
# input. For the rows of the unit matrix it gives the pushforward $P$ of Eq. 12. $P^{\mathsf T} P$ is the metric of
# Eq. 10. For the row of the error it is backpropagation. Here one call does both. At the output there are three rows:
# $dx^1$, $dx^2$ and $dE$.

# %%
net = rl.CkNetwork([2] * (depth + 1), order=1, **f64)
unit = torch.eye(2, dtype=torch.float64, device=device).expand(points, 2, 2)
output = torch.cat([unit, error], 1).movedim(0, -1)  # (row, component, point)
slopes = metric.forward_pass(net, sample.x)[1]
*_, at_input = metric.backward_sweep(net, slopes, output)  # (row, entry of the state, component, point)
P, dE = at_input[:2, 0].movedim(-1, 0), at_input[2, 0].mT

# %%
x = sample.x.clone().requires_grad_()
(expected,) = torch.autograd.grad(cross_entropy(net(x), sample.label), x)
geometry = rl.geometry(net, sample.x)
sweep = {
    "P of Eq. 12": relative_error(P, geometry.P[0]),
    "metric of Eq. 10": relative_error(P.mT @ P, geometry.g[0]),
    "error, against automatic differentiation": relative_error(dE, expected),
    "error, as the output's row times P": relative_error(dE, (error @ P)[:, 0]),
}
for name, e in sweep.items():
    print(f"{name:42} {'0' if e == 0 else order_of_magnitude(e)}")
assert max(sweep.values()) < 1e-10

# %% [markdown]
# So the learned metric and the backpropagated error are one computation. This shows one use of the metric. Measure the
# length of the covector of the error with the inverse metric,
# $\lVert dE \rVert^2 = g^{ab}\,\partial_aE\,\partial_bE$. It is the same in every layer. Its Euclidean length is not.
# This Euclidean length is the gradient that vanishes or explodes.

# %%
dE = [covector[:, 0] for covector in covectors(net, sample.x, error)]
raised = [torch.linalg.solve(g, p) for g, p in zip(geometry.g, dE, strict=True)]
lengths = [torch.einsum("na,na->n", p, v).sqrt() for p, v in zip(dE, raised, strict=True)]
invariance = max(relative_error(length, lengths[-1]) for length in lengths)
growth = dE[0].norm(dim=1) / dE[-1].norm(dim=1)
print(f"with the inverse metric: one length in all layers, to {order_of_magnitude(invariance)}")
print(f"Euclidean, input over output: {float(growth.min()):.2f} to {float(growth.max()):.2f}")
assert invariance < 1e-8

# %% [markdown]
# How far is it a *group* action? Eq. 15 inverts nothing. So it is exact for singular and for rectangular Jacobians as
# well. For these it is an action of matrices, not of a group. Below we count the networks with a Jacobian that cannot
# be a group element because of its shape alone.

# %%
shapes = {}
for kind, settings in kinds.items():
    net = rl.CkNetwork(**{"widths": [2] * 11} | settings, **f64)
    shapes[kind] = [tuple(h.shape[1:]) for h in rl.jacobians(net, sample.x[:1])]
rectangular = [kind for kind, found in shapes.items() if any(a != b for a, b in found)]
print("with a rectangular Jacobian:", ", ".join(rectangular))
relu = rl.CkNetwork([2] * 11, order=0, activation="relu", **f64)
ranks = torch.linalg.matrix_rank(rl.jacobians(relu, sample.x)[0]).unique().tolist()
print("and a plain ReLU layer, of rank", ranks)

# %% tags=["nbval-check-output"]
notebook.decide(
    "backprop-right-action",
    rules.given(
        rules.identity(equal | {"layer by layer": max(off)} | sweep, controls),
        len(rectangular),
        len(kinds),
        when="as right actions of GL(d) where every Jacobian is square and invertible, as products of matrices always",
        otherwise="a Jacobian is rectangular",
    ),
    {
        "kinds of network": list(kinds),
        "networks of each": draws,
        "largest error": order_of_magnitude(max(equal.values())),
        "controls": controls,
    },
    protocol="Every weight, bias and the readout by Eq. 15 against automatic differentiation in float64; states and "
    "metric in the same sweep.",
)

# %% [markdown]
# ## The limit: the adjoint equation
#
# Let the weights follow a smooth field, $W^{(n)} = W(n/L)$, with steps $\Delta l = 1/L$ outside the activation. The
# network is then Euler's scheme for $dx/dl = f(z)$ with $z = W(l)\,x + b(l)$. The row of Eq. 15 is Euler's scheme for
# the costate equation, which runs from the output to the input:
#
# $$\frac{dp}{dl} = -A(l)^{\mathsf T} p, \qquad A = \frac{\partial f}{\partial z}\, W, \qquad
# p(1) = \frac{\partial E}{\partial x(1)} .$$
#
# The gradient of the weights of a layer, divided by $\Delta l$, approximates a density in $l$: $p$ applied to
# $\partial f / \partial W$. An adaptive solver of order 8 gives the reference. The control multiplies the same
# Jacobians in the wrong order.

# %%
stops = [n / 8 for n in reversed(range(8))]  # positions l at which they are compared
depths = [16 * 2**n for n in range(20) if 16 * 2**n <= deepest]
few = rl.spiral(20, dtype=torch.float64, device=device)


def solved(W, b, readout):
    """The limit: p at the positions `stops`, and the density of the weights' gradient there."""
    end = limits.solve(W, b, few.x)[-1].requires_grad_()
    (p,) = torch.autograd.grad(cross_entropy(readout(end), few.label), end)
    xs, ps = limits.adjoint(W, b, end.detach(), p, at=stops)
    density = []
    for l, x, p in zip(torch.tensor(stops, dtype=torch.float64, device=device), xs, ps, strict=True):
        _, pull_back = torch.func.vjp(lambda w, x=x, l=l: (x @ w.mT + b(l)).tanh(), W(l))
        density.append(pull_back(p)[0])
    return ps, torch.stack(density)


# %%
def discrete(net):
    """What a network has in place of the limit, and its covector at the input with the Jacobians in the wrong order."""
    L = len(net.weights)
    layers = [round(l * L) for l in stops]
    wrong = error = error_covector(net, few.x, few.label)[:, None]
    rows, gradient = covectors(net, few.x, error), backpropagate(net, few.x, few.label)
    for h in rl.jacobians(net, few.x):
        wrong = wrong @ h
    p = torch.stack([rows[n][:, 0] for n in layers])
    return p, L * torch.stack([gradient[f"weights.{n}"] for n in layers]), wrong[:, 0]


# %%
measured = []
for field in range(fields):
    W, b = limits.smooth_field(2, seed=seed + field)
    nets = [limits.discretise(W, b, limits.partition(L)) for L in depths]
    ps, density = solved(W, b, nets[0].readout)
    references = {"error's covector, all l": ps, "weights' gradient, all l": density, "wrong order": ps[-1]}
    for net, L in zip(nets, depths, strict=True):
        net.readout = nets[0].readout  # one classifier for all depths
        for (quantity, reference), value in zip(references.items(), discrete(net), strict=True):
            row = {"quantity": quantity, "field": field, "layers": L, "error": relative_error(value, reference)}
            measured.append(row)
errors = pd.DataFrame(measured)

# %%
fig = section5.adjoint_convergence(errors[errors["field"] == 0], control="wrong order")
save(fig, "section6_adjoint")
plt.show()

# %% [markdown]
# The order is fitted over the last four depths of each field. Each of these is twice the one before.

# %%
last = errors[errors["layers"].isin(depths[-4:])]
orders = {}
for (quantity, field), table in last.groupby(["quantity", "field"]):
    order = orders[quantity, field] = limits.order_of_convergence(1 / table["layers"], table["error"])
    print(f"{quantity:26} field {field}   {order.value:.3f} [{order.low:.3f}, {order.high:.3f}]")

# %% [markdown]
# So Eq. 15 converges to the gradient of the limit, for the states and for the weights. The rate is that of Euler's
# scheme. The hypothesis is that of the other limits: the weights are samples of a field that is regular in $l$, and the
# step is explicit. Two remarks for those who train neural differential equations. First, the gradient of the discrete
# network is exact for that network at every depth. Only the difference between the two problems is of order $\Delta l$.
# Second, the density has a limit, the gradient has not: the gradient of each single layer vanishes as $1/L$.

# %% tags=["nbval-check-output"]
of_product = {f"{quantity}, field {field}": order for (quantity, field), order in orders.items()}
wrong = {name: order for name, order in of_product.items() if name.startswith("wrong order")}
right = {name: order for name, order in of_product.items() if name not in wrong}
notebook.decide(
    "adjoint-limit",
    rules.order_of(1, right, wrong),
    {
        "orders": right,
        "wrong order of the product": [order.value for order in wrong.values()],
        "layers": depths[-4:],
    },
    protocol="Largest error over points and eight positions, relative, against the adjoint equation solved by an "
    "adaptive scheme of order 8; 95 % intervals.",
)

# %%
notebook.closing(seed=seed)
