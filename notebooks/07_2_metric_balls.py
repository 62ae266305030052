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
# # §7.2 Balls of the learned metric: Figure 3
#
# The paper takes a residual network that separates the spiral. It gives the output the Euclidean metric and pulls that
# metric back to every layer. Then it draws balls of constant $\mathrm ds$ (§4 defines them). They are round at the
# output, and ellipses before it. The ellipses show which points the network takes to be near one another. The section
# adds a statement about the group actions of §5: in a residual network they are approximately smooth, and smooth in the
# limit of many layers.
#
# This notebook draws Figure 3, compares the ellipses with the true preimages of the output balls, and measures the
# actions of trained networks of 10, 20 and 40 layers.

# %% tags=["parameters"]
seeds: int = 100  # networks of each kind and depth
updates: int = 3000  # Adam updates
depths: list = [10, 20, 40]  # layers of the trained networks; Figure 3 draws the first
share: float = 0.006  # radius of the balls over the diameter of the output
deepest: int = 640  # layers of the networks whose weights follow a path; halved down to 10
fields: int = 3  # such paths
cells: int = 450  # along a side of the grid on which true preimages are found
device: str = "cpu"  # where the networks live

# %%
import math

import matplotlib.pyplot as plt
import pandas as pd
import torch

import riemlib as rl
from riemlib import bundles, charts, curves, limits, plot
from riemlib.companion import contrasts, notebook, power, rules, statistics
from riemlib.companion.figures import save, section7

notebook.opening("§7.2 The metric", device=device, time="about a minute")

# %% [markdown]
# ## Which networks are drawn
#
# The networks are those of the common base: ten residual tanh layers of width 2, 1000 points at random positions on the
# two arms. How elongated are the balls of such a network at the input? We take the ratio of the axes, and its median over
# the data. It differs much from seed to seed. So we draw two networks, both from the seeds with the least error. One has
# the median elongation (the lower of two in the middle). The other is the least elongated one, whose picture is the
# easiest to read.

# %%
kinds = {"C1": {"order": 1}, "C0": {"order": 0}, "C2": {"order": 2}}
conditions = {(kind, L): rl.Condition(depth=L, updates=updates, **kinds[kind]) for kind in kinds for L in depths}
study = rl.study(conditions.values(), seeds=range(seeds), device=device)
residual = study.trained(conditions["C1", depths[0]])
sample = residual.points

