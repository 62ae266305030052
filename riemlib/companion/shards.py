"""Shards: tasks that any process, here or on a cluster, computes to the same bits, kept as they finish.

What is finished lies in build/studies (or the folder RIEMLIB_STUDIES) as safetensors, under a digest of its arguments and of the code that
made it. So work that was stopped goes on from there, and a change of code recomputes only what depends on it.
"""

import contextlib
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from safetensors.numpy import save
from torch import Tensor
from tqdm import tqdm as tqdm_plain
from tqdm.auto import tqdm

from .. import checks
from .processes import end_with
from .provenance import ROOT, code_of, hashed

ATTEMPTS = 3  #: how often a shard is tried whose worker dies
LOOK, PATIENCE = 2.0, 30.0  #: seconds between two looks at a cluster, and how long it may be without workers
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "shapely")  #: whose versions decide the numbers, too


@dataclass(frozen=True)
class Task:
    """A function at the top of a module, with the arguments that name its result, and `inputs` that follow from these.

    `made_by` are the functions that the numbers depend on besides it: what it calls by a name that is an argument, what made the inputs.
    """

    function: Callable[..., dict[str, Tensor]]
    arguments: tuple
    inputs: tuple = ()
    made_by: tuple[Callable, ...] = ()

    @cached_property
    def key(self) -> str:
        named = [asdict(a) if is_dataclass(a) else a for a in self.arguments]
        return hashed([self.function.__name__, named, versions(), *(code_of(f) for f in (self.function, *self.made_by))])


@cache
def versions() -> list[str]:
    """The versions of the libraries that decide a shard's numbers."""
    return [version(name).partition("+")[0] for name in LIBRARIES]


