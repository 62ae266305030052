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
# A continuous map cannot tear a connected set, whatever the batch. What looks like a tear in a scatter plot is a stretch, seen at finitely many
# points. And a batch of 1000 of 1000 points changes three things at once: there is no gradient noise, each update sees more points, and an epoch
# holds fewer updates. So we draw the two pictures again. Then we train $C^0$, $C^1$ and $C^2$ with four batch sizes from many seeds, once with equal
# numbers of updates and once with equal numbers of epochs.
#
# **Protocol**, fixed before looking. Every condition trains the same seeds on the same data. *Connected* has two measures: the largest gap between
# neighbours on an arm over the mean gap, on 2000 points an arm; and the number of components of 200 points an arm at 5 % of the layer's diameter
# ($H_0$ persistence). *Simple* has three: roughness (§7.1), growth of the arms' length relative to the diameter, condition number of the metric at
# the input. Batch 300 is compared with batch 1000 seed by seed. Medians carry bootstrap 95 % intervals; p-values are Wilcoxon's with Holm's
# correction within a claim. Every seed counts, whether it reaches 0.0 % error or not.

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
import numpy as np
import pandas as pd
import torch

import riemlib as rl
from riemlib import curves
from riemlib.companion import figures, notebook, rules, statistics
from riemlib.companion.figures import section7
from riemlib.companion.figures import studies as draw
from riemlib.companion.statistics import MEDIAN, SHARE, labelled, select

notebook.opening("§7.3 Batch size", device=device, time="about a minute and a half; seconds where results are kept")

# %% [markdown]
# ## The study
#
# Matched updates: every batch size gets the same number of updates. Matched epochs: every batch size sees the data as often as batch 300 does in
# that number of updates, so batch 1000 gets a third of them. A remainder smaller than a batch is left out of its epoch.

# %%
base = rl.Condition(depth=depth, updates=updates)


