"""Figures 2 to 4: a spiral carried through the layers of a network, with trajectories and balls."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter
from scipy.spatial import cKDTree
from torch import Tensor

from ... import curves
from ...data import Sample
from ...metric import Geometry, pushforward
from ...networks import CkNetwork
from ...plot import GREY, NETWORKS, as_array, canvas, class_colour, figure, hyperplane, layer_grid, outlines, scatter_classes, square_limits
from . import described, listed

TURNED = "#f3cfe0"  # where orientation is reversed: a light form of section 2's colour
MANY = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#8C564B", "#7F7F7F")  # a colour for each numbered centre

SHADE = "#d9d9d9"  #: of what belongs to no class


def layers(net, sample, *, curve=None, shown: Sequence[int] | None = None, title: str = ""):
    """Figure 4: one panel per layer, or for each of the layers `shown`. At the last layer, the line where the readout is undecided.

    `curve`: a dense sample, drawn as lines.
    """
    shown = range(len(net.weights) + 1) if shown is None else shown
    fig, axes = layer_grid(len(shown) + 1, columns=4)
    _panels(axes, net, sample, curve, 2.5, shown)
    _legend(axes[-1], sample.label)
    fig.suptitle(title)
    alt = (
        f"{title}. One panel for each layer from 0 to {len(net.weights)}: the two arms of the spiral in the coordinates of "
        "that layer, in two "
        "colours. In the last a dashed line shows where the readout is undecided."
    )
    return described(fig, alt)


def untangling(net, sample, *, curve, particles: int = 8, title: str = ""):
    """Figure 2: one panel per layer, and below them each coordinate of some points of each class against the layer.

    `curve` is a dense sample, drawn as lines. Where the images of its two arms cross, there is a ×. If they cross at no layer, but come
    close, an inset shows where. The coordinates below are those from the centre of a layer's picture over its diameter.
    """
    images = np.stack([as_array(x) for x in net.coordinates(sample.x)])  # (L + 1, n, 2)
    followed = [arm[np.linspace(0, len(arm) - 1, particles).round().astype(int)] for arm in _points_of_classes(sample)]
    upper, lower = (fig := canvas(8.4, 8.6)).subfigures(2, 1, height_ratios=(3, 1.15))
    grid = [*upper.subplots(-(-(len(images) + 1) // 4), 4).flat]
    _panels(grid, net, sample, curve, 2.0, range(len(images)))
    for ax, x in zip(grid, images, strict=False):
        for c, points in enumerate(followed):
            ax.scatter(*x[points].T, s=14, color=class_colour(c), edgecolors="k", linewidths=0.5, zorder=3)
    counts = _crossings(grid, net, curve)
    handles = [Line2D([], [], marker="o", ls="", ms=4, mfc="w", mec="k", label="particle followed below")]
    handles += [Line2D([], [], marker="x", ls="", ms=5, color="k", label="arms cross")] if any(counts) else []
    _legend(grid[len(images)], sample.label, *handles)
    for ax in grid[len(images) + 1 :]:
        ax.set_visible(False)
    if not any(counts):
        _nearest(grid, net, curve)
    _trajectories(lower.subplots(1, images.shape[2]), images, followed)
    lower.suptitle("trajectories of the outlined particles, over the diameter of each layer's picture", fontsize=9)
    fig.suptitle(title)
    alt = (
        f"{title}. One panel for each layer from 0 to {len(net.weights)}: the two arms of the spiral in the coordinates of that layer, in "
        "two colours; in the last a dashed line shows where the readout is undecided. Crossings of the arms by layer: "
        f"{', '.join(map(str, counts))}. Below: both coordinates of {particles} outlined points of each class against the layer."
    )
    return described(fig, alt)


def _trajectories(axes, images: np.ndarray, followed: Sequence[np.ndarray]) -> None:
    """Each coordinate of the points `followed` of each class against the layer, in pictures of one size about one centre."""
    centres = (images.max(1) + images.min(1)) / 2
    size = as_array(curves.diameter(torch.as_tensor(images)))
    moved = (images - centres[:, None]) / size[:, None, None]
    for a, ax in enumerate(axes):
        for c, points in enumerate(followed):
            ax.plot(moved[:, points, a], color=class_colour(c), lw=0.9, marker="o", ms=2)
        ax.set(xlabel="layer $l$", ylabel=f"coordinate {a + 1}", xticks=range(0, len(images), 2))


def _crossings(axes, net, curve: Sample) -> list[int]:
    """Marks where the images of the two arms cross at each layer, writes their number into the title of the panel, and returns them."""
    arms, counts = curves.arms(curve.x, curve.label), []
    for l in range(len(net.weights) + 1):
        at = curves.crossing_points(lambda x, l=l: net.coordinates(x)[l], *arms)
        counts.append(len(at))
        if len(at):
            axes[l].plot(*at.T, "kx", ms=5, mew=1.2, zorder=4)
            axes[l].set_title(f"layer {l}: {len(at)} crossing{'s' * (len(at) > 1)}")
    return counts


def _nearest(axes, net, curve: Sample) -> None:
    """An inset at the layer, past the input, at which the arms come closest for its size: the curves there, sampled more finely.

    None where it would show them less than three times as large.
    """
    arms = curves.arms(curve.x, curve.label)
    images = [[as_array(x) for x in net.coordinates(arm)] for arm in arms]
    found = []
    for l in range(1, len(images[0])):
        away, number = cKDTree(images[1][l]).query(images[0][l])
        size = np.ptp(np.concatenate([images[0][l], images[1][l]]), axis=0).max()
        found.append((away.min() / size, l, int(away.argmin()), int(number[away.argmin()])))
    _, l, *at = min(found)
    ax, t = axes[l], torch.linspace(0, 1, 2001, dtype=curve.x.dtype)[:, None]
    others = []
    for arm, i in zip(arms, at, strict=True):
        near = arm[max(i - 20, 0) : i + 21]
        where = t[:, 0] * (len(near) - 1)
        k = where.floor().long().clamp(max=len(near) - 2)
        fine = near[k] + (where - k)[:, None] * (near[k + 1] - near[k])
        others.append(as_array(net.coordinates(fine)[l]))
    away, number = cKDTree(others[1]).query(others[0])
    centre = (others[0][away.argmin()] + others[1][number[away.argmin()]]) / 2
    half = max(3 * away.min(), 1e-9)
    zoom = np.diff(ax.get_xlim())[0] * 0.42 / (2 * half)
    if zoom < 3:
        return
    inset = ax.inset_axes([*_emptiest(ax, np.concatenate([images[0][l], images[1][l]])), 0.42, 0.42])
    for c, *lines in zip(curve.label.unique().tolist(), others, (image[l] for image in images), strict=True):
        for line in lines:
            inset.plot(*line.T, color=class_colour(c), lw=1.0)
    inset.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half), xticks=[], yticks=[], aspect="equal")
    inset.spines[:].set(visible=True, linewidth=0.6)
    inset.text(0.05, 0.95, f"× {_round(zoom)}", transform=inset.transAxes, va="top", fontsize=7)
    ax.plot(*centre, "s", ms=5, mfc="none", mec="k", mew=0.8, zorder=4)


def _round(value: float) -> str:
    """A number to one significant digit, without an exponent."""
    return f"{float(f'{value:.1g}'):.0f}"


def _emptiest(ax, x: np.ndarray) -> tuple[float, float]:
    """The corner of the panel, of size 0.42, that holds fewest of the points: its lower left end in units of the panel."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    at = (x - [left, bottom]) / [right - left, top - bottom]
    corners = [(a, b) for a in (0.02, 0.56) for b in (0.02, 0.5)]
    return min(corners, key=lambda corner: int(((at > np.array(corner) - 0.02) & (at < np.array(corner) + 0.46)).all(1).sum()))


