"""The ledger: claims that stand once, and records that reach a reader unchanged and only once."""

import dataclasses
import html
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from riemlib.companion import ledger, rules
from riemlib.companion.findings import FINDINGS
from riemlib.companion.power import LEAST_POWER, POWER

ROOT = Path(__file__).parent.parent
FOUND = rules.Verdict("confirmed", "holds")
REFUTED = rules.Verdict("refuted", "off")


# The claims.


def test_there_are_45_claims_each_with_what_a_reader_needs():
    """Ids are slugs; sections, sources and statements are there; a repaired statement is a sentence."""
    assert len(ledger.CLAIMS) == 45
    for id, claim in ledger.CLAIMS.items():
        assert claim.id == id == id.lower() and id.replace("-", "").isalnum()
        assert claim.section and claim.source in ("printed", "implied", "cited", "ours") and claim.statement
        assert claim.statement.strip() == claim.statement and not claim.statement.endswith(".")
        assert not claim.repaired or claim.repaired.endswith(".")
    assert {claim.source for claim in ledger.CLAIMS.values()} == {"printed", "implied", "cited", "ours"}
    assert len({claim.statement for claim in ledger.CLAIMS.values()}) == 45
    assert len(set(rules.VERDICTS.values())) == len(rules.VERDICTS) == 5  # a colour for each verdict


ENTRY = '[[claim]]\nid = "{}"\nsection = "2"\nsource = "{}"\nstatement = "it holds"\n'


def test_a_claims_file_is_read_in_its_order(tmp_path):
    file = tmp_path / "claims.toml"
    file.write_text(ENTRY.format("second", "printed") + ENTRY.format("first", "ours") + 'repaired = "It half holds."\n')
    found = ledger.read_claims(file)
    assert list(found) == ["second", "first"] and found["first"].repaired == "It half holds." and found["second"].repaired == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.format("one", "printed") + ENTRY.format("one", "ours"), "claim one stands twice in claims.toml"),
        (ENTRY.format("one", "invented"), "claim one has the source 'invented'; one of printed, implied, cited, ours"),
    ],
)
def test_a_claims_file_with_a_slip_is_refused(tmp_path, text, message):
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        ledger.read_claims(tmp_path / "claims.toml")


# Records.


def test_a_record_says_what_was_decided():
    record = ledger.record("product-order", FOUND, {"error": 1.23456e-13, "seeds": 100}, "200 networks")
    claim = ledger.CLAIMS["product-order"]
    assert (record.id, record.section, record.source, record.statement) == ("product-order", claim.section, claim.source, claim.statement)
    assert (record.verdict, record.reason, record.protocol) == ("confirmed", "holds", "200 networks")
    assert record.evidence == {"error": 1.23e-13, "seeds": 100}


@pytest.mark.usefixtures("untyped")
def test_a_verdict_that_no_rule_made_is_refused():
    for typed in ("confirmed", None, True, ("confirmed", "holds"), rules.Verdict("certainly", "I say so")):
        with pytest.raises(TypeError, match="verdict is .*; the Verdict that a rule of riemlib.companion.rules returns is needed"):
            ledger.record("product-order", typed, {})


def test_an_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="claim id is 'product_order'"):
        ledger.record("product_order", FOUND, {})


def test_evidence_is_plain_json():
    evidence = {
        "tensor": torch.tensor([1.23456, 2.0]),
        "scalar": torch.tensor(0.000123456),
        "numpy": np.float64(9.87654321),
        "count": np.int64(100),
        "flag": np.bool_(True),
        "interval": (0.12345, 0.54321),
        "nested": {"a": [1.00049, {"b": 2}], 3: "text"},
        "missing": math.nan,
        "none": -math.inf,
    }
    found = ledger.record("gauge", FOUND, evidence).evidence
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == {
        "tensor": [1.23, 2.0],
        "scalar": 0.000123,
        "numpy": 9.88,
        "count": 100,
        "flag": True,
        "interval": [0.123, 0.543],
        "nested": {"a": [1.0, {"b": 2}], "3": "text"},
        "missing": "nan",
        "none": "-inf",
    }


