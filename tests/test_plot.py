"""Drawing: points in the colour of their class, one panel per layer, the readout's line, balls as curves."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from reference import error, network, points

import riemlib as rl

matplotlib.use("agg")
from riemlib import plot  # noqa: E402


@pytest.fixture
def ax():
    fig, axes = plot.figure()
    yield axes[0, 0]
    plot.plt.close(fig)


def test_every_class_has_its_colour_and_its_points(ax):
    x, label = points(7, 2), torch.tensor([1, 0, 1, 1, 0, 2, 2])
    plot.scatter_classes(ax, x, label, size=2.0)
    for c, drawn in enumerate(ax.collections):
        assert np.array_equal(drawn.get_offsets(), x[label == c]) and drawn.get_sizes().tolist() == [2.0]
        assert to_hex(drawn.get_facecolor()).upper() == plot.class_colour(c) == plot.CLASSES[c]
    assert len(ax.collections) == 3 and plot.class_colour(4) == plot.CLASSES[0]


def test_a_grid_shows_one_panel_per_layer_and_no_more():
    fig, axes = plot.layer_grid(6, columns=4, name="x({})")
    assert len(axes) == 6 and [ax.get_title() for ax in axes] == [f"x({i})" for i in range(6)]
    assert [ax.get_visible() for ax in fig.axes] == [True] * 6 + [False] * 2
    plot.plt.close(fig)


def test_the_readouts_line_is_where_both_classes_are_equally_likely(ax):
    """The limits that were set stay."""
    net = network(widths=[2] * 3)
    ax.set(xlim=(-1, 1), ylim=(-2, 2))
    plot.hyperplane(ax, net)
    (line,) = ax.lines
    on_it = torch.from_numpy(line.get_xydata())
    logits = net.readout(on_it).detach()
    assert float((logits[:, 0] - logits[:, 1]).abs().max()) < 1e-9 * float(on_it.abs().max())
    assert np.hypot(*np.diff(line.get_xydata(), axis=0)[0]) == pytest.approx(2e3)
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (-2, 2)


def test_square_limits_hold_all_points(ax):
    plot.square_limits(ax, torch.tensor([[0.0, 1.0], [4.0, 2.0]]), margin=0.25)
    assert ax.get_xlim() == (-1.0, 5.0) and ax.get_ylim() == (-1.5, 4.5)


def test_outlines_are_curves_of_constant_length_at_every_layer():
    net, x = network(widths=[2] * 4), points(5, 2)
    found = rl.geometry(net, x)
    curves = plot.outlines(found, 0.3)
    assert [tuple(curve.shape) for curve in curves] == [(5, 97, 2)] * 4
    for curve, g, centre in zip(curves, found.g, found.x, strict=True):
        away = curve - centre[:, None]
        length = torch.einsum("nab,nka,nkb->nk", g, away, away)
        assert error([length], [torch.full_like(length, 0.09)]) < 1e-9
    with pytest.raises(ValueError, match="the state has 4 components at some layer; 2 at every layer are needed"):
        plot.outlines(rl.geometry(network(widths=[2] * 4, order=2), x), 0.3)


def test_anything_like_an_array_is_an_array():
    assert np.array_equal(plot.as_array(torch.ones(2, requires_grad=True)), np.ones(2)) and np.array_equal(plot.as_array([1, 2]), [1, 2])
