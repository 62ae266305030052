"""Contrasts: readings, intervals against scipy, exchange, noise, ties, too few seeds, words; and power against formulas typed here."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from riemlib.companion import contrasts
from riemlib.companion.contrasts import Contrast, all_of, difference, equivalence, median, ratio, share, superiority
from riemlib.companion.power import power, power_table, powers, primary
from riemlib.companion.specifications import Specification, decide

NAN, INF = math.nan, math.inf
SAY = ("{} more", "{} fewer")
MIRROR = {"for": "against", "against": "for", "absent": "absent", "silent": "silent"}
STRENGTH = {"confirmed": "refuted", "refuted": "confirmed", "undecided": "undecided", "not supported": "not supported"}


def contrast(low: float, high: float, delta: float = 0.1, n: int = 100, **more) -> Contrast:
    """One with a given interval."""
    return Contrast("difference", (low + high) / 2, low, high, n, 0, delta, "an effect", np.zeros(n), **more)


#: each estimator of two conditions: (first condition, second, delta) -> contrast
PAIRED = {
    "ratio": lambda a, b, delta: ratio(np.exp(a), np.exp(b), delta=delta, say=SAY),
    "difference": lambda a, b, delta: difference(a, b, delta=delta, say=SAY),
    "share": lambda a, b, delta: share(a > 0, b > 0, delta=delta, say=SAY),
    "superiority": lambda a, b, delta: superiority(a, b, delta=delta, say=SAY),
    "median": lambda a, b, delta: median(a - b, 0.0, delta=delta, say="{}"),
}


def two_conditions(kind: str, rng, effect: float, draws: int = 1):
    """Paired samples, half of their spread from the seed that they share. Of the shares one half succeeds without an effect."""
    n = 400 if kind == "share" else 100
    seed, a, b = rng.normal(size=(3, draws, n))
    return a + seed + effect, b + seed


# Readings.


@pytest.mark.parametrize(
    ("low", "high", "effect", "equivalent", "cheap"),
    [
        (0.11, 0.5, "for", "against", "for"),
        (0.1, 0.5, "silent", "silent", "for"),
        (0.05, 0.5, "silent", "silent", "for"),
        (-0.1, 0.1, "absent", "for", "for"),
        (0.02, 0.08, "absent", "for", "for"),
        (-0.11, 0.05, "silent", "silent", "silent"),
        (-0.3, 0.3, "silent", "silent", "silent"),
        (-0.5, -0.1, "silent", "silent", "silent"),
        (-0.5, -0.11, "against", "against", "against"),
        (-INF, INF, "silent", "silent", "silent"),
        (NAN, NAN, "silent", "silent", "silent"),
    ],
)
def test_a_contrast_is_read_from_its_interval(low, high, effect, equivalent, cheap):
    found = contrast(low, high)
    assert found.reading == effect
    assert equivalence(found, reference=0.2).reading == equivalent
    assert equivalence(found, cost=True, reference=0.2).reading == cheap
    for cost in (True, False):
        assert equivalence(found, cost=cost, reference=0.19).reading == "silent"


def test_the_reference_of_an_equivalence_of_shares_is_its_second_condition():
    few, many = np.arange(400) < 60, np.arange(400) < 120
    assert equivalence(share(few, few, delta=0.1, say=SAY)).reading == "silent"
    assert equivalence(share(few, many, delta=0.1, say=SAY), cost=True).reading == "against"
    assert equivalence(share(many, few, delta=0.1, say=SAY), cost=True).reading == "silent"
    assert equivalence(share(many, many, delta=0.1, say=SAY)).reading == "for"
    with pytest.raises(ValueError, match="reference is missing"):
        equivalence(contrast(0.0, 1.0))


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ("for for", "for"),
        ("against against", "against"),
        ("absent absent", "absent"),
        ("silent silent", "silent"),
        ("for silent", "silent"),
        ("against silent", "silent"),
        ("for against", "mixed"),
        ("for against silent", "mixed"),
        ("for absent", "mixed"),
        ("absent silent", "mixed"),
    ],
)
def test_several_contrasts_hold_together(readings, expected):
    intervals = {"for": (0.2, 0.3), "against": (-0.3, -0.2), "absent": (-0.01, 0.01), "silent": (0.0, 0.2)}
    parts = [intervals[reading] for reading in readings.split()]
    assert all_of(**{f"part {i}": contrast(*part) for i, part in enumerate(parts)}).reading == expected
    mirrored = all_of(**{f"part {i}": contrast(-high, -low) for i, (low, high) in enumerate(parts)})
    assert mirrored.reading == {**MIRROR, "mixed": "mixed"}[expected]


# Estimators.


@pytest.mark.parametrize("n", [6, 9, 20, 40])
def test_a_shift_has_the_interval_that_wilcoxons_test_does_not_reject(n):
    """By inversion: scipy's exact test keeps a shift just inside an end and rejects one just outside."""
    sample = np.random.default_rng(n).normal(0.3, 1, n)
    found = difference(sample, np.zeros(n), delta=0.1, say=SAY)
    means = [(x + y) / 2 for i, x in enumerate(sample) for y in sample[i:]]
    assert found.estimate == pytest.approx(np.median(means), abs=1e-12)
    for end, inwards in ((found.low, 1e-9), (found.high, -1e-9)):
        inside, outside = (stats.wilcoxon(sample - end - step, method="exact").pvalue for step in (inwards, -inwards))
        assert inside > 0.05 >= outside


