"""Specifications: the five lines of a verdict in their order, their mirror image, conditions on the axes, existence."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riemlib.companion.contrasts import Contrast, all_of, difference, equivalence
from riemlib.companion.rules import VERDICTS
from riemlib.companion.specifications import Specification, condition, decide, existence, specifications, thresholds

SAY = ("{} more", "{} fewer")
INTERVALS = {"for": (0.2, 0.4), "against": (-0.4, -0.2), "absent": (-0.05, 0.05), "silent": (-0.1, 0.15)}
MIRROR = {"for": "against", "against": "for", "absent": "absent", "silent": "silent"}
GRID = list(product([0.75, 1.0, 1.25, 1.5], [6, 10, 16], ["adam", "sgd"], [1000, 3000]))  # 48 specifications


def contrast(reading: str, sign: int = 1) -> Contrast:
    """One with a given reading, or its mirror image."""
    low, high = sorted(sign * end for end in INTERVALS[reading])
    return Contrast("difference", (low + high) / 2, low, high, 100, 0, 0.1, f"effect of {reading}", np.zeros(100))


def multiverse(whole, even=None, odd=None, sign: int = 1, grid=GRID) -> list[Specification]:
    """A specification for each setting of the grid, with the readings that three functions of the setting give."""
    axes = ("turns", "depth", "optimiser", "updates")
    parts = [[contrast(of(*settings), sign) for settings in grid] for of in (whole, even or whole, odd or whole)]
    settings = [dict(zip(axes, each, strict=True)) for each in grid]
    return [Specification(*each) for each in zip(settings, *parts, strict=True)]


def listed(readings, sign: int = 1) -> list[Specification]:
    """Specifications with given readings, in an order that no threshold tells apart: settings without axes."""
    return [Specification({}, *[contrast(reading, sign)] * 3) for reading in readings]


@pytest.mark.parametrize(
    ("base", "counts", "expected"),
    [
        ("for", {}, "confirmed"),
        ("against", {}, "refuted"),
        ("absent", {}, "not supported"),
        ("silent", {}, "undecided"),
        ("silent", {"for": 10}, "undecided"),
        ("for", {"for": 9, "absent": 1}, "confirmed"),
        ("for", {"for": 9, "against": 1, "silent": 10}, "confirmed"),
        ("for", {"for": 9, "against": 1, "silent": 11}, "undecided"),
        ("for", {"for": 8, "against": 1}, "not supported"),
        ("for", {"against": 10}, "not supported"),
        ("for", {"silent": 1}, "undecided"),
        ("absent", {"for": 10}, "not supported"),
        ("absent", {"absent": 10}, "not supported"),
        ("against", {"against": 9, "for": 1}, "refuted"),
        ("against", {"against": 8, "for": 1}, "not supported"),
        ("against", {"for": 10}, "not supported"),
    ],
)
def test_the_first_line_that_applies_decides(base, counts, expected):
    found = decide(contrast(base), listed(reading for reading, count in counts.items() for _ in range(count)))
    assert found.verdict == expected and found.verdict in VERDICTS and f"effect of {base}" in found.reason


@given(st.sampled_from(sorted(INTERVALS)), st.lists(st.sampled_from(sorted(INTERVALS)), max_size=12))
def test_exchanging_the_conditions_mirrors_the_verdict(base, readings):
    one, other = (decide(contrast(base, sign), listed(readings, sign)).verdict for sign in (1, -1))
    assert other == {"confirmed": "refuted", "refuted": "confirmed"}.get(one, one)
    assert one != "confirmed" or base == "for"


@pytest.mark.slow
@given(st.lists(st.sampled_from(["for", "for", "for", "against", "absent"]), min_size=4, max_size=4), st.sampled_from(sorted(INTERVALS)))
def test_exchanging_the_conditions_mirrors_the_condition(by_turns, base):
    """What is "confirmed with conditions: where R" becomes a verdict that says "opposite where R"."""
    of = dict(zip([0.75, 1.0, 1.25, 1.5], by_turns, strict=True))
    one, other = (multiverse(lambda turns, *_: of[turns], sign=sign) for sign in (1, -1))
    assert condition(one, "for") == condition(other, "against") and condition(one, "against") == condition(other, "for")
    verdict, mirrored = decide(contrast(base), one), decide(contrast(base, -1), other)
    if verdict.verdict == "confirmed with conditions":
        assert f"opposite where {condition(one)}" in mirrored.reason
    if mirrored.verdict == "confirmed with conditions":
        assert f"opposite where {condition(one, 'against')}" in verdict.reason


def test_a_condition_is_a_rule_on_the_axes():
    def few_turns_and_adam(turns, depth, optimiser, updates):
        return "for" if turns <= 1 or optimiser == "adam" else "against"

    found = decide(contrast("for"), multiverse(few_turns_and_adam))
    assert (found.verdict, found.reason.split(":")[0]) == (
        "confirmed with conditions",
        "where turns at most 1 (24 of 24 settings that are not silent, of 24)",
    )

    def two(turns, depth, optimiser, updates):
        return "for" if turns >= 1 and depth <= 10 else "absent"

    found = decide(contrast("for"), multiverse(two))
    assert (
        found.reason.startswith("where turns at least 1 and depth at most 10 (24 of 24 settings that are not silent, of 24): ")
        and "opposite" not in found.reason
    )
    found = decide(contrast("absent"), multiverse(two, sign=-1))
    assert found.verdict == "not supported" and "opposite where turns at least 1 and depth at most 10 (24 of 24" in found.reason


def test_a_condition_holds_twenty_specifications():
    def deep(turns, depth, *_):
        return "for" if depth == 16 else "absent"  # 16 of 48

    assert condition(multiverse(deep)) == ""
    assert condition(multiverse(deep, grid=[each for each in GRID for _ in range(2)])).startswith("depth at least 16 (32 of 32")
    assert condition(multiverse(lambda *_: "for")[:19]) == ""


def test_a_condition_found_on_even_seeds_is_checked_on_odd_ones():
    def adam(turns, depth, optimiser, updates):
        return "for" if optimiser == "adam" else "absent"

    def none(*_):
        return "absent"

    def unknown(*_):
        return "silent"

    assert condition(multiverse(adam)).startswith("optimiser adam")
    assert condition(multiverse(adam, even=adam, odd=none)) == condition(multiverse(adam, even=none, odd=adam)) == ""
    assert condition(multiverse(adam, even=adam, odd=unknown)) == condition(multiverse(unknown, even=adam, odd=adam)) == ""
    assert condition(multiverse(none, even=adam, odd=adam)) == ""
    assert condition(multiverse(lambda *_: "for", even=none)) == ""


def test_a_condition_does_not_reach_over_settings_that_are_silent():
    of = {0.75: "for", 1.0: "for", 1.25: "silent", 1.5: "absent"}
    assert condition(multiverse(lambda turns, *_: of[turns])).startswith("turns at most 1 (24 of 24 settings that are not silent, of 24)")
    of = {0.75: "absent", 1.0: "silent", 1.25: "for", 1.5: "for"}
    assert condition(multiverse(lambda turns, *_: of[turns])).startswith(
        "turns at least 1.25 (24 of 24 settings that are not silent, of 24)"
    )


def test_no_effect_is_said_only_where_the_base_has_none():
    absent = listed(["absent"] * 9 + ["for"])
    assert decide(contrast("absent"), absent).reason.startswith("no effect larger than 0.1: effect of absent; of 10")
    assert decide(contrast("for"), absent).reason.startswith("effect of for; of 10 settings 1 as claimed, 9 no effect")
    assert decide(contrast("absent"), absent + listed(["for"])).reason.startswith("effect of absent; of 11")


def test_a_condition_may_have_one_exception_in_ten_and_half_may_be_silent():
    def some(against: int, silent: int):
        """Of the 24 with Adam so many are against and so many silent."""
        adam = [each for each in GRID if each[2] == "adam"]
        order = np.random.default_rng(0).permutation(len(adam))
        kinds = {adam[i]: "against" if k < against else "silent" if k < against + silent else "for" for k, i in enumerate(order)}
        return multiverse(lambda *settings: kinds.get(settings, "absent"))

    assert condition(some(2, 0)).startswith("optimiser adam (22 of 24 settings that are not silent")
    assert "optimiser adam (" not in condition(some(3, 0))
    assert condition(some(0, 12)).startswith("optimiser adam (12 of 12 settings that are not silent, of 24)")
    assert condition(some(0, 13)) == ""


@pytest.mark.slow
def test_labels_by_chance_have_no_condition():
    """Half of the specifications for and half against, at random: hardly ever does a rule tell them apart."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        readings = iter(rng.choice(["for", "against"], len(GRID)))
        one = [contrast(next(readings)) for _ in GRID]
        made = [Specification(each.settings, *[c] * 3) for each, c in zip(multiverse(lambda *_: "for"), one, strict=True)]
        found += bool(condition(made))
    assert found <= 10


