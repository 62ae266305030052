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
# Section 5 moved the metric from the output to the input by one group element a layer. Section 6 says that backpropagation is the same walk: the
# gradient of the error is a covector, a covector is moved by multiplying it with the layer's Jacobian on the *right*, and the metric,
# having two covector indices, is moved by doing so twice. The section ends on the remark that the product converges as the layers become
# infinitely many, as the pushforward's does.
#
# Both are checked here: Eq. 15 for every weight and bias of networks of every order against automatic differentiation, and the limit against
# the adjoint equation of optimal control.

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
import torch
from torch.nn.functional import cross_entropy

import riemlib as rl
from riemlib import figures, flow, ledger, metric, notebook
from riemlib.bundles import adjoint, backpropagate, covectors, error_covector
from riemlib.evidence import deviation
from riemlib.figures import bundles as drawn

# %%
notebook.opening("§6 Backpropagation", device=device)

# %% [markdown]
# ## The error as a covector
#
# Let $E$ be the mean softmax cross-entropy. At the output its gradient at each point is a row of $d$ numbers, $\partial E / \partial x^{(L)}$:
# what one gets on applying the coordinate frame $\partial_a$ of the output to $E$. If the frame moves by a right action, so do these numbers,
#
# $$\Big(\frac{\partial}{\partial x^{(l)}}\Big)_a E = \Big(\Big(\frac{\partial}{\partial x^{(l+1)}}\Big) \triangleleft h_l\Big)_a E
# = \frac{\partial E}{\partial x^{(l+1)b}}\; h_l{}^b{}_a , \qquad h_l = \frac{\partial x^{(l+1)}}{\partial x^{(l)}} ,$$
#
# and that is one step of backpropagation. `covectors` takes rows at the output to every layer. Drawn are the negative covectors of an untrained
# network, longest arrow alike in each panel: where every layer would have its points moved to lower the error.

