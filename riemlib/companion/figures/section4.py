"""Figures of section 4: fields of ellipses, true preimages, lengths layer by layer, curvature, and the studies of the section's remarks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from ...plot import CLASSES, GREY, NETWORKS, as_array, figure, scatter_classes
from . import described

LIGHT_GREY = "#999999"
PAIRS = {"one class": CLASSES[2], "two classes": CLASSES[3]}  # the colour of a pair of points, by how many classes it comes from


def ellipse_field(sample, outlines, cut, plane, volume, *, radius: float) -> Figure:
    """Left: balls of one radius at grid points of the input plane. Right: the volume density √det g at every point of the plane.

    `outlines` (n, k, 2) are grey where `cut` (n,) is true. `plane` (m, m, 2) is a grid of points, `volume` (m, m) the density there.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=4.1)
    colours = np.where(as_array(cut), LIGHT_GREY, "k")
    left.add_collection(LineCollection(list(as_array(outlines)), colors=colours, linewidths=0.7))
    plane = as_array(plane)
    density = np.log10(as_array(volume))
    mesh = right.pcolormesh(plane[..., 0], plane[..., 1], density, cmap="cividis", shading="gouraud", rasterized=True)
    fig.colorbar(mesh, ax=right, shrink=0.85, label=r"$\log_{10}\sqrt{\det g}$")
    for ax in (left, right):
        scatter_classes(ax, sample.x, sample.label, 2.0)
        _plane_axes(ax, plane)
    left.set_title(f"balls of radius ds = {radius:g} (output units)")
    right.set_title(r"volume density $\sqrt{\det g}$")
    alt = (
        f"The input plane with the two arms of the spiral. Left: {len(colours)} balls of radius {radius:g} on a grid, ellipses of very "
        f"different shape; {int(as_array(cut).sum())} too long for the grid are cut, in grey. Right: the volume density, log10 from "
        f"{density.min():.1f} to {density.max():.1f}, with dark curves where the network folds."
    )
    return described(fig, alt)


