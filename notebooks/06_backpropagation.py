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
# backpropagation does the same. The differential of the error is a covector. A covector is moved by multiplying it with
# the Jacobian of the layer on the *right*. The metric has two covector indices, so it is moved by doing this twice.
#
# At its end the section says that the product converges as the number of layers goes to infinity, as that of the
# pushforward does.
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
import math

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

notebook.opening("§6 Backpropagation", device=device)

# %% [markdown]
# ## The differential of the error, and its gradient
#
# For a fixed label $y$ the error $E_y(q)=-\log P(Y=y\mid q)$ is a function on $M$ ([§2](02_notation.ipynb) says what $M$
# is). Its *differential* $dE_y$ is a covector. (Training lowers the mean of the error over points of different labels.
# This mean is a function of the weights, and not of a point of $M$.)
#
# In the coordinates of the output the components of $dE_y$ are a row of $d$ numbers, $\partial E/\partial x^{(L)}$. The
# coordinate frame $\partial_a$ gives them when it is applied to $E$. If the frame moves by a right action, these numbers
# do so, too:
#
# $$\Big(\frac{\partial}{\partial x^{(l)}}\Big)_a E
# = \Big(\Big(\frac{\partial}{\partial x^{(l+1)}}\Big) \triangleleft h_l\Big)_a E
# = \frac{\partial E}{\partial x^{(l+1)b}}\; h_l{}^b{}_a , \qquad h_l = \frac{\partial x^{(l+1)}}{\partial x^{(l)}} .$$
#
# This is one step of backpropagation. `covectors` takes covectors at the output to every layer. The left action of §5 and
# this right action are one thing: $g\triangleleft h:=h^{-1}\triangleright g$ is a right action on the same fibre.
#
# To draw the differential as an arrow takes a metric. The *gradient* is the vector $g^{-1}dE$. With the pulled-back
# metric it is one vector field on $M$, and its components at layer $l+1$ are $h_l$ times those at layer $l$. The
# components of $dE$ themselves can be drawn as an arrow, too. But this uses the Euclidean metric of that layer, and each
# layer gets another vector. The picture shows the directions of both, and how far they are apart.

