"""The chain from notebook sources to the executed notebooks a reader opens: `python -m riemlib.paper run`, `check` or `sync`.

`notebooks/NAME.py` is the source (jupytext, py:percent). `run` executes what is out of date with papermill into BUILD/PROFILE/NAME.ipynb,
and at the full profile publishes the result beside its source. A result carries a stamp: a digest of the code that made it (the notebook's
cells and parameters, the riemlib modules, the locked packages; comments, docstrings and prose aside) and a digest of its outputs.
"""

import argparse
import ast
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from joblib import Parallel, delayed
from nbformat import NotebookNode
from tqdm.auto import tqdm  # read before TQDM_DISABLE is set for the kernels, so that papermill still shows its bar

from . import ledger
from .companion import kernels
from .provenance import canonical, hashed, syntax

PROFILES = ("full", "quick")
FRONT = "figure_1.png"  #: the figure README.md opens with
MARKS = "<!-- ledger -->", "<!-- /ledger -->"  #: in README.md, around the ledger
LAST = "00_overview", "10_errata"  #: they show the ledger of the other notebooks, so they run after them
ROOT = Path(__file__).parents[1]


# The sources.


def names(root: Path) -> list[str]:
    """The notebooks of a project, in order, those of the ledger last."""
    found = sorted(path.stem for path in (root / "notebooks").glob("*.py"))
    return sorted(found, key=LAST.__contains__)


def source(root: Path, name: str) -> NotebookNode:
    """A notebook as its source has it; cells are numbered, so that running it again changes no id."""
    nb = jupytext.read(root / "notebooks" / f"{name}.py", fmt="py:percent")
    for number, cell in enumerate(nb.cells):
        cell.id = f"cell-{number}"
    return nb


def parameters(root: Path, name: str, profile: str) -> dict:
    """What papermill passes to a notebook: its quick values, or nothing at the full profile, whose values are its own defaults.

    Errors: ValueError for a parameter, or a notebook, that does not exist.
    """
    file = root / "notebooks" / "quick.yaml"
    quick = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None) or {}
    if unknown := sorted(set(map(str, quick)) - set(names(root))):
        raise ValueError(f"quick.yaml names {', '.join(unknown)}; notebooks are {', '.join(names(root))}")
    given = quick.get(name) or {}
    known = defaults(source(root, name))
    if unknown := sorted(set(given) - set(known)):
        needed = ", ".join(known) or "none"
        raise ValueError(f"quick.yaml gives {name} the unknown parameter {', '.join(unknown)}; its parameters are {needed}")
    return given if profile == "quick" else {}


