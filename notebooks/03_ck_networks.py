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
# A plain layer replaces the coordinates of a point; a residual layer adds a small step to them. Section 3 of the paper reads the step as a finite difference: stack infinitely many such layers and the coordinates of a point obey a differential equation in the layer $l$. Keep differences of higher order and the equation has higher order.
#
# That reading makes claims that can be measured: how fast a deep network approaches its equation, whether the spacing of the layers matters, whether the step may hide in the weights, whether trained weights have a limit at all, and what sharing them costs. We measure each of them against an adaptive solver, and each measurement stands beside one that has to fail.

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
import torch

import riemlib as rl
from riemlib import evidence, flow, ledger, notebook
from riemlib.charts import preimages
from riemlib.figures import flow as draw
from riemlib.figures import save
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
# In `riemlib` they are one object. A layer acts on the state $(x, D_1, D_2,\dots)$, where $D_i$ stands for the $i$-th derivative in $l$, by a constant stencil $D \leftarrow A\,D + B f$. Below are the rows $[A \mid B]$ at $\Delta l = 0.1$. A forward stencil of order 2 has nothing to look back on at the input, so the order starts at 1 there and rises by one a layer.

# %%
for order in range(4):
    print(f"order {order}:", "  ".join(str([round(c, 4) for c in row]) for row in stencil(order, max(order, 1), 0.1)))

# %% [markdown]
# The paper rewrites Eq. 4 as a residual network with a momentum term,
#
# $$x^{(l+1)}=x^{(l)}+f(x^{(l)};l)\,\Delta l^2+\delta x^{(l-1)}.\tag{4'}$$
#
# We write it three ways: the network's own state recursion, Eq. 4' as it stands (`flow.momentum_form`), and Eq. 4 read backwards as a statement about second differences of the coordinates. They must agree to rounding. Two controls must not: the same recursion without momentum, and with momentum 0.9.

