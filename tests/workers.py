"""What test_studies runs in processes of its own: tasks that kill theirs, a study to be killed, a small dask cluster.

As a script it loads riemlib once and forks a process for each line it reads, "study FOLDER", "scheduler FILE" or "worker FILE", whose
number it says.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import torch

from riemlib import studies
from riemlib.studies import Condition

SHARD, SEEDS = 2, 12  # of the study to be killed
KILLED = {"a": Condition(depth=3, points=40, batch_size=20, updates=100)}


def die(log: str) -> None:
    """Leaves a line in the log and kills this process."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(value: int, log: str) -> dict[str, torch.Tensor]:
    """A task of which number 2 kills its process the first time."""
    if value == 2 and not Path(log).exists():
        die(log)
    return {"value": torch.tensor([float(value)])}


def doomed(value: int, log: str, main: int) -> dict[str, torch.Tensor]:
    """A task of which number 1 kills its process every time, but not the main one, that of the tests, where it has no business."""
    if value == 1:
        if os.getpid() == main:
            raise AssertionError("a task that kills its worker ran in the main process")
        die(log)
    return {"value": torch.tensor([float(value)])}


def whereabouts(value: int) -> dict[str, torch.Tensor]:
    """The process that this task runs in."""
    return {"process": torch.tensor([os.getpid()])}


def threads(value: int) -> dict[str, torch.Tensor]:
    """How many threads a task may use."""
    return {"threads": torch.tensor([torch.get_num_threads()])}


def study(folder: str) -> None:
    studies.SHARD = SHARD
    studies.study(KILLED, seeds=range(SEEDS), folder=folder, workers=1, progress=False)


async def served(kind: str, **settings) -> None:
    """A dask scheduler or worker (without a nanny, which would start it again) until it is killed."""
    import distributed

    async with getattr(distributed, kind)(host="127.0.0.1", dashboard=False, **settings) as server:
        await server.finished()


def scheduler(file: str) -> None:
    asyncio.run(served("Scheduler", port=0, scheduler_file=file))


def worker(file: str) -> None:
    asyncio.run(served("Worker", nthreads=1, scheduler_file=file))


if __name__ == "__main__":
    import torch._dynamo  # noqa: F401  the first training would load it, in each process anew

    for line in sys.stdin:
        name, argument = line.split()
        if process := os.fork():
            print(process, flush=True)
        else:
            {"study": study, "scheduler": scheduler, "worker": worker}[name](argument)
            os._exit(0)
    os.killpg(0, signal.SIGKILL)  # whoever started this is gone, or has had enough: with all its processes
