"""Figures 2 to 4: a spiral carried through the layers of a network, with trajectories and balls."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from ...data import Sample
from ...metric import Geometry
from ...plot import GREY, as_array, canvas, class_colour, figure, hyperplane, layer_grid, outlines, scatter_classes, square_limits
from . import described


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


def untangling(net, sample, *, curve=None, particles: int = 8, title: str = ""):
    """Figure 2: one panel per layer, and below them each coordinate of some points of each class against the layer."""
    images = np.stack([as_array(x) for x in net.coordinates(sample.x)])  # (L + 1, n, 2)
    followed = [arm[np.linspace(0, len(arm) - 1, particles).round().astype(int)] for arm in _points_of_classes(sample)]
    upper, lower = (fig := canvas(8.4, 8.6)).subfigures(2, 1, height_ratios=(3, 1.15))
    grid = [*upper.subplots(-(-(len(images) + 1) // 4), 4).flat]
    _panels(grid, net, sample, curve, 2.0, range(len(images)))
    for ax, x in zip(grid, images, strict=False):
        for c, points in enumerate(followed):
            ax.scatter(*x[points].T, s=14, color=class_colour(c), edgecolors="k", linewidths=0.5, zorder=3)
    _legend(grid[len(images)], sample.label, Line2D([], [], marker="o", ls="", ms=4, mfc="w", mec="k", label="particle followed below"))
    for ax in grid[len(images) + 1 :]:
        ax.set_visible(False)
    for a, ax in enumerate(lower.subplots(1, images.shape[2])):
        for c, points in enumerate(followed):
            ax.plot(images[:, points, a], color=class_colour(c), lw=0.9, marker="o", ms=2)
        ax.set(xlabel="layer $l$", ylabel=f"coordinate {a + 1}", xticks=range(0, len(images), 2))
    lower.suptitle("trajectories of the outlined particles", fontsize=9)
    fig.suptitle(title)
    alt = (
        f"{title}. One panel for each layer from 0 to {len(net.weights)}: the two arms of the spiral in the coordinates of "
        "that layer, in two "
        "colours; in the last a dashed line shows where the readout is undecided. Below: both coordinates of "
        f"{particles} outlined points of each class against the layer."
    )
    return described(fig, alt)


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


def metric_balls(
    data: Geometry,
    label: Tensor,
    centres: Geometry,
    radius: float,
    *,
    classes: Tensor | None = None,
    shown: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Figure 3: balls of constant ds = radius at the `centres`, one panel for each layer, over the data in the colours of their `label`.

    `classes` are the labels of the centres, which give the balls their colours. Without them the balls are black. `shown` are the layers
    drawn, all unless given.
    """
    shown = range(len(data.x)) if shown is None else shown
    fig, axes = layer_grid(len(shown), columns=min(4, len(shown)))
    colours = "k" if classes is None else [class_colour(c) for c in as_array(classes)]
    curves = outlines(centres, radius)
    for ax, l in zip(axes, shown, strict=True):
        x, centre, balls = data.x[l], centres.x[l], curves[l]
        ax.set_title(f"layer {l}")
        scatter_classes(ax, x, label, 1.0, alpha=0.35)
        ax.add_collection(LineCollection(list(as_array(balls)), colors=colours, linewidths=0.9))
        points = np.concatenate([as_array(x), as_array(centre)])
        square_limits(ax, np.concatenate([points, _within_reach(as_array(balls).reshape(-1, 2), points)]), 0.04)
    fig.suptitle(title)
    alt = (
        f"{title}. One panel for each of {len(data.x)} layers: {len(centres.x[0])} balls of radius {radius:.3g} over the spiral. Ellipses "
        "of different shapes at the input become circles of one size at the output."
    )
    return described(fig, alt)


def _within_reach(curves: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The finite points of curves, none further from `points` than half their extent: the balls of a metric can be long without bound."""
    low, high = points.min(0), points.max(0)
    reach = (high - low).max() / 2
    return curves[np.isfinite(curves).all(1)].clip(low - reach, high + reach)


def square_around(centres: Tensor, ellipses: Tensor, cells: int = 161, margin: float = 0.35) -> Tensor:
    """For each centre a square grid of points, (m, cells², 2), that holds its ellipse: the region where to look for the true preimage.

    `margin` is the share of the ellipse's extent that the square is larger.
    """
    half = (ellipses - centres[:, None]).abs().amax((1, 2)) * (1 + margin)
    line = torch.linspace(-1, 1, cells, dtype=centres.dtype, device=centres.device)
    square = torch.cartesian_prod(line, line).flip(1)  # the first coordinate runs fastest
    return centres[:, None] + half[:, None, None] * square


def true_balls(
    sample: Sample, centres: Tensor, ellipses: Tensor, around: Tensor, distance: Tensor, radius: float, *, title: str = ""
) -> Figure:
    """The ball at the input to first order, an ellipse, over the true preimage of the output ball, one panel for each centre.

    The true preimage is where, in the grid `around` of `square_around`, the `distance` (m, cells²) of the images from the centre's image is
    at most the radius.
    """
    columns = 4
    rows = -(-len(centres) // columns)
    fig, axes = figure(rows, columns, width=8.4, height=8.4 * rows / columns * 1.15)
    cells = round(around.shape[1] ** 0.5)
    panels = zip(axes.flat, as_array(centres), as_array(ellipses), as_array(around), as_array(distance), strict=True)
    for ax, centre, ellipse, grid, far in panels:
        x, y, z = (values.reshape(cells, cells) for values in (*grid.T, far))
        ax.contourf(x, y, z, levels=[0, radius], colors=["#dddddd"])
        scatter_classes(ax, sample.x, sample.label, 6.0, alpha=0.6)
        ax.plot(*ellipse.T, color="k", lw=1)
        ax.plot(*centre, "k+", ms=6)
        ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
        ax.tick_params(labelsize=6)
        ax.locator_params(nbins=4)
    first = Line2D([], [], color="k", lw=1, label="ellipse of Eq. 13 (first order)")
    true = Patch(color="#dddddd", label="true preimage of the ball")
    fig.legend(handles=[first, true], loc="outside lower center", ncols=2)
    fig.suptitle(title)
    share = [float((far <= radius).mean()) for far in as_array(distance)]
    alt = (
        f"{title}. {len(centres)} panels, one for each centre: the ellipse of Eq. 13 over the true preimage of the ball, in "
        "grey, which fills "
        f"{min(share):.0%} to {max(share):.0%} of its panel."
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
