"""Contrasts between conditions named by what they change: against the same numbers picked by hand from the tables of the studies."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from riemlib.companion import contrasts, studies
from riemlib.companion.changes import Changes, told
from riemlib.companion.studies import Condition

BASE = Condition(depth=3, points=40, batch_size=20, updates=30)
LARGE, PLAIN, LATE = {"batch_size": 40}, {"order": 0}, {"updates": 60}
SEEDS = range(8)
SMALLEST = {"largest gap": math.log(2), "roughness": 0.1, "condition number": 0.3}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder, how = tmp_path_factory.mktemp("studies"), {"seeds": SEEDS, "workers": 1, "progress": False}
    first = [BASE, replace(BASE, **LARGE), replace(BASE, **PLAIN), replace(BASE, **PLAIN, **LARGE)]
    one = studies.study(first, measures=["largest gap", "roughness", "log condition"], folder=folder, **how)
    two = studies.study([BASE, replace(BASE, **LATE)], measures=["largest gap"], folder=folder, **how)
    return one, two


@pytest.fixture
def networks(parts) -> Changes:
    return Changes(BASE, parts, SMALLEST)


def by_hand(study, measure, **settings) -> np.ndarray:
    table = study[measure]
    for name, value in settings.items():
        table = table[table[name] == value]
    return table.sort_values("seed")["value"].to_numpy()


def test_values_are_those_of_the_condition_at_the_output(parts, networks):
    one, two = parts
    expected = by_hand(one, "largest gap", network="C1", batch_size=40, layer=3)
    assert networks.values("largest gap", LARGE).tolist() == expected.tolist() and len(expected) == 8
    assert networks.values("largest gap", LATE).tolist() == by_hand(two, "largest gap", updates=60, layer=3).tolist()
    assert networks.values("roughness", PLAIN).tolist() == by_hand(one, "roughness", network="C0", batch_size=20).tolist()
    assert np.allclose(np.log10(networks.values("condition number", {})), by_hand(one, "log condition", network="C1", batch_size=20))
    both = networks.rows("largest gap", {}, LARGE, layers=True)
    assert len(both) == 2 * 8 * 4 and both["batch_size"].unique().tolist() == [20, 40]
    assert len(networks.rows("largest gap", {})) == 8  # the base is in both studies, and counts once


def test_a_condition_that_was_not_measured_is_refused(networks):
    for measure, change in (("largest gap", {"points": 50}), ("roughness", LATE)):
        with pytest.raises(ValueError, match=f"one of the conditions that were measured for '{measure}'"):
            networks.values(measure, change)


def test_seeds_are_solved_where_their_error_is_0_under_all_changes(parts, networks):
    """With one seed declared solved under one change, and another under both."""
    networks.tables["solved"] = table = networks.tables["solved"].assign(value=False)
    table.loc[(table["seed"] == 5) & (table["network"] == "C1"), "value"] = True
    table.loc[(table["seed"] == 2) & (table["network"] == "C1") & (table["batch_size"] == 20), "value"] = True
    assert networks.solved({}, LARGE).tolist() == [seed == 5 for seed in SEEDS]
    assert networks.solved({}).tolist() == [seed in (2, 5) for seed in SEEDS]


def test_a_contrast_is_the_ratio_of_the_first_to_the_second(networks):
    """Exchanged, its sign turns; of some seeds only, it is that of their values; its smallest effect is that of the measure."""
    first, second = networks.values("largest gap", {}), networks.values("largest gap", LARGE)
    found = networks.against("largest gap", {}, LARGE, than="batch 40")
    exchanged = networks.against("largest gap", LARGE, {}, than="batch 20")
    assert sorted(found.sample) == pytest.approx(sorted(np.log(first / second))) and found.delta == SMALLEST["largest gap"]
    assert (exchanged.estimate, exchanged.low) == pytest.approx((-found.estimate, -found.high))
    words = {found.plain, exchanged.plain}
    assert {"smaller" in each for each in words} == {"larger" in each for each in words} == {True, False}
    assert all(each.startswith("largest gap ") for each in words) and "with batch 40 [" in found.plain
    some = pd.Series([seed < 6 for seed in SEEDS], index=SEEDS)
    assert sorted(networks.against("largest gap", {}, LARGE, than="", only=some).sample) == pytest.approx(
        sorted(np.log(first / second)[:6])
    )
    assert told(found) == f"{found.plain}: {found.reading}"


def test_growth_is_a_ratio_of_ratios(networks):
    values = {
        name: networks.values("largest gap", change) for name, change in (("a", {}), ("b", LARGE), ("c", PLAIN), ("d", {**PLAIN, **LARGE}))
    }
    found = networks.growth("largest gap", ({}, LARGE), PLAIN, what="in C0 the ratio is", than="in C1")
    log = np.log(values["c"]) - np.log(values["d"]) - np.log(values["a"]) + np.log(values["b"])
    assert sorted(found.sample) == pytest.approx(sorted(log)) and found.n == 8
    assert found.plain.startswith("in C0 the ratio is ") and "than in C1 [" in found.plain
    assert ("larger" in found.plain) == (found.estimate > 0)
    alone = contrasts.ratio(np.exp(log), np.ones(8), delta=math.log(2), say=("{}", "{}"), growth=True)
    assert found.estimate == pytest.approx(alone.estimate)
