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
# # §4 Dimension, charts, near and far
#
# Between its equations §4 makes some remarks. The widths of a network say what dimension the data have. The spirals
# would be easy in polar coordinates, or with more dimensions to work in. Locally Linear Embedding finds the charts. A
# trained network brings points of one class together, and takes points of two classes apart. This notebook takes them
# one at a time. The first is mathematics, and the others are experiments.
#
# As in [§2](02_notation.ipynb), $M$ is the piece of input space that the network is defined on, and $C \subset M$ is the
# manifold of the data: here surfaces and curves, later the two arms of the spiral.

# %% tags=["parameters"]
points: int = 1000  # on the spiral, both arms together, at random positions
depth: int = 10  # layers
seeds: int = 400  # for each condition of the studies
updates: int = 3000  # Adam updates
widths: list = [3, 4, 8]  # beside 2
shallow: list = [5, 3, 1]  # layers of those widths, with about as many parameters as width 2 has
pair_seeds: int = 100  # networks whose pairs of points are looked at
path_seeds: int = 30  # of these, networks in which shortest paths are searched
draw_seeds: int = 8  # trained for the picture of the bottleneck
neighbours: list = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96]  # of Locally Linear Embedding
seed: int = 0  # of the random networks and points
device: str = "cpu"  # where the networks live

# %%
from dataclasses import asdict, replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch.func import jacfwd, jvp, vmap

import riemlib as rl
from riemlib.companion import contrasts, embedding, notebook, power, rules, specifications
from riemlib.companion.figures import save, section4
from riemlib.companion.pairs import Pairs, PlaneGraph, exchanged, matched_difference
from riemlib.companion.statistics import labelled, relative_error, shares
from riemlib.data import arm

# %%
notebook.opening("§4 Dimension, charts, near and far", device=device, time="about a minute and a half")

# %% [markdown]
# ## Changing dimension
#
# A layer may be wider or narrower than the one before it. Here this needs order 0: a residual layer adds its input, so
# it keeps the width. The paper defines the dimension of the data manifold as the width of the narrowest layer. A
# definition is neither true nor false. It says next that all wider layers are immersions of this manifold, where the
# rank of the Jacobian is constant. This is a statement, and it needs care about which rank is meant.
#
# The metric $g$ at layer $l$ has at most the rank of the narrowest layer *still to come*. So before a bottleneck it is
# only positive semi-definite on the coordinates of that layer, and not a metric of Def. 4.1 there. But this only counts
# dimensions, and the data do not fill the layer. What matters is $g$ on the tangent vectors of $C$.
#
# Let the columns of $T$ be a basis of the tangent space $T_qC$, carried to the layer. Then $C$ is immersed, and $g$ is a
# metric on it, exactly where the columns of $P\,T$ are independent: where no tangent vector but 0 is in the kernel of
# $P$, $T_qC \cap \ker P = 0$. The product $P\,T$ is the same at every layer, so the condition is, too.
#
# To test it, data of 1, 2 or 3 dimensions are bent into the input space by a smooth map, and sent through networks
# with a bottleneck. $P$ comes from the sweep, the tangents of every layer from forward-mode differentiation.

# %%
f64 = {"dtype": torch.float64, "device": device, "seed": seed}
shapes = [(1, [4, 3, 2, 3, 4]), (2, [4, 3, 2, 3, 4]), (2, [2, 3, 4]), (2, [5, 3, 4, 2, 3]), (1, [3, 2, 1, 2])]
shapes += [(2, [3, 2, 1, 2]), (3, [4, 3, 2, 3, 4]), (3, [5, 3, 4, 2, 3])]  # more dimensions than the bottleneck


def tangents_of_data(net, dimension, q):
    """Points of bent data of a dimension, and at every layer a basis of their tangent spaces, (n, d_l, dimension)."""
    bend = rl.CkNetwork([dimension, net.widths[0]], order=0, **f64).requires_grad_(False)[:]
    return bend(q), vmap(jacfwd(lambda p: tuple(y[0] for y in net.coordinates(bend(p[None])))))(q)


# %%
rows, identical = [], []
torch.manual_seed(seed)
for dimension, layers in shapes:
    net = rl.CkNetwork(layers, order=0, **f64).requires_grad_(False)
    at, tangents = tangents_of_data(net, dimension, torch.randn(200, dimension, dtype=torch.float64, device=device))
    P = [rl.pushforward(net, at, layer=l) for l in range(len(layers))]
    identical += [relative_error(P_l @ T, tangents[-1]) for P_l, T in zip(P, tangents, strict=True)]
    no_kernel = torch.linalg.matrix_rank(P[0] @ tangents[0]) == dimension
    immersed = torch.stack([torch.linalg.matrix_rank(T) == dimension for T in tangents]).all(0)
    ranks = [torch.linalg.matrix_rank(P_l).unique().tolist() for P_l in P]
    row = {"dimension of C": dimension, "widths": layers, "no_kernel": no_kernel, "immersed": immersed, "g": ranks}
    rows.append(row)

