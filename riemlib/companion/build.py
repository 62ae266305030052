"""From notebook sources to the executed notebooks that a reader opens: what `python -m riemlib run`, `check` and `publish` do.

`notebooks/NAME.py` is a source (jupytext, py:percent). `run` executes what is out of date with papermill into BUILD/PROFILE/NAME.ipynb, and
compares a full run with the published one. `publish` carries it to notebooks/. A result carries a stamp: a digest of all that decides its
outputs (the notebook's code and parameters, the modules of riemlib that it uses, the locked packages, the claims that it decides), and a
digest of the outputs. Comments, docstrings and prose change no digest.
"""

import ast
import hashlib
import json
import logging
import os
import re
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from nbformat import NotebookNode
from tqdm.auto import tqdm

from . import compare, index, kernels, ledger, parameters, progress, remaining
from .files import renamed_to
from .processes import is_alive
from .provenance import ROOT, canonical, code_used, hashed

PROFILES = ("full", "quick")
CUSTOM = "custom"  #: the folder, and the profile in the stamps, of results for which a reader gave parameters
FRONT = "figure_1.png"  #: the figure README.md opens with
#: they train most, and the same networks in part. In this order, two at a time, the later ones read what the earlier ones kept
FIRST = "03_ck_networks", "07_1_smoothness", "07_2_metric_balls", "04_2_data_manifold", "07_3_batch_size"
LAST = "00_overview", "10_errata"  #: they show the ledger of the other notebooks, so they run after them
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  #: what a kernel's libraries read
BAR = {"desc": "notebooks", "leave": False, "dynamic_ncols": True, "bar_format": "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"}
LOOK = 0.3  #: seconds between two looks at how far the studies are
DAMAGED = "is damaged: make paper"

logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what goes wrong in a notebook, the run itself says


# The sources.


def names(root: Path) -> list[str]:
    """The notebooks of a project, in order, those of the ledger last."""
    found = sorted(path.stem for path in (root / "notebooks").glob("*.py"))
    return sorted(found, key=LAST.__contains__)


def in_turn(chosen: Iterable[str]) -> list[str]:
    """Notebooks in the order in which a run starts them: those in `FIRST`, then the others as they are."""
    return sorted(chosen, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def source(root: Path, name: str) -> NotebookNode:
    """A notebook as its source has it. Cells are numbered, so that running it again changes no id."""
    nb = jupytext.read(root / "notebooks" / f"{name}.py", fmt="py:percent")
    for number, cell in enumerate(nb.cells):
        cell.id = f"cell-{number}"
    return nb


def passed(root: Path, name: str, profile: str) -> dict:
    """What papermill passes to a notebook: its quick values; nothing at the full profile, whose values stand in the notebook itself.

    Errors: ValueError for a parameter, or a notebook, that does not exist.
    """
    file = root / "notebooks" / "quick.yaml"
    quick = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None) or {}
    if unknown := sorted(set(map(str, quick)) - set(names(root))):
        raise ValueError(f"quick.yaml names {', '.join(unknown)}; notebooks are {', '.join(names(root))}")
    values = quick.get(name) or {}
    known = parameters.known(source(root, name)) if values else {}
    if unknown := sorted(set(values) - set(known)):
        needed = ", ".join(known) or "none"
        raise ValueError(f"quick.yaml gives {name} the unknown parameter {', '.join(unknown)}; its parameters are {needed}")
    return values if profile == "quick" else {}


# The digest of all that decides a notebook's outputs.


def digest(root: Path, name: str, profile: str, results: Iterable[Path] = (), given: Mapping | None = None) -> str:
    """The digest of a notebook at a profile, with the parameters that a reader gives instead of the profile's.

    Those in `LAST` depend on the claims in the other `results` as well.
    """
    nb = source(root, name)
    shown = ledger.gather(results) if name in LAST else []
    values = passed(root, name, profile) | dict(given or {})
    return hashed([code(nb), values, locked(root), code_used(tree(nb), root), claims(root, name, nb), shown, *multiverse_table(root, nb)])


def code(nb: NotebookNode) -> list:
    """The code of a notebook; a cell that is not plain Python counts as it is written."""
    found = []
    for cell in code_cells(nb):
        try:
            found.append(canonical(ast.parse(cell.source).body))
        except SyntaxError:
            found.append(cell.source)
    return found


