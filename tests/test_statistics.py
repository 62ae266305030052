"""Intervals, tests and tables of the studies, against formulas typed here, scipy, counts done by hand, and coverage."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from riemlib.companion import statistics
from riemlib.companion.statistics import (
    mcnemar,
    median,
    median_interval,
    medians,
    proportion,
    rank_correlation,
    relative_error,
    shares,
    success_table,
    wilson,
)

NAN, INF = math.nan, math.inf


# Intervals.


@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (73, 100), (4, 1000)])
def test_a_proportion_has_wilsons_interval(k, n, level):
    """Typed from his formula: (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n). The normal interval about k/n is another."""
    z = {0.95: 1.959963984540054, 0.8: 1.2815515655446004}[level]
    p = k / n
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = wilson(k, n, level)
    assert (low, high) == pytest.approx(((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)), abs=1e-9)
    assert 0 <= low <= p <= high <= 1
    assert (low, high) != pytest.approx((p - z * math.sqrt(p * (1 - p) / n), p + z * math.sqrt(p * (1 - p) / n)), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "k|less than or equal"),
        (lambda: wilson(-1, 2), "k is -1; at least 0"),
        (lambda: wilson(0, 0), "n is 0; at least 1"),
        (lambda: wilson(1, 2, level=1.0), "level is 1.0; a number between 0 and 1"),
        (lambda: median_interval([]), "values has 0 entries"),
        (lambda: median_interval([1.0, NAN]), "values has 2 entries, 1 not finite"),
        (lambda: median_interval([INF]), "values has 1 entries, 1 not finite"),
        (lambda: median_interval([1.0, 2.0], level=0.0), "level is 0.0"),
    ],
)
def test_an_interval_of_nothing_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_median_has_the_percentiles_of_medians_drawn_again():
    """The bootstrap typed here, with draws of its own: the ends agree within the noise of sampling."""
    values = np.random.default_rng(3).exponential(size=80)
    drawn = np.median(np.random.default_rng(7).choice(values, (20_000, 80)), axis=1)
    value, low, high = median_interval(values)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert value == np.median(values) and np.abs(np.array([low, high]) - expected).max() < 0.1 * (expected[1] - expected[0])
    narrow = median_interval(values, level=0.5)
    assert np.abs(np.array(narrow[1:]) - np.quantile(drawn, [0.25, 0.75])).max() < 0.2 * (expected[1] - expected[0])


def test_median_interval_covers_the_median():
    """About 95 of 100 intervals of samples of an exponential hold its median, ln 2; an interval half as long would hold fewer."""
    rng = np.random.default_rng(0)
    held = half = 0
    for i in range(120):
        value, low, high = median_interval(rng.exponential(size=60), resamples=300, seed=i)
        assert low <= value <= high
        held += low <= math.log(2) <= high
        half += value - (value - low) / 2 <= math.log(2) <= value + (high - value) / 2
    assert 0.90 <= held / 120 <= 0.99 and half / 120 < 0.85


def test_median_interval_is_deterministic_and_shrinks():
    values = np.random.default_rng(1).normal(size=400)
    assert median_interval(values) == median_interval(list(values))
    wide, narrow = median_interval(values[:40]), median_interval(values)
    assert narrow[2] - narrow[1] < wide[2] - wide[1]
    assert median_interval(values, 0.5)[2] - median_interval(values, 0.5)[1] < narrow[2] - narrow[1]


# Two conditions on the same seeds.


def test_mcnemar_counts_pairs_and_tests_those_that_differ():
    first = [True] * 5 + [True] * 2 + [False] * 9 + [False] * 4
    second = [True] * 5 + [False] * 2 + [True] * 9 + [False] * 4
    found = mcnemar(torch.tensor(first), torch.tensor(second))
    assert (found.both, found.only_first, found.only_second, found.neither, found.n) == (5, 2, 9, 4, 20)
    assert found.difference == pytest.approx(7 / 20)
    assert found.p == pytest.approx(2 * stats.binom.cdf(2, 11, 0.5))  # the concordant seeds do not count
    swapped = mcnemar(second, first)
    assert swapped.p == pytest.approx(found.p)
    assert swapped.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_the_mcnemar_interval_is_that_of_a_published_table():
    """Newcombe 1998 (Stat. Med. 17, 2635), table III, 36, 12, 2, 0 of 50: 0.2 in [0.0569, 0.3404]."""
    first = [True] * 48 + [False] * 2
    second = [True] * 36 + [False] * 12 + [True] * 2
    found = mcnemar(second, first)
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0569, 0.3404), abs=2e-4)


def test_mcnemar_sees_no_difference_where_none_differ():
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


def pairs(n, by=0.5, seed=0):
    """Two correlated samples, the second larger by `by` on the whole."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    return common + 0.3 * rng.normal(size=n), common + by + 0.3 * rng.normal(size=n)


