"""What a notebook asks of a study's tables: rows, strips, comparisons, labels. Small tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from riemlib.companion import statistics, studies
from riemlib.companion.studies import Condition

RUNS = pd.DataFrame(
    [(kind, turns, depth, seed) for kind in ("C0", "C1") for turns, depth in ((1, 10), (2, 10), (1, 6), (2, 6)) for seed in range(3)],
    columns=["network", "turns", "depth", "seed"],
)


def test_select():
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


def test_at_some_layer():
    table = pd.DataFrame(
        {"network": "C1", "seed": [0, 0, 1, 1], "error": [0, 0, np.nan, np.nan], "layer": [0, 1] * 2, "value": [0, 3, 1, 1]}
    )
    found = statistics.at_some_layer(table, table["value"] > 2)
    assert found.to_dict("list")["value"] == [True, False] and list(found.columns) == ["network", "seed", "error", "value"]


def test_typical_seed():
    """Seed 0 has an error in one condition, seed 4 diverged in one; of 1, 2, 3 the loss of 2 is the median."""
    runs = pd.DataFrame({"seed": [0, 1, 2, 3, 4] * 2, "error": [0.0] * 5 + [0.1, 0, 0, 0, np.nan], "late_loss": [0, 5, 2, 1, 0] * 2})
    runs["diverged"] = runs["error"].isna()
    assert statistics.typical_seed(runs) == 2
    with pytest.raises(ValueError, match="every seed of the table diverged"):
        statistics.typical_seed(runs.assign(diverged=True))


@pytest.mark.parametrize(
    "values, expected", [([4, 1, 3, 2], 2), ([1, np.inf, np.inf], np.inf), ([np.nan, 5], 5), ([1, 2, np.nan], 1), ([np.nan], np.nan)]
)
def test_median(values, expected):
    assert np.array_equal(statistics.median(values), expected, equal_nan=True)


def test_compare_success():
    """Position 1 is as good as the reference, position 2 fails at all ten seeds, which stand in another order."""
    reference = pd.DataFrame({"seed": range(10), "solved": True})
    worse = pd.DataFrame({"position": 2, "seed": range(9, -1, -1), "solved": False})
    found = statistics.compare_success(pd.concat([reference.assign(position=1), worse]), reference, ["position"])
    assert found["position"].tolist() == [1, 2] and found["difference"].tolist() == [0, -1] and found["p"].tolist() == [1, 2**-9]
    assert found["p_holm"].tolist() == [1, 2**-8] and found["n"].tolist() == [10, 10]
    with pytest.raises(ValueError, match="differ in their seeds"):
        statistics.compare_success(worse[:9], reference, ["position"])


def test_one_claim_adjusts_over_all_its_comparisons():
    found = statistics.one_claim([pd.DataFrame({"p": [0.01], "p_holm": 9}), pd.DataFrame({"p": [0.04, 0.02], "p_holm": 9})])
    assert found["p_holm"].tolist() == pytest.approx([0.03, 0.04, 0.04])


def test_labels_of_records():
    table = pd.DataFrame({"network": ["C0", "C1"], "median": 1.0, "low": 0.5, "high": 2.0, "effect": 1.0, "p_holm": 0.1, "n": 7})
    assert statistics.labelled(table, "{network}, ratio", statistics.MEDIAN)["C1, ratio"] == (1.0, 0.5, 2.0)
    expected = {"median": 1.0, "interval": [0.5, 2.0], "effect": 1.0, "p (Holm)": 0.1, "pairs": 7}
    assert statistics.effects(table, "{network}", pairs="n") == {"C0": expected, "C1": expected}


def test_medians_of_solved():
    table = pd.DataFrame({"network": ["C0", "C1", "C1", "C1"], "solved": [False, True, True, False], "value": [1.0, 2.0, 4.0, 9.0]})
    assert statistics.medians_of_solved(table, "network") == {"C0": "none", "C1": 2.0}


def test_the_layer_without_the_identity():
    base = Condition(depth=4, updates=3)
    for layer in range(1, 5):
        found = studies.without_identity(base, layer)
        assert studies.plain_layer(found.order) == layer and len(found.order) == 4 and sum(found.order) == 3
        assert found.network == "mixed" and found.updates == 3
    assert studies.plain_layer(base.order) is None
    for layer in (0, 5):
        with pytest.raises(ValueError, match=f"layer is {layer}"):
            studies.without_identity(base, layer)
