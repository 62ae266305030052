"""The ledger: every claim of the paper with a verdict computed from evidence.

A notebook calls `record(id, verdict, evidence)` where a claim is decided. The record travels in the executed notebook itself, as an output
with its own MIME type beside the HTML a reader sees; `gather` collects the records. A verdict is made by a rule below, never typed.
"""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MIME = "application/vnd.riemlib.claim+json"
VERDICTS = {
    "confirmed": "#1b7837",
    "confirmed with conditions": "#5a8f29",
    "not supported": "#b35806",
    "refuted": "#b2182b",
    "undecided": "#666666",
}

#: id -> (section of the paper, what the paper says in our words; "ours" where this companion adds the claim)
CLAIMS: dict[str, tuple[str, str]] = {
    "relu-not-chart": ("2", "a ReLU layer is not a coordinate change"),
    "relu-residual-bijective": ("2", "a residual layer with ReLU is bijective"),
    "tanh-residual-folds": ("2", "a residual tanh layer is a coordinate change (implied)"),
    "c0-tanh-injective": ("2", "a plain layer is not as good a chart as a residual one (implied)"),
    "residual-is-euler": ("3", "a residual network is a first-order forward difference with error O(Δl)"),
    "momentum-form": ("3", "the second-order network is a residual network with a momentum term"),
    "central-second-order": ("3", "central differencing gives error O(Δl²)"),
    "partition-independence": ("3", "every partition whose mesh goes to zero has the same limit"),
    "implicit-step": ("3", "the step Δl may be left implicit in the weights"),
    "weights-regular": ("3", "the limit of many layers exists"),
    "weight-sharing-cheap": ("3", "sharing weights across layers costs little"),
    "pullback-recursion": ("4", "the metric is backpropagated layer by layer (Eqs. 9, 10)"),
    "residual-jacobian": ("4", "the Jacobian of a residual layer is Eq. 11"),
    "product-order": ("4", "the pushforward is the ordered product of Eq. 12, last layer leftmost"),
    "product-converges": ("4", "the product of Eq. 12 converges as the layers become infinitely many"),
    "line-element": ("4", "distance does not depend on the layer it is measured in (Eq. 13)"),
    "epsilon-delta": ("4", "an ε-ball at the output is a δ-ball at an earlier layer"),
    "pushforward-pullback": ("4", "pushforward and pullback metric obey Defs 4.2 and 4.3"),
    "dimension-bottleneck": ("4", "the manifold has the dimension of the narrowest layer; wider layers are immersions of it"),
    "polar-easy": ("4", "with a better chart (polar coordinates) the spirals are easy"),
    "width-easier": ("4", "more dimensions make separation easier"),
    "lle-charts": ("1, 4", "Locally Linear Embedding finds the charts with ease"),
    "near-far": ("4", "same-class points far apart in the input are close in the learned metric, and the reverse"),
    "frame-bundle": ("5", "the frame bundle is a principal bundle"),
    "associated-bundle": ("5", "the metrics form an associated bundle"),
    "left-actions": ("5", "the metric is pulled back by a sequence of left group actions (Eq. 14)"),
    "backprop-right-action": ("6", "error backpropagation is a sequence of right actions on the output frame (Eq. 15)"),
    "adjoint-limit": ("6", "the product of Eq. 15 converges as well"),
    "all-zero-error": ("7.1", "all four networks of Figure 2 reach 0.0 % error"),
    "smoother-layers": ("7.1", "first- and second-order networks change smoothly from layer to layer, plain ones sharply"),
    "classes-pass": ("7.1", "in a second-order network the classes pass through each other, in a first-order one they cannot"),
    "mixed-untangles": ("7.1", "a network whose identity is left out in one layer still untangles"),
    "flattened-output": ("4, 7.2", "the output representation is flat"),
    "batch-connectedness": ("7.3", "batch 300 breaks the connected sets, batch 1000 keeps them"),
    "batch-complexity": ("7.3", "a larger batch learns a simpler map"),
    "continuity": ("7.3", "a continuous map keeps a connected set connected"),
    "c2-phase-space": ("ours", "a second-order layer is a chart change on phase space only"),
    "flatness": ("ours", "at constant width the learned metric is flat"),
    "gauge": ("ours", "the learned distance depends on the gauge of the output"),
}

