"""The examples in the docstrings of riemlib, run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import riemlib as rl

ROOT = Path(rl.__file__).parent
FILES = [file for file in sorted(ROOT.rglob("*.py")) if ">>>" in file.read_text(encoding="utf-8")]


def test_there_are_examples():
    assert len(FILES) >= 5 and ROOT / "metric.py" in FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_gives_what_it_says(file, capsys):
    """Those of every function: none is hidden from doctest. What takes long or needs a notebook says that it is skipped."""
    module = importlib.import_module(".".join(["riemlib", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"))
    failed, attempted = doctest.testmod(module)
    assert not failed, capsys.readouterr().out
    assert attempted == len(re.findall(r"^ *>>> (?!.*doctest: \+SKIP)", file.read_text(encoding="utf-8"), re.MULTILINE))
