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
# # 3 · Neural networks as $C^k$ differentiable coordinate transformations
#
# A plain layer replaces the coordinates of a point. A residual layer adds a small step to them. Section 3 of the paper reads this step as a finite difference. In a stack of infinitely many such layers, the coordinates of a point obey a differential equation in the layer $l$. With differences of higher order the equation has higher order.
#
# This reading makes claims that can be measured. How fast does a deep network approach its equation? Does the spacing of the layers matter? May the step hide in the weights? Do trained weights have a limit at all? What does it cost to share them? We measure the limits against an adaptive solver. Beside each measurement stands a control that has to fail.

# %% tags=["parameters"]
seed: int = 0  # first seed of everything random
depths: list = [10, 20, 40, 80, 160, 320, 640]  # layers; orders are fitted over the last four
fields: int = 2  # random smooth weight fields for each measured order
points: int = 12  # points of the plane carried through the networks
draws: int = 6  # random partitions for each depth
trained_depths: list = [10, 40, 160]  # layers of the trained networks whose weights are examined
trained_seeds: int = 100  # networks trained at each of them
trained_updates: int = 80  # Adam updates each
seeds: int = 100  # networks with and without shared weights
updates: int = 800  # Adam updates each
device: str = "cpu"  # where the networks live

# %%
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import riemlib as rl
from riemlib import limits
from riemlib.charts import preimages
from riemlib.companion import notebook, rules, statistics
from riemlib.companion.figures import save, section3
from riemlib.networks import stencil

# %%
notebook.opening("§3 Networks as finite differences", device=device)

# %% [markdown]
# ## One recursion for every order (Eqs. 1–4)
#
# With $f(x;l)=\sigma(W^{(l)}x+b^{(l)})$ the paper's networks of order 0, 1 and 2 are
#
# $$x^{(l+1)}=f(x^{(l)};l)\tag{1}$$
# $$x^{(l+1)}=x^{(l)}+f(x^{(l)};l)\,\Delta l\tag{2}$$
# $$\delta x^{(l)}:=x^{(l+1)}-x^{(l)}=f(x^{(l)};l)\,\Delta l\tag{3}$$
# $$\delta^2x^{(l)}:=x^{(l+1)}-2x^{(l)}+x^{(l-1)}=f(x^{(l)};l)\,\Delta l^2\tag{4}$$
#
# In `riemlib` they are one object. A layer acts on the state $(x, D_1, D_2,\dots)$, where $D_i$ stands for the $i$-th derivative in $l$. It acts by a constant stencil, $D \leftarrow A\,D + B f$. The cell prints the lines $[A \mid B]$ of each stencil at $\Delta l = 0.1$. At the input there is no earlier layer, which a forward stencil of order 2 would need. So the order is 1 there, and it rises by one per layer.

# %%
for order in range(4):
    lines = stencil(order, max(order, 1), 0.1)
    print(f"order {order}:", "  ".join(str([round(c, 4) for c in line]) for line in lines))

# %% [markdown]
# The paper rewrites Eq. 4 as a residual network with a momentum term,
#
# $$x^{(l+1)}=x^{(l)}+f(x^{(l)};l)\,\Delta l^2+\delta x^{(l-1)}.\tag{4'}$$
#
# We write it in three ways. The first is the network's own recursion of the state. The second is Eq. 4' as it stands (`limits.momentum_form`). The third is Eq. 4, read backwards: a statement about second differences of the coordinates. The three must agree to rounding. Two controls must not agree: the same recursion without momentum, and with momentum 0.9.