#: id -> the statement that does hold, where mathematics gives one; what is measured speaks for itself in the verdict's reason
REPAIRED: dict[str, str] = {
    "relu-not-chart": "A ReLU layer that does not widen is never injective. One that widens can be: relu(z) and relu(-z) together hold z.",
    "relu-residual-bijective": "For det W ≠ 0, x + Δl relu(W x + b) is bijective exactly where every principal minor of I + Δl W is "
    "positive (a P-matrix). Δl ‖W‖ < 1 is enough, and not necessary.",
    "tanh-residual-folds": "x + Δl tanh(W x + b) is a diffeomorphism where I + Δl W is a P-matrix, and for det W ≠ 0 it folds where a "
    "principal minor is negative. The second-order layer is one of phase space (x, δx), never of x alone.",
    "c0-tanh-injective": "tanh(W x + b) is injective exactly where det W ≠ 0. What the residual form improves is the conditioning.",
    "central-second-order": "With the first-order rule at the input the scheme of Eq. 4 has order 1. It has order 2 where the first layer "
    "takes half a step: x(1) = x(0) + Δl v(0) + Δl²/2 f.",
    "implicit-step": "The step may be absorbed where f is positively homogeneous (ReLU), if the bias is scaled as well. With tanh it must "
    "stand outside: with weights of order 1/L inside, the limit is an affine equation, which untangles nothing.",
    "weights-regular": "The limit exists where W(l) and b(l) are bounded and Riemann-integrable in l: an assumption, not a consequence.",
    "epsilon-delta": "The preimage of an ε-ball is the ellipsoid of Eq. 13 up to terms of second order in ε.",
    "dimension-bottleneck": "Layers after the narrowest one are immersed images of it, where the rank is constant. Layers before it are "
    "submersed onto it: there g has null directions, and is no metric in the sense of Def. 4.1.",
    "associated-bundle": "The fibre is the cone of symmetric positive forms in the tensor product of two cospaces, not the product set.",
    "left-actions": "Eq. 14 is an action of GL(d) where every Jacobian is invertible; elsewhere of the monoid of d × d matrices, which "
    "has no inverses to act by.",
    "backprop-right-action": "Eq. 15 holds always as a product of matrices; as right actions of GL(d) where every Jacobian is invertible.",
    "batch-connectedness": "No batch size can disconnect the image of a connected set: the map is continuous, and can only stretch it.",
}


@dataclass(frozen=True)
class Verdict:
    """What a rule found: one of `VERDICTS`, and why in a few words (for `confirmed with conditions`, which)."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A decided claim."""

    id: str
    section: str
    statement: str
    verdict: str
    reason: str
    evidence: dict
    protocol: str

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict} ({self.reason})"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {MIME: asdict(self), "text/html": self._html(), "text/plain": repr(self)}

    def _html(self) -> str:
        colour, text = VERDICTS[self.verdict], html.escape
        cell = "<td style='text-align:left'>{}</td>".format
        rows = "".join(f"<tr>{cell(text(k))}{cell(text(show(v)))}</tr>" for k, v in self.evidence.items())
        return (
            f"<div id='{self.id}' style='border-left:5px solid {colour};padding:2px 12px;margin:6px 0'>"
            f"<b style='color:{colour}'>{text(self.verdict)}</b> · <code>{text(self.id)}</code> (§ {text(self.section)}): "
            f"{text(self.statement)}."
            f"<br>{text(self.reason)}<details open><summary>evidence</summary><table>{rows}</table>"
            f"<div>{text(self.protocol)}</div></details></div>"
        )


# Rules: evidence in, verdict out.


