"""For all tests: shapes in riemlib's types are checked at every call, and a CUDA device where there is one."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Before anything imports riemlib. The compiled loop is left out: numba compiles functions as they stand.
ROOMS = (Path(__file__).parent.parent / "riemlib").iterdir()
install_import_hook([f"riemlib.{room.stem}" for room in ROOMS if not room.stem.startswith("_")], "beartype.beartype")

torch.set_num_threads(1)  # small tensors, and another worker beside this one

settings.register_profile("riemlib", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("riemlib")


def pytest_configure() -> None:
    """The kernels of nbval start side by side, in several workers."""
    from riemlib.companion import kernels  # here, after the hook

    kernels.for_nbval()


@pytest.fixture
def cuda() -> torch.device:
    """A CUDA device; the test is skipped where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.fixture
def untyped():
    """The functions as users meet them, without the run-time check of types: what riemlib itself refuses, and how fast it is."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def closed():
    """Figures that a test leaves open are closed after it."""
    yield
    from matplotlib import pyplot  # here, after a test has chosen the backend

    pyplot.close("all")


@pytest.fixture
def alone(monkeypatch):
    """No cluster and no folder of the user's."""
    for name in ("RIEMLIB_SCHEDULER", "RIEMLIB_STUDIES", "RIEMLIB_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