# Shares, corrections, correlations.


def test_a_proportion_is_a_share_with_its_interval():
    """Share and Wilson's interval, of booleans in any wrapping."""
    for happens in ([True] * 3 + [False] * 7, np.arange(10) < 3, torch.arange(10) < 3):
        assert proportion(happens) == (pytest.approx(0.3), *wilson(3, 10))
    assert proportion([True] * 100)[0] == proportion([True] * 100)[2] == 1 and proportion([False] * 100)[:2] == (0, 0)
    with pytest.raises(ValueError, match="n is 0"):
        proportion([])
    with pytest.raises(ValueError, match="happens has 1 NaN of 2"):
        proportion([1.0, NAN])


def test_ranks_correlate_whatever_the_scale():
    t = np.linspace(0, 1, 20)
    assert rank_correlation(t, t**3) == 1 and rank_correlation(t, -(t**3)) == -1
    assert rank_correlation(t, 1e-9 * t) == 0  # rounding errors in order are no order
    with pytest.raises(ValueError, match="entries"):
        rank_correlation([1, 2], [1, 2, 3])


def test_a_relative_error_is_relative_to_the_largest_entry():
    assert relative_error(torch.tensor([1.0, 4.0]), torch.tensor([0.5, 5.0])) == pytest.approx(0.2)
    assert relative_error(torch.ones(3), torch.ones(3)) == 0


# Tables.


def table(seed=0, measures=("C1", "C2"), depths=(5, 10), seeds=12) -> pd.DataFrame:
    """A value for each network, depth and seed, larger for C2, and whether it is solved."""
    rng = np.random.default_rng(seed)
    rows = [(network, depth, s) for network in measures for depth in depths for s in range(seeds)]
    found = pd.DataFrame(rows, columns=["network", "depth", "seed"])
    found["value"] = rng.exponential(size=len(found)) + (found["network"] == "C2") * found["depth"] / 10
    found["solved"] = rng.random(len(found)) < np.where(found["network"] == "C2", 0.8, 0.3)
    found["error"] = np.where(found["solved"], 0.0, 0.1)
    found["diverged"] = False
    return found.sample(frac=1, random_state=1).reset_index(drop=True)  # in no order


def test_shares_are_those_of_each_group():
    t = table()
    found = shares(t, ["network", "depth"])
    assert list(found) == ["network", "depth", "share", "low", "high", "count", "n"] and len(found) == 4
    assert list(zip(found["network"], found["depth"], strict=True)) == list(dict.fromkeys(zip(t["network"], t["depth"], strict=True)))
    for row in found.itertuples():
        group = t[(t["network"] == row.network) & (t["depth"] == row.depth)]["solved"]
        assert (row.share, row.low, row.high) == proportion(group) and (row.count, row.n) == (group.sum(), 12)
    t["crosses"] = 1.0 * ~t["solved"]
    other = shares(t, ["network"], "crosses")
    assert other["count"].sum() == (~t["solved"]).sum() and list(other["n"]) == [24, 24]


def test_a_share_of_what_is_unknown_is_refused():
    t = table().assign(crosses=NAN)
    with pytest.raises(ValueError, match="NaN of 24"):
        shares(t, ["network"], "crosses")