# %% tags=["nbval-ignore-output"]
table = [
    {
        "dimension of C": row["dimension of C"],
        "widths": row["widths"],
        "points with no tangent in ker P": f"{int(row['no_kernel'].sum())} of 200",
        "points where every layer immerses C": f"{int(row['immersed'].sum())} of 200",
        "ranks of g on all of the layer": row["g"],
    }
    for row in rows
]
pd.DataFrame(table)

# %% [markdown]
# The last column has one rank in each layer: these tanh networks satisfy the hypothesis of constant rank. ReLU does
# not. There the same data are immersed at some points and collapsed at others:

# %%
folded = rl.CkNetwork([3, 3, 3], order=0, activation="relu", **f64).requires_grad_(False)
at, tangents = tangents_of_data(folded, 2, torch.randn(200, 2, dtype=torch.float64, device=device))
relu_ranks, many = torch.linalg.matrix_rank(rl.pushforward(folded, at) @ tangents[0]).unique(return_counts=True)
dict(zip([f"rank {r} on C" for r in relu_ranks.tolist()], many.tolist(), strict=True))

# %%
met, holds = (torch.cat([row[name] for row in rows]) for name in ("no_kernel", "immersed"))
good, bad = holds[met], ~holds[~met]
exact = max(identical) < 1e-10
when = "where no tangent vector of the data lies in the kernel of the map to the output"

# %% tags=["nbval-check-output"]
notebook.decide(
    "dimension-bottleneck",
    rules.condition(int(good.sum()) * exact, len(good), int(bad.sum()), len(bad), when=when),
    {
        "P T of the sweep against tangents by forward mode": rules.order_of_magnitude(max(identical)),
        "networks": f"{len(rows)}, with data of 1, 2 and 3 dimensions",
        "control, ranks of one ReLU network on data of 2 dimensions": relu_ranks.tolist(),
    },
    protocol="tanh networks of order 0, 200 random points each, numerical rank in float64; the definition of dim M "
    "gets no verdict",
)

# %% [markdown]
# What a bottleneck does is best seen at width 1. Below, a network of width 8 is narrowed to one coordinate before its
# output, and trained on the spiral. At every point of the plane $g$ has rank 1. It is zero along the white lines, the
# level lines of the one coordinate. Points on such a line are at distance zero. So $g$ is no metric on the plane. On
# the arms it is one, except at the rings: there an arm runs along a white line, and turns back in the coordinate.

# %%
spiral = rl.spiral(points, positions="random", device=device)
sample = spiral.to(torch.float64)
narrow = rl.CkNetwork([2] + [8] * 4 + [1, 2], order=[0, 1, 1, 1, 0, 0], device=device)
run = rl.fit(narrow, spiral, seeds=range(draw_seeds), batch_size=300, updates=updates, learning_rate=1e-2)
squeezed = run.networks[run.typical()].double().requires_grad_(False)
side = torch.linspace(-1.15, 1.15, 151, dtype=torch.float64, device=device)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
coordinate = squeezed.coordinates(plane.reshape(-1, 2))[5].view(151, 151)
centres = plane[5::7, 5::7].reshape(-1, 2)
null = rl.geometry(squeezed, centres).balls(1.0)[0].directions[:, :, 0]  # of the longest axis

# %%
t = torch.linspace(0, 1, 2001, dtype=torch.float64, device=device)
turning = []
for start in (0, 0.5):  # of the two arms
    v = jvp(lambda t, s=start: squeezed.coordinates(arm(t, start=s))[5][:, 0], (t,), (torch.ones_like(t),))[1]
    turning.append(arm(t[1:][v[1:] * v[:-1] < 0], start=start))
turning = torch.cat(turning)
fig = section4.degenerate_directions(sample, plane, coordinate, centres, null, turning, bottleneck=5)
save(fig, "section4_bottleneck")
print(f"drawn: error {float(run.error[run.typical()]):.1%}; {len(turning)} points where an arm turns back")
plt.show()

