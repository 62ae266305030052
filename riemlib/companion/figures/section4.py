"""Section 4: fields of ellipses, true preimages, lengths layer by layer, ranks, and the studies of section 4's remarks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import PercentFormatter

from ...plot import CLASSES, GREY, as_array, class_colour, figure


def _closed(curve) -> np.ndarray:
    return np.concatenate([as_array(curve), as_array(curve)[:1]])


def _points(ax, sample, size: float = 2.0, **kwargs) -> None:
    x, label = as_array(sample.x), as_array(sample.label)
    for c in np.unique(label):
        ax.scatter(*x[label == c].T, s=size, color=class_colour(c), linewidths=0, **kwargs)


def ellipse_field(sample, outlines, cut, plane, volume, *, radius: float):
    """Left: balls of one radius at grid points of the input plane. Right: the volume density √det g that goes with them.

    `outlines` (n, k, 2), grey where `cut` (n,); `plane` (m, m, 2) a grid of input points and `volume` (m, m) the density there.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=4.1)
    left.add_collection(LineCollection(list(as_array(outlines)), colors=np.where(as_array(cut), "#999999", "k"), linewidths=0.7))
    plane = as_array(plane)
    mesh = right.pcolormesh(plane[..., 0], plane[..., 1], np.log10(as_array(volume)), cmap="cividis", shading="gouraud", rasterized=True)
    fig.colorbar(mesh, ax=right, shrink=0.85, label=r"$\log_{10}\sqrt{\det g}$")
    low, high = plane.min((0, 1)), plane.max((0, 1))
    for ax in (left, right):
        _points(ax, sample)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    left.set_title(f"balls of radius ds = {radius:g} (output units)")
    right.set_title("volume the network gives to the plane")
    return fig


def lengths(metric, euclidean, counts, errors):
    """Left: one curve's length at every layer, by the metric and by Euclid. Right: the error of chords against how many points they join.

    `metric`, `euclidean` (L + 1,); `errors` (L + 1, len(counts)), relative.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.1)
    layer = np.arange(len(metric))
    left.plot(layer, metric, color=CLASSES[0], marker="o", ms=4)
    left.plot(layer, euclidean, color=CLASSES[1], marker="s", ms=4, ls="--")
    left.set(xlabel="layer $l$", ylabel="length of one arm", xticks=layer, ylim=(0, None))
    left.text(layer[1], metric[1] * 0.97, r"by $g^{(l)}$", color=CLASSES[0], va="top")
    left.text(layer[0] + 0.3, euclidean[0] * 0.8, "by Euclid in layer $l$", color=CLASSES[1], va="top")
    for l, row in enumerate(errors):
        right.loglog(counts, row, color=str(0.75 * l / len(errors)), lw=0.8, marker=".", ms=3)
    guide = np.asarray(counts, dtype=float) ** -2
    right.loglog(counts, guide * errors[0][0] / guide[0] * 3, color=CLASSES[1], ls="--")
    right.text(counts[1], guide[1] * errors[0][0] / guide[0] * 4, "slope −2", color=CLASSES[1])
    right.set(xlabel="points on the curve", ylabel="relative error of the chords")
    right.set_xticks(counts, [str(c) for c in counts], minor=False)
    right.minorticks_off()
    right.set_title("every layer (black: input, grey: output)")
    return fig


def preimages(first: Sequence, true: Sequence, centre, radii: Sequence[float], swept, gaps: Mapping[str, np.ndarray]):
    """Left: ellipse and true preimage about one point. Right: how far they differ, relative to the radius, a line a point.

    `first[i]`, `true[i]` (k, 2) for radii[i]; `gaps` (points, len(swept)) for each network, and for the ellipse with the wrong axes.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.9)
    for ellipse, curve in zip(first, true, strict=True):
        left.plot(*_closed(ellipse).T, color=GREY, lw=0.9)
        left.plot(*_closed(curve).T, color=CLASSES[1], lw=1.3, ls="--")
    left.plot(*as_array(centre), "k+", ms=6)
    left.set(xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    listed = ", ".join(f"{r:g}" for r in radii)
    left.set_title(f"grey: ellipse of Eq. 13; dashed: true preimage\nsmall step, $\\varepsilon$ = {listed}")
    for (name, gap), colour in zip(gaps.items(), (CLASSES[0], CLASSES[1], "#999999"), strict=True):
        gap = as_array(gap)
        right.loglog(swept, gap.T, color=colour, lw=0.5, alpha=0.6)
        right.plot([], [], color=colour, label=name)
    right.axhline(0.1, color="k", lw=0.6, ls=":")
    right.set(xlabel=r"radius $\varepsilon$ at the output", ylabel=r"deviation / $\varepsilon$", ylim=(1e-9, 10))
    right.legend(loc="lower right")
    right.set_title("deviation of the ellipse, a line a point")
    return fig


def degenerate_directions(sample, plane, coordinate, centres, directions, *, bottleneck: int):
    """The one coordinate of a bottleneck over the input plane, and at `centres` the direction in which g is zero: along its level lines.

    `plane` (m, m, 2), `coordinate` (m, m), `directions` (n, 2) unit vectors.
    """
    fig, ((ax,),) = figure(1, 1, width=5.4, height=4.6)
    plane = as_array(plane)
    levels = ax.contourf(plane[..., 0], plane[..., 1], as_array(coordinate), levels=24, cmap="cividis")
    fig.colorbar(levels, ax=ax, shrink=0.85, label=f"$x^{{({bottleneck})}}$, the one coordinate of the bottleneck")
    half = 0.03 * as_array(directions)
    ends = np.stack([as_array(centres) - half, as_array(centres) + half], 1)
    ax.add_collection(LineCollection(list(ends), colors="w", linewidths=1.0))
    _points(ax, sample, 5.0)
    low, high = plane.min((0, 1)), plane.max((0, 1))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    return fig


def successes(counts: Mapping[str, tuple[int, int]], intervals: Mapping[str, tuple[float, float]], *, groups: Mapping[str, str]):
    """Share of seeds at 0.0 % error, a dot a condition with its interval; `groups` gives a condition's colour."""
    fig, ((ax,),) = figure(1, 1, width=6.4, height=0.5 + 0.34 * len(counts))
    for row, (name, (k, n)) in enumerate(counts.items()):
        low, high = intervals[name]
        ax.plot([low, high], [row, row], color=groups[name], lw=2)
        ax.plot(k / n, row, "o", color=groups[name], ms=6)
        ax.text(1.04, row, f"{k} of {n}", va="center")
    ax.set(yticks=range(len(counts)), xlim=(-0.02, 1.02), xlabel="seeds at 0.0 % error, with Wilson 95 % interval")
    ax.set_yticklabels(list(counts))
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    return fig


def neighbourhoods(sizes, accuracy: Mapping[str, Sequence[float]], order: Mapping[str, Sequence[float]], crossing: Sequence[bool]):
    """Left: accuracy of a linear classifier on the embedding. Right: how well it orders each arm. Shaded: neighbours across arms."""
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.2, sharex=True)
    first = next((size for size, crosses in zip(sizes, crossing, strict=True) if crosses), None)
    for ax, values in ((left, accuracy), (right, order)):
        if first is not None:
            ax.axvspan(first, max(sizes), color="#eeeeee", zorder=0)
        for i, ((name, row), marker) in enumerate(zip(values.items(), "osD", strict=False)):
            ax.plot(sizes, row, color=CLASSES[i], marker=marker, ms=3.5, label=name)
        ax.set(xscale="log", xlabel="neighbours $k$", ylim=(0, 1.05))
        ax.set_xticks(sizes[::2], [str(size) for size in sizes[::2]])
        ax.minorticks_off()
    left.set_ylabel("accuracy of a linear classifier")
    right.set_ylabel("rank correlation with position")
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(accuracy))
    return fig


