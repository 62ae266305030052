"""This run against the published one: which verdicts agree, which numbers changed and by how much, which drawn networks are others.

A study gives the same bits on one machine. On another processor rounding differs, training amplifies it, and digits of a record change.
A verdict must not change.
"""

import html
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from .ledger import STAMP

STYLE = "body{font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em}td,th{text-align:left;vertical-align:top;padding:.3em}"


@dataclass(frozen=True)
class Change:
    """How the record of a claim differs from the published one. `widths` is the largest change, in half-widths of its own interval."""

    claim: str
    published: Mapping
    here: Mapping
    numbers: int  # that differ
    widths: float  # 0 where no number with an interval differs
    where: str  # the name of that number in the evidence

    @property
    def agrees(self) -> bool:
        return self.published["verdict"] == self.here["verdict"]

    @property
    def identical(self) -> bool:
        return self.agrees and not self.numbers and self.published.get("reason") == self.here.get("reason")


def compare(published: Sequence[Mapping], here: Sequence[Mapping]) -> list[Change]:
    """The claims that both runs decided: those whose verdict differs first, then by how much their numbers changed."""
    before, changes = {claim["id"]: claim for claim in published}, []
    for claim in here:
        if (old := before.get(claim["id"])) is not None:
            found = list(numbers(old["evidence"], claim["evidence"]))
            moved = [(name, a, b, half) for name, a, b, half in found if a != b and not (a != a and b != b)]
            sized = [(abs(a - b) / half, name) for name, a, b, half in moved if half and math.isfinite(abs(a - b) / half)]
            widths, where = max(sized, default=(0.0, ""))
            changes.append(Change(claim["id"], old, claim, len(moved), widths, where))
    return sorted(changes, key=lambda change: (change.agrees, -change.widths, change.identical, change.claim))


def numbers(a, b, name: str = "", half: float | None = None) -> Iterator[tuple[str, float, float, float | None]]:
    """The numbers that stand at the same place in two evidences: place, first, second, half-width of the first's interval where it has one.

    An interval is [value, low, high], or {…: value, "interval": [low, high]}. What stands in one evidence only counts as a change from NaN.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        interval = a.get("interval")
        width = (interval[1] - interval[0]) / 2 if _is_numbers(interval, 2) else None
        value = next((key for key in a if _is_number(a[key])), None)  # the number that stands before its interval
        for key in {**a, **b}:
            yield from numbers(a.get(key), b.get(key), f"{name}, {key}" if name else key, width if key in (value, "interval") else None)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        own = (a[2] - a[1]) / 2 if _is_numbers(a, 3) and a[1] <= a[0] <= a[2] else half
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from numbers(x, y, f"{name} [{i + 1}]", own)
    elif _is_number(a) and _is_number(b):
        yield name, float(a), float(b), half
    elif a != b:
        yield name, math.nan, 0.0, None


def drawn(notebooks: Iterable[Path]) -> dict[str, object]:
    """The networks that the figures of executed notebooks draw, as their stamps name them: figure -> seed."""
    found: dict[str, object] = {}
    for path in notebooks:
        for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                found |= output.get("data", {}).get(STAMP, {}).get("drawn", {})
    return found


def other_networks(published: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """A sentence for each figure that draws another network than the published one."""
    both = [figure for figure in here if figure in published and here[figure] != published[figure]]
    return [f"{figure} draws seed {here[figure]} here, seed {published[figure]} as published" for figure in both]


def lines(changes: Sequence[Change], networks: Sequence[str]) -> list[str]:
    """The comparison in a few lines, for the end of a run."""
    agree, identical = sum(change.agrees for change in changes), sum(change.identical for change in changes)
    found = [f"Compared with the published run: {agree} of {len(changes)} verdicts agree, {identical} records are equal to the digit."]
    found += [
        f"  {change.claim}: {change.here['verdict']} here ({change.here.get('reason')}); published: "
        f"{change.published['verdict']} ({change.published.get('reason')})"
        for change in changes
        if not change.agrees
    ]
    largest = max(changes, key=lambda change: change.widths, default=None)
    if largest is not None and largest.widths:
        found.append(f"  The largest change is {largest.widths:.2g} of its interval's half-width: {largest.claim}, {largest.where}.")
    return found + [f"  {sentence}." for sentence in networks]


def page(changes: Sequence[Change], networks: Sequence[str]) -> str:
    """The comparison, claim by claim, as an HTML page."""
    text = html.escape
    rows = []
    for change in changes:
        verdicts = change.here["verdict"] if change.agrees else f"{change.here['verdict']} (published: {change.published['verdict']})"
        if change.identical:
            moved = "equal to the digit"
        else:
            size = f"; at most {change.widths:.2g} of an interval's half-width ({change.where})" if change.widths else ""
            moved = f"{change.numbers} numbers differ{size}"
        reasons = "" if change.agrees else f"<br>here: {text(change.here['reason'])}<br>published: {text(change.published['reason'])}"
        rows.append(f"<tr><td>{text(change.claim)}</td><td>{text(verdicts)}{reasons}</td><td>{text(moved)}</td></tr>")
    top = "".join(f"<p>{text(line.strip())}</p>" for line in lines(changes, networks))
    head = "<tr><th>claim</th><th>verdict</th><th>numbers</th></tr>"
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>This run and the published one</title><style>{STYLE}</style></head><body>"
        f"<h1>This run and the published one</h1>{top}<table>{head}{''.join(rows)}</table></body></html>\n"
    )


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_numbers(value, count: int) -> TypeGuard[list]:
    return isinstance(value, list) and len(value) == count and all(_is_number(each) for each in value)