# %%
x = 2 * torch.rand(points, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
x = x.to(device)
kind = {"dtype": torch.float64, "device": device}
momenta = {"Eq. 4'": 1.0, "no momentum": 0.0, "momentum 0.9": 0.9}
forms = []
for activation in ("tanh", "relu", "softplus"):
    for step in (1.0, 0.1):
        net = rl.CkNetwork([2] * 11, order=2, step=step, activation=activation, seed=seed, **kind).requires_grad_(False)
        xs = torch.stack(net.coordinates(x))
        for form, momentum in momenta.items():
            written = torch.stack(limits.momentum_form(net, x, momentum))
            forms.append((form, activation, step, statistics.relative_error(written, xs)))
        z = torch.stack([x_l @ W.mT + b for x_l, W, b in zip(xs[1:-1], net.weights[1:], net.biases[1:], strict=True)])
        off = statistics.relative_error(xs.diff(n=2, dim=0), step**2 * net.activation(z))
        forms.append(("Eq. 4", activation, step, off))
forms = pd.DataFrame(forms, columns=["form", "activation", "step", "deviation"])

# %% tags=["nbval-check-output"]
smallest = forms.groupby("form")["deviation"].min()
controls = {form: smallest[form] for form in ("no momentum", "momentum 0.9")}
equal = forms.loc[~forms["form"].isin(controls), "deviation"]
notebook.decide(
    "momentum-form",
    rules.identity(equal.to_dict(), controls),
    {"largest deviation": equal.max(), "cases": len(equal), "controls, smallest deviation": controls},
    protocol="Ten layers, three activations, two steps, float64; deviation relative to the largest entry. "
    "The controls change the momentum.",
)

# %% [markdown]
# ## The equation in the limit (Eqs. 5, 6)
#
# Divide by the step and let it go to zero. If the weights are the values $W(l), b(l)$ of a *path* in $l$, the two networks discretise
#
# $$\frac{dx}{dl}=f(x;l),\tag{5}$$
# $$\frac{d^2x}{dl^2}=f(x;l).\tag{6}$$
#
# Eq. 6 needs an initial velocity, which the paper does not give. The network determines it. Its state starts as $x$ alone and its first layer is of order 1, so $dx/dl(0)=f(x(0);0)$. `limits.smooth_field` draws a smooth path. `limits.discretise` makes the network whose layer $n$ has the weights $W(l(n)), b(l(n))$. `limits.solve` gives the same equation to an adaptive Runge–Kutta solver. In the figure the solver is grey and the networks are coloured.

# %%
paths = [limits.smooth_field(2, seed=seed + k, device=device) for k in range(fields)]
l = torch.linspace(0.02, 1, 50).tolist()
polygons, exact = {}, {}
for order, name in ((1, "C1"), (2, "C2")):
    exact[name] = torch.cat([x[None], limits.solve(*paths[0], x, order=order, at=l)])
    for depth in depths[:1] + depths[1:6:2]:
        net = limits.discretise(*paths[0], limits.partition(depth), order=order)
        polygons[name, depth] = torch.stack(net.coordinates(x))
section3.tracks(polygons, exact)
plt.show()

# %% [markdown]
# In JupyterLab, controls above the figure set the order and the depth of the network. Look at the distance between the coloured polygons and the grey curves of the equation as the depth doubles.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play


def network_and_equation(order=1, depth=10):
    """The polygons of a network of this order and depth, over the solution of its equation."""
    net, name = limits.discretise(*paths[0], limits.partition(depth), order=order), f"C{order}"
    return section3.tracks({(name, depth): torch.stack(net.coordinates(x))}, {name: exact[name]}, height=4.0)


play(network_and_equation, order=[1, 2], depth=(2, 80))

# %% [markdown]
# ## A residual network is Euler's method
#
# The paper says that the error of Eq. 3 is $O(\Delta l)$. For three activations and several random fields we compare $x^{(L)}$ with the solver's $x(1)$ at doubling depths. We fit the order over the four finest depths. The fit is $\log e=c+p\log h+ah$. Its last term takes up what finite steps still show of the next order, so a curved line does not bias the interval for $p$. One degree of freedom is left. That makes the interval wide, on purpose.
#
# Two controls show that the measurement can give another answer: the same networks against the equation of *another* field (order 0), and a scheme of order 2, which the next section introduces.

# %%
def case(name, steps, errors):
    """The errors of one case as rows: case, step, error."""
    return pd.DataFrame({"case": name, "step": steps, "error": errors})


def orders(errors, finest=4, **how):
    """The measured order of every case, over its `finest` last rows."""
    last = errors.groupby("case", sort=False).tail(finest).groupby("case", sort=False)
    return {name: limits.order_of_convergence(e["step"], e["error"], **how) for name, e in last}


def in_all_fields(name, partitions, sizes, **scheme):
    """The errors of one scheme, a case for each random field."""
    errors = [limits.measured_errors(*field, x, partitions, **scheme) for field in paths]
    return pd.concat(case(f"{name}, field {k}", sizes, error) for k, error in enumerate(errors, 1))


# %%
h = [1 / depth for depth in depths]
uniform = [limits.partition(depth) for depth in depths]
euler = pd.concat(in_all_fields(name, uniform, h, activation=name) for name in ("tanh", "softplus", "relu"))

# %%
def distance(y, exact):
    """The root mean square distance of y from the exact solution."""
    return float((y - exact).square().mean().sqrt())


other = limits.solve(*limits.smooth_field(2, seed=seed + fields, device=device), x)[-1]
with torch.no_grad():
    ends = [limits.discretise(*paths[0], steps).coordinates(x)[-1] for steps in uniform]
wrong = case("another field", h, [distance(y, other) for y in ends])

# %% [markdown]
# ## Central differences, and the order they really have
#
# The paper expects $O(\Delta l^2)$ from the central difference of Eq. 4. The difference itself is of second order. But a scheme is only as accurate as its start. The paper starts with one layer of order 1. Then the momentum that enters layer 2 is the velocity at $l=0$, and the recursion needs the velocity at $l=\Delta l/2$. That is off by $\tfrac{\Delta l}{2}f$, and the momentum term carries the error to the end. The order drops to 1.
#
# The remedy costs nothing: the first layer takes only half a step. In the recursion of the state, $D_1$ is then the velocity at whole steps and $x$ the position at half steps. Each is updated with the other's midpoint. This is the leapfrog of celestial mechanics. It is still a $C^2$ network: `step=[h/2, h, ..., h]`, with $h=1/(L-\tfrac12)$. (The textbook start $x^{(1)}=x^{(0)}+hv_0+\tfrac{h^2}{2}f$ is the same idea with the two grids exchanged.)
#
# Orders 3 and 4 do not repair the start. Their stencils are the $k$-th forward difference with $f$ taken at the last known point. This point is half a step from the centre for $k=3$ and a whole step for $k=4$. Only $k=2$ is central.

# %%
half = [limits.partition(depth, "half start") for depth in depths]
half_h = [steps[-1] for steps in half]
half_start = in_all_fields("half-step start", half, half_h, order=2)
full_start = in_all_fields("the paper's start", uniform, h, order=2)
higher = pd.concat(in_all_fields(f"order {order}", uniform, h, order=order) for order in (3, 4))

# %%
first, good, paper, rest = orders(euler), orders(half_start), orders(full_start), orders(higher)
control = orders(wrong) | {f"Eq. 4, {name}": order for name, order in good.items()}
assert all(abs(order.value - 1) < 0.1 for order in rest.values()), rest
panels = {
    "first order (Eq. 3)": pd.concat([euler, wrong]),
    "second order and above": pd.concat([half_start, full_start, higher]),
}
fig = section3.orders(panels, first | good | paper | rest | control)
save(fig, "section3_orders")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "residual-is-euler",
    rules.order_of(1, first, control),
    {**first, "controls": control},
    protocol="Weights follow a random smooth path in l. Error of x^(L) against torchdiffeq's dopri5 (tolerance 1e-10), "
    "depths doubling; order and 95 % t-interval of log e = c + p log h + a h over the four finest.",
)

