"""Files that are never half written."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def renamed_to(path: Path) -> Iterator[Path]:
    """A file beside `path`, to be written. It gets the name `path` at the end, and is removed where writing fails.

    Its own name holds the process and the thread, so that two of them can write the same file at the same time.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
