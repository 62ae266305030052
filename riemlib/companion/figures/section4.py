"""Figures of section 4: fields of ellipses, lengths, true preimages, the remarks on dimension and charts, near and far, curvature."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator, PercentFormatter
from scipy.ndimage import label

from ...plot import CLASSES, GREY, as_array, canvas, figure, scatter_classes
from . import described

LIGHT_GREY = "#999999"
PAIRS = {"one class": CLASSES[2], "two classes": CLASSES[3]}  # the colour of a pair of points, by how many classes it comes from


def ellipse_field(sample, outlines, cut, plane, volume, *, title: str) -> Figure:
    """Ellipses at grid points of the input plane, over the volume density √det g.

    `outlines` (n, k, 2) are grey where `cut` (n,) is true. `plane` (m, m, 2) is a grid of points, `volume` (m, m) the density there.
    """
    fig, ((ax,),) = figure(1, 1, width=6.4, height=5.6)
    plane, density = as_array(plane), np.log10(as_array(volume))
    limits = {"vmin": max(density.min(), min(-2.0, density.max() - 3)), "vmax": density.max()}
    half = (plane[0, 1, 0] - plane[0, 0, 0]) / 2
    low, high = plane.min((0, 1)) - half, plane.max((0, 1)) + half
    extent = (low[0], high[0], low[1], high[1])
    shown = ax.imshow(density, cmap="cividis", origin="lower", extent=extent, interpolation="bilinear", **limits)
    fig.colorbar(shown, ax=ax, shrink=0.85, extend="min", label=r"volume density $\log_{10}\sqrt{\det g}$")
    colours = np.where(as_array(cut), LIGHT_GREY, "k")
    ax.add_collection(LineCollection(list(as_array(outlines)), colors=colours, linewidths=0.8))
    scatter_classes(ax, sample.x, sample.label, 2.5)
    _plane_axes(ax, plane)
    ax.set_title(title)
    alt = (
        f"The input plane with the two arms of the spiral. {title}: {len(colours)} ellipses of very different shape, "
        f"{int(as_array(cut).sum())} of them cut, in grey. Behind them the volume density, log10 from "
        f"{density.min():.1f} to {density.max():.1f}, with dark curves where the network folds."
    )
    return described(fig, alt)


def lengths(metric, euclidean, counts: Sequence[int], errors) -> Figure:
    """Left: the length of one curve at every layer, by the metric and by Euclid. Right: the error of chords over the number of points.

    `metric`, `euclidean` (L + 1,); `errors` (L + 1, len(counts)), relative.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.1)
    layer = np.arange(len(metric))
    left.plot(layer, metric, color=CLASSES[0], marker="o", ms=4, label=r"by $g^{(l)}$")
    left.plot(layer, euclidean, color=CLASSES[1], marker="s", ms=4, ls="--", label="Euclidean, in layer $l$")
    left.set(xlabel="layer $l$", ylabel="length of one arm", xticks=layer, ylim=(0, None))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
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


def preimages(first: Sequence, true: Sequence, centre, radii: Sequence[float], several: "Components", gaps: pd.DataFrame) -> Figure:
    """Ellipse and true preimage of one ball; all components of the preimage of another; how far ellipses are off, against a prediction.

    `first[i]`, `true[i]` (k, 2) belong to radii[i]. `gaps` has the columns map, predicted, gap: both over the radius.
    """
    fig, ((left, middle, right),) = figure(1, 3, width=9.6, height=3.7)
    for ellipse, curve in zip(first, true, strict=True):
        left.plot(*_closed(ellipse).T, color=GREY, lw=0.9)
        left.plot(*_closed(curve).T, color=CLASSES[1], lw=1.3, ls="--")
    left.plot(*as_array(centre), "k+", ms=6)
    left.set(xlabel="$x^1$", ylabel="$x^2$")
    left.set_aspect("equal", adjustable="datalim")
    every = ", ".join(f"{radius:g}" for radius in radii)
    left.set_title(f"grey: ellipse of Eq. 13; dashed: true\nsmall step, $\\varepsilon$ = {every}")
    count = several.draw(middle)
    for (name, table), colour in zip(gaps.groupby("map", sort=False), (*CLASSES, LIGHT_GREY), strict=False):
        right.loglog(table["predicted"], table["gap"], ".", ms=2.5, color=colour)
        right.plot([], [], "o", ms=4, color=colour, label=name)
    ends = np.array([1e-8, 10.0])
    right.loglog(ends, ends, color="k", lw=0.8, zorder=0)
    right.axhline(0.1, color="k", lw=0.6, ls=":")
    right.set(xlabel=r"$\frac{1}{2}\varepsilon\,\max_u\|D^2F[J^{-1}u, J^{-1}u]\|$", ylabel=r"deviation / $\varepsilon$")
    right.set(xlim=ends, ylim=(1e-9, 1e4))
    right.legend(loc="upper left", fontsize=7, handletextpad=0.1, borderaxespad=0.1)
    right.set_title("deviation of the ellipse,\na dot for each point and radius")
    alt = (
        f"Left: ellipse of Eq. 13 and true preimage about one point for the radii {every}; they part as the radius grows. Middle: the "
        f"preimage of one ball by the trained network falls into {count} components in the square. Right: the deviation of the ellipse "
        "over the radius lies on the line that the second derivative predicts, but for the control."
    )
    return described(fig, alt)


