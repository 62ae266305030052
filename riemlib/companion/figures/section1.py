"""Figure 1: coordinate systems of one manifold. Tangent vectors are pushed forward, the metric is pulled back."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from ...metric import Geometry
from ...plot import GREY, as_array, class_colour, figure, outlines, scatter_classes, square_limits
from . import described, listed

FORWARD = r"forward: points and tangent vectors (arrows), by $\varphi_*$"
BACKWARD = "backward: the metric (balls of one radius), $g$"


def chain(
    shown: Sequence[int],
    data: Geometry,
    label: Tensor,
    lines: Sequence[Tensor],
    at: Geometry,
    vectors: Sequence[Tensor],
    radius: float,
    *,
    title: str = "",
) -> Figure:
    """Figure 1: the coordinate systems x^(l)(M) of the layers `shown`, one panel for each, with arrows from M and between neighbours.

    Each panel has the data by class, the coordinate `lines` of the input, (lines, k, 2) at every layer, and at a few points `at` a tangent
    vector, (n, 2) at every layer, and the ball of this radius, the n-th in the colour of class n. A bar is one unit long.
    """
    fig, axes = figure(1, len(shown), width=9.2, height=3.3)
    fig.get_layout_engine().set(wspace=0.28, rect=(0, 0.07, 1, 0.73))
    balls = outlines(at, radius)
    for ax, l in zip(axes[0], shown, strict=True):
        ax.add_collection(LineCollection(list(as_array(lines[l])), colors="#bbbbbb", linewidths=0.5, zorder=0))
        scatter_classes(ax, data.x[l], label, 2.0)
        ax.add_collection(LineCollection(list(as_array(balls[l])), colors=[class_colour(c) for c in range(len(balls[l]))], linewidths=1.4))
        ax.quiver(*as_array(at.x[l]).T, *as_array(vectors[l]).T, angles="xy", scale_units="xy", scale=1, width=0.009, zorder=4)
        square_limits(ax, np.concatenate([as_array(data.x[l]), as_array(lines[l]).reshape(-1, 2)]), 0.04)
        (left, _), (low, _) = ax.get_xlim(), ax.get_ylim()
        ax.plot([left, left + 1], [low, low], color=GREY, lw=2, clip_on=False)
        ax.annotate("1", (left + 0.5, low), (0, -3), textcoords="offset points", ha="center", va="top", color=GREY, fontsize=7)
        ax.set_axis_off()
    fig.text(0.5, 1.0, title, ha="center", va="bottom", fontsize=9)
    fig.canvas.draw()
    fig.set_layout_engine("none")  # the arrows stand between panels that no longer move
    _arrows_from_the_manifold(fig, axes[0], shown)
    _arrows_between_layers(fig, axes[0], shown)
    fig.text(0.5, 0.03, f"{FORWARD}       {BACKWARD}", ha="center", fontsize=9)
    alt = (
        f"Figure 1: {len(shown)} panels, the data in the coordinates of layers {listed(shown)}. Arrows lead from the manifold "
        "M to each panel. "
        "The square grid of the input is bent more at each layer. Arrows to the right push points and tangent vectors "
        "forward, arrows to the "
        f"left pull the metric back. At {len(at.x[0])} points a tangent vector and the ball of radius {radius:.3g} are drawn."
    )
    return described(fig, alt)


def _arrows_from_the_manifold(fig: Figure, axes: Sequence[Axes], shown: Sequence[int]) -> None:
    """The name of M above the panels, and an arrow x^(l) from it to each panel."""
    fig.text(0.5, 0.95, "manifold $M$", ha="center", va="center", fontsize=11)
    tail = np.array([0.5, 0.91])
    for ax, l in zip(axes, shown, strict=True):
        box = ax.get_position()
        head = np.array([(box.x0 + box.x1) / 2, box.y1 + 0.02])
        _arrow(fig, tail, head, mutation_scale=9, color=GREY, lw=0.9)
        x, y = 0.6 * head + 0.4 * tail
        steep = abs(head[0] - tail[0]) < 0.05  # then the label stands beside the arrow, which it would hide
        fig.text(x + 0.025 * steep, y, f"$x^{{({l})}}$", ha="center", va="center", backgroundcolor="none" if steep else "w")


def _arrows_between_layers(fig: Figure, axes: Sequence[Axes], shown: Sequence[int]) -> None:
    """Between neighbouring panels an arrow to the right for the pushforward by all layers between, and one to the left for the metric."""
    for ax, following, l, after_l in zip(axes, axes[1:], shown, shown[1:], strict=False):
        last = rf"\varphi^{{({after_l - 1})}}"
        composite = last if after_l == l + 1 else rf"({last}\!\cdots\varphi^{{({l})}})"
        box, after = ax.get_position(), following.get_position()
        middle, reach = (box.x1 + after.x0) / 2, (after.x0 - box.x1) * 0.4
        for share, way, text in ((0.62, 1, f"${composite}_*$"), (0.38, -1, "$g$")):
            height = box.y0 + (box.y1 - box.y0) * share
            _arrow(fig, (middle - way * reach, height), (middle + way * reach, height), mutation_scale=11, color="k", lw=1.1)
            fig.text(middle, height + 0.02, text, ha="center", va="bottom", fontsize=8)


def _arrow(fig: Figure, tail: Sequence[float], head: Sequence[float], **settings) -> None:
    """An arrow in the coordinates of the figure, 0 to 1 in both directions."""
    fig.add_artist(FancyArrowPatch(tail, head, transform=fig.transFigure, arrowstyle="-|>", **settings))
