"""JupyterLab's working copy: free to run and save in, refreshed where its reader changed nothing, and every notebook of it opens."""

import json
import os
import shutil
import time
import tomllib
from pathlib import Path

import jupytext
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from traitlets.config import Config

from riemlib.companion import lab
from riemlib.companion.provenance import ROOT

NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.py"))


@pytest.fixture
def project(tmp_path) -> Path:
    """Two notebooks with their pairs."""
    (tmp_path / "notebooks").mkdir()
    for name in ("01_first", "02_second"):
        (tmp_path / f"notebooks/{name}.py").write_text(f"# %%\nprint('{name}')\n")
        (tmp_path / f"notebooks/{name}.ipynb").write_text(json.dumps({"cells": [], "name": name}))
    return tmp_path


def copy_of(project: Path, name: str) -> str:
    return (project / f"build/lab/notebooks/{name}").read_text()


def test_a_notebook_is_copied_as_a_pair_with_one_date(project):
    assert lab.refresh(project) == []
    assert copy_of(project, "01_first.py") == "# %%\nprint('01_first')\n" and "02_second" in copy_of(project, "02_second.ipynb")
    dates = {path.stat().st_mtime for path in (project / "build/lab/notebooks").glob("01_first.*")}
    assert len(dates) == 1


def test_what_the_reader_did_not_change_is_refreshed(project):
    lab.refresh(project)
    (project / "notebooks/01_first.py").write_text("# %%\nprint('new')\n")
    assert lab.refresh(project) == []
    assert "new" in copy_of(project, "01_first.py")


@pytest.mark.parametrize("suffix", ["py", "ipynb"])
def test_what_the_reader_changed_stays_until_it_is_deleted(project, suffix):
    lab.refresh(project)
    (project / f"build/lab/notebooks/01_first.{suffix}").write_text("mine")
    (project / "notebooks/01_first.py").write_text("# %%\nprint('new')\n")
    assert lab.refresh(project) == ["01_first"]
    assert lab.refresh(project) == ["01_first"] and copy_of(project, f"01_first.{suffix}") == "mine"
    for path in (project / "build/lab/notebooks").glob("01_first.*"):
        path.unlink()
    assert lab.refresh(project) == [] and "new" in copy_of(project, "01_first.py")


def test_a_damaged_note_loses_no_edit(project):
    lab.refresh(project)
    (project / "build/lab/notebooks/01_first.py").write_text("mine")
    (project / "build/lab/copied.json").write_text("{")
    assert "01_first" in lab.refresh(project) and copy_of(project, "01_first.py") == "mine"


def test_jupytext_pairs_as_in_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["jupytext"]
    assert all(lab.JUPYTEXT[key].startswith(value) for key, value in project.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_a_fixed_point_of_jupytext(name):
    """What Lab writes when nothing was edited is the source, but for the version of jupytext, which the settings leave out."""
    text = (ROOT / f"notebooks/{name}.py").read_text(encoding="utf-8")
    written = jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="py:percent")
    assert [line for line in written.splitlines() if "jupytext_version" not in line] == text.splitlines()


@pytest.fixture(scope="module", params=["the working copy", "notebooks/ itself"])
def contents(tmp_path_factory, request):
    """The contents manager that Lab uses, on the real notebooks, whose outputs are a day newer than their sources.

    On the copy it reads the settings of the folder, on notebooks/ those of the server.
    """
    folder = tmp_path_factory.mktemp("lab")
    lab.refresh(ROOT, folder)
    lab.configure(folder)
    for path in (folder / "notebooks").glob("*.ipynb"):
        os.utime(path, (time.time() + 86400,) * 2)
    settings = Config()
    if request.param == "notebooks/ itself":
        (folder / "notebooks/jupytext.toml").unlink()
        exec((folder / "config/jupyter_server_config.py").read_text(encoding="utf-8"), {"c": settings})
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(config=settings)
    manager.root_dir = str(folder / "notebooks")
    return manager


@pytest.mark.parametrize("suffix", ["py", "ipynb"])
@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_opens_is_saved_without_a_change_of_its_source_and_opens_again(contents, name, suffix):
    source = Path(contents.root_dir) / f"{name}.py"
    before = source.read_text(encoding="utf-8")
    model = contents.get(f"{name}.{suffix}", type="notebook")
    assert any(cell["cell_type"] == "code" for cell in model["content"]["cells"])
    assert any(cell.get("outputs") for cell in model["content"]["cells"])  # those of the pair
    contents.save(model, f"{name}.{suffix}")
    assert source.read_text(encoding="utf-8") == before
    cells = [cell.source for cell in jupytext.reads(before, fmt="py:percent").cells]
    for each in ("py", "ipynb"):
        again = contents.get(f"{name}.{each}", type="notebook")
        assert [cell["source"] for cell in again["content"]["cells"]] == cells


def test_a_saved_notebook_keeps_its_pictures_and_no_widget():
    names = {"c": type("Config", (), {"FileContentsManager": type("Manager", (), {})})}
    exec(lab.CONFIG, names)
    view = {"data": {names["VIEW"]: {"model_id": "1"}}}
    both = {"data": {names["VIEW"]: {"model_id": "2"}, "image/png": "abc"}}
    content = {
        "cells": [{"outputs": [view, both, {"data": {"text/plain": "x"}}]}, {"source": "prose"}],
        "metadata": {"widgets": {"state": {}}},
    }
    names["without_widgets"]({"type": "notebook", "content": content})
    assert content["cells"][0]["outputs"] == [{"data": {"image/png": "abc"}}, {"data": {"text/plain": "x"}}]
    assert content["metadata"] == {}


@pytest.mark.parametrize("edit", [False, True])
def test_lab_is_started_on_the_copy_or_on_the_notebooks(project, monkeypatch, capsys, edit):
    started = []
    monkeypatch.setattr(lab.subprocess, "run", lambda command, env: started.append((command, env)) or type("Done", (), {"returncode": 0}))
    assert lab.lab(edit, project) == 0
    (command, env) = started[0]
    assert command[-1] == str(project / ("notebooks" if edit else "build/lab/notebooks"))
    assert env["JUPYTER_CONFIG_PATH"].startswith(str(project / "build/lab/config"))
    said = capsys.readouterr().out
    assert ("tracked files" in said) == edit and ("To start afresh" in said) != edit
    shutil.rmtree(project / "build")
