"""The parameters of a notebook: those that it has, and the values that a reader gives them for one run, `-p name=value`."""

import ast
from collections.abc import Mapping, Sequence

import papermill
from nbformat import NotebookNode

KINDS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def known(nb: NotebookNode) -> dict[str, dict]:
    """The parameters in the cell tagged `parameters`: name -> inferred_type_name, default and help, as texts."""
    return papermill.inspect_notebook(nb) if any("parameters" in cell.metadata.get("tags", []) for cell in nb.cells) else {}


def meanings(parameters: Mapping[str, Mapping]) -> str:
    """Each parameter in a line of its own: its kind, its value, and what it is."""
    return "\n".join(f"  {name}: {each['inferred_type_name']} = {each['default']}  {each['help']}" for name, each in parameters.items())


def given(settings: Sequence[str], notebooks: Mapping[str, NotebookNode]) -> dict[str, object]:
    """The values that "name=value" texts give. Each notebook must have each parameter.

    A value is a Python literal, or else a plain string. Errors: ValueError for a text without name or `=`, for a parameter that is given
    twice or that a notebook does not have, and for a value of another kind than the one in the notebook.
    """
    found: dict[str, object] = {}
    for setting in settings:
        name, sign, text = (part.strip() for part in setting.partition("="))
        if not name or not sign:
            raise ValueError(f"a parameter is given as {setting!r}; name=value is needed, such as seeds=8")
        if name in found:
            raise ValueError(f"the parameter {name} is given twice")
        for notebook, nb in notebooks.items():
            parameters = known(nb)
            if name not in parameters:
                raise ValueError(f"{notebook} has no parameter {name}; its parameters are\n{meanings(parameters) or '  none'}")
            each = parameters[name]
            found[name] = value(text, each["inferred_type_name"], each["default"], f"parameter {name} of {notebook}")
    return found


def value(text: str, kind: str, default: str, name: str) -> object:
    """The value that a text stands for, of a kind such as `int`. The entries of a list are of the kind of those in `default`.

    An int serves as a float. Errors: ValueError for another kind.
    """
    found = literal(text)
    if kind == "str":
        return found if isinstance(found, str) else text
    usual = literal(default)
    entries = [type(entry) for entry in usual] if isinstance(usual, list) else []
    made = [converted(entry, entries[0]) for entry in found] if isinstance(found, list) and entries else converted(found, KINDS[kind])
    if type(made) is not KINDS[kind] or (isinstance(made, list) and entries and {type(entry) for entry in made} - set(entries)):
        raise ValueError(f"{name} is {text!r}; a value of type {kind}, such as {default}, is needed")
    return made


def literal(text: str) -> object:
    """The Python literal that a text is, or else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def converted(number: object, kind: type) -> object:
    """An int as a float, where a float is needed."""
    return float(number) if kind is float and type(number) is int else number