# %%
sample = rl.spiral(points, positions="random", dtype=torch.float64, device=device)
f64 = {"seed": seed, "dtype": torch.float64, "device": device}
net = rl.CkNetwork([2] * (depth + 1), order=1, **f64)
error = error_covector(net, sample.x, sample.label)[:, None]  # each point with its own label
geometry = rl.geometry(net, sample.x)
dE = [covector[:, 0] for covector in covectors(net, sample.x, error)]
gradients = [torch.linalg.solve(g, covector) for g, covector in zip(geometry.g, dE, strict=True)]
at, layers = torch.arange(points // 20, points, points // 10), [round(depth * part) for part in (0, 0.3, 0.6, 1)]
angles = [torch.rad2deg(torch.cosine_similarity(v, p).clamp(-1, 1).acos()) for v, p in zip(gradients, dE, strict=True)]
title = f"−g⁻¹dE, one vector carried through the layers, and the Euclidean arrow −dE (untrained, seed {seed})"
of_layers = [[each[l].detach().cpu() for l in layers] for each in (geometry.x, gradients, dE, angles)]
fig = section5.error_gradients(*of_layers, sample.label.cpu(), at, layers, title=title)
save(fig, "section6_gradients")
plt.show()

# %%
hs = rl.jacobians(net, sample.x)


def off_by(vectors):
    """How far vectors at each layer, taken through the layer, are from those at the next: the largest over layers."""
    pairs = zip(hs, vectors[:-1], vectors[1:], strict=True)
    return max(relative_error((h @ v[..., None])[..., 0], after) for h, v, after in pairs)


carried, jump = off_by(gradients), off_by(dE)
print(f"−g⁻¹dE of a layer is carried to that of the next, to {order_of_magnitude(carried)}; ", end="")
print(f"the Euclidean arrow is off by {jump:.1g}")
print("median angle between the two, layer by layer:", *(f"{float(angle.median()):.0f}°" for angle in angles))
assert carried < 1e-8 < jump

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
by_autodiff = [g.mT for g in torch.autograd.grad(loss, [state[0] for state in states[1:]])]
row, column = error, error.mT
off = [relative_error(row[:, 0], by_autodiff[-1])]
for h, expected in zip(reversed(hs[1:]), by_autodiff[-2::-1], strict=True):
    row, column = row @ h, h @ column
    off.append(relative_error(row[:, 0], expected))
print("layers from the output to the first, right actions:", [order_of_magnitude(e) for e in off])

# %%
wrong = error
for h in hs[1:]:
    wrong = wrong @ h
controls = {
    "first layer first": relative_error(wrong[:, 0], by_autodiff[0]),
    "from the left": relative_error(column[..., 0], by_autodiff[0]),
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
    """The relative difference between Eq. 15 and automatic differentiation, for each parameter."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    expected = torch.autograd.grad(cross_entropy(net(sample.x), sample.label), parameters)
    found = backpropagate(net, sample.x, sample.label)
    return [relative_error(found[name], e) for name, e in zip(names, expected, strict=True)]


# %%
equal = {}
print(f"{'':18} order of magnitude of the largest relative difference")
for kind, settings in kinds.items():
    settings = {"widths": [2] * 11, "step": 0.5} | settings
    nets = [rl.CkNetwork(**settings, **f64 | {"seed": seed + draw}) for draw in range(draws)]
    errors = [gradient_errors(net) for net in nets]
    equal[kind] = max(max(each) for each in errors)
    largest = order_of_magnitude(equal[kind])
    print(f"{kind:18} {largest:>6}  over {draws} networks of {len(errors[0])} parameter tensors")
found = backpropagate(net, sample.x, sample.label)["weights.0"]
controls["gradient of W transposed"] = relative_error(found.mT, found)
print(f"control, the gradient of W transposed: off by {controls['gradient of W transposed']:.1g}")
assert max(equal.values()) < 1e-8 < controls["gradient of W transposed"]

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
P, dE_0 = at_input[:2, 0].movedim(-1, 0), at_input[2, 0].mT

# %%
x = sample.x.clone().requires_grad_()
(expected,) = torch.autograd.grad(cross_entropy(net(x), sample.label), x)
sweep = {
    "P of Eq. 12": relative_error(P, geometry.P[0]),
    "metric of Eq. 10": relative_error(P.mT @ P, geometry.g[0]),
    "error, against automatic differentiation": relative_error(dE_0, expected),
    "error, as the output's row times P": relative_error(dE_0, (error @ P)[:, 0]),
}
wrong = {"P transposed": relative_error((error @ P.mT)[:, 0], dE_0), "P Pᵀ": relative_error(P @ P.mT, geometry.g[0])}
for name, e in sweep.items():
    print(f"{name:42} {'0' if e == 0 else order_of_magnitude(e)}")
for name, e in wrong.items():
    print(f"{'control, ' + name:42} off by {e:.1g}")
assert max(sweep.values()) < 1e-10 < min(wrong.values())

# %% [markdown]
# So the learned metric and the backpropagated error are one computation. This shows one use of the metric. Measure the
# length of the differential with the inverse metric, $\lVert dE \rVert^2 = g^{ab}\,\partial_aE\,\partial_bE$. Where
# $P$ is square and invertible it is the same in every layer. In §5's polar coordinates, for instance,
# $\lVert dE\rVert^2=(\partial_rE)^2+(\partial_\theta E)^2/r^2$, and for $E=x^1=r\cos\theta$ this is 1 everywhere. The
# Euclidean length is not the same in every layer. This is the length that is meant where one says that a gradient
# vanishes or explodes.
#
# Where a layer widens, the length shrinks on the way back: the part of $dE$ that is normal to the image of $M$ has no
# effect on $M$. The last lines show it for a network of widths 2, 2, 3.

# %%
lengths = [torch.einsum("na,na->n", p, v).sqrt() for p, v in zip(dE, gradients, strict=True)]
invariance = max(relative_error(length, lengths[-1]) for length in lengths)
growth = dE[0].norm(dim=1) / dE[-1].norm(dim=1)
print(f"with the inverse metric: one length in all layers, to {order_of_magnitude(invariance)}")
print(f"Euclidean, input over output: {float(growth.min()):.2f} to {float(growth.max()):.2f}")
assert invariance < 1e-8
widening = rl.CkNetwork([2, 2, 3], order=0, **f64)
row = error_covector(widening, sample.x, sample.label)[:, None]
p, g = covectors(widening, sample.x, row)[0][:, 0], rl.pullback_metrics(widening, sample.x)[0]
ratio = torch.einsum("na,na->n", p, torch.linalg.solve(g, p)).sqrt() / row[:, 0].norm(dim=1)
print(f"widths 2, 2, 3, input over output: {float(ratio.min()):.2f} to {float(ratio.max()):.2f}")
assert ratio.max() < 1

# %% [markdown]
# How far is it a *group* action? The paper's hypotheses are those of §5: layers are coordinate systems, and the group is
# $GL(d)$. Under them Eq. 15 is a product of right actions. At order 2 the states $(x,D_1)$ have $2d$ components. Each
# layer after the first has determinant 1 there (§3), so the actions are those of $SL(2d)$, the matrices of determinant 1.
#
# Eq. 15 inverts nothing. So the same product stays right for singular and for rectangular Jacobians, where it is one of
# matrices and not of group elements. §2 says where trained layers fold.

# %% tags=["nbval-check-output"]
notebook.decide(
    "backprop-right-action",
    rules.identity(equal | {"layer by layer": max(off)} | sweep, controls | wrong, tolerance=1e-8),
    {
        "kinds of network": list(kinds),
        "networks of each": draws,
        "largest error": order_of_magnitude(max(equal.values())),
        "controls": controls | wrong,
    },
    protocol="Every weight, bias and the readout by Eq. 15 against automatic differentiation in float64, relative; "
    "states and metric in the same sweep. Layers are coordinate systems, as the paper assumes.",
)

# %% [markdown]
# ## The limit: the adjoint equation
#
# Let the weights follow a smooth field, $W^{(n)} = W(n/L)$, with steps $\Delta l = 1/L$ outside the activation. The
# network is then Euler's scheme for $dx/dl = f(z)$ with $z = W(l)\,x + b(l)$. The row of Eq. 15 is Euler's scheme for
# the costate equation, which runs from the output to the input:
#
# $$\frac{dp}{dl} = -p\,A(l), \qquad A = \frac{\partial f}{\partial z}\, W, \qquad
# p(1) = \frac{\partial E}{\partial x(1)} ,$$
#
# with $p$ a row. Chen et al. (2018) train networks by this equation, and call it the adjoint equation. For the $x(l)$
# of a network this holds at fixed $q$, as the limit of Eq. 9 does in §4 and the appendix.
#
# The gradient of the weights of a layer, divided by $\Delta l$, approximates a density in $l$: $p$ applied to
# $\partial f / \partial W$. An adaptive solver of order 8 gives the reference. One control multiplies the same
# Jacobians in the wrong order.
#
# What does the limit need? The product of Eq. 15 is that of Eq. 12, and so are the hypotheses (the appendix proves it):
# $W$ and $b$ bounded and Riemann-integrable in $l$, an explicit step, and $f\in C^1$, with the convergence of $x$ proved
# first. For the rate $O(\Delta l)$, $f'$ has to be Lipschitz, and $W$ and $b$ Lipschitz or of bounded variation.
#
# ReLU shows that the condition on $f$ is needed. Take $d=1$, $x(0)=0$, $W=-1$, $b=2$ on the first half, then $W=1$ and
# $b=-x(\tfrac12)$. In the limit $x$ stays on the kink in the second half, where torch's $\mathrm{relu}'(0)$ is 0. So from
# $p(1)=1$ the limit has $p(0)=e^{-1/2}$. But Euler's $x$ ends on the active side of the kink, at every depth, and the
# product goes to 1.

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
def at_a_kink(L):
    """The relative error of the product of a ReLU network of depth L against its formal limit."""
    signs, end, one = [-1.0] * (L // 2) + [1.0] * (L // 2), 2 * (1 - math.exp(-0.5)), torch.ones(1, dtype=torch.float64)
    biases = [(2 if sign < 0 else -end) * one for sign in signs]
    net = rl.CkNetwork.from_weights([sign * one[:, None] for sign in signs], biases, step=1 / L, activation="relu")
    return abs(float(covectors(net, 0 * one[None], one[None, None])[0]) * math.exp(0.5) - 1)


kink = [at_a_kink(L) for L in depths]
print("ReLU at a kink, relative error by depth:", *(f"{e:.3f}" for e in kink))
fig = section5.adjoint_convergence(errors[errors["field"] == 0], control="wrong order")
save(fig, "section6_adjoint")
plt.show()

# %% [markdown]
# There is no chance in these errors. So the order is the local one between the two largest depths, one twice the other. Its
# range is twice the larger of its last two changes, to either side.

# %%
orders = {}
for (quantity, field), table in errors.groupby(["quantity", "field"]):
    order = orders[quantity, field] = limits.local_order(1 / table["layers"], table["error"])
    print(f"{quantity:26} field {field}   {order.value:.3f} [{order.low:.3f}, {order.high:.3f}]")

# %% [markdown]
# So Eq. 15 converges to the differential of the limit, for the states and for the weights. The rate is that of Euler's
# scheme. Two remarks for those who train neural differential equations. First, the gradient of the discrete network is
# exact for that network at every depth. It differs from the gradient of the limit by a term of order $\Delta l$. Second,
# it is the density that has a limit other than 0: the gradient of each single layer goes to 0 as $1/L$.

# %% tags=["nbval-check-output"]
of_product = {f"{quantity}, field {field}": order for (quantity, field), order in orders.items()}
wrong = {name: order for name, order in of_product.items() if name.startswith("wrong order")}
right = {name: order for name, order in of_product.items() if name not in wrong}
without = {"ReLU at a kink": limits.local_order([1 / L for L in depths], kink)}
when = "where W and b are bounded and Riemann-integrable in l (Lipschitz or of bounded variation for the rate), "
when += "the step is explicit and f is in C¹ with f′ Lipschitz"
found = rules.order_of(1, right, wrong)
notebook.decide(
    "adjoint-limit",
    rules.order_of(1, right, without, when=when) if found.verdict == "confirmed" else found,
    {
        "local orders at the largest depths, and their ranges": right,
        "wrong order of the product (control)": [order.value for order in wrong.values()],
        "order of ReLU at a kink (the condition on f is not met)": without["ReLU at a kink"].value,
        "layers": depths[-4:],
    },
    protocol="Largest error over points and eight positions, relative, against the adjoint equation by an adaptive "
    "scheme of order 8. Range: the last local order, and twice the larger of its last two changes to either side.",
)

# %%
from riemlib.companion.references import references

references(chen="networks trained by the adjoint equation")

# %%
notebook.closing(seed=seed)
