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
# ($C^2$), and a residual network whose identity is left out on the way into layer 6 (*mixed*). It shows one run of each. It says that all four
# separate the classes without error. From the pictures it concludes that $C^1$ and $C^2$ move the points smoothly from layer to layer while $C^0$
# does not, that in $C^2$ the classes pass through each other, and that the output representation tends to be flat.
#
# The paper names the activation (tanh), the initialisation (Glorot and Bengio, 2010), the width and, in §7.3, stochastic gradient descent. It does not give the number
# of points or layers, the formula of the spiral, the learning rate or the seed. Ours are in the next cell and in `Condition`. One run proves little.
# So each kind of network is trained from many seeds. The multiverse has the same networks under 144 settings: the page
# [Protocol and deviations](11_protocol.ipynb) describes it, and says how evidence becomes a verdict.
#
# Success is 0.0 % error on all training points. For each claim one comparison decides. It was named before looking, as was the smallest effect of
# interest: a factor of 1.25 for ratios, 10 points for shares of seeds. Networks with the same seed are compared, and all seeds count. The size of a difference in a measure is the shift of Hodges and Lehmann (1963).

# %% tags=["parameters"]
seeds: int = 100  # networks of each kind that are measured
many: int = 400  # networks of each kind where a share of seeds decides
flat_seeds: int = 200  # networks of each kind whose arms are compared with a straight line
depth: int = 10  # layers
updates: int = 3000  # Adam updates of every network that a verdict rests on
longer: int = 10000  # Adam updates in the check of what more training changes
turns: list = [0.75, 1.0, 1.25, 1.5]  # of each arm
depths: list = [6, 10, 16]  # layers
rates: list = [0.0033, 0.01, 0.03]  # learning rate at the start; cosine decay to 0
panels: list = ["C0", "C1", "C2", "mixed"]  # the networks that Figure 2 draws
device: str = "cpu"  # where the networks are trained

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import riemlib as rl
from riemlib import curves
from riemlib.companion import contrasts, figures, multiverse, notebook, power, smoothness, statistics
from riemlib.companion.figures import section7
from riemlib.companion.figures import studies as draw
from riemlib.companion.specifications import decide, existence, specifications
from riemlib.companion.statistics import select
from riemlib.companion.studies import plain_layer, without_identity

notebook.opening("§7.1 Smoothness", device=device, time="about a minute and a half; seconds where results are kept")

# %% [markdown]
# ## The data and the networks
#
# In polar coordinates $(r,\theta)$ each arm is $r = 0.1 + 0.9\,t$, where $t\in[0,1]$ is the position along the arm and the angle grows with $t$. The two arms
# are half a turn apart. In the words of [§2](02_notation.ipynb), the arms are the data's manifold $C$, and $M$ is the piece of the plane around them. The training points lie at random positions along the arms, one draw for
# all networks. The step is 1, as we read the paper. The four networks differ only in `order`. A study trains each of them from every seed and
# measures the trained networks. Its results are tables with a row for each number. They are kept on disk, so that running this notebook again takes
# seconds. The same networks before training are the null line: what they show is not learned.


# %%
def four_kinds(condition):
    """The four networks of Figure 2, with the other settings of a condition."""
    return [*(replace(condition, order=order) for order in (0, 1, 2)), without_identity(condition, layer=6)]


base = rl.Condition(depth=depth, updates=updates)
kinds = four_kinds(base)
every = rl.study(kinds, seeds=range(many), device=device).runs
trained = rl.study(kinds, seeds=range(seeds), measures=["roughness"], device=device)
untrained = rl.study(four_kinds(replace(base, updates=0)), seeds=range(seeds), measures=["roughness"])
names = [kind.network for kind in kinds]
solved = {name: select(every, network=name)["solved"] for name in names}

# %% tags=["nbval-ignore-output"]
statistics.success_table(every, ["network"])

