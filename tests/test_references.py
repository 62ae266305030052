"""The bibliography, and that notebooks name what is in it."""

import re
from pathlib import Path

import pytest

from riemlib.companion.references import WORKS, references

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.py"))


def named(text: str) -> list[str]:
    """The names that a notebook gives to `references`."""
    calls = re.findall(r"^references\((.*?)\)$", text, re.MULTILINE | re.DOTALL)
    return [name for call in calls for name in re.findall(r"(\w+)=\"", call)]


def test_a_list_has_the_paper_first_and_each_work_with_its_reason():
    page = references(wilson="intervals", hodges_lehmann="shifts").data
    assert re.findall(r"<li>(.+?) \(", page) == ["M. Hauser and A. Ray", "J. L. Hodges and E. L. Lehmann", "E. B. Wilson"]
    assert page.index("For: the paper.") < page.index("For: shifts.") < page.index("For: intervals.")
    with pytest.raises(KeyError):
        references(nobody="nothing")


def test_every_notebook_has_references_and_every_work_is_referred_to():
    texts = {file.stem: file.read_text(encoding="utf-8") for file in NOTEBOOKS}
    without = [name for name, text in texts.items() if not re.search(r"^references\(", text, re.MULTILINE)]
    assert without == []
    used = {name for text in texts.values() for name in named(text)}
    assert used == set(WORKS) - {"hauser_ray"}
