"""What made a result: a digest of the code behind it, and of no other.

Code uses names; names lead to modules, and modules to further modules. `modules_used` follows them, through the names that riemlib exports
as well. Comments, docstrings and the version of Python change no digest, and neither does a module whose names the code does not use.
"""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "riemlib"
ROOT = Path(__file__).parents[2]


def canonical(node):
    """A syntax tree as nested lists without positions, comments and docstrings, the same in every version of Python."""
    if isinstance(node, list):
        return [canonical(item) for item in node]
    if not isinstance(node, ast.AST):
        return None if node is None else repr(node)
    fields = dict(ast.iter_fields(node))
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    return [type(node).__name__, {key: canonical(value) for key, value in fields.items() if value is not None and value != []}]


def hashed(value) -> str:
    """A digest of anything JSON holds, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def modules_used(tree: ast.AST, root: Path = ROOT, inside: str = "") -> dict[str, Path]:
    """The modules of riemlib that code uses, directly or through others: dotted name -> file, in the order of the names.

    `inside` is the dotted name of the module that the code belongs to, for its relative imports; empty for a notebook.
    """
    found: dict[str, Path] = {}
    waiting = list(_imported(tree, root, inside))
    while waiting:
        name, file = waiting.pop()
        if name not in found:
            found[name] = file
            waiting += _imported(parsed(file), root, _full(name, file))
    return dict(sorted(found.items()))


def code_used(tree: ast.AST, root: Path = ROOT, inside: str = "") -> dict[str, list]:
    """The canonical code of `modules_used`, by dotted name."""
    return {name: canonical(parsed(file)) for name, file in modules_used(tree, root, inside).items()}


@cache
def code_of(function: Callable) -> list:
    """The canonical code behind a function: its own module's definitions that it uses, and the modules that these use."""
    file = Path(inspect.getfile(function))
    name = function.__module__
    definitions = {defined: node for node in parsed(file).body for defined in _defines(node)}
    found: dict[str, ast.AST] = {}
    waiting = [function.__name__]
    while waiting:
        used = waiting.pop()
        if used in definitions and used not in found:
            found[used] = definitions[used]
            waiting += [node.id for node in ast.walk(definitions[used]) if isinstance(node, ast.Name)]
    own = [found[used] for used in sorted(found)]
    return [canonical(own), code_used(ast.Module(own, []), ROOT, _full(name, file))]


def _defines(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _full(module: str, file: Path) -> str:
    """The dotted name of the file itself: `package.__init__` for a package."""
    return f"{module}.__init__" if file.name == "__init__.py" else module


def _imported(tree: ast.AST, root: Path, inside: str) -> Iterator[tuple[str, Path]]:
    """The modules that code imports from riemlib, or reaches through `import riemlib as rl` and `rl.NAME`."""
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == PACKAGE:
                    aliases.add(alias.asname or PACKAGE)
                elif alias.name.startswith(f"{PACKAGE}."):
                    yield from _resolved(root, alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*inside.split(".")[: -node.level], *filter(None, [module])])
            if module.split(".")[0] == PACKAGE:
                for alias in node.names:
                    yield from _resolved(root, f"{module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield from _resolved(root, f"{PACKAGE}.{node.attr}")


def _resolved(root: Path, dotted: str) -> list[tuple[str, Path]]:
    """The module behind a dotted name: itself, or the one that defines the name; for a name that riemlib exports, where it comes from."""
    package, _, name = dotted.rpartition(".")
    if package == PACKAGE and name in (exported := _exports(root / PACKAGE / "__init__.py")):
        dotted = f"{PACKAGE}.{exported[name]}"
    for module in (dotted, dotted.rpartition(".")[0]):
        if module == PACKAGE:  # its __init__ only says where names come from
            return []
        base = root.joinpath(*module.split("."))
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.exists():
                return [(module, file)]
    return []


@cache
def _exports(file: Path) -> dict[str, str]:
    """Public name -> module, as the EXPORTS of riemlib/__init__.py say."""
    statements = parsed(file).body if file.exists() else []
    tables = [s.value for s in statements if isinstance(s, ast.Assign) and [getattr(t, "id", "") for t in s.targets] == ["EXPORTS"]]
    return {name: module for table in tables for module, names in ast.literal_eval(table).items() for name in names}
