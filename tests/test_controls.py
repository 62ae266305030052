"""Controls to play with: what stands there without a front end, what turning does, errors, buttons, and every control of the notebooks."""

import re
import time
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import ipywidgets
import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import riemlib as rl
from riemlib import bundles, limits
from riemlib.companion import controls
from riemlib.companion.controls import Panel, play
from riemlib.companion.figures import section1, section2, section3, section4, section5, section7
from riemlib.plot import figure


class Drawing:
    """A drawing function that remembers the data it has drawn."""

    def __init__(self):
        self.lines = []

    def __call__(self, height=1.0, kind="line"):
        fig, ((ax,),) = figure(width=2.0)
        if height < 0:
            raise ValueError(f"height is {height}; <a positive number> is needed\nand more")
        (line,) = ax.plot([0, 1], [0, height] if kind == "line" else [height, height])
        self.lines.append(line.get_ydata())
        return fig

    __name__ = "drawing"


@pytest.fixture
def draw() -> Drawing:
    plt.close("all")  # what other tests left open
    return Drawing()


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """The outputs of a cell by their formats."""
    outputs = []
    monkeypatch.setattr(controls, "display", lambda data, metadata, raw: outputs.append(data))
    return outputs


@pytest.fixture
def front_end(monkeypatch):
    """A kernel whose front end can be asked for input."""
    kernel = SimpleNamespace(_allow_stdin=True)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(controls, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    return kernel


def turned(panel: Panel) -> bytes:
    return bytes(panel.picture.value)


# Whether anybody is there.


def test_without_a_front_end_there_is_one_picture_and_no_widget(draw, shown, monkeypatch):
    monkeypatch.setattr(controls, "Panel", None)
    play(draw, height=(-1.0, 2.0), kind=["line", "level"])
    assert len(shown) == 1 and set(shown[0]) == {"image/png", "text/plain"} and "Loading" not in shown[0]["text/plain"]
    assert len(draw.lines) == 1 and plt.get_fignums() == []


def test_a_front_end_gets_the_controls_and_the_same_picture(draw, shown, front_end):
    play(draw, height=(-1.0, 2.0))
    assert len(shown) == 1 and "application/vnd.jupyter.widget-view+json" in shown[0]
    live = shown.pop()["image/png"]
    front_end._allow_stdin = False
    play(draw, height=(-1.0, 2.0))
    assert shown[0]["image/png"] == live and set(shown[0]) == {"image/png", "text/plain"}


def test_a_live_picture_has_the_pixels_of_the_static_one(draw, shown):
    play(draw, height=(-1.0, 2.0))
    live, static = turned(Panel(draw, [], {"height": (-1.0, 2.0)})), b64decode(shown[0]["image/png"])
    assert live != static  # compressed less, which takes less time
    np.testing.assert_array_equal(plt.imread(BytesIO(live)), plt.imread(BytesIO(static)))


def test_a_runner_that_hides_progress_bars_gets_no_widget(draw, shown, front_end, monkeypatch):
    assert controls.is_live()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert not controls.is_live()


# Turning.


def test_each_control_changes_the_picture(draw):
    panel = Panel(draw, [], {"height": (0.0, 2.0, 0.5), "kind": ["line", "level"]})
    assert isinstance(panel.controls["height"], ipywidgets.FloatSlider) and panel.values == {"height": 1.0, "kind": "line"}
    pictures = [turned(panel)]
    panel.controls["height"].value = 1.5
    pictures.append(turned(panel))
    panel.controls["kind"].value = "level"
    pictures.append(turned(panel))
    np.testing.assert_array_equal(draw.lines, [[0, 1], [0, 1.5], [1.5, 1.5]])
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert plt.get_fignums() == []


def test_an_error_keeps_the_picture_and_says_why_in_one_line(draw):
    panel = Panel(draw, [], {"height": (-1.0, 2.0)})
    before = turned(panel)
    panel.controls["height"].value = -0.5
    assert turned(panel) == before and plt.get_fignums() == []
    reason = "ValueError: height is -0.5; &lt;a positive number&gt; is needed"
    assert panel.message.value == f"This is still the last picture. {reason}"
    panel.controls["height"].value = 2.0
    assert turned(panel) != before and panel.message.value == ""


@pytest.mark.parametrize("given", [{"height": (2.0, 3.0)}, {"kind": ["a", "b"]}, {"height": None}])
def test_a_control_that_does_not_hold_the_default_is_refused(draw, given):
    with pytest.raises(ValueError, match="one that holds the default"):
        Panel(draw, [], given)


def test_a_control_needs_a_parameter_with_a_default(shown):
    with pytest.raises(ValueError, match="has no default for width, depth"):
        play(lambda width, height=1: None, width=(1, 2), height=(1, 2), depth=(1, 2))


def test_a_button_acts_on_the_values_draws_again_and_reports(draw):
    found = []

    def measure_it(height, kind):
        assert panel.buttons["measure_it"].disabled  # while it runs
        found.append((height, kind))
        if height > 1:
            raise RuntimeError("too high")
        return "measured: <1 m"

    panel = Panel(draw, [measure_it], {"height": (-2.0, 2.0), "kind": ["line", "level"]})
    button = panel.buttons["measure_it"]
    button.click()
    assert found == [(1.0, "line")] and panel.message.value == "measured: &lt;1 m" and len(draw.lines) == 2
    panel.controls["height"].value = 1.5
    button.click()
    assert panel.message.value == "measure it failed. RuntimeError: too high" and len(draw.lines) == 3
    panel.controls["height"].value = -1.0
    button.click()
    assert "height is -1.0" in panel.message.value and not button.disabled


# The controls of the notebooks: their cells, after small networks in place of trained ones.


def namespace_01() -> dict:
    sample, net, data = spiral_and_network()
    line, fine = (torch.linspace(-1.1, 1.1, k, dtype=torch.float64) for k in (12, 121))
    across = torch.stack([torch.cartesian_prod(line, fine), torch.cartesian_prod(line, fine).flip(1)]).flatten(0, 1)
    lines = [x.reshape(-1, len(fine), 2) for x in net.coordinates(across)]
    vectors = [torch.tensor([[0.0, 0.2], [0.2, 0.0]], dtype=torch.float64)]
    ratio = data.balls(1.0)[0].condition_number.sqrt().view(2, -1)
    return {
        "ratio": ratio,
        "share": 0.03,
        "half": len(sample) // 2,
        "sample": sample,
        "net": net,
        "data": data,
        "lines": lines,
        "vectors": vectors,
        "radius": 0.1,
    }


def namespace_02() -> dict:
    return {"b": torch.tensor([0.3, -0.2], dtype=torch.float64), "where": {"dtype": torch.float64}}


def namespace_03() -> dict:
    x = torch.rand(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    paths, l = [limits.smooth_field(2, seed=0)], torch.linspace(0.02, 1, 50).tolist()
    exact = {f"C{order}": torch.cat([x[None], limits.solve(*paths[0], x, order=order, at=l)]) for order in (1, 2)}
    return {"x": x, "paths": paths, "exact": exact}


def namespace_04() -> dict:
    sample, trained, _ = spiral_and_network()
    return {"sample": sample, "trained": trained, "W": trained.readout.weight, "device": "cpu"}


def namespace_05() -> dict:
    e, _, _, root = bundles.group_elements(4, 2, seed=5, spread=1.8)
    g = root.mT @ root
    orthonormal = torch.linalg.inv(torch.linalg.cholesky(g)).mT
    names = {"e": e, "g": g, "orthonormal": orthonormal, "names": ["$e$", "$eh$", "$ek$", "orthonormal"]}
    return names | {"act_on_frame": bundles.act_on_frame, "act_on_metric": bundles.act_on_metric}


def namespace_07_1() -> dict:
    base = rl.Condition(updates=2)
    trained = rl.study([base], seeds=range(2), workers=1, progress=False)
    return {"base": base, "trained": trained, "replace": replace, "updates": 5, "seeds": 2, "depth": base.depth}


def namespace_07_2() -> dict:
    sample, net, data = spiral_and_network()
    run = section7.Run("a network", net, data, data, 0.1)
    return {"sample": sample, "runs": [run], "share": 0.006, "half": len(sample) // 2}


def namespace_07_3() -> dict:
    base, batches = rl.Condition(updates=2), [100, 300]
    study = rl.study([replace(base, batch_size=batch) for batch in batches], seeds=range(2), workers=1, progress=False)
    return {"base": base, "batches": batches, "study": study, "drawn": 1, "depth": base.depth, "replace": replace}


def spiral_and_network():
    sample = rl.spiral(1000, dtype=torch.float64)
    net = rl.CkNetwork([2] * 11, seed=0, dtype=torch.float64).requires_grad_(False)
    return sample, net, rl.geometry(net, sample.x)


#: notebook -> what its control cell finds, and another value for each control
NOTEBOOKS = {
    "01_introduction": (namespace_01, {"layer": 2, "epsilon": 0.1, "point": 400}),
    "02_notation": (namespace_02, {"W12": 2.0, "W21": -1.0}),
    "03_ck_networks": (namespace_03, {"order": 2, "depth": 30}),
    "04_3_curvature": (namespace_04, {"output": "centred logits", "stretch": 3.0, "epsilon": 0.1}),
    "05_lie_groups": (namespace_05, {"h11": 0.5, "h12": -1.0, "h21": 0.3, "h22": 2.0}),
    "07_1_smoothness": (namespace_07_1, {"order": 2, "turns": 1.5, "seed": 7}),
    "07_2_metric_balls": (namespace_07_2, {"layer": 2, "epsilon": 0.05, "point": 10}),
    "07_3_batch_size": (namespace_07_3, {"batch": 100}),
}
FOLDER = Path(__file__).parent.parent / "notebooks"


def control_cells(name: str) -> list[str]:
    """The code of a notebook that nbval passes over: what belongs to its control, `play` last."""
    cells = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent").cells
    return [cell.source for cell in cells if "nbval-skip" in cell.metadata.get("tags", [])]


@pytest.fixture
def panel_of(monkeypatch, tmp_path, untyped):
    """Runs the control cell of a notebook and returns its panel."""
    monkeypatch.setenv("RIEMLIB_STUDIES", str(tmp_path))

    def run(name: str) -> Panel:
        panels = []
        monkeypatch.setattr(controls, "play", lambda draw, *buttons, **given: panels.append(Panel(draw, buttons, given)))
        modules = {module.__name__.split(".")[-1]: module for module in (section1, section2, section3, section4, section5, section7)}
        names = {"rl": rl, "torch": torch, "limits": limits, "replace": replace, **modules, **NOTEBOOKS[name][0]()}
        exec(compile("\n".join(control_cells(name)), name, "exec"), names)
        (panel,) = panels
        return panel

    return run


def data_drawn(fig) -> list[np.ndarray]:
    """The lines, points, curves and arrows of a figure."""
    found = []
    for ax in fig.axes:
        found += [np.asarray(line.get_xydata(), float) for line in ax.lines]
        for each in ax.collections:
            found += [np.asarray(each.get_offsets(), float), *(path.vertices for path in each.get_paths())]
            found += [np.stack([each.U, each.V])] if hasattr(each, "U") else []
    return found


def same_data(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def test_the_notebooks_with_a_control_are_these():
    playing = [path.stem for path in sorted(FOLDER.glob("*.py")) if re.search(r"^play\(", path.read_text("utf-8"), re.MULTILINE)]
    assert playing == [*NOTEBOOKS]
    assert all("play(" in control_cells(name)[-1].splitlines()[-1] for name in playing)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_turning_each_control_of_a_notebook_changes_what_is_drawn(name, panel_of):
    panel, others = panel_of(name), NOTEBOOKS[name][1]
    assert [*panel.controls] == [*others]
    seen = []
    draw = panel.draw
    panel.draw = lambda **values: seen.append(draw(**values)) or seen[-1]
    panel.redraw()
    start = data_drawn(seen[-1])
    for control, value in others.items():
        widget = panel.controls[control]
        first, widget.value = widget.value, value
        assert panel.message.value == "" and widget.value == value
        assert not same_data(data_drawn(seen[-1]), start), control
        widget.value = first
        assert same_data(data_drawn(seen[-1]), start), control


def test_a_frame_that_is_none_is_refused_in_one_line(panel_of):
    panel = panel_of("05_lie_groups")
    for entry in panel.controls.values():
        entry.value = 1.0
    assert "elements of GL(d), invertible, are needed" in panel.message.value and "\n" not in panel.message.value


def test_the_button_of_section_7_1_trains_and_reports(panel_of):
    panel = panel_of("07_1_smoothness")
    panel.controls["seed"].value = 3
    untrained = turned(panel)
    panel.buttons["train"].click()
    assert re.fullmatch(r"5 updates: \d+\.\d% of the points are misclassified", panel.message.value)
    trained = turned(panel)
    assert trained != untrained
    panel.controls["order"].value = 0
    panel.controls["order"].value = 1
    assert turned(panel) == trained  # kept


@pytest.mark.speed
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_redraw_takes_a_fifth_of_a_second(name, panel_of):
    """By the processor's clock, so that other work on the machine does not count; half as much again is let pass."""
    panel, times = panel_of(name), []
    for _ in range(5):
        start = time.process_time()
        panel.redraw()
        times.append(time.process_time() - start)
    assert min(times) < 1.5 * 0.2, f"{min(times):.2f} s"
