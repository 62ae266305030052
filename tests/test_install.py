"""pip, quiet but with progress: what a reader sees in the minutes of the install."""

import os
import pty
import subprocess
import sys
import sysconfig
import termios
from pathlib import Path

import pytest

from riemlib.companion import install

FILE = Path(install.__file__)
PIP_SAYS = """\
Collecting six==1.17.0 (from -r requirements.lock (line 3))
  Obtaining dependency information for six==1.17.0
  Downloading six-1.17.0-py2.py3-none-any.whl.metadata (1.8 kB)
Requirement already satisfied: tqdm==4.70.1
Processing /wheels/numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (from -r requirements.lock (line 5))
Downloading https://example.org/wheels/scikit_learn-1.9.1-cp311-manylinux_2_27_x86_64.whl (9.1 MB)
"""


def test_how_far_pip_is():
    assert install.step("", 9, 0) == "found 0 of 9"
    assert install.step(PIP_SAYS, 9, 0) == "found 3 of 9; downloading scikit_learn (9.1 MB)"
    assert install.step(PIP_SAYS + "Installing collected packages: six, numpy\n", 9, 1) == "unpacked 1 of 9"


STUB = """#!/bin/sh
# A Python that is asked for pip, and installs two packages slowly or fails.
echo "Collecting one==1"; sleep 1
echo "Installing collected packages: one, two"; mkdir "{site}/one-1.dist-info"; sleep 1
[ -z "$FAILS" ] || {{ echo "ERROR: the disk is full" >&2; exit 7; }}
"""


@pytest.fixture
def stub(tmp_path, monkeypatch) -> Path:
    """The lock file of an install whose pip is a stub."""
    (tmp_path / "site").mkdir()
    (tmp_path / "python").write_text(STUB.format(site=tmp_path / "site"))
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "site"))
    (tmp_path / "requirements.lock").write_text("# two\none==1\ntwo==2\n")
    return tmp_path / "requirements.lock"


def test_each_step_is_a_line_where_there_is_no_terminal(stub, capsys):
    assert install.main(str(stub)) == 0
    said = capsys.readouterr()
    lines = [f"installing 2 packages into {stub.parent}, which takes a few minutes", "  found 1 of 2", "  unpacked 1 of 2"]
    assert said.out.splitlines()[0] == lines[0] and [line for line in said.out.splitlines() if line in lines] == lines and not said.err
    assert len(said.out.splitlines()) <= 4  # with the first look, before pip says a word


def test_what_pip_said_is_shown_where_it_fails(stub, capsys, monkeypatch):
    monkeypatch.setenv("FAILS", "yes")
    assert install.main(str(stub)) == 7
    assert "ERROR: the disk is full" in capsys.readouterr().err and "ERROR" in (stub.parent / "pip.log").read_text()


def test_on_a_terminal_one_line_changes(stub):
    """And no line of pip is seen."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 120))
    with open(its, "w") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert install.main(str(stub)) == 0
        terminal.flush()
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert shown.count("\n") == 1 and "s  found 1 of 2" in shown and "s  unpacked 1 of 2" in shown and "Collecting" not in shown


def test_it_needs_no_package_and_is_not_confused_by_the_modules_beside_it():
    """`statistics` of the companion is not that of the standard library."""
    command = [sys.executable, "-P", "-S", "-c", f"import runpy; runpy.run_path({str(FILE)!r}); import statistics; statistics.fmean"]
    subprocess.run(command, check=True, cwd=FILE.parent, env={"PATH": os.environ["PATH"]})
