"""Intervals and tests of the studies of section 4, against counts done by hand and against coverage."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from riemlib import ledger
from riemlib.evidence import deviation, holm, mcnemar, median_interval, rank_correlation

NAN = math.nan


def test_deviation_is_relative_to_the_largest_entry():
    assert deviation(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 5.0])) == pytest.approx(0.2)
    assert deviation(torch.ones(3), torch.ones(3)) == 0


def test_median_interval_covers_the_median():
    """About 95 of 100 intervals of samples of an exponential hold its median, ln 2; an interval half as long would hold fewer."""
    rng = np.random.default_rng(0)
    held = half = 0
    for i in range(200):
        value, low, high = median_interval(rng.exponential(size=60), resamples=400, seed=i)
        assert low <= value <= high
        held += low <= math.log(2) <= high
        half += value - (value - low) / 2 <= math.log(2) <= value + (high - value) / 2
    assert 0.90 <= held / 200 <= 0.99 and half / 200 < 0.85


def test_median_interval_is_deterministic_and_shrinks():
    values = np.random.default_rng(1).normal(size=400)
    assert median_interval(values) == median_interval(list(values))
    wide, narrow = median_interval(values[:40]), median_interval(values)
    assert narrow[2] - narrow[1] < wide[2] - wide[1]
    assert median_interval(values, 0.5)[2] - median_interval(values, 0.5)[1] < narrow[2] - narrow[1]


@pytest.mark.parametrize("values", [[], [1.0, NAN], [math.inf]])
def test_median_interval_refuses(values):
    with pytest.raises(ValueError, match="values"):
        median_interval(values)
    with pytest.raises(ValueError, match="level"):
        median_interval([1.0], level=1.0)


def test_mcnemar_counts_and_p():
    first = [True] * 5 + [True] * 2 + [False] * 9 + [False] * 4
    second = [True] * 5 + [False] * 2 + [True] * 9 + [False] * 4
    found = mcnemar(torch.tensor(first), torch.tensor(second))
    assert (found.both, found.only_first, found.only_second, found.neither, found.n) == (5, 2, 9, 4, 20)
    assert found.difference == pytest.approx(7 / 20)
    assert found.p == pytest.approx(2 * binom.cdf(2, 11, 0.5))  # the concordant seeds do not count
    swapped = mcnemar(second, first)
    assert swapped.p == pytest.approx(found.p)
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_mcnemar_interval_of_a_published_table():
    """Newcombe 1998 (Stat. Med. 17, 2635), table III, 36, 12, 2, 0 of 50: 0.2 in [0.0569, 0.3404]."""
    first = [True] * 48 + [False] * 2
    second = [True] * 36 + [False] * 12 + [True] * 2
    found = mcnemar(second, first)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0569, 0.3404), abs=2e-4)


def test_mcnemar_without_disagreement():
    same = mcnemar([True, False, True], [True, False, True])
    assert same.p == 1 and same.difference == 0 and same.interval[0] < 0 < same.interval[1]
    with pytest.raises(ValueError, match="outcomes"):
        mcnemar([True], [True, False])
    with pytest.raises(ValueError, match="outcomes"):
        mcnemar([], [])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_interval_holds_the_difference(pairs):
    first, second = zip(*pairs, strict=True)
    found = mcnemar(first, second)
    assert -1 - 1e-12 <= found.interval[0] <= found.difference + 1e-12
    assert found.difference - 1e-12 <= found.interval[1] <= 1 + 1e-12
    assert 0 < found.p <= 1


def test_holm():
    assert holm({"b": 0.04, "a": 0.01, "c": 0.03}) == pytest.approx({"b": 0.06, "a": 0.03, "c": 0.06})  # 3 × .01, 2 × .03, then no smaller
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert list(holm({"z": 0.5, "a": 0.1})) == ["z", "a"]


def test_rank_correlation():
    t = np.linspace(0, 1, 20)
    assert rank_correlation(t, t**3) == 1 and rank_correlation(t, -(t**3)) == -1
    assert rank_correlation(t, 1e-9 * t) == 0  # rounding errors in order are no order
    with pytest.raises(ValueError, match="entries"):
        rank_correlation([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("intervals", "p", "expected"),
    [
        ({"a": (0.2, 0.1, 0.3)}, None, "confirmed"),
        ({"a": (0.2, 0.1, 0.3)}, {"a": 0.001}, "confirmed"),
        ({"a": (0.2, 0.1, 0.3)}, {"a": 0.2}, "not supported"),
        ({"a": (0.2, 0.1, 0.3), "b": (0.1, -0.1, 0.3)}, None, "confirmed with conditions"),
        ({"a": (0.2, 0.1, 0.3), "b": (-0.2, -0.3, -0.1)}, None, "not supported"),
        ({"a": (0.1, -0.1, 0.3)}, None, "not supported"),
        ({"a": (-0.2, -0.3, -0.1)}, None, "refuted"),
        ({"a": (-0.2, -0.3, -0.1)}, {"a": 0.5}, "not supported"),
        ({}, None, "undecided"),
        ({"a": (0.2, NAN, 0.3)}, None, "undecided"),
    ],
)
def test_effects(intervals, p, expected):
    found = ledger.effects(intervals, p)
    assert found.verdict == expected and found.reason