# %%
sample = rl.spiral(points, dtype=torch.float64, device=device)
where = {"seed": seed, "dtype": torch.float64, "device": device}
net = rl.CkNetwork([2] * (depth + 1), order=1, **where)
error = error_covector(net, sample.x, sample.label)[:, None]
rows = covectors(net, sample.x, error)
at = torch.arange(points // 40, points, points // 20)
coordinates = [x.detach().cpu() for x in net.coordinates(sample.x)]
fig = drawn.error_covectors(coordinates, sample.label.cpu(), at, [row[at, 0].cpu() for row in rows])
figures.save(fig, "section6_covectors")
plt.show()

# %% [markdown]
# ## Equation 15, layer by layer
#
# $$\frac{\partial E}{\partial W^{(l-1)}} = \frac{\partial E}{\partial x^{(L)}}\;
# \Big[\prod_{l'=L-1}^{l} \frac{\partial x^{(l'+1)}}{\partial x^{(l')}}\Big]\; \frac{\partial x^{(l)}}{\partial W^{(l-1)}} \tag{15}$$
#
# The bracket is a product of right actions, last layer first. Here it is in the open, one Jacobian a layer, beside the gradients
# with respect to the states that automatic differentiation gives. The controls: the product in the wrong order, and the Jacobians
# acting from the left, on a column.

# %%
states = net.differences(sample.x)
loss = cross_entropy(net.readout(states[-1][0].mT), sample.label)
gradients = [g.mT for g in torch.autograd.grad(loss, [state[0] for state in states[1:]])]
row, column, hs = error, error.mT, rl.jacobians(net, sample.x)
off = [deviation(row[:, 0], gradients[-1])]
for h, expected in zip(reversed(hs[1:]), gradients[-2::-1], strict=True):
    row, column = row @ h, h @ column
    off.append(deviation(row[:, 0], expected))
wrong = error
for h in hs[1:]:
    wrong = wrong @ h
print("layers from the output to the first, right actions:", [ledger.power(e) for e in off])

# %%
controls = {"first layer first": deviation(wrong[:, 0], gradients[0]), "from the left": deviation(column[..., 0], gradients[0])}
for name, e in controls.items():
    print(f"{name}: off by {e:.1g}")
assert max(off) < 1e-10 < min(controls.values())

# %% [markdown]
# The last factor belongs to the parameters and ends the walk: $\partial x^{(l)} / \partial W^{(l-1)}$ is not a group element but the map from a change
# of weights to a change of state. Applied to a row it gives the well-known outer product of the error at $z$ with the
# layer's input. `backpropagate` is Eq. 15 for all parameters at once, under the names that PyTorch gives them.
#
# For orders above 1 the row has a component for each entry of the state $(x, D_1, \dots)$, and for weights that layers share
# the contributions add. Nothing else changes.

# %%
kinds = {f"order {k}": {"order": k} for k in range(4)} | {
    "mixed orders": {"order": [1, 2, 0, 3, 2, 0, 1, 1, 3, 2]},
    "graded steps": {"order": 2, "step": [0.05 * (n + 1) for n in range(10)]},
    "shared weights": {"order": 2, "shared": True},
    "changing widths": {"order": [0, 1, 2, 0, 1, 0, 3, 3, 0, 1], "widths": [2, 5, 5, 5, 3, 3, 4, 4, 4, 2, 2]},
    "ReLU": {"order": 1, "activation": "relu"},
}
equal = {}
print(f"{'':18} order of magnitude of the largest difference")
for kind, settings in kinds.items():
    equal[kind] = 0.0
    for draw in range(draws):
        net = rl.CkNetwork(**{"widths": [2] * 11, "step": 0.5} | settings, **where | {"seed": seed + draw})
        names, parameters = zip(*net.named_parameters(), strict=True)
        expected = torch.autograd.grad(cross_entropy(net(sample.x), sample.label), parameters)
        found = backpropagate(net, sample.x, sample.label)
        equal[kind] = max(equal[kind], *(float((found[n] - e).abs().max()) for n, e in zip(names, expected, strict=True)))
    print(f"{kind:18} {ledger.power(equal[kind]):>6}  over {draws} networks of {len(names)} parameter tensors")
assert max(equal.values()) < 1e-10

# %% [markdown]
# ## One sweep for the metric and the error
#
# `metric.pull_back` multiplies rows by a layer's Jacobian. Give it the rows of the unit matrix and it sweeps out the pushforward $P$ of Eq. 12, whose
# square $P^{\mathsf T} P$ is the metric of Eq. 10; give it the row of the error and it backpropagates. Here it does both in the same call:
# at the output three rows, $dx^1$, $dx^2$ and $dE$.

# %%
net = rl.CkNetwork([2] * (depth + 1), order=1, **where)
unit = torch.eye(2, dtype=torch.float64, device=device).expand(points, 2, 2)
rows = torch.cat([unit, error], 1).movedim(0, -1)[:, None]  # (row, entry of the state, component, point)
slopes = metric.slopes(net, sample.x)
for (W, _, stencil), slope in zip(reversed(metric.layers(net)), reversed(slopes), strict=True):
    rows = metric.pull_back(rows, W, slope, stencil)
P, dE = rows[:2, 0].movedim(-1, 0), rows[2, 0].mT

# %%
x = sample.x.clone().requires_grad_()
(expected,) = torch.autograd.grad(cross_entropy(net(x), sample.label), x)
sweep = {
    "P of Eq. 12": deviation(P, rl.pushforward(net, sample.x)),
    "metric of Eq. 10": deviation(P.mT @ P, rl.pullback_metrics(net, sample.x)[0]),
    "error, against automatic differentiation": deviation(dE, expected),
    "error, as the output's row times P": deviation(dE, (error @ P)[:, 0]),
}
for name, e in sweep.items():
    print(f"{name:42} {'0' if e == 0 else ledger.power(e)}")
assert max(sweep.values()) < 1e-10

# %% [markdown]
# The learned metric and the backpropagated error are therefore one computation. One thing the metric is good for follows: the length of the error's
# covector, measured with the inverse metric, $\lVert dE \rVert^2 = g^{ab}\,\partial_aE\,\partial_bE$, is the same in every layer. Its Euclidean length
# is not, and that is the gradient which vanishes or explodes.

# %%
rows = [row[:, 0] for row in covectors(net, sample.x, error)]
lengths = [torch.einsum("na,na->n", c, torch.linalg.solve(g, c)).sqrt() for c, g in zip(rows, rl.pullback_metrics(net, sample.x), strict=True)]
invariance = max(deviation(length, lengths[-1]) for length in lengths)
growth = rows[0].norm(dim=1) / rows[-1].norm(dim=1)
print(f"with the inverse metric: one length in all layers, to {ledger.power(invariance)}")
print(f"Euclidean, input over output: {float(growth.min()):.2f} to {float(growth.max()):.2f}")
assert invariance < 1e-8

# %% [markdown]
# How far is it a *group* action? Eq. 15 inverts nothing, so it is exact for singular and for rectangular Jacobians as well, and for
# these it is an action of matrices, not of a group. The ones that cannot be group elements for their shape alone are counted below.

# %%
shapes = {}
for kind, settings in kinds.items():
    net = rl.CkNetwork(**{"widths": [2] * 11} | settings, **where)
    shapes[kind] = [tuple(h.shape[1:]) for h in rl.jacobians(net, sample.x[:1])]
rectangular = [kind for kind, found in shapes.items() if any(a != b for a, b in found)]
print("with a rectangular Jacobian:", ", ".join(rectangular))
relu = rl.CkNetwork([2] * 11, order=0, activation="relu", **where)
print("and a plain ReLU layer, of rank", sorted({int(r) for r in torch.linalg.matrix_rank(rl.jacobians(relu, sample.x)[0])}))

# %% tags=["nbval-check-output"]
notebook.decide(
    "backprop-right-action",
    ledger.given(
        ledger.identity(equal | {"layer by layer": max(off)} | sweep, controls),
        len(rectangular),
        len(kinds),
        when="as right actions of GL(d) where every Jacobian is square and invertible, as products of matrices always",
        otherwise="a Jacobian is rectangular",
    ),
    {"kinds of network": list(kinds), "networks of each": draws, "largest error": ledger.power(max(equal.values())), "controls": controls},
    protocol="Every weight, bias and the readout by Eq. 15 against automatic differentiation in float64; states and metric in the same sweep.",
)

# %% [markdown]
# ## The limit: the adjoint equation
#
# Let the weights follow a smooth field, $W^{(n)} = W(n/L)$, with steps $\Delta l = 1/L$ outside the activation. The network is then Euler's scheme for
# $dx/dl = f(z)$, $z = W(l)\,x + b(l)$, and the row of Eq. 15 for the costate equation, which runs from the output to the input,
#
# $$\frac{dp}{dl} = -A(l)^{\mathsf T} p, \qquad A = \frac{\partial f}{\partial z}\, W, \qquad p(1) = \frac{\partial E}{\partial x(1)} ,$$
#
# and the gradient of a layer's weights divided by $\Delta l$ for a density in $l$: $p$ applied to $\partial f / \partial W$. An adaptive
# solver of order 8 gives the reference. The control multiplies the same Jacobians in the wrong order.

# %%
stops = [n / 8 for n in reversed(range(8))]  # positions l at which they are compared
depths = [16 * 2**n for n in range(20) if 16 * 2**n <= deepest]
few = rl.spiral(20, dtype=torch.float64, device=device)
networks, references = [], []
for field in range(fields):
    W, b = flow.smooth_field(2, seed=seed + field)
    networks.append([flow.discretise(W, b, flow.partition(L)) for L in depths])
    for net in networks[-1]:
        net.readout = networks[-1][0].readout  # one classifier for all depths
    end = flow.solve(W, b, few.x)[-1].requires_grad_()
    (p,) = torch.autograd.grad(cross_entropy(networks[-1][0].readout(end), few.label), end)
    xs, ps = adjoint(W, b, end.detach(), p, at=stops)
    density = []
    for l, x, p in zip(torch.tensor(stops, dtype=torch.float64, device=device), xs, ps, strict=True):
        _, pull_back = torch.func.vjp(lambda w, x=x, b=b, l=l: (x @ w.mT + b(l)).tanh(), W(l))
        density.append(pull_back(p)[0])
    references.append((ps, torch.stack(density)))

# %%
curves = {name: [[] for _ in range(fields)] for name in ("error's covector, all l", "weights' gradient, all l", "wrong order")}
for field, (ps, density) in enumerate(references):
    for net, L in zip(networks[field], depths, strict=True):
        error = error_covector(net, few.x, few.label)[:, None]
        rows, found = covectors(net, few.x, error), backpropagate(net, few.x, few.label)
        here = [round(l * L) for l in stops]
        wrong = error
        for h in rl.jacobians(net, few.x):
            wrong = wrong @ h
        discrete = (torch.stack([rows[n][:, 0] for n in here]), L * torch.stack([found[f"weights.{n}"] for n in here]), wrong[:, 0])
        for curve, value, reference in zip(curves.values(), discrete, (ps, density, ps[-1]), strict=True):
            curve[field].append(deviation(value, reference))

# %%
fig = drawn.adjoint_convergence(depths, {name: curve[0] for name, curve in curves.items()}, control="wrong order")
figures.save(fig, "section6_adjoint")
plt.show()

# %% [markdown]
# The order is fitted over the last four depths of each field, each twice the one before.

# %%
steps = [1 / L for L in depths[-4:]]
orders = {name: [flow.order_of_convergence(steps, errors[-4:]) for errors in curve] for name, curve in curves.items()}
for name, found in orders.items():
    print(f"{name:26}", "  ".join(f"{o.value:.3f} [{o.low:.3f}, {o.high:.3f}]" for o in found))

# %% [markdown]
# So Eq. 15 converges, at the rate at which Euler's scheme does, to the gradient of the limit, for the states and for the weights. The hypothesis is
# that of the other limits: weights that are the samples of a field which is regular in $l$, and a step that is explicit. Two remarks for those who
# train neural differential equations. The gradient of the discrete network is exact for that network at every depth; it is
# the difference between the two problems that is of order $\Delta l$. And the density, not the gradient, has a limit: each
# layer's own gradient vanishes as $1/L$.

# %% tags=["nbval-check-output"]
wrong = orders.pop("wrong order")
measured = {f"{name}, field {field}": order for name, found in orders.items() for field, order in enumerate(found)}
notebook.decide(
    "adjoint-limit",
    ledger.order_of(1, measured, {f"wrong order, field {field}": order for field, order in enumerate(wrong)}),
    {"orders": measured, "wrong order of the product": [o.value for o in wrong], "layers": depths[-4:]},
    protocol="Largest error over points and eight positions, relative, against the adjoint equation solved by an adaptive scheme of order 8; 95 % intervals.",
)

# %%
notebook.closing(seed=seed)
