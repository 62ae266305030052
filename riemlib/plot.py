"""Drawing: one style for every figure, and what to draw of a network of one's own.

A class and a network keep their colours in all figures. The colours are safe for colour-blind readers (Okabe and Ito) and differ in print.
"""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from . import checks
from .ellipsoids import balls_of
from .maps import pushforward_of
from .metric import Geometry
from .networks import CkNetwork

#: The colours of class 0, 1, 2, 3: blue, vermilion, green, pink
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: The colour of a network wherever networks are compared
NETWORKS = {"C0": "#E69F00", "C1": "#0072B2", "C2": "#CC79A7", "mixed": "#009E73"}
#: Everything that belongs to no class and no network: references, thresholds, arrows
GREY = "#555555"

#: Settings of matplotlib
STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


# Figures and panels.


def figure(rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float | None = None, **settings) -> tuple[Figure, np.ndarray]:
    """A figure of rows × columns panels, `width` inches wide, and its axes as an array (rows, columns).

    Without a `height` the panels are square. `settings` go to `plt.subplots`.
    """
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]
    height = height or width * rows / columns
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **settings)


def canvas(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, for a layout that is not a plain grid of panels."""
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]
    return plt.figure(figsize=(width, height), layout="constrained")


def layer_grid(count: int, *, columns: int = 4, width: float = 8.0, name: str = "layer {}") -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` square panels, one for each layer, and their axes as a list. `name` is the title, with {} for the layer."""
    rows = -(-count // columns)
    fig, axes = figure(rows, columns, width=width, height=width * rows / columns * 1.06)
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < count)
        ax.set_title(name.format(i))
        ax.set_aspect("equal", adjustable="datalim")
    return fig, list(axes.flat[:count])


def square_limits(ax: Axes, x: Tensor | np.ndarray, margin: float = 0.12) -> None:
    """Limits that make a panel a square around the points x, (n, 2), with a share `margin` of their extent left free on each side."""
    low, high = as_array(x).min(0), as_array(x).max(0)
    centre, half = (low + high) / 2, (high - low).max() * (0.5 + margin)
    ax.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
    ax.set_aspect("equal", adjustable="box")


# Points, hyperplanes and balls.


def scatter_classes(ax: Axes, x: Tensor | np.ndarray, label: Tensor | np.ndarray, size: float = 3.0, **settings) -> None:
    """The points x, (n, 2), each in the colour of its class. `settings` go to `ax.scatter`."""
    x, label = as_array(x), as_array(label)
    for c in np.unique(label).tolist():
        ax.scatter(*x[label == c].T, s=size, color=class_colour(c), linewidths=0, **settings)  # type: ignore[misc]


def hyperplane(ax: Axes, net: CkNetwork, span: float = 1e3) -> None:
    """The line where the readout gives two classes the same probability, in a panel of x^(L) whose limits are set.

    For a network of two classes whose last layer has width 2. `span` is half the length of the line.
    """
    w, b = as_array(net.readout.weight), as_array(net.readout.bias)
    normal, offset = w[1] - w[0], b[1] - b[0]
    foot = -offset * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(*np.stack([foot - span * along, foot + span * along]).T, color=GREY, lw=1, ls="--")
    ax.set(xlim=limits[0], ylim=limits[1])


def outlines(geometry: Geometry, radius: float) -> list[Tensor]:
    """The balls of constant ds = radius at every layer as closed curves, (n, 97, 2) each, in that layer's coordinates (Eq. 13, Figure 3).

    Errors: ValueError for a network whose state does not have two components at every layer: only ellipses in a plane can be drawn.
    """
    if wrong := sorted({P.shape[-1] for P in geometry.P} - {2}):
        raise ValueError(f"the state has {wrong[0]} components at some layer; 2 at every layer are needed to draw balls")
    return [ball.outline(x) for ball, x in zip(geometry.balls(radius), geometry.x, strict=True)]


def metric_of(f: Callable[[Tensor], Tensor], x: Tensor, radius: float, *, label: Tensor | None = None, at: Tensor | None = None) -> Figure:
    """Balls of constant ds = radius of the metric that any map pulls back to the plane (Eq. 13), among the points x, (n, 2).

    `f` is a network or map as in `pushforward_of`. `label` colours the points. `at` are the centres, (m, 2); without it, about forty of
    the points. An infinite axis, where the map is degenerate, is not drawn.
    Errors: ValueError for points that are not in the plane, and as in `pushforward_of`.
    """
    x = checks.points(x, 2)
    at = x[:: max(1, len(x) // 40)] if at is None else checks.points(at, 2, name="at")
    curves = as_array(balls_of(pushforward_of(f, at), radius).outline(at))
    fig, axes = figure(width=4.6)
    ax = axes[0, 0]
    scatter_classes(ax, x, torch.zeros(len(x), dtype=torch.int64) if label is None else label, 2.0, alpha=0.5)
    ax.add_collection(LineCollection([curve for curve in curves if np.isfinite(curve).all()], colors="k", linewidths=0.8))
    square_limits(ax, x)
    ax.set(xlabel="$x^1$", ylabel="$x^2$", title=f"balls of radius ds = {radius:g} (output units)")
    return fig


# Colours and arrays.


def class_colour(label: int) -> str:
    """The colour of a class."""
    return CLASSES[int(label) % len(CLASSES)]


def as_array(x) -> np.ndarray:
    """A tensor on any device, or anything like an array, as a NumPy array."""
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
