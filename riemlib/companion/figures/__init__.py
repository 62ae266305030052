"""The figures of this companion, a module for each section. They draw arrays and tables that a notebook computed."""

import os
from pathlib import Path

from matplotlib.figure import Figure


def save(fig: Figure, name: str) -> Figure:
    """Writes figures/NAME.pdf and .png below the build folder (RIEMLIB_BUILD, else build/ of the project), and returns the figure."""
    folder = Path(os.environ.get("RIEMLIB_BUILD") or Path(__file__).parents[3] / "build") / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # laid out once, not again for every file
    fig.savefig(folder / f"{name}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
    fig.savefig(folder / f"{name}.png", bbox_inches="tight")
    return fig