def test_a_ratio_is_the_shift_of_the_logarithms():
    a, b = np.random.default_rng(1).exponential(size=(2, 30))
    one, other = ratio(a, b, delta=0.1, say=SAY), difference(np.log(a), np.log(b), delta=0.1, say=SAY)
    assert (one.estimate, one.low, one.high) == (other.estimate, other.low, other.high)


def test_ties_are_no_effect_of_zero():
    """Of 100 differences 55 are 0 and 45 are 1: their median is 0, the shift is 1/2, and the interval is above 0."""
    tied = np.repeat([0.0, 1.0], [55, 45])
    found = difference(tied, np.zeros(100), delta=0.2, say=SAY)
    assert np.median(tied) == 0 and found.estimate == 0.5 and found.reading == "for"
    assert difference(np.zeros(100), tied, delta=0.2, say=SAY).reading == "against"
    assert superiority(tied, np.zeros(100), say=SAY).estimate == pytest.approx(0.225)
    same = difference(tied, tied, delta=0.2, say=SAY)
    assert (same.estimate, same.low, same.high, same.reading) == (0, 0, 0, "absent")


@pytest.mark.parametrize("n", [100, 400])
def test_shares_at_the_ends_keep_an_interval(n):
    none, every = np.zeros(n, bool), np.ones(n, bool)
    for same in (none, every):
        found = share(same, same, delta=0.1, say=SAY)
        assert found.low < 0 == found.estimate < found.high and found.high == -found.low < 2 * 3.85 / n
    found = share(every, none, delta=0.1, say=SAY)
    assert found.estimate == 1 and 1 - 2 * 3.85 / n < found.low < 1 and found.reading == "for"


def test_superiority_has_wilsons_interval():
    won, tied, n, z = 60, 10, 100, stats.norm.ppf(0.975)
    signs = np.repeat([1.0, 0.0, -1.0], [won, tied, n - won - tied])
    p = (won + tied / 2) / n
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n) - 0.5
    found = superiority(signs, np.zeros(n), say=SAY)
    assert (found.estimate, found.low, found.high) == pytest.approx((p - 0.5, centre - half, centre + half), abs=1e-9)


def test_a_median_has_the_interval_of_order_statistics():
    """Of 100 values the 40th and the 61st, from tables of the binomial distribution; of 5 there is none."""
    values = np.random.default_rng(2).permutation(np.arange(1.0, 101.0))
    found = median(values, 20.0, delta=5.0, say="{}")
    assert (found.estimate, found.low, found.high) == (30.5, 20.0, 41.0)
    found = median(values, 20.0, delta=0.1, say="{}", above=False, log=True)
    assert (found.low, found.high) == pytest.approx((-math.log(61 / 20), -math.log(2))) and found.reading == "against"
    assert median([1.0, 2.0, 3.0, 4.0, 5.0], 0.0, delta=0.1, say="{}").low == -INF


