"""What the claims about Figure 2 compare: each contrast points as the paper says, and a drawn run is the one that its title names."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

import riemlib as rl
from riemlib.companion import smoothness, studies

SEEDS = 12


def table(network: str, values, solved=True, **columns) -> pd.DataFrame:
    return pd.DataFrame({"network": network, "seed": range(SEEDS), "solved": solved, "value": values, **columns})


def spread(middle: float) -> np.ndarray:
    return middle * np.exp(np.linspace(-0.05, 0.05, SEEDS))


ROUGH = pd.concat([table("C0", spread(2.0)), table("C1", spread(1.0), solved=np.arange(SEEDS) < 9), table("C2", spread(2.1))])
BEFORE = pd.concat([table("C0", spread(2.0)), table("C1", spread(1.6)), table("C2", spread(4.0))])


def measured(**ends) -> dict[str, pd.DataFrame]:
    """Tables of measures at layers 0 to 2; each is given at the input and at the output."""
    found = {}
    for name, (first, last) in ends.items():
        layers = [table("C1", spread(value), layer=l) for l, value in enumerate((first, 9.0, last))]
        found[name.replace("_", " ")] = pd.concat(layers)
    return found


def test_usual_is_the_share_of_seeds_less_one_half():
    found = smoothness.usual(np.arange(400) < 300)
    assert found.estimate == pytest.approx(0.25) and found.reading == "for" and found.plain.startswith("75 % of seeds at 0.0 %")
    assert smoothness.usual(np.arange(400) < 80).plain.startswith("80 % of seeds above 0.0 %")
    assert smoothness.usual(np.arange(400) < 230).reading == "silent"


def test_c0_rougher_than_another_network_is_what_the_paper_says():
    found = smoothness.less_rough(ROUGH, "C1")
    assert found.estimate == pytest.approx(math.log(2)) and found.reading == "for" and "50 % less rough than C0" in found.plain
    assert smoothness.less_rough(ROUGH, "C2").reading == "absent"
    exchanged = ROUGH.replace({"network": {"C0": "C1", "C1": "C0"}})
    assert smoothness.less_rough(exchanged, "C1").reading == "against"
    assert [smoothness.less_rough(ROUGH, "C1", only_solved=each).n for each in (False, True)] == [SEEDS, 9]


def test_the_sentence_says_what_was_there_before_training():
    found = smoothness.less_rough_than_untrained(ROUGH, BEFORE, "C1")
    assert found.plain.startswith("untrained 20 % less rough than C0") and ", trained 50 % less rough" in found.plain
    assert found.estimate == smoothness.less_rough(ROUGH, "C1").estimate
    assert "untrained 100 % rougher than C0" in smoothness.less_rough_than_untrained(ROUGH, BEFORE, "C2").plain


def test_a_network_by_itself_is_compared_with_both_null_lines():
    trained, absolute, pairs = smoothness.smooth_by_itself(ROUGH, BEFORE, "C1", 1.8).values()
    assert trained.startswith("38 % less rough than before training") and "reads for" in trained
    assert absolute.startswith("median 1 ") and "border 1.8" in absolute and "reads for" in absolute
    assert "50 % less rough than C0" in pairs and "9 seeds" in pairs
    few = ROUGH.assign(solved=ROUGH["seed"] < 5)
    assert [*smoothness.smooth_by_itself(few, BEFORE, "C1", 1.8).values()][2] == "too few (5)"
    assert "reads against" in [*smoothness.smooth_by_itself(ROUGH, BEFORE, "C2", 1.0).values()][1]


@pytest.mark.usefixtures("untyped")  # tables in place of a study
def test_straighter_at_the_output_is_what_the_paper_says():
    study = measured(straightness=(0.2, 0.8), first_axis=(0.6, 0.9), turning=(7.0, 30.0))
    last, first = smoothness.at_ends(study, "straightness", "C1")
    assert np.allclose(last, spread(0.8)) and np.allclose(first, spread(0.2))
    assert smoothness.straighter(study, "C1").estimate == pytest.approx(math.log(4))
    bent = measured(straightness=(0.8, 0.2), first_axis=(0.6, 0.9), turning=(7.0, 30.0))
    found = smoothness.straight_as_we_read_it(bent, measured(first_axis=(0.6, 0.99)), "C1")
    assert found.reading == "against" and "as we read it, straight" in found.plain and "75 % smaller at the output" in found.plain
    assert "goes from 60% to 90%, untrained to 99%" in found.plain
    line, curved, straight, *_, turns = smoothness.other_readings(bent, "C1").values()
    assert straight == pytest.approx({"input": 0.8, "output": 0.2}, rel=0.01) and turns["output"] == pytest.approx(30, rel=0.01)
    assert "more of the variance" in line and "reads for" in line and "larger at the output" in curved and "reads against" in curved


def test_the_drawn_network_is_the_typical_one_and_its_place_is_counted(tmp_path):
    base = rl.Condition(depth=3, points=40, batch_size=20, updates=5)
    conditions = [base, studies.without_identity(base, 2), rl.Condition(depth=3, points=40, batch_size=20, updates=5, step=0.5)]
    study = rl.study(conditions, seeds=range(7), measures=["roughness", "straightness"], folder=tmp_path, workers=1, progress=False)
    for condition in conditions:
        trained = study.trained(condition)
        seed = trained.typical_seed
        net, text = smoothness.drawn(study, condition, "roughness")
        images = trained.images(trained.curve.x)
        rough = ((images.diff(dim=1, n=2) ** 2).sum((1, 2, 3)) / (images.diff(dim=1) ** 2).sum((1, 2, 3))).numpy()
        place = float((rough < rough[seed]).mean())
        assert f"roughness {rough[seed]:.2f}, larger than that of {place:.0%} of the seeds" in text and f"seed {seed}:" in text
        assert net.weights[0].dtype == torch.float64
        assert torch.equal(net.weights[1], trained.network(seed).weights[1].double())
        least = trained.error.min()
        assert f"of the {int((trained.error == least).sum())} of 7 seeds with the least error, {float(least):.1%};" in text
    text = smoothness.drawn(study, base, "straightness", layer=3)[1]
    table = study["straightness"].query("network == 'C1' and step == 1.0 and layer == 3").set_index("seed")["value"]
    assert f"straightness {table[study.trained(base).typical_seed]:.2f}" in text