def turned_over(net, sample: Sample, shown: Sequence[int], success: pd.DataFrame, *, title: str = "", cells: int = 81):
    """A network that separates a disc from the annulus around it: layers `shown`, with the part of the plane that it turns over shaded.

    That part, of the disc that holds the sample, is where the map to the output reverses orientation (or keeps it, where that is the
    smaller part). `success`: name, share, low, high, a bar each.
    """
    half = float(sample.x.norm(dim=1).max())
    line = torch.linspace(-half, half, cells, dtype=sample.x.dtype)
    grid = torch.cartesian_prod(line, line)
    corners = torch.arange(cells**2).view(cells, cells)
    quads = torch.stack([corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]], -1).view(-1, 4)
    quads = as_array(quads[(grid[quads].norm(dim=2) <= half).all(1)])
    images = [as_array(x) for x in net.coordinates(grid)]
    first, second = (images[-1][quads[:, k + 2]] - images[-1][quads[:, k]] for k in (0, 1))  # the diagonals
    over = first[:, 0] * second[:, 1] < first[:, 1] * second[:, 0]
    over = ~over if over.mean() > 0.5 else over
    fig, axes = figure(2, 3, width=8.0, height=5.6)
    panels = list(axes.flat)[: len(shown)]
    _panels(panels, net, sample, None, 2.0, shown)
    for ax, l in zip(panels, shown, strict=True):
        shape = PolyCollection(images[l][quads[over]], facecolors=SHADE, edgecolors=SHADE, linewidths=0.3, zorder=0, rasterized=True)
        ax.add_collection(shape, autolim=False)
    bars = _merged(fig, axes, len(shown))
    _success(bars, success)
    handles = [Line2D([], [], color=class_colour(c), marker="o", ms=3, ls="", label=name) for c, name in enumerate(("disc", "annulus"))]
    handles.append(Line2D([], [], color=SHADE, lw=6, label="turned over"))
    handles.append(Line2D([], [], color=GREY, ls="--", lw=1, label="readout undecided"))
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    fig.suptitle(title)
    shares = ", ".join(f"{row.name} {row.share:.0%}" for row in success.itertuples(index=False))
    alt = (
        f"{title}. The disc and the annulus around it at layers {', '.join(map(str, shown))}; shaded, {over.mean():.0%} of the "
        f"plane's disc, which the network turns over. Bars: networks at 0.0 % error: {shares}."
    )
    return described(fig, alt)


