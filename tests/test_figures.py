"""What figures draw, read back from their artists: the equations hold on the lines, arrows and curves, not only in the arrays behind."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver
from reference import network, points, pushforwards, spd

import riemlib as rl

matplotlib.use("agg")
from riemlib import plot  # noqa: E402
from riemlib.companion.figures import section1, section2, section4, section5, section7, studies  # noqa: E402

pytestmark = pytest.mark.usefixtures("untyped", "closed")  # figures take arrays of axes

SAMPLE = rl.spiral(40, noise=0.02, dtype=torch.float64)
NET = network(widths=[2] * 4, step=0.5)
RADIUS = 0.3


def drawn(ax, kind) -> list:
    return [artist for artist in ax.get_children() if isinstance(artist, kind)]


def curves(ax) -> np.ndarray:
    """The curves of the last collection of lines, (m, k, 2)."""
    return np.stack(drawn(ax, LineCollection)[-1].get_segments())


def arrows(ax) -> tuple[np.ndarray, np.ndarray]:
    """Tails and vectors of the arrows, which are drawn in the units of the axes."""
    (quiver,) = drawn(ax, Quiver)
    assert (quiver.scale, quiver.angles, quiver.scale_units) == (1, "xy", "xy")
    return np.asarray(quiver.XY), np.stack([quiver.U, quiver.V], 1)


def lengths(curve, centre, g) -> np.ndarray:
    """√(v^T g v) of the points of closed curves (m, k, 2) about their centres (m, 2)."""
    away = torch.as_tensor(np.asarray(curve)) - torch.as_tensor(np.asarray(centre))[:, None]
    return torch.einsum("nab,nka,nkb->nk", torch.as_tensor(g), away, away).sqrt().numpy()


def by_hand(net, x):
    return [(P.mT @ P).numpy() for P in pushforwards(net, x)]


def run_at(at) -> section7.Run:
    return section7.Run("a network", NET, rl.geometry(NET, SAMPLE.x), rl.geometry(NET, at), RADIUS)


# Figures 1 to 4.


def test_the_dashed_line_of_the_last_panel_is_where_the_logits_are_equal():
    """And every panel has the points of its layer, each in the colour of its class."""
    fig = section7.layers(NET, SAMPLE)
    last = fig.axes[3]
    (line,) = [line for line in last.lines if line.get_linestyle() == "--"]
    logits = NET.readout(torch.from_numpy(line.get_xydata())).detach()
    assert float((logits[:, 0] - logits[:, 1]).abs().max()) < 1e-9 * 1e3
    on_either_side = NET.readout(
        torch.from_numpy(line.get_xydata().mean(0) + np.outer([1, -1], NET.readout.weight.detach().diff(dim=0)))
    ).detach()
    assert float((on_either_side[:, 1] - on_either_side[:, 0]).prod()) < 0
    for ax, x in zip(fig.axes, NET.coordinates(SAMPLE.x), strict=False):
        for c, scatter in enumerate(drawn(ax, PathCollection)):
            assert np.allclose(scatter.get_offsets(), x[SAMPLE.label == c].detach())
            assert to_hex(scatter.get_facecolor()).upper() == plot.CLASSES[c]
        assert not [line for line in ax.lines if ax is not last]


def test_the_drawn_balls_have_the_radius_in_the_metric_of_their_layer():
    at, shown = points(6, 2), [0, 1, 3]
    fig = section7.metric_balls([run_at(at)], SAMPLE.label, SAMPLE.label[:6], shown=shown)
    for ax, l in zip(fig.subfigs[0].axes, shown, strict=True):
        x = NET.coordinates(at)[l].detach()
        assert np.allclose(lengths(curves(ax), x, by_hand(NET, at)[l]), RADIUS)
        assert {text.get_text(): text.xy for text in ax.texts}.keys() == set("123456")
        assert all(np.allclose(text.xy, x[int(text.get_text()) - 1]) for text in ax.texts)


def test_the_shaded_part_is_where_the_layers_that_follow_reverse_orientation():
    """For a fold known by hand: x + tanh(-3x) reverses where 3 sech²(3x) > 1. The next layer keeps orientation everywhere."""
    W = torch.diag(torch.tensor([-3.0, 0.0]).double())
    net = rl.CkNetwork.from_weights([W, -W], [torch.zeros(2).double()] * 2)
    found = rl.geometry(net, SAMPLE.x)
    fig = section7.metric_balls([section7.Run("", net, found, found, RADIUS)], SAMPLE.label, SAMPLE.label, shown=[0, 1, 2])
    edge = np.arccosh(3**0.5) / 3
    first, *others = ([artist for artist in ax.collections if len(getattr(artist, "levels", [])) == 2] for ax in fig.subfigs[0].axes)
    (shaded,) = first
    x = np.concatenate([path.vertices[:, 0] for path in shaded.get_paths()])
    assert abs(np.abs(x).max() - edge) < 0.03
    assert not any(path.vertices.size for shade in others for artist in shade for path in artist.get_paths())


@pytest.mark.parametrize("c", [0.04, 9.0, 100.0])
def test_drawn_balls_shrink_with_the_root_of_the_metric(c):
    """The metric c times as large: outlines 1/√c as large about the same centres, in Figure 3 and of any map."""
    at, data, eta = points(6, 2), rl.geometry(NET, SAMPLE.x), c * torch.eye(2, dtype=torch.float64)
    label, shown = SAMPLE.label, range(4)
    runs = [section7.Run("", NET, data, rl.geometry(NET, at, each), RADIUS) for each in (None, eta)]
    one, other = (section7.metric_balls([run], label, label[:6], shown=shown).subfigs[0].axes for run in runs)
    for ax, scaled, x in zip(one, other, NET.coordinates(at), strict=True):
        centre = x.detach().numpy()[:, None]
        assert np.allclose((curves(scaled) - centre) * c**0.5, curves(ax) - centre)
    f = NET[:].requires_grad_(False)
    one, other = (curves(plot.metric_of(map, SAMPLE.x, RADIUS, at=at).axes[0]) for map in (f, lambda x: c**0.5 * f(x)))
    assert np.allclose((other - at.numpy()[:, None]) * c**0.5, one - at.numpy()[:, None])


def test_figure_1_draws_the_vectors_and_the_balls_of_each_layer():
    """Vectors pushed forward stay vectors of the same length, at the images of their points."""
    at, vector = points(3, 2), points(3, 2, seed=1)
    found, P = rl.geometry(NET, at), [torch.eye(2).double().expand(3, 2, 2)]
    for J in rl.jacobians(NET, at):
        P.append(J @ P[-1])
    vectors = [(p @ vector[..., None])[..., 0] for p in P]
    lines = [torch.stack([x, x + 1]) for x in found.x]
    shown = [0, 2, 3]
    fig = section1.chain(shown, rl.geometry(NET, SAMPLE.x), SAMPLE.label, lines, found, vectors, RADIUS)
    size = rl.squared_length(found.g[0], vector).sqrt().numpy()
    for ax, l in zip(fig.axes, shown, strict=False):
        tails, drawn_vectors = arrows(ax)
        assert np.allclose(tails, found.x[l].detach()) and np.allclose(drawn_vectors, vectors[l])
        assert np.allclose(lengths(drawn_vectors[:, None] + tails[:, None], tails, by_hand(NET, at)[l])[:, 0], size)
        assert np.allclose(lengths(curves(ax), tails, by_hand(NET, at)[l]), RADIUS)


def test_the_true_preimage_is_drawn_where_the_images_are_within_the_radius():
    """Every filled pixel is a point whose image is that near, and no other is; the ellipse and the number stand at their centre."""
    at, line = 0.2 * points(4, 2), torch.linspace(-1, 1, 41, dtype=torch.float64)
    run = run_at(at)
    inside = section7.preimages_of_balls(run, line)
    ax = section7.true_balls([run], SAMPLE, line, [inside]).axes[0]
    centres = NET.coordinates(at)[-1].detach()
    ellipses = rl.geometry(NET, at).balls(RADIUS)[0].outline(at)
    for image, centre, ellipse, curve in zip(ax.images, centres, ellipses, ax.lines, strict=False):
        filled = np.asarray(image.get_array())[..., 3] > 0
        assert filled.any() and image.get_extent() == [-1, 1, -1, 1] and image.origin == "lower"
        for row, column in np.ndindex(41, 41):
            y = NET.coordinates(torch.stack([line[column], line[row]])[None])[-1].detach()
            assert filled[row, column] == (float((y - centre).norm()) <= RADIUS)
        assert np.allclose(curve.get_xydata(), ellipse)
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4"]


def test_the_sizes_of_actions_are_drawn_at_their_depths_and_layers():
    rows = [("path C1", 10, 4.0, 4.0), ("path C1", 20, 2.0, 1.0), ("trained C0", 10, 3.0, 2.5)]
    by_depth = pd.DataFrame(rows, columns=["network", "depth", "size", "jump"])
    by_layer = pd.DataFrame({"network": "trained C0", "depth": 2, "layer": [0, 1], "size": [1.0, 2.0], "jump": [3.0, np.nan]})
    axes = section7.smooth_actions(by_depth, by_layer).axes
    assert [line.get_xydata().tolist() for line in axes[0].lines] == [[[10, 4], [20, 2]], [[10, 3]]]
    assert [line.get_xydata().tolist() for line in axes[1].lines] == [[[10, 4], [20, 1]], [[10, 2.5]]]
    assert axes[2].lines[0].get_xydata().tolist() == [[0, 1], [0.5, 2]] and axes[3].lines[0].get_xydata()[0].tolist() == [0, 3]


# Section 7.1.


def still(order=1, layers=2):
    """A network whose layers move nothing."""
    return rl.CkNetwork.from_weights([torch.zeros(2, 2).double()] * layers, [torch.zeros(2).double()] * layers, order=order)


def two_arms(first, second) -> rl.Sample:
    arms = [torch.as_tensor(arm, dtype=torch.float64) for arm in (first, second)]
    return rl.Sample(
        torch.cat(arms), torch.arange(2).repeat_interleave(len(arms[0])), torch.linspace(0, 1, len(arms[0])).repeat(2).double()
    )


def straight(start, stop, n=60):
    t = np.linspace(0, 1, n)[:, None]
    return (1 - t) * np.array(start) + t * np.array(stop)


def test_crossings_are_marked_where_the_arms_cross_and_counted():
    sample = two_arms(straight((-1.0, -1.0), (1.0, 1.0)), straight((-1.0, 0.7), (1.0, -0.3)))
    fig = section7.untangling(still(), sample, curve=sample)
    at = np.linalg.solve([[2.0, -2.0], [2.0, 1.0]], [0.0, 1.7])[0] * 2 - 1  # on both lines
    for l, ax in enumerate(fig.subfigs[0].axes[:3]):
        assert ax.get_title() == f"layer {l}: 1 crossing" and not ax.child_axes
        (marks,) = [line for line in ax.lines if line.get_marker() == "x"]
        assert np.allclose(marks.get_xydata(), [[at, at]], atol=1e-6)


def test_arms_that_do_not_cross_get_one_inset_where_they_come_closest():
    sample = two_arms(straight((-1.0, -1.0), (1.0, 1.0)), straight((-1.0, -0.8), (1.0, 1.05)))
    fig = section7.untangling(still(), sample, curve=sample)
    panels = fig.subfigs[0].axes[:3]
    assert [ax.get_title() for ax in panels] == ["layer 0", "layer 1", "layer 2"]
    (inset,) = [child for ax in panels for child in ax.child_axes]
    low, high = np.array([inset.get_xlim(), inset.get_ylim()]).T
    assert ((low < 1.02) & (high > 1.0)).all()  # the ends of the arms, 0.05 apart
    assert len(inset.lines) == 4 and high[0] - low[0] < 0.3
    sample = two_arms(straight((-1.0, -1.0), (1.0, 1.0)), straight((-1.0, -0.4), (1.0, 1.6)))
    fig = section7.untangling(still(), sample, curve=sample)
    assert not any(ax.child_axes for ax in fig.subfigs[0].axes)  # seen to be apart without one


def test_trajectories_are_told_in_diameters_of_their_layer():
    fig = section7.untangling(NET, SAMPLE, curve=SAMPLE, particles=2)
    images = np.stack([x.detach().numpy() for x in NET.coordinates(SAMPLE.x)])
    size = [max(np.linalg.norm(a - b) for a in x for b in x) for x in images]
    middle = (images.max(1) + images.min(1)) / 2
    for a, ax in enumerate(fig.subfigs[1].axes):
        for line, n in zip(ax.lines, (0, 19, 20, 39), strict=True):
            assert np.allclose(line.get_ydata(), (images[:, n, a] - middle[:, a]) / size)


def test_the_shaded_part_of_the_disc_is_what_the_network_turns_over():
    """x - tanh(3x) falls where cosh²(3x) < 3: a strip about the axis, less than half of the disc."""
    W = torch.tensor([[-3.0, 0.0], [0.0, 0.0]]).double()
    net = rl.CkNetwork.from_weights([W], [torch.zeros(2).double()])
    ring, success = rl.annulus(200, dtype=torch.float64), {"name": ["C1"], "share": [0.5], "low": [0.4], "high": [0.7]}
    fig = section7.turned_over(net, ring, [0, 1], pd.DataFrame(success), cells=101)
    (shaded,) = drawn(fig.axes[0], PolyCollection)
    quads = np.array([path.vertices[:4] for path in shaded.get_paths()])
    border = np.arccosh(3**0.5) / 3
    assert (np.abs(quads[:, :, 0].mean(1)) < border + 0.03).all() and len(quads) > 1000
    reach = quads[:, :, 0].max(), quads[:, :, 1].max()
    assert abs(reach[0] - border) < 0.03 and reach[1] > 0.95
    (bar,) = fig.axes[-1].patches
    assert bar.get_width() == 0.5


def test_the_readings_of_flat_are_told_of_each_arm():
    t = np.linspace(0, np.pi, 500)
    sample = two_arms(straight((0.0, 0.0), (2.0, 1.0), 500), np.stack([np.cos(t), np.sin(t)], 1))
    titles = [ax.get_title() for ax in section7.flat_readings(still(), sample).axes]
    assert titles[0].endswith("chord/length 1.00, axis 100%") and titles[2] == titles[0].replace("input", "output")
    assert "chord/length 0.64" in titles[1]


KINDS = pd.DataFrame({"network": ["C0"] * 5 + ["C1"] * 5, "solved": [True] * 10, "value": [*range(1, 6), *range(11, 16)]})


def test_null_lines_of_a_distribution_are_where_they_belong():
    untrained = KINDS.assign(value=KINDS["value"] + 0.5)
    ax = studies.distributions(KINDS, ylabel="y", untrained=untrained, null=("a null", 7.25)).axes[0]
    dashed = [line.get_xydata() for line in ax.lines if line.get_linestyle() == "--"]
    assert np.allclose([line.mean(0) for line in dashed], [[0, 3.5], [1, 13.5]])
    (dotted,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert set(dotted.get_ydata()) == {7.25}
    assert not [line for line in studies.distributions(KINDS, ylabel="y").axes[0].lines if line.get_linestyle() in ("--", ":")]


def test_untrained_networks_are_dashed_through_the_layers_and_layers_are_marked():
    rows = pd.concat([KINDS.assign(layer=l, value=KINDS["value"] + l) for l in range(4)])
    table = pd.concat([rows, rows.query("network == 'C1'").assign(network="C1 untrained")])
    ax = studies.through_layers({"y": table}, marked={"here": (1, 2)}).axes[0]
    *lines, bar = ax.lines
    styles = {(line.get_ydata()[0], line.get_linestyle(), line.get_color()) for line in lines}
    assert styles == {(3, "-", plot.NETWORKS["C0"]), (13, "-", plot.NETWORKS["C1"]), (13, "--", plot.NETWORKS["C1"])}
    assert list(bar.get_xdata()) == [1, 2]


# Sections 2 and 4.


def test_the_drawn_fold_curve_is_where_the_determinant_is_zero():
    layer = rl.CkNetwork.from_weights([torch.tensor([[-2.0, 0.3], [0.2, 0.5]]).double()], [torch.zeros(2).double()])
    star = torch.zeros(1, 2).double()
    fig = section2.folding_layer(layer, (0.0, 0.0), 1.5, star, layer.coordinates(star)[1][0].detach())
    (curve,) = [artist for artist in fig.axes[0].collections if getattr(artist, "levels", [1])[0] == 0 and len(artist.levels) == 1]
    for segment in curve.allsegs[0]:
        det = torch.linalg.det(rl.jacobians(layer, torch.from_numpy(segment).double())[0])
        assert float(det.abs().max()) < 1e-3 and len(segment) > 10
        images = layer.coordinates(torch.from_numpy(segment).double())[1].detach().numpy()
        assert any(line.get_xydata().shape == images.shape and np.allclose(line.get_xydata(), images) for line in fig.axes[1].lines)


def test_the_corners_of_the_box_of_slopes_have_the_determinants_of_the_layer():
    """det(I + h D W) with D = diag(s, t): the numbers written at the corners, and where the zero line runs."""
    W = torch.tensor([[-2.0, 0.6], [0.4, 0.5]]).double()
    layer = rl.CkNetwork.from_weights([W], [torch.zeros(2).double()], step=0.8)
    top = section2.certificate_by_slopes([layer]).axes[0]
    found = {tuple(text.xy): float(text.get_text()) for text in top.texts}
    for s, t in ((0, 0), (1, 0), (0, 1), (1, 1)):
        D = torch.diag(torch.tensor([s, t]).double())
        assert found[s, t] == pytest.approx(float(torch.linalg.det(torch.eye(2) + 0.8 * D @ W)), abs=0.006)
    (line,) = [artist for artist in top.collections if len(getattr(artist, "levels", [])) == 1]
    for s, t in line.allsegs[0][0]:
        assert abs(float(torch.linalg.det(torch.eye(2) + 0.8 * torch.diag(torch.tensor([s, t]).double()) @ W))) < 1e-3


def test_a_field_of_ellipses_is_drawn_as_given_and_grey_where_it_is_cut():
    at = points(5, 2)
    outlines, plane = (
        rl.geometry(NET, at).balls(RADIUS)[0].outline(at),
        torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 4)] * 2, indexing="xy"), -1),
    )
    cut = torch.tensor([True, False, False, True, False])
    ax = section4.ellipse_field(SAMPLE, outlines, cut, plane, torch.ones(4, 4), title="balls").axes[0]
    assert np.allclose(lengths(curves(ax), at, by_hand(NET, at)[0]), RADIUS)
    colours = [to_hex(colour) for colour in drawn(ax, LineCollection)[-1].get_colors()]
    assert [colour == section4.LIGHT_GREY for colour in colours] == cut.tolist()


def test_all_components_of_a_preimage_are_found_and_that_of_the_centre_comes_first():
    """The preimage of a small ball under (x², y) about (1, 0): one component about (1, 0), one about (-1, 0); of a large ball one."""
    line = torch.linspace(-2, 2, 81).double()
    plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    distance = ((plane[..., 0] ** 2 - 1) ** 2 + plane[..., 1] ** 2).sqrt()
    centre = torch.tensor([-1.0, 0.0]).double()
    labels = section4.Components(plane, distance, centre, 0.4, SAMPLE).labels()
    own = plane.numpy()[labels == 1]
    assert len(np.unique(labels)) == 3 and (own[:, 0] < 0).all() and len(own) > 10
    assert ((labels > 0) == (distance <= 0.4).numpy()).all()
    assert set(np.unique(section4.Components(plane, distance, centre, 1.2, SAMPLE).labels())) == {0, 1}
    fig, ((ax,),) = plot.figure()
    assert section4.Components(plane, distance, centre, 0.4, SAMPLE).draw(ax) == 2
    (mesh,) = [artist for artist in ax.collections if isinstance(artist, QuadMesh)]
    assert np.array_equal(mesh.get_array().filled(0).reshape(labels.shape), np.minimum(labels, 2))


def test_the_line_of_the_prediction_is_where_deviation_and_prediction_agree():
    circle = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    plane = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 9)] * 2, indexing="xy"), -1)
    several = section4.Components(plane, plane.norm(dim=-1), torch.zeros(2), 0.5, SAMPLE)
    gaps = pd.DataFrame({"map": ["a", "a", "b"], "predicted": [1e-4, 1e-2, 1e-3], "gap": [2e-4, 1e-2, 1.0]})
    fig = section4.preimages([circle], [1.1 * circle], torch.zeros(2), [0.3], several, gaps)
    dots = [line for line in fig.axes[2].lines if line.get_marker() == "."]
    assert np.allclose(dots[0].get_xydata(), [[1e-4, 2e-4], [1e-2, 1e-2]]) and np.allclose(dots[1].get_xydata(), [[1e-3, 1.0]])
    diagonal = [line.get_xydata() for line in fig.axes[2].lines if line.get_marker() == "None" and len(line.get_xydata()) == 2]
    assert any(np.allclose(line[:, 0], line[:, 1]) for line in diagonal)


def test_a_parallel_frame_is_drawn_in_the_direction_of_its_vectors():
    at, frames = points(6, 2), torch.linalg.inv(rl.pushforward(NET, points(6, 2)))
    constant = torch.eye(2).double().expand(6, 2, 2)
    fig = section4.parallel_frames((SAMPLE, SAMPLE), at, frames, at, constant, title="a frame")
    for ax, vectors in zip(fig.axes, (frames, constant), strict=True):
        for a, arrows_of in enumerate(artist for artist in ax.collections if hasattr(artist, "U")):
            v = np.stack([arrows_of.U, arrows_of.V], 1)
            expected = (vectors[:, :, a] / vectors[:, :, a].norm(dim=1, keepdim=True)).detach().numpy()
            assert np.allclose(v / np.linalg.norm(v, axis=1, keepdims=True), expected)


# Sections 5 and 6.


def test_drawn_frames_are_the_columns_of_the_frame_and_the_ball_is_that_of_the_class():
    """(e, g) and (e ◁ h, h⁻¹ ▷ g) are one form: the same ball in the tangent plane, other components, other vectors."""
    e, h, g = torch.eye(2).double() + 0.3 * points(2, 2), torch.eye(2).double() + 0.5 * points(2, 2, seed=1), spd(2)
    frames = torch.stack([e, rl.act_on_frame(e, h)])
    forms = torch.stack([g, rl.act_on_metric(h, g, inverse=True)])
    fig = section5.one_class(frames, forms, torch.stack([g, rl.act_on_metric(h.mT, g, inverse=True)]), ["one", "two"])
    whole = []
    for i, (top, bottom) in enumerate(np.reshape(fig.axes, (2, 2)).T):
        assert np.allclose(arrows(top)[1], frames[i].mT) and np.allclose(arrows(bottom)[1], np.eye(2))
        assert np.allclose(arrows(top)[0], 0)
        ball = next(line for line in top.lines if line.get_linestyle() == "-").get_xydata()
        components = np.linalg.solve(frames[i].numpy(), ball.T).T  # of the points of the ball, in the frame
        assert np.allclose(lengths(components[None], np.zeros((1, 2)), forms[i : i + 1]), 1)
        assert np.allclose(lengths(bottom.lines[0].get_xydata()[None], np.zeros((1, 2)), forms[i : i + 1]), 1)
        whole.append(ball)
    form = torch.linalg.inv(e).mT @ g @ torch.linalg.inv(e)
    assert np.allclose(lengths(np.stack(whole), np.zeros((2, 2)), form.expand(2, 2, 2)), 1)
    other = next(line for line in fig.axes[1].lines if line.get_linestyle() == "--").get_xydata()
    assert not np.allclose(lengths(other[None], np.zeros((1, 2)), form[None]), 1, atol=0.05)


def test_frames_through_layers_are_drawn_in_proportion_and_orthonormal_ones_touch_their_ball():
    at, layers = [3, 20, 35], [0, 2, 3]
    found = rl.geometry(NET, SAMPLE.x)
    x, g, P = found.x, [each[at] for each in found.g], [each[at].detach() for each in found.P]
    forward = [torch.eye(2).double().expand(3, 2, 2)]
    for J in rl.jacobians(NET, SAMPLE.x):
        forward.append(J[at] @ forward[-1])
    orthonormal = [torch.linalg.inv(torch.linalg.cholesky(each).mT) for each in g]
    fig = section5.frames_through_layers([each.detach() for each in x], SAMPLE.label, at, forward, orthonormal, P, layers)
    for column, l in zip(np.reshape(fig.axes, (2, 3)).T, layers, strict=True):
        for ax, frames in zip(column, (forward[l], orthonormal[l]), strict=True):
            tails, vectors = arrows(ax)
            assert np.allclose(tails, x[l][at].detach().repeat_interleave(2, 0))
            columns = vectors.reshape(3, 2, 2).swapaxes(1, 2)
            scale = np.linalg.norm(columns, axis=(1, 2)) / np.linalg.norm(frames, axis=(1, 2))
            assert np.allclose(columns, scale[:, None, None] * frames.numpy()) and (scale > 0).all()
        for i, line in enumerate(column[1].lines):  # the tips of an orthonormal frame lie on the ball of their length
            centre = x[l][at][i].detach().numpy()
            radius = lengths(line.get_xydata()[None], centre[None], g[l][i : i + 1])
            tips = lengths((centre + columns[i].T)[None], centre[None], g[l][i : i + 1])
            assert np.allclose(radius, scale[i]) and np.allclose(tips, scale[i])


def test_arrows_of_the_error_point_where_it_falls():
    """Minus the gradient and minus the differential, all of one length; the longer angle stands in the title."""
    at = torch.tensor([0, 5, 30])
    x = [each.detach() for each in NET.coordinates(SAMPLE.x)][:2]
    gradients, differentials = [points(40, 2), points(40, 2, seed=1)], [points(40, 2, seed=2), points(40, 2, seed=3)]
    angles = [torch.full((40,), 20.0), torch.full((40,), 30.0)]
    fig = section5.error_gradients(x, gradients, differentials, angles, SAMPLE.label, at, [0, 1])
    for ax, layer, drawn_at, both, title in zip(
        fig.axes, (0, 1), x, zip(differentials, gradients, strict=True), ("20°", "30°"), strict=True
    ):
        assert ax.get_title() == f"layer {layer}: median angle {title}"
        for quiver, each in zip(drawn(ax, Quiver), both, strict=True):
            vectors = np.stack([quiver.U, quiver.V], 1)
            assert np.allclose(quiver.XY, drawn_at[at]) and np.ptp(np.linalg.norm(vectors, axis=1)) < 1e-9
            assert np.allclose(vectors / np.linalg.norm(vectors[0]), -each[at] / each[at].norm(dim=1, keepdim=True))


def test_the_polar_chart_draws_the_columns_of_its_jacobian_and_their_balls():
    at = torch.tensor([[1.0, 0.0], [2.0, 1.0]]).double()
    h = torch.stack([torch.eye(2).double(), torch.tensor([[0.5, -1.6], [0.8, 1.1]]).double()])
    left, right = section5.polar_chart(at, h).axes
    assert np.allclose(arrows(left)[1], 0.25 * np.tile(np.eye(2), (2, 1)))
    assert np.allclose(arrows(right)[1], 0.25 * h.mT.flatten(0, 1))
    assert np.allclose(arrows(right)[0][::2], [[1, 0], [2 * np.cos(1), 2 * np.sin(1)]])
    for line, centre, each in zip(left.lines, at, h, strict=True):
        assert np.allclose(lengths(line.get_xydata()[None], centre[None], (each.mT @ each)[None]), 0.25)


# A map of one's own.


def test_the_balls_of_any_map_are_drawn_except_infinite_ones():
    """A fold has infinite axes on its line: the other balls are there, in the metric of automatic differentiation."""

    def fold(x):
        return torch.stack([x[:, 0] ** 2, x[:, 1] + x[:, 0]], 1)

    at = torch.cat([points(4, 2), torch.tensor([[0.0, 0.5]]).double()])
    ax = plot.metric_of(fold, SAMPLE.x, RADIUS, label=SAMPLE.label, at=at).axes[0]
    found = curves(ax)
    assert len(found) == 4
    assert np.allclose(lengths(found, at[:4], rl.pullback_metric(fold, at[:4])), RADIUS)
    assert [to_hex(scatter.get_facecolor()[:, :3][0]).upper() for scatter in drawn(ax, PathCollection)] == [*plot.CLASSES[:2]]
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\); \(n, 2\)"):
        plot.metric_of(torch.sin, points(4, 3), RADIUS)


def test_without_centres_some_of_the_points_are_the_centres():
    ax = plot.metric_of(torch.nn.Linear(2, 5).double(), rl.spiral(200, dtype=torch.float64).x, RADIUS).axes[0]
    assert 30 <= len(curves(ax)) <= 60