def test_a_reader_sees_the_record():
    record = ledger.record("gauge", rules.Verdict("refuted", "1 < 2 & so on"), {"interval": [0.1, 0.25]}, "<b>bold</b>")
    shown = record._repr_mimebundle_()
    assert shown[ledger.MIME] == dataclasses.asdict(record)
    assert shown["text/plain"] == repr(record) == "gauge: refuted (1 < 2 & so on)"
    page = shown["text/html"]
    assert "refuted" in page and "[0.1, 0.25]" in page and "1 &lt; 2 &amp; so on" in page and "<b>bold" not in page


# From executed notebooks.


def executed(path, *records):
    """A notebook with the records as outputs, among cells that have none."""
    outputs = [{"output_type": "execute_result", "data": r._repr_mimebundle_(), "metadata": {}} for r in records]
    other = [{"output_type": "stream", "text": "hello"}, {"output_type": "display_data", "data": {"text/plain": "1"}}]
    cells = [
        {"cell_type": "markdown", "source": "text"},
        {"cell_type": "code", "source": "1", "execution_count": 7, "outputs": [*other, *outputs]},
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), encoding="utf-8")
    return path


def test_records_are_gathered_in_the_order_of_the_claims(tmp_path):
    """Whatever the order of the notebooks; each with its notebook and cell, as it was recorded."""
    late = ledger.record("gauge", FOUND, {"Δ": 1.0}, "ε small")
    early, middle = ledger.record("relu-not-chart", FOUND, {}), ledger.record("product-order", REFUTED, {})
    files = [executed(tmp_path / "b.ipynb", late, early), executed(tmp_path / "a.ipynb", middle), executed(tmp_path / "c.ipynb")]
    found = ledger.gather(files)
    assert [claim["id"] for claim in found] == ["relu-not-chart", "product-order", "gauge"]
    assert [claim["notebook"] for claim in found] == ["b", "a", "b"]
    assert found[2] == {**dataclasses.asdict(late), "notebook": "b", "cell": 7}
    assert ledger.gather([]) == []


def test_a_claim_is_recorded_once(tmp_path):
    record = ledger.record("gauge", FOUND, {})
    with pytest.raises(ValueError, match="gauge is recorded in a and again in b"):
        ledger.gather([executed(tmp_path / "a.ipynb", record), executed(tmp_path / "b.ipynb", record)])
    with pytest.raises(ValueError, match="gauge is recorded in c and again in c"):
        ledger.gather([executed(tmp_path / "c.ipynb", record, record)])


# For a reader.


@pytest.fixture
def claims(tmp_path):
    """Three decided claims: one as stated, one refuted that has a repaired statement, one refuted of our own."""
    ours = next(id for id, claim in ledger.CLAIMS.items() if claim.source == "ours")
    records = [ledger.record("product-order", FOUND, {}), ledger.record("relu-residual-bijective", REFUTED, {})]
    return ledger.gather([executed(tmp_path / "02_notation.ipynb", *records, ledger.record(ours, REFUTED, {}))])


def test_the_errata_hold_what_the_paper_states_and_what_does_hold(claims):
    page = ledger.errata(claims)
    claim = ledger.CLAIMS["relu-residual-bijective"]
    assert claim.statement in page and "det W" in claim.repaired and "What holds." in page and "refuted" in page
    assert "02_notation.ipynb#relu-residual-bijective" in page
    assert page.count("What holds.") == 1 and ledger.CLAIMS["product-order"].statement not in page
    assert not any(claim["statement"] in page for claim in claims if claim["source"] == "ours")  # only what the paper says