def lengths(metric, euclidean, counts: Sequence[int], errors) -> Figure:
    """Left: the length of one curve at every layer, by the metric and by Euclid. Right: the error of chords over the number of points.

    `metric`, `euclidean` (L + 1,); `errors` (L + 1, len(counts)), relative.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.1)
    layer = np.arange(len(metric))
    left.plot(layer, metric, color=CLASSES[0], marker="o", ms=4)
    left.plot(layer, euclidean, color=CLASSES[1], marker="s", ms=4, ls="--")
    left.set(xlabel="layer $l$", ylabel="length of one arm", xticks=layer, ylim=(0, None))
    left.text(layer[1], metric[1] * 0.97, r"by $g^{(l)}$", color=CLASSES[0], va="top")
    left.text(layer[0] + 0.3, euclidean[0] * 0.8, "Euclidean, in layer $l$", color=CLASSES[1], va="top")
    for l, values in enumerate(errors):
        right.loglog(counts, values, color=str(0.75 * l / len(errors)), lw=0.8, marker=".", ms=3)
    slope = 3 * errors[0][0] * (counts[0] / np.asarray(counts, dtype=float)) ** 2
    right.loglog(counts, slope, color=CLASSES[1], ls="--")
    right.text(counts[1], 1.35 * slope[1], "slope −2", color=CLASSES[1])
    right.set(xlabel="points on the curve", ylabel="relative error of the chords")
    right.set_xticks(counts, [str(count) for count in counts], minor=False)
    right.minorticks_off()
    right.set_title("one line per layer (black: input, grey: output)")
    alt = (
        f"Left: the length of one arm is {float(metric[0]):.3g} by the metric at every layer; its Euclidean length goes from "
        f"{float(euclidean[0]):.3g} to {float(euclidean[-1]):.3g}. Right: the error of chords falls as the square of the number of points, "
        "at every layer."
    )
    return described(fig, alt)


def preimages(first: Sequence, true: Sequence, centre, radii: Sequence[float], gaps: pd.DataFrame) -> Figure:
    """Left: ellipse and true preimage about one point. Right: how far they differ, relative to the radius, one line per point.

    `first[i]`, `true[i]` (k, 2) belong to radii[i]. `gaps` has the columns network, point, radius, gap.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.9)
    for ellipse, curve in zip(first, true, strict=True):
        left.plot(*_closed(ellipse).T, color=GREY, lw=0.9)
        left.plot(*_closed(curve).T, color=CLASSES[1], lw=1.3, ls="--")
    left.plot(*as_array(centre), "k+", ms=6)
    left.set(xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    every = ", ".join(f"{radius:g}" for radius in radii)
    left.set_title(f"grey: ellipse of Eq. 13; dashed: true preimage\nsmall step, $\\varepsilon$ = {every}")
    for (name, table), colour in zip(gaps.groupby("network", sort=False), (*CLASSES[:2], LIGHT_GREY), strict=True):
        by_point = table.pivot(index="radius", columns="point", values="gap")
        right.loglog(by_point.index, by_point, color=colour, lw=0.5, alpha=0.6)
        right.plot([], [], color=colour, label=name)
    right.axhline(0.1, color="k", lw=0.6, ls=":")
    right.set(xlabel=r"radius $\varepsilon$ at the output", ylabel=r"deviation / $\varepsilon$", ylim=(1e-9, 10))
    right.legend(loc="lower right")
    right.set_title("deviation of the ellipse, one line per point")
    ends = gaps.loc[gaps["radius"] == gaps["radius"].min()].groupby("network", sort=False)["gap"].median()
    alt = (
        "Left: ellipse of Eq. 13 and true preimage about one point for the radii "
        f"{every}; they part as the "
        "radius grows. Right: their deviation over the radius, which goes to zero with it. Medians at the least radius: "
        + "; ".join(f"{name}: {gap:.1g}" for name, gap in ends.items())
        + "."
    )
    return described(fig, alt)


def degenerate_directions(sample, plane, coordinate, centres, directions, *, bottleneck: int) -> Figure:
    """The one coordinate of a bottleneck over the input plane, and at `centres` the direction in which g is zero.

    `plane` (m, m, 2); `coordinate` (m, m); `directions` (n, 2), unit vectors; `bottleneck` is the number of the layer.
    """
    fig, ((ax,),) = figure(1, 1, width=5.4, height=4.6)
    plane = as_array(plane)
    levels = ax.contourf(plane[..., 0], plane[..., 1], as_array(coordinate), levels=24, cmap="cividis")
    fig.colorbar(levels, ax=ax, shrink=0.85, label=f"$x^{{({bottleneck})}}$, the one coordinate of the bottleneck")
    half = 0.03 * as_array(directions)
    ends = np.stack([as_array(centres) - half, as_array(centres) + half], 1)
    ax.add_collection(LineCollection(list(ends), colors="w", linewidths=1.0))
    scatter_classes(ax, sample.x, sample.label, 5.0)
    _plane_axes(ax, plane)
    alt = (
        f"The one coordinate of the bottleneck, layer {bottleneck}, as colours over the input plane with the spiral. Short "
        "white lines, the "
        "directions in which the metric is zero, follow its level lines."
    )
    return described(fig, alt)


def successes(table: pd.DataFrame) -> Figure:
    """The share of seeds at 0.0 % error for each condition, with its interval: columns condition, chart, share, low, high, count, n."""
    fig, ((ax,),) = figure(1, 1, width=6.4, height=0.5 + 0.34 * len(table))
    colour = np.where(table["chart"] == "cartesian", NETWORKS["C1"], CLASSES[2])
    y = np.arange(len(table))
    ax.hlines(y, table["low"], table["high"], colors=colour, lw=2)
    ax.scatter(table["share"], y, s=36, c=colour, linewidths=0, zorder=3)
    for height, count, n in zip(y, table["count"], table["n"], strict=True):
        ax.text(1.04, height, f"{count} of {n}", va="center")
    ax.set_yticks(y, table["condition"])
    ax.set(xlim=(-0.02, 1.02), xlabel="seeds at 0.0 % error, with Wilson's 95 % interval")
    ax.margins(y=0.1)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    counts = zip(table["condition"], table["count"], table["n"], strict=True)
    alt = f"Seeds at 0.0 % error: {'; '.join(f'{condition} {count} of {n}' for condition, count, n in counts)}."
    return described(fig, alt)


def embedding_quality(table: pd.DataFrame) -> Figure:
    """Embeddings by their neighbourhoods. Left: accuracy of a linear classifier. Right: how well a coordinate orders each arm.

    `table` has the columns components, neighbours, accuracy, correlation, crossing (a neighbourhood reaches the other arm).
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.2, sharex=True)
    sizes = sorted(table["neighbours"].unique())
    crossing = table.loc[table["crossing"], "neighbours"]
    handles = []
    for ax, column in ((left, "accuracy"), (right, "correlation")):
        if len(crossing):
            ax.axvspan(crossing.min(), crossing.max(), color="#eeeeee", zorder=0)
        styles = zip(CLASSES, ("-", "--"), (6, 3), strict=False)  # two curves that coincide in places
        for (count, values), (colour, style, size) in zip(table.groupby("components"), styles, strict=False):
            label = f"{count} component{'s' * (count > 1)}"
            handles += ax.plot("neighbours", column, style, data=values, color=colour, marker="o", ms=size, label=label)
        ax.set(xscale="log", xlabel="neighbours $k$", ylim=(-0.05, 1.05))
        ax.set_xticks(sizes[::2], [str(size) for size in sizes[::2]])
        ax.minorticks_off()
    left.set_ylabel("accuracy of a linear classifier")
    right.set_ylabel("rank correlation with position")
    shaded = Patch(color="#eeeeee", label="a neighbourhood reaches the other arm")
    fig.legend(handles=[*handles[: len(handles) // 2], shaded], loc="outside upper center", ncols=3)
    best = table.groupby("components")[["accuracy", "correlation"]].max()
    alt = (
        "Embeddings by the number of neighbours. Left: accuracy of a linear classifier. Right: rank correlation with the "
        "position on the arm. "
        + " ".join(f"Best with {row.Index} components: {row.accuracy:.2f} and {row.correlation:.2f}." for row in best.itertuples())
        + " Shaded: neighbourhoods that reach the other arm."
    )
    return described(fig, alt)


def near_far(within, across, ratios: pd.DataFrame) -> Figure:
    """Left: distance in the input and at the output, for pairs of points in one network. Right: one dot per network.

    `within`, `across` (pairs, 2) hold the distances of pairs of one class and of two classes. `ratios` has the columns state, pairs and
    value, the median log2 ratio over the pairs.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.6)
    for distances, (name, colour) in zip((within, across), PAIRS.items(), strict=True):
        left.scatter(*as_array(distances).T, s=2, color=colour, linewidths=0, alpha=0.5, rasterized=True)
        left.plot([], [], "o", color=colour, ms=4, label=name)
    left.set(xlabel="distance in the input", ylabel="distance at the output", xlim=(0, None), ylim=(0, None))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    labels = []
    for place, ((state, pairs), values) in enumerate(ratios.groupby(["state", "pairs"], sort=False)["value"]):
        jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
        right.scatter(place + jitter, values, s=5, color=PAIRS[pairs.split(",")[0]], linewidths=0)
        right.plot([place - 0.3, place + 0.3], [values.median()] * 2, color="k", lw=1.5)
        labels.append(f"{pairs}\n{state}")
    right.axhline(0, color=GREY, lw=0.7, ls=":")
    right.set_xticks(range(len(labels)), labels, fontsize=7)
    right.set_ylabel("median log₂ of learned / input distance,\nrelative to the median pair")
    middles = ratios.groupby(["state", "pairs"], sort=False)["value"].median()
    alt = (
        "Left: distance at the output against distance in the input, for pairs of one class and of two classes. Right: log2 "
        "ratio of learned "
        "to input distance, a dot for each network. Medians: "
        + "; ".join(f"{pairs} {state}: {value:.1f}" for (state, pairs), value in middles.items())
        + "."
    )
    return described(fig, alt)


def curvature(plane, gaussian, *, title: str) -> Figure:
    """The Gaussian curvature over the input plane: `plane` (m, m, 2), `gaussian` (m, m)."""
    fig, ((ax,),) = figure(1, 1, width=4.6, height=3.8)
    plane, gaussian = as_array(plane), as_array(gaussian)
    top = np.abs(gaussian).max()
    mesh = ax.pcolormesh(plane[..., 0], plane[..., 1], gaussian, cmap="PuOr", vmin=-top, vmax=top, shading="gouraud", rasterized=True)
    fig.colorbar(mesh, ax=ax, shrink=0.85, label="Gaussian curvature $K$ (output units$^{-2}$)")
    ax.set(xlabel="$x^1$", ylabel="$x^2$", aspect="equal", title=title)
    alt = f"Gaussian curvature over the input plane, {title}: from {gaussian.min():.2g} to {gaussian.max():.2g}."
    return described(fig, alt)


def _closed(curve) -> np.ndarray:
    return np.concatenate([as_array(curve), as_array(curve)[:1]])


def _plane_axes(ax: Axes, plane: np.ndarray) -> None:
    """Square axes that show just this grid (m, m, 2) of the input plane."""
    low, high = plane.min((0, 1)), plane.max((0, 1))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