# %% [markdown]
# ## Better charts, more dimensions
#
# Why is a plane spiral hard for a network of width 2? The answer of the paper is that the network does not have the
# right nonlinearity. With polar coordinates, or with more dimensions to work in, the task would be easy. Both are
# statements about how often training succeeds. So both are decided over many seeds.
#
# **Protocol**, fixed before the numbers. Success is 0.0 % error on all points. Every condition has the same seeds, the
# same points at random positions, and the same updates. The contrast is the difference of two shares of the same seeds
# with Newcombe's (1998) paired interval. The smallest effect of interest is 10 points.
#
# *Polar*, primary: polar − Cartesian, as printed. The angle of a point is in $(-\pi, \pi]$. It jumps along a ray, and
# cuts both arms there. Secondary is a chart of the *arms*: the angle unwound along the spiral. It needs the pitch of
# the spiral, which a network does not know. In it the arms are two parallel lines.
#
# *Width*, primary: width 8 − width 2, at the depth above. The paper speaks of a network that is given more dimensions:
# one change, and nothing is said of fewer layers. The points are padded with zeros to the width of the network,
# because a residual layer keeps its width.
#
# But a wider network also has more parameters, and they might be the reason. So there is a control: networks of each
# width with so few layers that they have about as many parameters as that of width 2. It is secondary, and says whether
# the dimension alone is enough.

# %%
plain = rl.Condition(depth=depth, points=points, updates=updates)
charts = {f"{chart} coordinates": replace(plain, chart=chart) for chart in ("polar", "unwound")}
wide = {f"width {w}, depth {depth}": replace(plain, width=w) for w in widths}
matched = {f"width {w}, depth {l}": replace(plain, width=w, depth=l) for w, l in zip(widths, shallow, strict=True)}
groups = {"plain": {f"width 2, depth {depth}": plain}, "charts": charts, "same depth": wide, "same parameters": matched}
named = {name: condition for group in groups.values() for name, condition in group.items()}
study = rl.study(named.values(), seeds=range(seeds), device=device)
size = {name: sum(p.numel() for p in condition.template().parameters()) for name, condition in named.items()}


# %%
def solved_under(condition):
    """Which seeds reach 0.0 % error under a condition, in their order; NaN where one diverged."""
    found = study.trained(condition)
    return np.where(found.error.isnan(), np.nan, found.solved)


rows = [(name, group, solved_under(condition) == 1) for group, of in groups.items() for name, condition in of.items()]
runs = pd.concat(
    pd.DataFrame({"condition": f"{name}, {size[name]} parameters", "group": group, "solved": each})
    for name, group, each in rows
)

# %%
save(section4.successes(shares(runs, ["condition", "group"])), "section4_charts_and_width")
plt.show()


# %%
def more_solved(condition, reference, what):
    """The contrast of success under a condition and under a reference, in points."""
    say = (f"{{}} more of the seeds solve with {what}", f"{{}} fewer of the seeds solve with {what}")
    return contrasts.share(solved_under(condition), solved_under(reference), delta=0.1, say=say)


polar = more_solved(charts["polar coordinates"], plain, "polar coordinates")
unwound = more_solved(charts["unwound coordinates"], plain, "the unwound chart")
on_arms = charts["unwound coordinates"].sample()
straight = LogisticRegression(C=1e6, max_iter=1000).fit(on_arms.x, on_arms.label).score(on_arms.x, on_arms.label)
success = labelled(shares(runs, ["condition"]), "solved, {condition}", ("share", "low", "high"))

# %% tags=["nbval-check-output"]
notebook.decide(
    "polar-easy",
    specifications.decide(polar),
    {
        **power.primary(polar, updates=updates),
        "largest difference that is possible": f"{100 * (1 - np.nanmean(solved_under(plain))):.0f} points",
        "secondary, the unwound chart − Cartesian": unwound.plain,
        "secondary, a linear classifier on the unwound points": straight,
        **{name: value for name, value in success.items() if "coordinates" in name or "width 2" in name},
    },
    protocol=f"{seeds} seeds, order 1, depth {depth}; success is 0.0 % error on all {points} points",
)

# %% tags=["nbval-check-output"]
widest = more_solved(wide[f"width {widths[-1]}, depth {depth}"], plain, f"width {widths[-1]} than with width 2")
beside = [("same depth", wide), ("same number of parameters", matched)]
secondary = {f"secondary, {kind}": {n: more_solved(c, plain, n).plain for n, c in of.items()} for kind, of in beside}
notebook.decide(
    "width-easier",
    specifications.decide(widest),
    {**power.primary(widest, updates=updates), **secondary, **success},
    protocol=f"{seeds} seeds, order 1, input padded with zeros; primary at depth {depth}, control with about as many "
    "parameters as width 2; success is 0.0 % error",
)

