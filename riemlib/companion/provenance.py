"""Which code a result depends on, and a digest of that code.

Code uses names. A name leads to the module that defines it, and that module uses further names. `modules_used` follows them through
imports, through packages, and through the names that riemlib loads lazily (`rl.NAME`). A module whose names the code does not use changes
no digest. Comments, docstrings and the version of Python change none either. Names that are put together at run time are not seen.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "riemlib"
ROOT = Path(__file__).parents[2]
NO_NUMBERS = ("riemlib.companion.build", "riemlib.companion.provenance")  #: they run notebooks and name results: no result depends on them


# Code as data.


def canonical(node):
    """A syntax tree as nested lists without positions, comments and docstrings, the same in every version of Python."""
    if isinstance(node, list):
        return [canonical(item) for item in node]
    if not isinstance(node, ast.AST):
        return None if node is None else repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = [statement for statement in node.body if not _is_text(statement)]
    return [type(node).__name__, {key: canonical(value) for key, value in fields.items() if value is not None and value != []}]


def hashed(value) -> str:
    """A digest of anything JSON holds, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a Python file, not to be changed. Files of the same text share it."""
    return _parsed(file.read_text(encoding="utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def _canonical(text: str) -> list:
    return canonical(_parsed(text))


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else: a docstring, or the description of the line above it."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


# The names that code uses.


def names_used(tree: ast.AST, inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """The names of riemlib that code uses: the node that uses it, and its full dotted name, such as `riemlib.metric.pushforward`.

    `inside` is the dotted name of the module that the code belongs to, for its relative imports; empty for a notebook. A name counts
    wherever it is imported, and wherever it is read through a name that an import binds (`rl.limits.solve`).
    """
    bound: dict[str, set[str]] = {}  # local name -> what it may stand for
    for node in ast.walk(tree):
        for local, dotted, used in _imports(node, inside):
            bound.setdefault(local, set()).add(dotted)
            yield node, used
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            root, *rest = _chain(node)
            yield from ((node, ".".join([dotted, *rest])) for dotted in bound.get(root, ()))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(rf"{PACKAGE}(\.\w+)+", node.value):
            yield node, node.value  # for importlib.import_module


def _imports(node: ast.AST, inside: str) -> Iterator[tuple[str, str, str]]:
    """For each name that an import statement takes from riemlib: the local name, what this stands for, and what was imported."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if _belongs(alias.name):
                yield alias.asname or PACKAGE, alias.name if alias.asname else PACKAGE, alias.name
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            module = ".".join([*inside.split(".")[: -node.level], *filter(None, [module])])
        if _belongs(module):
            for alias in node.names:
                yield alias.asname or alias.name, f"{module}.{alias.name}", f"{module}.{alias.name}"


def _belongs(dotted: str) -> bool:
    return dotted.partition(".")[0] == PACKAGE