class Components:
    """The preimage of one ball at the output, all its components: `plane` (m, m, 2), and the distance at the output there, (m, m).

    `sample` are points to draw with it.
    """

    def __init__(self, plane, distance, centre, radius: float, sample):
        self.plane, self.distance, self.centre, self.radius = as_array(plane), as_array(distance), as_array(centre), radius
        self.sample = sample

    def labels(self) -> np.ndarray:
        """Of each point of the plane the number of its component; 0 outside, 1 for the component that holds the centre."""
        found = label(self.distance <= self.radius, structure=np.ones((3, 3)))[0]
        nearest = np.square(self.plane - self.centre).sum(-1) + np.where(found > 0, 0, np.inf)
        own = found.ravel()[nearest.argmin()] if (found > 0).any() else 0
        return np.where(found == own, 1, np.where(found > 0, found + 1, 0)) * (found > 0)

    def draw(self, ax: Axes) -> int:
        """Draws them, and returns how many there are."""
        labels = self.labels()
        colours = np.where(labels == 1, 1.0, np.where(labels > 1, 2.0, np.nan))
        ax.pcolormesh(*np.moveaxis(self.plane, -1, 0), colours, cmap=ListedColormap([CLASSES[2], GREY]), vmin=1, vmax=2, rasterized=True)
        scatter_classes(ax, self.sample.x, self.sample.label, 0.7, alpha=0.5, zorder=0)
        ax.plot(*self.centre, "k+", ms=9)
        _plane_axes(ax, self.plane)
        ax.set_ylabel("")
        count = len(np.unique(labels[labels > 0]))
        ax.set_title(f"trained: the preimage of one ball\nhas {count} components; green: that of +")
        return count


def degenerate_directions(sample, plane, coordinate, centres, directions, turning, *, bottleneck: int) -> Figure:
    """The one coordinate of a bottleneck over the input plane, and at `centres` the direction in which g is zero.

    `plane` (m, m, 2); `coordinate` (m, m); `directions` (n, 2), unit vectors; `turning` (k, 2), points of the arms whose tangent has this
    direction; `bottleneck` is the number of the layer.
    """
    fig, ((ax,),) = figure(1, 1, width=5.4, height=4.6)
    plane = as_array(plane)
    levels = ax.contourf(plane[..., 0], plane[..., 1], as_array(coordinate), levels=24, cmap="cividis")
    fig.colorbar(levels, ax=ax, shrink=0.85, label=f"$x^{{({bottleneck})}}$, the one coordinate of the bottleneck")
    half = 0.03 * as_array(directions)
    ends = np.stack([as_array(centres) - half, as_array(centres) + half], 1)
    ax.add_collection(LineCollection(list(ends), colors="w", linewidths=1.0))
    scatter_classes(ax, sample.x, sample.label, 5.0)
    ax.plot(*as_array(turning).T, "o", ms=7, mfc="none", mec="w", mew=1.5)
    _plane_axes(ax, plane)
    ax.set_title("rings: here an arm runs along a white line")
    alt = (
        f"The one coordinate of the bottleneck, layer {bottleneck}, as colours over the input plane with the spiral. Short "
        "white lines, the "
        f"directions in which the metric is zero, follow its level lines. At {len(turning)} points, ringed, an arm runs along one."
    )
    return described(fig, alt)


