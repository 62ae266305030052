"""Figures 1-4: a spiral carried through the layers of a network, with trajectories, tangent vectors and balls."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch

from .style import GREY, canvas, class_colour, figure, layer_grid


def _array(x) -> np.ndarray:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def scatter_classes(ax, x, label, size: float = 3.0, **kwargs) -> None:
    """The points of each class in its colour."""
    x, label = _array(x), _array(label)
    for c in np.unique(label):
        ax.scatter(*x[label == c].T, s=size, color=class_colour(c), linewidths=0, **kwargs)


def hyperplane(ax, net, span: float = 1e3) -> None:
    """The line where the readout of a two-class network of width 2 is undecided, within the present limits."""
    w = _array(net.readout.weight)
    b = _array(net.readout.bias)
    normal, offset = w[1] - w[0], b[1] - b[0]
    foot = -offset * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(*np.stack([foot - span * along, foot + span * along]).T, color=GREY, lw=1, ls="--")
    ax.set(xlim=limits[0], ylim=limits[1])


def _frame(ax, x, margin: float = 0.12) -> None:
    """Square limits about the points."""
    low, high = _array(x).min(0), _array(x).max(0)
    centre, half = (low + high) / 2, (high - low).max() * (0.5 + margin)
    ax.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
    ax.set_aspect("equal", adjustable="box")


def layers(net, sample, *, curve=None, title: str = ""):
    """Figure 4: one panel a layer, the readout's line in the last. `curve`: a dense resampling of the arms, drawn as lines."""
    fig, axes = layer_grid(len(net.weights) + 2, columns=4)
    _panels(axes, net, sample, curve, 2.5)
    _legend(axes[-1], sample.label)
    fig.suptitle(title)
    return fig