def tree(nb: NotebookNode) -> ast.Module:
    """The code of a notebook as one syntax tree. Lines for IPython are left out. Errors: ValueError for a cell that is no Python then."""
    statements = []
    for number, cell in enumerate(code_cells(nb)):
        plain = re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)
        try:
            statements += ast.parse(plain).body
        except SyntaxError as error:
            raise ValueError(f"code cell {number} is not Python ({error.msg}); Python is needed, to see what it uses") from error
    return ast.Module(statements, [])


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook, but for the one in which papermill sets parameters."""
    return [cell for cell in nb.cells if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])]


def locked(root: Path) -> list[str]:
    """The lines of requirements.lock, without comments."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in (line.partition("#")[0].strip() for line in lines) if line]


def claims(root: Path, name: str, nb: NotebookNode) -> list[dict]:
    """The entries in claims.toml of the claims that a notebook decides: those whose ids stand in its code.

    All of them for `LAST`, and for a notebook that reads `CLAIMS`.
    """
    file = root / "riemlib" / "companion" / "claims.toml"
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["claim"] if file.exists() else []
    if name in LAST or "CLAIMS" in names_in(nb):
        return entries
    strings = {node.value for node in ast.walk(tree(nb)) if isinstance(node, ast.Constant)}
    return sorted((entry for entry in entries if entry["id"] in strings), key=lambda entry: entry["id"])


def multiverse_table(root: Path, nb: NotebookNode) -> list[str]:
    """The digest of the committed table of the multiverse, for a notebook that reads it."""
    file = root / "riemlib" / "companion" / "multiverse.csv.gz"
    return [hashlib.sha256(file.read_bytes()).hexdigest()] if file.exists() and "multiverse" in names_in(nb) else []