@pytest.mark.parametrize("kind", PAIRED)
def test_intervals_cover_the_effect(kind):
    """About 95 of 100 hold the true effect; half as long they would hold 67."""
    truth = {"share": stats.norm.cdf(0.6 / math.sqrt(2)) - 0.5, "superiority": stats.norm.cdf(0.6 / math.sqrt(2)) - 0.5}.get(kind, 0.6)
    pairs = zip(*two_conditions(kind, np.random.default_rng(4), 0.6, 300), strict=True)
    found = [PAIRED[kind](a, b, 0.1) for a, b in pairs]
    assert 0.92 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.99


def test_seeds_that_diverged_are_left_out_in_pairs_and_counted():
    a, b = np.array([1.0, NAN, 3.0, 4.0]), np.array([0.5, 1.0, INF, 2.0])
    for found in (ratio(a, b, delta=0.1, say=SAY), difference(a, b, delta=0.1, say=SAY), superiority(a, b, say=SAY)):
        assert (found.n, found.left_out, found.estimate > 0) == (2, 2, True) and "2 seeds, 2 left out" in found.statistics
    assert ratio(a, b, delta=0.1, say=SAY).estimate == pytest.approx(math.log(2))
    assert share([1.0, NAN, 1.0], [0.0, 0.0, NAN], delta=0.1, say=SAY).n == 1
    nothing = median([NAN], 0.0, delta=0.1, say="{}")
    assert (nothing.n, nothing.left_out, nothing.reading, decide(nothing).verdict) == (0, 1, "silent", "undecided")
    assert share([NAN], [1.0], delta=0.1, say=SAY).reading == "silent"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ratio([1.0], [0.0], delta=0.1, say=SAY), "1 values are not positive"),
        (lambda: difference([1.0], [1.0, 2.0], delta=0.1, say=SAY), "has 1 values, the other 2"),
        (lambda: difference([1.0], [1.0], delta=-0.1, say=SAY), "delta is -0.1"),
        (lambda: difference([1.0], [1.0], delta=NAN, say=SAY), "delta is nan"),
        (lambda: median([1.0, 0.0], 1.0, delta=0.1, say="{}", log=True), "the least value 0.0; both must be positive"),
        (lambda: all_of(), "no contrast is given"),
        (lambda: power(median([], 1.0, delta=0.1, say="{}"), 0.2), "contrast has no seeds"),
    ],
)
def test_a_contrast_of_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# What a rule must not do.


@given(st.sampled_from(sorted(PAIRED)), st.integers(0, 2**31), st.sampled_from([1, 6, 30, 100]), st.floats(-2, 2), st.booleans())
def test_exchanging_the_conditions_mirrors_the_verdict(kind, seed, n, effect, rounded):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(effect, 1, n), rng.normal(0, 1, n)
    if rounded:  # ties
        a, b = np.round(a), np.round(b)
    one, other = PAIRED[kind](a, b, 0.1), PAIRED[kind](b, a, 0.1)
    assert (other.estimate, other.low, other.high) == pytest.approx((-one.estimate, -one.high, -one.low), abs=1e-12)
    assert other.reading == MIRROR[one.reading] and other.needed == pytest.approx(one.needed, rel=1e-6)
    assert decide(other).verdict == STRENGTH[decide(one).verdict]


def test_a_border_is_mirrored_above_and_below():
    values = np.random.default_rng(0).exponential(size=100)
    for log in (True, False):
        one, other = (median(values, 0.3, delta=0.1, say="{}", above=above, log=log) for above in (True, False))
        assert (one.reading, other.reading) == ("for", "against")
        assert (other.estimate, other.low, other.high) == (-one.estimate, -one.high, -one.low)


@given(st.sampled_from(["ratio", "difference", "median"]), st.integers(0, 2**31), st.integers(1, 100), st.floats(-3, 1))
def test_an_effect_below_the_smallest_of_interest_never_confirms(kind, seed, n, size):
    """A sample whose effect is moved to `size` times delta or less, with a spread from much below delta to much above."""
    rng = np.random.default_rng(seed)
    a = rng.normal(0, 10 ** rng.uniform(-4, 1), n)
    moved = a - PAIRED[kind](a, np.zeros(n), 0.1).estimate + 0.1 * size
    assert decide(PAIRED[kind](moved, np.zeros(n), 0.1 + 1e-12)).verdict != "confirmed"