# %% tags=["nbval-check-output"]
notebook.decide(
    "central-second-order",
    rules.order_of(2, good, paper, when="the first layer takes half a step"),
    {**good, **paper, "higher orders, the paper's start": rest},
    protocol="As for residual-is-euler, against x'' = f with x'(0) = f(x(0); 0). "
    "The controls are Eq. 4 with the paper's start: a first-order layer of full step.",
)

# %% [markdown]
# ### A warning: the other central difference
#
# One could also centre the *first* difference, $x^{(l+1)}=x^{(l-1)}+2\,\Delta l\,f$. It is of second order for Eq. 5, but it fails on some equations. On $dx/dl=-\lambda x$ the recursion has two solutions, $r_\pm=-\lambda h\pm\sqrt{1+\lambda^2h^2}$ to the power $n$. The first decays as it should. The second alternates in sign and *grows* whenever the flow contracts. A network that flattens a class contracts.

# %%
rate, depth = 8.0, 40
decay = (lambda l: -rate * torch.ones(*l.shape, 1, 1).to(l), lambda l: torch.zeros(*l.shape, 1).to(l))
net = limits.discretise(*decay, limits.partition(depth), activation=lambda z: z)
one = torch.ones(1, 1, dtype=torch.float64)
with torch.no_grad():
    schemes = {"Euler (Eq. 3)": net.coordinates(one), "central first difference": limits.leapfrog(net, one)}
solutions = {name: torch.cat(xs)[:, 0] for name, xs in schemes.items()}
at = torch.tensor(limits.layer_positions(net), dtype=torch.float64)
section3.parasite(at, solutions, (-rate * at).exp())
plt.show()

# %%
last = solutions["central first difference"][-2:]
growth = float(last[1] / last[0])
predicted = -rate / depth - (1 + (rate / depth) ** 2) ** 0.5
print(f"growth of the parasite in the last layer {growth:.4f}, predicted {predicted:.4f}")
assert abs(growth - predicted) < 1e-3 and predicted < -1

# %%
with torch.no_grad():
    true = limits.solve(*paths[0], x)[-1]
    ends = [limits.leapfrog(limits.discretise(*paths[0], steps), x)[-1] for steps in uniform]
order = orders(case("leapfrog", h, [distance(y, true) for y in ends]))["leapfrog"]
print(f"on a smooth field it still has order {order.value:.2f}")
assert order.low < 2 < order.high