def names_in(nb: NotebookNode) -> set[str]:
    """The names and attributes in the code of a notebook."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(tree(nb)) if isinstance(node, ast.Name | ast.Attribute)
    }


# Executed notebooks.


def outputs(nb: NotebookNode) -> list:
    return [cell.get("outputs", []) for cell in nb.cells if cell.cell_type == "code"]


def opened(path: Path) -> NotebookNode | None:
    """An executed notebook. None where the file is damaged: it is no notebook, its stamp is no mapping, or a record in it is none."""
    try:
        nb = nbformat.v4.reads(path.read_text(encoding="utf-8"))
        nbformat.validate(nb)
        list(ledger.records(path))
        return nb if isinstance(nb.metadata.get("riemlib", {}), dict) else None
    except OSError:
        raise
    except Exception:  # nbformat raises many kinds of them
        return None


def stamp(path: Path) -> dict:
    """The stamp of an executed notebook: digest, outputs, profile, seconds. Empty where there is none, or where it shows other outputs."""
    if not path.exists() or (nb := opened(path)) is None:
        return {}
    marks = nb.metadata.get("riemlib", {})
    return marks if marks.get("outputs") == hashed(outputs(nb)) else {}


def executed(root: Path = ROOT, folder: Path | None = None) -> list[Path]:
    """The executed notebooks, without those of the ledger: of each the result in `folder`, or else the published one. None is damaged.

    Unless it is given, `folder` is that of the run which a notebook belongs to, and outside of a run that of the published notebooks.
    """
    folder = folder or Path(os.environ.get("RIEMLIB_BUILD") or root / "notebooks")
    choices = [(folder / f"{name}.ipynb", root / "notebooks" / f"{name}.ipynb") for name in names(root) if name not in LAST]
    return [path for choice in choices for path in [p for p in choice if p.exists() and opened(p) is not None][:1]]


def write(nb: NotebookNode, path: Path, marks: dict) -> None:
    """An executed notebook, stamped, without what changes from run to run (dates, durations); it appears at once or not at all."""
    for cell in nb.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
    kept = {key: nb.metadata[key] for key in ("kernelspec", "language_info", "jupytext", "widgets") if key in nb.metadata}
    nb.metadata = nbformat.from_dict({**kept, "riemlib": marks})
    replaced(path, nbformat.writes(nb) + "\n")


def replaced(path: Path, text: str) -> None:
    with renamed_to(path) as beside:
        beside.write_text(text, encoding="utf-8")


def copied(path: Path, to: Path) -> None:
    """A copy with the date of the original, written beside and renamed; none where the two are the same."""
    if to.exists() and to.read_bytes() == path.read_bytes():
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    with renamed_to(to) as beside:
        shutil.copy2(path, beside)


def relative(path: Path) -> str:
    """A path as a reader would type it from where they are."""
    return os.path.relpath(path)


# One notebook to execute.


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

    def is_done(self) -> bool:
        """Whether its result is whole, that of today's code, and no older than its source."""
        if stamp(self.result).get("digest") != self.stamp["digest"]:
            return False
        return self.result.stat().st_mtime >= (self.root / "notebooks" / f"{self.name}.py").stat().st_mtime

    def took_before(self) -> float | None:
        """Seconds that its last run took: that in its folder, or else, at the full profile, the published one."""
        paths = [self.result] + [self.root / "notebooks" / self.result.name] * (self.stamp["profile"] == "full")
        return next((marks["seconds"] for path in paths if "seconds" in (marks := stamp(path))), None)

    def told(self, own: Path) -> Path:
        """The file in `own` where a study in its kernel says how far it is."""
        return own / f"{self.name}.progress"

    def execute(self, own: Path, started: kernels.Kernels, threads: int, bar: bool) -> tuple[float, str, list[str]]:
        """Runs it in the notebooks' folder, in its own kernel with so many threads, by way of the folder `own` of this run.

        Returns the seconds it took, what went wrong, and notes.
        """
        beside = own / f"{self.name}.ipynb"
        start, wrong = time.perf_counter(), ""
        notes: list[str] = []
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH")]))
        variables = {"RIEMLIB_BUILD": str(self.folder), "RIEMLIB_PROGRESS": str(self.told(own)), "PYTHONPATH": path, "TQDM_DISABLE": "1"}
        variables["JPY_SESSION_NAME"] = f"{self.name}.ipynb"  # what Jupyter tells a kernel
        variables |= {name: os.environ.get(name, str(threads)) for name in THREADS}
        try:
            nb, log = source(self.root, self.name), own / f"{self.name}.log"
            manager = started.manager(self.root / "notebooks", variables, log)
            shown = {"desc": self.name, "leave": False, "disable": None} if bar else False
            how = {"kernel_name": "python3", "extra_arguments": ["--log-level=CRITICAL"], "progress_bar": shown}
            kernels.execute(nb, beside, self.parameters, notes.append, manager, **how)
            seconds = time.perf_counter() - start
            nb = nbformat.read(beside, as_version=4)
            write(nb, self.result, {**self.stamp, "outputs": hashed(outputs(nb)), "seconds": round(seconds, 1)})
            self.failed.unlink(missing_ok=True)
        except Exception as error:
            seconds = time.perf_counter() - start
            wrong = f"{type(error).__name__}: {error}"
            if isinstance(error, papermill.PapermillExecutionError):
                wrong = f"{error.ename}: {error.evalue}"
            if isinstance(error, RuntimeError) and log.exists() and (last := log.read_text(errors="replace").strip()):
                wrong = f"{wrong.splitlines()[0]}; the last that its kernel wrote: {last.splitlines()[-1]}"
            if not started.ended:
                self.result.unlink(missing_ok=True)
                if beside.exists():
                    os.replace(beside, self.failed)
        return seconds, wrong, notes


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


# Running.


