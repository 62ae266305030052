"""Paired shifts and shares of section 7, against scipy, against counts done by hand, and against coverage."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from riemlib.evidence import proportion, shift, wilson

NAN, INF = math.nan, math.inf


def pairs(n, by=0.5, seed=0):
    """Two correlated samples, the second larger by `by` on the whole."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    return common + 0.3 * rng.normal(size=n), common + by + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("n", [6, 25, 100])
@pytest.mark.parametrize("by", [0.0, 0.1, -0.5])
def test_shift_is_scipys(n, by):
    """The median, p of the signed-rank test and, from its sum of positive ranks W, the effect 2 W / (n (n + 1) / 2) - 1."""
    first, second = pairs(n, by, seed=n)
    found = shift(first, second)
    assert found.median == pytest.approx(np.median(second - first))
    assert found.p == pytest.approx(stats.wilcoxon(second, first).pvalue)
    positive = stats.wilcoxon(second, first, alternative="greater").statistic
    assert found.effect == pytest.approx(4 * positive / (n * (n + 1)) - 1)
    assert (found.n, found.left_out) == (n, 0)
    assert found.interval == (found.median, found.low, found.high) and found.low <= found.median <= found.high


def test_shift_is_paired():
    """The same values in another order are other pairs: the difference of each seed counts, not that of the samples."""
    first, second = pairs(40, 0.4)
    paired, mixed = shift(first, second), shift(first, np.roll(second, 1))
    assert paired.p < 1e-3 < mixed.p and paired.low > 0 > mixed.low


def test_shift_has_the_sign_of_the_second():
    first = np.arange(20.0)
    up, down = shift(first, first + 1), shift(first, first - 1)
    assert (up.median, up.low, up.high, up.effect) == (1, 1, 1, 1) and (down.median, down.effect) == (-1, -1)
    assert up.p == down.p < 1e-4


def test_shift_by_hand():
    """Differences -1, 2, 3: ranks 1, 2, 3, so an effect of (2 + 3 - 1) / 6, and 1 or less has 2 of the 8 signs on either side."""
    found = shift([5.0, 5.0, 5.0], [4.0, 7.0, 8.0])
    assert found.median == 2 and found.effect == pytest.approx(4 / 6) and found.p == pytest.approx(4 / 8)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 30, 60])
def test_labels_swapped_is_the_sign_swapped(n):
    """To rounding, with ties and zeros among the differences."""
    first, second = np.random.default_rng(n).integers(-5, 6, (2, n)).astype(float)
    there, back = shift(first, second), shift(second, first)
    assert (back.median, back.effect) == pytest.approx((-there.median, -there.effect))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert back.p == pytest.approx(there.p) and (back.n, back.left_out) == (there.n, there.left_out)
    assert 0 < there.p <= 1 and -1 <= there.effect <= 1


def test_pairs_that_are_not_finite_are_left_out_and_counted():
    first, second = pairs(30)
    clean = shift(first, second)
    spoilt = shift(np.r_[first, NAN, 1.0, INF, -INF, NAN, INF], np.r_[second, 1.0, NAN, 1.0, INF, NAN, INF])
    assert (spoilt.n, spoilt.left_out) == (30, 6) and (clean.n, clean.left_out) == (30, 0)
    assert spoilt.interval == clean.interval and (spoilt.p, spoilt.effect) == (clean.p, clean.effect)
    assert shift(torch.from_numpy(first), torch.from_numpy(second)) == clean


def test_no_difference_at_all():
    """No rank to sum: as likely as can be, no effect; ties among others count for the median, not for the ranks."""
    same = shift([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (same.median, same.low, same.high, same.p, same.effect, same.n) == (0, 0, 0, 1, 0, 3)
    few = shift(np.zeros(20), np.r_[np.zeros(15), 1.0, 2.0, 3.0, 4.0, 5.0])
    assert few.median == 0 and few.effect == 1 and few.p == pytest.approx(2 / 2**5) and few.n == 20


@pytest.mark.parametrize(
    "first, second, message",
    [
        ([1.0, 2.0], [1.0], "first has 2 values, second 1; one of each for every seed"),
        ([], [], "none of the 0 pairs is finite"),
        ([NAN, 1.0], [1.0, INF], "none of the 2 pairs is finite in both"),
    ],
)
def test_shift_refuses(first, second, message):
    with pytest.raises(ValueError, match=message):
        shift(first, second)


def test_shift_keeps_its_promise_where_nothing_differs():
    """Of 200 comparisons without a difference about one in twenty has p below 0.05, and about as many intervals miss 0."""
    found = [shift(*pairs(40, 0.0, seed)) for seed in range(200)]
    assert 2 <= sum(each.p < 0.05 for each in found) <= 20
    assert 2 <= sum(not each.low <= 0 <= each.high for each in found) <= 24


def test_proportion():
    """Share and Wilson's interval, of booleans in any wrapping."""
    for happens in ([True] * 3 + [False] * 7, np.arange(10) < 3, torch.arange(10) < 3):
        assert proportion(happens) == (pytest.approx(0.3), *wilson(3, 10))
    assert proportion([True] * 100)[0] == proportion([True] * 100)[2] == 1 and proportion([False] * 100)[:2] == (0, 0)
    with pytest.raises(ValueError, match="n is 0"):
        proportion([])