def untangling(net, sample, *, curve=None, particles: int = 8, title: str = ""):
    """Figure 2: one panel a layer, and below them each coordinate of some particles of each class against the layer."""
    paths = np.stack([_array(x) for x in net.coordinates(sample.x)])  # (L + 1, n, 2)
    chosen = [rows[np.linspace(0, len(rows) - 1, particles).round().astype(int)] for rows in _rows(sample)]
    upper, lower = (fig := canvas(8.4, 8.6)).subfigures(2, 1, height_ratios=(3, 1.15))
    grid = upper.subplots(-(-(len(paths) + 1) // 4), 4).flat
    _panels(grid, net, sample, curve, 2.0)
    for ax, x in zip(grid, paths, strict=False):
        for c, rows in enumerate(chosen):
            ax.scatter(*x[rows].T, s=14, color=class_colour(c), edgecolors="k", linewidths=0.5, zorder=3)
    _legend(grid[len(paths)], sample.label, Line2D([], [], marker="o", ls="", ms=4, mfc="w", mec="k", label="particle followed below"))
    for ax in grid[len(paths) + 1 :]:
        ax.set_visible(False)
    for a, ax in enumerate(lower.subplots(1, paths.shape[2])):
        for c, rows in enumerate(chosen):
            ax.plot(paths[:, rows, a], color=class_colour(c), lw=0.9, marker="o", ms=2)
        ax.set(xlabel="layer $l$", ylabel=f"coordinate {a + 1}", xticks=range(0, len(paths), 2))
    lower.suptitle("trajectories of the outlined particles", fontsize=9)
    fig.suptitle(title)
    return fig


def _panels(axes, net, sample, curve, size: float) -> None:
    """The sample in each layer's coordinates, a panel each; the arms as lines where `curve` samples them densely."""
    dense = net.coordinates(curve.x) if curve is not None else None
    for i, (ax, x) in enumerate(zip(axes, net.coordinates(sample.x), strict=False)):
        _frame(ax, x)
        if dense is not None:
            for c in curve.label.unique().tolist():
                ax.plot(*_array(dense[i][curve.label == c]).T, color=class_colour(c), lw=0.6, alpha=0.5)
        scatter_classes(ax, x, sample.label, size)
        ax.set_title(f"layer {i}")
    hyperplane(axes[len(net.weights)], net)


def metric_balls(net, sample, centres, ellipses: Sequence, *, colours=None, title: str = ""):
    """Figure 3: balls of constant ds at `centres` (input coordinates), in every layer's coordinates; `ellipses[l]` are their outlines."""
    coordinates, carried = net.coordinates(sample.x), net.coordinates(centres)
    fig, axes = layer_grid(len(coordinates), columns=4)
    for ax, x, c, outlines in zip(axes, coordinates, carried, ellipses, strict=True):
        scatter_classes(ax, x, sample.label, 1.0, alpha=0.35)
        ax.add_collection(LineCollection(list(_array(outlines)), colors=colours or "k", linewidths=0.9))
        _frame(ax, np.concatenate([_array(x), _array(c)]))
    fig.suptitle(title)
    return fig


def neighbourhoods(centres, ellipses, cells: int = 161, margin: float = 0.35):
    """For each centre a square grid of points (m, cells², 2) about its ellipse: where to look for the true preimage of the output ball."""
    ellipses = _array(ellipses)
    half = np.abs(ellipses - _array(centres)[:, None]).max((1, 2)) * (1 + margin)
    line = np.linspace(-1, 1, cells)
    square = np.stack(np.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    return _array(centres)[:, None] + half[:, None, None] * square


def true_balls(sample, centres, ellipses, around, distance, radius: float, *, title: str = ""):
    """The first-order ellipse and the true preimage of the output ball: where the `distance` (m, cells²) of the images is below radius."""
    columns = 4
    rows = -(-len(centres) // columns)
    fig, axes = figure(rows, columns, width=8.4, height=8.4 * rows / columns * 1.15)
    cells = round(around.shape[1] ** 0.5)
    parts = zip(axes.flat, _array(centres), _array(ellipses), _array(around), _array(distance), strict=True)
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


def chain(net, sample, shown: Sequence[int], grid, vectors, outlines, at):
    """Figure 1: some of the coordinate systems x^(l)(M), with a net of input coordinate lines, a pushed-forward vector, a pulled-back ball.

    `grid`: for each shown layer the curves (m, k, 2); `vectors` and `outlines`: for each the vector and the ball at the points `at`.
    """
    coordinates, feet = net.coordinates(sample.x), net.coordinates(at)
    fig, axes = figure(1, len(shown), width=9.2, height=3.3)
    fig.get_layout_engine().set(wspace=0.28, rect=(0, 0.07, 1, 0.73))
    for i, (ax, l) in enumerate(zip(axes[0], shown, strict=True)):
        ax.add_collection(LineCollection(list(_array(grid[i])), colors="#bbbbbb", linewidths=0.5, zorder=0))
        scatter_classes(ax, coordinates[l], sample.label, 2.0)
        ax.add_collection(LineCollection(list(_array(outlines[i])), colors="k", linewidths=1.2))
        ax.quiver(*_array(feet[l]).T, *_array(vectors[i]).T, angles="xy", scale_units="xy", scale=1, width=0.009, zorder=4)
        _frame(ax, coordinates[l], 0.2)
        ax.set_axis_off()
    fig.canvas.draw()
    fig.set_layout_engine("none")
    arrow = {"transform": fig.transFigure, "arrowstyle": "-|>"}
    fig.text(0.5, 0.95, "data manifold $M$", ha="center", va="center", fontsize=11)
    for i, l in enumerate(shown):
        box = axes[0, i].get_position()
        head = np.array([(box.x0 + box.x1) / 2, box.y1 + 0.02])
        fig.add_artist(FancyArrowPatch((0.5, 0.91), head, mutation_scale=9, color=GREY, lw=0.9, **arrow))
        fig.text(*(0.6 * head + 0.4 * np.array([0.5, 0.91])), f"$x^{{({l})}}$", ha="center", va="center", backgroundcolor="w")
        if i + 1 < len(shown):
            after = axes[0, i + 1].get_position()
            middle, gap = (box.x1 + after.x0) / 2, (after.x0 - box.x1) * 0.4
            for y, way, text in ((0.62, 1, r"$\varphi_*$"), (0.38, -1, "$g$")):
                height = box.y0 + (box.y1 - box.y0) * y
                ends = (middle - way * gap, height), (middle + way * gap, height)
                fig.add_artist(FancyArrowPatch(*ends, mutation_scale=11, color="k", lw=1.1, **arrow))
                fig.text(middle, height + 0.02, text, ha="center", va="bottom", fontsize=10)
    forward, backward = r"forward: points and tangent vectors (arrows), by $\varphi_*$", "backward: the metric (balls of one radius), $g$"
    fig.text(0.5, 0.03, f"{forward}       {backward}", ha="center", fontsize=9)
    return fig


def _legend(ax, label, *more) -> None:
    """What the colours and the dashed line are, in a panel of its own."""
    handles = [Line2D([], [], color=class_colour(c), lw=2, label=f"class {c + 1}") for c in np.unique(_array(label))]
    ax.legend(handles=[*handles, *more, Line2D([], [], color=GREY, ls="--", lw=1, label="readout undecided")], loc="center")
    ax.set_axis_off()
    ax.set_title("")


def _rows(sample) -> list[np.ndarray]:
    """The row numbers of each class, in order along its arm."""
    label = _array(sample.label)
    return [np.flatnonzero(label == c) for c in np.unique(label)]
