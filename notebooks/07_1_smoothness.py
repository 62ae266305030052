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
# # §7.1 Untangling the spiral: Figure 2
#
# The paper trains four networks of width 2 on one spiral: a plain network ($C^0$), a residual network ($C^1$), a network with a momentum term
# ($C^2$), and a residual network whose identity is left out on the way into layer 6. It shows one run of each. It says that all four separate the
# classes without error. From the pictures it concludes that $C^1$ and $C^2$ move the points smoothly from layer to layer while $C^0$ does not, that
# in $C^2$ the classes pass through each other, and that the output representation is flat.
#
# The paper names the activation (tanh), the initialisation (Glorot) and the width. It does not give the number of points or layers, the formula of
# the spiral, the optimiser, the learning rate or the seed. Ours are in the next cell and in `Condition`. One run proves little. So each kind of
# network is trained from many seeds, and again with one setting changed at a time. The figures draw a typical run; the verdicts use all runs.
#
# **Protocol**, fixed before looking. Success is 0.0 % training error on all points. Every condition trains the same seeds on the same data.
# Shares carry Wilson 95 % intervals, medians carry bootstrap 95 % intervals. Differences are paired by seed. Every p-value has an effect size
# beside it and Holm's correction within a claim. Runs that fail are counted. Where a number is restricted to the runs that succeed, the number for
# all runs stands beside it.

# %% tags=["parameters"]
seeds: int = 100  # networks of each kind, in every condition
depth: int = 10  # layers
updates: int = 3000  # Adam updates
brief: int = 600  # Adam updates where one setting varies, and where the identity is left out in each layer in turn
turns: list = [0.75, 1.0, 1.25, 1.5]  # of each arm
depths: list = [6, 10, 16]  # layers
rates: list = [0.0033, 0.01, 0.03]  # learning rate at the start; cosine decay to 0
device: str = "cpu"  # where the networks are trained

# %%
from dataclasses import replace

import matplotlib.pyplot as plt

import riemlib as rl
from riemlib.companion import figures, notebook, rules, statistics
from riemlib.companion.figures import section7
from riemlib.companion.figures import studies as draw
from riemlib.companion.statistics import MEDIAN, SHARE, labelled, select
from riemlib.companion.studies import plain_layer, without_identity

notebook.opening("§7.1 Smoothness", device=device, time="about a minute and a half; seconds where results are kept")

# %% [markdown]
# ## The data and the networks
#
# Each arm is $r = 0.1 + 0.9\,t$, and the two arms are half a turn apart. The step is 1, as in the networks that the paper trains. The four networks
# differ only in `order`. A study trains each of them from every seed and measures the trained networks. Its results are tables with a row for each
# number. They are kept on disk, so that running this notebook again takes seconds.


# %%
def four_kinds(condition):
    """The four networks of Figure 2, with the other settings of a condition."""
    return [*(replace(condition, order=order) for order in (0, 1, 2)), without_identity(condition, layer=6)]


base = rl.Condition(depth=depth, updates=updates)
kinds = four_kinds(base)
trained = rl.study(kinds, seeds=range(seeds), measures=["roughness", "turning", "probe"], device=device)

# %% [markdown]
# ## How many of them succeed
#
# The run drawn below is typical of the runs with the least error: among these it has the median loss at the end of training. For $C^0$ few runs
# have so small an error, so the run drawn is not typical of $C^0$ as a whole.

# %% tags=["nbval-ignore-output"]
statistics.success_table(trained.runs, ["network"])

# %%
sample, curve = base.sample(), base.sample(5 * base.points)


def figure_2(letter, condition):
    networks = trained.trained(condition)
    seed, solved = networks.typical_seed, int(networks.solved.sum())
    net = networks.network(seed)
    error = float((net(sample.x).argmax(1) != sample.label).float().mean())
    assert abs(error - float(networks.error[networks.typical()])) < 1e-6  # the error that training found, counted again
    share = f"{solved} of {seeds} seeds reach 0.0 %"
    title = f"Figure 2{letter}: {condition.network}, seed {seed} on this machine, error {error:.1%} ({share})"
    fig = section7.untangling(net, sample, curve=curve, title=title)
    figures.save(fig, f"figure_2{letter}_{condition.network}")
    plt.show()