def run(
    root: Path = ROOT,
    profile: str = "full",
    build: Path | None = None,
    only: Sequence[str] = (),
    jobs: int = 1,
    settings: Sequence[str] = (),
) -> int:
    """Executes every notebook that is out of date (of those in `only`, where given), and gathers claims and figures in `build`.

    A result is up to date where its stamp is that of today's code and it is no older than its source. Tracked files stay as they are.
    `settings` are "name=value" texts, parameters for this run. Its results, claims and figures stay apart, in `build`/custom.
    Returns 0, or 1 where one failed.
    Errors: ValueError for an unknown notebook, profile or parameter, or no jobs; then nothing runs.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; at least 1 is needed")
    chosen = selected(root, profile, only)
    given = parameters.given(settings, {name: source(root, name) for name in chosen})
    build = (build or root / "build").resolve()
    folder = build / (CUSTOM if given else profile)
    first, last = ([name for name in in_turn(chosen) if (name in LAST) == late] for late in (False, True))
    todo, ahead = (due(root, folder, profile, part, given) for part in (first, last))
    left = remaining.Left({job.name: job.took_before() for job in (*todo, *ahead)}, jobs)
    if todo or ahead:
        how_long = left.whole("last" if any(job.result.exists() for job in (*todo, *ahead)) else "published")
        print(f"{len(todo) + len(ahead)} of {len(chosen)} notebooks to run, profile {profile}, {jobs} at a time; {how_long}", flush=True)
    with tqdm(total=len(left.before), disable=None if left.before else True, **BAR) as bar:  # None: where there is no terminal
        failures = execute(todo, jobs, bar, left)
        if not failures:
            after = due(root, folder, profile, last, given)  # now, for their digest counts the results of the others
            failures = execute(after, jobs, bar, left)
            todo += after
            last = []
    print(*(f"{name:<20} not run: it shows the ledger of the others\n" for name in last), sep="", end="")
    done = [path for path in (folder / f"{name}.ipynb" for name in sorted(chosen)) if path.exists()]
    home = folder if given else build
    decided = collect(root, folder, home, chosen if given else names(root))
    if failures:
        print(f"{len(failures)} of {len(chosen)} notebooks failed; the traceback is in")
        print(*(f"  {relative(job.failed)}" for job in failures), sep="\n")
        return 1
    if not todo:
        print(f"nothing to do: {len(done)} notebooks are up to date at the {profile} profile")
    print("To read, in this order (with `make lab`, or any reader of notebooks):")
    print(*(f"  {relative(path)}" for path in done), sep="\n")
    print(f"Decided claims ({decided}): {relative(home / 'claims.json')}. Figures: {relative(home / 'figures')}")
    if profile == "full" and not given:
        print(*compared(root, folder, build), sep="\n")
    return 0


def compared(root: Path, folder: Path, build: Path) -> list[str]:
    """How the results in `folder` compare with the published ones, in lines; claim by claim in `build`/compare.html."""
    here = [path for path in (folder / f"{name}.ipynb" for name in names(root)) if path.exists()]
    published = [path for path in (root / "notebooks" / path.name for path in here) if path.exists()]
    changes = compare.compare(*(ledger.gather(filter(opened, paths)) for paths in (published, here)))
    networks = compare.other_networks(*(compare.drawn(filter(opened, paths)) for paths in (published, here)))
    replaced(build / "compare.html", compare.page(changes, networks))
    return [*compare.lines(changes, networks), f"Claim by claim: {relative(build / 'compare.html')}"]


def selected(root: Path, profile: str, only: Sequence[str]) -> list[str]:
    """The notebooks to run. Errors: ValueError for an unknown notebook, profile or quick parameter."""
    chosen = [Path(name).stem for name in only] or names(root)
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; one of {', '.join(PROFILES)} is needed")
    if unknown := sorted(set(chosen) - set(names(root))):
        raise ValueError(f"there is no notebook {', '.join(unknown)}; notebooks are {', '.join(names(root))}")
    for name in names(root):
        passed(root, name, profile)
    return chosen


def due(root: Path, folder: Path, profile: str, chosen: Iterable[str], given: Mapping | None = None) -> list[Job]:
    """Those of the notebooks whose result in `folder` is not up to date. `given`: parameters instead of the profile's."""
    found, values = [], dict(given or {})
    for name in chosen:
        marks = {"digest": digest(root, name, profile, executed(root, folder), values), "profile": CUSTOM if values else profile}
        found.append(Job(root, folder, name, passed(root, name, profile) | values, marks))
    return [job for job in found if not job.is_done()]


