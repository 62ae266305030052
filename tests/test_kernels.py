"""Kernels that start side by side: their files, and what happens when one dies before its first cell."""

import json
import os
import socket
import tempfile
from pathlib import Path

import nbformat
import nbval.kernel
import pytest
from jupyter_client.connect import LocalPortCache

from riemlib.companion import build, kernels

CELL = "# %%\nimport json, sys\n\nprint(sys.argv[sys.argv.index('-f') + 1])\nprint(open(sys.argv[sys.argv.index('-f') + 1]).read())\n"
AGAIN = "its kernel died before the first cell; started once more"

# Python reads it as the kernel starts: as often as the file `deaths` says, the kernel dies.
DEADLY = """
import os, pathlib

left = pathlib.Path(os.environ["DEATHS"])
if count := int(left.read_text()):
    left.write_text(str(count - 1))
    os.write(2, b"why it died")
    os._exit(1)
"""


@pytest.fixture
def deaths(tmp_path, monkeypatch) -> Path:
    """A project of two notebooks; the file that says how many of the kernels it starts die."""
    for name, text in {
        "notebooks/01_first.py": CELL,
        "notebooks/02_second.py": CELL,
        "requirements.lock": "",
        "sitecustomize.py": DEADLY,
        "deaths": "0",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("DEATHS", str(tmp_path / "deaths"))
    return tmp_path / "deaths"


@pytest.fixture
def tcp(monkeypatch) -> None:
    """A machine without unix sockets."""
    monkeypatch.setattr(kernels, "takes_sockets", lambda folder: False)


def connection(root: Path, name: str) -> tuple[Path, dict]:
    """The connection file of the kernel that ran a notebook, and what it held."""
    path = root / "build" / "full" / f"{name}.ipynb"
    (cell,) = nbformat.read(path, as_version=4).cells
    file, _, text = cell.outputs[0].text.partition("\n")
    return Path(file), json.loads(text)


def test_a_run_gives_each_kernel_sockets_in_a_folder_of_its_own_and_removes_it(deaths, capsys):
    assert build.run(deaths.parent) == 0
    (first, how), (second, other) = (connection(deaths.parent, name) for name in ("01_first", "02_second"))
    assert how["transport"] == other["transport"] == "ipc"
    assert how["ip"] == str(first.with_name("k-ipc")) and first.parent != second.parent
    assert not first.parent.exists() and not second.parent.exists()
    assert "started once more" not in capsys.readouterr().out


def test_without_unix_sockets_a_run_uses_tcp(deaths, tcp):
    assert build.run(deaths.parent, only=["01_first"]) == 0
    file, how = connection(deaths.parent, "01_first")
    assert how["transport"] == "tcp" and not file.parent.exists()


def test_a_kernel_that_dies_before_its_first_cell_is_started_once_more_and_the_run_says_so(deaths, capsys):
    deaths.write_text("1")
    assert build.run(deaths.parent) == 0
    out = capsys.readouterr().out.splitlines()
    assert out.count(f"01_first: {AGAIN}") == 1 and f"02_second: {AGAIN}" not in out
    assert not connection(deaths.parent, "01_first")[0].parent.exists()


def test_one_that_dies_twice_fails_with_a_clear_line_and_the_others_run(deaths, capfd):
    deaths.write_text("2")
    assert build.run(deaths.parent) == 1
    out, err = capfd.readouterr()
    assert out.count(AGAIN) == 1 and err == ""
    (line,) = [line for line in out.splitlines() if "RuntimeError: its kernel died twice before the first cell (Kernel died" in line]
    assert line.endswith("; the last that its kernel wrote: why it died")
    assert connection(deaths.parent, "02_second")
    assert not (deaths.parent / "build/full/01_first.ipynb").exists()


def test_a_cell_that_kills_its_kernel_is_not_run_again_and_the_other_notebooks_run(deaths, capsys):
    text = "# %%\nimport os\n\nopen('begun', 'a').write('x')\nos.kill(os.getpid(), 9)\n"
    (deaths.parent / "notebooks/01_first.py").write_text(text)
    assert build.run(deaths.parent, jobs=2) == 1
    assert (deaths.parent / "notebooks/begun").read_text() == "x"
    out = capsys.readouterr().out
    assert AGAIN not in out and "DeadKernelError: Kernel died" in out
    assert connection(deaths.parent, "02_second")


def test_kernels_have_their_own_variables_and_folder_and_none_starts_after_the_end(tmp_path):
    started = kernels.Kernels()
    notebook, managers = nbformat.v4.new_notebook(), []
    notebook.cells = [nbformat.v4.new_code_cell("import os\nprint(os.environ['OWN'], os.getcwd())")]
    for own in ("a", "b"):
        managers.append(started.manager(tmp_path, {"OWN": own}, tmp_path / "log"))
    path = tmp_path / "b.ipynb"
    kernels.execute(notebook, path, {}, print, managers[1], progress_bar=False, kernel_name="python3")
    assert nbformat.read(path, as_version=4).cells[0].outputs[0].text.split()[:2] == ["b", str(tmp_path)]
    assert "OWN" not in os.environ
    started.end()
    with pytest.raises(RuntimeError, match="the run was stopped"):
        kernels.execute(notebook, path, {}, lambda _: None, managers[0], progress_bar=False, kernel_name="python3")


def test_two_managers_have_different_folders_which_go_with_them():
    one, two = kernels.PapermillKernel(kernel_name="python3"), kernels.NbvalKernel(kernel_name="python3")
    folders = [one.folder, two.folder]
    assert one.transport == two.transport == "ipc" and folders[0] != folders[1]
    for manager in (one, two):
        assert Path(manager.connection_file).parent == manager.folder and manager.ip.startswith(str(manager.folder))
    del one, two, manager
    assert not [folder for folder in folders if folder.exists()]


def test_a_path_too_long_for_a_socket_is_found_out(tmp_path):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    short = Path(tempfile.mkdtemp())
    assert kernels.takes_sockets(short) and not kernels.takes_sockets(long)
    assert not list(long.iterdir())
    short.rmdir()  # nothing is left in it


def test_a_long_temporary_folder_leads_to_a_short_one(tmp_path, monkeypatch):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder, transport = kernels.own_folder()
    assert transport == "ipc" and not folder.is_relative_to(long) and not list(long.iterdir())
    folder.rmdir()
    monkeypatch.setattr(kernels, "takes_sockets", lambda folder: False)
    folder, transport = kernels.own_folder()
    assert transport == "tcp" and folder.is_dir()


def test_nbval_has_these_kernels():
    manager, client = nbval.kernel.start_new_kernel(stderr=open(os.devnull, "w"))
    folder = manager.folder
    assert isinstance(manager, kernels.NbvalKernel) and manager.transport == "ipc"
    assert {path.name for path in folder.iterdir()} == {"k.json", *(f"k-ipc-{port}" for port in range(1, 6))}
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert not folder.exists()


def test_over_tcp_a_kernel_whose_port_is_taken_is_started_again_with_new_ports(tcp, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken, find, given = other.getsockname()[1], LocalPortCache.find_available_port, []

        def find_available_port(cache, ip: str) -> int:
            given.append(find(cache, ip) if given else taken)
            return given[-1]

        monkeypatch.setattr(LocalPortCache, "find_available_port", find_available_port)
        with pytest.warns(UserWarning, match="started once more"):
            manager, client = nbval.kernel.start_new_kernel(stderr=open(os.devnull, "w"))
        assert manager.transport == "tcp" and sorted(manager.ports) == sorted(given[5:]) and taken in given[:5]
        client.stop_channels()
        manager.shutdown_kernel(now=True)