# %% [markdown]
# ## Locally Linear Embedding
#
# The paper says that Locally Linear Embedding (Roweis and Saul, 2000) finds the charts of a spiral with ease, because its nearest neighbours
# are a flexible nonlinearity. We take the one of scikit-learn, over neighbourhood sizes that span the useful range,
# and ask two questions. Can a linear classifier tell the arms apart in the embedding? Does a coordinate run along each
# arm, as that of a chart must? The method never sees a label.
#
# It writes each point as a combination of its neighbours, with weights $w$. The components are eigenvectors of
# $(1-w)^{\mathsf T}(1-w)$ with small eigenvalues. While every neighbourhood stays on its arm, the graph of neighbours
# falls into two pieces. Then two eigenvalues are zero, one for each piece: their eigenvectors are constant on each piece.
# The next two belong to one coordinate on each arm. They are equal where the arms are congruent, and near each other
# otherwise. Where eigenvalues are equal, only the space of their eigenvectors is defined, not each eigenvector.
#
# So the number of components matters (scikit-learn leaves out the first of the four vectors).
#
# - With one component, a constant on each piece, rounding decides what comes out.
# - With two there is no room for a coordinate on each arm.
# - With three the embedding ends after both pairs, and a gap follows, as the left panel shows.
#
# We take three, and pad the points with a zero to have three coordinates. All that is measured depends only on the space
# of the three components. Where the graph has more pieces, more eigenvalues are zero, and rounding decides even this
# space: there nothing counts as found.

# %%
cloud, label, position = (each.cpu().numpy() for each in (sample.x, sample.label, sample.position))


def embedding_of_arms(k):
    """The spectrum, and as a row of a table what an embedding with k neighbours finds."""
    near = embedding.neighbourhoods(cloud, k)
    piece = embedding.pieces(near)
    arms = piece.max() == 1 and len(set(zip(piece, label, strict=True))) == 2
    values, found = embedding.spectrum(cloud, near), embedding.charts(embedding.embedded(cloud, k, 3), label, position)
    defined = embedding.is_defined(values)
    measured = {name: value if defined else np.nan for name, value in asdict(found).items()}
    return values, {"neighbours": k, "arms": bool(arms), **measured, "found": defined and found.found}


# %%
spectra, quality = zip(*map(embedding_of_arms, neighbours), strict=True)
spectra, quality = np.maximum(spectra, 0), pd.DataFrame(quality)
gap = spectra[quality["arms"], 4] / spectra[quality["arms"], 3]
on_input = embedding.charts(cloud, label, position)
print(f"a linear classifier on the input itself: {on_input.accuracy:.3f}")
save(section4.embedding_quality(quality, spectra), "section4_lle")
plt.show()

# %% tags=["nbval-check-output"]
arms, found = quality["arms"], quality["found"]
least_gap = rules.order_of_magnitude(float(gap.min()), up=False)
when = "with three components, where neighbourhoods connect all points of an arm and no points of different arms"
notebook.decide(
    "lle-charts",
    rules.condition(int(found[arms].sum()), int(arms.sum()), int((~found[~arms]).sum()), int((~arms).sum()), when=when),
    {
        "neighbours": list(neighbours),
        "pieces of the graph are the arms": arms.tolist(),
        "accuracy of a linear classifier": quality["accuracy"].tolist(),
        "rank correlation with the position on the arm, worse arm": quality["correlation"].round(3).tolist(),
        "eigengap after the fourth eigenvalue, least ratio where they are": least_gap,
        "control, accuracy on the input": on_input.accuracy,
    },
    protocol="scikit-learn's LLE of the padded points, then logistic regression; found: no point misclassified, and "
    "rank correlation above 0.99 on both arms",
)

# %% [markdown]
# ## Near and far
#
# Two points of one class may be far apart in the input and near in the learned metric. Two points of different classes
# may be near in the input and far apart in the learned metric. The paper says it of networks that are well trained as
# classifiers. "May" asks for one case.
#
# The learned distance is the length of the shortest path, measured with $g$. It is hard to compute, but easy to bound.
# The *chord* is the straight distance between the two outputs. Eq. 13 says that a path is as long as its image, and no
# image is shorter than the chord. So the chord is a lower bound. Any *path* is an upper bound. We take the shortest
# one along the edges of a graph over the plane.
#
# **Protocol**. A network shows the statement where it has both kinds of pairs. The first is of one class, in the
# farthest quarter of all pairs at the input, and in the nearest quarter at the output. The second is of two classes,
# the other way round. The distance at the output is the Euclidean one, as in the paper: the chord. The networks tried
# are those at 0.0 % error. The same networks before training are the control.
#
# Beside it stands the same with the learned distance, where each bound counts against the statement: near is a path
# within the quarter of the shortest chords, far is a chord within the quarter of the longest paths.
#
# Secondary is an effect: do classes matter beyond the distance in the input? Pairs of two classes are compared with
# pairs of one class *at the same distance in the input*, in ten bins of it. The measure is the mean over the bins of
# $\log_2$ of the ratio of median learned distances. It is compared for each seed, trained against untrained.