def defaults(nb: NotebookNode) -> list[str]:
    """The names assigned in the cell tagged `parameters`."""
    cells = [cell.source for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    statements = [statement for text in cells for statement in ast.parse(text).body]
    targets = [t for s in statements for t in getattr(s, "targets", [getattr(s, "target", None)])]
    return [target.id for target in targets if isinstance(target, ast.Name)]


# The stamp.


def library(root: Path) -> dict:
    """What every notebook depends on: the riemlib modules (but this one and companion/, which change no number) and the locked packages."""
    aside = {root / "riemlib" / "paper.py", *(root / "riemlib" / "companion").rglob("*.py")}
    modules = sorted(path for path in (root / "riemlib").rglob("*.py") if path not in aside)
    lock = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {
        "modules": {path.relative_to(root).as_posix(): syntax(path) for path in modules},
        "lock": [line for line in (line.partition("#")[0].strip() for line in lock) if line],
    }


def code(nb: NotebookNode) -> list:
    """The code of a notebook; a cell that is not plain Python counts as it is written."""
    found = []
    for cell in nb.cells:
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", []):
            try:
                found.append(canonical(ast.parse(cell.source).body))
            except SyntaxError:
                found.append(cell.source)
    return found


def digest(root: Path, name: str, profile: str, used: dict, results: Iterable[Path] = ()) -> str:
    """Of all that decides a notebook's outputs; `used` is `library(root)`. `LAST` depend on the claims in the other `results`."""
    claims = ledger.gather(results) if name in LAST else []
    return hashed([code(source(root, name)), parameters(root, name, profile), used, claims])


def outputs(nb: NotebookNode) -> list:
    return [cell.get("outputs", []) for cell in nb.cells if cell.cell_type == "code"]


def stamp(path: Path) -> dict:
    """The stamp of an executed notebook: digest, outputs, profile, seconds. Empty where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("riemlib", {})
    except (OSError, ValueError, KeyError):
        return {}


# Running.


@dataclass(frozen=True)
class Job:
    """A notebook to execute into `folder`/NAME.ipynb."""

    root: Path
    folder: Path
    name: str
    parameters: dict
    stamp: dict

    @property
    def result(self) -> Path:
        return self.folder / f"{self.name}.ipynb"

    @property
    def failed(self) -> Path:
        """Where the notebook stays, with its traceback, if a cell fails."""
        return self.folder / f"{self.name}.failed.ipynb"

    def execute(self, bar: bool) -> tuple["Job", float, str, list[str]]:
        """Runs it in the notebooks' folder, in its own kernel. Returns itself, the seconds it took, what went wrong, and notes."""
        beside = self.folder / "running" / f"{self.name}.ipynb"
        beside.parent.mkdir(parents=True, exist_ok=True)
        start, wrong, notes = time.perf_counter(), "", []
        shown = {"desc": self.name, "leave": False, "disable": None} if bar else False
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH")]))
        try:
            here = {"RIEMLIB_BUILD": str(self.folder), "RIEMLIB_TERMINAL": terminal() if bar else "", "PYTHONPATH": path}
            with environment(**here, TQDM_DISABLE="1"):
                nb, folder = source(self.root, self.name), self.root / "notebooks"
                kernel = {"kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
                kernels.execute(nb, beside, self.parameters, notes.append, cwd=folder, progress_bar=shown, **kernel)
            seconds = time.perf_counter() - start
            nb = nbformat.read(beside, as_version=4)
            write(nb, self.result, {**self.stamp, "outputs": hashed(outputs(nb)), "seconds": round(seconds, 1)})
            self.failed.unlink(missing_ok=True)
        except Exception as error:
            seconds = time.perf_counter() - start
            in_cell = isinstance(error, papermill.PapermillExecutionError)
            wrong = f"{error.ename}: {error.evalue}" if in_cell else f"{type(error).__name__}: {error}"
            self.result.unlink(missing_ok=True)
            if beside.exists():
                os.replace(beside, self.failed)
        finally:
            beside.unlink(missing_ok=True)
        return self, seconds, wrong, notes


def terminal() -> str:
    """The name of the terminal this was started from, where a study in a kernel can show its progress; empty where there is none."""
    return os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else ""


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables that the kernels inherit."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def write(nb: NotebookNode, path: Path, marks: dict) -> None:
    """An executed notebook, stamped, without what changes from run to run (dates, durations); it appears at once or not at all."""
    for cell in nb.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
    kept = {key: nb.metadata[key] for key in ("kernelspec", "language_info", "jupytext", "widgets") if key in nb.metadata}
    nb.metadata = nbformat.from_dict({**kept, "riemlib": marks})
    beside = path.with_name(f".{path.name}.writing")
    beside.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    os.replace(beside, path)


def copied(path: Path, to: Path) -> None:
    """A copy with the date of the original, written beside and renamed; none where the two are the same."""
    if to.exists() and to.read_bytes() == path.read_bytes():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    beside = to.with_name(f".{to.name}.writing")
    shutil.copy2(path, beside)
    os.replace(beside, to)


def executed(root: Path = ROOT, folder: Path | None = None) -> list[Path]:
    """Of each notebook but those of the ledger the result in `folder` (in a kernel: of the run it belongs to), else the published one."""
    folder = folder or Path(os.environ.get("RIEMLIB_BUILD") or root / "notebooks")
    choices = [(folder / f"{name}.ipynb", root / "notebooks" / f"{name}.ipynb") for name in names(root) if name not in LAST]
    return [path for choice in choices for path in [p for p in choice if p.exists()][:1]]


def run(root: Path = ROOT, profile: str = "full", build: Path | None = None, only: Sequence[str] = (), jobs: int = 1) -> int:
    """Executes every notebook that is out of date (of those in `only`, where given), and gathers claims and figures in `build`.

    A result is up to date where its stamp is that of today's code and it is no older than its source. Returns 0, or 1 where one failed.
    Errors: ValueError for an unknown notebook, profile or quick parameter; then nothing runs.
    """
    build = (build or root / "build").resolve()
    folder = build / profile
    chosen = [Path(name).stem for name in only] or names(root)
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; one of {', '.join(PROFILES)} is needed")
    if unknown := sorted(set(chosen) - set(names(root))):
        raise ValueError(f"there is no notebook {', '.join(unknown)}; notebooks are {', '.join(names(root))}")
    used = library(root)
    values = {name: parameters(root, name, profile) for name in names(root)}

    def due(name: str) -> list[Job]:
        marks = {"digest": digest(root, name, profile, used, executed(root, folder)), "profile": profile}
        job = Job(root, folder, name, values[name], marks)
        written = (root / "notebooks" / f"{name}.py").stat().st_mtime
        current = stamp(job.result).get("digest") == marks["digest"] and job.result.stat().st_mtime >= written
        return [] if current else [job]

    count, failures = 0, []

    def follow(todo: list[Job]) -> None:
        nonlocal count
        run_each = Parallel(n_jobs=jobs, return_as="generator_unordered")
        results = run_each(delayed(job.execute)(bar=jobs == 1) for job in todo)
        hidden = jobs == 1 or None  # one by one each has its own bar; None: where there is no terminal
        whole = tqdm(results, total=len(todo), desc="notebooks", leave=False, disable=hidden)
        for job, seconds, wrong, notes in whole:
            whole.clear()
            count += 1
            for note in notes:
                print(f"{job.name}: {note}", flush=True)
            if wrong:
                failures.append(job)
                print(f"{job.name:<20} FAILED after {seconds:.1f} s: {wrong.strip().splitlines()[0]}", flush=True)
            else:
                print(f"{job.name:<20} {seconds:6.1f} s", flush=True)

    todo = [job for name in chosen if name not in LAST for job in due(name)]
    if todo:
        print(f"{len(todo)} of {len(chosen)} notebooks to run, profile {profile}, {jobs} at a time", flush=True)
    follow(todo)
    last = [name for name in chosen if name in LAST]
    if failures:
        print(*(f"{name:<20} not run: it shows the ledger of the others" for name in last), sep="\n")
    else:
        follow([job for name in last for job in due(name)])

    done = [path for path in (folder / f"{name}.ipynb" for name in sorted(chosen)) if path.exists()]
    if profile == "full" and build == root.resolve() / "build":
        for path in done:
            copied(path, root / "notebooks" / path.name)
        done = [root / "notebooks" / path.name for path in done]
        if not failures and (root / "README.md").exists():
            front_page(root, folder)
    claims = ledger.gather(path for path in (folder / f"{name}.ipynb" for name in names(root)) if path.exists())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.json").write_text(json.dumps(claims, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in [folder / "claims.json", *sorted((folder / "figures").glob("*.*"))]:
        copied(path, build / path.relative_to(folder))

    if failures:
        print(f"{len(failures)} of {len(chosen)} notebooks failed; the traceback is in")
        print(*(f"  {shown(job.failed)}" for job in failures), sep="\n")
        return 1
    if not count:
        print(f"nothing to do: {len(done)} notebooks are up to date at the {profile} profile")
    print("To read, in this order (on any code host or with `make lab`):")
    print(*(f"  {shown(path)}" for path in done), sep="\n")
    print(f"Decided claims ({len(claims)}): {shown(build / 'claims.json')}. Figures: {shown(build / 'figures')}")
    return 0


def front_page(root: Path, folder: Path) -> None:
    """Puts the ledger of the published notebooks into README.md, and Figure 1 of this run beside them."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if (now := with_ledger(text, root)) != text:
        beside = readme.with_name(".README.md.writing")
        beside.write_text(now, encoding="utf-8")
        os.replace(beside, readme)
    if (figure := folder / "figures" / FRONT).exists():
        copied(figure, root / "notebooks" / FRONT)


def with_ledger(text: str, root: Path) -> str:
    """The text of README.md with the ledger between its two marks."""
    claims = ledger.gather(sorted((root / "notebooks").glob("*.ipynb")))
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    table = f"{ledger.summary(claims)}\n\n{ledger.markdown(claims, 'notebooks')}"
    return f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}" if rest else text


def shown(path: Path) -> str:
    """A path as a reader would type it from where they are."""
    return os.path.relpath(path)


# Committed pairs.


def check(root: Path = ROOT) -> list[str]:
    """What is wrong with the published notebooks: a pair that differs, an output that is missing, an error or stale. One line each."""
    folder, used, problems = root / "notebooks", library(root), []
    for path in sorted(folder.glob("*.ipynb")):
        if path.stem not in names(root):
            problems.append(f"{path.name}: has no source {path.stem}.py")
    for name in names(root):
        path = folder / f"{name}.ipynb"
        if not path.exists():
            problems.append(f"{name}.ipynb: is missing: make paper")
            continue
        nb = nbformat.read(path, as_version=4)
        found = [*differences(source(root, name), nb), *unexecuted(nb), *stale(root, name, nb, used)]
        problems += [f"{name}.ipynb: {problem}" for problem in found]
    readme = root / "README.md"
    if readme.exists() and with_ledger(text := readme.read_text(encoding="utf-8"), root) != text:
        problems.append("README.md: its ledger is not that of the notebooks: make paper")
    return problems


def differences(nb: NotebookNode, pair: NotebookNode) -> Iterator[str]:
    """Where two notebooks differ in cell types, sources or tags."""
    ours = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in nb.cells]
    theirs = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in pair.cells]
    theirs = [cell for cell in theirs if "injected-parameters" not in cell[2]]
    if len(ours) != len(theirs):
        yield f"has {len(theirs)} cells, its source {len(ours)}: make paper"
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        for what, x, y in zip(("type", "source", "tags"), a, b, strict=True):
            if x != y:
                yield f"cell {number} differs from the source in its {what}: make paper, or for prose python -m riemlib.paper sync"


def unexecuted(nb: NotebookNode) -> Iterator[str]:
    """Code cells that were not run, or failed."""
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code" and cell.source.strip():
            if cell.execution_count is None:
                yield f"cell {number} was not executed: make paper"
            if any(output.output_type == "error" for output in cell.outputs):
                yield f"cell {number} shows an error: make paper"


def stale(root: Path, name: str, nb: NotebookNode, used: dict) -> Iterator[str]:
    """Whether its stamp is that of today's code at the full profile, and of the outputs it shows."""
    marks = nb.metadata.get("riemlib", {})
    if marks.get("profile") != "full":
        yield f"was made at the profile {marks.get('profile', 'unknown')}, not full: make paper"
    elif marks.get("digest") != digest(root, name, "full", used, executed(root, root / "notebooks")):
        yield "is stale, the code that made it has changed since: make paper"
    if marks.get("outputs") != hashed(outputs(nb)):
        yield "shows outputs other than those it was made with: make paper"


def sync(root: Path = ROOT) -> int:
    """Carries edits of prose, comments and tags from the sources to the executed notebooks, where the code is still that of the outputs."""
    used = library(root)
    for name in names(root):
        path = root / "notebooks" / f"{name}.ipynb"
        if not path.exists():
            print(f"{name:<20} left alone: not executed yet (make paper)")
            continue
        old, new = nbformat.read(path, as_version=4), source(root, name)
        if problems := list(stale(root, name, old, used)):
            print(f"{name:<20} left alone: {problems[0]}")
        elif not list(differences(new, old)):
            print(f"{name:<20} has its source's text")
        else:
            made = [cell for cell in old.cells if cell.cell_type == "code"]
            for cell, ran in zip((cell for cell in new.cells if cell.cell_type == "code"), made, strict=True):
                cell.update(outputs=ran.outputs, execution_count=ran.execution_count)
            new.metadata = old.metadata
            write(new, path, old.metadata.riemlib)
            if stamp(result := root / "build" / "full" / path.name) == old.metadata.riemlib:
                copied(path, result)
            print(f"{name:<20} updated")
    return 0


# The site.


def setup(app) -> dict:
    """As an extension of Sphinx: README.md is the front page, with the notebooks below it."""

    def contents(app, page: str, text: list[str]) -> None:
        if page == app.config.root_doc:
            entries = sorted(Path(app.srcdir, "notebooks").glob("*.ipynb"))
            listed = "\n".join(f"notebooks/{path.stem}" for path in entries)
            text[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"

    def equations(app, config) -> None:
        config.myst_enable_extensions = {"dollarmath", "amsmath"}  # a set, which the command line cannot give

    app.connect("source-read", contents)
    app.connect("config-inited", equations, priority=0)
    return {"parallel_read_safe": True}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m riemlib.paper", description="From notebook sources to executed notebooks.")
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="execute the notebooks that are out of date")
    runs.add_argument("names", nargs="*", metavar="NAME", help="notebooks, such as 04_metric (default: all)")
    runs.add_argument("--profile", choices=PROFILES, default="full")
    runs.add_argument("--build", type=Path, help="folder for results (default: build)")
    runs.add_argument("--jobs", type=int, default=1, help="notebooks at a time (default: 1)")
    runs.add_argument("--scheduler", help="address of a dask scheduler, such as tcp://host:8786, for the studies (default: here)")
    commands.add_parser("check", help="are the committed notebooks those of today's code?")
    commands.add_parser("sync", help="carry edits of prose into the executed notebooks")
    given = parser.parse_args(arguments)
    try:
        if given.command == "run":
            with environment(**{"RIEMLIB_SCHEDULER": given.scheduler} if given.scheduler else {}):
                return run(profile=given.profile, build=given.build, only=given.names, jobs=given.jobs)
        if given.command == "sync":
            return sync()
        problems = check()
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print(*problems or ["the committed notebooks are those of today's code"], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
