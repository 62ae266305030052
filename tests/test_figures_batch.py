"""What the figures of section 7.3 draw, read back from their artists."""

import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from reference import network

import riemlib as rl

matplotlib.use("agg")
from riemlib import curves  # noqa: E402
from riemlib.companion import contrasts  # noqa: E402
from riemlib.companion.figures import studies as draw  # noqa: E402
from riemlib.companion.figures.protocol import READINGS  # noqa: E402

pytestmark = pytest.mark.usefixtures("untyped", "closed")  # figures take arrays of axes


def alt_of(fig) -> str:
    return fig._repr_mimebundle_()[1]["image/png"]["alt"]


def table(**values) -> pd.DataFrame:
    """measure -> {(network, batch): values}."""
    parts = []
    for measure, groups in values.items():
        for (kind, size), each in groups.items():
            rows = {"measure": measure, "network": kind, "batch_size": size, "seed": range(len(each)), "solved": True, "value": each}
            parts.append(pd.DataFrame(rows))
    return pd.concat(parts)


def squares(ax) -> list[np.ndarray]:
    return [line.get_xydata() for line in ax.lines if line.get_marker() == "s"]


def test_medians_and_shares_stand_over_their_batch_size():
    """Sizes in their order though the table has another; of two networks side by side; and the lines of what is compared with."""
    gaps = {("C1", 1000): [3.0, 4.0, 5.0], ("C1", 30): [1.0, 2.0, 9.0], ("C0", 30): [7.0, 7.0, 8.0]}
    pieces = {("C1", 30): [True, False, False, False], ("C1", 1000): [True] * 4}
    nulls, references = {"gap": {"C1": 1.5, "C2": 99.0}}, {"gap": (2.5, "whole")}
    fig = draw.batches(table(gap=gaps, torn=pieces), nulls=nulls, references=references, shares=["torn"])
    left, right = fig.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["30", "1000"]
    found = np.concatenate(squares(left))
    assert sorted(found[:, 1].tolist()) == [2, 4, 7] and found[found[:, 1] == 4][0, 0] > 0.5 > found[found[:, 1] == 2][0, 0]
    assert len(set(found[:, 0].tolist())) == 3
    assert np.concatenate(squares(right))[:, 1].tolist() == [0.25, 1.0]
    level = {line.get_linestyle(): line.get_ydata()[0] for line in left.lines if line.get_linestyle() in (":", "--")}
    assert level == {":": 1.5, "--": 2.5} and "whole" in [text.get_text() for text in left.texts]
    assert "gap, C1, 30: 2; " in alt_of(fig) and "torn, C1, 30: 0.25" in alt_of(fig)


def test_batch_sizes_that_are_names_keep_their_order():
    fig = draw.batches(
        table(error={("C1", "300"): [0.1, 0.2], ("C1", "1000, rate × 2"): [0.3, 0.4], ("C1", "1000"): [0.2, 0.3]}), percent=["error"]
    )
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["300", "1000, rate × 2", "1000"]
    assert float(ax.yaxis.get_major_formatter()(0.2).removesuffix("%")) == 20


def test_a_contrast_is_drawn_as_a_factor_in_the_colour_of_its_reading():
    rng = np.random.default_rng(0)
    say = "{} smaller", "{} larger"
    logs = {"primary": rng.normal(1.5, 0.2, 40), "none": rng.normal(0.0, 0.1, 40), "opposite": rng.normal(-1.2, 0.1, 40)}
    found = {name: contrasts.ratio(np.exp(log), np.ones(40), delta=math.log(2), say=say) for name, log in logs.items()}
    fig = draw.shifts(found, xlabel="gap")
    ax = fig.axes[0]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    for y, (dot, each, reading) in enumerate(zip(dots, found.values(), ["for", "absent", "against"], strict=True)):
        assert dot.get_xydata().tolist() == [pytest.approx([math.exp(each.estimate), y])]
        assert each.reading == reading and to_hex(dot.get_color()) == to_hex(READINGS[reading])
    bars = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2.4]
    assert np.allclose(bars, [np.exp([each.low, each.high]) for each in found.values()])
    assert sorted(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--") == pytest.approx([0.5, 2])
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == list(found) and labels[0].get_fontweight() == "bold" != labels[1].get_fontweight()
    low, high = ax.get_xlim()
    assert low < np.exp(found["opposite"].low) and high > np.exp(found["primary"].high) and ax.get_ylim()[0] > ax.get_ylim()[1]


def test_the_red_line_joins_the_neighbours_that_are_furthest_apart():
    """On whichever arm, and never across the two; the number above is the gap over the diameter."""
    sample, curve = rl.spiral(60, dtype=torch.float64), rl.spiral(600, dtype=torch.float64)
    nets = {"one\nbatch 300": network(widths=[2] * 4, seed=1), "two\nbatch 1000": network(widths=[2] * 4, seed=2)}
    shown = [0, 1, 3]
    fig = draw.torn_layers(nets, sample, curve, shown, title="Figure 4")
    axes = np.array(fig.axes).reshape(3, 2)
    for j, (name, net) in enumerate(nets.items()):
        for i, l in enumerate(shown):
            x = net.coordinates(sample.x)[l].detach()
            pairs = {(a, a + 1): float((x[a] - x[a + 1]).norm()) for a in range(59) if sample.label[a] == sample.label[a + 1]}
            (red,) = [line for line in axes[i, j].lines if to_hex(line.get_color()).upper() == draw.GAP]
            ends = np.array(red.get_xydata())
            assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(max(pairs.values()))
            assert any(np.allclose(ends, x[list(pair)]) for pair in pairs)
            gap = float(curves.largest_gap(x, sample.label))
            assert axes[i, j].get_title().endswith(f"gap {gap:.1%}") and axes[i, j].get_aspect() == 1
            assert (name in axes[i, j].get_title()) == (i == 0)
        assert axes[0, j].lines and len(axes[0, j].collections) == 2  # hairlines, and the points of both classes
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["layer 0", "layer 1", "layer 3"]
    assert "Figure 4" in alt_of(fig) and "two batch 1000" in alt_of(fig)
