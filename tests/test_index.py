"""The index of equations: every line leads to a function that names its equation, and to a notebook that calls it."""

import importlib
from functools import cache, reduce

import nbformat
import pytest

from riemlib.companion import build, index
from riemlib.companion.provenance import ROOT, definition

ENTRIES = index.entries()
NEEDED = {
    "softmax",
    *(f"Eq. {n}" for n in range(1, 16)),
    "limit of Eq. 12",
    "limit of Eq. 15",
    "Def. 4.2",
    "Def. 4.3",
    "Def. 5.1",
    "Def. 5.2",
}
NEEDED |= {"§2", "§4", "§7.1", "§7.3", "Figure 1", "Figure 2", "Figure 3", "Figure 4", "studies", "verdicts", "claims"}


def ids(entry: index.Entry) -> str:
    return f"{entry.equation}: {entry.function}"


def test_it_lists_every_equation():
    assert {entry.equation for entry in ENTRIES} == NEEDED


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_the_function_exists_and_names_its_equation(entry):
    dotted, file = definition(ROOT, f"riemlib.{entry.function}")
    assert dotted == f"riemlib.{entry.function}"  # its own module, so that a reader finds the file
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    imported = importlib.import_module(module)
    function = reduce(getattr, dotted.removeprefix(f"{module}.").split("."), imported)
    if needed := index.numbers(entry.equation):
        assert needed <= index.numbers(function.__doc__)
    else:
        assert entry.equation.rstrip("s") in (function.__doc__ + imported.__doc__).lower()


@cache
def called(name: str) -> list[set[str]]:
    return index.called([cell.source for cell in build.code_cells(build.source(ROOT, name))])


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_the_notebook_calls_the_function(entry):
    assert index.calls(entry, called(entry.notebook))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Eq. 10)", {"Eq. 10"}),
        ("Eqs. 9, 10", {"Eq. 9", "Eq. 10"}),
        ("Eqs. 1-4 and 7", {"Eq. 1", "Eq. 2", "Eq. 3", "Eq. 4", "Eq. 7"}),
        ("Eqs. 8–10", {"Eq. 8", "Eq. 9", "Eq. 10"}),
        ("Eqs. 8 to 10, of 12 points", {"Eq. 8", "Eq. 9", "Eq. 10"}),
        ("Eq. 15; Eq. 1", {"Eq. 15", "Eq. 1"}),
        ("Defs 4.2, 4.3, Eqs. 8, 9", {"Def. 4.2", "Def. 4.3", "Eq. 8", "Eq. 9"}),
        ("the limit of Eq. 12", {"Eq. 12"}),
        ("section 7.1, Fig. 3", {"§7.1", "Figure 3"}),
        ("Section 7. Figure 4: layers", {"§7", "Figure 4"}),
        ("sections 4 and 5", {"§4", "§5"}),
        ("Eq. 4 as the paper writes it, 2 points", {"Eq. 4"}),
        ("12 equations", set()),
    ],
)
def test_numbers(text, expected):
    assert index.numbers(text) == expected


@pytest.mark.parametrize(
    ("cells", "function", "expected"),
    [
        (["import riemlib as rl", "rl.jacobians(net, x)"], "metric.jacobians", [1]),
        (["import riemlib as rl", "rl.metric.jacobians(net, x)"], "metric.jacobians", [1]),
        (["from riemlib.metric import jacobians as J", "1", "J(net, x)"], "metric.jacobians", [2]),
        (["from riemlib import metric as m", "list(map(m.jacobians, nets))"], "metric.jacobians", [1]),  # passed on
        (["import riemlib as rl", "rl.pushforward(net, x)", "jacobians(net, x)"], "metric.jacobians", []),
        (["import riemlib as rl", "rl.pullback_metrics(net, x)"], "metric.pullback_metric", []),
        (["from riemlib.metric import jacobians"], "metric.jacobians", []),  # imported only
        (["import riemlib as rl", "# rl.jacobians(net, x)", "'rl.jacobians'"], "metric.jacobians", []),
        (["net.coordinates(x)", "net.coordinates"], "networks.CkNetwork.coordinates", [0]),
        (["from riemlib.companion.figures import section7", "section7.layers(net, x)"], "companion.figures.section7.layers", [1]),
        (["import riemlib as rl", "r = rl.study(c, seeds=s, measures=['roughness'])"], "curves.roughness", [1]),
        (["r['components']", "print('components')"], "curves.components", [0]),
        (["!ls", "import riemlib as rl\nrl.jacobians(net, x)"], "metric.jacobians", [1]),
    ],
)
def test_calls(cells, function, expected):
    assert index.calls(index.Entry("", "", function, ""), index.called(cells)) == expected


@pytest.fixture
def root(tmp_path):
    """A project of one function and one executed notebook."""
    table = '"""Doc.\n\n| Eq. | what it says | function | notebook |\n|---|---|---|---|\n| Eq. 1 | one | one.first | 01_one |\n"""\n'
    (tmp_path / "riemlib").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "riemlib/__init__.py").write_text(table + 'EXPORTS = {"one": ("first",)}\n')
    (tmp_path / "riemlib/one.py").write_text('def first():\n    """Eq. 1."""\n')
    return tmp_path


def test_the_table_in_the_readme_names_the_first_executed_cell_that_calls_the_function(root):
    line = "| Eq. 1 | one | [one.first](riemlib/one.py) | [01_one{}](notebooks/01_one.ipynb) |"
    assert index.markdown(root).splitlines()[2:] == [line.format("")]  # not executed yet
    sources = ["import riemlib as rl", "rl.first()", "rl.first()"]
    cells = [nbformat.v4.new_code_cell(source, execution_count=3 + i) for i, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("rl.first()"), *cells]), root / "notebooks/01_one.ipynb")
    assert index.markdown(root).splitlines()[2:] == [line.format(r" \[4\]")]


def test_a_line_without_four_columns_is_refused(root):
    file = root / "riemlib/__init__.py"
    file.write_text(file.read_text().replace("| one |", "|"))
    with pytest.raises(ValueError, match="4 columns are needed"):
        index.markdown(root)


def test_the_readme_shows_the_table():
    assert index.markdown() in (ROOT / "README.md").read_text(encoding="utf-8")