def execute(todo: Sequence[Job], jobs: int, bar: tqdm, left: remaining.Left) -> list[Job]:
    """Executes notebooks, `jobs` at a time, each in a kernel and a thread of its own. Returns those that failed.

    `bar` counts them, and shows the time left and how far studies are. Where it is stopped, its kernels end first.
    """
    if not todo:
        return []
    failures: list[Job] = []
    started, running = kernels.Kernels(), {}
    share = max(1, (os.cpu_count() or 1) // jobs)  # two kernels that use all cores slow each other down many times
    with own_folder(todo[0].folder) as own, ThreadPoolExecutor(jobs) as threads:
        try:
            for job in todo:
                running[threads.submit(job.execute, own, started, share, bar=jobs == 1)] = job
            while running:
                for future in wait(running, LOOK, FIRST_COMPLETED).done:
                    job, (seconds, wrong, notes) = running.pop(future), future.result()
                    with bar.external_write_mode():
                        failures += [job] * say_how(job, seconds, wrong, notes)
                    left.ended(job.name, seconds)
                    bar.update()
                left.began(job.name for future, job in running.items() if future.running())
                told = (f"{job.name}: {text}" for job in todo if (text := progress.told(job.told(own))))
                bar.set_postfix_str("; ".join(filter(None, [left.text(), *told])))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            end(started, set(running))
            raise
    return failures


def say_how(job: Job, seconds: float, wrong: str, notes: Sequence[str]) -> bool:
    """Says how long a notebook took, or what went wrong. Returns whether it failed."""
    for note in notes:
        print(f"{job.name}: {note}")
    said = f"FAILED after {seconds:.1f} s: {wrong.strip().splitlines()[0]}" if wrong else f"{seconds:6.1f} s"
    print(f"{job.name:<20} {said}", flush=True)
    return bool(wrong)


def end(started: kernels.Kernels, running: set[Future]) -> None:
    """Ends the kernels, first politely, and waits for the threads: each sees that its kernel is gone, and removes its files."""
    running = {future for future in running if not future.cancelled()}
    for look in range(30):
        started.end(at_once=look > 10)
        if not wait(running, LOOK).not_done:
            return


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """A folder for what this process has under way, `folder`/running/PROCESS. It is removed at the end.

    What a run left there that was killed is removed first.
    """
    own = folder / "running" / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    for left in own.parent.iterdir():
        if left.is_dir() and left.name.isdigit() and not is_alive(int(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def collect(root: Path, folder: Path, build: Path, chosen: Sequence[str]) -> int:
    """Gathers the claims that the notebooks in `folder` decide, copies them and the figures to `build`, and returns how many there are."""
    found = [path for path in (folder / f"{name}.ipynb" for name in names(root) if name in chosen) if path.exists()]
    for path in (damaged := [path for path in found if opened(path) is None]):
        print(f"{relative(path)} is damaged, its claims are left out: run it again")
    decided = ledger.gather(path for path in found if path not in damaged)
    text, file = json.dumps(decided, indent=1, ensure_ascii=False) + "\n", folder / "claims.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        replaced(file, text)
    for path in [file, *sorted(path for path in (folder / "figures").glob("*.*") if path.name[0] != ".")]:
        copied(path, build / path.relative_to(folder))
    return len(decided)


# Publishing.


def publish(root: Path = ROOT) -> int:
    """Brings the published notebooks and README.md up to date without running anything, and says what it did to each. Returns 0.

    A result in build/full that is that of today's code is carried to notebooks/. Edits of prose, comments and tags are carried into a
    notebook whose code is still that of its outputs.
    """
    for name in names(root):
        print(f"{name:<20} {publish_one(root, name)}")
    if (root / "README.md").exists():
        updated = front_page(root)
        print(f"{'README.md':<20} {'left alone: a notebook is damaged' if damaged(root) else 'updated' if updated else 'is up to date'}")
    return 0


def publish_one(root: Path, name: str) -> str:
    """Publishes one notebook, and says what was done."""
    path, result = root / "notebooks" / f"{name}.ipynb", root / "build" / "full" / f"{name}.ipynb"
    files = [file for file in (result, path) if file.exists()]
    found = [(file, nb) for file in files if (nb := opened(file)) is not None]
    if not found:
        return f"left alone: it {DAMAGED if files else 'was not executed yet (make paper)'}"
    current = [(file, nb) for file, nb in found if not list(stale(root, name, nb))]
    if not current:
        return f"left alone: {next(stale(root, name, found[-1][1]))}"
    new, edited = source(root, name), False
    for file, old in current:
        if list(differences(new, old)):
            for cell, ran in zip(code_cells(new), code_cells(old), strict=True):
                cell.update(outputs=ran.outputs, execution_count=ran.execution_count)
            marks, new.metadata = old.metadata.riemlib, old.metadata
            write(new, file, marks)
            new, edited = source(root, name), True
    file, nb = current[0]
    carried = file == result and {shown(nb)} != {shown(other) for other_file, other in current if other_file == path}
    if carried:  # what is published stays where the run shows the same
        copied(result, path)
    said = ["the run in build/full"] * carried + ["the text of its source"] * edited
    return f"now has {' and '.join(said)}" if said else "is up to date"


def shown(nb: NotebookNode) -> str:
    """A digest of what the outputs of a notebook show, without what changes from run to run: the run time, and the commit."""
    text = json.dumps(outputs(nb), sort_keys=True)
    return hashed(re.sub(r"took \d+ s|commit \w+\+?|'commit': '\w+\+?'|\"commit\": \"\w+\+?\"", "", text))


def front_page(root: Path) -> bool:
    """Fills the tables of README.md, and puts Figure 1 of the full run into notebooks/. Returns whether README.md changed."""
    readme, figure = root / "README.md", root / "build" / "full" / "figures" / FRONT
    if figure.exists():
        copied(figure, root / "notebooks" / FRONT)
    if not readme.exists() or damaged(root):
        return False
    text = readme.read_text(encoding="utf-8")
    now = with_tables(text, root)
    if changed := now != text:
        replaced(readme, now)
    return changed


def ledger_table(root: Path) -> str:
    """How many claims have which verdict, and the table of the published notebooks' claims."""
    decided = ledger.gather(sorted((root / "notebooks").glob("*.ipynb")))
    return f"{ledger.summary(decided)}\n\n{ledger.markdown(decided, 'notebooks')}"


#: what stands in README.md between <!-- NAME --> and <!-- /NAME -->
TABLES: dict[str, Callable[[Path], str]] = {"ledger": ledger_table, "equations": index.markdown}


def with_tables(text: str, root: Path) -> str:
    """The text of README.md with each of `TABLES` between its marks."""
    for name, table in TABLES.items():
        before, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            text = f"{before}{begin}\n{table(root)}\n{end}{after}"
    return text


# The check of what is published.


def check(root: Path = ROOT) -> list[str]:
    """What is wrong with the published notebooks: a pair that differs, an output that is missing, an error or stale. One line each."""
    folder, problems = root / "notebooks", []
    for path in sorted(folder.glob("*.ipynb")):
        if path.stem not in names(root):
            problems.append(f"{path.name}: has no source {path.stem}.py")
    for name in names(root):
        path = folder / f"{name}.ipynb"
        if not path.exists():
            problems.append(f"{name}.ipynb: is missing: make paper")
            continue
        if (nb := opened(path)) is None:
            problems.append(f"{name}.ipynb: {DAMAGED}")
            continue
        found = [*differences(source(root, name), nb), *unexecuted(nb), *stale(root, name, nb)]
        problems += [f"{name}.ipynb: {problem}" for problem in found]
    readme = root / "README.md"
    if readme.exists() and not damaged(root) and with_tables(text := readme.read_text(encoding="utf-8"), root) != text:
        problems.append("README.md: its tables are not those of the notebooks and the index: python -m riemlib publish")
    return problems


def damaged(root: Path) -> list[Path]:
    """The published notebooks that are damaged."""
    return [path for path in sorted((root / "notebooks").glob("*.ipynb")) if opened(path) is None]


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
                yield f"cell {number} differs from the source in its {what}: make paper, or for prose python -m riemlib publish"


def unexecuted(nb: NotebookNode) -> Iterator[str]:
    """Code cells that were not run, or failed."""
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code" and cell.source.strip():
            if cell.execution_count is None:
                yield f"cell {number} was not executed: make paper"
            if any(output.output_type == "error" for output in cell.outputs):
                yield f"cell {number} shows an error: make paper"


def stale(root: Path, name: str, nb: NotebookNode) -> Iterator[str]:
    """Whether its stamp is that of today's code at the full profile, and of the outputs it shows."""
    marks = nb.metadata.get("riemlib", {})
    if marks.get("profile") != "full":
        yield f"was made at the profile {marks.get('profile', 'unknown')}, not full: make paper"
    elif marks.get("digest") != digest(root, name, "full", executed(root, root / "notebooks")):
        yield "is stale, the code that made it has changed since: make paper"
    if marks.get("outputs") != hashed(outputs(nb)):
        yield "shows outputs other than those it was made with: make paper"
