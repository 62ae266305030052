"""The chain, on a toy project in a temporary folder, and the committed notebooks themselves."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from riemlib import ledger, paper
from riemlib.provenance import canonical, hashed

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""

FIRST = (
    HEADER
    + """
# %% [markdown]
# # First

# %% tags=["parameters"]
seeds: int = 4  # networks
device: str = "cpu"  # where they live

# %%
import os
import toy

os.makedirs(os.environ["RIEMLIB_BUILD"] + "/figures", exist_ok=True)
open(os.environ["RIEMLIB_BUILD"] + "/figures/first.txt", "w").write("drawn")
print(seeds * toy.TWO)  # twice

# %% tags=["nbval-check-output"]
from IPython.display import display

display({"MIME": {"id": "gauge", "verdict": "confirmed", "evidence": {"seeds": seeds}}}, raw=True)
""".replace("MIME", ledger.MIME)
)
SECOND = HEADER + "\n# %%\nimport time\n\ntime.sleep(PAUSE)\nprint('second')\n"
OVERVIEW = (
    HEADER
    + """
# %%
import json, os, pathlib

for path in sorted(pathlib.Path(os.environ["RIEMLIB_BUILD"]).glob("0[1-9]*.ipynb")):
    print(path.stem, json.loads(path.read_text())["metadata"]["riemlib"]["profile"])
"""
)


def toy(root: Path) -> Path:
    """Two small notebooks and an overview, with a library of one module."""
    for name, text in {
        "notebooks/00_overview.py": OVERVIEW,
        "notebooks/01_first.py": FIRST,
        "notebooks/02_second.py": SECOND.replace("PAUSE", "0"),
        "notebooks/quick.yaml": "01_first:\n  seeds: 1\n",
        "riemlib/paper.py": "",
        "toy.py": "TWO = 2\n",
        "riemlib/core.py": '"""Doc."""\nTWO = 2  # two\n',
        "requirements.lock": "# pins\ntorch==2.13.0\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def project(tmp_path) -> Path:
    return toy(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The toy project after a full run, to copy."""
    root = toy(tmp_path_factory.mktemp("finished"))
    assert paper.run(root) == 0
    return root


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "toy"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def ran(root: Path, capsys, **kwargs) -> list[str]:
    """The names a run executed, in order."""
    capsys.readouterr()
    assert paper.run(root, **kwargs) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]


def text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.text for cell in cells if cell.cell_type == "code" for o in cell.outputs if o.output_type == "stream")


def test_a_full_run_publishes_stamped_notebooks_claims_and_figures(finished):
    assert text(finished / "notebooks/01_first.ipynb") == "8\n"
    assert text(finished / "notebooks/00_overview.ipynb") == "01_first full\n02_second full\n"
    nb = nbformat.read(finished / "notebooks/01_first.ipynb", as_version=4)
    assert set(nb.metadata.riemlib) == {"digest", "outputs", "profile", "seconds"}
    assert "papermill" not in json.dumps(nb)
    assert json.loads((finished / "build/claims.json").read_text()) == [
        {"id": "gauge", "verdict": "confirmed", "evidence": {"seeds": 4}, "notebook": "01_first", "cell": 3}
    ]
    assert (finished / "build/figures/first.txt").read_text() == "drawn"
    assert not [p for p in finished.rglob("*") if p.name.endswith(".writing") or p.name.endswith(".failed.ipynb")]
    assert paper.check(finished) == []


def test_kernels_draw_no_progress_bars_and_the_chain_leaves_the_environment_alone(finished):
    assert "TQDM_DISABLE" not in os.environ and str(finished) not in os.environ.get("PYTHONPATH", "")