@given(st.sampled_from(["share", "superiority"]), st.integers(1, 500), st.data())
def test_a_share_below_the_smallest_of_interest_never_confirms(kind, n, data):
    won, lost = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    won, lost = min(won, n - lost), min(lost, n - won)
    a, b = np.arange(n) < won, (np.arange(n) >= won) & (np.arange(n) < won + lost)
    found = PAIRED[kind](a.astype(float), b.astype(float), 0.1)
    if found.estimate <= 0.1:
        assert decide(found).verdict != "confirmed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAIRED)
def test_noise_alone_confirms_at_most_one_time_in_twenty(kind):
    """1000 draws without an effect, with delta 0, where it is easiest to be above it. An interval of 80 % would confirm in one of ten."""
    pairs = zip(*two_conditions(kind, np.random.default_rng(5), 0.0, 1000), strict=True)
    confirmed = sum(decide(PAIRED[kind](a, b, 0.0)).verdict == "confirmed" for a, b in pairs)
    assert 5 <= confirmed <= 50


@pytest.mark.slow
def test_noise_in_rare_successes_confirms_at_most_one_time_in_twenty():
    rng = np.random.default_rng(6)
    pairs = rng.random((400, 2, 400)) < 0.02
    assert sum(share(a, b, delta=0.0, say=SAY).reading == "for" for a, b in pairs) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAIRED)
@pytest.mark.parametrize("effect", [0.0, 1.2])
def test_fewer_seeds_make_no_stronger_verdict(kind, effect):
    """Nested samples: the fewer seeds, the fewer verdicts other than undecided, and hardly one that more seeds take back."""
    delta = 0.15 if kind in ("share", "superiority") else 0.55
    draws = list(zip(*two_conditions(kind, np.random.default_rng(7), effect, 100), strict=True))
    sizes = (400, 100, 24, 5, 1) if kind == "share" else (100, 25, 6, 5, 1)
    verdicts = [[decide(PAIRED[kind](a[:n], b[:n], delta)).verdict for a, b in draws] for n in sizes]
    decided = [sum(verdict != "undecided" for verdict in each) for each in verdicts]
    assert all(few <= many + 5 for many, few in zip(decided, decided[1:], strict=False)), decided
    assert decided[0] > 50 > decided[2] and decided[3] <= 10 and decided[4] == 0, decided
    taken_back = [many == "undecided" != few for many, few in zip(verdicts[0], verdicts[1], strict=True)]
    assert sum(taken_back) <= 5


@pytest.mark.parametrize("kind", ["ratio", "difference", "median"])
def test_five_seeds_decide_nothing(kind):
    assert PAIRED[kind](np.full(5, 9.0), np.zeros(5), 0.1).reading == "silent"
    assert PAIRED[kind](np.full(6, 9.0), np.zeros(6), 0.1).reading == "for"


@pytest.mark.parametrize("effect", [0.3, 0.02, -0.2])
def test_so_many_seeds_as_are_needed_decide(effect):
    """Samples of the same shape, quantiles of the normal distribution: silent with 0.8 times as many, not with 1.2 times."""

    def of(n: int) -> Contrast:
        return difference(stats.norm.ppf((np.arange(n) + 0.5) / n) + effect, np.zeros(n), delta=0.1, say=SAY)

    few = of(60)
    assert few.reading == "silent"
    assert of(int(0.8 * few.needed)).reading == "silent" != of(int(1.2 * few.needed)).reading


# Words.


