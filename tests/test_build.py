"""Running, checking and publishing notebooks, on a toy project in a temporary folder; the committed notebooks themselves."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import nbformat
import pytest

from riemlib.__main__ import main
from riemlib.companion import archive, build, files, lab, ledger

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

from riemlib.pack import core

os.makedirs(os.environ["RIEMLIB_BUILD"] + "/figures", exist_ok=True)
open(os.environ["RIEMLIB_BUILD"] + "/figures/figure_1.png", "w").write("drawn")
print(seeds * core.TWO)  # twice

# %% tags=["nbval-check-output"]
from IPython.display import display

display({"MIME": {"id": "gauge", "section": "ours", "statement": "s", "verdict": "confirmed", "evidence": {"seeds": seeds}}}, raw=True)
""".replace("MIME", ledger.MIME)
)
SECOND = HEADER + "\n# %%\nimport time\n\nimport riemlib as rl\n\nrl.twice()\ntime.sleep(PAUSE)\nprint('second')\n"
OVERVIEW = (
    HEADER
    + """
# %%
import json, os, pathlib

for path in sorted(pathlib.Path(os.environ["RIEMLIB_BUILD"]).glob("0[1-9]*.ipynb")):
    print(path.stem, json.loads(path.read_text())["metadata"]["riemlib"]["profile"])
"""
)
CLAIMS = """
[[claim]]
id = "gauge"
repaired = "r"

[[claim]]
id = "flatness"
repaired = "r"
"""
LIBRARY = '''"""Doc.

| Eq. | what it says | function | notebook |
|---|---|---|---|
| Eq. 1 | two | lazy.twice | 02_second |
"""

from importlib import import_module

EXPORTS = {"lazy": ("twice",)}


def __getattr__(name):
    return getattr(import_module(f"{__name__}.{[*EXPORTS][0]}"), name)
'''
README = "# Toy\n\n<!-- ledger -->\n<!-- /ledger -->\n\n<!-- equations -->\n<!-- /equations -->\n\nend\n"