def epochs_matched(batch):
    """As many updates as give the number of epochs of batch 300."""
    return round(updates * (base.points // batch) / (base.points // 300))


grid = [
    replace(base, order=order, batch_size=batch, updates=number)
    for order in (0, 1, 2) for batch in batches for number in (updates, epochs_matched(batch))
]
sets = [replace(base, points=points, batch_size=batch) for points in others for batch in batches if batch <= points]
measures = ["roughness", "length", "gap ratio", "components", "refined gaps", "log condition"]
study = rl.study(grid + sets, seeds=range(seeds), measures=measures, device=device)

# %% tags=["nbval-ignore-output"]
by = ["network", "points", "batch_size", "updates"]
statistics.success_table(select(study.runs, network="C1"), by).rename_axis(", ".join(by))

# %% [markdown]
# ## Figure 4: the same seed under both batch sizes
#
# To change nothing but the batch, we draw one seed twice, with matched updates. Of the seeds with the least error under both batch sizes it has the
# median loss. The paper does not say which network it used; ours is $C^1$. Each panel shows the points, as the paper's panels do, and the image of
# the whole arm as a line, from a sample five times as dense.

# %%
pair = select(study.runs, network="C1", points=base.points, updates=updates, batch_size=[300, 1000])
drawn = statistics.typical_seed(pair)
worst = pair.groupby("seed")["error"].max()  # the larger of a seed's two errors
least = worst == worst.min()
print(f"{least.sum()} of {seeds} seeds end with error {worst[drawn]:.1%} or less under both; drawn: seed {drawn}")

# %%
sample, curve = base.sample(), base.sample(5 * base.points)


def figure_4(letter, batch):
    net = study.trained(replace(base, batch_size=batch)).network(drawn)
    error = select(pair, batch_size=batch, seed=drawn)["error"].item()
    title = f"Figure 4{letter}: batch {batch}, C1, seed {drawn} on this machine, error {error:.1%}"
    fig = section7.layers(net, sample, curve=curve, title=title)
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
# In JupyterLab, a control above the figure sets the batch size, for the same seed and the same number of updates. Look at how far apart the points of
# an arm lie on the line that joins them.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

by_batch = {batch: study.trained(replace(base, batch_size=batch)).network(drawn) for batch in batches}


def layers_at(batch=300):
    """Three layers of the network that was trained with this batch size."""
    error = select(study.runs, network="C1", points=base.points, updates=updates, batch_size=batch, seed=drawn)["error"]
    title = f"batch {batch}, C1, seed {drawn}, error {error.item():.1%}"
    shown = [2 * depth // 5, 7 * depth // 10, depth]
    return section7.layers(by_batch[batch], sample, curve=curve, shown=shown, title=title)


play(layers_at, batch=batches)

# %% [markdown]
# How typical is this seed? Its largest gap over the mean gap at the output, and the share of all seeds with a smaller one:

# %%
for batch in (300, 1000):
    gaps = select(study["gap ratio"], network="C1", points=base.points, updates=updates, batch_size=batch, layer=depth)
    gap = gaps.set_index("seed")["value"]
    print(f"batch {batch}: {gap[drawn]:.1f}; smaller in {(gap < gap[drawn]).mean():.0%} of {seeds} seeds")

# %% [markdown]
# ## A connected set stays connected
#
# Take the segment with the largest gap in the image of an arm, cut it into 32 parts, keep the largest gap among their images, and so on. Where a map
# is continuous, the gap shrinks in proportion to the sampling. A tear keeps its width. The control has a tear: it is the same network with everything
# beyond a line shifted.

# %%
arms = ["network", "points", "batch_size", "updates", "seed", "arm"]
every = study["refined gaps"].pivot(index=arms, columns="stage", values="value")
gaps = every[np.isfinite(every).all(axis=1) & (every[0] > 0)]
net = study.trained(base).network(drawn).double()
arm = curves.arms(sample.x.double(), sample.label)[0]
image = net.coordinates(arm)[-1]
across, widest = image[:, 0].median() + 1e-4, image.diff(dim=0).norm(dim=1).max()


def torn(x):
    whole = net.coordinates(x)[-1]
    return whole + 3 * widest * (whole[:, :1] > across)


tear = curves.refined_gaps(torn, arm)
fig = draw.refinement(gaps, tear, 32)
figures.save(fig, "continuity")
plt.show()

# %%
values = gaps.to_numpy()
clear = values[:, 1:] > 1e-11  # above the rounding of coordinates of size 1
last = clear.cumsum(axis=1).argmax(axis=1)  # the last refinement that is
seen = clear.any(axis=1) & (last > 0)
closing = (values[:, :-1] / values[:, 1:])[np.arange(len(values)), last][seen]
exceptions = int((closing < 0.9 * 32).sum())
assert tear[-2] / tear[-1] < 1.1  # the control: a tear stays open

# %% tags=["nbval-check-output"]
shrinks = "the largest gap of an arm's image shrinks in proportion as the sampling is refined"
notebook.decide(
    "continuity",
    rules.universal(exceptions, len(closing), shown=shrinks),
    {
        "arms of trained networks looked at": len(closing),
        "left out: diverged, or no longer than rounding": len(every) - len(closing),
        "last refinement, 32 times as fine, shrinks the gap by": [closing.min(), closing.max()],
        "the first refinement by, median": statistics.median(values[:, 0] / values[:, 1]),
        "control, a map with a tear: by": tear[-2] / tear[-1],
    },
    protocol="Largest gap at the output on the training points, refined four times where it is; "
    "an exception is a last refinement that shrinks it by less than 90 % of 32.",
)

# %% [markdown]
# ## Does the small batch break the arms?
#
# Not literally, as we have just seen. But it may *stretch* them more, so that a picture of finitely many points looks torn. We look at the outputs of
# all networks. A dot is a network; a square is a median with its 95 % interval, in the first row a share.

# %%
at_input, at_output = (select(study["length"], layer=layer) for layer in (0, depth))
growth = at_output["value"].to_numpy() / at_input["value"].to_numpy()
connected = [
    select(study["gap ratio"], layer=depth).assign(measure="largest gap / mean gap"),
    select(study["components"], layer=depth).assign(measure="components at 5 %"),
]
simple = [
    study["roughness"].assign(measure="roughness"),
    at_output.assign(measure="growth of length", value=growth),
    study["log condition"].assign(measure="condition number", value=10 ** study["log condition"]["value"]),
]


# %%
def by_matching(tables):
    """The rows of the grid, sorted by network, with the matching they belong to. Batch 300 belongs to both."""
    table = select(pd.concat(tables), points=base.points).sort_values("network", kind="stable")
    in_epochs = table["updates"] == table["batch_size"].map(epochs_matched)
    matched = {"matched updates": table["updates"] == updates, "matched epochs": in_epochs}
    return pd.concat([table[rows].assign(matching=name) for name, rows in matched.items()], ignore_index=True)


connectedness = by_matching(connected)
fig = draw.batches(connectedness, success=True, log=["largest gap / mean gap"])
figures.save(fig, "batch_connectedness")
plt.show()

# %% [markdown]
# At which layer the pictures fall apart, for $C^1$ with matched updates:

# %%
c1 = {"network": "C1", "points": base.points, "updates": updates}
components, ratio = select(study["components"], **c1), select(study["gap ratio"], **c1)
in_pieces = components.assign(value=components["value"] > 2)
panels = {"C1 networks in pieces at 5 %": in_pieces, "largest gap / mean gap": ratio}
fig = draw.through_layers(panels, by="batch_size", mean=list(panels)[:1], log=list(panels)[1:])
figures.save(fig, "batch_layers")
plt.show()

# %% [markdown]
# How much larger each measure is with batch 300 than with batch 1000: the logarithm of the ratio, seed by seed.

# %%
effect = ["matching", "network", "measure"]
shifted = statistics.compare(connectedness, "batch_size", 1000, 300, by=effect, log=True)
xlabel = "log ratio, batch 300 to batch 1000 (right of 0: the small batch breaks the arms more)"
figures.save(draw.shifts(shifted, xlabel=xlabel), "batch_connectedness_shifts")
plt.show()

# %%
pieces = statistics.at_some_layer(study["components"], study["components"]["value"] > 2)
matched = select(by_matching([pieces]), batch_size=[300, 1000])
matched_in_pieces = statistics.shares(matched, ["matching", "network", "batch_size"], "value")
resized = pieces[pieces["points"] != base.points]
resized_in_pieces = statistics.shares(resized, ["points", "batch_size"], "value")

# %% tags=["nbval-check-output"]
name, size = "{network}, {measure}, {matching}", "{points} points, batch {batch_size}"
notebook.decide(
    "batch-connectedness",
    rules.effects(labelled(shifted, name, MEDIAN), labelled(shifted, name, "p_holm")),
    {
        **statistics.effects(shifted, f"log ratio, {name}"),
        "in pieces at some layer": labelled(matched_in_pieces, "{network}, {matching}, batch {batch_size}", SHARE),
        "C1, other training sets, in pieces": labelled(resized_in_pieces, size, SHARE),
        "diverged": select(study.runs, points=base.points)["diverged"].sum(),
        "control": "no network tears anything (continuity, above)",
    },
    protocol=f"{seeds} paired seeds; batch 300 against 1000 at the output; "
    f"matched epochs give batch 1000 {epochs_matched(1000)} updates. Above 0: batch 300 is less connected.",
)

# %% [markdown]
# ## Does the large batch learn a simpler map?
#
# The condition number comes from the singular values of the pushforward $P$ (§7.2). From $g = P^{\mathsf T} P$ the small eigenvalues of many $C^0$
# networks could not be told from rounding. The condition number is infinite only where $P$ itself is singular to rounding; with the parameters above
# that happens in no network. If it does, the figure, its medians and the comparison of pairs leave these networks out, and the rank correlation in
# the record counts them as larger than any number.

# %%
complexity = by_matching(simple)
figures.save(draw.batches(complexity, log=["condition number"]), "batch_complexity")
plt.show()

# %%
simpler = statistics.compare(complexity, "batch_size", 1000, 300, by=effect, log=True)
xlabel = "log ratio, batch 300 to batch 1000 (right of 0: the small batch learns the more complicated map)"
figures.save(draw.shifts(simpler, xlabel=xlabel), "batch_complexity_shifts")
plt.show()

# %%
fresh = [rl.CkNetwork([2] * (depth + 1), seed=s).requires_grad_(False) for s in range(seeds)]
untrained = curves.roughness(torch.stack([torch.stack(net.coordinates(curve.x)) for net in fresh]))
medians = complexity.groupby([*effect, "batch_size"])["value"].agg(statistics.median).reset_index()
trend = {
    f"{kind}, {measure}, {matching}": statistics.rank_correlation(rows["batch_size"], rows["value"])
    for (matching, kind, measure), rows in medians.groupby(effect)
}
resized = study["roughness"][study["roughness"]["points"] != base.points]
resized_rough = resized.groupby(["points", "batch_size"])["value"].agg(statistics.median).reset_index()

# %% tags=["nbval-check-output"]
notebook.decide(
    "batch-complexity",
    rules.effects(labelled(simpler, name, MEDIAN), labelled(simpler, name, "p_holm")),
    {
        **statistics.effects(simpler, f"log ratio, {name}"),
        "rank correlation of the median with the batch size, 30 to 1000": trend,
        "C1, other training sets, median roughness": labelled(resized_rough, size, "value"),
        "untrained C1 networks, median roughness": untrained.median(),
    },
    protocol=f"{seeds} paired seeds; batch 300 against 1000; condition number: median over 100 points. "
    "Above 0: batch 300 learns the more complicated map.",
)

# %% [markdown]
# ## What Figure 4 shows, and what it does not
#
# It shows two runs. Where a picture of points falls apart into pieces, neighbouring points have been drawn far apart compared with the size of the
# picture. This says nothing about the topology of the map, which cannot change. Whether the batch is the cause is decided by the two records above.
# They have to be read for both matchings: with equal epochs a larger batch means fewer updates, and a network that has been trained less has also
# been bent less. Where the two matchings disagree, the cause is the amount of training, not the batch.

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={"Figure 4": drawn})