def test_nothing_changed_nothing_done(copy, capsys):
    assert ran(copy, capsys) == []
    assert paper.run(copy) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_touching_a_source_runs_that_one(copy, capsys):
    later = time.time() + 5
    os.utime(copy / "notebooks/02_second.py", (later, later))
    assert ran(copy, capsys) == ["02_second"]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("notebooks/01_first.py", "seeds: int = 4", "seeds: int = 5", ["01_first", "00_overview"]),  # claims differ: the overview too
        ("riemlib/core.py", "TWO = 2", "TWO = 3", ["01_first", "02_second", "00_overview"]),
        ("riemlib/core.py", '"""Doc."""\nTWO = 2  # two', '"""Other."""\n\nTWO = 2  # deux', []),
        ("riemlib/paper.py", "", "x = 1\n", []),
        ("requirements.lock", "# pins", "# other words", []),
        ("requirements.lock", "2.13.0", "2.13.1", ["01_first", "02_second", "00_overview"]),
    ],
)
def test_what_an_edit_makes_stale(copy, capsys, file, old, new, expected):
    edit(copy / file, old, new)
    stale = sorted({line.split(".")[0] for line in paper.check(copy) if "stale" in line})
    assert stale == sorted(set(expected) - {"00_overview"} if file.startswith("notebooks") else expected)
    assert ran(copy, capsys) == expected
    assert paper.check(copy) == []


def test_quick_passes_its_parameters_and_publishes_nothing(project, capsys):
    assert ran(project, capsys, profile="quick", only=["01_first"]) == ["01_first"]
    assert text(project / "build/quick/01_first.ipynb") == "2\n"
    assert not list((project / "notebooks").glob("*.ipynb"))
    edit(project / "notebooks/quick.yaml", "seeds: 1", "seeds: 3")
    assert ran(project, capsys, profile="quick", only=["notebooks/01_first.py"]) == ["01_first"]
    assert text(project / "build/quick/01_first.ipynb") == "6\n"


def test_several_at_a_time_give_the_same(copy, capsys):
    assert ran(copy, capsys, build=copy / "build/two", jobs=2)[-1] == "00_overview"
    for name in paper.names(copy):
        assert text(copy / f"build/two/full/{name}.ipynb") == text(copy / f"notebooks/{name}.ipynb")


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ({"only": ["09_nowhere"]}, "no notebook 09_nowhere"),
        ({"profile": "slow"}, "profile is 'slow'"),
    ],
)
def test_refusals(project, call, word):
    with pytest.raises(ValueError, match=word):
        paper.run(project, **call)


@pytest.mark.parametrize(
    ("line", "word"), [("01_first: {seed: 1}", "unknown parameter seed; its parameters are seeds, device"), ("1: {}", "quick.yaml names 1")]
)
def test_unknown_quick_parameters_are_refused_before_anything_runs(project, line, word):
    (project / "notebooks/quick.yaml").write_text(line)
    with pytest.raises(ValueError, match=word):
        paper.run(project, "quick")
    assert not (project / "build").exists()


def test_a_failing_notebook_keeps_its_traceback_and_others_still_run(copy, capsys):
    before = (copy / "notebooks/01_first.ipynb").read_bytes()
    edit(copy / "notebooks/01_first.py", "toy.TWO", "toy.THREE")
    os.utime(copy / "notebooks/02_second.py")
    assert paper.run(copy) == 1
    out = capsys.readouterr().out
    assert "AttributeError" in out and "01_first.failed.ipynb" in out
    assert "THREE" in json.dumps(json.loads((copy / "build/full/01_first.failed.ipynb").read_text())["cells"])
    assert not (copy / "build/full/01_first.ipynb").exists()
    assert (copy / "notebooks/01_first.ipynb").read_bytes() == before
    assert any("02_second" in line and line.endswith(" s") for line in out.splitlines())
    edit(copy / "notebooks/01_first.py", "toy.THREE", "toy.TWO")
    assert ran(copy, capsys) == ["01_first"]  # its claims are what they were: the overview stands
    assert not (copy / "build/full/01_first.failed.ipynb").exists()


