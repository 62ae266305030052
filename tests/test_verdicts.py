"""The verdicts of the notebooks on §4 die with their mathematics: none stays confirmed when the slopes of the activation are noise."""

import re
from pathlib import Path

import jupytext
import matplotlib
import pytest
import torch

matplotlib.use("agg")
import riemlib as rl  # noqa: E402
from riemlib import engines, metric  # noqa: E402
from riemlib.companion import build, figures, notebook  # noqa: E402

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("untyped")

#: notebook -> the claims that it decides with the closed form of the Jacobian
CLAIMS = {
    "04_1_metric": ["pullback-recursion", "residual-jacobian", "product-order", "pushforward-pullback", "line-element", "epsilon-delta"],
    "04_2_data_manifold": ["dimension-bottleneck"],
    "04_3_curvature": ["flatness", "gauge"],
}


@pytest.fixture
def verdicts(monkeypatch, tmp_path):
    """Runs a notebook in the quick profile up to the last of its claims above, and returns their verdicts."""
    monkeypatch.setenv("RIEMLIB_BUILD", str(tmp_path))
    monkeypatch.setenv("TQDM_DISABLE", "1")

    def run(name: str) -> dict[str, str]:
        found: dict[str, str] = {}
        monkeypatch.setattr(figures, "save", lambda fig, name: None)  # it takes longer than the rest
        monkeypatch.setattr(notebook, "decide", lambda id, verdict, *rest, **more: found.setdefault(id, verdict.verdict))
        names = {"__name__": "__main__"}
        for cell in jupytext.read(ROOT / f"notebooks/{name}.py", fmt="py:percent").cells:
            tags = cell.metadata.get("tags", [])
            if cell.cell_type == "code" and "nbval-skip" not in tags:
                exec(compile(cell.source, name, "exec"), names)
                names |= build.passed(ROOT, name, "quick") if "parameters" in tags else {}
            if set(CLAIMS[name]) <= set(found):
                return found
        raise AssertionError(f"{name} does not decide all of {CLAIMS[name]}")

    return run


@pytest.mark.parametrize("name", CLAIMS)
def test_none_is_confirmed_with_slopes_that_are_noise(name, verdicts, monkeypatch):
    forward = metric.forward_pass

    def noisy(*args, **settings):
        states, slopes = forward(*args, **settings)
        return states, [torch.cos(1e3 * slope) for slope in slopes]

    monkeypatch.setattr(metric, "forward_pass", noisy)
    monkeypatch.setattr(engines, "sweeps", lambda *_: False)
    net, x = rl.CkNetwork([2] * 3, seed=0, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    assert not torch.allclose(rl.pushforward(net, x), rl.pushforward_of(net[:], x), rtol=0.01)
    found = verdicts(name)
    assert not [claim for claim in CLAIMS[name] if re.match("confirmed", found[claim])], found
