"""JupyterLab on a working copy of the notebooks: `python -m riemlib lab`.

The copy is build/lab/notebooks. A reader may run and save there: no tracked file changes. It is kept between starts. A notebook that its
reader did not change is refreshed when the published one changes; one that its reader did change stays as it is.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .files import renamed_to
from .provenance import ROOT

CONFIG = """\
# Written by `make lab`. Lab saves a notebook without its widgets: they need the kernel that made them, and the picture stands there.
import warnings

VIEW = "application/vnd.jupyter.widget-view+json"
warnings.filterwarnings("ignore", "Overriding existing pre_save_hook")  # jupytext reads this file once more


def without_widgets(model, **kwargs):
    if model["type"] == "notebook" and model.get("content"):
        for cell in model["content"]["cells"]:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    output["data"].pop(VIEW, None)
            if "outputs" in cell:
                cell["outputs"] = [output for output in cell["outputs"] if VIEW not in output.get("data", {})]
        model["content"]["metadata"].pop("widgets", None)


c.FileContentsManager.pre_save_hook = without_widgets  # noqa: F821
"""
#: As in pyproject.toml, which Lab does not read from here. The filters themselves are not written into a source, and a notebook and its
#: source may differ in their dates, by seconds.
JUPYTEXT = {
    "formats": "ipynb,py:percent",
    "notebook_metadata_filter": "kernelspec,jupytext,-jupytext.text_representation.jupytext_version,"
    "-jupytext.notebook_metadata_filter,-jupytext.cell_metadata_filter",
    "cell_metadata_filter": "tags,-all",
    "outdated_text_notebook_margin": 1e9,
}
SETTINGS = {
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"python": "Jupytext Notebook"}},
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},  # no question, nothing loaded
}


def refresh(root: Path = ROOT, folder: Path | None = None) -> list[str]:
    """Brings the working copy up to date and returns the names of the notebooks that its reader changed, which stay as they are.

    A notebook is a pair of files, and is copied as a pair, with one date. What was copied is noted in build/lab/copied.json.
    """
    folder = folder or root / "build" / "lab"
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    note, changed = folder / "copied.json", []
    try:
        copied = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        copied = {}
    for source in sorted((root / "notebooks").glob("*.py")):
        name, pair = source.stem, [source, source.with_suffix(".ipynb")]
        pair = [file for file in pair if file.exists()]
        here = [folder / "notebooks" / file.name for file in pair]
        present = digest([file for file in here if file.exists()])
        if any(file.exists() for file in here) and present != copied.get(name):
            changed.append(name)
        elif present != (published := digest(pair)):
            for file, to in zip(pair, here, strict=True):
                shutil.copyfile(file, to)
                os.utime(to, (source.stat().st_mtime,) * 2)
            copied[name] = published
    with renamed_to(note) as beside:
        beside.write_text(json.dumps(copied, indent=1), encoding="utf-8")
    return changed


def digest(files: list[Path]) -> str:
    """Of the contents of a pair of files."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def configure(folder: Path) -> None:
    """Writes the settings of Lab, of its server and of jupytext into the folder of the working copy."""
    settings = folder / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(SETTINGS, indent=1), encoding="utf-8")
    config = f"{CONFIG}c.JupytextConfiguration.update({JUPYTEXT!r})\n"  # for notebooks/ itself
    (folder / "config" / "jupyter_server_config.py").write_text(config, encoding="utf-8")
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in JUPYTEXT.items()]  # for the copy, before any of the reader's own
    (folder / "notebooks" / "jupytext.toml").write_text("".join(lines), encoding="utf-8")


def lab(edit: bool = False, root: Path = ROOT, arguments: tuple[str, ...] = ()) -> int:
    """Opens JupyterLab on the working copy, or with `edit` on notebooks/ itself, for maintainers. Returns its exit code."""
    folder = root / "build" / "lab"
    changed = refresh(root, folder)
    configure(folder)
    opened = root / "notebooks" if edit else folder / "notebooks"
    if edit:
        print("JupyterLab opens notebooks/ itself: what you save there changes tracked files.")
    else:
        print(f"JupyterLab opens a working copy, {os.path.relpath(opened)}: run and save what you like.")
        print("To start afresh, delete a notebook there (NAME.py and NAME.ipynb) and run `make lab` again.")
        print("An edit stays there until you delete it, or until `make clean`. To keep it for good, copy it elsewhere.")
        print(*(f"{name}: you changed it, so it stays as it is" for name in changed), sep="\n", end="\n" if changed else "")
    paths = os.pathsep.join(filter(None, [str(folder / "config"), os.environ.get("JUPYTER_CONFIG_PATH")]))
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "jupyter", "lab", str(opened), *arguments]
    return subprocess.run(command, env={**os.environ, "JUPYTER_CONFIG_PATH": paths, "PYTHONPATH": path}).returncode
