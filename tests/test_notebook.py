"""What a notebook begins and ends with: the box of its verdicts, and the line on its environment."""

import pytest

from riemlib.companion import notebook
from riemlib.companion.rules import Verdict

HOLDS, FAILS = Verdict("confirmed", "holds"), Verdict("refuted", "off < 1")


@pytest.fixture(autouse=True)
def shown(monkeypatch) -> list[str]:
    """The HTML that a notebook displays, and what the box becomes."""
    pages = []

    class Handle:
        def update(self, html):
            pages.append(html.data)

    monkeypatch.setattr(notebook, "_opening", None)
    monkeypatch.setattr(notebook, "display", lambda html, display_id: pages.append(html.data) or Handle())
    return pages


def test_the_box_lists_the_verdicts_as_they_are_decided(shown):
    notebook.opening("section <2>", time="2 minutes")
    assert "section &lt;2&gt;" in shown[0] and "takes 2 minutes on cpu" in shown[0] and "none yet" in shown[0]
    record = notebook.decide("gauge", HOLDS, {"error": 1e-13})
    assert record.id == "gauge" and record.evidence == {"error": 1e-13}
    notebook.decide("product-order", FAILS, {})
    notebook.decide("gauge", HOLDS, {})  # a cell that runs again
    assert "none yet" not in shown[-1] and shown[-1].count("<li>") == 2
    assert shown[-1].count("confirmed</b>") == 1 and record.statement in shown[-1]


def test_the_end_says_the_environment_and_fills_in_the_time(shown):
    notebook.opening("section 2")
    end = notebook.closing(seeds=100)._repr_mimebundle_()["text/html"]
    assert "seeds 100" in end and "torch 2" in end and "commit " in end and "python 3" in end
    assert "took 0 s on cpu" in shown[-1]


def test_without_a_box_claims_are_decided_all_the_same():
    assert notebook.decide("gauge", HOLDS, {}).verdict == "confirmed" and "cpu" in repr(notebook.closing().environment)


def test_the_box_says_how_to_change_a_parameter(shown, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    notebook.opening("section 2")
    assert "make lab" in shown[-1] and "python -m riemlib run NAME -p name=value" in shown[-1]
    for session in ("05_lie_groups.ipynb", "/build/lab/notebooks/05_lie_groups.py"):
        monkeypatch.setenv("JPY_SESSION_NAME", session)
        notebook.opening("section 5")
        assert "python -m riemlib run 05_lie_groups -p name=value" in shown[-1]


def test_a_notebook_that_decides_nothing_says_so_at_its_end(shown):
    notebook.opening("section 1")
    notebook.closing()
    assert "no claim is decided here" in shown[-1] and "none yet" not in shown[-1]


def test_a_stamp_says_whose_networks_its_figures_draw():
    """Only where there are any."""
    with_figures, without = (notebook.closing(drawn=drawn)._repr_mimebundle_()["text/html"] for drawn in ({"Figure 3": 7}, {}))
    assert "seed drawn in Figure 3 7" in with_figures and notebook.THIS_MACHINE in with_figures
    assert "machine" not in without