# %% [markdown]
# ## Figure 2a: the plain network, $x^{(l+1)} = f(x^{(l)};l)$
#
# One panel per layer, in the coordinates of that layer. The dashed line in the last panel is where the readout is undecided. Below, both
# coordinates of the outlined particles against the layer.

# %%
figure_2("a", kinds[0])

# %% [markdown]
# ## Figure 2b: the residual network, $x^{(l+1)} = x^{(l)} + f(x^{(l)};l)$

# %%
figure_2("b", kinds[1])

# %% [markdown]
# ## Figure 2c: the second-order network, $x^{(l+1)} = x^{(l)} + f(x^{(l)};l) + \delta x^{(l-1)}$
#
# The momentum term adds the last displacement to the next one. The state of this network is a point together with its difference from the layer
# before. So two points may have the same coordinates at a layer and still be told apart (§3 shows why), and the curves of the two classes may cross.

# %%
figure_2("c", kinds[2])

# %% [markdown]
# ## Figure 2d: the residual network without the identity into layer 6

# %%
figure_2("d", kinds[3])

# %% [markdown]
# In JupyterLab, controls above the figure set the order of the network, the turns of the spiral and the seed. The network is drawn untrained until
# the button *train* trains it, with as many updates as the panels below. Look at the layer where the arms come apart.

# %% tags=["nbval-skip"]
start = trained.trained(base)
fitted = {(base, start.typical_seed): start.network(start.typical_seed)}


def train(order, turns, seed):
    """Trains one network, and says how well it does."""
    at = replace(base, order=order, turns=turns)
    how = {"batch_size": at.batch_size, "updates": brief, "learning_rate": at.learning_rate}
    run = rl.fit(at.template(), at.sample(), seeds=[seed], **how)
    fitted[at, seed] = run.networks[0].requires_grad_(False)
    return f"{brief} updates: {float(run.error[0]):.1%} of the points are misclassified"


# %% tags=["nbval-skip"]
from riemlib.companion.controls import play


