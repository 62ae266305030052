"""Sphinx: the settings of the book. `python -m riemlib.companion.book` writes its pages and calls Sphinx; nothing is executed here."""

from importlib.util import find_spec
from pathlib import Path

project = "riemlib"
author = "The riemlib maintainers"
copyright = f"{author}. Code: MIT. Prose and figures: CC BY 4.0"
language = "en"

extensions = ["myst_nb"]
root_doc = "index"
nb_execution_mode = "off"
nb_render_markdown_format = "gfm"  # outputs in Markdown have tables
nb_ipywidgets_js: dict[str, dict] = {}  # the book has no kernel: nothing of widgets is loaded
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "dollarmath"]
myst_dmath_double_inline = True  # $$ … $$ within a paragraph, as in Jupyter
myst_html_meta = {"author": author, "description": "The paper of Hauser and Ray (2017) as notebooks: each claim is checked"}

# One file of MathJax, which draws formulas as SVG and so needs no fonts. The package would copy all of MathJax, 24 MB.
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "sphinx_book_theme"
html_title = "Riemannian Geometry in Neural Networks"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["static", str(Path(find_spec("sphinx-mathjax-offline").origin).with_name("static") / "mathjax" / mathjax_path)]  # type: ignore
html_css_files = ["book.css"]
html_sidebars = {"**": ["navbar-logo.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],  # a second search box
    "use_download_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
