"""What the figures of section 3 draw, read back from their artists."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle

matplotlib.use("agg")
from riemlib.companion.figures import section3  # noqa: E402

pytestmark = pytest.mark.usefixtures("untyped", "closed")  # figures take arrays of axes


def test_below_the_errors_stand_their_local_orders():
    h = 1 / np.array([10, 20, 40])
    table = pd.DataFrame({"case": ["first"] * 3 + ["second"] * 3, "step": [*h, *h], "error": [*(3 * h), *h**2]})
    above, below = section3.orders({"both": table}).axes
    assert [line.get_ydata().tolist() for line in above.lines[:2]] == [(3 * h).tolist(), (h**2).tolist()]
    local = [line for line in below.lines if line.get_marker() != "None"]
    for line, order in zip(local, (1, 2), strict=True):
        assert np.allclose(line.get_ydata(), order) and np.allclose(line.get_xdata(), [10, 20])
    assert [text.get_text() for text in below.get_legend().get_texts()] == ["first: 1.00", "second: 2.00"]


def test_the_velocities_have_a_ruler_of_their_own():
    positions = {"half start": torch.tensor([0.0, 0.25, 0.75]), "uniform": torch.tensor([0.0, 0.5, 1.0])}
    (ax,) = section3.rulers(positions, {"half start": torch.tensor([0.0, 0.5])}).axes
    assert [np.asarray(line.get_xdata()).tolist() for line in ax.lines] == [[0.0, 0.25, 0.75], [0.0, 0.5], [0.0, 0.5, 1.0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["half start, $x$", "half start, $D_1$", "uniform"]


def test_distances_are_drawn_with_their_median_and_that_of_untrained_networks():
    pairs = pd.DataFrame({"start": "one", "seed": [0, 1, 2] * 2, "depth": [5] * 3 + [10] * 3})
    pairs = pairs.assign(distance=[1.0, 2.0, 4.0, 0.5, 1.0, 2.0], untrained=[8.0] * 3 + [4.0] * 3)
    profiles = pd.DataFrame({"start": "one", "depth": [1, 2, 2], "layer": [0, 0, 1], "weight": [0.1, 0.2, 0.3]})
    *_, right = section3.weights(profiles, pairs, {"one": "seed 1"}).axes
    every, median, untrained = right.lines
    assert every.get_ydata().tolist() == pairs["distance"].tolist()
    assert median.get_ydata().tolist() == [2.0, 1.0] and untrained.get_ydata().tolist() == [8.0, 4.0]


def test_bars_are_as_high_as_the_shares():
    rows = [
        (2, "own", 0.5, 0.4, 0.6, 66),
        (2, "shared", 0.1, 0.0, 0.2, 12),
        (4, "own", 0.9, 0.8, 0.95, 220),
        (4, "shared", 0.3, 0.2, 0.4, 34),
    ]
    success = pd.DataFrame(rows, columns=["width", "network", "share", "low", "high", "parameters"])
    (ax,) = section3.sharing(success).axes
    bars = sorted((bar for bar in ax.patches if isinstance(bar, Rectangle)), key=lambda bar: bar.get_x())
    assert [bar.get_height() for bar in bars] == [0.5, 0.1, 0.9, 0.3]
    assert [text.get_text() for text in ax.texts] == ["66", "12", "220", "34"]


def test_the_letter_of_a_turned_sheet_is_mirrored():
    """At inputs where the Jacobian turns the plane over, the drawn F has its arms on the other side."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 5)] * 2, indexing="xy"), -1)
    meeting = torch.zeros(4, 3, 2)
    meeting[0] = torch.tensor([[-0.5, 0.0], [0.0, 0.0], [0.5, 0.0]])
    jacobians = torch.stack([torch.eye(2), torch.diag(torch.tensor([-2.0, 1.0])), torch.tensor([[0.0, -1.0], [1.0, 0.0]])])
    left = section3.projection_fold(grid, grid, torch.ones(5, 5), meeting, jacobians, 2, 0).axes[0]
    stems = [line.get_xydata() for line in left.lines if len(line.get_xdata()) == 3 and line.get_color() == "k"]
    turns = [float(np.linalg.det(np.stack([stem[1] - stem[0], stem[2] - stem[1]]))) for stem in stems]
    assert len(turns) == 3 and turns[0] < 0 < turns[1] and turns[2] < 0
    assert np.ptp(stems[0], axis=0).max() == pytest.approx(2 * 0.06 * 2, rel=0.01)