def _success(ax, success: pd.DataFrame) -> None:
    """A bar with Wilson's interval for each row: name, share, low, high."""
    share = success["share"].to_numpy()
    reach = np.abs(success[["low", "high"]].to_numpy().T - share)
    ax.barh(range(len(success)), share, xerr=reach, color="#bbbbbb", ecolor="k", capsize=2, error_kw={"lw": 1})
    ax.set_yticks(range(len(success)), success["name"])
    ax.set(xlabel="networks at 0.0 % error", xlim=(0, 1), ylim=(len(success) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(PercentFormatter(1))


def _merged(fig: Figure, axes: np.ndarray, first: int):
    """One panel in place of those of the last row from number `first` on."""
    rest = list(axes.flat)[first:]
    place = axes[-1, first % axes.shape[1]].get_gridspec()[-1, first % axes.shape[1] :]
    for ax in rest:
        ax.remove()
    return fig.add_subplot(place)


def flat_readings(net, curve: Sample, *, title: str = ""):
    """The arms at the input and at the output, with what two readings of flat measure: chord and first axis. A column for each arm.

    Each panel says how long the chord is over the arm, and which share of the arm's variance lies along its first axis.
    """
    images = net.coordinates(curve.x)
    fig, axes = figure(1, 4, width=8.4, height=3.0)
    told = []
    for ax, (l, c) in zip(axes[0], [(l, c) for l in (0, -1) for c in (0, 1)], strict=True):
        arm = images[l][curve.label == c]
        label = torch.zeros(len(arm), dtype=torch.int64)
        x = as_array(arm)
        chord, share = (float(measure(torch.as_tensor(x), label)) for measure in (curves.straightness, curves.first_axis))
        spread, (axis, _) = np.linalg.svd(x - x.mean(0), full_matrices=False)[1:]
        ends = x.mean(0) + np.outer([-1.7, 1.7], axis) * spread[0] / len(x) ** 0.5
        ax.plot(*x.T, color=class_colour(c), lw=1.1)
        ax.plot(*ends.T, color=GREY, lw=1, ls=":")
        ax.plot(*x[[0, -1]].T, color="k", lw=1, ls="--", marker="o", ms=3)
        square_limits(ax, np.concatenate([x, ends]))
        where = "input" if l == 0 else "output"
        ax.set_title(f"{where}, class {c + 1}\nchord/length {chord:.2f}, axis {share:.0%}", fontsize=8)
        told.append(f"{where}, class {c + 1}: {chord:.2f} and {share:.0%}")
    handles = [
        Line2D([], [], color="k", ls="--", lw=1, marker="o", ms=3, label="chord"),
        Line2D([], [], color=GREY, ls=":", label="first axis"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    fig.suptitle(title)
    return described(fig, f"{title}. Chord over length, and the share of variance on the first axis: {'; '.join(told)}.")


def _panels(axes, net, sample, curve, size: float, shown: Sequence[int]) -> None:
    """The sample in the coordinates of each of the layers `shown`. The arms are lines where `curve` samples them densely."""
    dense = net.coordinates(curve.x) if curve is not None else None
    images = net.coordinates(sample.x)
    for ax, l in zip(axes, shown, strict=False):
        x = images[l]
        square_limits(ax, x)
        if dense is not None:
            for c in curve.label.unique().tolist():
                ax.plot(*as_array(dense[l][curve.label == c]).T, color=class_colour(c), lw=0.6, alpha=0.5)
        scatter_classes(ax, x, sample.label, size)
        ax.set_title(f"layer {l}")
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel("coordinate 2")
        if ax.get_subplotspec().is_last_row():
            ax.set_xlabel("coordinate 1")
        if l == len(net.weights):
            hyperplane(ax, net)


class Run(NamedTuple):
    """A network in Figure 3: its name with the rule that chose it, its data, the centres of the balls, and their radius."""

    name: str
    net: CkNetwork
    data: Geometry
    centres: Geometry
    radius: float


def metric_balls(runs: Sequence[Run], label: Tensor, classes: Tensor, *, shown: Sequence[int], title: str = "") -> Figure:
    """Figure 3: balls of constant ds about numbered centres, a row for each run and a panel for each of the layers `shown`.

    `label` colours the data and `classes` the centres. A part of the plane that the later layers turn over (det P < 0) is shaded.
    """
    fig = canvas(2.75 * len(shown), 3.0 * len(runs) + 0.6)
    rows = np.atleast_1d(fig.subfigures(len(runs), 1))
    for row, run in zip(rows, runs, strict=True):
        row.suptitle(run.name, fontsize=9)
        curves = outlines(run.centres, run.radius)
        for ax, l in zip(row.subplots(1, len(shown)), shown, strict=True):
            square_limits(ax, run.data.x[l], 0.06)
            _shade_turned(ax, run.net, l)
            scatter_classes(ax, run.data.x[l], label, 1.0, alpha=0.35)
            colours = [class_colour(c) for c in as_array(classes)]
            ax.add_collection(LineCollection(list(as_array(curves[l])), colors=colours, linewidths=1.2))
            _numbers(ax, as_array(run.centres.x[l]))
            ax.set_title(f"layer {l}")
            ax.tick_params(labelsize=6)
            ax.locator_params(nbins=5)
    patch = Patch(color=TURNED, label="orientation reversed by the layers that follow")
    fig.legend(handles=[patch], loc="outside lower center")
    fig.suptitle(title)
    alt = (
        f"{title}. {len(runs)} rows, one for each network, with the layers {listed(shown)}: {len(classes)} numbered ellipses over the arms."
        " At the input they have different shapes and some are very long; at the output they are circles of one size."
    )
    return described(fig, alt)


def _shade_turned(ax, net: CkNetwork, layer: int, cells: int = 101) -> None:
    """Shades the part of a panel, in the coordinates of a layer, in which det P < 0: what the layers that follow turn over."""
    if layer == len(net.weights):
        return
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    x, y = np.meshgrid(np.linspace(left, right, cells), np.linspace(low, high, cells))
    grid = torch.as_tensor(np.stack([x.ravel(), y.ravel()], 1)).to(net.weights[0])
    det = as_array(torch.linalg.det(pushforward(net[layer:], grid))).reshape(x.shape)
    ax.contourf(x, y, (det < 0).astype(float), levels=[0.5, 1.5], colors=[TURNED], zorder=0)


def _numbers(ax, centres: np.ndarray) -> None:
    """The numbers of the centres, from 1, beside them."""
    for number, centre in enumerate(centres, 1):
        ax.plot(*centre, "k.", ms=2)
        text = ax.annotate(str(number), centre, (3, 3), textcoords="offset points", fontsize=8, fontweight="bold", zorder=5)
        text.set_path_effects([withStroke(linewidth=2, foreground="w")])


def preimages_of_balls(run: Run, line: Tensor) -> Tensor:
    """Which points of the square grid `line` × `line` of inputs have their image in the output ball of each centre, (m, count, count).

    The first coordinate runs along the last axis.
    """
    grid = torch.cartesian_prod(line, line).flip(1)
    with torch.no_grad():
        image = run.net.coordinates(grid)[-1]
    inside = [(image - centre).norm(dim=1) <= run.radius for centre in run.centres.x[-1]]
    return torch.stack(inside).view(len(inside), len(line), len(line))


def true_balls(runs: Sequence[Run], sample: Sample, line: Tensor, inside: Sequence[Tensor], *, title: str = "") -> Figure:
    """The balls in the input plane, a panel for each run: ellipses (first order) over the true preimages of the output balls.

    `inside` has what `preimages_of_balls` finds on the grid `line` × `line` for each run. Ellipse, preimage and number share a colour.
    """
    fig, (axes,) = figure(1, len(runs), width=4.6 * len(runs), height=5.4)
    ends = as_array(line[[0, -1]])
    for ax, run, regions in zip(axes, runs, inside, strict=True):
        ax.scatter(*as_array(sample.x).T, s=1.5, color="#bbbbbb", linewidths=0)
        ellipses = as_array(outlines(run.centres, run.radius)[0])
        for region, ellipse, colour in zip(as_array(regions), ellipses, MANY, strict=False):
            picture = np.zeros((*region.shape, 4))
            picture[region] = to_rgba(colour, 0.75)
            ax.imshow(picture, extent=(*ends, *ends), origin="lower", interpolation="nearest", zorder=1)
            ax.plot(*ellipse.T, color=colour, lw=1, zorder=2)
        _numbers(ax, as_array(run.centres.x[0]))
        ax.set(xlim=ends, ylim=ends, aspect="equal", title=run.name, xlabel="$x^1$", ylabel="$x^2$")
    first = Line2D([], [], color=GREY, lw=1, label="ellipse of Eq. 13 (first order)")
    fig.legend(handles=[first, Patch(color=GREY, label="true preimage of the ball")], loc="outside lower center", ncols=2)
    fig.suptitle(title)
    alt = (
        f"{title}. One input plane for each of {len(runs)} networks, with {len(inside[0])} numbered centres: the ellipse of Eq. 13 a line,"
        " the true preimage of the output ball filled, in one colour for each centre. Long ellipses are straight, the true preimages bend."
    )
    return described(fig, alt)


def smooth_actions(by_depth: pd.DataFrame, by_layer: pd.DataFrame) -> Figure:
    """How large the actions of the layers are and how much they change from layer to layer. Above: against depth. Below: by layer.

    `by_depth` has the columns network (such as "trained C1"), depth, size, jump.
    `by_layer` has network, depth, layer, size and jump (NaN at the last layer).
    """
    columns = {"size": r"$\Vert h_l-1\Vert$", "jump": r"$\Vert h_{l+1}-h_l\Vert$"}
    fig, axes = figure(2, 2, width=8.4, height=6.6)
    dashes = {"path": "--", "independent": "-.", "untrained": ":"}
    for ax, (column, name) in zip(axes[0], columns.items(), strict=True):
        for network, line in by_depth.groupby("network", sort=False):
            source, kind = network.split()
            ax.loglog(line["depth"], line[column], "o" + dashes.get(source, "-"), ms=3, color=NETWORKS[kind], label=network)
        ax.set(xlabel="layers L", ylabel=name)
    for ax, (column, name) in zip(axes[1], columns.items(), strict=True):
        for (network, depth), line in by_layer.groupby(["network", "depth"], sort=False):
            dash = dict(zip(sorted(by_layer["depth"].unique()), ("-", "--", ":"), strict=False))[depth]
            ax.plot(line["layer"] / depth, line[column], dash, color=NETWORKS[network.split()[1]], label=f"{network}, {depth} layers")
        ax.set(xlabel="layer over L", ylabel=name, yscale="log")
    for row, part in zip(axes, ("against depth", "by layer"), strict=True):
        row[-1].legend(*row[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5))
        row[0].set_title(part)
    names = listed(by_depth["network"].unique())
    alt = (
        "Size of the layers' actions at the left, their change from layer to layer at the right. Above, against the number of layers on "
        f"logarithmic axes for {names}: the dashed lines of weights from a path fall. Below, by layer for trained networks."
    )
    return described(fig, alt)


def _legend(ax, label, *more) -> None:
    """What the colours and the dashed line mean, in a panel of its own."""
    handles = [Line2D([], [], color=class_colour(c), lw=2, label=f"class {c + 1}") for c in np.unique(as_array(label))]
    ax.legend(handles=[*handles, *more, Line2D([], [], color=GREY, ls="--", lw=1, label="readout undecided")], loc="center")
    ax.set_axis_off()
    ax.set_title("")


def _points_of_classes(sample) -> list[np.ndarray]:
    """For each class the numbers of its points in the sample, in order along the arm."""
    label = as_array(sample.label)
    return [np.flatnonzero(label == c) for c in np.unique(label)]
