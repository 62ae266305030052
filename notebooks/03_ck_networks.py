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
# # §3 Neural networks as $C^k$ differentiable coordinate transformations
#
# A plain layer replaces the coordinates of a point. A residual layer (He et al., 2016) adds a small step to them. Section 3 of the paper reads this step as a finite difference. With more and more layers the coordinates of a point then follow a differential equation in the layer $l$. (Chen et al., 2018, train such equations.)
#
# Most statements of the section are mathematics, and we name the hypotheses under which they hold. Two are about trained networks: do their weights approach a path as the depth grows, and what does it cost to share them? Beside each measurement stands a control that has to fail.

# %% tags=["parameters"]
seed: int = 0  # first seed of everything random
depths: list = [10, 20, 40, 80, 160, 320, 640]  # layers of the networks that are compared with an equation
fields: int = 2  # random smooth weight fields for each measured order
points: int = 12  # points of the plane carried through the networks
trained_depths: list = [20, 40, 80, 160, 320, 640]  # layers of the trained networks, each twice the one before
trained_seeds: int = 20  # networks trained at each of them, from each start
seeds: int = 400  # networks with and without shared weights
widths: list = [2, 4, 8]  # their widths
updates: int = 3000  # Adam updates of every trained network
device: str = "cpu"  # where the networks live

# %%
from itertools import pairwise, product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import riemlib as rl
from riemlib import limits
from riemlib.charts import preimages
from riemlib.companion import contrasts, deep, notebook, power, rules, specifications, statistics
from riemlib.companion.figures import save, section3
from riemlib.networks import stencil

notebook.opening("§3 Networks as finite differences", device=device, time="two minutes")

# %% [markdown]
# ## One recursion for every order (Eqs. 1–4)
#
# With $f(x;l)=f(W^{(l)}x+b^{(l)})$, where $f$ of one argument is the activation ([§2](02_notation.ipynb)), the paper's networks of order 0, 1 and 2 are
#
# $$x^{(l+1)}=f(x^{(l)};l)\tag{1}$$
# $$x^{(l+1)}=x^{(l)}+f(x^{(l)};l)\,\Delta l\tag{2}$$
# $$\delta x^{(l)}:=x^{(l+1)}-x^{(l)}=f(x^{(l)};l)\,\Delta l\tag{3}$$
# $$\delta^2x^{(l)}:=x^{(l+1)}-2x^{(l)}+x^{(l-1)}=f(x^{(l)};l)\,\Delta l^2\tag{4}$$
#
# The $k$ of $C^k$ counts derivatives in $l$, in the limit of infinitely many layers. It does not speak of $x$: every tanh network is a smooth function of its input.
#
# In `riemlib` the networks are one object. A layer acts on a state $(x, D_1, D_2,\dots)$, where $D_i$ stands for the $i$-th derivative in $l$, and the new state is a constant combination of the old one and $f$. For order 2 it is $x^+=x+\Delta l\,D_1+\Delta l^2f$ and $D_1^+=D_1+\Delta l\,f$, where $^+$ is the new state. So $D_1^+=(x^+-x)/\Delta l$, and with the $D_1$ of the layer before, the first formula is Eq. 4. The table has the coefficients of each new entry at $\Delta l=0.1$. (Order 3 and above are ours.)
#
# At the input there is no earlier layer. §7.1 of the paper takes first order there, and so do we: the order rises by one per layer. §7.1 also has backward differencing at the output. Solved for $x^{(L)}$, with $f$ at the last known layer, this is the same recursion.

# %%
names, rows = ["x", "D₁", "D₂"], {}
for order in range(4):
    entries = max(order, 1)
    for new, line in zip(names, stencil(order, entries, 0.1), strict=False):
        rows[f"order {order}", f"new {new}"] = dict(zip([*names[:entries], "f"], line, strict=True))
pd.DataFrame(rows).T[[*names, "f"]].map(lambda c: "" if np.isnan(c) else f"{c:.4g}")

# %% [markdown]
# The paper rewrites Eq. 4 as a residual network with a momentum term,
#
# $$x^{(l+1)}=x^{(l)}+f(x^{(l)};l)\,\Delta l^2+\delta x^{(l-1)}.\tag{4'}$$
#
# This is algebra, and it holds on steps of any size. There is a second question on unequal steps. The momentum $\delta x^{(l-1)}$ is a displacement over the step *before*. The state carries a velocity, and needs no change. So the two agree only where the momentum is multiplied by $\Delta l(n)/\Delta l(n-1)$. We check both: Eq. 4' against Eq. 4, with $f$ written out again here, and Eq. 4' with the rescaled momentum against the network.

