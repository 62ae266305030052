"""Which modules code uses, and what changes its digest, on a toy package in a temporary folder."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

from riemlib.companion import studies
from riemlib.companion.provenance import canonical, code_of, code_used, definition, hashed, modules_used

FILES = {
    "__init__": 'import os\n\nEXPORTS = {"one": ("first", "Kind"), "companion.studies": ("study",), "lazy": ("late",)}\nSETTING = 1\n',
    "one": "from .two import second\n\n\ndef first():\n    return second()\n\n\nclass Kind:\n    pass\n",
    "two": "from . import three\n\n\ndef second():\n    return three.third()\n",
    "three": '"""Doc."""\n\n\ndef third():\n    """Doc."""\n    return 3  # three\n',
    "lazy": "def late():\n    return 1\n",
    "other": "X = 1\n",
    "companion/__init__": "",
    "companion/studies": "import riemlib as rl\n\n\ndef study():\n    return rl.first\n",
    "companion/build": "from .. import other\n",
    "companion/provenance": "from .. import other\n",
    "companion/figures/__init__": "from ...other import X\n\n\ndef save():\n    return X\n",
    "companion/figures/section": "def draw():\n    pass\n",
}
CHAIN = {"one", "two", "three"}
PACKAGES = {"companion/__init__", "companion/figures/__init__"}


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "riemlib" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def used(root: Path, code: str, inside: str = "") -> set[str]:
    """The files that code uses, as in `FILES`; riemlib/__init__.py, which all of them do, aside."""
    files = modules_used(ast.parse(code), root, inside).values()
    names = {file.relative_to(root / "riemlib").with_suffix("").as_posix() for file in files}
    assert "__init__" in names or not names
    return names - {"__init__"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import math, os.path", set()),
        ("riemlib = None; riemlib.first", set()),  # a name of the code's own
        ("import riemlib", set()),
        ("import riemlib as rl; rl.nowhere; rl.__version__", set()),
        ("import riemlib as rl; rl.first()", CHAIN),  # lazily, and three modules down
        ("import riemlib as rl; rl.Kind.method()", CHAIN),
        ("import riemlib; riemlib.first()", CHAIN),
        ("from riemlib import first as f", CHAIN),
        ("from riemlib import one", CHAIN),
        ("from riemlib.one import first", CHAIN),
        ("import riemlib.one as m", CHAIN),
        ("import riemlib.other; riemlib.late()", {"other", "lazy"}),  # binds riemlib as well
        ("import riemlib as rl; m = rl.two; m.second()", {"two", "three"}),
        ("import riemlib as rl; rl.companion.studies.study()", {"companion/__init__", "companion/studies", *CHAIN}),
        ("from riemlib import study", {"companion/__init__", "companion/studies", *CHAIN}),
        ("from riemlib import companion; companion.studies.study()", {"companion/__init__", "companion/studies", *CHAIN}),
        ("from riemlib.companion import figures; figures.section.draw()", {*PACKAGES, "companion/figures/section", "other"}),
        ("from riemlib.companion.figures import section", {*PACKAGES, "companion/figures/section", "other"}),  # through the __init__
        ("from riemlib.companion.figures import save", {*PACKAGES, "other"}),
        ("from riemlib.three import *", {"three"}),
        ("from riemlib import *", {*CHAIN, "lazy", "companion/__init__", "companion/studies"}),
        ("def f():\n    from riemlib import three", {"three"}),
        ("try:\n    import riemlib as a\nexcept ImportError:\n    a = None\na.late", {"lazy"}),
        ("import importlib; importlib.import_module('riemlib.three')", {"three"}),
        ("print('riemlib.three is a module')", set()),
        ("from riemlib.companion import build, provenance", {"companion/__init__"}),  # they change no number
    ],
)
def test_the_modules_that_code_uses(root, code, expected):
    assert used(root, code) == expected


@pytest.mark.parametrize(
    ("code", "inside", "expected"),
    [
        ("from . import three", "riemlib.one", {"three"}),
        ("from . import three", "riemlib.__init__", {"three"}),
        ("from .two import second", "riemlib.one", {"two", "three"}),
        ("from .. import three", "riemlib.companion.studies", {"three"}),
        ("from .studies import study", "riemlib.companion.__init__", {"companion/__init__", "companion/studies", *CHAIN}),
        ("from ...two import second", "riemlib.companion.figures.section", {"two", "three"}),
        ("from .figures import save", "riemlib.companion.studies", {*PACKAGES, "other"}),
    ],
)
def test_relative_imports(root, code, inside, expected):
    assert used(root, code, inside) == expected


def test_modules_that_import_each_other(root):
    (root / "riemlib/three.py").write_text("from . import one\n")
    assert used(root, "from riemlib import three") == CHAIN


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("three", "return 3", "return 4", True),
        ("three", "def third", "def third_", True),
        ("three", '"""Doc."""\n    return 3  # three', '"""Other."""\n\n    return (3)', False),
        ("three", '"""Doc."""\n\n\n', "", False),
        ("three", '"""Doc."""\n\n\n', '"""Doc."""\nY = 1\n"""What Y is."""\n', True),
        ("other", "X = 1", "X = 2", False),
        ("lazy", "return 1", "return 2", False),
        ("companion/build", "other", "lazy", False),
        ("__init__", "SETTING = 1", "SETTING = 2", True),
        ("__init__", '"Kind"', '"Kind", "third"', False),  # another public name
        ("__init__", '"one": ("first"', '"lazy": ("first"', True),  # the same name, from elsewhere
    ],
)
def test_what_changes_a_digest(root, name, old, new, changes):
    def found() -> str:
        return hashed(code_used(ast.parse("import riemlib as rl; rl.first()"), root))

    before, file = found(), root / f"riemlib/{name}.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert (found() != before) == changes


def test_a_description_below_a_constant_is_a_comment():
    described, plain = (canonical(ast.parse(text)) for text in ('X = 1\n"""What X is."""\n', "X = 1\n"))
    assert described == plain != canonical(ast.parse("X = 2\n"))


def test_the_digest_does_not_depend_on_the_version_of_python():
    """A version that knows a field more, empty here (as 3.12 does with type parameters), reads the same tree."""
    here, newer = (ast.parse("def f(x): return x").body[0] for _ in range(2))
    newer._fields = (*newer._fields, "variance")
    newer.variance = []
    assert canonical(here) == canonical(newer)
    newer.variance = [ast.Name("T")]
    assert canonical(here) != canonical(newer)


def test_definitions(root):
    assert definition(root, "riemlib.first") == definition(root, "riemlib.one.first") == ("riemlib.one.first", root / "riemlib/one.py")
    assert definition(root, "riemlib.study")[0] == "riemlib.companion.studies.study"
    assert definition(root, "riemlib.companion.figures.save")[1] == root / "riemlib/companion/figures/__init__.py"
    for dotted in ("riemlib.one", "riemlib.nowhere", "riemlib"):
        with pytest.raises(ValueError, match=f"no {dotted}"):
            definition(root, dotted)


# The code of one function.

MODULE = """\
from riemlib import charts, curves
from riemlib.data import spiral