def test_killed_midway_it_leaves_no_broken_notebook_and_the_next_run_completes(project, capsys):
    edit(project / "notebooks/02_second.py", "sleep(0)", "sleep(600)")
    command = "import sys; from pathlib import Path; from riemlib import paper; paper.run(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", command, str(project)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not (project / "build/full/running/02_second.ipynb").exists():
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in [*(project / "build/full").glob("*.ipynb"), *(project / "notebooks").glob("*.ipynb")]:
        assert paper.stamp(path)["outputs"] == hashed(paper.outputs(nbformat.read(path, as_version=4)))
    assert not (project / "build/full/02_second.ipynb").exists()
    edit(project / "notebooks/02_second.py", "sleep(600)", "sleep(0)")
    assert ran(project, capsys) == ["02_second", "00_overview"]
    assert paper.check(project) == []


def tampered(nb: nbformat.NotebookNode, how: str) -> None:
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    match how:
        case "source":
            nb.cells[0].source += " and more"
        case "type":
            nb.cells[0].cell_type = "raw"
        case "tags":
            code[0].metadata.tags = []
        case "cells":
            nb.cells.pop()
        case "executed":
            code[1].execution_count = None
        case "error":
            code[1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]
        case "lost":
            code[1].outputs = []
        case "number":
            code[1].outputs[0].text = "9\n"
        case "digest":
            nb.metadata.riemlib.digest = "0" * 16
        case "profile":
            nb.metadata.riemlib.profile = "quick"
        case "stamp":
            del nb.metadata["riemlib"]


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("source", "cell 0 differs from the source in its source"),
        ("type", "cell 0 differs from the source in its type"),
        ("tags", "cell 1 differs from the source in its tags"),
        ("cells", "has 3 cells, its source 4"),
        ("executed", "cell 2 was not executed"),
        ("error", "cell 2 shows an error"),
        ("lost", "shows outputs other than"),
        ("number", "shows outputs other than"),
        ("digest", "is stale"),
        ("profile", "made at the profile quick"),
        ("stamp", "made at the profile unknown"),
    ],
)
def test_check_goes_red(copy, how, word):
    path = copy / "notebooks/01_first.ipynb"
    nb = nbformat.read(path, as_version=4)
    tampered(nb, how)
    path.write_text(nbformat.writes(nb))
    assert any(line.startswith("01_first.ipynb: ") and word in line for line in paper.check(copy))


def test_check_names_missing_and_orphaned_notebooks(copy):
    (copy / "notebooks/01_first.ipynb").rename(copy / "notebooks/03_gone.ipynb")
    problems = paper.check(copy)
    assert "01_first.ipynb: is missing: make paper" in problems
    assert "03_gone.ipynb: has no source 03_gone.py" in problems


def test_sync_carries_prose_and_keeps_outputs(copy, capsys):
    edit(copy / "notebooks/01_first.py", "# # First", "# # The first\n#\n# Of two.")
    edit(copy / "notebooks/01_first.py", "# twice", "# two times")
    edit(copy / "notebooks/02_second.py", "'second'", "'other'")
    before = (copy / "notebooks/02_second.ipynb").read_bytes()
    assert paper.sync(copy) == 0
    assert [line.split(":")[0] for line in paper.check(copy)] == ["02_second.ipynb"] * 2
    assert "Of two." in (copy / "notebooks/01_first.ipynb").read_text()
    assert text(copy / "notebooks/01_first.ipynb") == "8\n"
    assert (copy / "notebooks/02_second.ipynb").read_bytes() == before
    assert ran(copy, capsys) == ["02_second"]


def test_the_digest_does_not_depend_on_the_version_of_python():
    """A version that knows a field more, empty here (as 3.12 does with type parameters), reads the same tree."""
    here, newer = (ast.parse("def f(x): return x").body[0] for _ in range(2))
    newer._fields = (*newer._fields, "variance")
    newer.variance = []
    assert canonical(here) == canonical(newer)
    newer.variance = [ast.Name("T")]
    assert canonical(here) != canonical(newer)


def test_the_committed_notebooks_are_those_of_todays_code():
    assert paper.check() == []
