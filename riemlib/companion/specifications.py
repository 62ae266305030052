"""Specifications: the settings under which a contrast was measured, and the verdict over a base and all of them.

The multiverse of a claim is one specification for each setting of its axes (turns, depth, optimiser). The base is the contrast of the
protocol's own setting, with more seeds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from .contrasts import LEAST_SOLVED, AllOf, Contrast
from .rules import Verdict, show
from .statistics import wilson

LEAST_HELD = 20  #: so many specifications, or more, are held by a rule that is a condition


@dataclass(frozen=True)
class Specification:
    """One setting of every axis, with its effect over all seeds, over the even ones and over the odd ones."""

    settings: Mapping[str, object]
    whole: Contrast | AllOf
    even: Contrast | AllOf
    odd: Contrast | AllOf


def specifications(table: pd.DataFrame, axes: Sequence[str], contrast: Callable[[pd.DataFrame], Contrast | AllOf]) -> list[Specification]:
    """The specifications of a table with a row for each setting of the axes and each `seed`: `contrast` is given the rows of one."""
    found = []
    for settings, rows in table.groupby(list(axes), sort=False):
        even = rows["seed"] % 2 == 0
        settings = dict(zip(axes, settings, strict=True))
        found.append(Specification(settings, contrast(rows), contrast(rows[even]), contrast(rows[~even])))
    return found


def decide(base: Contrast | AllOf, specifications: Sequence[Specification] = ()) -> Verdict:
    """The verdict on a claim whose primary contrast is `base`: the first of five lines that applies.

    1 undecided: the base is silent, or more than half of all specifications are. 2 confirmed: the base is for, and so are at least 90 % of
    the specifications that are not silent. 3 refuted: the same with against. 4 confirmed with conditions: `condition` finds a rule. 5 not
    supported: everything else. Without specifications the base decides alone.
    """
    if base.reading == "silent":
        return Verdict("undecided", f"{base.plain}; {_enough([base])}")
    readings = [each.whole.reading for each in specifications]
    decided = len(readings) - readings.count("silent")
    if 2 * decided < len(readings):
        return Verdict("undecided", f"{base.plain}; {_counts(readings)}; {_enough([each.whole for each in specifications])}")
    for reading, verdict in (("for", "confirmed"), ("against", "refuted")):
        if base.reading == reading and 10 * readings.count(reading) >= 9 * decided:
            return Verdict(verdict, f"{base.plain}; {_counts(readings)}" if readings else base.plain)
    where, opposite = (condition(specifications, reading) for reading in ("for", "against"))
    told = "; ".join(filter(None, [base.plain, _counts(readings), f"opposite where {opposite}" if opposite else ""]))
    if where:
        return Verdict("confirmed with conditions", f"where {where}: {told}")
    absent = base.reading == "absent" and 10 * readings.count("absent") >= 9 * decided
    return Verdict("not supported", f"no effect larger than {base.smallest}: {told}" if absent else told)


def condition(specifications: Sequence[Specification], reading: str = "for") -> str:
    """The rule of at most two thresholds on the axes under which specifications have a reading, or nothing where there is none.

    It holds at least 20, and at least 90 % of those that are not silent have the reading: on the even seeds, by which it is chosen, on the
    odd ones and on all, where at least half are not silent, too. Chosen is the one that exceeds the 90 % by most specifications,
    of equals the one that holds fewest: a rule says nothing of settings that are silent.
    """
    if len(specifications) < LEAST_HELD:
        return ""
    single = thresholds(pd.DataFrame([each.settings for each in specifications]))
    found = {name: held for name, held in single.items() if held.sum() >= LEAST_HELD}
    both = {f"{a} and {b}": single[a] & single[b] for a, b in combinations(single, 2)}
    found |= {name: held for name, held in both.items() if held.sum() >= LEAST_HELD}
    have, speak = {}, {}
    for seeds in ("even", "odd", "whole"):
        readings = np.array([getattr(each, seeds).reading for each in specifications])
        have[seeds], speak[seeds] = readings == reading, readings != "silent"

    def excess(held: np.ndarray, seeds: str) -> int:
        """By how much the count with the reading is above nine times that of the others that are not silent; below 0 where none speaks."""
        count, all_speaking = int((have[seeds] & held).sum()), int((speak[seeds] & held).sum())
        return 10 * count - 9 * all_speaking if all_speaking else -1

    best = max(found, key=lambda name: (excess(found[name], "even"), -found[name].sum()), default="")
    held = found.get(best)
    if held is None or min(excess(held, seeds) for seeds in have) < 0 or 2 * (speak["whole"] & held).sum() < held.sum():
        return ""
    counts = [int((each & held).sum()) for each in (have["whole"], speak["whole"])]
    return f"{best} ({counts[0]} of {counts[1]} settings that are not silent, of {held.sum()})"


def thresholds(settings: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every threshold on an axis, and the rows that it holds: at most or at least a number, or equal to a name."""
    found: dict[str, np.ndarray] = {}
    for axis, column in settings.items():
        values = sorted(column.unique())
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            found |= {f"{axis} at most {show(v)}": (column <= v).to_numpy() for v in values[:-1]}
            found |= {f"{axis} at least {show(v)}": (column >= v).to_numpy() for v in values[1:]}
        elif len(values) > 1:
            found |= {f"{axis} {v}": (column == v).to_numpy() for v in values}
    return found


def existence(found: int, tries: int, *, what: str) -> Verdict:
    """A statement that something can happen: one verified case confirms it. None in all tries does not refute it."""
    if tries == 0:
        return Verdict("undecided", "nothing was tried")
    if found:
        return Verdict("confirmed", f"{what} in {found} of {tries}")
    return Verdict("not supported", f"{what} in none of {tries}: in at most {wilson(0, tries)[1]:.1%} by Wilson's interval")


def _enough(contrasts: Sequence[Contrast | AllOf]) -> str:
    """About how many seeds would decide half of the contrasts, in words."""
    needed = sorted(each.needed if each.reading == "silent" else 0 for each in contrasts)[(len(contrasts) - 1) // 2]
    what = "it" if len(contrasts) == 1 else "half of them"
    if not math.isfinite(needed):
        return (
            f"how many seeds would decide {what} cannot be told: a reference that solves fewer than {LEAST_SOLVED:.0%}, or an estimate at Δ"
        )
    if needed > 1e5:
        return f"more than 100000 seeds would be needed to decide {what}"
    step = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return f"about {math.ceil(needed / step) * step} seeds would decide {what}"


def _counts(readings: Sequence[str]) -> str:
    if not readings:
        return ""
    words = {"for": "as claimed", "against": "opposite", "absent": "no effect", "mixed": "mixed", "silent": "silent"}
    counts = ", ".join(f"{readings.count(reading)} {word}" for reading, word in words.items() if reading in readings)
    return f"of {len(readings)} settings {counts}"