def compute(
    tasks: Sequence[Task],
    *,
    folder: Path | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> list[dict[str, Tensor]]:
    """The results of the tasks, in their order: kept ones are read, missing ones computed and kept.

    Shards run in `workers` processes of one thread each (as many as torch has threads, unless given; 1 stays in this process), or on the
    dask cluster whose `scheduler` address is given here or in RIEMLIB_SCHEDULER. The numbers do not depend on which. A damaged result is
    computed again. A shard whose worker dies is tried again, `ATTEMPTS` times in all.
    Errors: RuntimeError where workers keep dying, or a cluster has no workers, or workers without this code.
    """
    folder = Path(folder or os.environ.get("RIEMLIB_STUDIES") or ROOT / "build" / "studies")
    folder.mkdir(parents=True, exist_ok=True)
    scheduler = (os.environ.get("RIEMLIB_SCHEDULER") if scheduler is None else scheduler) or None
    workers = checks.integer("workers", torch.get_num_threads() if workers is None else workers, 1)
    results = {task.key: read(folder, task.key) for task in tasks}
    todo = {task.key: task for task in tasks if results[task.key] is None}
    with bar(len(todo), tasks[0].function.__name__ if tasks else "", progress) as shown:
        for _ in range(ATTEMPTS):
            try:
                for key, result in _each(list(todo.values()), workers, scheduler):
                    write(result, folder, key)
                    results[key] = result
                    del todo[key]
                    shown.update()
            except TerminatedWorkerError:
                continue  # what was finished is kept; the rest is tried again
            break
    if todo:
        lost = ", ".join(str(task.arguments[0]) for task in todo.values())
        raise RuntimeError(f"workers died {ATTEMPTS} times, of lack of memory for one reason; {len(todo)} shards are missing: {lost}")
    return [{key: torch.from_numpy(value) for key, value in results[task.key].items()} for task in tasks]


def _each(tasks: list[Task], workers: int, scheduler: str | None) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Keys and results, in the order in which they are finished."""
    if not tasks:
        return
    if scheduler is None and workers == 1:
        yield from (work(task) for task in tasks)
    elif scheduler:
        yield from _on_cluster(tasks, scheduler)
    else:
        with parallel_config(backend="loky", inner_max_num_threads=1, n_jobs=workers):
            jobs = (delayed(work)(task, os.getpid()) for task in tasks)
            yield from Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")(jobs)


def _on_cluster(tasks: list[Task], scheduler: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """`_each` on a dask cluster. Errors: RuntimeError where it has no workers for `PATIENCE` seconds, or workers without this code."""
    from distributed import Client, TimeoutError, wait
    from distributed.scheduler import KilledWorker

    try:
        client = Client(scheduler, set_as_default=False, timeout=PATIENCE)
    except (OSError, ValueError) as reason:
        raise RuntimeError(f"no dask scheduler answers at {scheduler}: {reason}") from reason
    with client:
        _refuse_strangers(client, scheduler, tasks[0])
        pending, alone = {client.submit(work, task, key=task.key, pure=False) for task in tasks}, 0.0
        while pending:
            try:
                with client.as_current():
                    done, pending = wait(pending, timeout=LOOK, return_when="FIRST_COMPLETED")
                alone = 0.0
            except TimeoutError:
                alone = 0.0 if client.scheduler_info(n_workers=1)["workers"] else alone + LOOK
                if alone == LOOK:
                    warnings.warn(f"the cluster at {scheduler} has no workers; waiting {PATIENCE} s for one", RuntimeWarning, stacklevel=4)
                if alone >= PATIENCE:
                    raise RuntimeError(f"the cluster at {scheduler} has lost its last worker; {len(pending)} shards are missing") from None
                continue
            for future in done:
                try:
                    yield future.result()
                except KilledWorker as reason:
                    raise TerminatedWorkerError(str(reason)) from reason


def _refuse_strangers(client, scheduler: str, task: Task) -> None:
    """A worker without riemlib would never answer, and one with other code would give other numbers under the same key."""
    answers = client.run(version, "riemlib", on_error="return")
    if without := [worker for worker, answer in answers.items() if not isinstance(answer, str)]:
        raise RuntimeError(f"riemlib is not installed on {len(without)} workers of the cluster at {scheduler}: {', '.join(without)}")
    keys = client.run(key_here, task.function, task.arguments, task.made_by, on_error="return")
    if others := [worker for worker, key in keys.items() if key != task.key]:
        raise RuntimeError(f"{len(others)} workers of the cluster at {scheduler} have other code or other libraries: {', '.join(others)}")


def key_here(function: Callable, arguments: tuple, made_by: tuple[Callable, ...]) -> str:
    """The key of a task by the code and the libraries of this process."""
    return Task(function, arguments, made_by=made_by).key


def work(task: Task, parent: int | None = None) -> tuple[str, dict[str, np.ndarray]]:
    """A task, on one thread: what a worker does. It ends with the process `parent` that started it."""
    if parent is not None:
        end_with(parent)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = task.function(*task.arguments, *task.inputs)
        return task.key, {name: value.numpy() for name, value in result.items()}
    finally:
        torch.set_num_threads(threads)


def write(result: Mapping[str, np.ndarray], folder: Path, key: str) -> None:
    """A shard with its key and a digest of its contents, written beside and renamed."""
    file, about = _file(folder, key), {"key": key, "digest": _contents(result)}
    beside = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        beside.write_bytes(save({name: np.ascontiguousarray(value) for name, value in result.items()}, about))
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def read(folder: Path, key: str) -> dict[str, np.ndarray] | None:
    """A kept shard. None where there is none, where it is not what was written, or where it was written under another key."""
    try:
        with safetensors.safe_open(_file(folder, key), "numpy") as kept:
            result = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  not a mapping
            about = kept.metadata()
            return result if (about["key"], about["digest"]) == (key, _contents(result)) else None
    except (OSError, safetensors.SafetensorError, KeyError, TypeError):
        return None


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def _contents(result: Mapping[str, np.ndarray]) -> str:
    parts = hashlib.sha256()
    for name in sorted(result):
        value = np.ascontiguousarray(result[name])
        parts.update(json.dumps([name, str(value.dtype), value.shape]).encode() + value.tobytes())
    return parts.hexdigest()


@contextlib.contextmanager
def bar(total: int, what: str, progress: bool) -> Iterator[tqdm]:
    """Shards done and the time left: here, or on the terminal from which the run was started (RIEMLIB_TERMINAL)."""
    settings = {"total": total, "desc": f"{what} shards", "unit": "shard", "leave": False}
    terminal = os.environ.get("RIEMLIB_TERMINAL")
    silent = not progress or not total or (not terminal and bool(os.environ.get("TQDM_DISABLE")))
    with contextlib.ExitStack() as stack:
        if silent or not terminal:
            yield stack.enter_context(tqdm(**settings, disable=silent))
        else:
            file = stack.enter_context(open(terminal, "w", encoding="utf-8"))
            yield stack.enter_context(tqdm_plain(**settings, file=file, position=1, disable=False))
