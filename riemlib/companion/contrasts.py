"""Contrasts: the effect of one condition against another over the same seeds, how it reads, and what it is in plain terms.

An effect is oriented so that + is what the paper says. It is `for` where its 95 % interval lies above delta, the smallest effect of
interest, `against` where it lies below -delta, `absent` where it lies within ±delta, and otherwise `silent`. A seed that is not finite in
one of the two conditions (a network that diverged) is left out of both, and counted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from scipy.stats import quantile_test

from .rules import show
from .statistics import mcnemar, wilson

LEAST_SOLVED = 0.2  #: a reference that solves a smaller share of seeds cannot say what a change costs


@dataclass(frozen=True)
class Contrast:
    """The effect of one specification: estimate and 95 % interval, oriented so that + is what the paper says."""

    kind: str  # ratio, difference, share, superiority or median
    estimate: float
    low: float
    high: float
    n: int  # seeds, finite in both conditions
    left_out: int  # seeds that are not
    delta: float  # the smallest effect of interest, or the margin of an equivalence
    plain: str  # the effect in plain terms
    sample: np.ndarray = field(repr=False, compare=False)  # what it was estimated from, oriented
    test: str = "effect"  # or equivalence, or cost
    reference: float = 1.0  # the share of seeds that the reference of an equivalence solves

    @property
    def reading(self) -> str:
        """`for`, `against`, `absent` or `silent`."""
        above, below = self.low > self.delta, self.high < -self.delta
        within = -self.delta <= self.low and self.high <= self.delta
        if self.test == "effect":
            return "for" if above else "against" if below else "absent" if within else "silent"
        if self.no_reference:
            return "silent"
        if self.test == "equivalence":
            return "for" if within else "against" if above or below else "silent"
        return "for" if self.low >= -self.delta else "against" if below else "silent"

    @property
    def no_reference(self) -> bool:
        """Whether the reference of an equivalence solves too few seeds to say what a change costs."""
        return self.test != "effect" and self.reference < LEAST_SOLVED

    @property
    def needed(self) -> float:
        """About how many seeds would give another reading than `silent`: the interval's width shrinks with the root of their number."""
        if self.n == 0 or self.no_reference:
            return math.inf
        sides = {border: self.estimate - self.low if self.estimate > border else self.high - self.estimate for border in self._borders()}
        gaps = {border: abs(self.estimate - border) for border in sides}
        return self.n * max(sides[border] / gaps[border] if gaps[border] else math.inf for border in sides) ** 2

    @property
    def statistics(self) -> str:
        """The sentence that stands after the plain one: estimator, interval, smallest effect, seeds."""
        name = "margin" if self.test != "effect" else "smallest effect"
        seeds = f"{self.n} seeds" + (f", {self.left_out} left out" if self.left_out else "")
        return f"{KINDS[self.kind][0]} {show(self.estimate)} {show([self.low, self.high])}, {name} {show(self.delta)}, {seeds}"

    @property
    def smallest(self) -> str:
        """The smallest effect of interest in plain terms."""
        sizes = {"ratio": f"a factor of {math.exp(self.delta):.3g}", "share": _points(self.delta), "superiority": _points(self.delta)}
        return sizes.get(self.kind, show(self.delta))

    def _borders(self) -> tuple[float, ...]:
        return (-self.delta,) if self.test == "cost" else (-self.delta, self.delta)


@dataclass(frozen=True)
class AllOf:
    """Several contrasts of one specification that must all hold. Their reading is the one that they share.

    It is `silent` where more seeds could still make all of them `for`, or all of them `against`, and otherwise `mixed`. So one that is
    `against` does not refute while another is `for` or silent: with the conditions exchanged it would not confirm, either.
    """

    parts: Mapping[str, Contrast]

    @property
    def reading(self) -> str:
        readings = {part.reading for part in self.parts.values()}
        if len(readings) == 1:
            return readings.pop()
        return "silent" if readings in ({"for", "silent"}, {"against", "silent"}) else "mixed"

    @property
    def n(self) -> int:
        return min(part.n for part in self.parts.values())

    @property
    def needed(self) -> float:
        return max(part.needed for part in self.parts.values() if part.reading == "silent")

    @property
    def plain(self) -> str:
        return "; ".join(f"{name}: {part.plain}" for name, part in self.parts.items())

    @property
    def statistics(self) -> str:
        return "; ".join(f"{name}: {part.statistics}" for name, part in self.parts.items())

    @property
    def smallest(self) -> str:
        return " or ".join(dict.fromkeys(part.smallest for part in self.parts.values()))


def all_of(**parts: Contrast) -> AllOf:
    """Contrasts that must all hold, each with its name. Errors: ValueError for none."""
    if not parts:
        raise ValueError("no contrast is given; at least one is needed")
    return AllOf(parts)


