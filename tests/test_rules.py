"""The rules: verdicts on evidence made for the purpose, by hand and from samples; nothing measured decides nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riemlib.companion import rules

NAN = math.nan


def verdict(found) -> str:
    assert isinstance(found, rules.Verdict) and found.verdict in rules.VERDICTS and found.reason
    return found.verdict


@pytest.mark.parametrize(
    "errors, controls, expected",
    [
        ({"a": 1e-14, "b": 0.0}, {"reversed": 0.5}, "confirmed"),
        ({"a": 1e-10}, {"reversed": 0.5}, "confirmed"),
        ({"a": 1e-14, "b": 1.1e-10}, {"reversed": 0.5}, "refuted"),
        ({"a": 0.3}, {"reversed": 0.5}, "refuted"),
        ({"a": math.inf}, {"reversed": 0.5}, "refuted"),
        ({"a": 1e-14}, {"reversed": 1e-12}, "undecided"),
        ({"a": 1e-14}, {"reversed": 0.5, "transposed": 1e-9}, "undecided"),
        ({"a": 0.3}, {"reversed": 0.0}, "undecided"),
        ({"a": NAN}, {"reversed": 0.5}, "undecided"),
        ({"a": 1e-14, "b": NAN}, {"reversed": 0.5}, "undecided"),
        ({"a": 1e-14}, {"reversed": NAN, "transposed": 0.5}, "undecided"),
        ({"a": 1e-14}, {"transposed": 0.5, "reversed": NAN}, "undecided"),
    ],
)
def test_an_equation_holds_where_errors_are_small_and_controls_large(errors, controls, expected):
    assert verdict(rules.identity(errors, controls)) == expected


def test_an_equation_has_its_tolerance():
    assert verdict(rules.identity({"a": 1e-6}, {"c": 1.0}, tolerance=1e-5)) == "confirmed"
    assert verdict(rules.identity({"a": 1e-4}, {"c": 1.0}, tolerance=1e-5)) == "refuted"
    assert "1e-13" in rules.identity({"a": 3e-14}, {"c": 0.5}).reason and "1e-01" in rules.identity({"a": 3e-14}, {"c": 0.5}).reason


@given(st.lists(st.floats(0, 1), min_size=1), st.lists(st.floats(0, 1), min_size=1), st.integers(0, 10))
def test_an_equation_is_judged_by_every_number(errors, controls, turn):
    """The order of the cases does not matter, and a confirmed identity has no exception."""

    def named(values):
        return {str(i): value for i, value in enumerate(values)}

    turn %= len(errors)
    found = rules.identity(named(errors), named(controls))
    assert found == rules.identity(named(errors[turn:] + errors[:turn]), named(controls[::-1]))
    assert (verdict(found) == "confirmed") == (max(errors) <= 1e-10 and min(controls) > 1e3 * 1e-10)


def test_a_statement_about_all_cases_falls_with_one_counterexample():
    assert verdict(rules.universal(1, 400, shown="x + relu(-2x)")) == "refuted"
    assert verdict(rules.universal(0, 400, shown="none among random layers")) == "confirmed"
    assert verdict(rules.universal(0, 0, shown="nothing")) == "undecided"
    reason = rules.universal(3, 400, shown="a fold", repaired="P-matrices are bijective").reason
    assert "3 of 400" in reason and "a fold" in reason and "P-matrices are bijective" in reason


def test_a_statement_under_a_condition_needs_cases_that_break_it():
    assert verdict(rules.condition(50, 50, 20, 40, when="det > 0")) == "confirmed with conditions"
    assert verdict(rules.condition(50, 50, 0, 40, when="det > 0")) == "confirmed"
    assert verdict(rules.condition(49, 50, 20, 40, when="det > 0")) == "not supported"
    assert verdict(rules.condition(0, 50, 0, 40, when="det > 0")) == "not supported"
    assert verdict(rules.condition(0, 0, 20, 40, when="det > 0")) == "undecided"
    assert verdict(rules.condition(50, 50, 0, 0, when="det > 0")) == "undecided"
    assert "det > 0" in rules.condition(50, 50, 20, 40, when="det > 0").reason


def test_a_verdict_that_rests_on_a_condition_names_it():
    confirmed, refuted = rules.identity({"a": 0.0}, {"b": 1.0}), rules.identity({"a": 1.0}, {"b": 1.0})
    assert rules.given(confirmed, 3, 5, when="where h is invertible", otherwise="it is not").verdict == "confirmed with conditions"
    assert rules.given(confirmed, 0, 5, when="where h is invertible", otherwise="it is not").verdict == "confirmed"
    assert rules.given(confirmed, 0, 0, when="where h is invertible", otherwise="it is not").verdict == "undecided"
    assert rules.given(refuted, 3, 5, when="where h is invertible", otherwise="it is not").verdict == "refuted"


def test_an_order_lies_in_its_intervals_and_its_neighbours_do_not():
    good, bad, wide = (1.0, 0.98, 1.02), (2.0, 1.9, 2.1), (1.0, -0.2, 2.2)
    assert rules.order_of(1, {"a": good}, {"c": bad}).verdict == "confirmed"
    assert rules.order_of(1, {"a": good}, {"c": bad}, when="so").verdict == "confirmed with conditions"
    assert rules.order_of(1, {"a": good, "b": bad}, {"c": bad}).verdict == "refuted"
    assert rules.order_of(1, {"a": wide}, {"c": bad}).verdict == "undecided"
    assert rules.order_of(1, {"a": good}, {"c": good}).verdict == "undecided"
    assert rules.order_of(1, {"a": good}, {}).verdict == "undecided"
    assert rules.order_of(1, {"a": (math.nan,) * 3}, {"c": bad}).verdict == "undecided"


# Bounds that are exactly met.


@pytest.mark.parametrize(
    ("errors", "controls", "expected"),
    [
        ({"a": 1e-10}, {"c": 1.0}, "confirmed"),
        ({"a": math.nextafter(1e-10, 1)}, {"c": 1.0}, "refuted"),
        ({"a": 0.0}, {"c": 1e3 * 1e-10}, "undecided"),
        ({"a": 0.0}, {"c": math.nextafter(1e3 * 1e-10, 1)}, "confirmed"),
        ({"a": 0.0}, {"c": math.inf}, "confirmed"),
        ({}, {"c": 1.0}, "undecided"),
        ({"a": 0.0}, {}, "undecided"),
    ],
)
def test_an_error_may_be_the_tolerance_and_a_control_must_be_above_a_thousand_of_it(errors, controls, expected):
    assert verdict(rules.identity(errors, controls)) == expected


@pytest.mark.parametrize(
    ("measured", "control", "expected"),
    [
        ((1.0, 1.0, 1.0), (2.0, 1.9, 2.1), "confirmed"),  # an interval of one point
        ((1.1, 1.0, 1.2), (2.0, 1.9, 2.1), "confirmed"),
        ((0.9, 0.8, 1.0), (2.0, 1.9, 2.1), "confirmed"),
        ((1.1, math.nextafter(1, 2), 1.2), (2.0, 1.9, 2.1), "refuted"),
        ((0.9, 0.8, math.nextafter(1, 0)), (2.0, 1.9, 2.1), "refuted"),
        ((1.0, 0.0, 1.1), (2.0, 1.9, 2.1), "undecided"),  # it holds a neighbour
        ((1.0, 0.9, 2.0), (2.0, 1.9, 2.1), "undecided"),
        ((1.0, 0.9, math.nextafter(2, 0)), (2.0, 1.9, 2.1), "confirmed"),
        ((1.0, 0.9, 1.1), (1.5, 1.0, 2.0), "undecided"),  # a control that holds the theory
        ((1.0, 0.9, 1.1), (0.5, 0.0, 1.0), "undecided"),
        ((1.0, 0.9, 1.1), (1.5, math.nextafter(1, 2), 2.0), "confirmed"),
    ],
)
def test_the_ends_of_an_interval_belong_to_it(measured, control, expected):
    assert verdict(rules.order_of(1, {"a": measured}, {"c": control})) == expected


def test_conditions_count_every_case():
    for holds, tried, fails, controls, expected in [
        (1, 1, 1, 1, "confirmed with conditions"),
        (1, 1, 0, 1, "confirmed"),
        (0, 1, 1, 1, "not supported"),
        (1, 1, 1, 0, "undecided"),
    ]:
        assert verdict(rules.condition(holds, tried, fails, controls, when="so")) == expected
    assert verdict(rules.universal(1, 1, shown="it")) == "refuted" and verdict(rules.universal(0, 1, shown="it")) == "confirmed"


# From samples to a verdict, as a notebook does it: made to confirm, to refute and to leave open, and again with the labels swapped.


def values(by, n=80, seed=0):
    """A measure under two conditions, a value a seed: common to a seed but for noise, larger by `by` under the second."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    return common + 0.3 * rng.normal(size=n), common + by + 0.3 * rng.normal(size=n)


def outcomes(first, second, n=100, seed=0):
    """Success under two conditions, seeds that are lucky under both: each succeeds with the probability given."""
    luck = np.random.default_rng(seed).random(n)
    return luck < first, luck < second


def swapped(pair):
    return pair[::-1]


# Numbers as they are shown.


@given(st.floats(-1e300, 1e300, allow_nan=False))
def test_rounding_keeps_three_digits(value):
    assert rules.rounded(value) == pytest.approx(value, rel=0.00501)
    assert rules.rounded(rules.rounded(value)) == rules.rounded(value)


@given(st.floats(1e-300, 1e300))
def test_powers_of_ten_are_bounds(value):
    below, above = float(rules.order_of_magnitude(value, up=False)), float(rules.order_of_magnitude(value))
    assert below <= value * (1 + 1e-12) and value <= above * (1 + 1e-12)
    assert above <= 10.001 * value