def identity(errors: Mapping[str, float], controls: Mapping[str, float], tolerance: float = 1e-10) -> Verdict:
    """An equation: confirmed where every error is within tolerance and every control, which must fail, is far outside it."""
    if any(math.isnan(value) for value in [*errors.values(), *controls.values()]):
        return Verdict("undecided", "an error or a control is not a number")
    if not errors or not controls:
        return Verdict("undecided", "no case, or no control that must fail, was tried")
    worst, weakest = max(errors.values()), min(controls.values())
    if not weakest > 1e3 * tolerance:
        return Verdict("undecided", f"a control that must fail is off by only {power(weakest)}: the check has no power")
    if worst <= tolerance:
        held = f"holds to {power(worst)} in every case, tolerance {tolerance:g}"
        return Verdict("confirmed", f"{held}; every control fails by more than {power(weakest, up=False)}")
    return Verdict("refuted", f"off by {show(worst)}, tolerance {tolerance:g}")


def universal(counterexamples: int, cases: int, *, shown: str, repaired: str = "") -> Verdict:
    """A statement about all cases: refuted by one counterexample, confirmed where none turns up among the cases tried.

    `shown` says what the counterexample is, or what was searched; `repaired` the statement that does hold.
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
    """A verdict that rests on a condition: what it confirms is confirmed with that condition if it is `broken` in some of the `cases`.

    `when` says the condition, `otherwise` what the broken cases show.
    """
    if found.verdict != "confirmed":
        return found
    if cases == 0:
        return Verdict("undecided", f"no case was looked at for the condition: {when}")
    if broken == 0:
        return Verdict("confirmed", f"{found.reason}; {when}, as in all {cases} cases")
    return Verdict("confirmed with conditions", f"{when} (in {broken} of {cases} cases {otherwise}): {found.reason}")


def order_of(theory: int, measured: Mapping[str, tuple], controls: Mapping[str, tuple], *, when: str = "") -> Verdict:
    """A convergence order: confirmed where every interval of `measured` holds `theory`, and no neighbouring integer.

    An order is (value, low, high). `controls` must not hold `theory`: schemes, or data, of another order. Where the controls are the cases
    without a condition that the claim leaves out, `when` names the condition.
    """
    every = [*measured.values(), *controls.values()]
    if not measured or not controls or any(math.isnan(number) for order in every for number in order):
        return Verdict("undecided", "nothing was measured, or no control, or an order is not a number")
    missed = [name for name, (_, low, high) in measured.items() if not low <= theory <= high]
    if missed:
        return Verdict("refuted", f"order {theory} is outside the interval of {', '.join(missed)}")
    vague = [name for name, (_, low, high) in measured.items() if low <= theory - 1 or high >= theory + 1]
    weak = [name for name, (_, low, high) in controls.items() if low <= theory <= high]
    if vague or weak:
        return Verdict("undecided", f"the intervals are too wide to tell: {', '.join(vague + weak)}")
    wrong = " and ".join(sorted({f"{round(value, 1) + 0.0:.1f}" for value, _, _ in controls.values()}))
    found = f"order {theory} lies in the 95 % interval of each of {len(measured)} cases, {theory - 1} and {theory + 1} in none"
    if when:
        return Verdict("confirmed with conditions", f"{when}: {found}; without it the order is {wrong}")
    return Verdict("confirmed", f"{found}; the controls show order {wrong}")


def no_worse(interval: tuple[float, float], margin: float, *, what: str) -> Verdict:
    """A change that "costs little": confirmed where the interval of the difference lies above -margin, refuted where it lies below."""
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        return Verdict("undecided", "the interval is not a number")
    if low > -margin:
        return Verdict("confirmed", f"{what} falls by less than {margin:g}, all of its interval")
    if high < -margin:
        return Verdict("refuted", f"{what} falls by more than {margin:g}, all of its interval")
    return Verdict("not supported", f"the interval of the change in {what} holds the margin of {margin:g}")


def effects(intervals: Mapping[str, tuple], p: Mapping[str, float] | None = None, level: float = 0.05) -> Verdict:
    """One or more effects that a claim says are positive, each (value, low, high): confirmed where every interval lies above 0.

    Where `p` gives (adjusted) p-values an effect must also stay below `level`. Some but not all: confirmed with conditions; some on the
    other side and none on this one: refuted; some on either side: not supported.
    """
    numbers = [*(number for effect in intervals.values() for number in effect), *((p[name] for name in intervals) if p is not None else ())]
    if not intervals or any(math.isnan(number) for number in numbers):
        return Verdict("undecided", "nothing was measured, or an effect or its p-value is not a number")
    sure = {name: p is None or p[name] < level for name in intervals}
    above = [name for name, (_, low, _) in intervals.items() if low > 0 and sure[name]]
    below = [name for name, (_, _, high) in intervals.items() if high < 0 and sure[name]]
    rest = [name for name in intervals if name not in above]
    sizes = "; ".join(f"{name}: {show(value)} {show([low, high])}" for name, (value, low, high) in intervals.items())
    if len(intervals) > 4:
        sides = {"as claimed": above, "the other way": below}
        found = "; ".join(f"{side}: {', '.join(names)}" for side, names in sides.items() if names and len(names) < len(intervals))
        sizes = f"of {len(intervals)} effects {len(above)} are as claimed, {len(below)} the other way, the rest undecided"
        sizes += f" ({found})" if found else ""
    if not rest:
        return Verdict("confirmed", sizes)
    if above and not below:
        names = f"for {', '.join(above)}, not for {', '.join(rest)}: " if len(intervals) <= 4 else ""
        return Verdict("confirmed with conditions", names + sizes)
    return Verdict("refuted" if below and not above else "not supported", sizes)


def mostly(shares: Mapping[str, tuple], *, what: str, level: float = 0.5) -> Verdict:
    """Something said to happen in each of several conditions: confirmed where it happens in most runs of each of them.

    A share is (value, low, high). Most: the whole interval lies above `level`. Most in some conditions only: confirmed with conditions,
    which are named. In every condition the whole interval lies below: refuted. Otherwise: not supported.
    """
    if not shares or any(math.isnan(number) for share in shares.values() for number in share):
        return Verdict("undecided", "nothing was measured, or a share is not a number")
    above = [name for name, (_, low, _) in shares.items() if low > level]
    below = [name for name, (_, _, high) in shares.items() if high < level]
    sizes = "; ".join(f"{name} {value:.0%} [{low:.0%}, {high:.0%}]" for name, (value, low, high) in shares.items())
    if len(shares) > 4:
        values = [value for value, _, _ in shares.values()]
        sizes = f"between {min(values):.0%} and {max(values):.0%} in the {len(shares)} conditions"
    if len(above) == len(shares):
        return Verdict("confirmed", f"{what} in most runs: {sizes}")
    if above:
        rest = ", ".join(name for name in shares if name not in above)
        return Verdict("confirmed with conditions", f"{what} in most runs of {', '.join(above)}, not of {rest}: {sizes}")
    if len(below) == len(shares):
        return Verdict("refuted", f"{what} in few runs: {sizes}")
    return Verdict("not supported", f"the intervals do not show that {what} in most runs: {sizes}")


def only(share: tuple, exceptions: int, cases: int, *, what: str, where: str, elsewhere: str, level: float = 0.5) -> Verdict:
    """Something said to happen `where` and to be impossible `elsewhere`: refuted by an exception, of `cases` looked at.

    Without one, `share` = (value, low, high) decides: confirmed where it happens in most runs (the interval lies above `level`), confirmed
    with conditions where it happens in some (the interval lies above 0), refuted where it hardly does (the interval holds 0).
    """
    value, low, high = share
    if cases == 0 or any(math.isnan(number) for number in share):
        return Verdict("undecided", "no case was looked at, or the share is not a number")
    size = f"{what} in {value:.0%} [{low:.0%}, {high:.0%}] of {where}"
    if exceptions:
        return Verdict("refuted", f"{size}, but also in {exceptions} of {cases} of {elsewhere}")
    if low > level:
        return Verdict("confirmed", f"{size}, in none of {cases} of {elsewhere}")
    if low > 0:
        return Verdict("confirmed with conditions", f"in some runs, not in most: {size}, in none of {cases} of {elsewhere}")
    return Verdict("refuted", f"{size}, no more than in {elsewhere}")


def record(id: str, verdict: Verdict, evidence: Mapping, protocol: str = "") -> Record:
    """The record of a claim, to stand last in its cell: numbers are kept to three significant digits.

    Errors: ValueError for an unknown id; TypeError for a verdict that no rule made.
    """
    if id not in CLAIMS:
        raise ValueError(f"claim id is {id!r}; one of those in riemlib.ledger.CLAIMS is needed")
    if not isinstance(verdict, Verdict) or verdict.verdict not in VERDICTS:
        raise TypeError(f"verdict is {verdict!r}; the Verdict that a rule of riemlib.ledger returns is needed")
    return Record(id, *CLAIMS[id], verdict.verdict, verdict.reason, {k: rounded(v) for k, v in evidence.items()}, protocol)


def gather(notebooks: Iterable[Path]) -> list[dict]:
    """The records in executed notebooks, in the order of `CLAIMS`, each with its `notebook` and the number of the deciding `cell`.

    Errors: ValueError where a claim is recorded twice.
    """
    found = {}
    for path in notebooks:
        for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                claim = output.get("data", {}).get(MIME)
                if claim is None:
                    continue
                if claim["id"] in found:
                    raise ValueError(f"claim {claim['id']} is recorded in {found[claim['id']]['notebook']} and again in {Path(path).stem}")
                found[claim["id"]] = {**claim, "notebook": Path(path).stem, "cell": cell["execution_count"]}
    return [found[id] for id in CLAIMS if id in found]


def table(claims: Sequence[Mapping]) -> str:
    """Gathered claims as an HTML table: section, claim, verdict, why, notebook."""
    text = html.escape
    rows = "".join(
        f"<tr><td>{text(c['section'])}</td><td style='text-align:left'>{text(c['statement'])}<br><code>{text(c['id'])}</code></td>"
        f"<td style='text-align:left;color:{VERDICTS[c['verdict']]}'><b>{text(c['verdict'])}</b></td>"
        f"<td style='text-align:left'>{text(c['reason'])}</td>"
        f"<td style='text-align:left'>{link(c)}</td></tr>"
        for c in claims
    )
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("§", "what the paper says", "verdict", "because", "decided in"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def link(claim: Mapping, folder: str = "") -> str:
    """An HTML link from a notebook to the cell that decides a claim: its number as it was executed."""
    return f"<a href='{folder}{claim['notebook']}.ipynb#{claim['id']}'>{html.escape(claim['notebook'])} [{claim['cell']}]</a>"


def errata(claims: Sequence[Mapping]) -> str:
    """What the paper states that does not hold as stated: the statement, what was found, and the statement that holds, as HTML."""
    text, parts = html.escape, []
    for c in claims:
        if c["verdict"] == "confirmed" or c["section"] == "ours":
            continue
        repaired = f"<p style='margin:4px 0'><b>What holds.</b> {text(REPAIRED[c['id']])}</p>" if c["id"] in REPAIRED else ""
        parts.append(
            f"<div style='border-left:5px solid {VERDICTS[c['verdict']]};padding:2px 12px;margin:14px 0'>"
            f"<p style='margin:4px 0'><b>§ {text(c['section'])}: {text(c['statement'])}.</b></p>"
            f"<p style='margin:4px 0'><b style='color:{VERDICTS[c['verdict']]}'>{text(c['verdict'])}</b>, {link(c)}: "
            f"{text(c['reason'])}.</p>"
            f"{repaired}</div>"
        )
    return "".join(parts)


def markdown(claims: Sequence[Mapping], folder: str) -> str:
    """The same, shorter, as a Markdown table with links to the notebooks in `folder`."""
    links = [f"[{c['notebook']} \\[{c['cell']}\\]]({folder}/{c['notebook']}.ipynb)" for c in claims]
    rows = [f"| {c['section']} | {c['statement']} | **{c['verdict']}** | {link} |" for c, link in zip(claims, links, strict=True)]
    return "\n".join(["| § | what the paper says | verdict | decided in |", "|---|---|---|---|", *rows])


def summary(claims: Sequence[Mapping]) -> str:
    """How many claims have which verdict, and which are still to be decided."""
    counts = {verdict: sum(c["verdict"] == verdict for c in claims) for verdict in VERDICTS}
    decided = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    waiting = [f"`{id}`" for id in CLAIMS if id not in {c["id"] for c in claims}]
    return f"{len(claims)} claims decided: {decided}." + (f" Not yet decided: {', '.join(waiting)}." if waiting else "")


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


def power(value: float, up: bool = True) -> str:
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