# Estimators. `say` holds the sentence for an effect as the paper says and for the opposite one, with {} for the size.


def ratio(larger, smaller, *, delta: float, say: tuple[str, str], growth: bool = False) -> Contrast:
    """The paired logarithm of larger over smaller, a positive measure under the two conditions: `difference` of the logarithms.

    `delta` is the logarithm of a ratio. The size is told in per cent: how much less the smaller is or, with `growth`, how much more the
    larger is.
    Errors: ValueError where the lengths differ or a value is not positive.

    >>> ratio([2.0] * 9, [1.0] * 9, delta=math.log(1.25), say=("{} less rough", "{} rougher")).plain
    '50 % less rough [50, 50]'
    """
    pairs, left_out = _pairs(larger, smaller)
    if (pairs <= 0).any():
        raise ValueError(f"{int((pairs <= 0).sum())} values are not positive; a positive measure is needed for a logarithm")
    sizes = (_less, _more) if not growth else (_more, _less)
    return _contrast("ratio", np.log(pairs[:, 0]) - np.log(pairs[:, 1]), left_out, delta, _sentence(say, sizes, " %"))


def difference(larger, smaller, *, delta: float, say: tuple[str, str]) -> Contrast:
    """The paired difference of a measure, larger less smaller: the Hodges-Lehmann shift with its exact signed-rank interval.

    The shift is the median of the means of all two differences, one with itself included. It sees an effect where more than half of the
    differences are 0, which the median does not. The interval is exact where the differences are symmetric about the shift, as they are
    where the conditions do not differ; with ties it is at least as wide as it should be.
    Errors: ValueError where the lengths differ.
    Source: J. L. Hodges and E. L. Lehmann, Ann. Math. Stat. 34 (1963) 598.
    """
    pairs, left_out = _pairs(larger, smaller)
    return _contrast("difference", pairs[:, 0] - pairs[:, 1], left_out, delta, _sentence(say, (float, float)))


def share(more, fewer, *, delta: float, say: tuple[str, str]) -> Contrast:
    """The difference of two shares of the same seeds, by `statistics.mcnemar`: Newcombe's paired interval, sound at 0 % and at 100 %.

    The two hold true or false, or NaN where the network diverged. Errors: ValueError where the lengths differ.
    """
    pairs, left_out = _pairs(more, fewer)
    found = _contrast("share", pairs.astype(bool), left_out, delta, _sentence(say, (_percent, _percent), " points"))
    return replace(found, reference=float(pairs[:, 1].mean())) if len(pairs) else found


def superiority(larger, smaller, *, delta: float = 0.1, say: tuple[str, str]) -> Contrast:
    """The probability that a seed has more under one condition than under the other, less one half. A tie counts one half.

    The interval is Wilson's, with a half rounded away from the estimate. Errors: ValueError where the lengths differ.
    """
    pairs, left_out = _pairs(larger, smaller)
    sizes = (lambda effect: 50 + 100 * effect,) * 2
    return _contrast("superiority", np.sign(pairs[:, 0] - pairs[:, 1]), left_out, delta, _sentence(say, sizes, " %"))


def median(values, border: float, *, delta: float, say: str, above: bool = True, log: bool = False) -> Contrast:
    """The median of one sample against a border, above or below which the paper sees it, with the interval of order statistics.

    With `log` the effect is the logarithm of the ratio to the border, and `delta` too. `say` is the sentence, with {} for the median.
    Errors: ValueError for a logarithm of values or a border that are not positive.
    """
    values = np.asarray(values, dtype=float).ravel()
    finite = values[np.isfinite(values)]
    if log and (border <= 0 or (finite <= 0).any()):
        raise ValueError(f"border is {border}, the least value {finite.min(initial=math.inf)}; both must be positive for a logarithm")
    sign = 1 if above else -1

    def sentence(estimate: float, low: float, high: float) -> str:
        at = [border * math.exp(min(sign * e, 99)) if log else border + sign * e for e in (estimate, low, high)]
        return f"{say.format(show(at[0]))} {show(sorted(at[1:]))}, border {show(border)}"

    sample = sign * (np.log(finite) - math.log(border) if log else finite - border)
    return _contrast("median", sample, len(values) - len(finite), delta, sentence)


def equivalence(contrast: Contrast, *, cost: bool = False, reference: float | None = None) -> Contrast:
    """A contrast with a reference, its second condition, read for "makes no difference", or with `cost` for "costs little".

    Its delta is the margin. It is `for` where the interval lies within ±margin (of a cost: not below -margin), `against` where it lies
    beyond, and otherwise `silent`. It is `silent`, too, where the reference solves fewer than 20 % of seeds: `reference`, which a contrast
    of shares knows. Errors: ValueError where `reference` is missing.
    """
    if reference is None and contrast.kind != "share":
        raise ValueError("reference is missing; the share of seeds that the reference solves is needed")
    known = contrast.reference if reference is None else reference
    return replace(contrast, test="cost" if cost else "equivalence", reference=known)


