"""Figure 1: the chain of coordinate systems, with tangent vectors pushed forward and the metric pulled back."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyArrowPatch

from ...plot import GREY, as_array, figure, frame, scatter_classes


def chain(net, sample, shown: Sequence[int], grid, vectors, outlines, at):
    """Figure 1: some of the coordinate systems x^(l)(M), with a net of input coordinate lines, a pushed-forward vector, a pulled-back ball.

    `grid`: for each shown layer the curves (m, k, 2); `vectors` and `outlines`: for each the vector and the ball at the points `at`.
    """
    coordinates, feet = net.coordinates(sample.x), net.coordinates(at)
    fig, axes = figure(1, len(shown), width=9.2, height=3.3)
    fig.get_layout_engine().set(wspace=0.28, rect=(0, 0.07, 1, 0.73))
    for i, (ax, l) in enumerate(zip(axes[0], shown, strict=True)):
        ax.add_collection(LineCollection(list(as_array(grid[i])), colors="#bbbbbb", linewidths=0.5, zorder=0))
        scatter_classes(ax, coordinates[l], sample.label, 2.0)
        ax.add_collection(LineCollection(list(as_array(outlines[i])), colors="k", linewidths=1.2))
        ax.quiver(*as_array(feet[l]).T, *as_array(vectors[i]).T, angles="xy", scale_units="xy", scale=1, width=0.009, zorder=4)
        frame(ax, coordinates[l], 0.2)
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
