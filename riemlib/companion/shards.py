"""Shards: tasks that any process, here or on a cluster, computes to the same bits, kept as they finish.

What is finished lies in build/studies (or the folder RIEMLIB_STUDIES) as safetensors, under a digest of its arguments and of the code that
made it. So work that was stopped goes on from there, and a change of code recomputes only what depends on it.
"""

import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, is_dataclass, replace
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

from .. import checks
from .files import renamed_to
from .processes import end_with
from .progress import bar
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
        named = [asdict(a) if is_dataclass(a) else a for a in self.arguments]  # type: ignore[arg-type]
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
    with bar(len(todo), f"{tasks[0].function.__name__} shards" if tasks else "", progress) as shown:
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
    return [{key: torch.from_numpy(value) for key, value in results[task.key].items()} for task in tasks]  # type: ignore[union-attr]


def _each(tasks: list[Task], workers: int, scheduler: str | None) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Keys and results, in the order in which they are finished."""
    if not tasks:
        return
    if scheduler is None and workers == 1:
        yield from (work(task) for task in tasks)
    elif scheduler:
        yield from _on_cluster(tasks, scheduler)
    else:
        # Each worker, also one that gets no task, ends with this process. Workers that are kept from before, when modules were looked for
        # elsewhere, would not find those of now: joblib starts new ones where these arguments differ.
        ends = {"initializer": _start, "initargs": (os.getpid(), tuple(sys.path))}
        with parallel_config(backend="loky", inner_max_num_threads=1, n_jobs=workers, **ends):
            jobs = (delayed(work)(task) for task in tasks)
            yield from Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")(jobs)


def _start(parent: int, path: tuple[str, ...]) -> None:
    """What a worker does first."""
    sys.path[:] = path
    end_with(parent)


def _on_cluster(tasks: list[Task], scheduler: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """`_each` on a dask cluster.

    Errors: RuntimeError where no scheduler answers, where it has no workers for `PATIENCE` seconds, or workers that have not this code.
    """
    from distributed import Client, TimeoutError, wait
    from distributed.scheduler import KilledWorker

    try:
        client = Client(scheduler, set_as_default=False, timeout=PATIENCE)
    except (OSError, ValueError) as reason:
        raise RuntimeError(f"no dask scheduler answers at {scheduler}: {reason}") from reason
    with client, client.as_current():
        workers = Workers(client, scheduler, tasks[0])
        workers.look()
        pending = {client.submit(work_there, task, key=task.key, pure=False) for task in tasks}
        while pending:
            try:
                done, pending = wait(pending, timeout=LOOK, return_when="FIRST_COMPLETED")
            except TimeoutError:
                done = set()
            for future in done:
                try:
                    key, result = future.result()
                except KilledWorker as reason:
                    raise TerminatedWorkerError(str(reason)) from reason
                except CancelledError as reason:
                    raise RuntimeError(f"the dask scheduler at {scheduler} has gone; {len(pending) + 1} shards are missing") from reason
                if key != future.key:
                    raise RuntimeError(f"a worker of the cluster at {scheduler} has other code or other libraries than this process")
                yield key, result
            if pending:
                workers.look()


class Workers:
    """Looks after the workers of a dask cluster while it computes shards of the kind of `task`."""

    def __init__(self, client, scheduler: str, task: Task):
        self.client, self.scheduler, self.task = client, scheduler, task
        self.known: set[str] = set()
        self.seen = time.monotonic()  # when there was a worker
        self.warned = False

    def look(self) -> None:
        """Checks workers that are new: one without riemlib would never answer, one with other code would give other numbers.

        Errors: RuntimeError where one of them is such a worker, there was none for `PATIENCE` seconds, or the scheduler does not answer.
        """
        task = self.task
        try:
            present = set(self.client.nthreads())
            new = list(present - self.known)
            keys = self.client.run(key_here, task.function, task.arguments, task.made_by, workers=new, on_error="return") if new else {}
        except OSError as reason:
            raise RuntimeError(f"the dask scheduler at {self.scheduler} has gone: {reason}") from reason
        keys = {worker: key for worker, key in keys.items() if not isinstance(key, OSError)}  # else it has gone again
        if wrong := {worker: key for worker, key in keys.items() if key != task.key}:
            raise RuntimeError(f"workers of the cluster at {self.scheduler} cannot be used: {self._reasons(wrong)}")
        self.known |= set(keys)
        if present:
            self.seen, self.warned = time.monotonic(), False
            return
        if not self.warned:
            text = f"the cluster at {self.scheduler} has no workers; waiting {PATIENCE} s for one"
            warnings.warn(text, RuntimeWarning, stacklevel=5)
            self.warned = True
        if time.monotonic() - self.seen >= PATIENCE:
            raise RuntimeError(f"the cluster at {self.scheduler} has had no workers for {PATIENCE} s")

    @staticmethod
    def _reasons(wrong: Mapping[str, object]) -> str:
        """For each worker what it answered: an error, or the key of a task by other code."""
        other = "other code or other libraries than this process"
        return ", ".join(f"{worker} ({other if isinstance(answer, str) else answer})" for worker, answer in wrong.items())


def key_here(function: Callable, arguments: tuple, made_by: tuple[Callable, ...]) -> str:
    """The key of a task by the code and the libraries of this process."""
    return Task(function, arguments, made_by=made_by).key


def work_there(task: Task) -> tuple[str, dict[str, np.ndarray]]:
    """`work` on a cluster: the key is the one by the code there."""
    return work(replace(task))


def work(task: Task) -> tuple[str, dict[str, np.ndarray]]:
    """A task, on one thread: what a worker does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = task.function(*task.arguments, *task.inputs)
        return task.key, {name: value.numpy() for name, value in result.items()}
    finally:
        torch.set_num_threads(threads)


def write(result: Mapping[str, np.ndarray], folder: Path, key: str) -> None:
    """A shard with a digest of its key and its contents, written beside and renamed."""
    about = {"digest": _digest(result, key)}  # one entry: several would be written in any order
    with renamed_to(_file(folder, key)) as beside:
        beside.write_bytes(save({name: np.ascontiguousarray(value) for name, value in result.items()}, about))


def read(folder: Path, key: str) -> dict[str, np.ndarray] | None:
    """A kept shard. None where there is none, where it is not what was written, or where it was written under another key."""
    try:
        with safetensors.safe_open(_file(folder, key), "numpy") as kept:
            result = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  not a mapping
            return result if kept.metadata()["digest"] == _digest(result, key) else None
    except (OSError, safetensors.SafetensorError, KeyError, TypeError):
        return None


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.safetensors"


def _digest(result: Mapping[str, np.ndarray], key: str) -> str:
    parts = hashlib.sha256(key.encode())
    for name in sorted(result):
        value = np.ascontiguousarray(result[name])
        parts.update(json.dumps([name, str(value.dtype), value.shape]).encode() + value.tobytes())
    return parts.hexdigest()
