"""The sources: imports go from the companion to the mathematics to the checks, functions are short, mutants have their place."""

import ast
import csv
from functools import cache
from pathlib import Path

import pytest
from mutants import MUTANTS, source_file
from verdict_mutants import CONFIRMED, SEEDS, TABLE
from verdict_mutants import MUTANTS as VERDICT_MUTANTS

ROOT = Path(__file__).parent.parent
CORE = ("networks", "training", "metric")


def sources() -> dict[str, str]:
    """Dotted name -> text of every module of riemlib; a package under the name of its __init__."""
    files = sorted((ROOT / "riemlib").rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text(encoding="utf-8") for file in files}


tree = cache(ast.parse)


# The arrows.


def imported(module: str, text: str, modules) -> set[str]:
    """The modules of riemlib that a module imports, wherever in it, by import statements and by import_module."""
    found = set()
    for node in ast.walk(tree(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*module.split(".")[: -node.level], *filter(None, [node.module])]) if node.level else node.module
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if known(name, modules) else base for name in inner}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return {known(name, modules) for name in found} - {None}


def known(name: str, modules) -> str | None:
    return next((each for each in (name, f"{name}.__init__") if each in modules), None)


def is_companion(module: str) -> bool:
    return module.startswith("riemlib.companion.") or module == "riemlib.__main__"


def wrong_arrows(texts: dict[str, str]) -> list[str]:
    """What breaks the order companion -> mathematics -> checks, and the cycles."""
    graph = {module: imported(module, text, texts) for module, text in texts.items()}
    found = [f"{a} imports {b}" for a, targets in graph.items() for b in targets if is_companion(b) and not is_companion(a)]
    found += [f"riemlib.checks imports {b}" for b in graph["riemlib.checks"]]
    found += [f"{a} imports riemlib itself" for a, targets in graph.items() if "riemlib.__init__" in targets]
    while leaves := [module for module, targets in graph.items() if not targets]:
        graph = {module: targets - {*leaves} for module, targets in graph.items() if module not in leaves}
    return found + ([f"a cycle among {', '.join(graph)}"] if graph else [])


def test_imports_go_from_the_companion_to_the_mathematics_to_the_checks():
    texts = sources()
    assert {f"riemlib.{name}" for name in (*CORE, "checks", "plot", "companion.studies", "companion.figures.studies")} <= set(texts)
    assert wrong_arrows(texts) == []
    assert "riemlib.metric" in imported("riemlib.bundles", texts["riemlib.bundles"], texts)
    assert "riemlib.curves" in imported("riemlib.companion.studies", texts["riemlib.companion.studies"], texts)


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        ("curves", "from .companion.statistics import median", "riemlib.curves imports riemlib.companion.statistics"),
        ("plot", "def f():\n    from .companion import figures", "riemlib.plot imports riemlib.companion.figures.__init__"),
        ("metric", "import riemlib.companion.rules", "riemlib.metric imports riemlib.companion.rules"),
        (
            "limits",
            "import importlib\nimportlib.import_module('riemlib.companion.ledger')",
            "riemlib.limits imports riemlib.companion.ledger",
        ),
        ("networks", "def f():\n    from . import training", "a cycle among "),
        ("companion.rules", "from .ledger import record", "a cycle among "),
        ("checks", "from .data import Sample", "riemlib.checks imports riemlib.data"),
        ("data", "import riemlib as rl", "riemlib.data imports riemlib itself"),
    ],
)
def test_a_wrong_import_is_seen(module, line, message):
    """The controls of the test above: a line more in one module."""
    texts = sources()
    texts[f"riemlib.{module}"] += f"\n{line}\n"
    assert any(found.startswith(message) for found in wrong_arrows(texts))


# Lengths.


def long_functions(texts: dict[str, str], most: int = 60) -> list[str]:
    """The functions of more lines than that, docstring included."""
    functions = ((module, node) for module, text in texts.items() for node in ast.walk(tree(text)))
    functions = ((module, node) for module, node in functions if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {f"{module}.{node.name}": node.end_lineno - node.lineno + 1 for module, node in functions}
    return [f"{name} has {length} lines" for name, length in lengths.items() if length > most]


def test_no_function_is_longer_than_60_lines():
    assert long_functions(sources()) == []
    long = "def f():\n    x = 1\n" + "    x += 1\n" * 59
    assert long_functions({"a": long}) == ["a.f has 61 lines"] and long_functions({"a": long.replace("    x = 1\n", "")}) == []


def test_the_core_has_at_most_600_lines():
    lengths = {name: len(sources()[f"riemlib.{name}"].splitlines()) for name in CORE}
    assert sum(lengths.values()) <= 600, lengths


# Mutants.


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_changes_one_place_in_the_sources(name):
    module, old, new, tests = MUTANTS[name]
    assert source_file(ROOT, module).read_text(encoding="utf-8").count(old) == 1
    assert old != new
    ast.parse(source_file(ROOT, module).read_text(encoding="utf-8").replace(old, new))  # a slip in mathematics, not in Python
    assert all((ROOT / f"tests/test_{test}.py").exists() for test in tests.split())


@pytest.mark.parametrize("name", [*VERDICT_MUTANTS, "other seeds"])
def test_a_mutant_of_verdicts_changes_one_place_in_each_source(name):
    changes, claims = VERDICT_MUTANTS.get(name, ([SEEDS], {}))
    for module, old, new in changes:
        source = source_file(ROOT, module).read_text(encoding="utf-8")
        assert source.count(old) == 1 and old != new
        ast.parse(source.replace(old, new))
    for notebook, ids in claims.items():
        text = (ROOT / f"notebooks/{notebook}.py").read_text(encoding="utf-8")
        assert all(f'"{id}"' in text for id in ids)


def test_the_table_of_verdict_mutants_is_complete_and_none_survives():
    """Each mutant and claim once; confirmed unbroken, and then no longer."""
    header, *rows = csv.reader(TABLE.open(encoding="utf-8"))
    expected = [(name, id) for name, (_, claims) in VERDICT_MUTANTS.items() for ids in claims.values() for id in ids]
    assert header == ["mutant", "claim", "unbroken", "broken"] and [tuple(row[:2]) for row in rows] == expected
    assert all(before in CONFIRMED and after not in CONFIRMED for _, _, before, after in rows)