def _contrast(kind: str, sample: np.ndarray, left_out: int, delta: float, sentence: Callable) -> Contrast:
    if not delta >= 0:
        raise ValueError(f"delta is {delta}; a number of at least 0 is needed")
    if not len(sample):
        return Contrast(kind, math.nan, -math.inf, math.inf, 0, left_out, float(delta), "no seed is left", sample)
    estimate, low, high = KINDS[kind][1](sample)
    return Contrast(kind, estimate, low, high, len(sample), left_out, float(delta), sentence(estimate, low, high), sample)


def _pairs(first, second) -> tuple[np.ndarray, int]:
    first, second = (np.asarray(values, dtype=float).ravel() for values in (first, second))
    if len(first) != len(second):
        raise ValueError(f"one condition has {len(first)} values, the other {len(second)}; one of each for every seed is needed")
    finite = np.isfinite(first) & np.isfinite(second)
    return np.stack([first[finite], second[finite]], axis=1), int((~finite).sum())


@cache
def _two_of(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n)


@cache
def _rank(n: int, tail: float = 0.025) -> int:
    """How many of the n (n + 1)/2 means lie below the interval, and how many above: the exact distribution of the signed ranks."""
    p = np.ones(1)
    for rank in range(1, n + 1):
        p = (np.pad(p, (0, rank)) + np.pad(p, (rank, 0))) / 2
    return int((np.cumsum(p) <= tail).sum())


def _shift(sample: np.ndarray) -> tuple[float, float, float]:
    i, j = _two_of(len(sample))
    means = np.sort((sample[i] + sample[j]) / 2)
    k = _rank(len(sample))
    return float(np.median(means)), *((float(means[k - 1]), float(means[-k])) if k else (-math.inf, math.inf))


@cache
def _order(n: int) -> tuple[float, float]:
    """Which of n sorted values, counted from 1, are the ends of the interval of their median; NaN where there is none."""
    found = quantile_test(np.arange(1.0, n + 1), p=0.5).confidence_interval(0.95)
    return float(found.low), float(found.high)


def _order_statistics(sample: np.ndarray) -> tuple[float, float, float]:
    low, high = _order(len(sample))
    values = np.sort(sample)
    ends = (-math.inf, math.inf) if math.isnan(low) or math.isnan(high) else (values[int(low) - 1], values[int(high) - 1])
    return float(np.median(sample)), float(ends[0]), float(ends[1])


def _newcombe(pairs: np.ndarray) -> tuple[float, float, float]:
    found = mcnemar(pairs[:, 1], pairs[:, 0])
    return found.difference, *found.interval


def _signs(sample: np.ndarray) -> tuple[float, float, float]:
    twice, n = int(2 * (sample > 0).sum() + (sample == 0).sum()), len(sample)
    return twice / (2 * n) - 0.5, _wilson(twice // 2, n)[0] - 0.5, _wilson(-(-twice // 2), n)[1] - 0.5


_wilson = cache(wilson)


#: how each kind of effect is called in a record, and how it is estimated from its sample, with its interval
KINDS: dict[str, tuple[str, Callable]] = {
    "ratio": ("Hodges-Lehmann shift of the logarithm", _shift),
    "difference": ("Hodges-Lehmann shift", _shift),
    "share": ("difference of paired shares (Newcombe)", _newcombe),
    "superiority": ("probability of superiority less 1/2 (Wilson)", _signs),
    "median": ("median less the border (order statistics)", _order_statistics),
}


# Words.


def _less(effect: float) -> float:
    return -_more(-effect)


def _more(effect: float) -> float:
    return 100 * math.expm1(effect) if effect < 50 else math.inf


def _percent(effect: float) -> float:
    return 100 * effect


def _points(effect: float) -> str:
    return f"{100 * effect:.3g} points"


def _sentence(say: tuple[str, str], sizes: tuple[Callable, Callable], unit: str = "") -> Callable[[float, float, float], str]:
    """Tells an effect and its interval: in the paper's sense, or in the opposite one where the estimate is below 0."""

    def sentence(estimate: float, low: float, high: float) -> str:
        opposite = estimate < 0
        ends = (-estimate, -high, -low) if opposite else (estimate, low, high)
        value, low, high = (sizes[opposite](end) for end in ends)
        if unit:
            digits = 0 if abs(value) >= 10 or high - low >= 10 else 1
            value, low, high = (f"{round(each, digits) + 0.0:.{digits}f}" for each in (value, low, high))
        else:
            value, low, high = (show(each) for each in (value, low, high))
        return f"{say[opposite].format(value + unit)} [{low}, {high}]"

    return sentence
