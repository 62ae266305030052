"""What made a result: digests of code that comments, docstrings and the version of Python leave alone."""

import ast
import hashlib
import json
from pathlib import Path


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


def syntax(path: Path) -> list:
    """The canonical syntax tree of a Python file."""
    return canonical(ast.parse(path.read_text(encoding="utf-8")))


def hashed(value) -> str:
    """A digest of anything JSON holds, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