def _chain(node: ast.AST) -> list[str]:
    """`a.b.c` as its parts; the first is empty where the chain does not start at a name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(parts)]


# The modules behind them.


def modules_used(tree: ast.AST, root: Path = ROOT, inside: str = "") -> dict[str, Path]:
    """The modules of riemlib that code uses, directly or through others: dotted name -> file, in the order of the names.

    To use a module is to use the packages it lies in. `inside` as in `names_used`. `NO_NUMBERS` are left out, with all they import.
    """
    found: dict[str, Path] = {}
    waiting = [dotted for _, dotted in names_used(tree, inside)]
    while waiting:
        for name, file in _modules(root, waiting.pop()):
            if name not in found and name not in NO_NUMBERS:
                found[name] = file
                waiting += _names_in(file.read_text(encoding="utf-8"), _full(name, file))
    return dict(sorted(found.items()))


@cache
def _names_in(text: str, inside: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(dotted for _, dotted in names_used(_parsed(text), inside)))


def code_used(tree: ast.AST, root: Path = ROOT, inside: str = "") -> dict[str, list]:
    """The canonical code of `modules_used`, by dotted name."""
    return {name: _code(name, file) for name, file in modules_used(tree, root, inside).items()}


def _code(name: str, file: Path) -> list:
    """The canonical code of a module; of riemlib itself without the table of its names, each of which leads to a module of its own."""
    if name != PACKAGE:
        return _canonical(file.read_text(encoding="utf-8"))
    return canonical([s for s in parsed(file).body if not _is_text(s) and "EXPORTS" not in _binds(s)])


def definition(root: Path, dotted: str) -> tuple[str, Path]:
    """Where a name of riemlib is defined: its dotted name there, and the file. Errors: ValueError for a name that leads to no module."""
    dotted = _exported(root, dotted)
    for module, file in _modules(root, dotted):
        if module == PACKAGE or not dotted.startswith(f"{module}."):
            continue
        return dotted, file
    raise ValueError(f"there is no {dotted}; the dotted name of a function of {PACKAGE} is needed")


def _exported(root: Path, dotted: str) -> str:
    """The dotted name of a name that riemlib exports, where it is defined; any other dotted name as it is."""
    name, _, rest = dotted.removeprefix(f"{PACKAGE}.").partition(".")
    module = _exports(root).get(name)
    return ".".join(filter(None, [PACKAGE, module, name, rest])) if module else dotted


def _modules(root: Path, dotted: str) -> list[tuple[str, Path]]:
    """The module that a dotted name leads to, and the packages that this lies in, innermost first."""
    if dotted == f"{PACKAGE}.*":
        everything = [_modules(root, f"{PACKAGE}.{name}") for name in _exports(root)]
        return [module for modules in everything for module in modules]
    parts = _exported(root, dotted).split(".")
    found = [(".".join(parts[:i]), _file(root, parts[:i])) for i in range(len(parts), 0, -1)]
    return [(name, file) for name, file in found if file]


def _file(root: Path, parts: Iterable[str]) -> Path | None:
    """The file of a module or a package; None where there is none."""
    base = root.joinpath(*parts)
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _full(module: str, file: Path) -> str:
    """The dotted name of the file itself: `package.__init__` for a package."""
    return f"{module}.__init__" if file.name == "__init__.py" else module


def _exports(root: Path) -> dict[str, str]:
    """Public name -> module below riemlib, as EXPORTS in riemlib/__init__.py says."""
    file = root / PACKAGE / "__init__.py"
    return _export_table(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache
def _export_table(text: str) -> dict[str, str]:
    tables = [s.value for s in _parsed(text).body if isinstance(s, ast.Assign | ast.AnnAssign) and _binds(s) == {"EXPORTS"}]
    return {name: module for table in tables for module, names in ast.literal_eval(table).items() for name in names}  # type: ignore[arg-type]


# The code of one function.


@cache
def code_of(function: Callable) -> list:
    """The canonical code that a function at the top of a module depends on, by the rules of `modules_used`.

    Of its own module only the definitions that it uses count, and the statements that define nothing, which may change them.
    Errors: ValueError for a function that is not at the top of a module in a file.
    """
    module, file = function.__module__, getattr(sys.modules[function.__module__], "__file__", None)
    statements = [part for s in parsed(Path(file)).body if not _is_text(s) for part in _split(s)] if file else []
    if function.__name__ not in set().union(*map(_binds, statements)):
        raise ValueError(f"function is {function.__qualname__} of {module}; one at the top of a module in a file is needed")
    own, used, before = [], {function.__name__}, set()  # type: ignore[var-annotated]
    while used != before:
        own, before = [s for s in statements if not _binds(s) or _binds(s) & used], used
        used = used | {node.id for statement in own for node in ast.walk(statement) if isinstance(node, ast.Name)}
    inside = _full(module, Path(file))  # type: ignore[arg-type]
    package = module.rpartition(".")[0]
    within = [ast.Import([ast.alias(package)])] if _belongs(package) else []
    return [canonical(own), code_used(ast.Module([*own, *within], []), ROOT, inside)]


def _split(statement: ast.stmt) -> list[ast.stmt]:
    """An import statement as one for each name, so that only the names used count; any other as it is."""
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [statement]


def _binds(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module binds; none for one that may change what others bound."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
        return names - {"*"}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target)]
        if all(isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Starred | ast.expr_context) for node in nodes):
            return {node.id for node in nodes if isinstance(node, ast.Name)}
    return set()