# %% [markdown]
# ## Figure 2
#
# One panel per layer, in the coordinates of that layer. The dashed line in the last panel is where the readout is undecided. A × marks a place where
# the curves of the two classes cross. If they cross nowhere but come close, an inset shows the place. Below are both coordinates of the outlined
# points against the layer, over the diameter of the layer's picture, so that its growth does not hide what moves.
#
# The momentum term of $C^2$ adds the last displacement to the next one: $x^{(l+1)} = x^{(l)} + f(x^{(l)};l) + \delta x^{(l-1)}$. The state of this
# network is a point together with its difference from the layer before. So two points may have the same coordinates at a layer and still be told
# apart (§3 shows why), and the curves of the two classes may cross.
#
# The title says how the drawn run was chosen, and where its roughness (defined below) lies among all runs of its kind. It counts the seeds with
# the same error: where they are few, as they may be for $C^0$, the run drawn is not typical of its kind.

# %%
sample, curve = base.sample(dtype=torch.float64), base.sample(5000, torch.float64)


def figure_2(letter, kind):
    net, chosen = smoothness.drawn(trained, kind, "roughness")
    fig = section7.untangling(net, sample, curve=curve, title=f"Figure 2{letter}: {chosen}")
    figures.save(fig, f"figure_2{letter}_{kind.network}")
    plt.show()


# %%
for letter, kind in zip("abcd", kinds, strict=True):
    if kind.network in panels:
        figure_2(letter, kind)

# %% [markdown]
# In JupyterLab, controls above the figure set the order of the network, the turns of the spiral and the seed. The network is drawn untrained until
# the button *train* trains it, with as many updates as the networks above. Look at the layer where the arms come apart.

# %% tags=["nbval-skip"]
start = trained.trained(base)
fitted = {(base, start.typical_seed): start.network(start.typical_seed)}


def train(order, turns, seed):
    """Trains one network, and says how well it does."""
    at = replace(base, order=order, turns=turns)
    how = {"batch_size": at.batch_size, "updates": updates, "learning_rate": at.learning_rate}
    run = rl.fit(at.template(), at.sample(), seeds=[seed], **how)
    fitted[at, seed] = run.networks[0].requires_grad_(False)
    return f"{updates} updates: {float(run.error[0]):.1%} of the points are misclassified"


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
# The paper shows one network of each kind that does. So the statement is that it can happen, and one network of each kind confirms it. The table
# counts the seeds at 0.0 % for each number of turns.

# %%
conditions = [kind for value in turns for kind in four_kinds(replace(base, turns=value))]
at_turns = rl.study(conditions, seeds=range(seeds), device=device).runs
counts = at_turns.groupby(["network", "turns"], sort=False)["solved"].sum().unstack()
counts

# %% tags=["nbval-check-output"]
reached = pd.Series({name: int(values.sum()) for name, values in solved.items()})
told = ", ".join(f"{name} {count}" for name, count in reached.items())
notebook.decide(
    "all-zero-error",
    existence(reached.min(), many, what=f"each kind has seeds at 0.0 % ({told}); the rarest, {reached.idxmin()},"),
    {
        f"seeds at 0.0 %, of {many}": reached.to_dict(),
        **{f"the same at {value:g} turns, of {seeds}": counts[value].to_dict() for value in turns},
        "median error": every.groupby("network", sort=False)["error"].agg(statistics.median).to_dict(),
        "diverged": int(every["diverged"].sum() + at_turns["diverged"].sum()),
    },
    protocol=f"Existence: one seed of each kind confirms. {base.points} points, {depth} layers, {updates} updates.",
)

# %% [markdown]
# ## Do such networks usually reach 0.0 %?
#
# The paper does not say so, but a reader of Figure 2 may think it. *Usually* means from more than half of the seeds, by 10 points at least, for
# each of the four kinds. Under the other settings, each kind of network is judged by itself, so that a condition may name kinds. The table has the
# shares over all depths, learning rates and optimisers of the multiverse.