# %% [markdown]
# ## Any partition will do (Eq. 7)
#
# The layers need not be evenly spaced:
#
# $$0=l(0)<l(1)<\dots<l(L)=1,\qquad \Delta l(n)=l(n+1)-l(n),\qquad \max_n\Delta l(n)\to0.\tag{7}$$
#
# `CkNetwork(step=[...])` takes the list. One step contributes an error of size $\Delta l(n)^2$. So the natural abscissa is $\sum_n\Delta l(n)^2\le\max_n\Delta l(n)$. It equals $\Delta l$ when all steps are equal.

# %%
kinds = ("uniform", "half start", "graded", "random")
positions = {kind: torch.tensor([0.0, *limits.partition(24, kind, seed=seed)]).cumsum(0) for kind in kinds}
section3.partitions(positions)
plt.show()

# %% [markdown]
# The random partitions are drawn once and then refined: every layer is cut in two. Random partitions that are drawn afresh at every depth scatter. Their fluctuations are of order 3/2 and can outweigh a small systematic error. Such a sequence obeys the bound but has no clean rate. So we show it, and check it against the bound only.
#
# There are two controls. The first is a first step that stays a quarter however deep the network is. The second, for order 2, is Eq. 4' taken literally on graded partitions. There the momentum $\delta x^{(l-1)}$ is a displacement over the *previous* step and has to be rescaled by $\Delta l(n)/\Delta l(n-1)$. The recursion of the state carries a velocity, so it needs no rescaling. The paper writes $\Delta l$ for $\Delta l(n)$, which hides this.

# %%
graded = [limits.partition(depth, "graded") for depth in depths[-4:]]
meshes = {"uniform": uniform[-4:], "graded": graded}
for k in range(2):
    coarse = limits.partition(depths[-4] // 2, "random", seed=seed + k)
    meshes[f"random {k + 1}"] = [[step / parts for step in coarse for _ in range(parts)] for parts in (2, 4, 8, 16)]


def by_mesh(name, partitions, order):
    """The errors of a scheme of this order against the sum of its squared steps."""
    sizes = [sum(step**2 for step in steps) for steps in partitions]
    return case(f"C{order}, {name}", sizes, limits.measured_errors(*paths[0], x, partitions, order=order))


spacing = pd.concat(by_mesh(name, partitions, order) for order in (1, 2) for name, partitions in meshes.items())

# %%
afresh = [
    limits.partition(depth, "random", seed=seed + 10 * depth + k) for depth in depths[-4:] for k in range(draws)
]
scattered = pd.concat(by_mesh("drawn afresh", afresh, order) for order in (1, 2))
scattered_orders = orders(scattered, finest=len(afresh), next_term=False)
largest = {}
for name, e in pd.concat([scattered, spacing]).groupby("case"):
    largest[name] = (e["error"] / e["step"]).max()
for order in (1, 2):
    worst, regular = largest[f"C{order}, drawn afresh"], largest[f"C{order}, graded"]
    print(f"order {order}: error over ΣΔl² at most {worst:.2f}, on graded partitions {regular:.2f}")
    assert scattered_orders[f"C{order}, drawn afresh"].high > 1 and worst < 10 * regular

# %%
stuck = [[0.25] + [0.75 / (depth - 1)] * (depth - 1) for depth in depths[-4:]]
true = limits.solve(*paths[0], x, order=2)[-1]
with torch.no_grad():
    literal = [limits.momentum_form(limits.discretise(*paths[0], steps, order=2), x)[-1] for steps in graded]
careless = pd.concat([
    case("a step that stays", h[-4:], limits.measured_errors(*paths[0], x, stuck)),
    case("Eq. 4' as it stands, graded", h[-4:], [distance(y, true) for y in literal]),
])

# %% [markdown]
# With the momentum rescaled, Eq. 4' is the recursion of the state again, on any partition:

# %%
steps = limits.partition(20, "random", seed=seed)
net = limits.discretise(*paths[0], steps, order=2)
ratios = [1.0] + [b / a for a, b in pairwise(steps)]
with torch.no_grad():
    rescaled, xs = torch.stack(limits.momentum_form(net, x, ratios)), torch.stack(net.coordinates(x))
off = statistics.relative_error(rescaled, xs)
print("rescaled momentum against the network: equal to", rules.order_of_magnitude(off))
assert off < 1e-10

# %%
measured, control = orders(spacing), orders(careless)
panels = {"meshes that go to zero": spacing, "drawn afresh, and controls": pd.concat([scattered, careless])}
section3.orders(panels, measured | control | scattered_orders, abscissa=r"$\sum \Delta l(n)^2$ (controls: $1/L$)")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "partition-independence",
    rules.order_of(1, measured, control),
    {**measured, "controls": control, "random, drawn afresh at each depth": scattered_orders},
    protocol="Order against the sum of squared steps; one smooth field; graded is l(n) = (n/L)², "
    "random has independent uniform points and is then halved. Order 2 carries a velocity, not a displacement.",
)

