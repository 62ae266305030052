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
# The paper trains the same network twice on the same spiral, with batches of 300 and of 1000 points. With the small batch, it says, the arms are
# torn apart as early as layer 4 and the map is complicated; with the large batch the arms stay connected and the map is simple.
#
# A continuous map cannot tear a connected set, whatever the batch: what a scatter plot shows as a tear is a stretch, seen through finitely many points.
# And a batch of 1000 of 1000 points changes three things at once: there is no gradient noise, an update sees more points, and an epoch holds fewer
# updates. So we redraw the two pictures, and then train $C^0$, $C^1$ and $C^2$ with four batch sizes from many seeds, once with equal numbers of
# updates and once with equal numbers of epochs.
#
# **Protocol**, fixed before looking. The same seeds and data in every condition. *Connected*: the largest gap between neighbours on an arm over the mean
# gap, on 2000 points an arm, and the number of components of 200 points an arm at 5 % of the layer's diameter ($H_0$ persistence). *Simple*: roughness
# (§7.1), growth of the arms' length relative to the diameter, condition number of the metric at the input. Batch 300 is compared with batch 1000
# seed by seed; medians carry bootstrap 95 % intervals, p-values are Wilcoxon's with Holm's correction within a claim. Every seed counts, whether it reaches
# 0.0 % error or not.

# %% tags=["parameters"]
seeds: int = 100  # networks in every condition
updates: int = 600  # Adam updates, the same for every batch size where updates are matched
batches: list = [30, 100, 300, 1000]  # points in a minibatch; 300 and 1000 are the paper's
others: list = [300, 3000]  # further sizes of the training set, for C1
depth: int = 10  # layers
device: str = "cpu"  # where the networks are trained

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import riemlib as rl
from riemlib import evidence, figures, ledger, notebook, topology
from riemlib.figures import spirals
from riemlib.figures import studies as draw

notebook.opening("§7.3 Batch size", device=device, time="about four minutes; kept shards make it seconds")

# %% [markdown]
# ## The study
#
# Matched updates: every batch size gets the same number. Matched epochs: every batch size sees the data as often as batch 300 does in that
# number of updates, so batch 1000 gets a third of them. A remainder smaller than a batch is left out of its epoch.

# %%
base = rl.Condition(depth=depth, updates=updates)
orders = {"C0": 0, "C1": 1, "C2": 2}