# %%
ratios = [rl.geometry(net, sample.x).balls(1.0)[0].condition_number.sqrt() for net in residual.networks]
elongation = pd.Series([float(ratio.median()) for ratio in ratios], index=residual.seeds)
best = elongation[(residual.error == residual.error.nan_to_num(1.0).min()).numpy()].sort_values(kind="stable")
chosen = {"median elongation": best.index[(len(best) - 1) // 2], "least elongated": best.index[0]}
at = torch.linspace(0.06, 0.94, 4, dtype=torch.float64)
half = int((sample.label == 0).sum())
centres = torch.cat([(at * half).long(), half + (at * (len(sample) - half)).long()])


def run_of(rule, seed, centres):
    """The network of a seed for Figure 3, with the rule that chose it and its percentile in elongation."""
    net, error = residual.network(seed).double(), float(residual.error[residual.seeds.index(seed)])
    data, percentile = rl.geometry(net, sample.x), 100 * float((elongation < elongation[seed]).mean())
    name = f"{rule} of the {len(best)} seeds at {error:.1%} error: C1, seed {seed},\n"
    name += f"ratio of axes {elongation[seed]:.0f}, percentile {percentile:.0f} of all {len(elongation)}"
    radius = share * float(curves.diameter(data.x[-1], len(sample)))
    return section7.Run(name, net, data, rl.geometry(net, sample.x[centres]), radius)


# %% tags=["nbval-check-output"]
runs = [run_of(rule, seed, centres) for rule, seed in chosen.items()]
print(f"networks at 0.0 % error: {int(residual.solved.sum())} of {seeds}")
quarters = elongation.quantile([0, 0.25, 0.5, 0.75, 1])
print("ratio of the axes, least, quartiles and largest:", *(f"{value:.0f}" for value in quarters))
for rule, run in zip(chosen, runs, strict=True):
    medians = [float(ball.condition_number.sqrt().median()) for ball in run.data.balls(1.0)]
    print(f"{rule}: layer by layer", *(f"{median:.1f}" for median in medians))

# %% [markdown]
# ## Figure 3: balls at eight points of the data
#
# One convention holds in this companion: the radius $\varepsilon$ is a share of the diameter of the output. Here it is
# 0.6 %. The balls stand at the same eight points in all panels. Where a part of a panel is shaded, the layers that
# follow turn it over: $\det P < 0$. On its edge $\det P = 0$, and there $g$ is no metric on $M$, the piece of the plane
# ([§2](02_notation.ipynb)), but a singular one (Benfenati and Marta, 2023).

# %%
layers = [round(depths[0] * part) for part in (0, 0.3, 0.6, 1)]
classes = sample.label[centres]
fig = section7.metric_balls(runs, sample.label, classes, shown=layers, title="Figure 3: balls of constant ds")
save(fig, "figure_3")
plt.show()

# %% [markdown]
# We check that the drawing is the definition. Every point of every outline lies at the squared length $\varepsilon^2$
# from its centre, and the balls at the output are circles. The control has semi-axes $\varepsilon\sqrt\lambda$ in place of
# $\varepsilon/\sqrt\lambda$, with $\lambda$ the eigenvalues of $g$. In every layer but the last, where $\lambda=1$, its
# outlines lie elsewhere.

# %% tags=["nbval-check-output"]
for run in runs:
    found, off = run.centres, []
    for g, x, outline in zip(found.g, found.x, plot.outlines(found, run.radius), strict=True):
        v = outline - x[:, None]
        squared = torch.einsum("nka,nab,nkb->nk", v, g, v)
        assert torch.allclose(squared, torch.tensor(run.radius**2, dtype=v.dtype), rtol=1e-6)
        wrong = torch.einsum("nka,nab->nkb", v, g)  # semi-axes ε√λ
        off.append(float((torch.einsum("nka,nab,nkb->nk", wrong, g, wrong) / run.radius**2 - 1).abs().max()))
    assert min(off[:-1]) > 0.1 > off[-1]
    assert torch.allclose(v.norm(dim=-1), torch.tensor(run.radius, dtype=v.dtype))  # v of the last layer
print("outlines lie at ds = radius in every layer, and are round at the output; those of the control lie elsewhere")

# %% [markdown]
# In JupyterLab, sliders above the figure set the layer in the middle, the radius ε of the balls as a share of the diameter
# of the output, and the point of each arm at which a ball stands. Look at how a ball that is round at the output becomes
# longer towards the input, and at which points it becomes longest.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

easiest, last = runs[-1], len(runs[-1].data.x) - 1


def balls_at(layer=5, epsilon=share, point=half // 2):
    """Figure 3 with two balls, in the first, this and the last layer."""
    here = torch.tensor([point, len(sample) - half + point])
    radius = easiest.radius * epsilon / share
    run = easiest._replace(centres=rl.geometry(easiest.net, sample.x[here]), radius=radius)
    return section7.metric_balls([run], sample.label, sample.label[here], shown=[0, layer, last])


play(balls_at, layer=(1, last - 1), epsilon=(0.002, 0.05, 0.002), point=(0, half - 1))

# %% [markdown]
# ## Do the needles follow the edge of the shaded part?
#
# Some balls are needles: very long and thin. On the edge of the shaded part the long axis is infinite. So two questions can
# be asked of every trained network. Are the balls longer near the edge than elsewhere? And do the longest lie *along* it?
#
# The first is answered by the rank correlation of elongation and distance to the edge. For the second we take the tenth of
# the data with the longest needles, and the angle between each needle and the edge at its nearest point. Directions drawn
# at random have the median 45°.

# %%
line = torch.linspace(-1.1, 1.1, 101, dtype=torch.float64, device=device)


def needles(net, ratio):
    """Rank correlation of elongation with the distance to the edge; median angle of needle and edge, in degrees."""
    edge, normal, _ = charts.orientation_edge(net, line)
    if not len(edge):
        return None
    distance, nearest = torch.cdist(sample.x, edge).min(1)
    longest = ratio.topk(len(ratio) // 10).indices
    direction = rl.geometry(net, sample.x[longest]).balls(1.0)[0].directions[:, :, 0]
    angle = torch.rad2deg((direction * normal[nearest[longest]]).sum(1).abs().clamp(max=1).asin())
    return statistics.rank_correlation(ratio, distance), float(angle.median())


# %% tags=["nbval-check-output"]
found = [each for each in map(needles, residual.networks, ratios) if each]
print(f"{len(found)} of {seeds} networks have such an edge in the square")
measured = ("rank correlation of elongation and distance to the edge", "angle to the edge in degrees")
for what, values in zip(measured, zip(*found, strict=True), strict=True):
    print(f"{what}: median over networks {rules.show(list(statistics.median_interval(values)))}")
square = torch.cartesian_prod(line, line)
turned = [float((torch.linalg.det(rl.pushforward(run.net, square)) < 0).double().mean()) for run in runs]
print("shaded at the input in the two networks drawn:", *(f"{part:.1%}" for part in turned))

# %% [markdown]
# ## Ellipse and true preimage
#
# The ellipse is the preimage of the output ball to first order in $\varepsilon$. The figure shows both in the input
# plane, for all eight centres of both networks. Each colour belongs to one centre. A filled part far from its ellipse is
# another piece of the preimage: the network puts different neighbourhoods on top of each other there.

# %%
fine = torch.linspace(-1.1, 1.1, cells + 1, dtype=torch.float64, device=device)
inside = [section7.preimages_of_balls(run, fine) for run in runs]
fig = section7.true_balls(runs, sample, fine, inside, title="The balls at the input: first order and truth")
save(fig, "figure_3_true_preimage")
plt.show()

# %% [markdown]
# A long thin ellipse says: here the network hardly sees an *infinitesimal* move along the long axis. It does not say that
# the tip of the ellipse is near. The drawn ellipse is often too long to be believed. The cell follows both tips of every
# ellipse through the network. To first order each of them lands one radius from the centre's image.

# %% tags=["nbval-check-output"]
for rule, run in zip(chosen, runs, strict=True):
    for factor in (1, 5):
        ball = run.centres.balls(factor * run.radius)[0]
        move = ball.axes[:, :1] * ball.directions[:, :, 0]
        tips = [run.net.coordinates(run.centres.x[0] + sign * move)[-1] for sign in (1, -1)]
        away = torch.stack([(tip - run.centres.x[-1]).norm(dim=1) for tip in tips]).amax(0) / (factor * run.radius)
        beyond = [int((away > limit).sum()) for limit in (2, 20)]
        print(f"{rule}, {factor} × the radius: of {len(away)} ellipses {beyond[0]} have a tip more than 2 radii away, "
              f"{beyond[1]} more than 20")

# %% [markdown]
# ## Are the actions smooth?
#
# In §5 the layers act on the fibres by $h_l=\partial x^{(l+1)}/\partial x^{(l)}$. The paper says that in a residual
# network these actions are approximately smooth, and that they become smooth as the layers become infinitely many. For
# that, $h_l$ must come near 1, and neighbouring layers must act alike. By Eq. 11
#
# $$ h_l - 1 = \Delta l\,A_l,\qquad h_{l+1}-h_l=\Delta l\,(A_{l+1}-A_l),\qquad
# A_l=\mathrm{diag}\big(f'(z^{(l+1)})\big)\,W^{(l)}. $$
#
# Let the weights be samples of a Lipschitz path $W(l), b(l)$, let $f'$ be Lipschitz (tanh), and let the step
# $\Delta l=1/L$ be explicit. Then $A$ is bounded, and it changes by $O(\Delta l)$ from layer to layer: the weights do,
# and so does $x$. So
#
# $$ \lVert h_l-1\rVert=O(1/L),\qquad \lVert h_{l+1}-h_l\rVert=O(1/L^2). $$
#
# At order 2 the same holds on the states $(x, D_1)$. Without one of these hypotheses there are other orders. In a plain
# layer (order 0) $h_l$ is nowhere near 1. With independent weights $A$ jumps, so the second order is 1.
#
# We measure both orders: root mean squares over layers and points. For order 1 the $h_l$ come from automatic
# differentiation. It gives $\partial x^{(l)}/\partial x^{(0)}$, and $h_l$ is this derivative at layer $l+1$ times the inverse
# of that at layer $l$.

# %%
def by_autodiff(net, x):
    """h_l of every layer, (L, n, 2, 2), by forward-mode differentiation of all coordinates at once."""
    unit = torch.eye(2, dtype=x.dtype, device=x.device)
    moved = [torch.func.jvp(lambda y: torch.stack(net.coordinates(y)), (x,), (e.expand_as(x),))[1] for e in unit]
    Q = torch.stack(moved, -1)
    return Q[1:] @ torch.linalg.inv(Q[:-1])


def by_eq_11(net, x):
    """h_l of every layer on states of full size: at order 2 from the second layer on."""
    return torch.stack(rl.jacobians(net, x)[max(0, net.orders[0] - 1) :])


def sizes(net, x, actions=by_eq_11):
    """‖h_l − 1‖ and ‖h_{l+1} − h_l‖: root mean squares over layers and points."""
    with torch.no_grad():
        return [float(each.square().mean().sqrt()) for each in bundles.action_sizes(actions(net, x))]


# %%
few, rows = sample.x[::10], []
tests = [10 * 2**n for n in range(20) if 10 * 2**n <= deepest]
for field in range(fields):
    W, b = limits.smooth_field(2, seed=field)
    for L in tests:
        steps = limits.partition(L)
        independent = rl.CkNetwork([2] * (L + 1), step=1 / L, seed=field, dtype=torch.float64)
        measured = {
            "path C1": sizes(limits.discretise(W, b, steps), few, by_autodiff),
            "path C2": sizes(limits.discretise(W, b, steps, order=2), few),
            "path C0": sizes(limits.discretise(W, b, steps, order=0), few),
            "independent C1": sizes(independent, few),
        }
        place = {"field": field, "depth": L}
        rows += [{"network": name, **place, "size": s, "jump": j} for name, (s, j) in measured.items()]
rows = pd.DataFrame(rows)

# %%
orders = {"size": {}, "jump": {}}
for column, found in orders.items():
    for (name, field), table in rows.groupby(["network", "field"], sort=False):
        found[f"{name}, field {field}"] = limits.local_order(1 / table["depth"], table[column])
    for name, order in found.items():
        print(f"{column}: {name:40} order {order.value:.2f} [{order.low:.2f}, {order.high:.2f}]")

# %%
path_net = limits.discretise(W, b, limits.partition(20))
h, closed = by_autodiff(path_net, few).detach(), by_eq_11(path_net, few).detach()
eq_11 = {"Eq. 11 against automatic differentiation": statistics.relative_error(closed, h)}
next_layer = {"the next layer's Jacobian": statistics.relative_error(closed[1:], h[:-1])}
print({name: rules.order_of_magnitude(value) for name, value in (eq_11 | next_layer).items()})

# %% [markdown]
# ## Trained networks
#
# Now the paper's own networks, at step 1: three orders, three depths, the same seeds, and the same 3000 updates. For each
# seed we take the order of the jumps between the least and the largest depth $L_0$ and $L_1$:
#
# $$\mathrm{order}=\log\frac{\lVert h_{l+1}-h_l\rVert_{L_0}}{\lVert h_{l+1}-h_l\rVert_{L_1}}\Big/\log\frac{L_1}{L_0}.$$
#
# Smooth actions have order 2, independent layers of a step $1/L$ have order 1, and the order is 0 where nothing becomes
# smaller. So the primary contrast, named before the numbers, is the median of the order over the C1 networks against the
# border 1, with the smallest effect 0.5. Above 1.5 the trained networks meet the hypothesis. Below 0.5 their actions do
# not even come near 1 as the networks become deeper.

# %%
trained, by_layer = [], []
for (kind, L), condition in conditions.items():
    networks = study.trained(condition)
    h = torch.stack([by_eq_11(net, few) for net in networks.networks])
    size, jump = (each.masked_fill(networks.error.isnan()[:, None], torch.nan) for each in bundles.action_sizes(h))
    of_seeds = {"size": size.square().mean(1).sqrt(), "jump": jump.square().mean(1).sqrt()}
    trained.append(pd.DataFrame({"network": kind, "depth": L, "seed": networks.seeds, **of_seeds}))
    if kind != "C2":
        jump = torch.nn.functional.pad(jump, (0, 1), value=torch.nan)
        of_layers = {"size": size.nanmedian(0).values, "jump": jump.nanmedian(0).values}
        by_layer.append(pd.DataFrame({"network": f"trained {kind}", "depth": L, "layer": range(L), **of_layers}))
trained, by_layer = pd.concat(trained), pd.concat(by_layer)

# %%
f64, start = {"dtype": torch.float64, "device": device}, []
for kind, L in conditions:
    for seed in range(seeds if kind != "C2" else 0):
        size, jump = sizes(rl.CkNetwork([2] * (L + 1), **kinds[kind], seed=seed, **f64), few)
        start.append({"network": f"untrained {kind}", "depth": L, "seed": seed, "size": size, "jump": jump})
names = trained.assign(network="trained " + trained["network"])
shown = pd.concat([rows[rows["field"] == 0], names, pd.DataFrame(start)])
shown = shown.groupby(["network", "depth"], sort=False, as_index=False)[["size", "jump"]].median()
fig = section7.smooth_actions(shown, by_layer)
save(fig, "section7_smooth_actions")
plt.show()

# %% tags=["nbval-check-output"]
ends = trained.pivot(index=["network", "seed"], columns="depth", values=["size", "jump"])
ratio = {column: ends[column][depths[0]] / ends[column][depths[-1]] for column in ("size", "jump")}
p = {column: ratio[column].map(math.log) / math.log(depths[-1] / depths[0]) for column in ratio}
say = "the jumps ‖h_{{l+1}} − h_l‖ of trained C1 networks fall with order {}"
base = contrasts.median(p["jump"]["C1"], 1.0, delta=0.5, say=say)
print(base.plain)
print("median jumps by depth:")
print(shown.pivot(index="network", columns="depth", values="jump")[depths].dropna().map("{:.2g}".format))

# %%
def named(column, *beginnings):
    return {name: order for name, order in orders[column].items() if name.startswith(beginnings)}


paths = {column: named(column, "path C1", "path C2") for column in orders}
control = {"size": named("size", "path C0"), "jump": named("jump", "path C0", "independent")}
steps = [rules.order_of(power, paths[each], control[each]) for power, each in ((1, "size"), (2, "jump"))]
steps = [rules.identity(eq_11, next_layer), *steps]
proved = next((step for step in steps if step.verdict != "confirmed"), steps[-1])
of_trained = p["jump"]["C1"].dropna()
secondary = {
    f"secondary: order of {what} in trained {kind}": statistics.median_interval(p[column][kind].dropna())
    for column, what in (("size", "‖h − 1‖"), ("jump", "the jumps"))
    for kind in kinds
}
say = "jumps {} smaller in C1 than in C0", "jumps {} larger in C1 than in C0"
jumps = [ends["jump"][depths[0]][kind] for kind in ("C0", "C1")]
secondary[f"secondary: at {depths[0]} layers"] = contrasts.ratio(*jumps, delta=math.log(1.25), say=say).plain

# %% tags=["nbval-check-output"]
notebook.decide(
    "smooth-action",
    rules.given(
        proved,
        int((of_trained <= 1.5).sum()),
        len(of_trained),
        when="where the weights are samples of a Lipschitz path in l and the step is explicit",
        otherwise=f"trained at step 1, L = {depths[0]} to {depths[-1]}, the jumps fall with an order below 1.5",
    ),
    power.primary(base, updates=updates)
    | {f"on a path, local order of {column}": found for column, found in paths.items()}
    | {f"controls, local order of {column}": found for column, found in control.items()}
    | secondary,
    protocol="size ‖h − 1‖ and jump ‖h_{l+1} − h_l‖: Frobenius norms, root mean square over layers and 100 points. "
    "Paths: smooth random fields, order 1 by automatic differentiation; range: the last local order, and twice the "
    "larger of its last two changes to either side. Trained: step 1, order between the end depths.",
)

# %%
from riemlib.companion.references import references

references(benfenati_marta="pulled-back metrics that are degenerate")

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={f"Figure 3, {rule}": seed for rule, seed in chosen.items()})