def test_medians_are_those_of_what_is_finite_in_each_group():
    t = table()
    t.loc[t["seed"] == 3, "value"] = [NAN, INF, NAN, -INF]
    found = medians(t, ["depth", "network"])
    assert list(found) == ["depth", "network", "median", "low", "high", "n"] and list(found["n"]) == [11] * 4
    for row in found.itertuples():
        group = t[(t["network"] == row.network) & (t["depth"] == row.depth) & (t["seed"] != 3)]["value"]
        assert (row.median, row.low, row.high) == median_interval(group)
    other = medians(t, ["network"], value="error")
    assert list(other["n"]) == [24, 24] and set(other["median"]) <= {0.0, 0.05, 0.1}


def test_a_median_of_nothing_finite_is_refused():
    with pytest.raises(ValueError, match="values has 0 entries"):
        medians(table().assign(value=NAN), ["network"])


def test_a_reader_sees_how_many_networks_succeed():
    t = table()
    t.loc[(t["network"] == "C1") & (t["seed"] == 0), ["error", "solved", "diverged"]] = [NAN, False, True]
    found = success_table(t, ["network", "depth"])
    assert sorted(found.index) == ["C1, 10", "C1, 5", "C2, 10", "C2, 5"]
    group = t[(t["network"] == "C1") & (t["depth"] == 5)]
    low, high = wilson(int(group["solved"].sum()), 12)
    row = found.loc["C1, 5"]
    assert row["at 0.0 % error"] == f"{group['solved'].sum()} of 12" and row["diverged"] == 1
    assert row["95 % interval"] == f"{low:.0%} to {high:.0%}" and row["median error"] == f"{median(group['error']):.1%}"


# What a notebook asks of tables: small ones whose answers are known.

RUNS = pd.DataFrame(
    [(kind, turns, depth, seed) for kind in ("C0", "C1") for turns, depth in ((1, 10), (2, 10), (1, 6), (2, 6)) for seed in range(3)],
    columns=["network", "turns", "depth", "seed"],
)


def test_rows_are_selected_by_values_or_lists_of_values():
    assert len(statistics.select(RUNS, network="C1", turns=[1, 2], depth=6)) == 6
    assert statistics.select(RUNS, network="C2").empty
    assert len(statistics.select(RUNS)) == len(RUNS)


def test_a_strip_varies_one_setting_and_the_base_is_in_every_strip():
    found = statistics.strips(RUNS, {"turns": 1, "depth": 10, "order": 1}, ["turns", "depth"])
    assert set(zip(found["setting"], found["at"], strict=True)) == {("turns", 1), ("turns", 2), ("depth", 10), ("depth", 6)}
    assert (statistics.select(found, setting="turns")["depth"] == 10).all() and (
        statistics.select(found, setting="depth")["turns"] == 1
    ).all()
    assert len(found) == 2 * 2 * 6  # two strips of two values, two kinds of network, three seeds


def test_something_happens_at_some_layer_of_a_network():
    table = pd.DataFrame(
        {"network": "C1", "seed": [0, 0, 1, 1], "error": [0, 0, np.nan, np.nan], "layer": [0, 1] * 2, "value": [0, 3, 1, 1]}
    )
    found = statistics.at_some_layer(table, table["value"] > 2)
    assert found.to_dict("list")["value"] == [True, False] and list(found.columns) == ["network", "seed", "error", "value"]


def test_the_typical_seed_counts_in_all_conditions():
    """Seed 0 has an error in one condition, seed 4 diverged in one; of 1, 2, 3 the loss of 2 is the median."""
    runs = pd.DataFrame({"seed": [0, 1, 2, 3, 4] * 2, "error": [0.0] * 5 + [0.1, 0, 0, 0, np.nan], "late_loss": [0, 5, 2, 1, 0] * 2})
    runs["diverged"] = runs["error"].isna()
    assert statistics.typical_seed(runs) == 2
    with pytest.raises(ValueError, match="every seed of the table diverged"):
        statistics.typical_seed(runs.assign(diverged=True))


@pytest.mark.parametrize(
    "values, expected", [([4, 1, 3, 2], 2), ([1, np.inf, np.inf], np.inf), ([np.nan, 5], 5), ([1, 2, np.nan], 1), ([np.nan], np.nan)]
)
def test_a_median_is_a_value_of_the_list_and_infinity_counts(values, expected):
    assert np.array_equal(statistics.median(values), expected, equal_nan=True)