def spiral_by(order=1, turns=base.turns, seed=start.typical_seed):
    """Three layers of a network of this order, trained if it was trained above."""
    at = replace(base, order=order, turns=turns)
    net = fitted.get((at, seed)) or at.template().redraw(seed).requires_grad_(False)
    title = f"C{order}, {turns:g} turns, seed {seed}, {'trained' if (at, seed) in fitted else 'untrained'}"
    shown = [2 * depth // 5, 7 * depth // 10, depth]
    return section7.layers(net, at.sample(), curve=at.sample(2000), shown=shown, title=title)


play(spiral_by, train, order=[0, 1, 2], turns=(0.5, 2.0, 0.25), seed=(0, max(seeds - 1, 99)))

# %% [markdown]
# ## Do all four reach 0.0 %?
#
# The same four networks with one setting changed at a time: the turns of the spiral, the depth, the learning rate by a factor of 3 each way, and
# the number of updates. Where another setting than the updates varies, networks are trained for fewer updates; the last column of panels shows how
# much success that costs. The verdict is taken where training is longest, which favours the paper, since the paper does not say how long it trained.

# %%
settings = ["turns", "depth", "learning_rate", "updates"]
middle = replace(base, updates=brief)
varied = [
    *(replace(middle, turns=value) for value in turns),
    *(replace(middle, depth=value) for value in depths),
    *(replace(middle, learning_rate=value) for value in rates),
    *(replace(middle, updates=value) for value in (brief, updates)),
]
conditions = [kind for condition in varied for kind in four_kinds(condition)]
around = rl.study(conditions, seeds=range(seeds), measures=["roughness"], device=device)
strips = statistics.strips(around["roughness"], middle.settings(), settings)
fig = draw.strips(strips, middle.settings(), measure="roughness")
figures.save(fig, "sensitivity")
plt.show()

# %% [markdown]
# ### A negative control
#
# A disc inside an annulus. A homeomorphism of the plane keeps the disc surrounded, so no line can separate the images. Therefore a network of width
# 2 whose layers are all certified as charts (§2) must fail here, however it is trained. A network that folds, or one that moves on phase space, may
# succeed.

# %%
ring = rl.Condition(data="annulus", depth=depth, updates=brief)
controls = [replace(ring, order=0), ring, replace(ring, step=0.1), replace(ring, order=2)]
control = rl.study(controls, seeds=range(seeds), measures=["certified"], device=device)["certified"]
control["charts"] = (control["value"] == 1) & (control["network"] != "C2")  # C2 is a map of phase space, not of x
control["solved by charts"] = control["charts"] & control["solved"]
counts = control.groupby(["network", "step"], sort=False)[["solved", "charts", "solved by charts"]].sum()

# %% tags=["nbval-check-output"]
for (name, step), (solved, charts, both) in counts.iterrows():
    name = name if step == 1 else f"{name}, step 1/{1 / step:.0f}"
    certified = f"; all layers certified in {charts}, of which {both}" if name != "C2" else ""
    print(f"annulus, {name}: {solved} of {seeds} at 0.0 %{certified}")
certified_networks, solved_by_charts = int(counts["charts"].sum()), int(counts["solved by charts"].sum())
assert solved_by_charts == 0 and certified_networks > 0

# %% tags=["nbval-check-output"]
success = statistics.shares(trained.runs, ["network"])
grid = statistics.shares(around.runs, ["network", *settings]).groupby("network")["share"].agg(["min", "max"])
notebook.decide(
    "all-zero-error",
    rules.mostly(labelled(success, "{network}", SHARE), what="0.0 % error"),
    {
        **{row.network: {"at 0.0 %": row.share, "interval": [row.low, row.high]} for row in success.itertuples()},
        "seeds from which all four reach it": trained.runs.groupby("seed")["solved"].all().sum(),
        "median error": trained.runs.groupby("network", sort=False)["error"].agg(statistics.median).to_dict(),
        "over the grid, least and most": labelled(grid.reset_index(), "{network}", ["min", "max"]),
        "diverged, all conditions": around.runs["diverged"].sum(),
        "control, annulus: certified charts that solve it": [solved_by_charts, certified_networks],
    },
    protocol=f"{seeds} seeds a condition, {depth} layers, {base.points} points, batch {base.batch_size}, "
    f"{updates} updates (grid: {brief}); most: the interval lies above one half.",
)

# %% [markdown]
# ## Smooth or sharp
#
# The *roughness* measures what the eye sees in Figure 2, on 4000 points along the arms:
#
# $$\rho = \sum_{l,n}\lVert x^{(l+1)} - 2x^{(l)} + x^{(l-1)}\rVert^2 \Big/ \sum_{l,n}\lVert x^{(l+1)} - x^{(l)}\rVert^2.$$
#
# It is 0 where points move straight on at constant speed, and 4 where they jump to and fro. `curves.roughness` computes it. We compare networks of
# the same seed by the ratio of their roughness.

# %%
rough = trained["roughness"]
fig = draw.distributions(rough, ylabel="roughness ρ", title="4000 points along the arms")
figures.save(fig, "roughness")
plt.show()

# %%
pairs = statistics.one_claim(
    [statistics.compare(rough, "network", other, "C0", log=True).assign(network=other) for other in ("C1", "C2")]
)
in_strips = statistics.one_claim(
    [statistics.compare(strips, "network", other, "C0", by=["setting", "at"], log=True) for other in ("C1", "C2")]
)
exceptions = int((in_strips["low"] <= 0).sum())

# %% tags=["nbval-check-output"]
name = "C0 against {network}"
found = rules.effects(labelled(pairs, name, MEDIAN), labelled(pairs, name, "p_holm"))
when = "in every setting of the grid"
notebook.decide(
    "smoother-layers",
    rules.given(found, exceptions, len(in_strips), when=when, otherwise="it is not shown"),
    {
        **statistics.effects(pairs, f"log ratio of roughness, {name}", pairs="n"),
        "median roughness": labelled(statistics.medians(rough, ["network"]), "{network}", "median"),
        "the same, seeds at 0.0 %": statistics.medians_of_solved(rough, "network"),
        "settings of the grid where it holds": [len(in_strips) - exceptions, len(in_strips)],
    },
    protocol=f"{seeds} paired seeds; log ratios, medians with bootstrap intervals, "
    "Wilcoxon's signed-rank test with Holm's correction, rank-biserial effect size.",
)

# %% [markdown]
# ## Do the classes pass through each other?
#
# Where the images of the two arms cross at a layer, two points, one of each class, have the same coordinates there. A first-order network computes
# the next layer from these coordinates alone, so it can never separate the two points again. A second-order network still has their differences.
# So we ask two things: whether the images of the arms cross at some layer, and whether the network classifies the whole arms correctly in the end.
# For the second we take 40 000 points along the arms, because two points with the same coordinates lie between the 1000 training points.
# A crossing is checked on finer and finer samplings, because the chords between sampled points may cross where the curves do not.

# %%
compared = rl.study(kinds[1:3], seeds=range(seeds), measures=["crosses", "error along the arms"], device=device)
crosses, ends = compared["crosses"], compared["error along the arms"]
arms = statistics.at_some_layer(crosses, crosses["value"] > 0).rename(columns={"value": "crosses"})
arms = arms.merge(ends[["network", "seed", "value"]], on=["network", "seed"])
arms["separated"] = arms["value"] == 0
arms["passes"] = arms["crosses"] & arms["separated"]
apart = crosses.merge(arms.loc[arms["separated"], ["network", "seed"]])
panels = {"arms cross, all seeds": crosses, "arms cross, seeds that separate them": apart}
fig = draw.through_layers(panels, mean=list(panels))
figures.save(fig, "crossings")
plt.show()

# %% tags=["nbval-check-output"]
passes, crossing = (statistics.shares(arms, ["network"], column) for column in ("passes", "crosses"))
passing = labelled(passes, "{network}", SHARE)
at_layer = select(crosses, network="C2").groupby("layer")["value"].sum()
notebook.decide(
    "classes-pass",
    rules.happens_only_in(
        passing["C2"], labelled(passes, "{network}", "count")["C1"], seeds,
        what="the arms cross at some layer and are told apart in the end", where="C2 networks", elsewhere="C1 networks",
    ),
    {
        **labelled(passes, "{network}: cross and are separated", SHARE),
        "of the seeds that separate the whole arms, that cross":
            arms.groupby("network")[["passes", "separated"]].sum().T.to_dict("list"),
        "cross at some layer, separated or not": labelled(crossing, "{network}", SHARE),
        "C2: most common layer": at_layer.idxmax(),
    },
    protocol=f"{seeds} seeds; arms of 2000 points each, crossings followed through three refinements of 32; "
    "separated: no error on 40 000 points along the arms.",
)

# %% [markdown]
# ## Leaving the identity out
#
# The paper leaves the identity out on the way into layer 6: the network called *mixed* above. Here it is left out in each layer in turn, with the
# number of updates of the panels above, and compared with the residual network ($C^1$) trained for the same number of updates.

# %%
one_plain = [without_identity(middle, layer) for layer in range(1, depth + 1)]
moved = rl.study(one_plain, seeds=range(seeds), measures=["roughness"], device=device)["roughness"]
moved["plain_layer"] = moved["order"].map(plain_layer)
same = select(strips, setting="updates", at=brief, network=["C0", "C1"])
fig = draw.positions(moved, same, measure="roughness")
figures.save(fig, "plain_layer")
plt.show()

# %%
residual = select(same, network="C1")
middles = statistics.medians(moved, ["plain_layer"])
position = statistics.shares(moved, ["plain_layer"]).assign(median=middles["median"])
change = statistics.compare_success(moved, residual, ["plain_layer"])
worse = int(((change["difference"] < 0) & (change["p_holm"] < 0.05)).sum())
at_position = {
    f"plain layer {row.plain_layer}": {"at 0.0 %": row.share, "interval": [row.low, row.high], "roughness": row.median}
    for row in position.itertuples()
}

# %% tags=["nbval-check-output"]
sixth, sixth_rough = labelled(success, "{network}", SHARE)["mixed"], select(rough, network="mixed")["value"]
found = rules.mostly({"the plain layer sixth, as in the paper": sixth}, what="0.0 % error")
fewer = "significantly fewer seeds succeed than without it"
notebook.decide(
    "mixed-untangles",
    rules.given(found, worse, len(change), when="wherever the plain layer stands", otherwise=fewer),
    {
        f"layer 6, {updates} updates": {"at 0.0 %": sixth, "roughness": statistics.median_interval(sixth_rough)[0]},
        **at_position,
        "no plain layer (C1)": [residual["solved"].mean(), statistics.median_interval(residual["value"])[0]],
        "change in success against C1": labelled(change, "{plain_layer}", ["difference", "low", "high"]),
        "p (McNemar, Holm)": labelled(change, "{plain_layer}", "p_holm"),
    },
    protocol=f"{seeds} seeds a position, the same as for C1; {brief} updates but for the first line; "
    "most: the Wilson interval lies above one half.",
)

# %% [markdown]
# ## Is the output flat?
#
# "Flat" can mean two things. *Separable*: the accuracy of a linear probe, fitted to the coordinates of each layer. *Straight*: the total curvature
# of the images of the arms, in radians. A straight image has 0; an arm of the input turns by about one full turn.

# %%
turning, probe = trained["turning"], trained["probe"]
panels = {"accuracy of a linear probe": probe, "total curvature of an arm (rad)": turning}
fig = draw.through_layers(panels, mean=["accuracy of a linear probe"])
figures.save(fig, "flatness_by_layer")
plt.show()

# %%
separable = statistics.compare(probe, "layer", 0, depth, by=["network"]).assign(reading="separable")
straight = statistics.compare(turning, "layer", depth, 0, by=["network"], log=True).assign(reading="straight")
both = statistics.one_claim([separable, straight])
bent = int((straight["low"] <= 0).sum())
ends = select(turning, layer=[0, depth]).groupby(["network", "layer"], sort=False)["value"].agg(statistics.median)

# %% tags=["nbval-check-output"]
name = "{network} {reading}"
p = labelled(both, name, "p_holm")
flat = {"when": "in the sense that a hyperplane separates the classes", "otherwise": "the arms are not straightened"}
notebook.decide(
    "flattened-output",
    rules.given(rules.effects(labelled(separable, name, MEDIAN), p), bent, len(straight), **flat),
    {
        "gain of a linear probe, input to output": labelled(separable, name, MEDIAN),
        "log ratio of total curvature, input to output": labelled(straight, name, MEDIAN),
        "median total curvature, input and output": labelled(ends.unstack().reset_index(), "{network}", [0, depth]),
        "the same at the output, seeds at 0.0 %": statistics.medians_of_solved(select(turning, layer=depth), "network"),
        "effect size": labelled(both, name, "effect"),
        "p (Holm)": p,
    },
    protocol=f"{seeds} seeds; logistic regression on the training points at each layer; "
    "curvature on 2000 points an arm. Above 0: flatter at the output.",
)

# %% [markdown]
# So "flat" holds in the sense that a hyperplane separates the classes at the output. The figure above decides whether the output is also straight:
# whether the arms are straightened out, or crumpled into two heaps on either side of a line, as Figure 2 suggests. The metric of the output is flat
# by definition, and so is that of every other layer (§4).

# %%
drawn = {f"Figure 2, {kind.network}": trained.trained(kind).typical_seed for kind in kinds}
notebook.closing(seeds=f"0 to {seeds - 1}", drawn=drawn)
