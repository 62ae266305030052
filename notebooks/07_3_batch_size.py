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
# # §7.3 Batch size: Figure 4
#
# The paper trains one network twice on the spiral, with batches of 300 and of 1000 points. With the small batch, it says, the arms are broken into
# pieces as early as layer 4, because 300 points sample the manifold too sparsely, and the map is complicated. With the large batch the arms stay
# connected and the map is simple. Both networks reach 0 % error. In more dimensions all this is said to matter exponentially more.
# The manifold that is sampled is here the data's own, the two arms: $C$ in the words of [§2](02_notation.ipynb).
#
# A continuous map cannot break a connected set, whatever the batch. What looks broken in a picture of points is a stretch, seen at finitely many
# points. So we ask how far the arms are *stretched*, and by what. A larger batch changes three things: an update sees more points, the gradient has
# less noise, and an epoch has fewer updates.
#
# **Protocol**, fixed before looking. Each claim has one primary contrast; what else is measured cannot turn its verdict. All compare the same seeds,
# from networks of 3000 updates, and every seed counts. *Torn* is the largest gap between neighbours on an arm over the diameter of the picture, at
# the output, on 2000 points an arm. *Complicated* is roughness (§7.1). Batch 300 is compared with batch 1000 for $C^1$, at equal numbers of updates.
# The smallest effect of interest is a factor 2 for the gap and 1.25 for the roughness. Both are measured again under each setting of the multiverse
# (§7.1). The paper gives neither the size of its sample nor the number of its updates; 1000 and 3000 are ours.

# %% tags=["parameters"]
seeds: int = 100  # networks in every condition
updates: int = 3000  # the same for every batch size
batches: list = [30, 100, 300, 1000]  # points in a minibatch; 300 and 1000 are the paper's
widths: list = [3, 4, 8]  # coordinates of the rolled-up sheets, some of 3, 4 and 8
noisy_seeds: int = 100  # networks trained on noisy points
device: str = "cpu"  # where the networks are trained

# %%
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import riemlib as rl
from riemlib import curves
from riemlib.companion import contrasts, figures, multiverse, notebook, power, rules, samples, statistics
from riemlib.companion.changes import Changes, told
from riemlib.companion.figures import protocol, section7
from riemlib.companion.figures import studies as draw
from riemlib.companion.specifications import decide, specifications
from riemlib.companion.statistics import SHARE, labelled, select

notebook.opening("§7.3 Batch size", device=device, time="about two minutes; seconds where results are kept")

# %% [markdown]
# ## The study
#
# The base is a $C^1$ network of ten layers and batch 300 of 1000 points at random positions on the arms. Every other condition is written as what it
# changes of the base. Networks that are not trained at all show what the architecture does by itself.

# %%
base = rl.Condition(updates=updates)
depth = base.depth
small, large, untrained = {"batch_size": 300}, {"batch_size": 1000}, {"updates": 0}
more, longer, even = {"points": 4000}, {"updates": 3 * updates}, {"positions": "even"}
thirds = [{"data": third, "points": 300} for third in (samples.third_1, samples.third_2, samples.third_3)]
scaled = {factor: large | {"learning_rate": factor * base.learning_rate} for factor in (math.sqrt(10 / 3), 10 / 3)}

trained = [{"order": k, "batch_size": batch} for k in (0, 1, 2) for batch in (batches if k == 1 else (300, 1000))]
unlearned = [{"order": k} | untrained for k in (0, 1, 2)]
changes = [more | small, more | large, longer, *thirds, *scaled.values(), even | small, even | large, *unlearned]

# %%
smallest = dict.fromkeys(["largest gap", "gap ratio"], math.log(2))  # effects of interest
smallest |= dict.fromkeys(["roughness", "length", "condition number"], math.log(1.25))
measures = ["largest gap", "roughness", "length"]
further = ["gap ratio", "components", "refined gaps", "log condition"]
first = [replace(base, **change) for change in [*trained, unlearned[1]]]
study = rl.study(first, seeds=range(seeds), measures=[*measures, *further], device=device)
beside = rl.study([replace(base, **change) for change in changes], seeds=range(seeds), measures=measures, device=device)
networks = Changes(base, [study, beside], smallest)