A, B = 1, 2
TABLE = {}
TABLE["x"] = 1
if B:
    C = 3


def helper():
    return A


def unused():
    return charts.certificates


def function():
    '''Doc.'''
    return helper(), TABLE, curves.roughness


class Kind:
    def method(self):
        return 1
"""


def load(folder: Path, text: str = MODULE):
    """A module of this text."""
    file = folder / "shard_code.py"
    file.write_text(text)
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("shard_code", file))
    sys.modules["shard_code"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def of_function(tmp_path, monkeypatch):
    """The code of `function` in `MODULE` after an edit."""
    monkeypatch.setitem(sys.modules, "shard_code", None)

    def found(old: str = "", new: str = "") -> list:
        assert old in MODULE
        return code_of(load(tmp_path, MODULE.replace(old, new)).function)

    return found


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("return A", "return B", True),
        ("A, B = 1, 2", "A, B = 5, 2", True),
        ('TABLE["x"] = 1', 'TABLE["x"] = 2', True),  # binds nothing, and changes what does
        ("C = 3", "C = 4", True),
        ("'''Doc.'''", "'''Other.'''", False),
        ("return charts.certificates", "return charts.is_chart", False),
        ("charts, curves", "curves, charts", False),
        ("return 1", "return 2", False),
        ("curves.roughness", "curves.length", True),
    ],
)
def test_what_changes_the_code_of_a_function(of_function, old, new, changes):
    assert (of_function(old, new) != of_function()) == changes


def test_the_modules_of_a_function_are_those_that_it_uses(of_function):
    assert {"riemlib.curves", "riemlib.checks"} <= set(of_function()[1])
    assert not {"riemlib.charts", "riemlib.data"} & set(of_function()[1])
    assert "riemlib.training" in code_of(studies.train)[1] and "riemlib.curves" not in code_of(studies.train)[1]
    assert "riemlib.companion" in code_of(studies.train)[1]  # the package that it lies in


@pytest.mark.parametrize("text", ["function = lambda: 1", "def outer():\n    def inner(): pass\n    return inner\n\nfunction = outer()"])
def test_a_function_that_is_not_at_the_top_of_a_module_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setitem(sys.modules, "shard_code", None)
    with pytest.raises(ValueError, match="at the top of a module"):
        code_of(load(tmp_path, text).function)
