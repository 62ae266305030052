"""One style: the same colours for the same class and network everywhere, colour-blind safe (Okabe and Ito), readable in print."""

import os
from collections.abc import Sequence
from pathlib import Path

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


def save(fig: Figure, name: str) -> Figure:
    """Writes figures/NAME.pdf and .png below the build folder (RIEMLIB_BUILD, else build/ of the project), and returns the figure."""
    folder = Path(os.environ.get("RIEMLIB_BUILD") or Path(__file__).parents[2] / "build") / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # laid out once, not again for every file
    fig.savefig(folder / f"{name}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
    fig.savefig(folder / f"{name}.png", bbox_inches="tight")
    return fig