@pytest.mark.slow
def test_noise_alone_decides_no_multiverse():
    """Seeds without any effect, and delta 0: 48 specifications of 20 seeds, and a base of 100."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame([(*each, seed) for each in GRID for seed in range(20)], columns=["turns", "depth", "optimiser", "updates", "seed"])
    axes = list(rows.columns[:-1])
    for _ in range(6):
        table = rows.assign(a=rng.normal(size=len(rows)), b=rng.normal(size=len(rows)))
        found = specifications(table, axes, lambda part: difference(part["a"], part["b"], delta=0.0, say=SAY))
        base = difference(rng.normal(size=100), rng.normal(size=100), delta=0.0, say=SAY)
        assert decide(base, found).verdict == decide(contrast("for"), found).verdict == "undecided"


def test_effects_below_the_smallest_of_interest_confirm_no_multiverse():
    """A clear effect on half of the axes, of 0.3: confirmed there with a delta of 0.1, nowhere with one of 0.4."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame([(*each, seed) for each in GRID for seed in range(20)], columns=["turns", "depth", "optimiser", "updates", "seed"])
    rows["effect"] = 0.3 * (rows["turns"] <= 1) + rng.normal(0, 0.02, len(rows))
    axes = list(rows.columns[:4])
    for delta, expected in ((0.1, "confirmed with conditions"), (0.4, "not supported")):
        found = specifications(rows, axes, lambda part, d=delta: difference(part["effect"], 0 * part["effect"], delta=d, say=SAY))
        base = found[0].whole
        assert decide(base, found).verdict == expected
    assert decide(base, found).reason.startswith("no effect larger than 0.4: ")


