"""Tasks for test_shards, some of which kill their process; and, as a script, the processes of a small dask cluster.

The script loads riemlib once and forks a process for each line it reads, whose number it says: "scheduler FILE", "worker FILE", "bare FILE"
(a worker without riemlib) or "other FILE" (one with other libraries).
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import torch


def square(value: float) -> dict[str, torch.Tensor]:
    """A task that is done at once, with two results."""
    return {"square": torch.tensor([value**2]), "sums": torch.arange(6.0).reshape(2, 3).cumsum(1) * value}


def report(value: float) -> dict[str, torch.Tensor]:
    """The same, and the process that this task runs in."""
    return {**square(value), "process": torch.tensor([os.getpid()])}


def slow(value: float) -> dict[str, torch.Tensor]:
    """The same, after a while."""
    time.sleep(0.2)
    return square(value)


def sleepy(value: float, file: str = "") -> dict[str, torch.Tensor]:
    """The same, after ten minutes. When it begins, it makes a file."""
    if file:
        Path(file).touch()
    time.sleep(600)
    return square(value)


def threads(value: int) -> dict[str, torch.Tensor]:
    """How many threads a task may use."""
    return {"threads": torch.tensor([torch.get_num_threads()])}


def die(log: str) -> None:
    """Leaves a line in the log and kills this process."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(value: int, log: str) -> dict[str, torch.Tensor]:
    """A task of which number 2 kills its process the first time."""
    if value == 2 and not Path(log).exists():
        die(log)
    time.sleep(0.1)
    return {"value": torch.tensor([float(value)])}


def doomed(value: int, log: str, main: int) -> dict[str, torch.Tensor]:
    """A task that kills its process every time, but not the main one, that of the tests, where it has no business."""
    if os.getpid() == main:
        raise AssertionError("a task that kills its worker ran in the main process")
    die(log)


async def served(kind: str, **settings) -> None:
    """A dask scheduler or worker (without a nanny, which would start it again) until it is killed."""
    import distributed

    async with getattr(distributed, kind)(host="127.0.0.1", dashboard=False, **settings) as server:
        await server.finished()


def scheduler(file: str) -> None:
    asyncio.run(served("Scheduler", port=0, scheduler_file=file))


def worker(file: str) -> None:
    asyncio.run(served("Worker", nthreads=1, scheduler_file=file))


def bare(file: str) -> None:
    class Missing:
        @staticmethod
        def find_spec(name, *_):
            if name.partition(".")[0] == "riemlib":
                raise ModuleNotFoundError(f"No module named {name!r}")

    sys.meta_path.insert(0, Missing)
    for name in [name for name in sys.modules if name.partition(".")[0] == "riemlib"]:
        del sys.modules[name]
    worker(file)


def other(file: str) -> None:
    from riemlib.companion import shards

    shards.versions = lambda: ["0.0"]
    worker(file)


if __name__ == "__main__":
    import distributed  # noqa: F401

    import riemlib.companion.shards  # noqa: F401  each process would load them anew

    for line in sys.stdin:
        name, argument = line.split()
        if process := os.fork():
            print(process, flush=True)
        else:
            {"scheduler": scheduler, "worker": worker, "bare": bare, "other": other}[name](argument)
            os._exit(0)
    os.killpg(0, signal.SIGKILL)  # whoever started this is gone, or has had enough: with all its processes
