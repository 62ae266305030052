"""Shards: tasks that any process, here or on a cluster, computes to the same bits, kept as they finish.

What is finished lies in build/studies (or the folder RIEMLIB_STUDIES) as safetensors, under a digest of its arguments and of the code that
made it. So work that was stopped goes on from there, and a change of code recomputes only what depends on it.
"""

import contextlib
import hashlib
import json
import os
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
from .provenance import ROOT, code_of, hashed

ATTEMPTS = 3  #: how often a shard is tried whose worker dies
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
    computed again. A shard whose worker dies is tried again, `ATTEMPTS` times in all. Errors: RuntimeError where workers keep dying.
    """
    folder = Path(folder or os.environ.get("RIEMLIB_STUDIES") or ROOT / "build" / "studies")
    folder.mkdir(parents=True, exist_ok=True)
    scheduler = (os.environ.get("RIEMLIB_SCHEDULER") if scheduler is None else scheduler) or None
    workers = checks.integer("workers", torch.get_num_threads() if workers is None else workers, 1)
    results = {task.key: read(folder / f"{task.key}.safetensors") for task in tasks}
    todo = {task.key: task for task in tasks if results[task.key] is None}
    with bar(len(todo), tasks[0].function.__name__ if tasks else "", progress) as shown:
        for _ in range(ATTEMPTS):
            try:
                for key, result in _each(list(todo.values()), workers, scheduler):
                    write(result, folder / f"{key}.safetensors")
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
        yield from (work(task.key, task.function, task.arguments, task.inputs) for task in tasks)
        return
    if scheduler:
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker

        with Client(scheduler, set_as_default=False) as client:
            futures = [client.submit(work, task.key, task.function, task.arguments, task.inputs, pure=False) for task in tasks]
            try:
                yield from (future.result() for future in as_completed(futures, loop=client.loop))
            except KilledWorker as reason:
                raise TerminatedWorkerError(str(reason)) from reason
        return
    with parallel_config(backend="loky", inner_max_num_threads=1, n_jobs=workers):
        jobs = (delayed(work)(task.key, task.function, task.arguments, task.inputs) for task in tasks)
        yield from Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")(jobs)


def work(key: str, function: Callable, arguments: tuple, inputs: tuple) -> tuple[str, dict[str, np.ndarray]]:
    """A task, on one thread: what a worker does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return key, {name: value.numpy() for name, value in function(*arguments, *inputs).items()}
    finally:
        torch.set_num_threads(threads)


def write(result: Mapping[str, np.ndarray], path: Path) -> None:
    """A shard with a digest of its contents, written beside and renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(save({name: np.ascontiguousarray(value) for name, value in result.items()}, {"digest": _contents(result)}))
    os.replace(beside, path)


def read(path: Path) -> dict[str, np.ndarray] | None:
    """A kept shard; None where there is none, or it is not what was written."""
    try:
        with safetensors.safe_open(path, "numpy") as kept:
            result = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  not a mapping
            return result if kept.metadata()["digest"] == _contents(result) else None
    except (OSError, safetensors.SafetensorError, KeyError, TypeError):
        return None


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
