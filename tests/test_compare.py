"""This run against the published one: what agrees, what changed, in the units of its own interval."""

import json
import math

from riemlib.companion import compare, ledger


def claim(id="gauge", verdict="confirmed", reason="seen", **evidence) -> dict:
    return {"id": id, "verdict": verdict, "reason": reason, "evidence": evidence}


def test_the_same_record_is_identical():
    both = claim(share=[0.5, 0.4, 0.6], words="none", deep={"median": 1.0, "interval": [0.0, 2.0]}, lost=math.nan)
    (change,) = compare.compare([both], [json.loads(json.dumps(both))])
    assert change.agrees and change.identical and change.numbers == 0 and change.widths == 0


def test_a_change_is_measured_in_half_widths_of_its_own_interval():
    old = claim(share=[0.5, 0.4, 0.6], deep={"median": 1.0, "interval": [0.0, 2.0], "p": 0.5}, count=3)
    new = claim(share=[0.55, 0.4, 0.6], deep={"median": 1.25, "interval": [0.0, 2.0], "p": 1.0}, count=4)
    (change,) = compare.compare([old], [new])
    assert change.numbers == 4  # p and count have no interval
    assert math.isclose(change.widths, 0.5) and change.where == "share [1]"


def test_what_stands_in_one_record_only_is_a_change():
    (change,) = compare.compare([claim(a=1.0)], [claim(a=1.0, b=2.0)])
    assert change.numbers == 1 and not change.identical
    (change,) = compare.compare([claim(a="none")], [claim(a=0.5)])
    assert change.numbers == 1


def test_another_verdict_comes_first_with_both_reasons():
    old = [claim("gauge"), claim("flatness", share=[0.5, 0.4, 0.6])]
    new = [claim("gauge", "refuted", "a counterexample"), claim("flatness", share=[0.6, 0.4, 0.6])]
    changes = compare.compare(old, new[::-1])
    assert [change.claim for change in changes] == ["gauge", "flatness"]
    said = compare.lines(changes, ["Figure 3 draws seed 1 here, seed 0 as published"])
    assert "1 of 2 verdicts agree, 0 records are equal" in said[0]
    assert "gauge: refuted here (a counterexample); published: confirmed (seen)" in said[1]
    assert "flatness, share [1]" in said[2] and "seed 1 here" in said[3]
    page = compare.page(changes, [])
    assert page.index("gauge") < page.index("flatness") and "a counterexample" in page


def test_claims_of_one_run_only_are_left_out():
    assert compare.compare([claim("gauge")], [claim("flatness")]) == []
    assert compare.lines([], [])[0].startswith("Compared with the published run: 0 of 0")


def notebook(folder, name, data):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"cells": [{"execution_count": 1, "outputs": [{"data": data}]}]}))
    return folder / name


def test_networks_that_are_drawn_are_read_from_the_stamps(tmp_path):
    old = [notebook(tmp_path / "a", "01.ipynb", {ledger.STAMP: {"drawn": {"Figure 1": 3, "Figure 3": 0}}})]
    new = [notebook(tmp_path / "b", "01.ipynb", {ledger.STAMP: {"drawn": {"Figure 1": 3, "Figure 3": 5, "Figure 4": 1}}})]
    assert compare.other_networks(compare.drawn(old), compare.drawn(new)) == ["Figure 3 draws seed 5 here, seed 0 as published"]