# %% [markdown]
# ## May the step hide in the weights?
#
# The paper calls $\Delta l$ "implicit in the weight matrix". Then a layer is $x+\sigma(W\Delta l\,x+b\,\Delta l)$. For ReLU this is the same map, provided the bias is scaled too: $\max(0,hz)=h\max(0,z)$ for $h>0$. For tanh it is not. Small arguments see only the linear part, $\tanh(hz)=hz+O(h^3)$. So the limit is the *affine* equation $dx/dl=Wx+b$. Its flow is an affine map, and an affine map does not untangle a spiral.
#
# We measure how far the map $x^{(0)}\mapsto x^{(L)}$ of the square is from affine, as the depth grows. The measure is the relative residual of the best affine fit. There is one smooth field. It is a gentler one here, because the affine flow of strong weights is huge.

# %%
line = torch.linspace(-1, 1, 15, dtype=torch.float64, device=device)
square = torch.cartesian_prod(line, line)
W, b = limits.smooth_field(2, seed=seed, scale=1.0, device=device)


@torch.no_grad()
def explicit_and_implicit(activation, steps, bias=True):
    """The images of the square with the step outside and inside the activation."""
    net = limits.discretise(W, b, steps, activation=activation)
    return net.coordinates(square)[-1], limits.implicit(net, bias=bias).coordinates(square)[-1]


# %%
shares, apart = [], []
cases = (("tanh", "tanh", True), ("ReLU", "relu", True), ("ReLU, bias not scaled", "relu", False))
for name, activation, bias in cases:
    for depth, steps in zip(depths, uniform, strict=True):
        images = dict(zip(("explicit", "implicit"), explicit_and_implicit(activation, steps, bias), strict=True))
        apart.append((name, depth, statistics.relative_error(images["implicit"], images["explicit"])))
        if bias:
            shares += [(f"{name}, {step}", depth, limits.nonaffine_share(square, y)) for step, y in images.items()]
shares = pd.DataFrame(shares, columns=["network", "depth", "share"])
apart = pd.DataFrame(apart, columns=["network", "depth", "deviation"])

# %%
images = zip(("explicit", "implicit"), explicit_and_implicit("tanh", uniform[-1]), strict=True)
section3.implicit(shares, {f"tanh, Δl {step}": y.reshape(15, 15, 2) for step, y in images})
plt.show()

# %% [markdown]
# The affine equation is the limit of the implicit tanh network, with the order expected of Euler's method. The non-affine share of this network vanishes like the square of the step.

# %%
affine_limit = limits.solve(W, b, square, activation=lambda z: z)[-1]
gap = [distance(explicit_and_implicit("tanh", steps)[1], affine_limit) for steps in uniform]
to_affine = orders(case("affine", h, gap))["affine"]
falling = orders(shares.assign(case=shares["network"], step=1 / shares["depth"], error=shares["share"]))
dying, lasting = falling["tanh, implicit"], falling["tanh, explicit"]
print(f"implicit tanh to the affine equation: order {to_affine.value:.2f}; ", end="")
print(f"non-affine share: order {dying.value:.2f}, explicit {lasting.value:.2f}")
assert to_affine.low < 1 < to_affine.high and dying.low < 2 < dying.high and abs(lasting.value) < 0.1

# %%
same = apart.loc[apart["network"] == "ReLU", "deviation"]
bad = apart.loc[apart["network"] != "ReLU", "deviation"]
shares_at_end, apart_at_end = (table[table["depth"] == depths[-1]].set_index("network") for table in (shares, apart))

# %% tags=["nbval-check-output"]
notebook.decide(
    "implicit-step",
    rules.condition(
        int((same < 1e-10).sum()),
        len(same),
        int((bad > 1e-3).sum()),
        len(bad),
        when="the activation is positively homogeneous (ReLU) and the bias is scaled with the weights",
    ),
    {
        "non-affine share at the largest depth": shares_at_end["share"].to_dict(),
        "order to which the share vanishes, tanh implicit": dying,
        "order of implicit tanh towards the affine equation": to_affine,
        "implicit against explicit, largest depth": apart_at_end["deviation"].to_dict(),
    },
    protocol="One smooth field, the same network with Δl outside and inside the activation, a square of 225 points. "
    "Equal means to 1e-10, different by more than 1e-3, relative. "
    "Controls: tanh, and ReLU with the bias left as it is.",
)

