"""The files that tools read agree with one another, and the notebooks keep their conventions."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import papermill
import pytest
import yaml
from packaging.requirements import Requirement

from riemlib.companion import build
from riemlib.companion.provenance import modules_used, parsed

ROOT = build.ROOT
TARGETS = {"help", "paper", "multiverse", "publish", "archive", "test", "check", "lab", "site", "bench", "clean"}
NOTEBOOKS = build.names(ROOT)
LONGEST, WIDEST = 20, 120  # a cell of a notebook, in lines and characters


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> dict[str, str]:
    lines = [line for line in read("requirements.lock").splitlines() if line and not line.startswith("#")]
    return {normal(name): version for name, version in (line.split("==") for line in lines)}


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]


def test_the_lock_pins_plain_versions():
    assert lock()["torch"] == "2.13.0"
    assert not [version for version in lock().values() if not re.fullmatch(r"[0-9][0-9a-z.]*", version)]  # so no +cpu either
    assert not {"pip", "setuptools", "wheel", "riemlib"} & set(lock())


def test_the_lock_holds_what_the_project_depends_on():
    extras = [name for extra, group in PROJECT["optional-dependencies"].items() if extra != "bench" for name in group]
    named = {normal(re.match(r"[\w.-]+", name)[0]) for name in PROJECT["dependencies"] + extras}
    assert named <= set(lock())


def test_the_extra_for_the_bench_is_pinned_and_not_in_the_lock():
    pins = [Requirement(text) for text in PROJECT["optional-dependencies"]["bench"]]
    assert all(re.fullmatch(r"==[\d.]+", str(pin.specifier)) for pin in pins) and not {normal(pin.name) for pin in pins} & set(lock())


def test_the_lock_holds_what_its_packages_need():
    """But for what a build of torch adds, and the tools that install."""
    found = {normal(d.metadata["Name"]): d for d in metadata.distributions()}
    needs = [Requirement(text) for name in set(lock()) & set(found) - {"torch"} for text in found[name].requires or ()]
    named = {normal(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})}
    assert len(named) > 50 and named - set(lock()) <= {"pip", "setuptools"}


def test_packages_here_are_those_of_the_lock():
    found = {normal(d.metadata["Name"]): d.version.partition("+")[0] for d in metadata.distributions()}
    assert {name: found[name] for name in lock() if name in found} == {name: version for name, version in lock().items() if name in found}


def test_conda_and_make_install_from_the_same_lock():
    packages = yaml.safe_load(read("environment.yml"))["dependencies"]
    assert packages == ["python=3.11", "pip", {"pip": ["-r requirements.lock", "-e ."]}]
    assert PROJECT["requires-python"] == ">=3.11"
    assert re.search(r"-P riemlib/companion/install.py requirements\.lock$", read("Makefile"), re.MULTILINE)
    assert re.search(r"pip install .*--no-deps .*-e \.$", read("Makefile"), re.MULTILINE)


def test_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"] == "MIT"
    (work,) = citation["references"]
    assert work["title"] == "Principles of Riemannian Geometry in Neural Networks"
    assert [author["family-names"] for author in work["authors"]] == ["Hauser", "Ray"]
    assert (work["start"], work["end"], work["year"]) == (2807, 2816, 2017)


def test_licences():
    assert read("LICENSE").startswith("MIT License")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in read("LICENSE-TEXT")


def test_ci_runs_make_test():
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert "set -euo pipefail" in read(".ci/run") and read(".ci/run").rstrip().endswith("make test")


def test_the_hosted_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML reads the word `on` as true
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    assert python == "3.11"  # that of environment.yml, and the least that pyproject.toml takes
    (kept,) = [step["with"]["path"].split() for step in job["steps"] if step.get("if") == "failure()"]
    assert kept == ["build/**/*.failed.ipynb", "build/**/compare.html"]


def test_the_changelog_has_this_version_first():
    versions = re.findall(r"^## ([\d.]+)", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == re.sub(r"\.dev\d+$", "", PROJECT["version"]) and versions[-1] == "1.0.0"
    in_preparation = re.search(r"^## .*in preparation", read("CHANGELOG.md"), re.MULTILINE)
    assert bool(in_preparation) == (".dev" in PROJECT["version"])


def test_make_alone_lists_the_targets():
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == TARGETS


PACKAGES = ["riemlib/companion/install.py", "pip"]  # first those of the lock, then this one
STUB = """#!/bin/sh
# A Python that only writes down what it was asked for, and fails at what the file `fails` names.
echo "$*" >> calls
case "$*" in
    -c*) exec "{python}" -c 'import sys; sys.version_info = tuple(map(int, open("version").read().split("."))); exec(sys.argv[1])' "$2" ;;
    *venv*) rm -rf .venv; mkdir -p .venv/bin; cp python .venv/bin/python ;;
    *"$(cat fails)"*) exit 1 ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """`make install` in a folder with a stub for Python: returns what it was asked for, or the error."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(STUB.format(python=sys.executable))
    (tmp_path / "python").chmod(0o755)

    def call(version: str = "3.11.0", fails: str = "nothing") -> list[str] | str:
        (tmp_path / "version").write_text(version)
        (tmp_path / "fails").write_text(fails)
        (tmp_path / "calls").write_text("")
        made = subprocess.run(["make", "install", "PYTHON=./python"], cwd=tmp_path, capture_output=True, text=True)
        asked = [line for line in (tmp_path / "calls").read_text().splitlines() if not line.startswith("-c")]
        return asked if made.returncode == 0 else made.stderr

    call.folder = tmp_path
    return call


def test_install_is_done_once_and_again_when_the_lock_changes(install):
    first = install()
    assert [line.split()[1] for line in first] == ["venv", *PACKAGES]
    assert install() == []
    for name in ("requirements.lock", "pyproject.toml"):
        os.utime(install.folder / ".venv/.installed", (0, 0))
        for other in ("requirements.lock", "pyproject.toml"):
            os.utime(install.folder / other, (0, 0))
        assert install() == []
        os.utime(install.folder / name)
        assert [line.split()[1] for line in install()] == PACKAGES


@pytest.mark.parametrize("step", ["requirements.lock", "-e ."])
def test_an_install_cut_off_starts_afresh(install, step):
    for _ in range(2):  # the first install, and one after a change of the lock file
        assert isinstance(install(fails=step), str)
        assert [line.split()[1] for line in install()] == ["venv", *PACKAGES]
        assert install() == []
        os.utime(install.folder / ".venv/.installed", (0, 0))


def test_an_old_python_is_refused(install):
    error = install(version="3.10.9")
    assert "Python 3.11 or newer is needed" in error and "PYTHON=" in error
    assert not (install.folder / ".venv").exists()


def test_an_environment_of_yours_is_left_as_it_is(install):
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", "-n", "paper", "VENV=/elsewhere"]
    plan = subprocess.run(command, cwd=install.folder, env=outside, capture_output=True, text=True, check=True).stdout
    assert plan.startswith("/elsewhere/bin/python -m riemlib run") and "pip" not in plan


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="no README.md")
def test_links_in_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)#\s]+)|src=\"([^\"]+)\"", read("README.md"))
    local = [a or b for a, b in targets if not re.match(r"[a-z]+:", a or b)]
    assert local and not [target for target in local if not (ROOT / target).exists()]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_conventions(name):
    nb = build.source(ROOT, name)
    assert nb.metadata.kernelspec.name == "python3" and nb.metadata.jupytext.formats == "ipynb,py:percent"
    assert nb.cells[0].cell_type == "markdown" and nb.cells[0].source.startswith("# ")
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    (parameters,) = [cell.source for cell in code if "parameters" in cell.metadata.get("tags", [])]
    lines = parameters.splitlines()
    assert not [line for line in lines if not re.fullmatch(r"\w+: [\w\[\], .|]+ = .+  # .+", line)]
    assert "device" in papermill.inspect_notebook(nb)
    opens = sum(cell.source.count("notebook.opening(") for cell in code)  # the box, which says how to change a parameter
    assert opens == (name not in build.LAST)
    for cell in code:
        decides = re.search(r"^notebook\.decide\(", cell.source, re.MULTILINE)
        assert not decides or "nbval-check-output" in cell.metadata.get("tags", []), cell.source
        assert len(cell.source.splitlines()) <= LONGEST, cell.source
        assert not [line for line in cell.source.splitlines() if len(line) > WIDEST]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_decides_claims_whose_ids_stand_in_it(name):
    """So that its digest has their entries."""
    nb = build.source(ROOT, name)
    nodes = [node for node in ast.walk(build.tree(nb)) if isinstance(node, ast.Call)]
    decides = [node for node in nodes if getattr(node.func, "attr", getattr(node.func, "id", "")) == "decide"]
    decided = [node.args[0].value for node in decides if isinstance(node.args[0], ast.Constant)]  # not specifications.decide
    assert set(decided) <= {entry["id"] for entry in build.claims(ROOT, name, nb)}


def test_the_mathematics_uses_nothing_of_the_companion():
    for file in sorted((ROOT / "riemlib").glob("[a-z]*.py")):
        used = modules_used(parsed(file), ROOT, f"riemlib.{file.stem}")
        assert not [name for name in used if name.startswith("riemlib.companion")], file.name


def test_no_two_notebooks_define_the_same_function():
    defined = [
        node.name
        for name in NOTEBOOKS
        for cell in build.source(ROOT, name).cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert sorted(defined) == sorted(set(defined))


def test_quick_parameters_are_known():
    for name in NOTEBOOKS:
        build.passed(ROOT, name, "quick")


def test_tracked_files_at_the_top_are_those_tools_need():
    try:
        tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    top = {Path(name).parts[0] for name in tracked}
    tree = {"README.md", "Makefile", "environment.yml", "notebooks", "riemlib", "tests"}
    assert top <= tree | {
        "pyproject.toml",
        "requirements.lock",
        "LICENSE",
        "LICENSE-TEXT",
        "CITATION.cff",
        ".gitignore",
        ".ci",
        ".github",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    }