@pytest.mark.parametrize(
    ("found", "plain"),
    [
        (lambda: ratio([2.0, 2.0, 2.0], [1.12, 1.12, 1.12], delta=0.2, say=("{} less rough", "{} rougher")), "44 % less rough [-inf, 100]"),
        (lambda: ratio([1.0] * 9, [1.5] * 9, delta=0.2, say=("{} less rough", "{} rougher")), "50 % rougher [50, 50]"),
        (lambda: ratio([1.5] * 9, [1.0] * 9, delta=0.2, say=("{} longer", "{} shorter"), growth=True), "50 % longer [50, 50]"),
        (lambda: ratio([1.0] * 9, [1.5] * 9, delta=0.2, say=("{} longer", "{} shorter"), growth=True), "33 % shorter [33, 33]"),
        (lambda: difference([0.25] * 9, [0.0] * 9, delta=0.2, say=("{} straighter", "{} bent")), "0.25 straighter [0.25, 0.25]"),
        (
            lambda: share(np.arange(400) < 200, np.arange(400) < 152, delta=0.1, say=("solves {} more seeds", "solves {} fewer seeds")),
            "solves 12 points more seeds [9, 15]",
        ),
        (
            lambda: share(np.arange(400) < 152, np.arange(400) < 200, delta=0.1, say=("solves {} more seeds", "solves {} fewer seeds")),
            "solves 12 points fewer seeds [9, 15]",
        ),
        (
            lambda: superiority([0.0] * 100, [1.0] * 100, say=("far in {} of seeds", "near in {} of seeds")),
            "near in 100 % of seeds [96, 100]",
        ),
        (lambda: median([0.25] * 9, 0.5, delta=0.1, say="chord over arc {}", above=False), "chord over arc 0.25 [0.25, 0.25], border 0.5"),
        (lambda: median([0.25] * 9, 0.5, delta=0.1, say="chord over arc {}", log=True), "chord over arc 0.25 [0.25, 0.25], border 0.5"),
        (lambda: difference([NAN], [0.0], delta=0.2, say=SAY), "no seed is left"),
    ],
)
def test_an_effect_is_told_in_plain_terms_first(found, plain):
    assert found().plain == plain


def test_then_come_the_statistics():
    found = ratio([2.0] * 9 + [NAN], [1.0] * 10, delta=math.log(1.25), say=SAY)
    assert found.statistics == ("Hodges-Lehmann shift of the logarithm 0.693 [0.693, 0.693], smallest effect 0.223, 9 seeds, 1 left out")
    assert found.smallest == "a factor of 1.25" and share([True], [True], delta=0.1, say=SAY).smallest == "10 points"
    assert "margin 0.223" in equivalence(found, reference=1.0).statistics
    both = all_of(one=found, two=found)
    assert both.plain == "one: 50 % more [50, 50]; two: 50 % more [50, 50]" and both.smallest == "a factor of 1.25"
    assert both.statistics.startswith("one: Hodges-Lehmann") and both.n == 9


# Power.


def normal_power(effect: float, delta: float, error: float) -> float:
    """Of an estimate with that standard error, to have an interval above delta."""
    return float(stats.norm.cdf((effect - delta) / error - stats.norm.ppf(0.975)))


def test_the_power_of_a_shift():
    """The shift of normal differences has the standard error σ √(π / 3 n)."""
    sample = stats.norm.ppf((np.arange(200) + 0.5) / 200) + 0.7
    found = difference(sample, np.zeros(200), delta=0.1, say=SAY)
    for effect, n in ((0.4, 100), (0.3, 50), (0.1, 100)):
        expected = normal_power(effect, 0.1, math.sqrt(math.pi / 3 / n))
        assert power(found, effect, n=n) == pytest.approx(expected, abs=0.04)
    assert power(found, 0.3) == power(found, 0.3, n=200) == pytest.approx(normal_power(0.3, 0.1, math.sqrt(math.pi / 600)), abs=0.04)


@pytest.mark.slow
def test_the_power_of_shares():
    """The difference of paired shares has the standard error √((seeds that differ - effect²) / n)."""
    first, second = np.tile([True, True, False, False, False], 80), np.tile([True, False, True, False, False], 80)
    found = share(first, second, delta=0.1, say=SAY)
    for effect in (0.2, 0.15):
        assert power(found, effect, draws=500) == pytest.approx(normal_power(effect, 0.1, math.sqrt((0.4 - effect**2) / 400)), abs=0.05)
    same = power(equivalence(found), 0.0, draws=500)
    assert same == pytest.approx(2 * normal_power(0.1, 0.0, math.sqrt(0.4 / 400)) - 1, abs=0.05)
    assert power(found, 0.9, n=50, draws=20) == 1  # the reference, which solves 40 %, has to solve less for this effect
    assert power(equivalence(share(first & False, second & False, delta=0.1, say=SAY)), 0.0, draws=50) == 0


