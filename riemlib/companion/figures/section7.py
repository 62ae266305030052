"""Figures 2 to 4: a spiral carried through the layers of a network, with trajectories and balls."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...plot import GREY, as_array, canvas, class_colour, figure, frame, hyperplane, layer_grid, scatter_classes


def layers(net, sample, *, curve=None, title: str = ""):
    """Figure 4: one panel per layer. In the last, the line where the readout is undecided. `curve`: a dense sample, drawn as lines."""
    fig, axes = layer_grid(len(net.weights) + 2, columns=4)
    _panels(axes, net, sample, curve, 2.5)
    _legend(axes[-1], sample.label)
    fig.suptitle(title)
    return fig


def untangling(net, sample, *, curve=None, particles: int = 8, title: str = ""):
    """Figure 2: one panel per layer, and below them each coordinate of some points of each class against the layer."""
    images = np.stack([as_array(x) for x in net.coordinates(sample.x)])  # (L + 1, n, 2)
    followed = [arm[np.linspace(0, len(arm) - 1, particles).round().astype(int)] for arm in _points_of_classes(sample)]
    upper, lower = (fig := canvas(8.4, 8.6)).subfigures(2, 1, height_ratios=(3, 1.15))
    grid = upper.subplots(-(-(len(images) + 1) // 4), 4).flat
    _panels(grid, net, sample, curve, 2.0)
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
    return fig


def _panels(axes, net, sample, curve, size: float) -> None:
    """The sample in the coordinates of each layer, one panel per layer. The arms are lines where `curve` samples them densely."""
    dense = net.coordinates(curve.x) if curve is not None else None
    for l, (ax, x) in enumerate(zip(axes, net.coordinates(sample.x), strict=False)):
        frame(ax, x)
        if dense is not None:
            for c in curve.label.unique().tolist():
                ax.plot(*as_array(dense[l][curve.label == c]).T, color=class_colour(c), lw=0.6, alpha=0.5)
        scatter_classes(ax, x, sample.label, size)
        ax.set_title(f"layer {l}")
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel("coordinate 2")
        if ax.get_subplotspec().is_last_row():
            ax.set_xlabel("coordinate 1")
    hyperplane(axes[len(net.weights)], net)


def metric_balls(net, sample, centres, ellipses: Sequence, *, colours=None, title: str = ""):
    """Figure 3: balls of constant ds at `centres` (input coordinates), in every layer's coordinates; `ellipses[l]` are their outlines."""
    coordinates, carried = net.coordinates(sample.x), net.coordinates(centres)
    fig, axes = layer_grid(len(coordinates), columns=4)
    for ax, x, c, outlines in zip(axes, coordinates, carried, ellipses, strict=True):
        scatter_classes(ax, x, sample.label, 1.0, alpha=0.35)
        ax.add_collection(LineCollection(list(as_array(outlines)), colors=colours or "k", linewidths=0.9))
        frame(ax, np.concatenate([as_array(x), as_array(c)]))
    fig.suptitle(title)
    return fig


def neighbourhoods(centres, ellipses, cells: int = 161, margin: float = 0.35):
    """For each centre a square grid of points (m, cells², 2) about its ellipse: where to look for the true preimage of the output ball."""
    ellipses = as_array(ellipses)
    half = np.abs(ellipses - as_array(centres)[:, None]).max((1, 2)) * (1 + margin)
    line = np.linspace(-1, 1, cells)
    square = np.stack(np.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    return as_array(centres)[:, None] + half[:, None, None] * square


def true_balls(sample, centres, ellipses, around, distance, radius: float, *, title: str = ""):
    """The first-order ellipse and the true preimage of the output ball: where the `distance` (m, cells²) of the images is below radius."""
    columns = 4
    rows = -(-len(centres) // columns)
    fig, axes = figure(rows, columns, width=8.4, height=8.4 * rows / columns * 1.15)
    cells = round(around.shape[1] ** 0.5)
    parts = zip(axes.flat, as_array(centres), as_array(ellipses), as_array(around), as_array(distance), strict=True)
    for ax, centre, ellipse, grid, far in parts:
        x, y, z = grid[:, 0].reshape(cells, cells), grid[:, 1].reshape(cells, cells), far.reshape(cells, cells)
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
    return fig


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
