"""Processes that end when they should: with the one that started them, or in good order at a signal."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

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


def is_alive(process: int) -> bool:
    """Whether a process with this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, and belongs to another user
        return True
    return True


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by Ctrl-C or SIGTERM; `signal` says which of them it was."""

    def __init__(self, number: int):
        self.signal = signal.Signals(number)
        super().__init__("Ctrl-C" if number == signal.SIGINT else self.signal.name)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `Stopped`, so that both end in the same good order. The second signal ends the process at once."""

    def stop(number: int, frame) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