def test_tables_of_the_ledger_have_a_row_for_each_claim(claims):
    page, text, said = ledger.table(claims), ledger.markdown(claims, "notebooks"), ledger.summary(claims)
    assert page.count("<tr>") == 4 and len(text.splitlines()) == 5
    for claim in claims:
        assert claim["id"] in page and claim["statement"] in text
    assert "(notebooks/02_notation.ipynb)" in text and "**refuted**" in text
    assert said.startswith("3 claims. 2 printed in the paper: 1 confirmed, 1 refuted. 1 added by us: 1 refuted. No verdict yet: ")
    assert "`gauge`" in said and "product-order" not in said and "implied" not in said


def test_each_source_has_a_table_of_its_own(claims):
    page = ledger.tables_by_source(claims)
    printed, ours = page.split("<h3>")[1:]
    assert printed.startswith("Printed in the paper (2)") and ours.startswith("Added by us (1)")
    assert printed.count("<tr>") == 3 and ours.count("<tr>") == 2


@pytest.mark.parametrize(
    ("id", "verdict", "heading"),
    [
        ("product-order", "refuted", "Refuted"),
        ("flattened-output", "refuted", "Refuted, as we read a word"),
        ("product-order", "not supported", "Not supported"),
        ("batch-complexity", "not supported", "Not supported"),
        ("product-order", "confirmed with conditions", "With a condition"),
        ("product-order", "undecided", "Not decided"),
        ("zero-error-typical", "refuted", "Implied or cited"),
        ("weight-sharing-cheap", "confirmed with conditions", "Implied or cited"),
        ("product-order", "confirmed", ""),
        ("gauge", "refuted", ""),
    ],
)
def test_the_errata_put_a_claim_where_it_belongs(id, verdict, heading, tmp_path):
    page = ledger.errata(ledger.gather([executed(tmp_path / "a.ipynb", ledger.record(id, rules.Verdict(verdict, "so"), {}))]))
    assert [part for part in ledger.ERRATA if f"<h2>{part}</h2>" in page] == ([heading] if heading else [])
    assert (ledger.CLAIMS[id].statement in page) == bool(heading)


def test_what_a_claim_says_is_read_from_todays_claims(tmp_path):
    """A correction in claims.toml shows before the notebook runs again; a claim that is gone is left out."""
    old = dataclasses.replace(ledger.record("gauge", FOUND, {}), statement="as it was once", section="0", source="cited")
    gone = dataclasses.replace(old, id="no-longer-there")
    (found,) = ledger.gather([executed(tmp_path / "a.ipynb", old, gone)])
    claim = ledger.CLAIMS["gauge"]
    assert (found["statement"], found["section"], found["source"]) == (claim.statement, claim.section, claim.source)


def test_the_wording_says_where_the_paper_does_not_print_a_claim_itself(claims):
    for claim in ledger.CLAIMS.values():
        ending = f" ({claim.source})" if claim.source in ("implied", "cited") else ""
        assert ledger.wording(dataclasses.asdict(claim)) == claim.statement + ending


def test_the_errata_say_what_the_paper_says_around_a_statement_and_how_it_is_read(tmp_path):
    reason = "off. What holds: it half holds"
    decided = [ledger.record(id, rules.Verdict("refuted", reason), {}) for id in ("softmax-chart", "batch-complexity")]
    softmax, batch = ledger.errata(ledger.gather([executed(tmp_path / "a.ipynb", *decided)])).split("as we read a word")
    assert html.escape(ledger.CLAIMS["softmax-chart"].context) in softmax and "As we read it." not in softmax
    assert "it half holds" not in softmax and "off." in softmax  # what holds is said once
    claim = ledger.CLAIMS["batch-complexity"]
    assert claim.reading in batch and html.escape(claim.context) in batch and reason in batch and "What holds.</b>" not in batch


def test_the_changes_of_the_protocol_have_a_row_for_each_claim():
    page = ledger.changed(ledger.CLAIMS.values())
    assert page.count("<tr>") == 46 and page.count(">none</td>") == sum(not claim.first for claim in ledger.CLAIMS.values()) > 0
    assert all(html.escape(claim.changed) in page and claim.id in page for claim in ledger.CLAIMS.values())


# The findings.


PUBLISHED = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def published() -> dict:
    return {claim["id"]: claim for claim in ledger.gather(PUBLISHED)}