def successes(table: pd.DataFrame) -> Figure:
    """The share of seeds at 0.0 % error for each condition, with its interval: columns condition, group, share, low, high, count, n."""
    fig, ((ax,),) = figure(1, 1, width=6.8, height=0.6 + 0.32 * len(table))
    groups = list(table["group"].unique())
    colour = [CLASSES[groups.index(group)] for group in table["group"]]
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


def embedding_quality(table: pd.DataFrame, spectra) -> Figure:
    """Embeddings by their neighbourhoods. Left: the least eigenvalues. Right: accuracy of a linear classifier, and order along each arm.

    `table` has the columns neighbours, accuracy, correlation, arms (whether the pieces of the graph are the arms); `spectra`
    (rows, eigenvalues). The embedding of three components ends between the fourth and the fifth eigenvalue.
    """
    fig, ((left, right),) = figure(1, 2, width=8.6, height=3.5, sharex=True)
    sizes = list(table["neighbours"])
    values = np.maximum(as_array(spectra), 1e-17)
    shades = ("#bbbbbb", "#bbbbbb", CLASSES[0], CLASSES[0], CLASSES[1], CLASSES[1])
    for i, (line, colour) in enumerate(zip(values.T, shades, strict=False)):
        left.semilogy(sizes, line, marker="os^Dv<"[i], ms=4, color=colour, lw=0.9, label=f"$\\lambda_{i + 1}$")
    left.set(ylabel="least eigenvalues", xlabel="neighbours $k$")
    left.set_ylim(3e-18, 1e-1)
    left.legend(ncols=3, loc="upper left", fontsize=7)
    for column, colour, size, label_ in (("accuracy", "k", 6, "accuracy of a linear classifier"), ("correlation", CLASSES[2], 4, "order")):
        right.plot(sizes, table[column], marker="o", ms=size, color=colour, label=label_)
    right.set(xscale="log", xlabel="neighbours $k$", ylim=(-0.05, 1.05))
    for ax in (left, right):
        ax.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
        ax.minorticks_off() if ax is right else ax.xaxis.set_minor_locator(NullLocator())
        for place, good in zip(sizes, table["arms"], strict=True):
            if not good:
                ax.axvline(place, color="#eeeeee", lw=9, zorder=0)
    handles = [*right.get_legend_handles_labels()[0], Patch(color="#eeeeee")]
    names = ["accuracy of a linear classifier", "rank correlation with the position", "the graph's pieces are not the two arms"]
    fig.legend(handles, names, loc="outside upper center", ncols=3)
    rows = "; ".join(f"k = {row.neighbours}: {row.accuracy:.2f} and {row.correlation:.2f}" for row in table.itertuples())
    alt = f"Left: the least eigenvalues by the number of neighbours. Right: accuracy and order along the arms. {rows}."
    return described(fig, alt)


