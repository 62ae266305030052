"""One style: the same colours for the same class and network everywhere, colour-blind safe (Okabe and Ito), readable in print."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Class 0, 1, 2, ... (blue, vermilion, green, pink)
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: A network's colour wherever networks are compared
NETWORKS = {"C0": "#E69F00", "C1": "#0072B2", "C2": "#CC79A7", "mixed": "#009E73"}
GREY = "#555555"

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


def class_colour(label: int) -> str:
    """The colour of a class, the same in every figure."""
    return CLASSES[int(label) % len(CLASSES)]


def canvas(width: float, height: float) -> Figure:
    """An empty constrained figure in the common style."""
    plt.rcParams.update(STYLE)
    return plt.figure(figsize=(width, height), layout="constrained")


def figure(rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float | None = None, **kwargs) -> tuple[Figure, np.ndarray]:
    """A constrained figure of panels in the common style, `width` inches wide; axes always as a 2-d array."""
    plt.rcParams.update(STYLE)
    height = height or width * rows / columns
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **kwargs)


def layer_grid(count: int, *, columns: int = 4, width: float = 8.0, name: str = "layer {}") -> tuple[Figure, Sequence[Axes]]:
    """A panel a layer, square and titled, unused panels left out."""
    rows = -(-count // columns)
    fig, axes = figure(rows, columns, width=width, height=width * rows / columns * 1.06)
    for i, ax in enumerate(axes.flat):
        ax.set_visible(i < count)
        ax.set_title(name.format(i))
        ax.set_aspect("equal", adjustable="datalim")
    return fig, axes.flat[:count]


def as_array(x) -> np.ndarray:
    """A tensor or anything like an array as a NumPy array."""
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def scatter_classes(ax, x, label, size: float = 3.0, **kwargs) -> None:
    """The points of each class in its colour."""
    x, label = as_array(x), as_array(label)
    for c in np.unique(label):
        ax.scatter(*x[label == c].T, s=size, color=class_colour(c), linewidths=0, **kwargs)


def hyperplane(ax, net, span: float = 1e3) -> None:
    """The line where the readout of a two-class network of width 2 is undecided, within the present limits."""
    w = as_array(net.readout.weight)
    b = as_array(net.readout.bias)
    normal, offset = w[1] - w[0], b[1] - b[0]
    foot = -offset * normal / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    limits = ax.get_xlim(), ax.get_ylim()
    ax.plot(*np.stack([foot - span * along, foot + span * along]).T, color=GREY, lw=1, ls="--")
    ax.set(xlim=limits[0], ylim=limits[1])


def frame(ax, x, margin: float = 0.12) -> None:
    """Square limits about the points."""
    low, high = as_array(x).min(0), as_array(x).max(0)
    centre, half = (low + high) / 2, (high - low).max() * (0.5 + margin)
    ax.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
    ax.set_aspect("equal", adjustable="box")