@pytest.mark.skipif(not PUBLISHED, reason="no executed notebooks")
def test_each_question_is_answered_in_sentences_by_what_is_published(published):
    """The sentences are those of the verdict, with numbers of the record; they stand in HTML and in Markdown with the links."""
    page, text = ledger.answers(published.values()), ledger.answers_in_markdown(published.values(), "notebooks")
    assert page.count("<li>") == len(text.splitlines()) == len(FINDINGS) == 5
    for finding, line in zip(FINDINGS, text.splitlines(), strict=True):
        claim = published[finding.id]
        assert finding.verdict == claim["verdict"] and finding.answer(claim) == finding.said(claim["evidence"])
        assert html.escape(finding.answer(claim)) in page and finding.answer(claim) in line and line.startswith("1. ")
        assert f"{claim['notebook']}.ipynb#{claim['id']}" in page and f"(notebooks/{claim['notebook']}.ipynb)" in line
        assert f"**{finding.question}**" in line and f"**{claim['verdict']}**" in line and ledger.wording(claim) in line
        assert re.search(r"\d", finding.answer(claim)) and "  " not in line


@pytest.mark.skipif(not PUBLISHED, reason="no executed notebooks")
@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.id)
def test_a_sentence_goes_with_its_verdict(finding, published):
    """Under another verdict the reason of the rule stands there: no Yes or No outlives the verdict it is about."""
    said = finding.answer(published[finding.id])
    other = {**published[finding.id], "verdict": "undecided", "reason": "the data do not tell"}
    assert finding.answer(other) == "The rule finds: the data do not tell." != said
    with pytest.raises((KeyError, ValueError)):
        finding.answer({**published[finding.id], "evidence": {}})


def test_the_numbers_of_a_finding_are_those_of_its_evidence():
    arms = "trained networks in which an arm meets itself at the output, step "
    evidence = {f"{arms}1/L = 0.1": [0.4, [0.309, 0.498]], f"{arms}1": [0.99, [0.946, 0.998]], "other": 3}
    said = next(finding for finding in FINDINGS if finding.id == "tanh-residual-folds").said(evidence)
    assert "in 99 % [95, 100] of the trained" in said and "in 40 % [31, 50]." in said
    pieces = {"batch 300": [0.73, 0.636, 0.807], "batch 1000": [0.78, 0.689, 0.85]}
    evidence = {
        "primary contrast": "the gap",
        "smallest effect of interest": "a factor of 2",
        "C1 networks in pieces at 5 %, at some layer": pieces,
    }
    said = next(finding for finding in FINDINGS if finding.id == "batch-connectedness").said(evidence)
    assert "73 % [64, 81] of the networks with batch 300, and in 78 % [69, 85] with batch 1000" in said and ": the gap." in said


def test_a_question_without_a_verdict_says_so_and_is_left_out_of_the_readme(claims):
    assert ledger.answers(claims).count("No verdict yet.") == 5
    assert ledger.answers_in_markdown(claims, "notebooks") == "" and ledger.markdown(claims, "notebooks").startswith("| § |")


@pytest.mark.parametrize("verdict", rules.VERDICTS)
def test_verdicts_have_classes_for_style_sheets_and_a_colour_that_is_read_on_white(verdict):
    assert f"class='verdict {verdict.replace(' ', '-')}'" in ledger.verdict_in_colour(verdict)
    channels = [int(rules.VERDICTS[verdict][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [((c + 0.055) / 1.055) ** 2.4 if c > 0.04 else c / 12.92 for c in channels]
    assert 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05) >= 4.5  # WCAG 2, level AA


def test_no_committed_verdict_comes_from_a_rule_without_power():
    kept = ledger.gather(sorted((ROOT / "notebooks").glob("*.ipynb")))
    powers = {claim["id"]: claim["evidence"][POWER] for claim in kept if POWER in claim["evidence"]}
    assert len(powers) >= 12 and not {id: power for id, power in powers.items() if not power >= LEAST_POWER}
