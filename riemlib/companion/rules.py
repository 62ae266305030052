"""Rules: from evidence to a verdict. A verdict is made by one of these functions, never typed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: verdict -> its colour on a white ground; the book has others for its dark pages
VERDICTS = {
    "confirmed": "#1b7837",
    "confirmed with conditions": "#4a7a1c",
    "not supported": "#a34f05",
    "refuted": "#b2182b",
    "undecided": "#595959",
}


@dataclass(frozen=True)
class Verdict:
    """What a rule found: one of `VERDICTS`, and the reason in a few words. For `confirmed with conditions` the reason names them."""

    verdict: str
    reason: str


def identity(errors: Mapping[str, float], controls: Mapping[str, float], tolerance: float = 1e-10) -> Verdict:
    """An equation: confirmed where every error is within tolerance and every control, which must fail, is far outside it."""
    if any(math.isnan(value) for value in [*errors.values(), *controls.values()]):
        return Verdict("undecided", "an error or a control is not a number")
    if not errors or not controls:
        return Verdict("undecided", "no case, or no control that must fail, was tried")
    worst, weakest = max(errors.values()), min(controls.values())
    if not weakest > 1e3 * tolerance:
        return Verdict("undecided", f"a control that must fail is off by only {order_of_magnitude(weakest)}: the check has no power")
    if worst <= tolerance:
        held = f"holds to {order_of_magnitude(worst)} in every case, tolerance {tolerance:g}"
        return Verdict("confirmed", f"{held}; every control fails by more than {order_of_magnitude(weakest, up=False)}")
    return Verdict("refuted", f"off by {show(worst)}, tolerance {tolerance:g}")


def universal(counterexamples: int, cases: int, *, shown: str, repaired: str = "") -> Verdict:
    """A statement about all cases: refuted by one counterexample, confirmed where there is none among the cases tried.

    `shown` says what the counterexample is, or what was searched. `repaired` is the statement that does hold.
    """
    if counterexamples > 0:
        instead = f" What holds: {repaired}" if repaired else ""
        return Verdict("refuted", f"counterexample in {counterexamples} of {cases} cases: {shown}.{instead}")
    if cases == 0:
        return Verdict("undecided", "no case was tried")
    return Verdict("confirmed", f"{shown}; no exception in {cases} cases")


def condition(holds: int, tried: int, fails: int, controls: int, *, when: str) -> Verdict:
    """A statement that holds under a condition: `holds` of `tried` cases that meet it, `fails` of `controls` that do not."""
    if min(tried, controls) == 0:
        return Verdict("undecided", "no case, or no control, was tried")
    if holds == tried and fails > 0:
        return Verdict("confirmed with conditions", f"{when}: {holds} of {tried} cases hold; without it {fails} of {controls} fail")
    if holds == tried:
        return Verdict("confirmed", f"{holds} of {tried} cases hold, with or without the condition: {when}")
    return Verdict("not supported", f"fails in {tried - holds} of {tried} cases although {when}")


def given(found: Verdict, broken: int, cases: int, *, when: str, otherwise: str) -> Verdict:
    """A verdict that needs a condition: `confirmed` becomes `confirmed with conditions` where the condition is `broken` in some `cases`.

    `when` names the condition, and `otherwise` says what the broken cases show.
    """
    if found.verdict != "confirmed":
        return found
    if cases == 0:
        return Verdict("undecided", f"no case was looked at for the condition: {when}")
    if broken == 0:
        return Verdict("confirmed", f"{found.reason}; {when}, as in all {cases} cases")
    return Verdict("confirmed with conditions", f"{when} (in {broken} of {cases} cases {otherwise}): {found.reason}")


def order_of(theory: int, measured: Mapping[str, tuple], controls: Mapping[str, tuple], *, when: str = "") -> Verdict:
    """A convergence order: confirmed where the range of every one of `measured` holds `theory`, and no neighbouring integer.

    An order is (value, low, high), as `limits.local_order` gives it. The ranges of `controls`, schemes or data of
    another order, must not hold `theory`. If the controls are the cases without a condition that the claim does not mention, `when` names
    the condition.
    """
    every = [*measured.values(), *controls.values()]
    if not measured or not controls or any(math.isnan(number) for order in every for number in order):
        return Verdict("undecided", "nothing was measured, or no control, or an order is not a number")
    missed = [name for name, (_, low, high) in measured.items() if not low <= theory <= high]
    if missed:
        return Verdict("refuted", f"order {theory} is outside the range of {', '.join(missed)}")
    vague = [name for name, (_, low, high) in measured.items() if low <= theory - 1 or high >= theory + 1]
    weak = [name for name, (_, low, high) in controls.items() if low <= theory <= high]
    if vague or weak:
        return Verdict("undecided", f"the ranges are too wide to tell: {', '.join(vague + weak)}")
    wrong = " and ".join(sorted({f"{round(value, 1) + 0.0:.1f}" for value, _, _ in controls.values()}))
    found = f"order {theory} lies in the range of local orders of each of {len(measured)} cases, {theory - 1} and {theory + 1} in none"
    if when:
        return Verdict("confirmed with conditions", f"{when}: {found}; without it the order is {wrong}")
    return Verdict("confirmed", f"{found}; the controls show order {wrong}")


def rounded(value):
    """A number, or numbers in lists and mappings, to three significant digits; what torch and numpy wrap is unwrapped."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        short = float(f"{value:.3g}")
        return short if math.isfinite(short) else str(value)
    return value


def order_of_magnitude(value: float, up: bool = True) -> str:
    """The power of ten above (or below) a positive number: rounding errors differ between machines, their size does not."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    return f"1e{(math.ceil if up else math.floor)(math.log10(value)):+03d}"


def show(value) -> str:
    """A value as a reader wants it: three significant digits, intervals in brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {show(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(v) for v in value) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