def epochs_matched(batch):
    return round(updates * (base.points // batch) / (base.points // 300))


budgets = {"matched updates": lambda batch: updates, "matched epochs": epochs_matched}
grid = {
    (how, name, batch): replace(base, order=order, batch_size=batch, updates=budget(batch))
    for how, budget in budgets.items() for name, order in orders.items() for batch in batches
}
measures = ["smoothness", "stretch", "connectedness", "conditioning"]
runs = rl.study(grid, seeds=range(seeds), measures=measures, device=device)
sets = {(points, batch): replace(base, points=points, batch_size=batch) for points in others for batch in batches if batch <= points}
resized = rl.study(sets, seeds=range(seeds), measures=measures, device=device)

# %% tags=["nbval-ignore-output"]
c1 = {f"C1, {how}, batch {batch} ({run.condition.updates} updates)": run for (how, name, batch), run in runs.items() if name == "C1"}
evidence.success_table(c1 | {f"C1, {points} points, batch {batch}": run for (points, batch), run in resized.items()})

# %% [markdown]
# ## Figure 4: the same seed under both batch sizes
#
# To change nothing but the batch, we draw one seed twice, with matched updates: of the seeds with the least error under both, the one whose loss is
# the median. The paper does not say which network it used; ours is $C^1$. Each panel carries the points, as the paper's do, and the image of the
# whole arm as a line, from a sample five times as dense.

# %%
pair = {batch: runs["matched updates", "C1", batch] for batch in (300, 1000)}
worst = torch.stack([run.error for run in pair.values()]).amax(0)
both = [i for i in range(seeds) if worst[i] == worst.nan_to_num(1.0).min()]
late = sum(run.late_loss for run in pair.values())
drawn = sorted(both, key=lambda i: float(late[i]))[(len(both) - 1) // 2]
print(f"{len(both)} of {seeds} seeds end with error {float(worst[drawn]):.1%} or less under both; drawn: seed {pair[300].seeds[drawn]}")

# %%
sample, curve = base.sample(), base.sample(5 * base.points)


def figure_4(letter, batch):
    run = pair[batch]
    title = f"Figure 4{letter}: batch {batch}, C1, seed {run.seeds[drawn]}, error {float(run.error[drawn]):.1%}"
    fig = spirals.layers(run.network(drawn), sample, curve=curve, title=title)
    figures.save(fig, f"figure_4{letter}_batch_{batch}")
    plt.show()


# %% [markdown]
# ## Figure 4a: batch 300

# %%
figure_4("a", 300)

# %% [markdown]
# ## Figure 4b: batch 1000

# %%
figure_4("b", 1000)

# %% [markdown]
# How typical is this seed? Its largest gap over the mean gap at the output, and the share of all seeds with a smaller one:

# %%
for batch, run in pair.items():
    gaps = run.measured["gap ratio"][:, -1]
    print(f"batch {batch}: {float(gaps[drawn]):.1f}; smaller in {float((gaps < gaps[drawn]).double().mean()):.0%} of {seeds} seeds")

# %% [markdown]
# ## A connected set stays connected
#
# Take the segment with the largest gap in the image of an arm, cut it into 32, keep the largest gap among its parts, and so on. Whatever is continuous
# closes in proportion to the sampling; a tear keeps its width. The control has one: the same network with everything beyond a line shifted.


# %%
def gaps_of(run):
    found = run.measured["refined gaps"].flatten(0, 1)  # both arms of every network
    return found[found.isfinite().all(1) & (found[:, 0] > 0)]


different = {run.condition: (name, run) for (_, name, _), run in runs.items()}.values()  # one condition is in both columns
gaps = {name: torch.cat([gaps_of(run) for kind, run in different if kind == name]) for name in orders}
gaps["C1"] = torch.cat([gaps["C1"], *(gaps_of(run) for run in resized.values())])
net, arm = pair[300].network(drawn).double(), topology.arms(sample.x.double(), sample.label)[0]
image = net.coordinates(arm)[-1]
across, widest = image[:, 0].median() + 1e-4, image.diff(dim=0).norm(dim=1).max()


def torn(x):
    whole = net.coordinates(x)[-1]
    return whole + 3 * widest * (whole[:, :1] > across)


tear = topology.refined_gaps(torn, arm)
fig = draw.refinement(gaps, tear, 32)
figures.save(fig, "continuity")
plt.show()

# %% tags=["nbval-check-output"]
every = torch.cat(list(gaps.values()))
clear = every[:, 1:] > 1e-11  # above the rounding of coordinates of size 1
stage = clear.long().cumsum(1).argmax(1)  # the last refinement that is
seen = clear.any(1) & (stage > 0)
closing = (every[:, :-1] / every[:, 1:]).gather(1, stage[:, None])[seen, 0]
exceptions = int((closing < 0.9 * 32).sum())
assert tear[-2] / tear[-1] < 1.1  # the control: a tear stays open
notebook.decide(
    "continuity",
    ledger.universal(exceptions, len(closing), shown="the largest gap of an arm's image shrinks in proportion as the sampling is refined"),
    {
        "arms of trained networks looked at": len(closing),
        "left out: diverged, or no longer than rounding": 2 * seeds * len(set(grid.values()) | set(sets.values())) - len(closing),
        "last refinement, 32 times as fine, shrinks the gap by": [float(closing.min()), float(closing.max())],
        "the first refinement by, median": float((every[:, 0] / every[:, 1]).median()),
        "control, a map with a tear: by": float(tear[-2] / tear[-1]),
    },
    protocol="Largest gap at the output on the training points, refined four times where it is; an exception is a last refinement that shrinks it by less than 90 % of 32.",
)

# %% [markdown]
# ## Does the small batch break the arms?
#
# Not literally, as we have just seen. But it may *stretch* them more, so that a picture of finitely many points looks torn. All networks at the output:

# %%
readings = {
    "largest gap / mean gap": lambda run: run.measured["gap ratio"][:, -1],
    "components at 5 %": lambda run: run.measured["components"][:, -1],
    "roughness": lambda run: run.measured["roughness"],
    "growth of length": lambda run: run.measured["length"][:, -1] / run.measured["length"][:, 0],
    "condition number": lambda run: 10 ** run.measured["log condition"],
}


def by_batch(number):
    return {how: {name: {batch: number(runs[how, name, batch]) for batch in batches} for name in orders} for how in budgets}


def spread(name):
    def one(run):
        values = readings[name](run)
        return values, evidence.median_interval(values[values.isfinite()])

    return by_batch(one)


connected, simple = list(readings)[:2], list(readings)[2:]

# %%
rows = {"seeds at 0.0 % error": by_batch(lambda run: evidence.proportion(run.solved))} | {name: spread(name) for name in connected}
fig = draw.batches(rows, log=connected[:1], shares=["seeds at 0.0 % error"])
figures.save(fig, "batch_connectedness")
plt.show()

# %% [markdown]
# At which layer the pictures fall apart, for $C^1$ with matched updates:

# %%
layerwise = {f"batch {batch}": runs["matched updates", "C1", batch] for batch in batches}
whole = {name: (run.measured["components"] > 2).double() for name, run in layerwise.items()}
ratio = {name: run.measured["gap ratio"] for name, run in layerwise.items()}
fig = draw.through_layers({"C1 networks in pieces at 5 %": whole, "largest gap / mean gap": ratio}, shares=["C1 networks in pieces at 5 %"], log=["largest gap / mean gap"])
figures.save(fig, "batch_layers")
plt.show()


# %%
def against_1000(names):
    """How much larger a measure is with batch 300 than with batch 1000: the log ratio, seed by seed."""
    found = {}
    for how in budgets:
        for kind in orders:
            small, large = runs[how, kind, 300], runs[how, kind, 1000]
            for name in names:
                found[f"{kind}, {name}, {how}"] = evidence.shift(readings[name](large).log(), readings[name](small).log())
    return found


def by_measure(found, names):
    return {name: {how: {kind: found[f"{kind}, {name}, {how}"].interval for kind in orders} for how in budgets} for name in names}


broken = against_1000(connected)
fig = draw.shifts(by_measure(broken, connected), xlabel="log ratio, batch 300 to batch 1000 (right of 0: the small batch breaks the arms more)")
figures.save(fig, "batch_connectedness_shifts")
plt.show()


# %% tags=["nbval-check-output"]
def pieces(run):
    return evidence.proportion((run.measured["components"] > 2).any(1))


adjusted = evidence.holm({name: p.p for name, p in broken.items()})
notebook.decide(
    "batch-connectedness",
    ledger.effects({name: p.interval for name, p in broken.items()}, adjusted),
    {
        **{f"log ratio, {name}": {"median": p.median, "interval": [p.low, p.high], "effect": p.effect, "p (Holm)": adjusted[name]} for name, p in broken.items()},
        "in pieces at some layer": {f"{kind}, {how}, batch {batch}": pieces(runs[how, kind, batch]) for how in budgets for kind in orders for batch in (300, 1000)},
        "C1, other training sets, in pieces": {f"{points} points, batch {batch}": pieces(run) for (points, batch), run in resized.items()},
        "diverged": sum(len(run.diverged) for run in runs.values()),
        "control": "no network tears anything (continuity, above)",
    },
    protocol=f"{seeds} paired seeds; batch 300 against 1000 at the output; matched epochs give batch 1000 {epochs_matched(1000)} updates. Above 0: batch 300 is less connected.",
)

# %% [markdown]
# ## Does the large batch learn a simpler map?

# %%
fig = draw.batches({name: spread(name) for name in simple}, log=simple[-1:])
figures.save(fig, "batch_complexity")
plt.show()

# %%
complex_ = against_1000(simple)
fig = draw.shifts(by_measure(complex_, simple), xlabel="log ratio, batch 300 to batch 1000 (right of 0: the small batch learns the more complicated map)")
figures.save(fig, "batch_complexity_shifts")
plt.show()

# %% tags=["nbval-check-output"]
fresh = [rl.CkNetwork([2] * (depth + 1), seed=s).requires_grad_(False) for s in range(seeds)]
untrained = [torch.stack(net.coordinates(curve.x)) for net in fresh]
adjusted = evidence.holm({name: p.p for name, p in complex_.items()})
trend = {f"{kind}, {name}, {how}": evidence.rank_correlation(batches, [float(readings[name](runs[how, kind, b]).nanmedian()) for b in batches]) for name in simple for how in budgets for kind in orders}
notebook.decide(
    "batch-complexity",
    ledger.effects({name: p.interval for name, p in complex_.items()}, adjusted),
    {
        **{f"log ratio, {name}": {"median": p.median, "interval": [p.low, p.high], "effect": p.effect, "p (Holm)": adjusted[name]} for name, p in complex_.items()},
        "rank correlation of the median with the batch size, 30 to 1000": trend,
        "C1, other training sets, median roughness": {f"{points} points, batch {batch}": float(run.measured["roughness"].nanmedian()) for (points, batch), run in resized.items()},
        "untrained C1 networks, median roughness": float(topology.roughness(torch.stack(untrained)).median()),
    },
    protocol=f"{seeds} paired seeds; batch 300 against 1000; condition number: median over 100 points. Above 0: batch 300 learns the more complicated map.",
)

# %% [markdown]
# ## What Figure 4 shows, and what it does not
#
# It shows two runs. That a picture of points falls apart into pieces says how far neighbouring points have been drawn apart compared with the size of the
# picture, and nothing about the topology of the map, which cannot change. Whether the batch is the cause is decided by the tables above, and they
# have to be read in both columns: with equal epochs a larger batch means fewer updates, and a network that has been trained less has also been
# bent less. Where the two columns disagree, it is the amount of training that speaks, not the batch.

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn=pair[300].seeds[drawn])
