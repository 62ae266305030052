"""Kernels that can start at the same time: each is reached through files in a folder of its own.

Over TCP a kernel is told which ports are free, and another process can take one of them before the kernel does. Then the kernel dies, or
two notebooks talk to one kernel. Unix sockets are files, and no other process writes into the folder. TCP stays for where they do not work.
"""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbformat import NotebookNode

# The folder.


def takes_sockets(folder: Path) -> bool:
    """Whether a kernel can use unix sockets in a folder: not on Windows, not where the path is too long (about 100 characters)."""
    trial = folder / "k-ipc-0"  # as long as the names that a kernel uses
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(trial))
        trial.unlink()
    except (AttributeError, OSError):
        return False
    return True


def own_folder() -> tuple[Path, str]:
    """A new folder for one kernel, and its transport: ipc, or tcp where no temporary folder takes unix sockets."""
    for parent in (Path(tempfile.gettempdir()), Path(os.sep, "tmp")):  # the second is short
        try:
            folder = Path(tempfile.mkdtemp(prefix="k", dir=parent))
        except OSError:
            continue
        if takes_sockets(folder):
            return folder, "ipc"
        shutil.rmtree(folder)
    return Path(tempfile.mkdtemp(prefix="k")), "tcp"


class OwnFolder:
    """For a kernel manager: its kernel gets a folder of its own, which is removed when the kernel has ended."""

    def __init__(self, **options):
        self.folder, transport = own_folder()
        self.remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)  # at exit at the latest
        super().__init__(**{"transport": transport, "connection_file": str(self.folder / "k.json"), **options})

    def cleanup_connection_file(self) -> None:
        """Called by jupyter_client after the kernel has ended."""
        super().cleanup_connection_file()  # type: ignore[misc]
        self.remove_folder()


# Their users: papermill and nbval.


class PapermillKernel(OwnFolder, AsyncKernelManager):
    """The kernel manager for papermill, see `Kernels`."""


class NbvalKernel(OwnFolder, KernelManager):
    """The kernel manager for nbval, see `for_nbval`."""


class Kernels:
    """The kernels that a run starts for papermill, in several threads. `end` ends them all, and no other starts after that."""

    def __init__(self):
        self.ended, self.managers = False, []

    def manager(self, cwd: Path, variables: dict[str, str], log: Path) -> type[PapermillKernel]:
        """A kernel manager whose kernel starts in a folder `cwd`, with environment variables besides those of this process.

        What the kernel writes that belongs to no cell goes to the file `log`, not to the terminal.
        """
        started = self

        class Kernel(PapermillKernel):
            async def start_kernel(self, **options) -> None:  # type: ignore[override]
                if started.ended:
                    raise RuntimeError("the run was stopped")
                started.managers.append(self)
                with open(log, "wb") as file:
                    own = {"cwd": str(cwd), "env": {**os.environ, **variables}, "stdout": file, "stderr": file}
                    await super().start_kernel(**{**options, **own})

        return Kernel

    def end(self, at_once: bool = False) -> None:
        """Tells the kernels, and the processes that they started, to end; or kills them. It is called until all have ended.

        A kernel that is about to start has no process yet.
        """
        self.ended = True
        for manager in list(self.managers):
            process = getattr(manager.provisioner, "process", None)
            if process is None or process.poll() is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                if hasattr(os, "killpg"):  # a kernel leads a group of processes
                    os.killpg(process.pid, signal.SIGKILL if at_once else signal.SIGTERM)
                else:
                    process.kill()


def execute(nb: NotebookNode, path: Path, parameters: dict, say: Callable[[str], object], manager: type, **options) -> None:
    """Runs a notebook with papermill into `path`; `options` are those of `papermill.execute_notebook`.

    A kernel that dies before the first cell is started once more (over TCP: with new ports), and `say` is told. A cell never runs again.
    Errors: those of papermill; RuntimeError where the second kernel dies before the first cell, too.
    """
    for last in (False, True):
        path.unlink(missing_ok=True)
        try:
            papermill.execute_notebook(nb, path, parameters, kernel_manager_class=manager, **options)
            return
        except RuntimeError as error:  # what nbclient raises when a kernel dies or does not answer
            if not path.exists() or began(path):
                raise
            if last:
                raise RuntimeError(f"its kernel died twice before the first cell ({error})") from error
            say("its kernel died before the first cell; started once more")


def began(path: Path) -> bool:
    """Whether papermill sent a cell of a notebook to its kernel. (The kernel may die before it says so: execution_count stays empty.)"""
    cells = nbformat.read(path, as_version=4).cells
    return any(cell.metadata.papermill.start_time for cell in cells if cell.cell_type == "code")


def for_nbval() -> None:
    """Gives nbval the kernels above. One that dies as it starts is started once more, with a warning."""
    import nbval.kernel

    if nbval.kernel.KernelManager is NbvalKernel:
        return
    start = nbval.kernel.start_new_kernel

    def start_new_kernel(*args, **options):
        try:
            return start(*args, **options)
        except RuntimeError as error:
            warnings.warn(f"a kernel of nbval died before the first cell ({error}); started once more", stacklevel=2)
            return start(*args, **options)

    nbval.kernel.KernelManager, nbval.kernel.start_new_kernel = NbvalKernel, start_new_kernel