def test_a_specification_has_its_even_and_its_odd_seeds():
    table = pd.DataFrame([(t, s, t + s % 2) for t in (1.0, 2.0) for s in range(20)], columns=["turns", "seed", "value"])
    found = specifications(table, ["turns"], lambda part: difference(part["value"], 0 * part["value"], delta=0.1, say=SAY))
    assert [each.settings for each in found] == [{"turns": 1.0}, {"turns": 2.0}]
    assert [(each.even.estimate, each.odd.estimate, each.even.n, each.odd.n, each.whole.n) for each in found] == [
        (1, 2, 10, 10, 20),
        (2, 3, 10, 10, 20),
    ]


def test_thresholds_are_between_the_values_of_an_axis():
    settings = pd.DataFrame({"turns": [1.0, 2.0, 3.0], "name": ["a", "b", "a"], "same": [1, 1, 1], "shared": [True, False, True]})
    found = {name: list(held) for name, held in thresholds(settings).items()}
    assert found == {
        "turns at most 1": [True, False, False],
        "turns at most 2": [True, True, False],
        "turns at least 2": [False, True, True],
        "turns at least 3": [False, False, True],
        "name a": [True, False, True],
        "name b": [False, True, False],
        "shared False": [False, True, False],
        "shared True": [True, False, True],
    }


def test_a_claim_of_several_contrasts():
    of, against, silent = (contrast(reading) for reading in ("for", "against", "silent"))
    assert decide(all_of(C1=of, C2=of)).verdict == "confirmed"
    assert decide(all_of(C1=against, C2=against)).verdict == "refuted"
    assert decide(all_of(C1=of, C2=against)).verdict == "not supported"
    found = decide(all_of(C1=of, C2=silent))
    assert (
        found.verdict == "undecided" and "C1: effect of for; C2: effect of silent" in found.reason and "seeds would decide" in found.reason
    )
    mixed = [Specification({}, *[all_of(C1=of, C2=against)] * 3)]
    assert decide(all_of(C1=of, C2=of), mixed * 2).verdict == "not supported"
    assert "1 mixed" in decide(all_of(C1=of, C2=of), mixed + listed(["for"] * 9)).reason


def test_undecided_says_how_many_seeds_would_decide():
    """The interval of 100 seeds reaches 0.125 to either side of 0.025; the nearest border is 0.075 away."""
    assert decide(contrast("silent")).reason == "effect of silent; about 280 seeds would decide it"
    reason = decide(contrast("for"), listed(["for", "silent", "silent", "silent"])).reason
    assert reason == "effect of for; of 4 settings 1 as claimed, 3 silent; about 280 seeds would decide half of them"
    wide = Contrast("difference", 0.025, -0.5, 0.55, 100, 0, 0.1, "an effect", np.zeros(100))
    both = [all_of(one=contrast("for"), two=contrast("for")), contrast("silent"), wide, wide]
    assert decide(contrast("for"), [Specification({}, each, each, each) for each in both]).reason.endswith(
        "about 280 seeds would decide half of them"
    )
    at_border = Contrast("difference", 0.1, 0.0, 0.2, 100, 0, 0.1, "an effect", np.zeros(100))
    near = Contrast("difference", 0.1001, 0.0, 0.2, 100, 0, 0.1, "an effect", np.zeros(100))
    no_reference = equivalence(contrast("silent"), reference=0.1)
    assert "cannot be told" in decide(at_border).reason and "cannot be told" in decide(no_reference).reason
    assert "more than 100000 seeds" in decide(near).reason


def test_an_equivalence_has_the_lines_of_an_effect():
    cheap = equivalence(contrast("absent"), cost=True, reference=0.9)
    dear = equivalence(contrast("against"), cost=True, reference=0.9)
    assert (decide(cheap).verdict, decide(dear).verdict) == ("confirmed", "refuted")
    assert decide(equivalence(contrast("against"), cost=True, reference=0.1)).verdict == "undecided"
    assert decide(equivalence(contrast("for"), reference=0.9)).verdict == "refuted"


def test_existence_needs_one_case():
    assert existence(1, 400, what="0.0 % error").verdict == "confirmed"
    none = existence(0, 100, what="0.0 % error")
    assert none.verdict == "not supported" and f"at most {1.96**2 / (100 + 1.96**2):.1%}" in none.reason
    assert existence(0, 0, what="0.0 % error").verdict == "undecided"
