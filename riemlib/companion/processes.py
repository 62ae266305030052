"""Processes that end with the one that started them."""

import os
import threading
import time

_watching: set[int] = set()


def end_with(parent: int) -> None:
    """Ends this process, at once, when process `parent`, which started it, has ended. A thread looks twice a second.

    A worker has to call this itself: a parent that was killed can no longer tell its workers to stop.
    """
    if parent == os.getpid() or parent in _watching:
        return
    _watching.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