# %%
stride = max(1, points // 200)
some = rl.Sample(sample.x[::stride], sample.label[::stride])
pairs, graph = Pairs.of(some), PlaneGraph(some.x, side=31)
learnt, rows = study.trained(plain), []
for i, s in enumerate(learnt.seeds[:pair_seeds]):
    for state, net in (("untrained", plain.template().redraw(s)), ("trained", learnt.network(s))):
        net = net.double().to(device).requires_grad_(False)
        chords = pairs.chords(net.coordinates(some.x)[-1])
        row = {"state": state, "seed": s, "value": matched_difference(pairs, chords), "solved": bool(learnt.solved[i])}
        row |= asdict(both := exchanged(pairs, chords, chords)) | {"shown": bool(both)}
        if i < path_seeds:
            paths = graph.paths(net[:], pairs)
            row |= {"shown by path": bool(exchanged(pairs, chords, paths)), "by path": matched_difference(pairs, paths)}
        rows.append(row)
near_and_far = pd.DataFrame(rows)

# %%
drawn = learnt.network(learnt.typical_seed).double().to(device)
chords, paths = pairs.chords(drawn.coordinates(some.x)[-1]), graph.paths(drawn[:], pairs)
kinds = pairs.same, ~pairs.same
both = [[torch.stack([pairs.distance, of], 1)[kind][::11] for kind in kinds] for of in (chords, paths)]
effects = near_and_far[["state", "seed", "value"]]
of_trained = effects.loc[effects["state"] == "trained", "value"]
percentile = int((of_trained <= matched_difference(pairs, chords)).mean() * 100)
title = f"run of median loss; percentile {percentile} in the right panel"
save(section4.near_far(*both, effects, title=title), "section4_near_far")
plt.show()

# %%
by_state = {state: near_and_far[near_and_far["state"] == state] for state in ("trained", "untrained")}
at_zero = by_state["trained"][by_state["trained"]["solved"]]


def count(rows, column="shown"):
    """How many of these networks show it, of those in which it was looked for."""
    return f"{int(rows[column].dropna().sum())} of {int(rows[column].notna().sum())}"


values = {name: near_and_far.pivot(index="seed", columns="state", values=name) for name in ("value", "by path")}
told = "in {} of seeds two classes are farther apart, against one class, than before training"
say = told, told.replace("farther", "less far")
of_classes = {name: contrasts.superiority(v["trained"], v["untrained"], say=say) for name, v in values.items()}
ratio = (2 ** effects.groupby("state")["value"].median()).to_dict()

# %% tags=["nbval-check-output"]
what = "both kinds of pairs are found, among networks at 0.0 % error,"
notebook.decide(
    "near-far",
    specifications.existence(int(at_zero["shown"].sum()), len(at_zero), what=what),
    {
        "all trained networks": count(by_state["trained"]),
        "control, untrained": count(by_state["untrained"]),
        "pairs of one class drawn together, median network at 0.0 % error": float(at_zero["drawn_together"].median()),
        "pairs of two classes pulled apart": float(at_zero["pulled_apart"].median()),
        "the same by bounds of the learned distance, networks at 0.0 % error": count(at_zero, "shown by path"),
        "control, untrained, by these bounds": count(by_state["untrained"], "shown by path"),
        "secondary, classes at the same input distance, chords": of_classes["value"].plain,
        "as statistics": of_classes["value"].statistics,
        "secondary, the same by paths": of_classes["by path"].plain,
        "learned distance of two classes over one, median network": ratio,
        "seeds": len(at_zero),
        "updates": updates,
    },
    protocol=f"{len(some)} points, all pairs; far and near are quarters of all pairs; paths in {path_seeds} networks",
)

# %% [markdown]
# The record counts the untrained networks that show the statement as well. So existence alone says little about
# training. The secondary line does: there pairs are compared at the same distance in the input, and with the same
# network before training.

# %%
from riemlib.companion.references import references

references(roweis_saul="Locally Linear Embedding", newcombe="the interval of a difference of paired shares")

# %%
notebook.closing({"near and far": learnt.typical_seed}, seed=seed, seeds=seeds, updates=updates)