# %% [markdown]
# So every statement about a limit in these notebooks keeps $\Delta l$ explicit. The paper's own tanh networks have no $\Delta l$. We read them as networks of step 1.
#
# ## Do the weights have a limit?
#
# The paper argues that the limit exists because the right-hand side is continuous and does not depend on $\Delta l$. That assumes the conclusion. It needs weights that follow a path in $l$, and nothing has shown that they do. At initialisation the layers are *independent* of each other. Training changes them. Does it make neighbouring layers similar?
#
# We train first-order networks of step $1/L$ on the spirals, at growing depth, from two starts. In the usual start each layer draws its own weights. In the other, all layers start from the same draw, and only training makes them differ (`limits.EqualStart`). The measure is von Neumann's ratio of the trained weights,
# $$\frac{\sum_n|w_{n+1}-w_n|^2}{2\sum_n|w_n-\bar w|^2}.$$
# It is about 1 for independent layers at any depth. Along a path of bounded variation it goes to zero, at least like $1/L$. A run counts as regular if its ratio falls with a slope above ½ in $\log(1/L)$, halfway between the two. (The threshold and the learning rate were set after pilot runs, not before.)

# %%
def layer_vectors(net, biases=True):
    """The weights of every layer in one vector each, (layers, entries), with or without the biases."""
    W = torch.stack([W.flatten() for W in net.weights])
    return (torch.cat([W, torch.stack([*net.biases])], 1) if biases else W).detach()


sample = rl.spiral(100, device=device)
each_seed = range(seed, seed + trained_seeds)
setting = {"seeds": each_seed, "batch_size": 100, "updates": trained_updates, "learning_rate": 0.1}
regularity, profiles = [], []
for start, network in (("own start", rl.CkNetwork), ("equal start", limits.EqualStart)):
    for depth in trained_depths:
        run = rl.fit(network([2] * (depth + 1), step=1 / depth, device=device), sample, **setting)
        w = torch.stack([layer_vectors(net) for net in run.networks])
        found = {"seed": run.seeds, "ratio": limits.variation(w).tolist(), "accuracy": (1 - run.error).tolist()}
        regularity.append(pd.DataFrame(found).assign(start=start, depth=depth))
        first = {"layer": range(depth), "weight": w[0, :, 0].tolist()}
        profiles.append(pd.DataFrame(first).assign(start=start, depth=depth))

# %%
for depth in trained_depths:
    drawn = {k: rl.CkNetwork([2] * (depth + 1), seed=k) for k in each_seed}
    ratio = limits.variation(torch.stack([layer_vectors(net, biases=False) for net in drawn.values()])).tolist()
    regularity.append(pd.DataFrame({"seed": [*drawn], "ratio": ratio, "start": "untrained", "depth": depth}))
regularity = pd.concat(regularity, ignore_index=True)  # a row for each network
profiles = pd.concat(profiles, ignore_index=True)  # a row for each layer of the networks of the first seed

# %%
logs = -torch.tensor(trained_depths, dtype=torch.float64).log().numpy()
logs -= logs.mean()
log_ratio = np.log(regularity.pivot(index=["start", "seed"], columns="depth", values="ratio"))
slopes = log_ratio[trained_depths] @ logs / (logs @ logs)
slopes = slopes.rename("slope").reset_index()  # a row for each start and seed
slopes["regular"] = slopes["slope"] > 0.5
for start, s in slopes.groupby("start", sort=False)["slope"]:
    print(f"{start}: slope of the ratio in log(1/L) from {s.min():.2f} to {s.max():.2f} over {len(s)} runs")

# %%
fig = section3.weights(profiles, regularity)
save(fig, "section3_weights")
plt.show()

# %% [markdown]
# Layers that are drawn independently stay independent, trained or not: the trained weights are a smooth trend under the noise from which they started. From equal starts the same training ends on a path. The evidence lists the accuracies of both.

# %%
regular = statistics.shares(slopes, ["start"], "regular")
regular = {row.start: (row.share, row.low, row.high) for row in regular.itertuples()}
ends = regularity[regularity["depth"].isin([min(trained_depths), max(trained_depths)])]
medians = {start: [] for start in regularity["start"].unique()}
for row in statistics.medians(ends, ["start", "depth"], "ratio").itertuples():
    medians[row.start].append((row.median, row.low, row.high))
accuracy = regularity.dropna().groupby(["start", "depth"])["accuracy"].mean()

# %% tags=["nbval-check-output"]
found = rules.mostly({"equal start": regular["equal start"]}, what="the trained weights vary regularly in l")
irregular = int((~slopes.loc[slopes["start"] == "own start", "regular"]).sum())
when, otherwise = "all layers start from the same weights", "layers drawn independently stay so"
notebook.decide(
    "weights-regular",
    rules.given(found, irregular, trained_seeds, when=when, otherwise=otherwise),
    {
        "share of regular runs [Wilson 95 %]": regular,
        "ratio at the least and the largest depth, median [low, high]": medians,
        "mean slope": slopes.groupby("start")["slope"].mean().to_dict(),
        "mean training accuracy by depth": {start: accuracy[start].tolist() for start in ("own start", "equal start")},
    },
    protocol=f"{trained_seeds} seeds at each depth and start. C¹ tanh networks of explicit step 1/L, 100 points, "
    "full batch, Adam. A run is regular if von Neumann's ratio falls with slope above 1/2 in log(1/L). "
    "Controls: independently drawn layers, trained and untrained.",
)