def near_far(within, across, medians: Mapping[str, Mapping[str, np.ndarray]]):
    """Left: input against output distance of pairs in one network. Right: each seed's median log2 ratio, by kind of pair, trained or not.

    `within`, `across` (pairs, 2); `medians[state][kind]` (seeds,).
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.6)
    for pairs, colour, name in ((within, CLASSES[2], "one class"), (across, CLASSES[3], "two classes")):
        left.scatter(*as_array(pairs).T, s=2, color=colour, linewidths=0, alpha=0.5, rasterized=True)
        left.plot([], [], "o", color=colour, ms=4, label=name)
    left.set(xlabel="distance in the input", ylabel="distance at the output", xlim=(0, None), ylim=(0, None))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    offset = 0
    labels = []
    for state, kinds in medians.items():
        for (kind, values), colour in zip(kinds.items(), (CLASSES[2], CLASSES[3]), strict=True):
            jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
            right.scatter(offset + jitter, values, s=5, color=colour, linewidths=0)
            right.plot([offset - 0.3, offset + 0.3], [np.median(values)] * 2, color="k", lw=1.5)
            labels.append(f"{kind}\n{state}")
            offset += 1
    right.axhline(0, color=GREY, lw=0.7, ls=":")
    right.set_xticks(range(offset), labels, fontsize=7)
    right.set_ylabel("median log₂ of learned / input distance,\nrelative to the median pair")
    return fig


def curvature(plane, gaussian, *, title: str):
    """The Gaussian curvature over the input plane: `plane` (m, m, 2), `gaussian` (m, m)."""
    fig, ((ax,),) = figure(1, 1, width=4.6, height=3.8)
    plane, gaussian = as_array(plane), as_array(gaussian)
    top = np.abs(gaussian).max()
    mesh = ax.pcolormesh(plane[..., 0], plane[..., 1], gaussian, cmap="PuOr", vmin=-top, vmax=top, shading="gouraud", rasterized=True)
    fig.colorbar(mesh, ax=ax, shrink=0.85, label="Gaussian curvature $K$ (output units$^{-2}$)")
    ax.set(xlabel="$x^1$", ylabel="$x^2$", aspect="equal", title=title)
    return fig
