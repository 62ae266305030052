"""Sphinx: README.md and the executed notebooks as a book (`make site`). Nothing is executed here."""

from pathlib import Path

project = "riemlib"
html_title = "Riemannian Geometry in Neural Networks"
html_theme = "sphinx_book_theme"
extensions = ["myst_nb"]

root_doc = "README"  # the front page; the folder that Sphinx reads is the top of the repository
include_patterns = ["README.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "riemlib", "tests"]

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath"]
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]


def list_notebooks(app, page: str, text: list[str]) -> None:
    """Lists the notebooks below the front page, which as README.md has no table of contents."""
    if page == root_doc:
        notebooks = sorted(Path(app.srcdir, "notebooks").glob("*.ipynb"))
        listed = "\n".join(f"notebooks/{path.stem}" for path in notebooks)
        text[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"


def setup(app) -> dict:
    app.connect("source-read", list_notebooks)
    return {"parallel_read_safe": True}