# %% [markdown]
# What happens to independent layers as their number grows? With steps of size $1/L$ they average out. The spread of $x^{(L)}$ over draws shrinks like $L^{-1/2}$, and the limit is an ordinary differential equation with the *mean* of $f$ on its right-hand side. With steps of size $1/\sqrt L$ the spread stays. The limit, if there is one, is a stochastic equation. Depth alone guarantees neither.

# %%
for name, power in (("1/L", 1.0), ("1/√L", 0.5)):
    ends = [limits.random_layers(x, depth, depth**-power, draws=200, seed=seed) for depth in depths[:6]]
    spread = [distance(y, y.mean(0)) for y in ends]
    order = orders(case(name, h[:6], spread), finest=6, next_term=False)[name]
    print(f"steps of {name}: spread falls with order {order.value:.2f} [{order.low:.2f}, {order.high:.2f}] in 1/L")
    assert abs(order.value - (power - 0.5)) < 0.1

# %% [markdown]
# ## Sharing weights: homogeneous and inhomogeneous equations
#
# With one $(W,b)$ for all layers (`shared=True`) the equation is homogeneous, $dx/dl=f(x)$. This has a consequence that can be checked exactly. Only the number of steps counts, not where they are taken. So ten layers followed by the same ten layers are twenty layers (the semigroup property of a flow). If every layer has its own weights, the second ten layers differ from the first ten.

# %%
composed = {}
for name, tied in (("shared", True), ("own weights", False)):
    long = rl.CkNetwork([2] * 21, step=0.05, shared=tied, seed=seed, **kind).requires_grad_(False)
    twice = long[:10](long[:10](x))
    composed[name] = statistics.relative_error(twice, long[:](x))
equal, off = rules.order_of_magnitude(composed["shared"]), rules.order_of_magnitude(composed["own weights"], up=False)
print(f"shared: equal to {equal}; own weights: off by more than {off}")
assert composed["shared"] < 1e-12 and composed["own weights"] > 1e-3

# %% [markdown]
# What does sharing cost? The paper points to a result on images, where sharing within blocks of equal width lost 0.2 % accuracy. Here we ask the question on the spirals. We train first-order tanh networks of ten layers, with own weights and with shared weights, from the same seeds and minibatches. The verdict is about these spirals and not about images. The margin was set before the run. Success is 0.0 % training error. "Little" is less than 10 percentage points of success. The pairs are compared by McNemar's exact test.

# %%
conditions = {"own": rl.Condition(updates=updates)}
conditions["shared"] = replace(conditions["own"], shared=True)
sharing = rl.study(conditions.values(), seeds=range(seed, seed + seeds), device=device)
runs = sharing.runs.assign(weights=sharing.runs["shared"].map({False: "own", True: "shared"}))

# %%
by_seed = runs.pivot(index="seed", columns="weights")
pair = statistics.mcnemar(by_seed["solved"]["own"], by_seed["solved"]["shared"])
success = statistics.shares(runs, ["weights"])
section3.sharing(success, by_seed)
plt.show()
success

# %%
errors = statistics.medians(runs, ["weights"], "error")
late_ratio = by_seed["late_loss"]["shared"] / by_seed["late_loss"]["own"]

# %% tags=["nbval-check-output"]
notebook.decide(
    "weight-sharing-cheap",
    rules.no_worse(pair.interval, 0.1, what="the share of seeds that separate the spirals"),
    {
        "success [Wilson 95 %]": {row.weights: (row.share, (row.low, row.high)) for row in success.itertuples()},
        "difference (shared less own) [95 %]": (pair.difference, *pair.interval),
        "own only, shared only, both, neither": (pair.only_first, pair.only_second, pair.both, pair.neither),
        "McNemar p": pair.p,
        "training error, median [95 %]": {row.weights: (row.median, row.low, row.high) for row in errors.itertuples()},
        "late loss ratio shared/own, median [95 %]": statistics.median_interval(late_ratio, seed=seed),
        "parameters": {name: sharing.trained(each).parameters.shape[1] for name, each in conditions.items()},
    },
    protocol=f"{seeds} paired seeds, C¹ tanh, 10 layers, step 1, 1000 points, batch 300, {updates} Adam updates. "
    "Margin of 0.1 in success, set beforehand.",
)