# %%
x = 2 * torch.rand(points, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
x = x.to(device)
errors, controls = {}, {"no momentum": torch.inf, "momentum 0.9": torch.inf}
for activation in ("tanh", "relu", "softplus"):
    for step in (1.0, 0.1):
        net = rl.CkNetwork([2] * 11, order=2, step=step, activation=activation, seed=seed, dtype=torch.float64, device=device)
        with torch.no_grad():
            state = torch.stack(net.coordinates(x))
            f = torch.stack([net.activation(x_l @ W.mT + b) for x_l, W, b in zip(state[:-1], net.weights, net.biases, strict=True)])
            errors[f"Eq. 4', {activation}, step {step}"] = evidence.deviation(torch.stack(flow.momentum_form(net, x)), state)
            errors[f"Eq. 4, {activation}, step {step}"] = evidence.deviation(state.diff(n=2, dim=0), step**2 * f[1:])
            for name, mu in (("no momentum", 0.0), ("momentum 0.9", 0.9)):
                off = evidence.deviation(torch.stack(flow.momentum_form(net, x, mu)), state)
                controls[name] = min(controls[name], off)

# %% tags=["nbval-check-output"]
notebook.decide(
    "momentum-form",
    ledger.identity(errors, controls),
    {"largest deviation": max(errors.values()), "cases": len(errors), "controls, smallest deviation": controls},
    protocol="Ten layers, three activations, two steps, float64; deviation relative to the largest entry. The controls change the momentum.",
)

# %% [markdown]
# ## The equation in the limit (Eqs. 5, 6)
#
# Divide by the step and let it go to zero. If the weights are the values $W(l), b(l)$ of a *path* in $l$, the two networks discretise
#
# $$\frac{dx}{dl}=f(x;l),\tag{5}$$
# $$\frac{d^2x}{dl^2}=f(x;l).\tag{6}$$
#
# Eq. 6 needs an initial velocity, which the paper leaves unsaid. The network settles it: its state starts as $x$ alone, its first layer is of order 1, so $dx/dl(0)=f(x(0);0)$. `flow.smooth_field` draws a smooth path, `flow.discretise` makes the network whose layer $n$ has the weights $W(l(n)), b(l(n))$, and `flow.solve` gives the same equation to an adaptive Runge–Kutta solver. Grey below is the solver, in colour the networks.

# %%
paths = [flow.smooth_field(2, seed=seed + k, device=device) for k in range(fields)]
l = torch.linspace(0.02, 1, 50).tolist()
polygons, exact = {}, {}
for order, name in ((1, "C1"), (2, "C2")):
    exact[name] = torch.cat([x[None], flow.solve(*paths[0], x, order=order, at=l)])
    nets = {depth: flow.discretise(*paths[0], flow.partition(depth), order=order) for depth in depths[:1] + depths[1:6:2]}
    polygons[name] = {depth: torch.stack(net.coordinates(x)) for depth, net in nets.items()}
draw.tracks(polygons, exact)
plt.show()

# %% [markdown]
# ## A residual network is Euler's method
#
# The paper says that the error of Eq. 3 is $O(\Delta l)$. For three activations and several random fields we compare $x^{(L)}$ with the solver's $x(1)$ at doubling depths and fit the order over the finest four. The fit is $\log e=c+p\log h+ah$: the last term takes up what finite steps still show of the next order, so the interval for $p$ is not fooled by a curved line. With one degree of freedom left it is also a wide interval, on purpose.
#
# Two controls show that the measurement can say something else: the same networks against the equation of *another* field (order 0), and a scheme of order 2, which we meet in the next section.

# %%
h = [1 / depth for depth in depths]
uniform = [flow.partition(depth) for depth in depths]
euler = {}
for activation in ("tanh", "softplus", "relu"):
    for k, (W, b) in enumerate(paths):
        error = flow.measured_errors(W, b, x, uniform, activation=activation)
        euler[f"{activation}, field {k + 1}"] = h, error, flow.order_of_convergence(h[-4:], error[-4:])

# %%
other = flow.solve(*flow.smooth_field(2, seed=seed + fields, device=device), x)[-1]
with torch.no_grad():
    astray = [float((flow.discretise(*paths[0], steps).coordinates(x)[-1] - other).square().mean().sqrt()) for steps in uniform]
wrong = {"another field": (h, astray, flow.order_of_convergence(h[-4:], astray[-4:]))}

# %% [markdown]
# ## Central differences, and the order they really have
#
# The paper expects $O(\Delta l^2)$ from the central difference of Eq. 4. The difference itself is of second order, but a scheme is as good as its start. With the paper's start, one layer of order 1, the momentum that enters layer 2 is the velocity at $l=0$ where the recursion wants the one at $l=\Delta l/2$. That is off by $\tfrac{\Delta l}{2}f$, and the momentum term carries the mistake to the end: the order drops to 1.
#
# The remedy costs nothing: let the first layer go only half a step. In the state recursion $D_1$ is then the velocity at whole steps and $x$ the position at half steps, each updated with the other's midpoint. This is the leapfrog of celestial mechanics, and it is still a $C^2$ network: `step=[h/2, h, ..., h]`, with $h=1/(L-\tfrac12)$. (The textbook start $x^{(1)}=x^{(0)}+hv_0+\tfrac{h^2}{2}f$ is the same idea with the two grids exchanged.)
#
# Orders 3 and 4 do not repair it. Their stencils are the $k$-th forward difference with $f$ taken at the last known point, half a step off its centre for $k=3$ and a whole step for $k=4$. Only $k=2$ is central.

# %%
half = [flow.partition(depth, "half start") for depth in depths]
half_h = [steps[-1] for steps in half]
start = {"half-step start": (half, half_h, 2), "the paper's start": (uniform, h, 2)}
higher = {"order 3": (uniform, h, 3), "order 4": (uniform, h, 4)}
central = {}
for name, (steps, size, order) in (start | higher).items():
    for k, (W, b) in enumerate(paths):
        error = flow.measured_errors(W, b, x, steps, order=order)
        central[f"{name}, field {k + 1}"] = size, error, flow.order_of_convergence(size[-4:], error[-4:])

# %%
fig = draw.orders({"first order (Eq. 3)": euler | wrong, "second order and above": central})
save(fig, "section3_orders")
plt.show()

# %%
good = {name: order for name, (*_, order) in central.items() if name.startswith("half-step")}
paper = {name: order for name, (*_, order) in central.items() if name.startswith("the paper's")}
rest = {name: order for name, (*_, order) in central.items() if name.startswith("order")}
first = {name: order for name, (*_, order) in euler.items()}
control = {name: order for name, (*_, order) in wrong.items()} | {f"Eq. 4, {name}": order for name, order in good.items()}
assert all(abs(order.value - 1) < 0.1 for order in rest.values()), rest

# %% tags=["nbval-check-output"]
notebook.decide(
    "residual-is-euler",
    ledger.order_of(1, first, control),
    {**first, "controls": control},
    protocol="Weights follow a random smooth path in l. Error of x^(L) against torchdiffeq's dopri5 (tolerance 1e-10), depths doubling; order and 95 % t-interval of log e = c + p log h + a h over the four finest.",
)

# %% tags=["nbval-check-output"]
notebook.decide(
    "central-second-order",
    ledger.order_of(2, good, paper, when="the first layer takes half a step"),
    {**good, **paper, "higher orders, the paper's start": rest},
    protocol="As for residual-is-euler, against x'' = f with x'(0) = f(x(0); 0). The controls are Eq. 4 with the paper's start: a first-order layer of full step.",
)

# %% [markdown]
# ### A warning: the other central difference
#
# One could also centre the *first* difference, $x^{(l+1)}=x^{(l-1)}+2\,\Delta l\,f$. It is of second order for Eq. 5, and it is a trap. On $dx/dl=-\lambda x$ the recursion has two solutions, $r_\pm=-\lambda h\pm\sqrt{1+\lambda^2h^2}$ to the power $n$. The first decays as it should; the second alternates in sign and *grows*, whenever the flow contracts. A network that flattens a class contracts.

# %%
rate, depth = 8.0, 40
decay = (lambda l: -rate * torch.ones(*l.shape, 1, 1).to(l), lambda l: torch.zeros(*l.shape, 1).to(l))
net = flow.discretise(*decay, flow.partition(depth), activation=lambda z: z)
one = torch.ones(1, 1, dtype=torch.float64)
with torch.no_grad():
    schemes = {"Euler (Eq. 3)": net.coordinates(one), "central first difference": flow.leapfrog(net, one)}
runs = {name: torch.cat(xs)[:, 0] for name, xs in schemes.items()}
at = torch.tensor(flow.layer_positions(net), dtype=torch.float64)
draw.parasite(at, runs, (-rate * at).exp())
plt.show()

# %%
jumps = runs["central first difference"][-2:]
predicted = -rate / depth - (1 + (rate / depth) ** 2) ** 0.5
print(f"growth of the parasite in the last layer {jumps[1] / jumps[0]:.4f}, predicted {predicted:.4f}")
assert abs(jumps[1] / jumps[0] - predicted) < 1e-3 and predicted < -1

# %%
with torch.no_grad():
    true = flow.solve(*paths[0], x)[-1]
    frog = [float((flow.leapfrog(flow.discretise(*paths[0], steps), x)[-1] - true).square().mean().sqrt()) for steps in uniform]
order = flow.order_of_convergence(h[-4:], frog[-4:])
print(f"on a smooth field it still has order {order.value:.2f}")
assert order.low < 2 < order.high

# %% [markdown]
# ## Any partition will do (Eq. 7)
#
# The layers need not be evenly spaced:
#
# $$0=l(0)<l(1)<\dots<l(L)=1,\qquad \Delta l(n)=l(n+1)-l(n),\qquad \max_n\Delta l(n)\to0.\tag{7}$$
#
# `CkNetwork(step=[...])` takes the list. A step contributes an error of size $\Delta l(n)^2$, so the natural abscissa is $\sum_n\Delta l(n)^2\le\max_n\Delta l(n)$, which is $\Delta l$ when all are equal.

# %%
kinds = ("uniform", "half start", "graded", "random")
positions = {kind: torch.tensor([0.0, *flow.partition(24, kind, seed=seed)]).cumsum(0) for kind in kinds}
draw.partitions(positions)
plt.show()

# %% [markdown]
# The random partitions are drawn once and then refined, every layer in two. Drawn afresh at every depth they scatter, and their fluctuations, of order 3/2, can outweigh a small systematic error: such a sequence obeys the bound but has no clean rate, so it is shown and checked against the bound only.
#
# Two controls: a first step that stays a quarter however deep the network is; and, for order 2, Eq. 4' taken literally on graded partitions. There the momentum $\delta x^{(l-1)}$ is a displacement over the *previous* step, and has to be rescaled by $\Delta l(n)/\Delta l(n-1)$; the state recursion, which carries a velocity, does so by itself. The paper's shorthand of $\Delta l$ for $\Delta l(n)$ hides this.

# %%
meshes = {"uniform": uniform[-4:], "graded": [flow.partition(depth, "graded") for depth in depths[-4:]]}
for k in range(2):
    coarse = flow.partition(depths[-4] // 2, "random", seed=seed + k)
    meshes[f"random {k + 1}"] = [[step / parts for step in coarse for _ in range(parts)] for parts in (2, 4, 8, 16)]
spacing = {}
for order in (1, 2):
    for kind, steps in meshes.items():
        size = [sum(step**2 for step in partition) for partition in steps]
        error = flow.measured_errors(*paths[0], x, steps, order=order)
        spacing[f"C{order}, {kind}"] = size, error, flow.order_of_convergence(size, error)

# %%
afresh = [flow.partition(depth, "random", seed=seed + 10 * depth + k) for depth in depths[-4:] for k in range(draws)]
size = [sum(step**2 for step in partition) for partition in afresh]
scattered = {}
for order in (1, 2):
    error = flow.measured_errors(*paths[0], x, afresh, order=order)
    scattered[f"C{order}, drawn afresh"] = size, error, flow.order_of_convergence(size, error, next_term=False)
    worst = max(e / s for e, s in zip(error, size, strict=True))
    regular = max(e / s for e, s in zip(spacing[f"C{order}, graded"][1], spacing[f"C{order}, graded"][0], strict=True))
    print(f"order {order}: error over ΣΔl² at most {worst:.2f}, on graded partitions {regular:.2f}")
    assert scattered[f"C{order}, drawn afresh"][2].high > 1 and worst < 10 * regular

# %%
stuck = [[0.25] + [0.75 / (depth - 1)] * (depth - 1) for depth in depths[-4:]]
error = flow.measured_errors(*paths[0], x, stuck)
careless = {"a step that stays": (h[-4:], error, flow.order_of_convergence(h[-4:], error))}
true = flow.solve(*paths[0], x, order=2)[-1]
with torch.no_grad():
    literal = [flow.momentum_form(flow.discretise(*paths[0], steps, order=2), x)[-1] for steps in meshes["graded"]]
error = [float((y - true).square().mean().sqrt()) for y in literal]
careless["Eq. 4' as it stands, graded"] = h[-4:], error, flow.order_of_convergence(h[-4:], error)

# %% [markdown]
# Rescaled, Eq. 4' is the state recursion again, on any partition:

# %%
steps = flow.partition(20, "random", seed=seed)
net = flow.discretise(*paths[0], steps, order=2)
ratios = [1.0] + [b / a for a, b in pairwise(steps)]
with torch.no_grad():
    off = evidence.deviation(torch.stack(flow.momentum_form(net, x, ratios)), torch.stack(net.coordinates(x)))
print("rescaled momentum against the network: equal to", ledger.power(off))
assert off < 1e-10

# %%
draw.orders({"meshes that go to zero": spacing, "drawn afresh, and controls": scattered | careless}, abscissa=r"$\sum \Delta l(n)^2$ (controls: $1/L$)")
plt.show()

# %% tags=["nbval-check-output"]
measured = {name: order for name, (*_, order) in spacing.items()}
control = {name: order for name, (*_, order) in careless.items()}
notebook.decide(
    "partition-independence",
    ledger.order_of(1, measured, control),
    {**measured, "controls": control, "random, drawn afresh at each depth": {name: order for name, (*_, order) in scattered.items()}},
    protocol="Order against the sum of squared steps; one smooth field; graded is l(n) = (n/L)², random has independent uniform points and is then halved. Order 2 carries a velocity, not a displacement.",
)

# %% [markdown]
# ## May the step hide in the weights?
#
# The paper calls $\Delta l$ "implicit in the weight matrix". Then a layer is $x+\sigma(W\Delta l\,x+b\,\Delta l)$. For ReLU this is the same map: $\max(0,hz)=h\max(0,z)$ for $h>0$, provided the bias is scaled too. For tanh it is not. Small arguments see only the linear part, $\tanh(hz)=hz+O(h^3)$: the limit is the *affine* equation $dx/dl=Wx+b$, whose flow is an affine map, and an affine map untangles no spiral.
#
# We measure how far the map $x^{(0)}\mapsto x^{(L)}$ of the square is from affine (the residual of the best affine fit, relative), as the depth grows with one smooth field, a gentler one here because the affine flow of strong weights is huge.

# %%
line = torch.linspace(-1, 1, 15, dtype=torch.float64, device=device)
square = torch.cartesian_prod(line, line)
W, b = flow.smooth_field(2, seed=seed, scale=1.0, device=device)
shares, apart, maps = {}, {}, {}
with torch.no_grad():
    for activation in ("tanh", "relu"):
        explicit = [flow.discretise(W, b, steps, activation=activation) for steps in uniform]
        hidden = [flow.implicit(net) for net in explicit]
        out = [[net.coordinates(square)[-1] for net in nets] for nets in (explicit, hidden)]
        name = {"tanh": "tanh", "relu": "ReLU"}[activation]
        shares[f"{name}, explicit"], shares[f"{name}, implicit"] = ([flow.nonaffine_share(square, y) for y in ys] for ys in out)
        apart[name] = [evidence.deviation(inside, outside) for outside, inside in zip(*out, strict=True)]
        maps[name] = out[0][-1], out[1][-1]
    bare = [evidence.deviation(flow.implicit(net, bias=False).coordinates(square)[-1], net.coordinates(square)[-1]) for net in explicit]
apart["ReLU, bias not scaled"] = bare

# %%
line_up = {f"tanh, Δl {kind}": y.reshape(15, 15, 2) for kind, y in zip(("explicit", "implicit"), maps["tanh"], strict=True)}
draw.implicit(depths, shares, line_up)
plt.show()

# %% [markdown]
# The affine equation is the implicit tanh network's limit, with the order to be expected of Euler's method, and its non-affine share dies with the square of the step.

# %%
affine_limit = flow.solve(W, b, square, activation=lambda z: z)[-1]
with torch.no_grad():
    gap = [float((flow.implicit(flow.discretise(W, b, s)).coordinates(square)[-1] - affine_limit).square().mean().sqrt()) for s in uniform]
to_affine = flow.order_of_convergence(h[-4:], gap[-4:])
dying = flow.order_of_convergence(h[-4:], shares["tanh, implicit"][-4:])
lasting = flow.order_of_convergence(h[-4:], shares["tanh, explicit"][-4:])
print(f"implicit tanh to the affine equation: order {to_affine.value:.2f}; non-affine share: order {dying.value:.2f}, explicit {lasting.value:.2f}")
assert to_affine.low < 1 < to_affine.high and dying.low < 2 < dying.high and abs(lasting.value) < 0.1

# %% tags=["nbval-check-output"]
bad = apart["tanh"] + apart["ReLU, bias not scaled"]
notebook.decide(
    "implicit-step",
    ledger.condition(
        sum(off < 1e-10 for off in apart["ReLU"]), len(depths), sum(off > 1e-3 for off in bad), len(bad),
        when="the activation is positively homogeneous (ReLU) and the bias is scaled with the weights",
    ),
    {
        "non-affine share at the largest depth": {name: share[-1] for name, share in shares.items()},
        "order to which the share vanishes, tanh implicit": dying,
        "order of implicit tanh towards the affine equation": to_affine,
        "implicit against explicit, largest depth": {name: off[-1] for name, off in apart.items()},
    },
    protocol="One smooth field, the same network with Δl outside and inside the activation, a square of 225 points. Equal means to 1e-10, different by more than 1e-3, relative. Controls: tanh, and ReLU with the bias left as it is.",
)

# %% [markdown]
# So every statement about a limit in these notebooks keeps $\Delta l$ explicit, and the paper's own tanh networks, which have none, are read as networks of step 1.
#
# ## Do the weights have a limit?
#
# The paper argues that the limit exists because the right-hand side is continuous and does not depend on $\Delta l$. That assumes the conclusion: it needs weights that follow a path in $l$, and nothing has said that they do. Initialised layers are *independent* of each other. Training moves them, but does it make them neighbours?
#
# We train first-order networks of step $1/L$ on the spirals, at growing depth, from two starts: the usual one, where each layer draws its own weights, and one where all layers start from the same draw and only training parts them (`flow.EqualStart`). The measure is von Neumann's ratio of the trained weights,
# $$\frac{\sum_n|w_{n+1}-w_n|^2}{2\sum_n|w_n-\bar w|^2},$$
# which is about 1 for independent layers at any depth and goes to zero, at least like $1/L$, along a path of bounded variation. A run counts as regular if its ratio falls with a slope above ½ in $\log(1/L)$, halfway between the two. (The threshold and the learning rate were set after pilot runs, not before.)

# %%
sample = rl.spiral(100, device=device)
starts = {"own start": rl.CkNetwork, "equal start": flow.EqualStart}
ratio, profile, accuracy = {}, {}, {}
setting = dict(seeds=range(seed, seed + trained_seeds), batch_size=100, updates=trained_updates, learning_rate=0.1, progress=True)
for name, kind in starts.items():
    runs = [rl.fit(kind([2] * (depth + 1), step=1 / depth, device=device), sample, **setting) for depth in trained_depths]
    layers = [torch.stack([torch.stack([torch.cat([W.flatten(), b]) for W, b in zip(net.weights, net.biases, strict=True)]) for net in run.networks]) for run in runs]
    ratio[name] = torch.stack([flow.variation(w.detach()) for w in layers])
    profile[name] = {depth: layers[i][0, :, 0].detach() for i, depth in enumerate(trained_depths[:3])}
    accuracy[name] = [float(1 - run.error.mean()) for run in runs]

# %%
untrained = [torch.stack([torch.stack([p.flatten() for p in rl.CkNetwork([2] * (d + 1), seed=seed + k).weights]) for k in range(trained_seeds)]) for d in trained_depths]
ratio["untrained"] = torch.stack([flow.variation(w.detach()) for w in untrained])
logs = -torch.tensor(trained_depths).double().log()
logs = logs - logs.mean()
slope = {name: (logs @ values.double().log()) / (logs @ logs) for name, values in ratio.items()}
for name, values in slope.items():
    print(f"{name}: slope of the ratio in log(1/L) from {values.min():.2f} to {values.max():.2f} over {len(values)} runs")

# %%
fig = draw.weights(profile, trained_depths, ratio)
save(fig, "section3_weights")
plt.show()

# %% [markdown]
# Trained or not, independently drawn layers stay independent: the trained weights are a smooth trend under the noise they started from. From equal starts the same training ends on a path; the evidence lists the accuracies of both.

# %% tags=["nbval-check-output"]
regular = {name: evidence.proportion(values > 0.5) for name, values in slope.items()}
apart = int((slope["own start"] <= 0.5).sum())
found = ledger.mostly({"equal start": regular["equal start"]}, what="the trained weights vary regularly in l")
medians = {name: [evidence.median_interval(row, seed=seed) for row in (values[0], values[-1])] for name, values in ratio.items()}
notebook.decide(
    "weights-regular",
    ledger.given(found, apart, trained_seeds, when="all layers start from the same weights", otherwise="layers drawn independently stay so"),
    {
        "share of regular runs [Wilson 95 %]": regular,
        "ratio at the least and the largest depth, median [low, high]": medians,
        "mean slope": {name: float(values.mean()) for name, values in slope.items()},
        "mean training accuracy by depth": accuracy,
    },
    protocol=f"{trained_seeds} seeds at each depth and start. C¹ tanh networks of explicit step 1/L, 100 points, full batch, Adam. A run is regular if von Neumann's ratio falls with slope above 1/2 in log(1/L). Controls: independently drawn layers, trained and untrained.",
)

# %% [markdown]
# What becomes of independent layers as their number grows? With steps of size $1/L$ they average out: the spread of $x^{(L)}$ over draws shrinks like $L^{-1/2}$, and the limit is an ordinary differential equation with the *mean* of $f$ on its right. With steps of size $1/\sqrt L$ the spread stays, and the limit, if any, is a stochastic equation. Depth alone promises neither.

# %%
scatter = {}
for name, power in (("1/L", 1.0), ("1/√L", 0.5)):
    out = [flow.random_layers(x, depth, depth**-power, draws=200, seed=seed) for depth in depths[:6]]
    scatter[name] = [float((y - y.mean(0)).square().mean().sqrt()) for y in out]
    order = flow.order_of_convergence(h[:6], scatter[name], next_term=False)
    print(f"steps of {name}: spread falls with order {order.value:.2f} [{order.low:.2f}, {order.high:.2f}] in 1/L")
    assert abs(order.value - (power - 0.5)) < 0.1

# %% [markdown]
# ## Sharing weights: homogeneous and inhomogeneous equations
#
# With one $(W,b)$ for all layers (`shared=True`) the equation is homogeneous, $dx/dl=f(x)$. What that means can be checked exactly: only the number of steps counts, not where they are taken, so that ten layers followed by ten layers are twenty (the semigroup property of a flow). With weights of their own, the second ten layers would be other ones.

# %%
composed = {}
for name, tied in (("shared", True), ("own weights", False)):
    long = rl.CkNetwork([2] * 21, step=0.05, shared=tied, seed=seed, dtype=torch.float64, device=device)
    short = flow.head(long, 10)
    with torch.no_grad():
        composed[name] = evidence.deviation(short.coordinates(short.coordinates(x)[-1])[-1], long.coordinates(x)[-1])
print("shared: equal to", ledger.power(composed["shared"]), "; own weights: off by more than", ledger.power(composed["own weights"], up=False))
assert composed["shared"] < 1e-12 and composed["own weights"] > 1e-3

# %% [markdown]
# What does it cost? The paper points to a result on images, where sharing within blocks of equal width lost 0.2 % accuracy. Here is the question on the spirals: first-order tanh networks of ten layers, the same seeds and minibatches, own weights against shared ones. The verdict is about these spirals and not about images; the margin was set before the run: success is 0.0 % training error, "little" is less than 10 percentage points of success, and the pairs are compared by McNemar's exact test.

# %%
own = rl.Condition(updates=updates)
pairs = rl.study({"own": own, "shared": replace(own, shared=True)}, seeds=range(seed, seed + seeds), device=device)
own, shared = pairs.values()

# %%
pair = evidence.mcnemar(own.solved, shared.solved)
late = [run.late_loss for run in (own, shared)]
success = {name: (float(run.solved.float().mean()), evidence.wilson(int(run.solved.sum()), seeds)) for name, run in (("own", own), ("shared", shared))}
draw.sharing(success, late, [run.solved for run in (own, shared)])
plt.show()

# %% tags=["nbval-check-output"]
error = {name: evidence.median_interval(run.error, seed=seed) for name, run in (("own", own), ("shared", shared))}
notebook.decide(
    "weight-sharing-cheap",
    ledger.no_worse(pair.interval, 0.1, what="the share of seeds that separate the spirals"),
    {
        "success [Wilson 95 %]": success,
        "difference (shared less own) [95 %]": (pair.difference, *pair.interval),
        "own only, shared only, both, neither": (pair.only_first, pair.only_second, pair.both, pair.neither),
        "McNemar p": pair.p,
        "training error, median [95 %]": error,
        "late loss ratio shared/own, median [95 %]": evidence.median_interval(late[1] / late[0], seed=seed),
        "parameters": {name: run.parameters.shape[1] for name, run in (("own", own), ("shared", shared))},
    },
    protocol=f"{seeds} paired seeds, C¹ tanh, 10 layers, step 1, 1000 points, batch 300, {updates} Adam updates. Margin of 0.1 in success, set beforehand.",
)

# %% [markdown]
# ## A second-order layer lives on phase space
#
# One more claim, ours. A $C^2$ layer computes $x^{(l+1)}$ from $x^{(l)}$ *and* $x^{(l-1)}$, so it is not a change of the coordinates $x$. It is one on pairs: the map
# $$(x^{(l)},x^{(l-1)})\mapsto(2x^{(l)}-x^{(l-1)}+\Delta l^2f(x^{(l)}),\;x^{(l)})$$
# has Jacobian determinant exactly 1 *whatever $f$ is*, and is undone by solving for $x^{(l-1)}$. No certificate is needed, no condition on the weights. In the state $(x, D_1)$ the same holds layer by layer, which is what we check, for smooth and for kinked activations and arbitrary weights, together with the inversion. A first-order layer is the control: its determinant is 1 only by accident.

# %%
errors, sizes = {}, {}
for activation in ("tanh", "relu", "softplus", torch.sin):
    name = activation if isinstance(activation, str) else activation.__name__
    for order in (1, 2):
        net = rl.CkNetwork([2] * 7, order=order, activation=activation, seed=seed, dtype=torch.float64, device=device)
        det = torch.cat([torch.linalg.det(J) for J in rl.jacobians(net, x)[1:]])
        (errors if order == 2 else sizes)[f"determinant, {name}, order {order}"] = float((det - 1).abs().max())
    with torch.no_grad():
        back = list(net.coordinates(x)[-1:-3:-1])
        for W, b in list(zip(net.weights, net.biases, strict=True))[:0:-1]:
            back.append(2 * back[-1] - back[-2] + net.activation(back[-1] @ W.mT + b))
        errors[f"run backwards, {name}"] = evidence.deviation(back[-1], x)

# %% [markdown]
# The coordinates $x$ alone are a projection of phase space, and a projection of a folded sheet is not injective. We train a $C^2$ network on the spirals and look at the square of inputs as it lies in the $x$ of each layer. Where $\det\partial x^{(l)}/\partial x^{(0)}<0$ the sheet has been turned over. Since a layer moves points by a bounded amount, the map has degree 1: a point of the turned sheet is covered at least three times, with signs that add up to 1.

# %%
sample = rl.spiral(1000, device=device)
setting = dict(seeds=[seed], batch_size=300, updates=800, learning_rate=2e-2, progress=True)
net = rl.fit(rl.CkNetwork([2] * 11, order=2, device=device), sample, **setting).networks[0].double()
line = torch.linspace(-1, 1, 61, dtype=torch.float64, device=device)
inputs = torch.cartesian_prod(line, line)
signs = [torch.linalg.det(rl.pushforward(flow.head(net, layer), inputs)).sign() for layer in range(1, 11)]
layer = 1 + next(i for i, sign in enumerate(signs) if (sign < 0).float().mean() > 0.05)
turned = inputs[signs[layer - 1] < 0]
meeting = turned[(turned.norm(dim=1) - 0.25).abs().argmin()]
print("share of the square turned over, layer by layer:", [round(float((sign < 0).float().mean()), 2) for sign in signs])

# %%
short = flow.head(net, layer)
target = short.coordinates(meeting[None])[-1][0].detach()
found = preimages(short, target, reach=4.0)
found = found[found.norm(dim=1).argsort()]
orientation = torch.linalg.det(rl.pushforward(short, found)).sign()
print(f"inputs with the same x at layer {layer}: {len(found)}, orientations {orientation.int().tolist()}")
assert len(found) >= 3 and orientation.sum() == 1

# %%
with torch.no_grad():
    tracks = torch.stack(net.coordinates(found))
    sheet = short.coordinates(inputs)[-1]
fig = draw.fold(inputs.reshape(61, 61, 2), sheet.reshape(61, 61, 2), signs[layer - 1].reshape(61, 61), tracks, layer)
save(fig, "section3_fold")
plt.show()

# %% tags=["nbval-check-output"]
states = short.states(found)[-1].detach()
errors["x of the inputs that meet"] = float((tracks[layer] - target).abs().max())
sizes["distance of those inputs"] = float(torch.pdist(found).min())
sizes["distance of their phase points"] = float(torch.pdist(states).min())
notebook.decide(
    "c2-phase-space",
    ledger.identity(errors, sizes),
    {"largest deviation": max(errors.values()), "controls": sizes, "layer of the fold": layer, "inputs that meet there": len(found)},
    protocol="Determinant of every layer on (x, D_1) after the first, four activations, and the recursion run backwards. Fold: inputs of a trained network with one x and different D_1, by Newton's method. Controls: determinants at order 1, distances of the inputs that meet.",
)

# %% [markdown]
# The paper's remark that in its $C^2$ network the two classes "pass over each other" is this fold. In the plane of $x$ they overlap at one layer; in phase space they never touch. A $C^1$ flow has no such freedom: its curves in the plane can't cross at one $l$.

# %%
notebook.closing(seed=seed)