# %%
main = select(multiverse.read(), batch_size=300, points=1000)
usually = contrasts.all_of(**{name: smoothness.usual(values) for name, values in solved.items()})
each_kind = specifications(main, [*multiverse.AXES, "network"], lambda rows: smoothness.usual(rows["solved"]))
readings = pd.DataFrame([{"network": each.settings["network"], "reads": each.whole.reading} for each in each_kind])
readings = readings.value_counts().unstack("reads", fill_value=0)

# %%
shown = main.groupby(["updates", "turns", "network"])["solved"].mean().unstack("network")[names]
shown.round(2).rename_axis(columns="at 0.0 %")

# %% tags=["nbval-check-output"]
notebook.decide(
    "zero-error-typical",
    decide(usually, each_kind),
    {
        **power.primary(usually, updates=updates),
        "each kind": {name: part.reading for name, part in usually.parts.items()},
        "settings of the multiverse that read so": readings.T.to_dict(),
        "seeds from which all four reach it": f"{every.groupby('seed')['solved'].all().sum()} of {many}",
    },
    protocol="Primary: the share of seeds at 0.0 % less one half, for each of the four kinds.",
)

# %% [markdown]
# ### Would more training change this?
#
# $C^0$ and $C^1$ with more than three times as many updates: success, and the roughness that is compared below.

# %%
more = [replace(kind, updates=longer) for kind in kinds[:2]]
plateau = rl.study(more, seeds=range(seeds), measures=["roughness"], device=device)["roughness"]
both = pd.concat([select(trained["roughness"], network=["C0", "C1"]), plateau])
both.groupby(["network", "updates"]).agg(success=("solved", "mean"), roughness=("value", "median")).round(2)

# %% [markdown]
# ## What no chart can do
#
# The data are a disc inside an annulus. A homeomorphism of the plane keeps the disc surrounded, so no line can separate the images. Therefore a network
# of width 2 whose layers are all certified as charts (§2) must fail here, however it is trained. So this data set tells charts from other maps: a network
# that succeeds is no chart of $M$, here a piece of the plane. A residual network that succeeds has folded the plane, and turns part of it over. At step 1/10 a fold needs
# weights ten times as large. $C^2$ is a map of phase space, so its map of the plane need not be a chart.