# %% [markdown]
# ## A second-order layer lives on phase space
#
# One more claim is ours. A $C^2$ layer computes $x^{(l+1)}$ from $x^{(l)}$ *and* $x^{(l-1)}$. So it is not a change of the coordinates $x$. It is a change of coordinates on pairs: the map
# $$(x^{(l)},x^{(l-1)})\mapsto(2x^{(l)}-x^{(l-1)}+\Delta l^2f(x^{(l)}),\;x^{(l)})$$
# has Jacobian determinant exactly 1 *whatever $f$ is*, and it is undone by solving for $x^{(l-1)}$. It needs no certificate and no condition on the weights. In the state $(x, D_1)$ the same holds for every layer. We check this for smooth activations and for activations with kinks, for arbitrary weights, together with the inversion. A first-order layer is the control: its determinant is 1 only by accident.

# %%
errors, sizes = {}, {}
for activation in ("tanh", "relu", "softplus", torch.sin):
    name = activation if isinstance(activation, str) else activation.__name__
    for order in (1, 2):
        net = rl.CkNetwork([2] * 7, order=order, activation=activation, seed=seed, **kind).requires_grad_(False)
        det = torch.cat([torch.linalg.det(J) for J in rl.jacobians(net, x)[1:]])
        (errors if order == 2 else sizes)[f"determinant, {name}, order {order}"] = float((det - 1).abs().max())
    back = list(net.coordinates(x)[-1:-3:-1])
    for W, b in list(zip(net.weights, net.biases, strict=True))[:0:-1]:
        back.append(2 * back[-1] - back[-2] + net.activation(back[-1] @ W.mT + b))
    errors[f"run backwards, {name}"] = statistics.relative_error(back[-1], x)

# %% [markdown]
# The coordinates $x$ alone are a projection of phase space, and the projection of a folded sheet is not injective. We train a $C^2$ network on the spirals and look at the square of inputs as it lies in the $x$ of each layer. Where $\det\partial x^{(l)}/\partial x^{(0)}<0$ the sheet has been turned over. A layer moves points by a bounded amount, so the map has degree 1. Therefore a point of the turned sheet is covered at least three times, with signs that add up to 1.

# %%
sample = rl.spiral(1000, device=device)
setting = {"seeds": [seed], "batch_size": 300, "updates": 800, "learning_rate": 2e-2}
run = rl.fit(rl.CkNetwork([2] * 11, order=2, device=device), sample, **setting)
net = run.networks[0].double().requires_grad_(False)
line = torch.linspace(-1, 1, 61, **kind)
inputs = torch.cartesian_prod(line, line)
signs = [torch.linalg.det(rl.pushforward(net[:layer], inputs)).sign() for layer in range(1, 11)]
turned_share = [float((sign < 0).float().mean()) for sign in signs]
print("share of the square turned over, layer by layer:", [round(share, 2) for share in turned_share])

# %%
layer = 1 + next(i for i, share in enumerate(turned_share) if share > 0.05)
first_layers = net[:layer]
turned = inputs[signs[layer - 1] < 0]
meeting = turned[(turned.norm(dim=1) - 0.25).abs().argmin()]
target = first_layers(meeting[None])[0]
found = preimages(first_layers, target, reach=4.0)
found = found[found.norm(dim=1).argsort()]
orientation = torch.linalg.det(rl.pushforward(first_layers, found)).sign()
print(f"inputs with the same x at layer {layer}: {len(found)}, orientations {orientation.int().tolist()}")
assert len(found) >= 3 and orientation.sum() == 1

# %%
meeting_images = torch.stack(net.coordinates(found))
sheet = first_layers(inputs)
grids = (values.reshape(61, 61, -1) for values in (inputs, sheet))
fig = section3.projection_fold(*grids, signs[layer - 1].reshape(61, 61), meeting_images, layer)
save(fig, "section3_fold")
plt.show()

# %%
states = first_layers.states(found)[-1]
errors["x of the inputs that meet"] = float((meeting_images[layer] - target).abs().max())
sizes["distance of those inputs"] = float(torch.pdist(found).min())
sizes["distance of their phase points"] = float(torch.pdist(states).min())

# %% tags=["nbval-check-output"]
notebook.decide(
    "c2-phase-space",
    rules.identity(errors, sizes),
    {
        "largest deviation": max(errors.values()),
        "controls": sizes,
        "layer of the fold": layer,
        "inputs that meet there": len(found),
    },
    protocol="Determinant of every layer on (x, D_1) after the first, four activations, "
    "and the recursion run backwards. "
    "Fold: inputs of a trained network with one x and different D_1, by Newton's method. "
    "Controls: determinants at order 1, distances of the inputs that meet.",
)

# %% [markdown]
# The paper remarks that in its $C^2$ network the two classes "pass over each other". This fold is what it describes. In the plane of $x$ the classes overlap at one layer. In phase space they never touch. A $C^1$ flow has no such freedom: its curves in the plane cannot cross at one $l$.

# %%
notebook.closing(seed=seed)
