"""The book as a reader opens it: built without a warning, every page read from disk in Chromium with the network off."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from playwright.sync_api import Browser, Page, sync_playwright

from riemlib.companion import figures, index, ledger
from riemlib.companion.book import pages, speed
from riemlib.companion.figures import described
from riemlib.companion.provenance import ROOT

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MORE = ["equations", *(["speed"] if (ROOT / speed.RECORD).exists() else [])]
PAGES = [*(f"{name}.html" for name in ("index", *MORE, "search", "genindex")), *(f"notebooks/{name}.html" for name in NOTEBOOKS)]
DECIDED = ledger.gather(sorted((ROOT / "notebooks").glob("*.ipynb")))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("book") / "site"
    built = subprocess.run([sys.executable, "-m", "riemlib.companion.book", str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0 and not built.stderr, built.stderr
    return folder


@pytest.fixture(scope="module")
def parsed(site) -> dict[str, BeautifulSoup]:
    return {name: BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser") for name in PAGES}


# Without a browser.


def test_every_page_is_read_by_these_tests(site):
    assert {path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_to_places_in_them(parsed, site, name):
    dead = []
    for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
        for element in parsed[name].find_all(tag, attrs={attribute: True}):
            link = urlsplit(element[attribute])
            if link.scheme or link.netloc:
                dead += [element[attribute]] if tag != "a" else []  # a page loads nothing from elsewhere
                continue
            path = os.path.normpath(Path(name).parent / unquote(link.path)) if link.path else name
            whole = parsed.get(path)
            if not (site / path).is_file() or (link.fragment and whole and not whole.find(id=unquote(link.fragment))):
                dead.append(element[attribute])
    assert not dead


def test_ledger_and_errata_link_to_the_cells_that_decide(parsed):
    links = {a["href"] for a in parsed["notebooks/00_overview.html"].select(".cell_output a")}
    assert {f"{claim['notebook']}.html#{claim['id']}" for claim in DECIDED} <= links
    links = {a["href"] for a in parsed["notebooks/10_errata.html"].select(".cell_output a")}
    assert links and links <= {f"{claim['notebook']}.html#{claim['id']}" for claim in DECIDED}
    for claim in DECIDED:
        place = parsed[f"notebooks/{claim['notebook']}.html"].find(id=claim["id"])
        assert "notebook.decide" in place.find_parent(class_="cell").find(class_="cell_input").text


def test_the_index_of_equations_and_the_cells_link_to_each_other(parsed):
    table = parsed["equations.html"].select_one("article table")
    rows = table.select("tbody tr")
    assert [row.td.text for row in rows] == [entry.equation for entry in index.entries()]
    for row, entry in zip(rows, index.entries(), strict=True):
        there = row.find_all("td")[3].a["href"]
        page, _, fragment = there.partition("#")
        line = parsed[page].find(id=fragment)
        assert line.find("a", href=f"../equations.html#{row.td.span['id']}").text == entry.equation
        cell = line.find_next(class_="cell_input").text
        assert entry.function.rpartition(".")[2] in cell or index.calls(entry, index.called([cell]))


def test_images_say_what_they_show(parsed):
    for name, page in parsed.items():
        for image in page.find_all("img"):
            said = image.get("alt", "")
            assert len(said.split()) >= 4 and not re.search(r"[\w-]+\.(png|jpe?g|svg)|_images/|\\|\$", said), (name, image)
    assert sum(len(page.select(".cell_output img")) for page in parsed.values()) >= 53


def test_titles_have_one_form(parsed):
    listed = [a.text.strip() for a in parsed["index.html"].select("#pst-primary-sidebar nav a")]
    notebooks, more = listed[: len(NOTEBOOKS)], listed[len(NOTEBOOKS) :]
    assert (
        notebooks[0] == "Overview"
        and notebooks[-2:] == ["Errata", "Protocol and deviations"]
        and more == [name.capitalize() for name in MORE]
    )
    assert all(re.match(r"§\d(\.\d)? \w|Appendix", title) for title in notebooks[1:-2])
    assert not re.search(r"[$\\^_]|\d ·", " ".join(listed))
    for name, title in zip(NOTEBOOKS[1:], listed[1:], strict=False):
        assert parsed[f"notebooks/{name}.html"].h1.text.startswith(title)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_verdicts_come_first_and_only_where_there_are_any(parsed, name):
    article = parsed[f"notebooks/{name}.html"].article
    decides = any(claim["notebook"] == name for claim in DECIDED)
    boxes = [cell for cell in article.select(".cell") if "Verdicts of" in cell.text]
    assert len(boxes) == decides
    if decides:
        assert boxes[0] is article.select_one(".cell") and boxes[0].find_previous(["h1", "h2"]).name == "h1"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_folded_cells_hold_no_mathematics(parsed, name):
    folded = [cell.select_one(".cell_input").text for cell in parsed[f"notebooks/{name}.html"].select(".tag_hide-input")]
    assert not [cell for cell in folded if "decide(" in cell]
    equations = [entry for entry in index.entries() if entry.notebook == name and not entry.function.startswith("companion")]
    called = index.called(folded)
    assert not [(entry, index.calls(entry, called)) for entry in equations if index.calls(entry, called)]
    shown = [cell.text for cell in parsed[f"notebooks/{name}.html"].select(".cell:not(.tag_hide-input) .cell_input")]
    assert not [cell for cell in shown if all(re.match("import |from |$", line) for line in cell.splitlines())]


def test_author_and_language(parsed):
    for name, page in parsed.items():
        assert page.html["lang"] == "en"
        if name not in ("search.html", "genindex.html"):
            assert page.find("meta", attrs={"name": "author"})["content"]


def test_outputs_that_need_a_kernel_are_left_out():
    widget = nbformat.v4.new_output("display_data", data={pages.WIDGET: {"model_id": "1"}, "text/plain": "Controls()"})
    shown = nbformat.v4.new_output("display_data", data={"text/html": "<a href='04_metric.ipynb#gauge'>x</a>", ledger.MIME: {}})
    picture = nbformat.v4.new_output("display_data", data={pages.WIDGET: {"model_id": "2"}, "text/plain": "Panel()", "image/png": "aGk="})
    cell = nbformat.v4.new_code_cell("1", outputs=[widget, shown, picture])
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One"), cell])
    first, second = pages.page(nb, "01_one", "§1 One", {}, ROOT).cells[1].outputs
    assert first.data == {"text/html": "<a href='04_metric.html#gauge'>x</a>"} and set(second.data) == {"image/png", "text/plain"}


def test_a_figure_is_described_by_the_text_that_it_carries():
    figure = nbformat.v4.new_output("display_data", data={"image/png": "aGk="}, metadata={"image/png": {"alt": "Two arms of a spiral."}})
    cells = [nbformat.v4.new_markdown_cell("# One"), nbformat.v4.new_code_cell("plt.show()", outputs=[figure])]
    nb = pages.page(nbformat.v4.new_notebook(cells=cells), "01_one", "§1 One", {}, ROOT)
    assert nb.cells[1].metadata.mystnb.image.alt == "Two arms of a spiral."


def test_jupyter_keeps_the_text_of_a_figure_in_its_output():
    """As metadata of the picture, which the page reads (above)."""
    display = InteractiveShell.instance().display_formatter
    display.formatters["image/png"].for_type(Figure, lambda fig: b"picture")
    data, metadata = display.format(described(Figure(), "Two arms of a spiral."))
    assert data["image/png"] and metadata == {"image/png": {"alt": "Two arms of a spiral."}}


def test_every_function_that_draws_says_what_it_drew():
    for file in sorted(Path(figures.__file__).parent.glob("[a-z]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            makes = ("figure(", "canvas(", "layer_grid(", "_panels(")  # the last one only for functions of this package
            if isinstance(node, ast.FunctionDef) and node.name != "_panels" and any(name in ast.unparse(node) for name in makes):
                returned = [ast.unparse(n.value) for n in ast.walk(node) if isinstance(n, ast.Return)]
                assert returned and all(value.startswith("described(") for value in returned), f"{file.stem}.{node.name}"


# In a browser.


def chromium() -> str:
    """Chromium of this machine. Where there is none the test is skipped, or fails where RIEMLIB_NEEDS_CHROMIUM is set."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name or ""):
            return found
    (pytest.fail if os.environ.get("RIEMLIB_NEEDS_CHROMIUM") else pytest.skip)("no Chromium: the pages of the book were not opened")


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=path, args=["--disable-gpu", "--disable-background-networking"], chromium_sandbox=False
        )
        yield found
        found.close()