def toy(root: Path) -> Path:
    """Two small notebooks and an overview, with a small library: 01_first uses pack, 02_second lazy."""
    for name, text in {
        "notebooks/00_overview.py": OVERVIEW,
        "notebooks/01_first.py": FIRST,
        "notebooks/02_second.py": SECOND.replace("PAUSE", "0"),
        "notebooks/quick.yaml": "01_first:\n  seeds: 1\n",
        "riemlib/__init__.py": LIBRARY,
        "riemlib/pack/__init__.py": "from ..base import ZERO\n",
        "riemlib/pack/core.py": '"""Doc."""\nTWO = 2  # two\n',
        "riemlib/base.py": "ZERO = 0\n",
        "riemlib/lazy.py": "from . import deep\n\n\ndef twice():\n    return 2 * deep.ONE\n",
        "riemlib/deep.py": "from .deeper import ONE\n",
        "riemlib/deeper.py": "ONE = 1\n",
        "riemlib/other.py": "X = 1\n",
        "riemlib/companion/claims.toml": CLAIMS,
        "requirements.lock": "# pins\ntorch==2.13.0\n",
        "README.md": README,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def project(tmp_path) -> Path:
    return toy(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The toy project after a full run, to look at or to copy."""
    root = toy(tmp_path_factory.mktemp("finished"))
    assert build.run(root) == 0 and build.publish(root) == 0
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
    assert build.run(root, **kwargs) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]


def text(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.text for cell in cells if cell.cell_type == "code" for o in cell.outputs if o.output_type == "stream")


def stale(root: Path) -> list[str]:
    """The published notebooks that the check calls stale."""
    return sorted({line.split(".")[0] for line in build.check(root) if "stale" in line})


# Running.


def test_a_full_run_publishes_stamped_notebooks_claims_and_figures(finished):
    assert text(finished / "notebooks/01_first.ipynb") == "8\n"
    assert text(finished / "notebooks/00_overview.ipynb") == "01_first full\n02_second full\n"
    nb = nbformat.read(finished / "notebooks/01_first.ipynb", as_version=4)
    assert set(nb.metadata.riemlib) == {"digest", "outputs", "profile", "seconds"}
    assert "papermill" not in json.dumps(nb)
    (claim,) = json.loads((finished / "build/claims.json").read_text())
    assert (claim["id"], claim["evidence"], claim["notebook"], claim["cell"]) == ("gauge", {"seeds": 4}, "01_first", 3)
    assert (finished / "build/figures/figure_1.png").read_text() == (finished / "notebooks/figure_1.png").read_text() == "drawn"
    assert not [p for p in finished.rglob("*") if p.name.endswith(".writing") or p.name.endswith(".failed.ipynb")]
    assert build.check(finished) == []


def test_a_full_run_fills_the_tables_of_the_readme(finished):
    readme = (finished / "README.md").read_text()
    assert "1 claims. 1 added by us: 1 confirmed. No verdict yet: " in readme and r"[01_first \[3\]](notebooks/01_first.ipynb)" in readme
    assert r"| Eq. 1 | two | [lazy.twice](riemlib/lazy.py) | [02_second \[1\]](notebooks/02_second.ipynb) |" in readme
    assert readme.startswith("# Toy\n\n<!-- ledger -->\n") and readme.endswith("\n<!-- /equations -->\n\nend\n")


def test_a_run_leaves_the_environment_as_it_was(finished):
    assert "TQDM_DISABLE" not in os.environ and str(finished) not in os.environ.get("PYTHONPATH", "")


def test_notebooks_that_train_most_are_started_first(copy, capsys, monkeypatch):
    assert {*build.FIRST, *build.LAST} < set(build.names(build.ROOT))
    monkeypatch.setattr(build, "FIRST", ("02_second",))
    edit(copy / "requirements.lock", "2.13.0", "2.13.1")
    assert ran(copy, capsys) == ["02_second", "01_first", "00_overview"]


def test_nothing_changed_nothing_done(copy, capsys):
    assert build.run(copy) == 0
    out = capsys.readouterr().out
    assert "nothing to do" in out and "FAILED" not in out and " to run" not in out


def test_touching_a_source_runs_that_one(copy, capsys):
    later = time.time() + 5
    os.utime(copy / "notebooks/02_second.py", (later, later))
    assert ran(copy, capsys) == ["02_second"]


def test_a_change_of_code_runs_what_depends_on_it(copy, capsys):
    edit(copy / "notebooks/01_first.py", "seeds: int = 4", "seeds: int = 5")
    assert stale(copy) == ["01_first"]
    assert ran(copy, capsys) == ["01_first", "00_overview"]  # the claims differ: the overview too
    assert build.publish(copy) == 0 and build.check(copy) == []


ALL = ["00_overview", "01_first", "02_second"]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("notebooks/02_second.py", "print('second')", "print('other')", ["02_second"]),
        ("notebooks/01_first.py", "# twice", "# two times", []),
        ("notebooks/01_first.py", "# # First", "# # The first", []),
        ("riemlib/pack/core.py", "TWO = 2", "TWO = 3", ["01_first"]),
        ("riemlib/pack/core.py", '"""Doc."""\nTWO = 2  # two', '"""Other."""\n\nTWO = 2  # deux', []),
        ("riemlib/pack/__init__.py", "ZERO", "ZERO as O", ["01_first"]),  # the package of a module
        ("riemlib/base.py", "ZERO = 0", "ZERO = 1", ["01_first"]),
        ("riemlib/lazy.py", "2 *", "3 *", ["02_second"]),  # through rl.NAME alone
        ("riemlib/deeper.py", "ONE = 1", "ONE = 2", ["02_second"]),  # three modules down
        ("riemlib/other.py", "X = 1", "X = 2", []),
        ("riemlib/__init__.py", "import import_module", "import import_module as load", ["01_first", "02_second"]),
        ("riemlib/__init__.py", '("twice",)', '("twice", "X")', []),
        ("riemlib/companion/claims.toml", '"gauge"\nrepaired = "r"', '"gauge"\nrepaired = "other"', ["00_overview", "01_first"]),
        ("riemlib/companion/claims.toml", '"flatness"\nrepaired = "r"', '"flatness"\nrepaired = "other"', ["00_overview"]),
        ("notebooks/quick.yaml", "seeds: 1", "seeds: 2", []),  # of another profile
        ("requirements.lock", "# pins", "# other words", []),
        ("requirements.lock", "2.13.0", "2.13.1", ALL),
    ],
)
def test_what_an_edit_makes_stale(copy, file, old, new, expected):
    edit(copy / file, old, new)
    assert stale(copy) == expected


def test_a_notebook_that_shows_all_claims_or_the_table_of_the_multiverse_goes_stale_with_them(project):
    """The other notebook does not."""

    def digests() -> list[str]:
        return [build.digest(project, name, "full") for name in ("01_first", "02_second")]

    edit(project / "notebooks/02_second.py", "import time", "import time\nmultiverse = CLAIMS = None\nprint(multiverse, CLAIMS)")
    table = project / "riemlib/companion/multiverse.csv.gz"
    before = digests()
    table.write_bytes(b"a table")
    with_table = digests()
    table.write_bytes(b"another table")
    other = digests()
    assert before[0] == with_table[0] == other[0] and len({before[1], with_table[1], other[1]}) == 3
    edit(project / "riemlib/companion/claims.toml", '"flatness"\nrepaired = "r"', '"flatness"\nrepaired = "other"')
    assert digests()[0] == other[0] and digests()[1] != other[1]


def test_a_module_that_is_new_or_gone_concerns_those_that_use_it(copy):
    (copy / "riemlib/new.py").write_text("")
    (copy / "riemlib/other.py").unlink()
    assert stale(copy) == []
    (copy / "riemlib/deeper.py").unlink()
    assert stale(copy) == ["02_second"]


@pytest.mark.parametrize(("line", "refused"), [("%matplotlib inline", False), ("if True:\n    !ls", False), ("x = !ls", True)])
def test_cells_for_ipython_are_read_or_refused(project, line, refused):
    edit(project / "notebooks/02_second.py", "import time", f"{line}\nimport time")
    nb = build.source(project, "02_second")
    assert build.code(nb)[0].startswith(line)  # as it is written
    if refused:
        with pytest.raises(ValueError, match="code cell 0 is not Python"):
            build.tree(nb)
    else:
        assert "riemlib.lazy" in build.code_used(build.tree(nb), project)


def test_quick_passes_its_parameters_and_publishes_nothing(project, capsys):
    assert ran(project, capsys, profile="quick", only=["notebooks/01_first.py"]) == ["01_first"]
    assert text(project / "build/quick/01_first.ipynb") == "2\n"
    assert not list((project / "notebooks").glob("*.ipynb"))
    edit(project / "notebooks/quick.yaml", "seeds: 1", "seeds: 3")
    (job,) = build.due(project, project / "build/quick", "quick", ["01_first"])
    assert job.parameters == {"seeds": 3}


def test_several_at_a_time_give_the_same(copy, capsys):
    both = ["01_first", "02_second"]
    assert sorted(ran(copy, capsys, build=copy / "build/two", only=both, jobs=2)) == both
    for name in both:
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
        build.run(project, **call)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("01_first: {seed: 1}", "unknown parameter seed; its parameters are seeds, device"),
        ("02_second: {seed: 1}", "unknown parameter seed; its parameters are none"),
        ("1: {}", "quick.yaml names 1"),
    ],
)
def test_unknown_quick_parameters_are_refused_before_anything_runs(project, line, word):
    (project / "notebooks/quick.yaml").write_text(line)
    with pytest.raises(ValueError, match=word):
        build.run(project, "quick")
    assert not (project / "build").exists()


def test_a_failing_notebook_keeps_its_traceback_and_others_still_run(copy, capsys):
    before = (copy / "notebooks/01_first.ipynb").read_bytes()
    edit(copy / "notebooks/01_first.py", "core.TWO", "core.THREE")
    os.utime(copy / "notebooks/02_second.py")
    assert build.run(copy) == 1
    out = capsys.readouterr().out
    assert "AttributeError" in out and "01_first.failed.ipynb" in out and "00_overview          not run" in out
    assert "THREE" in json.dumps(json.loads((copy / "build/full/01_first.failed.ipynb").read_text())["cells"])
    assert not (copy / "build/full/01_first.ipynb").exists()
    assert (copy / "notebooks/01_first.ipynb").read_bytes() == before
    assert any("02_second" in line and line.endswith(" s") for line in out.splitlines())
    edit(copy / "notebooks/01_first.py", "core.THREE", "core.TWO")
    assert ran(copy, capsys) == ["01_first"]  # its claims are what they were: the overview stands
    assert not (copy / "build/full/01_first.failed.ipynb").exists()


RUN = """
import functools, sys
from pathlib import Path

import riemlib.__main__ as command

command.build.run = functools.partial(command.build.run, Path(sys.argv[1]))
sys.exit(command.main(["run", "--jobs", "2"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_leaves_no_process_and_no_broken_file_and_the_next_one_completes(copy, capsys, number, code):
    """The signal goes to the runner alone. The kernels hold a pipe, which ends when they have all ended."""
    os.mkfifo(copy / "held")
    held = os.open(copy / "held", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("01_first", "02_second"):
        with open(copy / f"notebooks/{name}.py", "a") as file:
            file.write("\n# %%\nimport time\n\nheld = open('../held', 'w')\nheld.write('x')\nheld.flush()\ntime.sleep(600)\n")
    before = {path: path.read_bytes() for path in copy.rglob("*.ipynb")}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(copy)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        begun, deadline = b"", time.time() + 60
        while begun != b"xx":
            assert time.time() < deadline and process.poll() is None
            time.sleep(0.05)
            with contextlib.suppress(BlockingIOError):
                begun += os.read(held, 2)
        process.send_signal(number)
        _, said = process.communicate(timeout=8)
        deadline = time.time() + 4
        while not ended(held):
            assert time.time() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        os.close(held)
    running = copy / "build/full/running" / str(process.pid)
    assert process.returncode == code
    assert {path: path.read_bytes() for path in copy.rglob("*.ipynb") if path.parent != running} == before
    assert not [path for path in copy.rglob("*.writing")]
    if number == signal.SIGTERM:
        assert said.splitlines() == ["stopped by SIGTERM; what is finished is kept, the same command goes on from there"]
        assert not running.exists()
        return
    edit(copy / "notebooks/01_first.py", "time.sleep(600)", "'end'")
    edit(copy / "notebooks/02_second.py", "time.sleep(600)", "'end'")
    for name in ("01_first", "02_second"):
        edit(copy / f"notebooks/{name}.py", "open('../held', 'w')", "open('../other', 'w')")
    assert sorted(ran(copy, capsys, jobs=2)) == ["01_first", "02_second"]
    assert build.publish(copy) == 0 and build.check(copy) == [] and not running.exists()


def ended(pipe: int) -> bool:
    """Whether no process holds the other end of a pipe."""
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def test_two_runs_share_no_temporary_name(copy, monkeypatch):
    """And what a run left that was killed is removed by the next."""
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    left = copy / "build/full/running" / str(dead.pid)
    left.mkdir(parents=True)
    (left / "01_first.ipynb").write_text("{")
    with build.own_folder(copy / "build/full") as own, files.renamed_to(copy / "new") as beside:
        assert not left.exists() and own.exists()
        monkeypatch.setattr(os, "getpid", os.getppid)
        with build.own_folder(copy / "build/full") as other, files.renamed_to(copy / "new") as another:
            assert own.exists() and own != other and beside != another
            another.write_text("second")
        beside.write_text("first")
    assert not own.exists() and not other.exists() and (copy / "new").read_text() == "first"


def test_progress_of_studies_is_shown_by_the_run(project, monkeypatch, capsys):
    """The kernel writes a file; it knows of no terminal."""
    shown = []

    class Bar(build.tqdm):
        def set_postfix_str(self, text="", refresh=True):
            shown.append(text)

    monkeypatch.setattr(build, "tqdm", Bar)
    cell = "import time\nopen(os.environ['RIEMLIB_PROGRESS'], 'w').write('3 20 train shards')\ntime.sleep(1)\n"
    cell += "os.write(2, b'to a terminal?')\nprint('RIEMLIB_TERMINAL' in os.environ, os.environ['JPY_SESSION_NAME'])"
    (project / "notebooks/02_second.py").write_text(f"# %%\nimport os\n{cell}\n")
    assert ran(project, capsys, only=["02_second"]) == ["02_second"]
    assert "02_second: train shards 3/20" in shown and shown[0] == ""
    assert text(project / "build/full/02_second.ipynb") == "False 02_second.ipynb\n"


def test_a_run_needs_a_job(project):
    with pytest.raises(ValueError, match="jobs is 0"):
        build.run(project, jobs=0)


def test_all_notebooks_are_counted_and_the_time_is_that_of_the_run_before(project, capsys):
    assert build.run(project) == 0
    assert "3 of 3 notebooks to run, profile full, 1 at a time; the first run, so how long it takes is not known" in capsys.readouterr().out
    for number, (name, seconds) in enumerate({"01_first": 60.0, "02_second": 240.0, "00_overview": 30.0}.items()):
        path = project / f"build/full/{name}.ipynb"
        nb = nbformat.read(path, as_version=4)
        build.write(nb, path, {**nb.metadata.riemlib, "seconds": seconds})
        os.utime(project / f"notebooks/{name}.py", (time.time() + number,) * 2)
    assert build.run(project, jobs=2) == 0
    assert "3 of 3 notebooks to run, profile full, 2 at a time; about 4 min, as the last run took" in capsys.readouterr().out


def test_the_first_run_after_a_clone_takes_the_published_times(copy, capsys):
    shutil.rmtree(copy / "build")
    assert build.run(copy) == 0
    assert "less than a minute, as the published run took" in capsys.readouterr().out
    assert build.run(copy, "quick", only=["01_first"]) == 0
    assert "1 of 1 notebooks to run, profile quick, 1 at a time; the first run" in capsys.readouterr().out


def test_a_terminal_shows_the_bar_and_the_time_left(copy):
    """And nothing else: no line of a kernel, of papermill or of a warning."""
    for name in ("01_first", "02_second", "00_overview"):
        os.utime(copy / f"notebooks/{name}.py", (time.time() + 60,) * 2)
    first = copy / "notebooks/01_first.py"
    edit(first, "print(seeds", "import os, warnings, time; time.sleep(1); warnings.warn('w'); os.write(2, b'stray'); print(seeds")
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 120))
    process = subprocess.Popen([sys.executable, "-c", RUN, str(copy)], stdout=its, stderr=its)
    os.close(its)
    said = b""
    with contextlib.suppress(OSError):  # what Linux raises at the end
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait() == 0
    shown = said.decode().replace("\r\n", "\n")
    assert "notebooks 0/3 |" in shown and "less than a minute left" in shown and "stray" not in shown
    stays = [line.split("\r")[-1] for line in shown.split("\n")]  # what the bar writes over is gone
    words = ("3 of 3", "01_first ", "02_second ", "00_overview ", "To read", "  ", "Decided", "Compared", "Claim by claim")
    assert [line for line in stays if line and not line.startswith(words)] == []


# A run with parameters that a reader gives.


def test_given_parameters_count_and_their_results_stay_apart(copy, capsys):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert ran(copy, capsys, only=["01_first"], settings=["seeds=7"]) == ["01_first"]
    assert text(copy / "build/custom/01_first.ipynb") == "14\n"
    nb = nbformat.read(copy / "build/custom/01_first.ipynb", as_version=4)
    assert nb.metadata.riemlib.profile == "custom"
    (claim,) = json.loads((copy / "build/custom/claims.json").read_text())
    assert claim["evidence"] == {"seeds": 7} and (copy / "build/custom/figures/figure_1.png").exists()
    assert {path: path.read_bytes() for path in before} == before
    assert ran(copy, capsys, only=["01_first"], settings=["seeds=7"]) == []
    assert ran(copy, capsys, only=["01_first"], settings=["seeds=8"], profile="quick", build=copy / "b") == ["01_first"]
    assert text(copy / "b/custom/01_first.ipynb") == "16\n"
    assert ran(copy, capsys, only=["01_first"], settings=["device=gpu"], profile="quick") == ["01_first"]
    assert text(copy / "build/custom/01_first.ipynb") == "2\n"  # the other parameters are those of the profile


def test_claims_of_given_parameters_are_those_of_one_run(copy, capsys):
    source = copy / "notebooks/02_second.py"
    edit(source, "# %%\nimport time", '# %% tags=["parameters"]\nwidth: int = 2  # of a layer\n\n# %%\nimport time')
    assert ran(copy, capsys, only=["01_first"], settings=["seeds=7"]) == ["01_first"]
    assert ran(copy, capsys, only=["02_second"], settings=["width=3"]) == ["02_second"]
    assert json.loads((copy / "build/custom/claims.json").read_text()) == []


def test_publish_takes_no_result_of_given_parameters(copy, capsys):
    before = (copy / "notebooks/01_first.ipynb").read_bytes()
    assert build.run(copy, only=["01_first"], settings=["seeds=4"]) == 0  # even where they are those of the notebook
    assert set(published(copy, capsys).values()) == {"is up to date"}
    for path in (copy / "notebooks/01_first.ipynb", copy / "build/full/01_first.ipynb"):
        path.unlink()
    shutil.copy(copy / "build/custom/01_first.ipynb", copy / "build/full/01_first.ipynb")
    assert "was made at the profile custom, not full" in published(copy, capsys)["01_first"]
    (copy / "notebooks/01_first.ipynb").write_bytes(before)
    assert [job.name for job in build.due(copy, copy / "build/full", "full", ["01_first"])] == ["01_first"]


def test_a_parameter_that_a_notebook_does_not_have_is_refused_with_the_meaning_of_those_it_has(copy):
    with pytest.raises(ValueError) as refused:
        build.run(copy, only=["01_first"], settings=["seed=7"])
    assert str(refused.value).splitlines() == [
        "01_first has no parameter seed; its parameters are",
        "  seeds: int = 4  networks",
        '  device: str = "cpu"  where they live',
    ]
    with pytest.raises(ValueError, match="00_overview has no parameter seeds|02_second has no parameter seeds"):
        build.run(copy, settings=["seeds=7"])  # each notebook must have it
    assert not (copy / "build/custom").exists()


# Damage.


def damage(path: Path, how: str) -> None:
    nb = json.loads(path.read_text())
    match how:
        case "list":
            nb = [1, 2]
        case "number":
            nb = 3
        case "other":
            nb = {"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        case "no version":
            del nb["nbformat"]
        case "metadata":
            nb["metadata"] = []
        case "stamp":
            nb["metadata"]["riemlib"] = "mine"
        case "id":
            record = next(o["data"] for cell in nb["cells"] for o in cell.get("outputs", []) if ledger.MIME in o.get("data", {}))
            del record[ledger.MIME]["id"]
        case "record":
            record = next(o["data"] for cell in nb["cells"] for o in cell.get("outputs", []) if ledger.MIME in o.get("data", {}))
            record[ledger.MIME] = ["gauge"]
    path.write_text({"half": json.dumps(nb)[:900], "empty": "", "binary": "\x93\0"}.get(how) or json.dumps(nb))
    if how == "empty":
        path.write_text("")


DAMAGE = ["list", "number", "other", "no version", "metadata", "stamp", "id", "record", "half", "empty", "binary"]


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_result_is_due_and_a_damaged_notebook_is_named(copy, capsys, how):
    result, path = copy / "build/full/01_first.ipynb", copy / "notebooks/01_first.ipynb"
    damage(result, how)
    assert [job.name for job in build.due(copy, copy / "build/full", "full", ["01_first", "02_second"])] == ["01_first"]
    assert build.executed(copy, copy / "build/full")[0] == path
    assert build.run(copy, only=["02_second"]) == 0
    assert "01_first.ipynb is damaged, its claims are left out" in capsys.readouterr().out
    damage(path, how)
    assert "01_first.ipynb: is damaged: make paper" in build.check(copy)
    assert not [line for line in build.check(copy) if line.startswith("README.md")]
    said = published(copy, capsys)
    assert said["01_first"] == "left alone: it is damaged: make paper" and said["README.md"] == "left alone: a notebook is damaged"


def test_a_run_redoes_results_that_are_damaged_or_show_other_outputs(copy, capsys):
    damage(copy / "build/full/02_second.ipynb", "list")
    edit(copy / "build/full/01_first.ipynb", '"8\\n"', '"9\\n"')
    assert sorted(ran(copy, capsys, jobs=2)) == ["01_first", "02_second"]
    assert build.check(copy) == []


def test_a_record_that_is_none_is_an_error_that_names_the_notebook(copy):
    damage(copy / "notebooks/01_first.ipynb", "id")
    with pytest.raises(ValueError, match=r"01_first.ipynb is damaged \(KeyError: 'id'\)"):
        ledger.gather([copy / "notebooks/01_first.ipynb"])


# Checking.


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
    assert any(line.startswith("01_first.ipynb: ") and word in line for line in build.check(copy))


def test_check_names_missing_and_orphaned_notebooks(copy):
    (copy / "notebooks/01_first.ipynb").rename(copy / "notebooks/03_gone.ipynb")
    problems = build.check(copy)
    assert "01_first.ipynb: is missing: make paper" in problems
    assert "03_gone.ipynb: has no source 03_gone.py" in problems


def test_check_wants_the_tables_of_the_readme(copy):
    edit(copy / "README.md", "| two |", "| three |")
    assert build.check(copy) == ["README.md: its tables are not those of the notebooks and the index: python -m riemlib publish"]
    edit(copy / "README.md", "| three |", "| two |")
    edit(copy / "README.md", "1 confirmed", "2 confirmed")
    assert [line.split(":")[0] for line in build.check(copy)] == ["README.md"]


# Publishing.


def published(root: Path, capsys) -> dict[str, str]:
    """What publish says about each file."""
    capsys.readouterr()
    assert build.publish(root) == 0
    return {line.split()[0]: " ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}


def test_publish_carries_prose_and_keeps_outputs(copy, capsys):
    edit(copy / "notebooks/01_first.py", "# # First", "# # The first\n#\n# Of two.")
    edit(copy / "notebooks/01_first.py", "# twice", "# two times")
    edit(copy / "notebooks/02_second.py", "'second'", "'other'")
    before = (copy / "notebooks/02_second.ipynb").read_bytes()
    assert published(copy, capsys) == {
        "01_first": "now has the text of its source",
        "02_second": "left alone: is stale, the code that made it has changed since: make paper",
        "00_overview": "is up to date",
        "README.md": "is up to date",
    }
    assert [line.split(":")[0] for line in build.check(copy)] == ["02_second.ipynb"] * 2
    assert "Of two." in (copy / "notebooks/01_first.ipynb").read_text()
    assert text(copy / "notebooks/01_first.ipynb") == "8\n"
    assert (copy / "notebooks/02_second.ipynb").read_bytes() == before
    assert [job.name for job in build.due(copy, copy / "build/full", "full", build.names(copy))] == ["02_second"]


def test_publish_carries_a_full_run_and_fills_the_readme(copy, finished, capsys):
    (copy / "notebooks/01_first.ipynb").unlink()
    path = copy / "notebooks/02_second.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.metadata.riemlib.seconds = 1e6  # of an earlier run
    path.write_text(nbformat.writes(nb))
    (copy / "notebooks/figure_1.png").unlink()
    (copy / "README.md").write_text(README)
    edit(copy / "notebooks/02_second.py", "import time", "import time  # to wait")
    said = published(copy, capsys)
    assert said["01_first"] == "now has the run in build/full" and said["README.md"] == "updated"
    assert said["02_second"] == "now has the text of its source"  # its run shows what is published
    assert nbformat.read(path, as_version=4).metadata.riemlib.seconds == 1e6
    assert build.check(copy) == []
    for name in ("README.md", "notebooks/01_first.ipynb", "notebooks/figure_1.png"):
        assert (copy / name).read_bytes() == (finished / name).read_bytes()
    assert set(published(copy, capsys).values()) == {"is up to date"}


def test_publish_carries_a_run_that_shows_something_else(copy, capsys):
    """On another machine digits may differ, with the same code: then the whole run is carried, so that its notebooks fit together."""
    result = copy / "build/full/02_second.ipynb"
    nb = nbformat.read(result, as_version=4)
    nb.cells[-1].outputs[0].text = "zweite\n"
    build.write(nb, result, {**nb.metadata.riemlib, "outputs": build.hashed(build.outputs(nb))})
    assert published(copy, capsys)["02_second"] == "now has the run in build/full"
    assert text(copy / "notebooks/02_second.ipynb") == "zweite\n" and build.check(copy) == []


def test_a_run_leaves_tracked_files_alone_and_says_how_it_compares(copy, capsys):
    edit(copy / "notebooks/02_second.py", "print('second')", "print('other')")
    before = {path: path.read_bytes() for path in (copy / "notebooks").iterdir()} | {copy / "README.md": (copy / "README.md").read_bytes()}
    assert build.run(copy) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert "1 of 1 verdicts agree, 1 records are equal to the digit" in capsys.readouterr().out
    assert "gauge" in (copy / "build/compare.html").read_text()


def test_publish_carries_no_run_of_other_code(copy, capsys):
    for folder in ("notebooks", "build/full"):
        (copy / folder / "01_first.ipynb").unlink()
    shutil.copy(copy / "build/full/02_second.ipynb", copy / "build/full/01_first.ipynb")
    said = published(copy, capsys)
    assert said["01_first"].startswith("left alone: is stale") and not (copy / "notebooks/01_first.ipynb").exists()
    (copy / "build/full/01_first.ipynb").unlink()
    assert published(copy, capsys)["01_first"] == "left alone: it was not executed yet (make paper)"


# An archive of a version.


@pytest.fixture
def committed(copy) -> Path:
    """The toy project after a full run, as a git repository."""
    (copy / "pyproject.toml").write_text('[project]\nversion = "3.1.4"\n')
    (copy / ".gitignore").write_text("build/\n__pycache__/\n")
    commit(copy, init=True)
    return copy


def commit(root: Path, init: bool = False) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for command in [["init", "-q"]] * init + [["add", "-A"], [*who, "commit", "-qm", "m"]]:
        archive.git(root, *command)


def test_an_archive_has_the_commit_the_claims_and_digests_that_a_reader_can_check(committed):
    path = archive.archive(committed)
    assert path == committed / "build/riemlib-3.1.4.zip"
    with zipfile.ZipFile(path) as file:
        file.extractall(committed / "build/elsewhere")
    folder = committed / "build/elsewhere/riemlib-3.1.4"
    tracked = archive.git(committed, "ls-files").splitlines()
    assert {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} == {*tracked, "claims.json", "SHA256SUMS"}
    assert [claim["id"] for claim in json.loads((folder / "claims.json").read_text())] == ["gauge"]
    digests = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(digests) == {"claims.json", *(f"notebooks/{name}.ipynb" for name in ALL)}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in digests.items())
    before = path.read_bytes()
    assert archive.archive(committed).read_bytes() == before


def test_no_archive_of_what_is_not_committed_or_stale(committed, capsys):
    edit(committed / "notebooks/02_second.py", "'second'", "'other'")
    with pytest.raises(ValueError, match="these files are not:\n M notebooks/02_second.py$"):
        archive.archive(committed)
    commit(committed)
    with pytest.raises(ValueError, match="02_second.ipynb: is stale"):
        archive.archive(committed)
    shutil.rmtree(committed / ".git")
    with pytest.raises(ValueError, match="git status fails"):
        archive.archive(committed)
    assert not list((committed / "build").glob("*.zip"))


def test_the_command_archive_says_where_the_file_is(committed, monkeypatch, capsys):
    monkeypatch.setattr(archive, "archive", functools.partial(archive.archive, committed))
    assert main(["archive"]) == 0 and "riemlib-3.1.4.zip has the code, the executed notebooks" in capsys.readouterr().out
    (committed / "new").write_text("")
    assert main(["archive"]) == 2 and "an archive holds what is committed" in capsys.readouterr().err


# The command line.


@pytest.mark.parametrize(
    ("arguments", "function", "expected"),
    [
        (["run"], "run", {}),
        (["run", "04_1_metric", "--jobs", "2", "--build", "b"], "run", {"build": Path("b"), "only": ["04_1_metric"], "jobs": 2}),
        (["run", "--profile", "quick"], "run", {"profile": "quick"}),
        (["run", "04_1_metric", "-p", "a=1", "--parameter", "b=x=y"], "run", {"only": ["04_1_metric"], "settings": ["a=1", "b=x=y"]}),
        (["publish"], "publish", {}),
    ],
)
def test_the_command_line_passes_its_arguments_on(monkeypatch, arguments, function, expected):
    default = {"profile": "full", "build": None, "only": [], "jobs": 1, "settings": []} if function == "run" else {}
    monkeypatch.setattr(build, function, lambda **given: 0 if given == default | expected else 3)
    assert main(arguments) == 0


def test_the_scheduler_is_told_to_the_kernels_and_to_no_one_else(monkeypatch):
    monkeypatch.delenv("RIEMLIB_SCHEDULER", raising=False)
    monkeypatch.setattr(build, "run", lambda **given: os.environ["RIEMLIB_SCHEDULER"] == "tcp://host:1")
    assert main(["run", "--scheduler", "tcp://host:1"]) == 1 and "RIEMLIB_SCHEDULER" not in os.environ


@pytest.mark.parametrize("edit", [False, True])
def test_lab_starts_without_a_page_of_messages(monkeypatch, edit):
    found = []
    monkeypatch.setattr(lab, "lab", lambda edit, arguments: found.append((edit, *arguments, os.environ["PYTHONWARNINGS"])) or 0)
    assert main(["lab", *["--edit"] * edit]) == 0
    assert found == [(edit, "--log-level=WARN", "ignore:Overriding existing pre_save_hook")]


def test_the_command_line_says_what_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(build, "check", lambda: [])
    assert main(["check"]) == 0 and "those of today's code" in capsys.readouterr().out
    monkeypatch.setattr(build, "check", lambda: ["one", "two"])
    assert main(["check"]) == 1 and capsys.readouterr().out == "one\ntwo\n"
    assert main(["run", "09_nowhere"]) == 2 and "there is no notebook 09_nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_a_signal_ends_a_command_in_one_line(monkeypatch, capsys, number, code, name):
    monkeypatch.setattr(build, "check", lambda: os.kill(os.getpid(), number) or time.sleep(10))
    before = signal.getsignal(number)
    assert main(["check"]) == code
    assert capsys.readouterr().err == f"stopped by {name}; what is finished is kept, the same command goes on from there\n"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("function", ["write_text", "mkdir"])
def test_a_file_that_cannot_be_written_ends_a_run_in_one_line(copy, monkeypatch, capsys, function):
    """A full disk, or a tree that is read-only. Nothing is left half written."""
    (copy / "build/full/claims.json").write_text("[]")

    def full(path, *_, **__):
        if function == "write_text":
            path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    run = build.run
    monkeypatch.setattr(build, "run", lambda **given: run(copy, build=copy / "build"))
    monkeypatch.setattr(Path, function, full)
    assert main(["run"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("stopped, a file or folder cannot be used: [Errno 28] No space left on device")
    assert (copy / "build/full/claims.json").read_text() == "[]" and not list(copy.rglob("*.writing"))


@pytest.mark.parametrize(("output", "code", "lines"), [("a pipe nobody reads", 141, 0), ("/dev/full", 1, 1)])
def test_an_output_that_is_closed_or_full_ends_without_a_traceback(output, code, lines):
    run = "import sys, riemlib.__main__ as command; command.build.check = lambda: ['line'] * 99999; sys.exit(command.main(['check']))"
    if output == "/dev/full":
        if not os.path.exists(output):
            pytest.skip("no /dev/full")
        end = os.open(output, os.O_WRONLY)
    else:
        other, end = os.pipe()
        os.close(other)
    process = subprocess.run([sys.executable, "-c", run], stdout=end, stderr=subprocess.PIPE, text=True)
    os.close(end)
    assert process.returncode == code and len(process.stderr.splitlines()) == lines, process.stderr


def test_the_committed_notebooks_are_those_of_todays_code():
    problems = build.check()
    assert not problems, "\n".join(problems)
