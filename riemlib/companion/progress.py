"""How far a study is: on a bar where a person looks on, and from the kernel of a run in a small file, which the run shows."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from .files import renamed_to


class Told:
    """In the place of a bar: writes "done total description" into a file at each step."""

    def __init__(self, file: Path, total: int, description: str):
        self.file, self.done, self.total, self.description = file, 0, total, description
        self.update(0)

    def update(self, steps: int = 1) -> None:
        self.done += steps
        with contextlib.suppress(OSError), renamed_to(self.file) as beside:  # no reason for a study to fail
            beside.write_text(f"{self.done} {self.total} {self.description}", encoding="utf-8")


@contextlib.contextmanager
def bar(total: int, description: str, shown: bool) -> Iterator[tqdm | Told]:
    """A bar of `total` steps; what it says goes to the file RIEMLIB_PROGRESS where that is set, as it is in the kernels of a run."""
    file = os.environ.get("RIEMLIB_PROGRESS")
    if file and shown and total:
        yield Told(Path(file), total, description)
        Path(file).unlink(missing_ok=True)
    else:
        silent = not shown or not total or bool(os.environ.get("TQDM_DISABLE"))
        with tqdm(total=total, desc=description, unit="shard", leave=False, disable=silent) as steps:
            yield steps


def told(file: Path) -> str:
    """What was written into a file, for a reader: "train shards 3/20"; empty where there is nothing."""
    try:
        done, total, description = file.read_text(encoding="utf-8").split(maxsplit=2)
    except (OSError, ValueError):
        return ""
    return f"{description} {done}/{total}"
