"""The pages of the book: README.md as its front page, each executed notebook, the index of equations and `speed`, as sources for Sphinx.

The page of a notebook has what a reader without a kernel needs: the box with the verdicts comes first, cells that only import or draw are
folded, a figure has a text for those who do not see it, links lead to pages of the book.
"""

import ast
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .. import index, ledger
from ..build import code_cells, names
from ..provenance import PACKAGE, definition, parsed
from . import speed

WIDGET = "application/vnd.jupyter.widget-view+json"
OURS = "application/vnd.riemlib."
#: modules of riemlib that draw, or keep the companion's books: to call them is not mathematics
PLUMBING = (f"{PACKAGE}.companion.", f"{PACKAGE}.plot.")
FIGURES = f"{PACKAGE}.companion.figures."

#: where a line of the index of equations leads: a notebook, and one of its code cells by position
Places = dict[index.Entry, tuple[str, int]]


def write(root: Path, folder: Path) -> None:
    """Writes the sources. A file that is there with the same content is left alone, so Sphinx reads only what changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = dict(sources(root))
    linked = {file for text in wanted.values() for file in linked_files(text, root)}
    for old in [*folder.glob("[!.]*/*.ipynb"), *folder.glob("speed.*")]:
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()
    for name in linked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, folder / name)
    for name, text in wanted.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """The name and the text of each source."""
    executed = {name: root / "notebooks" / f"{name}.ipynb" for name in sorted(names(root))}
    notebooks = {name: nbformat.read(file, as_version=4) for name, file in executed.items() if file.exists()}
    titles = {name: title(name, nb) for name, nb in notebooks.items()}
    places = first_calls(notebooks, root)
    claims = ledger.gather(root / "notebooks" / f"{name}.ipynb" for name in notebooks)
    for name, nb in notebooks.items():
        yield f"notebooks/{name}.ipynb", nbformat.writes(page(nb, name, titles[name], places, root))
    yield "equations.md", equation_page(places, titles, root)
    measured = dict(speed.sources(root))
    yield from measured.items()
    more = ["equations", *(Path(name).stem for name in measured if name.endswith(".md"))]
    yield "index.md", front_page((root / "README.md").read_text(encoding="utf-8"), notebooks, more, ledger.summary(claims), root)


def linked_files(text: str, root: Path) -> set[str]:
    """The files of the repository, pages of the book aside, to which Markdown links."""
    found = set(re.findall(r"\]\(([^)#:\s]+)\)", text))
    return {link for link in found if (root / link).is_file() and not link.endswith((".ipynb", ".md"))}


# The front page.


def front_page(readme: str, names: Iterable[str], more: Iterable[str], summary: str, root: Path) -> str:
    """README.md, with links in place of its two long tables, and the list of pages at its end: the notebooks, and what follows them."""
    text = between(readme, "ledger", f"{summary} [The ledger](notebooks/00_overview.ipynb) has them all.")
    text = between(text, "equations", "[The index of equations](equations.md) is a page of its own.")
    text = re.sub(r"\]\(([\w/]+)\)", lambda link: f"]({link[1]}/__init__.py)" if (root / link[1]).is_dir() else link[0], text)
    listed = "\n".join([*(f"notebooks/{name}" for name in names), *more])
    return f"{text}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"


def between(text: str, mark: str, new: str) -> str:
    """The text with `new` in place of all from <!-- MARK --> to <!-- /MARK -->."""
    return re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: new, text, flags=re.DOTALL)


def title(name: str, nb: NotebookNode) -> str:
    """The title of a page: § and the number of the section, and the heading of the notebook without formulas."""
    if name == "00_overview":
        return "Overview"
    heading = without_formulas(re.sub(r"^# (§[\d.]+|\d+ ·)?\s*", "", nb.cells[0].source.splitlines()[0]))
    section = re.match(r"0(\d)(?:_(\d))?_(?!appendix)", name)
    return f"§{'.'.join(filter(None, section.groups()))} {heading}" if section else heading


def without_formulas(text: str) -> str:
    """Text without formulas, with C^k as Cᵏ, and without marks of code."""
    return re.sub(r"[\s,:]*\$[^$]*\$", "", text.replace("$C^k$", "Cᵏ")).replace("`", "")


# The index of equations.


def first_calls(notebooks: Mapping[str, NotebookNode], root: Path) -> Places:
    """For each line of the index the first cell of its notebook that calls its function."""
    called = {name: index.called([cell.source for cell in code_cells(nb)], root) for name, nb in notebooks.items()}
    found = {entry: index.calls(entry, called.get(entry.notebook, []), root) for entry in index.entries(root)}
    return {entry: (entry.notebook, positions[0]) for entry, positions in found.items() if positions}


def equation_page(places: Places, titles: Mapping[str, str], root: Path) -> str:
    """The index of equations. Each line links to the cell that calls its function, and that cell links back to it."""
    lines = [f"| {' | '.join(index.HEAD)} |", "|---" * len(index.HEAD) + "|"]
    for entry, place in places.items():
        file = definition(root, f"{PACKAGE}.{entry.function}")[1].relative_to(root).as_posix()
        function = re.sub(r"([._])", r"\1<wbr>", entry.function)  # a long name may break there
        cell = f"[{titles[entry.notebook].split()[0]}](#{anchor(*place)})"
        lines.append(f"| [{entry.equation}]{{#{line(entry)}}} | {entry.statement} | [{function}]({file}) | {cell} |")
    told = "Where each equation is in the code, and the first cell that calls it. `help(riemlib)` shows the same table."
    return "\n".join(["# Equations", "", told, "", *lines, ""])


def line(entry: index.Entry) -> str:
    """The anchor of a line of the index."""
    return re.sub(r"[^a-z0-9]+", "-", f"index {entry.equation.replace('§', 'section ')} {entry.function}".lower())


def anchor(name: str, position: int) -> str:
    """The anchor of a code cell of a notebook."""
    return f"cell-{name.replace('_', '-')}-{position}"


# A notebook.


def page(nb: NotebookNode, name: str, heading: str, places: Places, root: Path) -> NotebookNode:
    """The page of an executed notebook."""
    code = code_cells(nb)
    called = index.called([cell.source for cell in code], root)
    texts = alternatives(nb, called, root)
    for cell, functions, text in zip(code, called, texts, strict=True):
        cell.metadata.tags = [*cell.metadata.get("tags", []), *tags(cell, functions)]
        if text:
            cell.metadata.mystnb = {"image": {"alt": text}}
        cell.outputs = list(for_readers(cell.outputs))
    nb.cells[0].source = re.sub("^# .*", f"# {heading}", nb.cells[0].source)
    nb.cells = list(map(NotebookNode, in_order(nb, code, links_back(name, places))))
    nb.metadata.pop("widgets", None)
    return nb


def in_order(nb: NotebookNode, code: Sequence[NotebookNode], links: Mapping[int, NotebookNode]) -> Iterator[dict]:
    """The cells: first the title and the box with the verdicts; a line of links before its cell. No box where nothing is decided."""
    positions = {cell.id: i for i, cell in enumerate(code)}
    opens = [cell for cell in code if re.search(r"^notebook\.opening\(", cell.source, re.MULTILINE)]
    decides = any("notebook.decide(" in cell.source for cell in code)
    yield nb.cells[0]
    for cell in opens:
        yield cell if decides else {**cell, "outputs": []}
    for cell in nb.cells[1:]:
        if (position := positions.get(cell.id)) in links:
            yield links[position]  # type: ignore[index]
        if cell not in opens:
            yield cell


def links_back(name: str, places: Places) -> dict[int, NotebookNode]:
    """For the cells of a notebook that the index of equations leads to, a line with links back to it."""
    found: dict[int, list[index.Entry]] = {}
    for entry, (notebook, position) in places.items():
        if notebook == name:
            found.setdefault(position, []).append(entry)
    return {position: _line_of_links(anchor(name, position), entries) for position, entries in found.items()}


def _line_of_links(anchor: str, entries: Iterable[index.Entry]) -> NotebookNode:
    links = " · ".join(f"[{entry.equation}](#{line(entry)})" for entry in entries)
    return nbformat.v4.new_markdown_cell(f"{{#{anchor} .equations}}\n{links}", id=anchor)


def tags(cell: NotebookNode, called: Iterable[str]) -> list[str]:
    """How a cell is shown. Code that opens or closes the notebook is left out; code that imports, draws or shows the ledger is folded.

    A cell that calls the mathematics of riemlib, or decides a claim, is shown.
    """
    statements = [ast.unparse(node) for node in ast.parse(cell.source).body]
    if all(statement.startswith(("notebook.opening(", "notebook.closing(")) for statement in statements):
        return ["remove-input"]
    mathematics = [name for name in called if name.startswith(f"{PACKAGE}.") and not name.startswith(PLUMBING)]
    shows = has_figure(cell) or statements[-1].startswith(("HTML(ledger.", "Markdown(ledger."))
    draws = shows and not mathematics and "notebook.decide(" not in cell.source
    settings = "parameters" in cell.metadata.get("tags", []) and len(statements) == 1  # no more than the device
    imports = all(statement.startswith(("import ", "from ", "notebook.opening(", "claims = ledger.gather(")) for statement in statements)
    return ["hide-input"] if draws or settings or imports else []


def has_figure(cell: NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def for_readers(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """Outputs without data that only a kernel or our own code reads, and with links to pages in place of notebooks."""
    for output in outputs:
        if "data" in output:
            live = output.data.pop(WIDGET, None)
            output.data = {kind: data for kind, data in output.data.items() if not kind.startswith(OURS)}
            if live and set(output.data) <= {"text/plain"}:  # nothing but the name of a widget
                continue
            if html := output.data.get("text/html"):
                output.data["text/html"] = re.sub(r"(href=['\"][\w.]+)\.ipynb\b", r"\1.html", html)
        yield output


# What a figure shows.


def alternatives(nb: NotebookNode, called: Sequence[set[str]], root: Path) -> list[str]:
    """For each code cell the text for those who do not see its figure; empty where it has none.

    It is the text that the figure carries. Where there is none: the heading above, and what the function that drew it says.
    """
    code, heading = code_cells(nb), ""
    found: list[str] = []
    defined = {
        node.name: called[i] for i, cell in enumerate(code) for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)
    }
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            heading = ([heading] + re.findall(r"^#+ (.*)", cell.source, re.MULTILINE))[-1]
        elif cell in code:
            here = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
            functions = called[len(found)].union(*(defined[name] for name in here & set(defined)))
            carried = [output.get("metadata", {}).get("image/png", {}).get("alt") for output in cell.outputs]
            drawn = [summary_of(name, root) for name in sorted(functions) if name.startswith(FIGURES)]
            text = next(filter(None, carried), "") or ". ".join([without_formulas(heading), *filter(None, drawn)])
            found.append(text if has_figure(cell) else "")
    return found


def summary_of(function: str, root: Path) -> str:
    """The first line of the docstring of a function that draws; empty for one that only saves."""
    dotted, file = definition(root, function)
    name = dotted.rpartition(".")[2]
    nodes = [node for node in parsed(file).body if isinstance(node, ast.FunctionDef) and node.name == name != "save"]
    return (ast.get_docstring(nodes[0]) or "").splitlines()[0].replace("`", "") if nodes else ""