def near_far(chords: Sequence, paths: Sequence, effects: pd.DataFrame, *, title: str) -> Figure:
    """Pairs of one network: chord and path against the distance in the input. Right: one dot per network.

    `chords`, `paths`: two of (pairs, 2) each, of one class and of two. `effects` has the columns state and value, the log2 ratio at matched
    distance.
    """
    fig, ((first, second, right),) = figure(1, 3, width=9.6, height=3.6, gridspec_kw={"width_ratios": (1, 1, 0.8)})
    for ax, panel, name in ((first, chords, "chord at the output"), (second, paths, "shortest path found, in $g$")):
        for distances, (pair, colour) in zip(panel, PAIRS.items(), strict=True):
            ax.scatter(*as_array(distances).T, s=2, color=colour, linewidths=0, alpha=0.5, rasterized=True)
            ax.plot([], [], "o", color=colour, ms=4, label=pair)
        ax.set(xlabel="distance in the input", ylabel=name, xlim=(0, None), ylim=(0, None))
    second.set_ylim(first.get_ylim() if first.get_ylim()[1] > second.get_ylim()[1] else second.get_ylim())
    first.set_ylim(second.get_ylim())
    first.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    second.set_title(title, fontsize=8)
    labels = []
    for place, (state, values) in enumerate(effects.groupby("state", sort=False)["value"]):
        jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
        right.scatter(place + jitter, values, s=5, color=PAIRS["two classes"], linewidths=0, alpha=0.6)
        right.plot([place - 0.35, place + 0.35], [values.median()] * 2, color="k", lw=1.5)
        labels.append(state)
    right.axhline(0, color=GREY, lw=0.7, ls=":")
    right.set_xticks(range(len(labels)), labels)
    right.set_xlim(-0.6, len(labels) - 0.4)
    right.set_ylabel("two classes over one class, log₂,\nat the same distance in the input")
    middles = effects.groupby("state", sort=False)["value"].median()
    alt = (
        "Left and middle: chord at the output and shortest path in the learned metric against distance in the input, for pairs of one "
        f"class and of two, in one network ({title}). Right: how much farther apart two classes are than one at the same input distance, a "
        f"dot for each network. Medians: {'; '.join(f'{state} {value:.2f}' for state, value in middles.items())}."
    )
    return described(fig, alt)


def curved_surface(image, gaussian, *, title: str) -> Figure:
    """The image of the plane in three dimensions, coloured by its Gaussian curvature: `image` (m, m, 3), `gaussian` (m, m)."""
    fig = canvas(5.6, 4.4)
    ax = fig.add_subplot(projection="3d")
    image, gaussian = as_array(image), as_array(gaussian)
    top = np.quantile(np.abs(gaussian), 0.98)
    colours = ScalarMappable(Normalize(-top, top), "PuOr")
    ax.plot_surface(
        *np.moveaxis(image, -1, 0), facecolors=colours.to_rgba(gaussian), rstride=1, cstride=1, shade=False, linewidth=0, antialiased=False
    )
    fig.colorbar(colours, ax=ax, shrink=0.7, pad=0.12, label="Gaussian curvature (output units$^{-2}$)", extend="both")
    ax.set(xlabel="$y^1$", ylabel="$y^2$", zlabel="$y^3$", title=title)
    ax.tick_params(labelsize=6)
    alt = (
        f"The image of a square in three dimensions, {title}, coloured by Gaussian curvature: {gaussian.min():.2g} to {gaussian.max():.2g}."
    )
    return described(fig, alt)


def parallel_frames(sample, at, frames, images, image_frames, *, title: str) -> Figure:
    """A parallel frame in the input plane, and its image, the constant frame at the output.

    `at`, `images` (n, 2); `frames`, `image_frames` (n, 2, 2), vectors in columns. In the input each vector is drawn with one length.
    """
    fig, axes = figure(1, 2, width=8.6, height=4.0)
    x, y = sample
    for ax, points, where, vectors in zip(axes[0], (x, y), (at, images), (frames, image_frames), strict=True):
        where, vectors = as_array(where), as_array(vectors)
        scatter_classes(ax, points.x, points.label, 2.0)
        size = 0.055 * np.ptp(as_array(points.x), axis=0).max()
        for a, colour in enumerate((CLASSES[2], "k")):
            v = vectors[:, :, a]
            v = size * v / np.linalg.norm(v, axis=1, keepdims=True)
            ax.quiver(*where.T, *v.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.005)
        ax.set_aspect("equal", adjustable="datalim")
    axes[0, 0].set(xlabel="$x^1$", ylabel="$x^2$", title=f"{title},\neach vector drawn with one length")
    axes[0, 1].set(xlabel="$y^1$", ylabel="$y^2$", title="the same frame at the output\n(green: first vector, black: second)")
    alt = f"{title}: {len(as_array(at))} points of the spiral with two arrows each. At the output all frames are the same."
    return described(fig, alt)


def _closed(curve) -> np.ndarray:
    return np.concatenate([as_array(curve), as_array(curve)[:1]])


def _plane_axes(ax: Axes, plane: np.ndarray) -> None:
    """Square axes that show just this grid (m, m, 2) of the input plane."""
    low, high = plane.min((0, 1)), plane.max((0, 1))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