# %%
ring = rl.Condition(data="annulus", depth=depth, updates=updates)
rings = {"C0": replace(ring, order=0), "C1": ring, "C1, step 1/10": replace(ring, step=0.1)}
rings["C2"] = replace(ring, order=2)
control = rl.study(rings.values(), seeds=range(seeds), measures=["certified"], device=device)
turned = rl.study([rings["C1"], rings["C2"]], seeds=range(seeds), measures=["turned over"], device=device)
found = control["certified"].assign(name=np.repeat(list(rings), seeds))
found["charts"] = (found["value"] == 1) & (found["network"] != "C2")
success = statistics.shares(found, ["name"])
net, chosen = smoothness.drawn(turned, ring, "turned over")
at_layers = [0, 3 * depth // 10, 6 * depth // 10, depth]
fig = section7.turned_over(net, ring.sample(dtype=torch.float64), at_layers, success, title=chosen)
figures.save(fig, "annulus")
plt.show()

# %% tags=["nbval-check-output"]
for name, rows in found.groupby("name", sort=False):
    charts, over = rows["charts"], select(turned["turned over"], network=name, solved=True)["value"]
    known = f"; charts in all layers: {charts.sum()}, of which {(charts & rows['solved']).sum()} solve it"
    upside = f"; the solved ones turn over {over.min():.0%} to {over.max():.0%} of the points" if len(over) else ""
    print(f"{name}: {rows['solved'].sum()} of {seeds} at 0.0 %{known if name != 'C2' else ''}{upside}")

# %% [markdown]
# ## Smooth or sharp
#
# The *roughness* measures what the eye sees in Figure 2, on 4000 points along the arms:
#
# $$\rho = \sum_{l,n}\lVert x^{(l+1)} - 2x^{(l)} + x^{(l-1)}\rVert^2 \Big/ \sum_{l,n}\lVert x^{(l+1)} - x^{(l)}\rVert^2.$$
#
# The sums run over the layers $l$ and the points $n$. The roughness is 0 where points move straight on at constant speed. A point that moves straight but faster and faster has $\rho > 0$. With $L$ layers,
# points that jump to and fro have $\rho = 4(L-1)/L$, and steps that are independent of each other have $2(L-1)/L$. The last is one null line, and
# the networks before training are the other. The claim is that $C^0$ is rougher than $C^1$ and rougher than $C^2$. Both must hold. The verdict line
# says how large the difference is before training: so much is architecture. The table has the medians for each depth.

# %%
independent = 2 * (depth - 1) / depth
null = {"untrained": untrained["roughness"], "null": ("independent steps", independent)}
fig = draw.distributions(trained["roughness"], ylabel="roughness ρ", title=f"{seeds} networks of each kind", **null)
figures.save(fig, "roughness")
plt.show()

# %%
by_depth = [replace(base, order=o, depth=value, updates=n) for value in depths for n in (0, updates) for o in (0, 1, 2)]
rough = rl.study(by_depth, seeds=range(seeds), measures=["roughness"], device=device)["roughness"]
rough["of"] = rough["network"] + np.where(rough["updates"] > 0, " trained", " untrained")
lines = rough.groupby(["depth", "of"])["value"].median().unstack()
lines["independent steps"] = 2 * (lines.index - 1) / lines.index
lines.round(2)

# %%
rough = trained["roughness"], untrained["roughness"]
smoother = contrasts.all_of(**{other: smoothness.less_rough_than_untrained(*rough, other) for other in ("C1", "C2")})
beside = [smoothness.smooth_by_itself(*rough, other, independent) for other in ("C1", "C2")]


def both_rougher(rows):
    return contrasts.all_of(**{other: multiverse.rougher(rows, other) for other in ("C1", "C2")})


specs = specifications(main, list(multiverse.AXES), both_rougher)

# %% tags=["nbval-check-output"]
notebook.decide(
    "smoother-layers",
    decide(smoother, specs),
    {
        **power.primary(smoother, updates=updates, specifications=specs),
        **beside[0],
        **beside[1],
        "median roughness": trained["roughness"].groupby("network", sort=False)["value"].median().to_dict(),
        "the same, untrained": untrained["roughness"].groupby("network", sort=False)["value"].median().to_dict(),
        f"secondary: {longer} updates, C1": smoothness.read(smoothness.less_rough(plateau, "C1")),
    },
    protocol="Primary: logarithm of the roughness of C0 over that of C1, and over that of C2; both must hold.",
)

# %% [markdown]
# ## Do the classes pass through each other?
#
# Where the images of the two arms cross at a layer, two points, one of each class, have the same coordinates there. A first-order network computes
# the next layer from these coordinates alone, so it can never separate the two points again. A second-order network still has their differences.
# The paper says that in $C^2$ the classes pass. One network confirms this: its arms cross at some layer, and it classifies the whole arms
# correctly in the end. To check the whole arms we take 40 000 points along them, because two points with the same coordinates lie between the 1000
# training points. A crossing is checked on finer and finer samplings, because the chords between sampled points may cross where the curves do not.
# That $C^1$ cannot do this is mathematics. It can only be seen in those $C^1$ networks whose arms cross, so we count them.

# %%
compared = rl.study(kinds[1:3], seeds=range(seeds), measures=["crosses", "error along the arms"], device=device)
crosses, ends = compared["crosses"], compared["error along the arms"]
arms = statistics.at_some_layer(crosses, crosses["value"] > 0).rename(columns={"value": "cross"})
arms = arms.merge(ends[["network", "seed", "value"]], on=["network", "seed"])
arms["told apart"] = arms["value"] == 0
arms["both"] = arms["cross"] & arms["told apart"]
passing = crosses.merge(arms.loc[arms["told apart"], ["network", "seed", "both"]], on=["network", "seed"])
by_layer = {"arms cross": crosses, "of those that tell them apart": passing}
paper = {"the paper: layers 3, 4, 5 (caption)": (3, 5), "the paper: layers 4, 5, 6 (text)": (4, 6)}
fig = draw.through_layers(by_layer, mean=list(by_layer), marked=paper)
figures.save(fig, "crossings")
plt.show()

# %% tags=["nbval-check-output"]
total = arms.groupby("network")[["cross", "told apart", "both"]].sum()
at_risk = f"C1: the arms cross in {total['cross']['C1']}, and {total['both']['C1']} of these tell them apart; C2"
at = select(passing, network="C2", both=True, value=1.0)
notebook.decide(
    "classes-pass",
    existence(total["both"]["C2"], seeds, what=f"{at_risk}: the arms cross and are told apart at the output"),
    {
        f"C2, of {seeds}": total.loc["C2"].to_dict(),
        "C2: share of both": statistics.proportion(select(arms, network="C2")["both"]),
        f"C1, of {seeds}": total.loc["C1"].to_dict(),
        "C2 with both: cross at layer": at.groupby("layer")["seed"].nunique().to_dict(),
        "of these in one of": {name: at[at["layer"].between(*own)]["seed"].nunique() for name, own in paper.items()},
    },
    protocol="Existence, for C2. 2000 points an arm, crossings followed through three refinements of 32.",
)

# %% [markdown]
# ## Leaving the identity out
#
# The paper leaves the identity out on the way into layer 6 and says that the network still untangles the spiral. One such network confirms this.
# Beside it we ask whether it costs anything: the share of seeds at 0.0 % is compared with that of $C^1$, with a margin of 10 points. In the figure
# the identity is left out in each layer in turn.

# %%
one_plain = [without_identity(base, layer) for layer in range(1, depth + 1)]
moved = rl.study(one_plain, seeds=range(seeds), device=device).runs
moved["plain_layer"] = moved["order"].map(plain_layer)
fig = draw.positions(moved, select(every, network=["C0", "C1"]))
figures.save(fig, "plain_layer")
plt.show()

# %% tags=["nbval-check-output"]
say = "success {} higher than that of C1", "success {} lower than that of C1"
cost = contrasts.equivalence(contrasts.share(solved["mixed"], solved["C1"], delta=0.1, say=say))
as_often = [multiverse.untangled(rows).reading for _, rows in main.groupby(list(multiverse.AXES))]
notebook.decide(
    "mixed-untangles",
    existence(int(solved["mixed"].sum()), many, what="0.0 % with the identity left out on the way into layer 6"),
    {
        "secondary: as often as C1": f"{cost.plain}: reads {cost.reading}",
        "as statistics": cost.statistics,
        "settings of the multiverse that read so": {name: as_often.count(name) for name in dict.fromkeys(as_often)},
        f"plain layer elsewhere, at 0.0 % of {seeds}": moved.groupby("plain_layer")["solved"].sum().to_dict(),
    },
    protocol=f"Existence. Secondary: equivalence within 10 points, {many} seeds. {updates} updates.",
)

# %% [markdown]
# ## Is the output flat?
#
# The paper does not say what it means by flat. There are these readings:
#
# 1. *Flat as a metric*: the Riemann tensor is 0. With a Euclidean output and invertible layers of one width the metric of every layer is flat (§4), before
#    training as after it.
# 2. *Straight*: the image of each arm is a straight segment. Its measure is the chord from one end to the other over the length, 1 if straight.
# 3. *Along one line*. Its measure is the share of an arm's variance on its first principal axis. An arm that runs to and fro on a line has 1.
# 4. *Little curvature*. Its measure is the angle by which an arm turns in total. Small wiggles count as much as large ones.
# 5. *Separable*: a line separates the classes. Training asks for this, so it decides nothing.
#
# Each arm is a curve, and a curve in the plane is flat where it is straight. So we read flat as *straight*, and compare chord over length at the output
# and at the input of the same $C^1$ network. This differs much from seed to seed, so there are more seeds than above: without them the rule would miss
# an effect of twice the smallest size too often. The first figure shows why readings 2 and 3 need not agree: an arm that is folded together lies along
# one line, but it is not straight.

# %%
labels = {"straightness": "chord over length", "first axis": "variance on the first axis"}
labels["turning"] = "total curvature (rad)"
flat = rl.study(kinds, seeds=range(flat_seeds), measures=labels, device=device)
at_start = rl.study([replace(base, updates=0)], seeds=range(flat_seeds), measures=labels)
net, chosen = smoothness.drawn(flat, base, "straightness", layer=depth)
fig = section7.flat_readings(net, curve, title=chosen)
figures.save(fig, "flat_readings")
plt.show()

# %%
before = {name: at_start[name].assign(network="C1 untrained") for name in labels}
by_layer = {label: pd.concat([flat[name], before[name]]) for name, label in labels.items()}
fig = draw.through_layers(by_layer, log=[labels["turning"]])
figures.save(fig, "flatness_by_layer")
plt.show()

# %% [markdown]
# Networks before training are the null line (dashed). What they show as well is not an effect of training.
#
# The turns, the depth and the learning rate may matter here, and the multiverse does not have this measure. So each is varied by itself.

# %%
settings = ["turns", "depth", "learning_rate"]
values = dict(zip(settings, (turns, depths, rates), strict=True))
varied = [replace(base, **{name: value}) for name in settings for value in values[name]]
around = rl.study(varied, seeds=range(seeds), measures=["straightness"], device=device)["straightness"]
first, last = select(around, layer=0), around[around["layer"] == around["depth"]]
ratio = last.assign(value=last["value"].to_numpy() / first["value"].to_numpy())
strips = statistics.strips(ratio, base.settings(), settings)
fig = draw.strips(strips, base.settings(), measure="chord over length,\noutput over input", line=("no change", 1.0))
figures.save(fig, "straightness_by_setting")
plt.show()

# %% tags=["nbval-check-output"]
straight = smoothness.straight_as_we_read_it(flat, at_start, "C1")
right = {"input": curves.linear_probe(sample.x, sample.label)}
right["output"] = 1 - statistics.median(flat.trained(base).error)
by_setting = strips.groupby(["setting", "at"])["value"].median()
notebook.decide(
    "flattened-output",
    decide(straight),
    {
        **power.primary(straight, updates=updates),
        **smoothness.other_readings(flat, "C1"),
        "secondary: separable, points on the right side of a line": right,
        **{f"secondary: straight, {name}": smoothness.straighter(flat, name).plain for name in ("C0", "C2")},
        "null: straight, C1 untrained": smoothness.straighter(at_start, "C1").plain,
        "strips: median of output over input": {"least": by_setting.min(), "most": by_setting.max()},
    },
    protocol="Primary: logarithm of chord over length (mean of the arms), output less input, same network, C1.",
)

# %%
from riemlib.companion.references import references

references(glorot_bengio="the initial weights", kingma_ba="Adam", hodges_lehmann="the shift of paired values")

# %%
drawn = {f"Figure 2, {kind.network}": trained.trained(kind).typical_seed for kind in kinds if kind.network in panels}
drawn |= {"the annulus": control.trained(ring).typical_seed, "readings of flat": flat.trained(base).typical_seed}
notebook.closing(seeds=f"0 to {many - 1}", drawn=drawn)
