"""The figures of this companion, a module for each section. They draw arrays and tables that a notebook computed."""

import os
from collections.abc import Iterable
from pathlib import Path

from IPython.display import Image, Markdown
from matplotlib.figure import Figure


def save(fig: Figure, name: str, alt: str = "") -> Figure:
    """Writes figures/NAME.pdf and .png below the build folder (RIEMLIB_BUILD, else build/ of the project), and returns the figure.

    `alt` is the text of `described`, for a figure that has none yet.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # laid out once, not again for every file
    fig.savefig(folder / f"{name}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
    fig.savefig(folder / f"{name}.png", bbox_inches="tight")
    return described(fig, alt) if alt else fig


def saved(name: str, alt: str, width: int = 700) -> Image | Markdown:
    """The figure that a notebook of this run has saved, or a line that says that none has."""
    file = _folder() / f"{name}.png"
    return Image(file, width=width, alt=alt) if file.exists() else Markdown(f"({alt}: its notebook has not run yet)")


def _folder() -> Path:
    return Path(os.environ.get("RIEMLIB_BUILD") or Path(__file__).parents[3] / "build") / "figures"


def described(fig: Figure, alt: str) -> Figure:
    """The figure with a text that says what it shows, for those who do not see it.

    Jupyter asks a figure for `_repr_mimebundle_` and keeps the answer: the text becomes metadata of the output, and the book's alt text.
    """
    fig._repr_mimebundle_ = lambda include=None, exclude=None: ({}, {"image/png": {"alt": alt}})
    return fig


def listed(names: Iterable[object]) -> str:
    """Names as a list in words.

    >>> listed(["C0", "C1", "C2"])
    'C0, C1 and C2'
    """
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last