# %% tags=["nbval-ignore-output"]
by = ["network", "data", "positions", "points", "batch_size", "updates", "learning_rate"]
statistics.success_table(networks.runs[networks.runs["updates"] > 0], by).rename_axis(", ".join(by))

# %% [markdown]
# ## Figure 4: the same seed under both batch sizes
#
# The paper shows one network for each batch size, both at 0 % error. The order of its network is hard to read in the caption; ours is $C^1$. Of the
# seeds that reach 0.0 % under both batch sizes we draw two. One has the median ratio of the two gaps, batch 300 to batch 1000. The other has the
# largest ratio: in this measure no seed is more like the paper's figure.

# %%
gap = {batch: networks.values("largest gap", {"batch_size": batch}) for batch in (300, 1000)}
ratio, both = gap[300] / gap[1000], networks.solved(small, large)
ordered = ratio[both if both.any() else ratio.notna()].sort_values(kind="stable")
drawn, most = (int(ordered.index[place]) for place in ((len(ordered) - 1) // 2, -1))
chosen = {"median pair": drawn, "most torn pair": most}
for name, seed in chosen.items():
    print(f"{name}: seed {seed}, ratio of the gaps {ratio[seed]:.2f}")
    for batch, values in gap.items():
        below = (values < values[seed]).mean()
        print(f"  batch {batch}: gap over diameter {values[seed]:.2%}, larger than in {below:.0%} of all seeds")

# %%
title = f"Figure 4: C1, {updates} updates. Of {len(ordered)} pairs of networks, by the ratio of their gaps:\n"
place = {name: 100 * (ordered <= ratio[seed]).mean() for name, seed in chosen.items()}
title += ", ".join(f"the {name} (percentile {percent:.0f})" for name, percent in place.items())
columns = {}
for name, seed in chosen.items():
    for batch in (300, 1000):
        found = study.trained(replace(base, batch_size=batch))
        error = found.error[found.seeds.index(seed)]
        columns[f"{name}, seed {seed}\nbatch {batch}, error {error:.1%}"] = found.network(seed)
fig = draw.torn_layers(columns, base.sample(400), base.sample(8000), range(0, depth + 1, 2), title=title)
figures.save(fig, "figure_4_batch_size")
plt.show()

# %% [markdown]
# The points are 200 evenly spaced ones on each arm. In JupyterLab, a control above the next figure sets the batch size for the seed of the median
# pair. Look at how far apart the points of an arm lie on the line that joins them.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

sample, curve = base.sample(), base.sample(5000)
by_batch = {batch: study.trained(replace(base, batch_size=batch)) for batch in batches}
nets = {batch: found.network(drawn) for batch, found in by_batch.items()}


def layers_at(batch=300):
    """Three layers of the network that was trained with this batch size."""
    error = by_batch[batch].error[by_batch[batch].seeds.index(drawn)]
    title = f"batch {batch}, C1, seed {drawn}, error {error:.1%}"
    shown = [2 * depth // 5, 7 * depth // 10, depth]
    return section7.layers(nets[batch], sample, curve=curve, shown=shown, title=title)


play(layers_at, batch=batches)

# %% [markdown]
# ## A connected set stays connected
#
# Take the segment with the largest gap in the image of an arm, cut it into 32 parts, keep the largest gap among their images, and so on. Where a map
# is continuous, the gap shrinks in proportion to the sampling. A tear keeps its width. The control has a tear: it is the same network with everything
# beyond a line shifted.

# %%
table = networks.tables["refined gaps"]
table = table[table["updates"] > 0]
refined = table.pivot(index=["network", "batch_size", "seed", "arm"], columns="stage", values="value")
gaps = refined[np.isfinite(refined).all(axis=1) & (refined[0] > 0)]
net, points = study.trained(base).network(drawn).double(), base.sample(dtype=torch.float64)
arm = curves.arms(points.x, points.label)[0]
image = net.coordinates(arm)[-1]
across, widest = image[:, 0].median() + 1e-4, image.diff(dim=0).norm(dim=1).max()


def torn(x):
    """The network's output with a tear: what is beyond a line is shifted."""
    whole = net.coordinates(x)[-1]
    return whole + 3 * widest * (whole[:, :1] > across)


tear = curves.refined_gaps(torn, arm)
figures.save(draw.refinement(gaps, tear, 32), "continuity")
plt.show()

# %%
closing = curves.last_refinement(torch.tensor(gaps.to_numpy()))
closing = closing[~closing.isnan()]
exceptions = int((closing < 0.9 * 32).sum())
assert curves.last_refinement(tear) < 1.1  # the control: a tear stays open

# %% tags=["nbval-check-output"]
shrinks = "the largest gap of an arm's image shrinks in proportion as the sampling is refined"
notebook.decide(
    "continuity",
    rules.universal(exceptions, len(closing), shown=shrinks),
    {
        "arms of trained networks looked at": len(closing),
        "left out: diverged, or no longer than rounding": len(refined) - len(closing),
        "last refinement, 32 times as fine, shrinks the gap by": [closing.min(), closing.max()],
        "the first refinement by, median": statistics.median(gaps[0] / gaps[1]),
        "control, a map with a tear: by": curves.last_refinement(tear),
        "updates": updates,
    },
    protocol="C0, C1 and C2 under every batch size; largest gap at the output on the training points, "
    "refined four times where it is; an exception is a last refinement that shrinks it by less than 90 % of 32.",
)

# %% [markdown]
# ## Does the small batch break the arms?
#
# Not literally, as we have just seen. But it may stretch them more, so that a picture of finitely many points looks torn. The largest gap over the
# diameter says how much. A second measure counts pieces, as the eye does: join all points of an arm that are closer than 5 % of the picture's
# diameter, and count the pieces of both arms ($H_0$ persistence, with 200 points an arm). 2 means that both arms are whole; more, that the picture is
# in pieces. A dot is a network; a square is a median, or a share, with its 95 % interval. Dotted lines are networks before training.

# %%
def panels(names):
    """The measures of all trained networks under the names of their panels, and the medians of the untrained ones."""
    table = pd.concat([networks.rows(measure, *trained).assign(measure=name) for name, measure in names.items()])
    new = {name: unlearned if names[name] in measures else unlearned[1:2] for name in names if names[name] != "solved"}
    fresh = {name: networks.rows(names[name], *changes) for name, changes in new.items()}
    return table, {name: dict(rows.groupby("network")["value"].median()) for name, rows in fresh.items()}


def at_input(measure):
    """The value before the first layer, the same for all networks, as a reference line."""
    return networks.rows(measure, {}, layers=True)["value"].iloc[0], "at the input"


names = {"share at 0.0 % error": "solved", "largest gap / diameter": "largest gap", "pieces at 5 %": "components"}
table, nulls = panels(names)
references = {"largest gap / diameter": at_input("largest gap"), "pieces at 5 %": (2, "both arms whole")}
log, shares = ["largest gap / diameter"], ["share at 0.0 % error"]
fig = draw.batches(table, nulls=nulls, references=references, log=log, shares=shares)
figures.save(fig, "batch_connectedness")
plt.show()

# %% [markdown]
# At which layer do the pictures fall apart? The paper sees it at layer 4. Left, shares of networks; right, a line is a median and a band the middle
# half of the networks.

# %%
compared = [small, large]
pieces, widest_gaps = (networks.rows(name, *compared, layers=True) for name in ("components", "largest gap"))
fresh = [networks.rows(name, untrained, layers=True) for name in ("components", "largest gap")]
fresh = [table.assign(batch_size="untrained") for table in fresh]
in_pieces = pieces.assign(value=pieces["value"] > 2)
lines = {
    "C1 networks in pieces at 5 %": pd.concat([fresh[0].assign(value=fresh[0]["value"] > 2), in_pieces]),
    "largest gap / diameter": pd.concat([fresh[1], widest_gaps]),
}
fig = draw.through_layers(lines, by="batch_size", mean=list(lines)[:1], log=list(lines)[1:])
figures.save(fig, "batch_layers")
plt.show()

# %% [markdown]
# The primary contrast stands first below. The others change one thing: they keep only pairs at 0.0 % error, take another kind of network, another
# sample, another batch size. Matched epochs give batch 300 three times the updates of batch 1000, so that both see the data equally often. Their
# control stands below them: the same batch 300, with three times the updates and with one.

# %%
def secondary(measure):
    """The contrasts that cannot turn a verdict, but show what it rests on."""
    pairs = {"pairs at 0.0 % error": networks.against(measure, small, large, than="batch 1000", only=both)}
    for name, change in {"C0": {"order": 0}, "C2": {"order": 2}, "4000 points": more}.items():
        pairs[name] = networks.against(measure, change | small, change | large, than="batch 1000")
    sizes = {f"batch {batch} to 1000": {"batch_size": batch} for batch in batches if batch not in (300, 1000)}
    for name, change in (sizes | {"matched epochs": longer}).items():
        pairs[name] = networks.against(measure, change, large, than="batch 1000")
    control = networks.against(measure, longer, small, than="a third of the updates")
    return pairs | {"their control: 300, updates × 3 to × 1": control}


connected, others = networks.against("largest gap", small, large, than="batch 1000"), secondary("largest gap")
xlabel = "largest gap, batch 300 to batch 1000 (right of 1: as the paper says)"
fig = draw.shifts({"primary: C1, all pairs": connected} | others, xlabel=xlabel)
figures.save(fig, "batch_connectedness_contrasts")
plt.show()

# %% [markdown]
# Does it depend on the settings that the paper leaves open?

# %%
table, axes = multiverse.read(), list(multiverse.AXES)
tearing = specifications(table, axes, lambda rows: multiverse.torn(rows, "C1"))
title = "Largest gap, batch 300 to batch 1000 of 1000 points, C1"
fig = protocol.specification_curve(tearing, multiverse.BASE, ylabel="largest gap, ratio", title=title)
figures.save(fig, "batch_connectedness_multiverse")
plt.show()

# %%
in_pieces = networks.rows("components", *({"batch_size": batch} for batch in batches), layers=True)
in_pieces = in_pieces.assign(value=in_pieces["value"] > 2)
where = {"at the output": select(in_pieces, layer=depth), "at layer 4": select(in_pieces, layer=4)}
where["at some layer"] = statistics.at_some_layer(in_pieces, in_pieces["value"])
shares = {name: statistics.shares(rows, ["batch_size"], "value") for name, rows in where.items()}
look = {name: labelled(table, "batch {batch_size}", SHARE) for name, table in shares.items()}
seen = ", ".join(f"{look['at some layer'][f'batch {batch}'][0]:.0%} with batch {batch}" for batch in (300, 1000))
found = decide(connected, tearing)

# %% tags=["nbval-check-output"]
notebook.decide(
    "batch-connectedness",
    replace(found, reason=f"{found.reason}; at some layer an arm has a gap of more than 5 % of the picture: {seen}"),
    {
        **power.primary(connected, updates=updates, specifications=tearing),
        **{f"C1 networks in pieces at 5 %, {name}": each for name, each in look.items()},
        **{name: told(each) for name, each in others.items()},
        "gap over mean gap instead of diameter": told(networks.against("gap ratio", small, large, than="batch 1000")),
        "diverged": networks.runs["diverged"].sum(),
        "control": "no network tears anything (continuity, above)",
    },
    protocol=f"C1, {seeds} paired seeds, {updates} updates each; largest gap over diameter at the output, "
    "batch 300 to batch 1000.",
)

# %% [markdown]
# ## Is sparse sampling the reason?
#
# The paper's reason is that 300 points sample the manifold too sparsely. Noise of the gradient is another candidate: it, too, is larger in a small
# batch. One contrast cannot tell them apart, so two must hold.
#
# - *Density alone.* 300 points as the whole sample against 1000 as the whole sample. No gradient has noise; only the density differs.
# - *The effect to be explained.* Batch 300 against batch 1000 of the same 1000 points, from above.
#
# If what counts is how many points an update sees, both tear more. If it is noise, only the second does. If it is the number of points that are ever
# seen, only the first does. The other contrasts change one of the two causes. With a learning rate that grows with the batch, by its square root or
# in proportion, the noise is about equal.

# %%
def gaps_against(first, second, than):
    """How much larger the largest gap is under one change than under another."""
    return networks.against("largest gap", first, second, than=than)


density = gaps_against(thirds[0], large, "1000 points in all than with 300")
cause = contrasts.all_of(**{"density alone": density, "batch 300 to batch 1000": connected})
causes = {
    "density alone, other 300 points": gaps_against(thirds[1], large, "1000 points in all"),
    "density alone, 300 others again": gaps_against(thirds[2], large, "1000 points in all"),
    "noise and more points: 300 of 1000, to 300 in all": gaps_against(small, thirds[0], "300 points in all"),
    "density, equal noise: 300 of 1000, to 300 of 4000": gaps_against(small, more | small, "batch 300 of 4000"),
}
for factor, change in scaled.items():
    name = f"equal noise: 300, to 1000 at rate × {factor:.2g}"
    causes[name] = gaps_against(small, change, "batch 1000 at the larger rate")
both_primary = {"primary: 300 points in all, to 1000 in all": density, "primary: batch 300 of 1000, to 1000": connected}
figures.save(draw.shifts(both_primary | causes, xlabel="largest gap, ratio"), "batch_cause")
plt.show()

# %% tags=["nbval-check-output"]
cells = {"300 of 300": thirds[0], "300 of 1000": small, "300 of 4000": more | small}
cells |= {"1000 of 1000": large, "1000 of 4000": more | large}
middle = {name: statistics.median(networks.values("largest gap", each)) for name, each in cells.items()}
notebook.decide(
    "batch-cause",
    decide(cause),
    {
        **power.primary(cause, updates=updates),
        "median gap over diameter, batch of points": middle,
        **{name: told(each) for name, each in causes.items()},
    },
    protocol=f"C1, {seeds} paired seeds, {updates} updates each; largest gap over diameter at the output. Both primary "
    "contrasts must hold: sparse sampling is the reason if it tears by itself, and the small batch tears, too.",
)

# %% [markdown]
# ## Does it grow with the dimension?
#
# The paper names the curse of dimensionality and shows no experiment. The curse concerns the dimension of the set that is sampled: 1000 points are
# many on a curve, and few on a sheet of dimension 7. So our data are rolled-up sheets, the spiral times an interval, a square or a cube, in three,
# four and eight coordinates, of dimension 2, 3 and 7.
#
# The gaps are those of the two arms in the middle of the sheet. The primary contrast asks
# whether the ratio of the gaps, batch 300 to batch 1000, is larger in dimension 7 than in dimension 1, by a factor 2 or more. Beside it stands the
# plane spiral padded with zeros. It has four coordinates, as the sheet of dimension 3 has, but no more dimensions.

# %%
rolls = {3: samples.roll_3, 4: samples.roll_4, 8: samples.roll_8}
rolled = [{"width": width, "data": rolls[width]} for width in widths]
padded = {"width": 4}
wide = [replace(base, **change, **batch) for change in [*rolled, padded] for batch in (small, large)]
wider = rl.study(wide, seeds=range(seeds), measures=["largest gap"], device=device)
networks = Changes(base, [study, beside, wider], smallest)

called = {f"sheet of dimension {each['width'] - 1}": each for each in reversed(rolled)}
called |= {"spiral, dimension 1": {}, f"spiral padded to {padded['width']} coordinates": padded}
by_dimension = {name: gaps_against(each | small, each | large, "batch 1000") for name, each in called.items()}
pair, primary = (small, large), f"sheet of dimension {max(widths) - 1}"
say = {name: f"{name}: ratio" if name == primary else "ratio" for name, each in called.items() if each}
say = {name: f"{ratio} of the gaps, batch 300 to batch 1000," for name, ratio in say.items()}
grown = {"pair": pair, "than": "in dimension 1"}
steeper = {name: networks.growth("largest gap", change=called[name], what=what, **grown) for name, what in say.items()}
first = {f"primary: growth, dimension 1 to {max(widths) - 1}": steeper[primary]}
xlabel = "largest gap, batch 300 to batch 1000 (first row: ratio of two such ratios)"
fig = draw.shifts(first | by_dimension, xlabel=xlabel)
figures.save(fig, "batch_dimension")
plt.show()

# %% tags=["nbval-check-output"]
solved = {name: [networks.solved(each | batch).mean() for batch in pair] for name, each in called.items()}
success = {name: [f"{share:.0%}" for share in shares] for name, shares in solved.items()}
notebook.decide(
    "batch-dimension",
    decide(steeper[primary]),
    {
        **power.primary(steeper[primary], updates=updates),
        **{f"batch 300 to batch 1000, {name}": told(each) for name, each in by_dimension.items()},
        **{f"growth, {name}": told(each) for name, each in steeper.items() if name != primary},
        "at 0.0 % error with batch 300, batch 1000": success,
    },
    protocol=f"C1, {seeds} seeds, {updates} updates each; gap with batch 300 over gap with batch 1000, "
    f"dimension {max(widths) - 1} over dimension 1.",
)

# %% [markdown]
# ## Does the large batch learn a simpler map?
#
# *Simple* is not defined in the paper. The primary measure is roughness (§7.1): how sharply points change direction from layer to layer. Beside it
# stand the length of the arms over the diameter, and the condition number of the metric at the input (§7.2), the median over 100 points. Where a
# map is singular to rounding, its condition number is infinite, and the pair is left out.

# %%
names = {"roughness": "roughness", "length of the arms / diameter": "length", "condition number": "condition number"}
table, nulls = panels(names)
references = {"roughness": (2 * (depth - 1) / depth, "independent increments"), "condition number": (1, "a similarity")}
references["length of the arms / diameter"] = at_input("length")
figures.save(draw.batches(table, nulls=nulls, references=references, log=list(names)[1:]), "batch_complexity")
plt.show()

# %%
simpler, others = networks.against("roughness", small, large, than="batch 1000"), secondary("roughness")
others |= {name: networks.against(name, small, large, than="batch 1000") for name in ("length", "condition number")}
xlabel = "roughness, batch 300 to batch 1000 (right of 1: as the paper says)"
figures.save(draw.shifts({"primary: C1, all pairs": simpler} | others, xlabel=xlabel), "batch_complexity_contrasts")
plt.show()


# %%
def rougher(rows):
    """How much rougher C1 is with batch 300 than with batch 1000, of all pairs under one setting of the multiverse."""
    pair = [np.exp(select(rows, network="C1", batch_size=batch, points=1000)["log_roughness"]) for batch in (300, 1000)]
    say = "roughness {} smaller with batch 1000", "roughness {} larger with batch 1000"
    return contrasts.ratio(*pair, delta=smallest["roughness"], say=say)


bending = specifications(multiverse.read(), axes, rougher)
title = "Roughness, batch 300 to batch 1000 of 1000 points, C1"
fig = protocol.specification_curve(bending, multiverse.BASE, ylabel="roughness, ratio", title=title)
figures.save(fig, "batch_complexity_multiverse")
plt.show()

# %% [markdown]
# ## What is overfitted?
#
# The paper calls the map of the small batch overfitted. Overfitting is measured on points that were not trained on. On the spiral itself there is
# little to overfit. So we train on a spiral with noise, whose arms overlap, and count errors on 4000 other points of it, with other positions and
# other noise. The last column is batch 1000 with a learning rate that grows with the root of the batch, the usual rule for Adam.

# %%
noisy = replace(base, data=samples.noisy)
conditions = {str(batch): replace(noisy, batch_size=batch) for batch in batches}
factor = min(scaled)
conditions[f"1000\nrate × {factor:.2g}"] = replace(noisy, **scaled[factor])
fitted = rl.study(conditions.values(), seeds=range(noisy_seeds), device=device)
overfitting = samples.generalisation(fitted, conditions, samples.held_out())
figures.save(draw.batches(overfitting, percent=[samples.SEEN, samples.UNSEEN]), "batch_overfitting")
plt.show()

# %%
unseen = select(overfitting, measure=samples.UNSEEN).pivot(index="seed", columns="batch_size", values="value")
say = "{} points fewer errors on other points than with batch 300", "{} points more errors than with batch 300"
generalises = {
    name.replace("\n", " "): contrasts.difference(100 * unseen["300"], 100 * unseen[name], delta=1.0, say=say)
    for name in conditions if name != "300"
}
errors = overfitting.groupby(["measure", "batch_size"], sort=False)["value"].median()
errors = errors.rename(lambda name: name.replace("\n", " "), level="batch_size")
errors = {measure: errors[measure].to_dict() for measure in (samples.SEEN, samples.UNSEEN)}

# %% tags=["nbval-check-output"]
notebook.decide(
    "batch-complexity",
    decide(simpler, bending),
    {
        **power.primary(simpler, updates=updates, specifications=bending),
        **{name: told(each) for name, each in others.items()},
        "untrained C1 networks, median roughness": nulls["roughness"]["C1"],
        **{f"noisy spiral, median {measure}, by batch": each for measure, each in errors.items()},
        **{f"noisy spiral, batch {name}": told(each) for name, each in generalises.items()},
    },
    protocol=f"C1, {seeds} paired seeds, {updates} updates each; roughness, batch 300 to batch 1000. "
    f"Noisy spiral: {noisy_seeds} seeds, smallest effect 1 point of error on 4000 points not trained on.",
)

# %% [markdown]
# ## A sample that is its own mirror image
#
# This is a finding of ours about full batches. On evenly spaced points the spiral is its own mirror image: $x \mapsto -x$ exchanges the two arms.
# A tanh network without biases is odd. So at the start of training the gradient of every bias is 0 by symmetry if the batch is the whole sample. What
# is computed is rounding, and Adam (Kingma and Ba, 2015), which divides a gradient by its own size, makes full steps of it. Such a run changes when the same points are
# listed backwards. Random positions break the mirror, and so do minibatches. Therefore the networks of every record train on random positions.

# %% tags=["nbval-ignore-output"]
listed = sorted({1, min(100, updates), updates})
mirror = samples.mirrored({"even": replace(base, **even), "random": base}, range(min(20, seeds)), listed)
biases, start = mirror["first gradient, largest bias"], mirror["apart after 1"]
assert biases["even"] < 1e-7 < 1e-5 < biases["random"] and start["even"] > 1e3 * start["random"]
print("Batch 300 to batch 1000 on even points:", told(gaps_against(even | small, even | large, "batch 1000")))
mirror.rename_axis("positions").style.format("{:.0e}").format("{:.0%}", subset=["gap differs"])

# %% [markdown]
# The table has medians over networks: of the largest entry of the first gradient, and of the largest difference of a parameter between the two
# listings. On random positions the listings part by no more than rounding at first, and in the course of training this grows as well. The last column
# is the share of networks whose largest gap depends on the listing by more than 10 % at the end.
#
# ## What Figure 4 shows, and what it does not
#
# It shows two runs. Where a picture of points falls apart, neighbouring points have been drawn far apart compared with the size of the picture. This
# says nothing about the topology of the map, which cannot change. Whether the batch is the cause is decided by the records above.

# %%
from riemlib.companion.references import references

references(kingma_ba="Adam", hodges_lehmann="the shift of paired values")

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={"Figure 4, median pair": drawn, "Figure 4, most torn pair": most})