#: what axe need not see again and again: formulas, and tokens of code that are like one before
LIGHTER = """() => {
    document.querySelectorAll('mjx-container').forEach(formula => formula.remove());
    const seen = new Set();
    for (const token of document.querySelectorAll('.highlight pre span')) {
        if (seen.has(token.className)) token.replaceWith(token.textContent); else seen.add(token.className);
    }
}"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_works_without_network(site, browser: Browser, name):
    page = browser.new_context(offline=True, reduced_motion="reduce").new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("request", lambda request: wrong.append(request.url) if urlsplit(request.url).scheme not in ("file", "data", "blob") else None)
    page.goto((site / name).as_uri())
    formulas(page, name)
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # no line is wider than the screen
        search = ".search-button, .search-button-field, input[type=search]"
        assert sum(box.is_visible() for box in page.locator(search).all()) == 1
    assert not wrong
    page.evaluate(LIGHTER)
    for theme, rules in (("light", None), ("dark", {"type": "rule", "values": ["color-contrast", "link-in-text-block"]})):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"], **({"runOnly": rules} if rules else {})})
        serious = [found for found in found.response["violations"] if found["impact"] in ("serious", "critical")]
        assert not serious, (theme, [(v["id"], [node["html"] for node in v["nodes"]][:5]) for v in serious])
    page.context.close()


def formulas(page: Page, name: str) -> None:
    """As many formulas are drawn as the Markdown has, none of them as an error, and no TeX is left."""
    if page.locator(".math").count():
        page.evaluate("MathJax.startup.promise.then(() => true)")
    drawn = "Array.from(document.querySelectorAll('article .math')).filter(math => math.querySelector('mjx-container svg')).length"
    assert page.evaluate(drawn) == written(name)
    assert not page.locator("mjx-merror, [data-mjx-error]").count()
    text = page.evaluate("Array.from(document.querySelectorAll('article :is(p, li, td, h1, h2, h3)')).map(e => e.innerText).join(' ')")
    assert not re.search(r"\\\(|\\\[|\$\$|\$[^$ ]+\$", text)


def written(name: str) -> int:
    """How many formulas the source of a page has."""
    reader = MarkdownIt().use(dollarmath_plugin, double_inline=True).use(amsmath_plugin)
    file = ROOT / Path(name).with_suffix(".ipynb")
    cells = nbformat.read(file, as_version=4).cells if file.exists() else []
    title, *rest = [cell.source for cell in cells if cell.cell_type == "markdown"] or [""]
    title = "\n".join(title.splitlines()[1:])  # the book has no formula in a title
    tokens = [token for text in [title, *rest] for token in reader.parse(text)]
    tokens += [child for token in tokens for child in token.children or []]
    return sum(token.type.startswith(("math_inline", "math_block", "amsmath")) for token in tokens)


def test_search_finds_pages_offline(site, browser):
    page = browser.new_context(offline=True).new_page()
    page.goto((site / "search.html").as_uri() + "?q=pushforward")
    page.locator("#search-results li a").first.wait_for()
    assert "04_1_metric.html" in " ".join(a.get_attribute("href") for a in page.locator("#search-results li a").all())
    page.context.close()
