"""The index of equations: the table in the docstring of riemlib/__init__.py, and where the notebooks call what it lists."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from .provenance import PACKAGE, ROOT, definition, names_used, parsed

HEAD = ("Eq.", "what it says", "function", "notebook")


@dataclass(frozen=True)
class Entry:
    """A line of the table: an equation (or a section, a figure), the `function` below riemlib for it, and a notebook that calls this."""

    equation: str
    statement: str
    function: str
    notebook: str


def entries(root: Path = ROOT) -> list[Entry]:
    """The lines of the table. Errors: ValueError for a line that has not four columns."""
    text = ast.get_docstring(ast.parse((root / PACKAGE / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.strip().startswith("|")]
    if wrong := [line for line in lines if len(line) != len(HEAD)]:
        raise ValueError(f"the index has the line {' | '.join(wrong[0])}; {len(HEAD)} columns are needed")
    return [Entry(*line) for line in lines if tuple(line) != HEAD and set("".join(line)) - set("-: ")]


def numbers(text: str) -> set[str]:
    """What a text refers to, ranges spelled out: "Eqs. 9, 10" is Eq. 9 and Eq. 10; also definitions, sections and figures.

    >>> sorted(numbers("(Eqs. 1-3 and 7, Def. 4.2, section 7.1, Fig. 3)"))
    ['Def. 4.2', 'Eq. 1', 'Eq. 2', 'Eq. 3', 'Eq. 7', 'Figure 3', '§7.1']
    """
    kinds = {r"Eqs?\.": "Eq. ", r"Defs?\.?": "Def. ", r"(?:§§?|[Ss]ections?)": "§", r"(?:Fig\.|Figures?)": "Figure "}
    number = r"\d+(?:\.\d+)?"
    found = set()
    for kind, name in kinds.items():
        for match in re.findall(rf"{kind}\s?({number}(?:(?:\s*[-–]|\s*,|,?\s+and|\s+to)\s*{number})*)", text):
            for first, last in re.findall(rf"({number})(?:(?:\s*[-–]\s*|\s+to\s+)({number}))?", match):
                whole = last and first.isdigit() and last.isdigit()
                each = range(int(first), int(last) + 1) if whole else filter(None, (first, last))
                found |= {f"{name}{one}" for one in each}
    return found


# Who calls what.


def called(cells: Sequence[str], root: Path = ROOT) -> list[set[str]]:
    """For each cell the functions of riemlib that it calls, as `riemlib.metric.jacobians`, and the methods, as `.coordinates`.

    A function counts by any name under which it is imported. One that is passed on by name counts as called. So does one that a study is
    asked to measure with. A cell that is not plain Python counts for nothing.
    """
    trees = [_tree(cell) for cell in cells]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    measures = measured(root)
    found = []
    for tree in trees:
        through = [measures[measure] for measure in _measures_asked(tree) & set(measures)]
        found.append(_functions(ast.Module([*imports, *tree.body], []), root).union(_methods(tree), *through))
    return found


def calls(entry: Entry, found: Sequence[set[str]], root: Path = ROOT) -> list[int]:
    """The cells, by position, that call the function of an entry; `found` is what `called` finds."""
    dotted = definition(root, f"{PACKAGE}.{entry.function}")[0]
    *_, owner, name = dotted.split(".")
    names = {dotted, f".{name}"} if owner[0].isupper() else {dotted}
    return [i for i, cell in enumerate(found) if cell & names]


def measured(root: Path = ROOT) -> dict[str, set[str]]:
    """The measures of a study, and the functions of riemlib that each is found with: from MEASURES in companion/studies.py."""
    file = root / PACKAGE / "companion" / "studies.py"
    body = parsed(file).body if file.exists() else []
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    tables = [s.value for s in body if isinstance(s, ast.Assign | ast.AnnAssign) and isinstance(s.value, ast.Dict)]
    found: dict = {}
    for table in tables:
        for key, value in zip(table.keys, table.values, strict=True):
            used = [node.id for node in ast.walk(value) if isinstance(node, ast.Name) and node.id in functions]
            if used and isinstance(key, ast.Constant):
                found[key.value] = _functions(ast.Module([*imports, functions[used[0]]], []), root, f"{PACKAGE}.companion.studies")
    return found


def _functions(tree: ast.Module, root: Path, inside: str = "") -> set[str]:
    """The functions of riemlib whose names code reads."""
    found = set()
    for node, dotted in names_used(tree, inside):
        if isinstance(node, ast.Name | ast.Attribute):
            try:
                found.add(definition(root, dotted)[0])
            except ValueError:  # a module
                continue
    return found


def _methods(tree: ast.Module) -> set[str]:
    """The names of the methods that code calls."""
    return {f".{node.func.attr}" for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}


def _measures_asked(tree: ast.Module) -> set[str]:
    """The names in `measures=[...]` and in `result["..."]`."""
    places = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "measures"]
    places += [node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    return {node.value for place in places for node in ast.walk(place) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _tree(cell: str) -> ast.Module:
    try:
        return ast.parse(cell)
    except SyntaxError:
        return ast.Module([], [])


# The table in README.md.


def markdown(root: Path = ROOT, folder: str = "notebooks") -> str:
    """The table with links: to the file of each function, to the notebook, and the number of the first executed cell that calls it."""
    listed = entries(root)
    executed = {name: _executed(root / folder / f"{name}.ipynb", root) for name in {entry.notebook for entry in listed}}
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for entry in listed:
        file = definition(root, f"{PACKAGE}.{entry.function}")[1].relative_to(root).as_posix()
        counts, found = executed[entry.notebook]
        cell = next((rf" \[{counts[i]}\]" for i in calls(entry, found, root)), "")
        notebook = f"[{entry.notebook}{cell}]({folder}/{entry.notebook}.ipynb)"
        lines.append(f"| {entry.equation} | {entry.statement} | [{entry.function}]({file}) | {notebook} |")
    return "\n".join(lines)


def _executed(path: Path, root: Path) -> tuple[list[int], list[set[str]]]:
    """Of each code cell of an executed notebook, the number under which it was executed, and what it calls. Empty where there is none."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"] if path.exists() else []
    return [cell.execution_count for cell in cells], called([cell.source for cell in cells], root)