def test_the_power_of_a_cost_does_not_count_the_cost_that_was_seen():
    """At no cost, seeds differ at most as often as the reference fails and something else solves: twice 20 % here, not the 80 % seen."""
    shared, own = np.arange(200) % 5 < 0, np.arange(200) % 5 < 4
    found = equivalence(share(shared, own, delta=0.1, say=SAY), cost=True)
    assert found.reading == "against" and (found.sample[:, 0] != found.sample[:, 1]).mean() == 0.8
    for n in (200, 400):
        expected = normal_power(0.1, 0.0, math.sqrt(0.4 / n))
        assert power(found, 0.0, n=n, draws=400) == pytest.approx(expected, abs=0.06)
    all_solved = equivalence(share(shared, own | True, delta=0.1, say=SAY), cost=True)
    assert power(all_solved, 0.0, draws=20) == 1


def test_the_power_of_superiority():
    """A share p of wins has the standard error √(p (1 - p) / n), with ties a smaller one."""
    wins = np.tile([1.0, 1.0, 1.0, -1.0], 25)
    found = superiority(wins, np.zeros(100), say=SAY)
    for effect in (0.2, 0.3):
        expected = normal_power(effect, 0.1, math.sqrt((0.25 - effect**2) / 100))
        assert power(found, effect) == pytest.approx(expected, abs=0.07)
    tied = superiority(np.tile([1.0, 0.0, 0.0, 0.0], 25), np.zeros(100), say=SAY)
    assert power(tied, 0.0) == 0 and power(tied, 0.15) < 0.1 < power(found, 0.15)  # ties: less spread, and no narrower interval


def test_a_rule_without_power_is_not_used():
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(2, 100))
    narrow, wide = (difference(scale * a, scale * b, delta=0.1, say=SAY) for scale in (0.18, 0.3))
    table = power_table({"both": all_of(narrow=narrow, wide=wide), "alone": narrow, "same": equivalence(narrow, reference=1.0)}, draws=200)
    table = table.set_index("claim")
    assert list(table.index) == ["both: narrow", "both: wide", "both", "alone", "same"]
    assert dict(table["used"]) == {"both: narrow": True, "both: wide": False, "both": False, "alone": True, "same": True}
    assert table.loc["both", "power"] == pytest.approx(table.loc[["both: narrow", "both: wide"], "power"].sum() - 1)
    assert 0 < table.loc["both", "power"] < table.loc["both: wide", "power"] < table.loc["both: narrow", "power"] < 1
    assert table.loc["alone", "true effect"] == 0.2 and table.loc["same", "true effect"] == 0 and table.loc["alone", "seeds"] == 100
    more = power_table({"wide": wide}, n=1000, factor=4.0, draws=20)
    assert more["used"].all() and more["seeds"].item() == 1000 and more["true effect"].item() == pytest.approx(0.4)


def test_every_kind_has_a_name():
    assert set(contrasts.KINDS) == set(PAIRED)


def test_what_a_record_says_first():
    """The effect in plain terms, its statistics, the power of the rule, and how many specifications that decide read the same."""
    rng = np.random.default_rng(0)
    first, second = np.exp(rng.normal(1.0, 0.1, 50)), np.exp(rng.normal(0.0, 0.1, 50))
    large = ratio(first, second, delta=0.2, say=("{} less", "{} more"))
    wide = ratio(first ** rng.normal(1, 9, 50), second, delta=0.2, say=("{} less", "{} more"))
    some = [Specification({}, each, each, each) for each in (large, large, wide)]
    said = primary(large, updates=3000, specifications=some)
    assert said["primary contrast"] == large.plain and said["as statistics"] == large.statistics and said["updates"] == 3000
    assert (said["reads"], said["seeds"], said["smallest effect of interest"]) == ("for", 50, "a factor of 1.22")
    assert wide.reading == "silent" and said["specifications that read so, of those that decide"] == [2, 2]
    assert said["power to find twice that effect"] == power(large, 0.4) > 0.9 > power(wide, 0.4)
    both = all_of(a=large, b=wide)
    assert (
        powers(both)[-1]
        == max(0.0, power(large, 0.4) + power(wide, 0.4) - 1)
        == primary(both, updates=1)["power to find twice that effect"]
    )
    assert "specifications that read so, of those that decide" not in primary(both, updates=1)