# %%
kind = {"dtype": torch.float64, "device": device}
x = (2 * torch.rand(points, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1).to(device)
sigma = {"tanh": torch.tanh, "relu": lambda z: z.clamp(min=0), "softplus": lambda z: z.exp().log1p()}
momenta = {"Eq. 4'": 1.0, "no momentum": 0.0, "momentum 0.9": 0.9}
forms = []
for layers, name in product(("uniform", "graded", "random"), sigma):
    h = torch.tensor(limits.partition(10, layers, seed=seed), **kind)
    net = rl.CkNetwork([2] * 11, order=2, step=h.tolist(), activation=name, seed=seed, **kind).requires_grad_(False)
    W, b = torch.stack([*net.weights]), torch.stack([*net.biases])
    for form, momentum in momenta.items():
        y = torch.stack(limits.momentum_form(net, x, momentum))
        right = h[1:, None, None] ** 2 * sigma[name](y[1:-1] @ W[1:].mT + b[1:, None])
        forms.append((form, layers, name, statistics.relative_error(y.diff(n=2, dim=0), right)))
    xs = torch.stack(net.coordinates(x))
    rescaled, plain = (torch.stack(limits.momentum_form(net, x, mu)) for mu in (limits.rescaled(net.steps), 1.0))
    forms.append(("the network, momentum rescaled", layers, name, statistics.relative_error(rescaled, xs)))
    if layers != "uniform":
        forms.append(("the network, momentum as it is", layers, name, statistics.relative_error(plain, xs)))

# %% tags=["nbval-check-output"]
forms = pd.DataFrame(forms, columns=["form", "layers", "activation", "deviation"])
ranges = forms.groupby("form", sort=False)["deviation"].agg(["min", "max"])
equal = ranges.loc[["Eq. 4'", "the network, momentum rescaled"], "max"].to_dict()
off = ranges.drop(index=[*equal])["min"].to_dict()
notebook.decide(
    "momentum-form",
    rules.identity(equal, off),
    {"largest deviation": equal, "controls, smallest deviation": off, "cases": len(forms)},
    protocol="Ten layers, uniform, graded and random partitions, three activations, float64; relative deviations. "
    "Controls: other momenta, and on unequal steps Eq. 4' against the network without rescaling.",
)

# %% [markdown]
# ## The equation in the limit (Eqs. 5, 6)
#
# Divide by the step and let it go to zero. If the weights are the values $W(l), b(l)$ of a *path* in $l$, the two networks discretise
#
# $$\frac{dx}{dl}=f(x;l),\tag{5}$$
# $$\frac{d^2x}{dl^2}=f(x;l).\tag{6}$$
#
# Eq. 6 needs an initial velocity. With first order at the input it is $dx/dl(0)=f(x(0);0)$. `limits.smooth_field` draws a smooth path. `limits.discretise` makes the network whose layer $n$ has the weights $W(l(n)), b(l(n))$. `limits.solve` gives the same equation to an adaptive Runge–Kutta solver. In the figure the solver is grey, and the networks are coloured. In JupyterLab, the cell below it has controls for the order and the depth.

# %%
h, uniform = [1 / depth for depth in depths], [limits.partition(depth) for depth in depths]
paths = [limits.smooth_field(2, seed=seed + k, device=device) for k in range(fields)]
goals = {order: [limits.solve(*field, x, order=order)[-1] for field in paths] for order in (1, 2)}  # x(1) for tanh
l = torch.linspace(0.02, 1, 50).tolist()
polygons, exact = {}, {}
for order, name in ((1, "C1"), (2, "C2")):
    exact[name] = torch.cat([x[None], limits.solve(*paths[0], x, order=order, at=l)])
    for depth in (10, 20, 80):
        net = limits.discretise(*paths[0], limits.partition(depth), order=order)
        polygons[name, depth] = torch.stack(net.coordinates(x))
section3.tracks(polygons, exact, height=2.6)
plt.show()

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
# The paper gives the error of Eq. 3 as $O(\Delta l)$. For this the weights have to be samples of one path $W(l), b(l)$ of bounded variation, and $\Delta l$ has to stand outside $f$. We compare $x^{(L)}$ with the solver's $x(1)$ at doubling depths, for three activations and several random fields, one of them with a jump. Such an error is not random. So we show the *local order* $\log_2\frac{\mathrm{error}(\Delta l)}{\mathrm{error}(\Delta l/2)}$ against the depth, and see what it tends to. One control is a network of another field (order 0), another is a scheme of order 2.

# %%
def case(name, steps, errors):
    """The errors of one case as rows: case, step, error."""
    return pd.DataFrame({"case": name, "step": steps, "error": errors})



def in_all_fields(name, partitions, sizes, order=1, **how):
    """The errors of one scheme, a case for each random field."""
    goal = goals[order] if "activation" not in how else [None] * fields
    how |= {"order": order}
    errors = [limits.measured_errors(*f, x, partitions, exact=y, **how) for f, y in zip(paths, goal, strict=True)]
    return pd.concat(case(f"{name}, field {k}", sizes, error) for k, error in enumerate(errors, 1))


jump = lambda l: paths[0][0](l) + 2.0 * (l > 0.5 - 1e-9)[..., None, None]  # noqa: E731
euler = [in_all_fields("tanh", uniform, h)]
euler += [in_all_fields(name, uniform, h, activation=name) for name in ("softplus", "relu")]
euler.append(case("tanh, a jump at 1/2", h, limits.measured_errors(jump, paths[0][1], x, uniform)))
other = limits.solve(*limits.smooth_field(2, seed=seed + fields, device=device), x)[-1]
euler = pd.concat([*euler, case("another field", h, limits.measured_errors(*paths[0], x, uniform, exact=other))])

# %% [markdown]
# ## Central differences, in two readings
#
# The paper promises $O(\Delta l^2)$ for architectures of higher order, such as central differencing. In our copy of the paper the order of smoothness in this sentence cannot be read. So we take both readings, each with its start.
#
# *The central first difference*, for Eq. 5: $x^{(l+1)}=x^{(l-1)}+2\,\Delta l\,f(x^{(l)};l)$. It starts with one layer of first order, as in §7.1. The error of this layer is of size $\Delta l^2$, and it enters once.
#
# *Eq. 4, the central second difference*, for Eq. 6. Here the same start is not good enough. The momentum that enters layer 2 is then the velocity at $l=0$, and the recursion needs the velocity at $l=\Delta l/2$. That is off by $\tfrac{\Delta l}{2}f$, and the momentum carries the error to the end.
#
# The remedy is a first layer of half a step: the steps are $\Delta l/2,\Delta l,\dots,\Delta l$ with $\Delta l=1/(L-\tfrac12)$. Then $D_1$ is the velocity at whole steps, and $x$ the position at half steps. Each of them steps across the midpoint of the other (upper two rulers). The start $x^{(1)}=x^{(0)}+\Delta l\,v_0+\tfrac{\Delta l^2}{2}f$ of the textbooks, with $v_0$ the velocity at the input, does the same, with the rulers exchanged.

# %%
ticks = {name: torch.tensor([0.0, *limits.partition(14, name, seed=seed)]).cumsum(0) for name in
         ("half start", "uniform", "graded", "root", "random")}
section3.rulers(ticks, {"half start": (ticks["half start"][1:] - ticks["half start"][1])})
plt.show()

# %%
half = [limits.partition(depth, "half start") for depth in depths]
half_h = [steps[-1] for steps in half]


def textbook(net, x):
    """Eq. 4 with the start of the textbooks, and on unequal steps with the factors of second order."""
    return limits.momentum_form(net, x, *limits.second_order(net.steps))


good = pd.concat([
    in_all_fields("central first difference", uniform, h, scheme=limits.central_first_difference),
    in_all_fields("Eq. 4, first layer of half a step", half, half_h, order=2),
    in_all_fields("Eq. 4, textbook start", uniform, h, order=2, scheme=textbook),
])
full = in_all_fields("Eq. 4, first layer of a full step", uniform, h, order=2)
fig = section3.orders({"first order (Eq. 3)": euler, "central differences": pd.concat([good, full])})
save(fig, "section3_orders")
plt.show()

# %% tags=["nbval-check-output"]
def local(errors):
    """The last local order of every case, and how far from it the order in the limit may be."""
    return {name: limits.local_order(e["step"], e["error"]) for name, e in errors.groupby("case", sort=False)}


second, first_start = local(good), local(full)
readings = (
    "for Eq. 5 with the central first difference, "
    "for Eq. 6 by Eq. 4 with a first layer of half a step or the textbooks' start"
)
notebook.decide(
    "central-second-order",
    rules.order_of(2, second, first_start, when=readings),
    {"local order at the finest steps, and its range": second, "Eq. 4 with a full first layer": first_start},
    protocol="Weights on a random smooth path. Error of x^(L) against torchdiffeq's dopri5 (tolerance 1e-10), depths "
    "doubling. Range: the last local order, and twice the larger of its last two changes to either side.",
)

# %% [markdown]
# ## Any partition will do (Eq. 7)
#
# The layers need not be evenly spaced:
#
# $$0=l(0)<l(1)<\dots<l(L)=1,\qquad \Delta l(n)=l(n+1)-l(n),\qquad \max_n\Delta l(n)\to0.\tag{7}$$
#
# One step contributes an error of size $\Delta l(n)^2$. So the abscissa is $\sum_n\Delta l(n)^2\le\max_n\Delta l(n)$. Random partitions are drawn once and then refined: every layer is cut in two.
#
# The paper goes on to write $\Delta l$ for $\Delta l(n)$. At order 1 this changes nothing. In Eq. 4 this leaves out the factor $\Delta l(n)/\Delta l(n-1)$ of the momentum, and on unequal steps the equation as printed has another limit, or none. With the factor, which the state of `CkNetwork` has built in, every partition will do. For second order on unequal steps $\Delta l^2$ also becomes $\Delta l(n)\,(\Delta l(n)+\Delta l(n-1))/2$.

# %%
finest = depths[-4:]
meshes = {name: [limits.partition(depth, name) for depth in finest] for name in ("uniform", "graded")}
for k in range(2):
    coarse = limits.partition(finest[0] // 2, "random", seed=seed + k)
    meshes[f"random {k + 1}"] = [[step / parts for step in coarse for _ in range(parts)] for parts in (2, 4, 8, 16)]


def by_mesh(name, partitions, order, **how):
    """The errors of a scheme against the sum of the squared steps of its partitions."""
    sizes = [sum(step**2 for step in steps) for steps in partitions]
    how |= {"order": order, "exact": goals[order][0]}
    return case(name, sizes, limits.measured_errors(*paths[0], x, partitions, **how))


spacing = pd.concat(by_mesh(f"C{k}, {name}", steps, order=k) for k in (1, 2) for name, steps in meshes.items())
unequal = {name: steps for name, steps in meshes.items() if name != "uniform"}
unequal["root"] = [limits.partition(depth, "root") for depth in finest]
printed = {"order": 2, "scheme": limits.momentum_form}
literal = pd.concat(by_mesh(f"as printed, {name}", steps, **printed) for name, steps in unequal.items())
slow = pd.concat(by_mesh(f"C{k}, root", unequal["root"], order=k) for k in (1, 2))

# %%
corrected = by_mesh("graded, Δl² changed, too", meshes["graded"], order=2, scheme=textbook)
stuck = [[0.25] + [0.75 / (depth - 1)] * (depth - 1) for depth in finest]
stays = limits.measured_errors(*paths[0], x, stuck, exact=goals[1][0])
print(f"control, a first step of 1/4 at every depth: the error stays, {stays[0]:.3f} and {stays[-1]:.3f}")
assert stays[-1] > 0.5 * stays[0]
section3.orders(
    {"velocity, or momentum rescaled": pd.concat([spacing, corrected]), "Eq. 4 as printed": literal},
    abscissa=r"$\sum \Delta l(n)^2$",
)
plt.show()

# %% tags=["nbval-check-output"]
every, as_printed = local(spacing), local(literal)
rescaling = "where, at order 2, the momentum is multiplied by Δl(n)/Δl(n-1): it is lost where Δl is written for Δl(n)"
notebook.decide(
    "partition-independence",
    rules.order_of(1, every, as_printed, when=rescaling),
    {
        "local order, and its range": every,
        "Eq. 4 as printed": as_printed,
        "second order, graded": local(corrected),
        "slower, since the first step is 1/√L": local(slow),
    },
    protocol="Local order against the sum of squared steps; one smooth field; graded is l(n) = (n/L)², root is √(n/L), "
    "random has independent uniform points and is then halved.",
)

# %% [markdown]
# ## May the step be left implicit in the weights?
#
# The paper leaves $\Delta l$ implicit in the weight matrix. Then a layer is $x+f(W\Delta l\,x+b\,\Delta l)$. For ReLU this is the same map as with an explicit step, if the bias is scaled too: $\max(0,\Delta l\,z)=\Delta l\max(0,z)$. For tanh it is not. Near 0 tanh is almost linear, $\tanh(\Delta l\,z)=\Delta l\,z+O(\Delta l^3)$. So the limit is the *affine* equation $dx/dl=Wx+b$. Its flow is an affine map, and an affine map does not untangle a spiral.
#
# (Blocks of the form $x+Vf(Wx+b)$ with a second matrix $V$, as in many residual networks, can absorb the step for every $f$: it goes into $V$. The paper's $f$ has no $V$.)
#
# We measure how far the map $x^{(0)}\mapsto x^{(L)}$ of a square is from affine: the relative residual of the best affine fit. The explicit network is written out again here.

# %%
line = torch.linspace(-1, 1, 15, **kind)
square = torch.cartesian_prod(line, line)
W, b = limits.smooth_field(2, seed=seed, scale=1.0, device=device)
affine_limit = limits.solve(W, b, square, activation=lambda z: z)[-1]
found, pictures = [], {}
with torch.no_grad():
    for (name, scaled), steps in product((("tanh", True), ("relu", True), ("relu", False)), uniform):
        at, depth, y = torch.tensor(limits.starts(steps), **kind), len(steps), square
        for W_n, b_n in zip(W(at), b(at), strict=True):
            y = y + sigma[name](y @ W_n.mT + b_n) / depth
        net = limits.discretise(W, b, steps, activation=name)
        inside = limits.implicit(net, bias=scaled).coordinates(square)[-1]
        pictures[name] = {f"{name}, Δl explicit": y.view(15, 15, 2), f"{name}, Δl implicit": inside.reshape(15, 15, 2)}
        both = [limits.nonaffine_share(square, each) for each in (y, inside)]
        to_affine = float((inside - affine_limit).square().mean().sqrt())
        found.append((name, scaled, depth, *both, statistics.relative_error(inside, y), to_affine))
columns = ["activation", "scaled", "depth", "explicit", "implicit", "apart", "from affine flow"]
found = pd.DataFrame(found, columns=columns)

# %%
shares = found[found["scaled"]].melt(["activation", "depth"], ["explicit", "implicit"], "step", "share")
shares["network"] = shares["activation"].map({"tanh": "tanh", "relu": "ReLU"}) + ", " + shares["step"]
section3.implicit(shares, pictures["tanh"])
plt.show()

# %% tags=["nbval-check-output"]
tanh, relu, unscaled = (group.reset_index() for _, group in found.groupby(["activation", "scaled"], sort=False))
bad = pd.concat([tanh, unscaled])["apart"]
last = shares[shares["depth"] == depths[-1]].set_index("network")["share"].to_dict()
when = "where f is positively homogeneous (ReLU) and the bias is scaled with the weights"
notebook.decide(
    "implicit-step",
    rules.condition(int((relu["apart"] < 1e-10).sum()), len(relu), int((bad > 1e-3).sum()), len(bad), when=when),
    {
        "non-affine share at the largest depth": last,
        "local order to which it vanishes, tanh implicit": limits.local_order(1 / tanh["depth"], tanh["implicit"]),
        "local order, implicit tanh to affine flow": limits.local_order(1 / tanh["depth"], tanh["from affine flow"]),
    },
    protocol="One smooth field, the same network with Δl outside and inside the activation, a square of 225 points. "
    "Equal means to 1e-10, different by more than 1e-3, relative. Controls: tanh, and ReLU with the bias as it is.",
)

# %% [markdown]
# So every statement about a limit in these notebooks keeps $\Delta l$ explicit. The paper's own tanh networks, as we read them, have step 1.
#
# ## Does the limit exist?
#
# The paper argues that the right-hand sides of Eqs. 3 and 4, after division, are continuous and do not depend on $\Delta l$, and so the limit exists. This uses that $f(x;l)$ is one function of $l$, the same at every depth. But a network of $L$ layers gives $f$ at $L$ places only. If the deeper network has other weights, continuity in $x$ does not help: there need not be any function of $l$ that the layers converge to. Cohen et al. (2021) measure how trained weights scale with the depth, and Marion et al. (2025) show which initial weights have a limit.
#
# So we look at three cases.
#
# - *A fixed field* $W(l), b(l)$, smooth or with a jump, at orders 1 and 2, by two routes: the networks, and the solver.
# - *Layers that are drawn independently*. With steps $1/L$ they average out: $x^{(L)}$ settles, but the difference quotient $\delta x/\Delta l$ of Eq. 5 does not. With steps $1/\sqrt L$ not even $x^{(L)}$ settles.
# - *Trained networks*, next.

# %%
fixed = {}
for order in (1, 2):
    cases = in_all_fields(f"order {order}", uniform, h, order=order).groupby("case", sort=False)
    fixed |= {name: e["error"].to_list() for name, e in cases}
    jumping = limits.measured_errors(jump, paths[0][1], x, uniform, order=order)
    fixed[f"order {order}, a jump at 1/2"] = jumping
how = {"draws": 100, "seed": seed}
drawn = {a: [limits.random_layers(x, depth, depth**-a, **how) for depth in depths] for a in (1, 0.5)}
slopes = [(y[-1] - y[-2]) * (len(y) - 1) for y in drawn[1]]


def doubled(values):
    """The root mean square distance between each network and the one of twice the depth."""
    return [float((a - b).square().mean().sqrt()) for a, b in pairwise(values)]


independent = {"δx/Δl at steps 1/L": doubled(slopes), "x^(L) at steps 1/√L": doubled([y[-1] for y in drawn[0.5]])}
averaged = {"x^(L) at steps 1/L": doubled([y[-1] for y in drawn[1]])}
shrunk = {name: e[0] / e[-1] for name, e in (fixed | independent | averaged).items()}
pd.Series(shrunk, name="falls from the first depth to the last by a factor").map("{:.3g}".format).to_frame()

# %% [markdown]
# **Trained networks.** We train first-order networks on the spirals at doubling depths, with the step $1/L$ of Eq. 7. The readout is the same for all, logits $\mp4x^1$, and is not trained. Take the weights of a network as a path that is constant on each layer, and compare the depths $L$ and $2L$:
#
# $$d(L,2L)=\Bigl(\int_0^1\lvert w_L(l)-w_{2L}(l)\rvert^2\,dl\Bigr)^{1/2}.$$
#
# For samples of one smooth path $d$ is of order $1/L$, and with a jump of order $L^{-1/2}$. For independent layers it stays. There are two starts. From the first, the layers of every depth start as samples of one random path. From the second, the usual one (Glorot and Bengio, 2010), each layer is drawn by itself.
#
# The **primary contrast**, named before the training, is $\log\frac{d(20,40)}{d(320,640)}$ from the start on one path. It is $\log16$ for samples of one smooth path, and 0 where the weights have no limit. The smallest effect that counts is a factor of 2. Secondary are the usual start, the variation in $l$ (von Neumann's ratio of the jumps between neighbouring layers to the spread), the errors, and $\Delta l=10/L$, which at ten layers is the step 1 of the paper's networks. Dashed lines are untrained networks.

# %%
each_seed, starts = range(seed, seed + trained_seeds), [*deep.STARTS]
shown = [*trained_depths[:2], *trained_depths[-2:]]
trained = {start: deep.train(start, some, each_seed, updates=updates)
           for start, some in zip(starts, (trained_depths, shown), strict=True)}
pairs = pd.concat(deep.pairs(found, each_seed).assign(start=start) for start, found in trained.items())
runs = pd.concat(deep.runs(found, each_seed).assign(start=start) for start, found in trained.items())
shallow, deepest = trained_depths[0], trained_depths[-2]
by_start = dict(iter(pairs.groupby("start", sort=False)))
d = {start: each.pivot(index="seed", columns="depth", values="distance") for start, each in by_start.items()}
along = {start: deep.profiles(found, each_seed, shown) for start, found in trained.items()}
profiles = pd.concat(table.assign(start=start) for start, (table, _) in along.items())
fig = section3.weights(profiles, pairs, {start: which for start, (_, which) in along.items()})
save(fig, "section3_weights")
plt.show()

# %%
def fall(d, first, last):
    """The logarithm of d(first, 2 first) over d(last, 2 last), paired by seed."""
    say = [f"weights of networks of {last} and {2 * last} layers end {{}} {way} than of {first} and {2 * first}"
           for way in ("closer together", "farther apart")]
    return contrasts.ratio(d[first], d[last], delta=np.log(2), say=tuple(say))


falls = {start: fall(each, shallow, deepest) for start, each in d.items()}
ten = deep.train("one path", trained_depths[:4], each_seed, span=10.0, updates=updates)
ten_d = deep.pairs(ten, each_seed).pivot(index="seed", columns="depth", values="distance")
ten_solved = deep.runs(ten, each_seed).groupby("depth")["solved"].sum()
outputs = {start: each.pivot(index="seed", columns="depth", values="outputs") for start, each in by_start.items()}
closer = {start: int((each[shallow] > 2 * each[deepest]).sum()) for start, each in d.items()}
ends = runs[runs["depth"].isin([shallow, 2 * deepest])]
variation = statistics.medians(ends, ["start", "depth"], "variation")  # von Neumann's ratio
solved = statistics.shares(ends, ["start", "depth"])
for start, each in falls.items():
    print(f"{start}: {each.plain}; d falls by more than a factor of 2 in {closer[start]} of {trained_seeds} seeds")
    jumps = variation[(variation["start"] == start) & (variation["depth"] == 2 * deepest)]["median"].item()
    print(f"  jumps between neighbours, where independent layers have 1: {jumps:.2g} at L = {2 * deepest}")

# %% tags=["nbval-check-output"]
on_path, own = falls["one path"], closer["independent layers"]
no_path = "the layers start independently of one another, and d(L, 2L) falls by less than a factor of 2"
record = power.primary(on_path, updates=updates) | {
    "power at a factor of 4": power.power(on_path, 2 * on_path.delta),
    "secondary: independent layers": falls["independent layers"].plain,
    "secondary: one path, Δl = 10/L": fall(ten_d, shallow, trained_depths[2]).plain,
    "secondary: the same, networks at 0.0 % error, by depth": ten_solved.to_dict(),
    "secondary: seeds whose d falls by more than 2": closer,
    "secondary: variation in l": statistics.labelled(variation, "{start}, L = {depth}", statistics.MEDIAN),
    "secondary: networks at 0.0 % error": statistics.labelled(solved, "{start}, L = {depth}", statistics.SHARE),
}
notebook.decide(
    "weights-regular",
    rules.given(specifications.decide(on_path), trained_seeds - own, trained_seeds, otherwise=no_path,
                when="where the networks of all depths start as samples of one path"),
    record,
    protocol=f"{trained_seeds} seeds, depths {trained_depths}, C¹ tanh, explicit step 1/L, 1000 points, batch 300, "
    f"{updates} Adam updates, readout fixed. A seed has the same path and the same minibatches at every depth.",
)

# %% tags=["nbval-check-output"]
least = (depths[-1] / depths[0]) ** 0.5
settles = [shrunk[name] > least for name in fixed]
fails = [shrunk[name] < least for name in independent]
one_field = "where W(l) and b(l) are one bounded field, the same at every depth and continuous for almost every l"
notebook.decide(
    "limit-exists",
    rules.condition(sum(settles), len(settles), sum(fails) + trained_seeds - own, 2 + trained_seeds, when=one_field),
    {
        "fixed field: error falls by a factor": {name: shrunk[name] for name in fixed},
        "independent layers: distance to twice the depth falls by": {name: shrunk[name] for name in independent},
        "trained from independent layers: seeds whose d falls by more than 2": f"{own} of {trained_seeds}",
        "trained from one path: seeds whose d falls by more than 2": f"{closer['one path']} of {trained_seeds}",
    },
    protocol=f"Depths {depths[0]} to {depths[-1]}; it falls where the factor is above the root of their ratio. Fixed "
    "fields: two routes, networks and torchdiffeq. Without the hypothesis: independent layers, trained and untrained.",
)

# %% tags=["nbval-check-output"]
orders = local(euler)
wrong = {"another field": orders.pop("another field"), **{n: o for n, o in second.items() if "half a step" in n}}
sampled = "where the weights are samples of one path of bounded variation in l, and Δl stands outside f"
meets = (
    "networks trained from independent layers approach no path, as far as d tells; "
    f"of those trained from one path {closer['one path']} of {trained_seeds} do"
)
notebook.decide(
    "residual-is-euler",
    rules.given(rules.order_of(1, orders, wrong), trained_seeds - own, trained_seeds,
                when=sampled, otherwise=meets),
    {
        "local order, and its range, in each case": orders | wrong,
        "trained: x^(L) against twice the depth falls by a factor (median)": {
            start: float((each[shallow] / each[deepest]).median()) for start, each in outputs.items()
        },
        "at order 1 it would fall by": deepest / shallow,
    },
    protocol="As for central-second-order. Trained networks: those of weights-regular.",
)

# %% [markdown]
# ## Sharing weights
#
# With one $(W,b)$ for all layers (`shared=True`) the equation is autonomous, $dx/dl=f(x)$; the paper says homogeneous. Then only the number of steps counts, not where they are taken: ten layers after the same ten layers are twenty layers. With weights of their own, the second ten layers differ from the first.
#
# What does sharing cost? The paper cites a result on images, where sharing within blocks of equal width lost 0.2 % of accuracy. We ask the question of our spirals, and the answer is about spirals. The **primary contrast** is the share of seeds at 0.0 % error, shared less own weights, with a margin of 10 points, and it must hold at every width. A third network has as many parameters as the one that shares: weights of its own, in a single layer.

# %%
composed = {}
for name, tied in (("shared", True), ("own weights", False)):
    long = rl.CkNetwork([2] * 21, step=0.05, shared=tied, seed=seed, **kind).requires_grad_(False)
    composed[name] = statistics.relative_error(long[:10](long[:10](x)), long[:](x))
print("ten layers twice against twenty, relative difference:", rules.show(composed))
assert composed["shared"] < 1e-12 and composed["own weights"] > 1e-3
kinds = {"own weights": {}, "shared": {"shared": True}, "one layer of its own": {"depth": 1}}
conditions = {(width, name): rl.Condition(width=width, updates=updates, **settings)
              for width in widths for name, settings in kinds.items()}
sharing = rl.study(conditions.values(), seeds=range(seed, seed + seeds), device=device)
error, rows = {}, []
for (width, name), each in conditions.items():
    run = sharing.trained(each)
    error[width, name] = run.error.numpy()
    share = statistics.proportion(run.solved)
    rows.append((width, name, *share, run.parameters.shape[1]))
success = pd.DataFrame(rows, columns=["width", "network", "share", "low", "high", "parameters"])

# %%
def cost(width, reference, margin=0.1):
    """The share of seeds that sharing solves, less that of a reference at the same width."""
    solved = [np.where(np.isnan(e), np.nan, e == 0) for e in (error[width, "shared"], error[width, reference])]
    say = [f"with shared weights {{}} {way} of the seeds reach 0.0 %" for way in ("more", "fewer")]
    return contrasts.share(*solved, delta=margin, say=say)


by_width = {f"spirals, width {width}": contrasts.equivalence(cost(width, "own weights"), cost=True) for width in widths}
matched = {f"width {width}": cost(width, "one layer of its own").plain for width in widths}
section3.sharing(success)
plt.show()

# %% tags=["nbval-check-output"]
base = contrasts.all_of(**by_width)
notebook.decide(
    "weight-sharing-cheap",
    specifications.decide(base),
    power.primary(base, updates=updates)
    | {
        "reads, at each width": {name: part.reading for name, part in by_width.items()},
        "secondary: against one layer of its own, with as many parameters": matched,
        "success [Wilson 95 %]": statistics.labelled(success, "width {width}, {network}", statistics.SHARE),
        "parameters": statistics.labelled(success, "width {width}, {network}", "parameters"),
    },
    protocol=f"{seeds} paired seeds, C¹ tanh, 10 layers, step 1, 1000 points, batch 300, {updates} Adam updates. "
    "Margin of 10 points in success, one-sided, at every width; silent where own weights solve fewer than 20 %.",
)

# %% [markdown]
# ## A second-order layer lives on phase space
#
# One more claim is ours. A $C^2$ layer computes $x^{(l+1)}$ from $x^{(l)}$ *and* $x^{(l-1)}$. So it is not a change of the coordinates $x$ alone. It is one of pairs, $(x^{(l)},x^{(l-1)})\mapsto(x^{(l+1)},x^{(l)})$, for *any* $f$: it is undone by solving for $x^{(l-1)}$. Its determinant is exactly 1 on uniform steps and $(\Delta l(n)/\Delta l(n-1))^d$ on others. In the state $(x, D_1)$ it is always 1. We check each layer by forward-mode differentiation, for smooth activations and for one with kinks, and run the recursion backwards. The control is a layer of first order.
#
# The coordinates $x$ are a projection of phase space, and the projection of a folded sheet is not injective. The figure shows a trained network: the square of inputs as it lies in the $x$ of a layer. Where $\det\partial x^{(l)}/\partial x^{(0)}<0$ the sheet is turned over. Far out the map is the identity and a bounded shift. So a generic point has one preimage, if preimages are counted with sign, and where a turned sheet covers it there are two more.

# %%
errors, sizes = {}, {}
for name, layers, order in product(("tanh", "relu", torch.sin), ("uniform", "random"), (1, 2)):
    steps = [6 * h for h in limits.partition(6, layers, seed=seed)]
    net = rl.CkNetwork([2] * 7, order=order, step=steps, activation=name, seed=seed, **kind).requires_grad_(False)
    label = f"{getattr(name, '__name__', name)}, {layers}"
    if order == 1:
        det = torch.cat([torch.linalg.det(J) for J in rl.jacobians(net, x)])
        sizes[f"determinant at order 1, {label}"] = float((det - 1).abs().max())
        continue
    h = torch.tensor(net.steps, **kind)
    for what, ratio in (("pairs", (h[1:] / h[:-1]) ** 2), ("(x, D₁)", torch.ones(5, **kind))):
        det = limits.phase_determinants(net, x[:4], pairs=what == "pairs")
        errors[f"determinant of {what}, {label}"] = float((det - ratio[:, None]).abs().max())
    back = list(net.coordinates(x)[:-3:-1])
    for n in range(5, 0, -1):
        f = net.activation(back[-1] @ net.weights[n].mT + net.biases[n])
        back.append(back[-1] - (back[-2] - back[-1] - h[n] ** 2 * f) * h[n - 1] / h[n])
    errors[f"run backwards, {label}"] = statistics.relative_error(back[-1], x)
    sizes[f"run backwards, one layer less, {label}"] = statistics.relative_error(back[-2], x)

# %%
condition = rl.Condition(order=2)
net = rl.study([condition], seeds=[seed]).trained(condition).networks[0]
line = torch.linspace(-1, 1, 61, **kind)
inputs = torch.cartesian_prod(line, line)
signs = [torch.linalg.det(rl.pushforward(net[:layer], inputs)).sign() for layer in range(1, 11)]
layer = 1 + next(i for i, sign in enumerate(signs) if (sign < 0).double().mean() > 0.05)
first_layers, turned = net[:layer], inputs[signs[layer - 1] < 0]
meeting = turned[(turned.norm(dim=1) - 0.25).abs().argmin()]
found = preimages(first_layers, first_layers(meeting[None])[0], reach=4.0)
found = found[found.norm(dim=1).argsort()]
jacobians = rl.pushforward(first_layers, found)
orientation = torch.linalg.det(jacobians).sign()
print(f"inputs with the same x at layer {layer}: {len(found)}, orientations {orientation.int().tolist()}")
assert len(found) >= 3 and orientation.sum() == 1
meeting = torch.stack(net.coordinates(found))
grids = (values.reshape(61, 61, -1) for values in (inputs, first_layers(inputs)))
fig = section3.projection_fold(*grids, signs[layer - 1].reshape(61, 61), meeting, jacobians, layer, seed)
save(fig, "section3_fold")
plt.show()

# %% tags=["nbval-check-output"]
errors["x of the inputs that meet"] = float((meeting[layer] - meeting[layer, :1]).abs().max())
sizes["distance of those inputs"] = float(torch.pdist(found).min())
sizes["distance of their phase points"] = float(torch.pdist(first_layers.states(found)[-1]).min())
notebook.decide(
    "c2-phase-space",
    rules.identity(errors, sizes),
    {"largest deviation": max(errors.values()), "controls": sizes, "layer of the fold": layer, "inputs": len(found)},
    protocol="Determinant of every layer after the first, on (x^(l), x^(l-1)) and on (x, D_1), by forward mode, three "
    "activations, uniform and random steps, and the recursion run backwards. Fold: inputs of a trained network with "
    "one x and different D_1, by Newton's method. Controls: determinants at order 1, distances of inputs that meet.",
)

# %% [markdown]
# The paper remarks that in its $C^2$ network the two classes pass over each other. This fold is how they do it: in the plane of $x$ they overlap at one layer, in phase space they never meet. The flow of Eq. 5 cannot do so, for its curves in the plane never meet at one $l$. (A $C^1$ network of step 1 is no flow: its layers can fold, and then two classes can meet. They cannot be parted again.)
#
# ## Two asides
#
# *The parasite of the central first difference.* On $dx/dl=-\nu x$ with $\nu>0$ the recursion has two solutions, the powers of $-\nu\Delta l\pm\sqrt{1+\nu^2\Delta l^2}$. The one with the plus sign decays as it should. The other alternates in sign and grows. This happens wherever the flow contracts. The order of the scheme is 2 all the same.
#
# *Independent layers.* With steps $1/L$ the spread of $x^{(L)}$ over draws shrinks like $L^{-1/2}$, and what is left is the ordinary differential equation of the mean of $f$. With steps $1/\sqrt L$ the spread stays. The limit, if there is one, is a stochastic equation.

# %%
rate, depth = 8.0, 40
decay = (lambda l: -rate * torch.ones(*l.shape, 1, 1).to(l), lambda l: torch.zeros(*l.shape, 1).to(l))
net = limits.discretise(*decay, limits.partition(depth), activation=lambda z: z).requires_grad_(False)
one = torch.ones(1, 1, dtype=torch.float64)
schemes = {"Euler (Eq. 3)": net.coordinates(one), "central first difference": limits.central_first_difference(net, one)}
solutions = {name: torch.cat(xs)[:, 0] for name, xs in schemes.items()}
at = torch.tensor(limits.layer_positions(net), dtype=torch.float64)
section3.parasite(at, solutions, (-rate * at).exp())
plt.show()
growth = float(solutions["central first difference"][-1] / solutions["central first difference"][-2])
predicted = -rate / depth - (1 + (rate / depth) ** 2) ** 0.5
print(f"growth of the parasite in the last layer {growth:.4f}, predicted {predicted:.4f}")
assert abs(growth - predicted) < 1e-3 and predicted < -1
for a, each in drawn.items():
    spread = [float((y[-1] - y[-1].mean(0)).square().mean().sqrt()) for y in each]
    order = np.log(spread[0] / spread[-1]) / np.log(depths[-1] / depths[0])
    print(f"steps of L^-{a:g}: from {depths[0]} to {depths[-1]} layers the spread falls with order {order:.2f}")
    assert abs(order - (a - 0.5)) < 0.1

# %%
from riemlib.companion.references import references

references(
    he="residual networks",
    chen="residual networks as differential equations",
    cohen="how weights of trained deep networks scale with the depth",
    marion="which initial weights have a limit",
    glorot_bengio="the initial weights",
)

# %%
notebook.closing(seed=seed)
