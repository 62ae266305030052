"""What the shards measure, by independent routes: loops, formulas of circles and lines, ripser; with controls that must fail."""

import math

import numpy as np
import pytest
import shapely
import torch
from ripser import ripser
from sklearn.linear_model import LogisticRegression

import riemlib as rl
from riemlib import curves


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def line(n, start=(0.0, 0.0), stop=(1.0, 0.0)):
    a, b = torch.tensor([start, stop], dtype=torch.float64)
    return a + torch.linspace(0, 1, n, dtype=torch.float64)[:, None] * (b - a)


def arc(n, angle=2 * math.pi, radius=1.0):
    t = torch.linspace(0, angle, n, dtype=torch.float64)
    return radius * torch.stack([t.cos(), t.sin()], 1)


def one(x):
    """Labels that put all points on one arm."""
    return torch.zeros(len(x), dtype=torch.int64)


def two(a, b):
    """Two arms as one picture, and which point is on which."""
    return torch.cat([a, b]), torch.tensor([0] * len(a) + [1] * len(b))


# From layer to layer.


def test_roughness_is_what_loops_sum():
    images = uniform(6, 5, 2)
    second = first = 0.0
    for n in range(5):
        for a in range(2):
            first += sum(float(images[l + 1, n, a] - images[l, n, a]) ** 2 for l in range(5))
            second += sum(float(images[l + 1, n, a] - 2 * images[l, n, a] + images[l - 1, n, a]) ** 2 for l in range(1, 5))
    assert float(curves.roughness(images)) == pytest.approx(second / first, rel=1e-12)


def test_roughness_of_straight_motion_is_0_and_of_jumping_to_and_fro_4():
    """Each point at a speed of its own; then to and fro by a: 16 a² for each of L - 1 layers over 4 a² for each of L."""
    start, speed = uniform(7, 2), uniform(7, 2, seed=1)
    layers = torch.arange(201, dtype=torch.float64)[:, None, None]
    assert float(curves.roughness(start + layers * speed)) < 1e-20
    assert float(curves.roughness((start + layers.remainder(2) * speed)[:4])) == pytest.approx(4 * 2 / 3)
    assert 3.97 < float(curves.roughness(start + layers.remainder(2) * speed)) < 4
    uneven = start + layers.square() * speed  # straight, but faster and faster
    assert float(curves.roughness(uneven[:5])) == pytest.approx(3 * 4 / (1 + 9 + 25 + 49))


def test_roughness_is_a_pure_number():
    images = uniform(6, 5, 2)
    turn = torch.linalg.qr(uniform(2, 2, seed=3))[0]
    for moved in (1e6 * images, 1e-6 * images, images + 10, images @ turn, images.flip(0)):
        assert float(curves.roughness(moved)) == pytest.approx(float(curves.roughness(images)), rel=1e-6)
    assert float(curves.roughness(images.square())) != pytest.approx(float(curves.roughness(images)), rel=1e-2)


def test_roughness_where_nothing_moves_is_not_a_number():
    assert curves.roughness(uniform(3, 5, 2)) > 0
    assert curves.roughness(uniform(1, 5, 2).expand(4, 5, 2)).isnan()


# One layer.


def test_axes_in_front_are_carried_along():
    """Seeds and layers at once give what a loop over them gives."""
    images, label = uniform(3, 4, 60, 2), torch.tensor([0] * 25 + [1] * 35)
    measures = {
        "diameter": curves.diameter,
        "gap ratio": lambda x: curves.gap_ratio(x, label),
        "largest gap": lambda x: curves.largest_gap(x, label),
        "length": lambda x: curves.length(x, label),
        "turning": lambda x: curves.turning(x, label),
        "straightness": lambda x: curves.straightness(x, label),
        "first axis": lambda x: curves.first_axis(x, label),
        "components": lambda x: curves.components(x, label, scale=0.15),
    }
    for name, measure in measures.items():
        alone = torch.stack([torch.stack([measure(x) for x in layers]) for layers in images])
        assert alone.shape == (3, 4) and len(alone.unique()) > 3, name
        assert torch.allclose(measure(images).double(), alone.double(), rtol=1e-12), name
    alone = torch.stack([curves.roughness(layers) for layers in images])
    assert alone.shape == (3,) and torch.allclose(curves.roughness(images), alone, rtol=1e-12)
    assert torch.allclose(curves.roughness(images[:, None]), alone[:, None], rtol=1e-12)


def test_arms_keep_the_order_of_their_points():
    x, label = uniform(3, 7, 2), torch.tensor([2, 0, 2, 0, 0, 2, 5])
    found = curves.arms(x, label)
    assert [arm.shape for arm in found] == [(3, 3, 2), (3, 3, 2), (3, 1, 2)]
    for arm, rows in zip(found, ([1, 3, 4], [0, 2, 5], [6]), strict=True):
        assert torch.equal(arm, x[:, rows])


def test_diameter_of_few_points_is_the_largest_distance():
    for n in (1, 2, 30, 100):
        x = uniform(n, 3, seed=n)
        assert float(curves.diameter(x)) == pytest.approx(max(math.dist(a, b) for a in x.tolist() for b in x.tolist()), rel=1e-9)


def test_diameter_of_many_points_looks_at_a_hundred():
    x = arc(4000)
    assert float(curves.diameter(x)) == pytest.approx(2, rel=2e-3)
    assert float(curves.diameter(x, most=4000)) == pytest.approx(2, rel=1e-6) and float(curves.diameter(x, most=3)) < 1.8
    x[1] = 100.0  # not one of them
    assert float(curves.diameter(x)) < 2.1 < float(curves.diameter(x, most=4000))


def test_diameter_of_a_small_picture_far_from_the_origin():
    """Where all points lie close together, as after saturated layers, no digits are lost to their common position."""
    x = 1e-7 * uniform(60, 2)
    assert float(curves.diameter(x + 1)) == pytest.approx(float(curves.diameter(x)), rel=1e-6)


def test_the_gap_ratio_is_the_worst_gap_over_the_mean():
    """1 for even spacing; with one point gone a gap of 2 over the mean; of the arms the worst; no gap between the arms."""
    even = line(21)
    assert float(curves.gap_ratio(even, one(even))) == pytest.approx(1)
    torn = torch.cat([even[:8], even[9:]])
    assert float(curves.gap_ratio(torn, one(torn))) == pytest.approx(2 * 19 / 20)
    assert float(curves.gap_ratio(1e-6 * torn, one(torn))) == pytest.approx(2 * 19 / 20)
    assert float(curves.gap_ratio(*two(even, torn + 50))) == pytest.approx(1.9)
    assert float(curves.gap_ratio(*two(torn, even + 50))) == pytest.approx(1.9)
    assert float(curves.gap_ratio(*two(even, 3 * even + 50))) == pytest.approx(1)
    ended = torch.cat([even, torch.tensor([[2.0, 0.0]]).double()])  # the last gap counts
    assert float(curves.gap_ratio(ended, one(ended))) == pytest.approx(1 / (2 / 21))


def test_the_largest_gap_is_relative_to_the_diameter_of_the_whole():
    """Whatever the size of the picture; of the arms the largest; no gap between the arms."""
    even = line(21)
    torn = torch.cat([even[:8], even[9:]])
    assert float(curves.largest_gap(torn, one(torn))) == pytest.approx(2 / 20)
    assert float(curves.largest_gap(1e-6 * torn, one(torn))) == pytest.approx(2 / 20)
    assert float(curves.largest_gap(*two(torn, 3 * even))) == pytest.approx(3 / 20 / 3)
    assert float(curves.largest_gap(*two(even, torn + 5))) == pytest.approx(
        0.1 * float((even[-1] - even[0]).norm()) / float((even[-1] + 5 - even[0]).norm())
    )


def test_length_is_counted_in_diameters():
    """Over the diameter: 1 for a line, π for a circle, the sum for two arms; a thread wound up is longer."""
    assert float(curves.length(line(50), one(line(50)))) == pytest.approx(1)
    circle = arc(100)
    assert float(curves.length(circle, one(circle))) == pytest.approx(math.pi, rel=1e-3)
    assert float(curves.length(7 * circle + 3, one(circle))) == pytest.approx(math.pi, rel=1e-3)
    x, label = two(line(50), line(50, (0.0, 1.0), (1.0, 1.0)))
    assert float(curves.length(x, label)) == pytest.approx(2 / math.sqrt(2))
    assert float(curves.length(x, one(x))) > 3 / math.sqrt(2)  # joined, the way from arm to arm counts
    zigzag = torch.stack([torch.linspace(0, 1, 41).double(), torch.arange(41).double().remainder(2)], 1)
    assert float(curves.length(zigzag, one(zigzag))) == pytest.approx(40 * math.hypot(1, 1 / 40) / math.hypot(1, 39 / 40))


@pytest.mark.parametrize("angle", [0.5, math.pi, 4 * math.pi])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e5])
def test_turning_of_an_arc_is_its_angle(angle, scale):
    """A polyline of n points turns n - 2 times, so a little less; at whatever scale, wherever it lies."""
    x = scale * arc(400, angle) + 2 * scale
    assert float(curves.turning(x, one(x))) == pytest.approx(angle * 398 / 399, rel=1e-6)


def test_turning_adds_up_angles_without_their_sign():
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [0.0, 2.0], [3.0, 2.0]]).double()  # two right angles, one about-turn
    assert float(curves.turning(corner, one(corner))) == pytest.approx(2 * math.pi)
    assert float(curves.turning(line(30), one(line(30)))) < 1e-6
    wave = torch.cat([arc(300, math.pi), torch.tensor([-2.0, 0.0]) + torch.tensor([1.0, -1.0]) * arc(300, math.pi)[1:]])  # left, then right
    assert float(curves.turning(wave, one(wave))) == pytest.approx(2 * math.pi, rel=1e-2)  # absolute: they do not cancel
    assert float(curves.turning(*two(corner, line(30)))) == pytest.approx(math.pi, abs=1e-6)  # the mean of the arms
    assert float(curves.turning(*two(corner, corner[:2]))) == pytest.approx(math.pi)


def test_points_that_coincide_turn_by_0():
    """On each other, or apart by no more than rounding: a direction that rounding made is none. Without the threshold it would count."""
    stays = line(30)[[0, 0, 1, 2, 2, 2, *range(3, 30)]]
    assert float(curves.turning(stays, one(stays))) < 1e-6
    shaken = torch.cat([line(30), line(30)[-1:] + 1e-13 * (uniform(50, 2) - 0.5)])
    assert float(curves.turning(shaken, one(shaken))) < 1e-6
    assert float(curves.turning(shaken, one(shaken), least=0.0)) > 10


@pytest.mark.parametrize("angle", [0.5, math.pi, 5.0])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e5])
def test_straightness_of_an_arc_is_its_chord_over_its_length(angle, scale):
    x = scale * arc(2000, angle) + 3 * scale
    assert float(curves.straightness(x, one(x))) == pytest.approx(2 * math.sin(angle / 2) / angle, rel=1e-5)


def test_straightness_is_1_for_straight_arms_and_0_for_closed_ones():
    """Of two arms the geometric mean, each from its own start; a way there and back is not straight, although on one line."""
    assert float(curves.straightness(line(30), one(line(30)))) == pytest.approx(1)
    assert float(curves.straightness(arc(100), one(arc(100)))) < 1e-12
    x, label = two(5 * line(30) + 9, arc(2000, math.pi))
    assert float(curves.straightness(x, label)) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-5)
    there_and_back = torch.cat([line(30), line(30).flip(0)[1:16]])
    assert float(curves.straightness(there_and_back, one(there_and_back))) == pytest.approx(14 / 44)


def test_the_first_axis_has_the_larger_of_the_variances():
    """Of an ellipse a² of a² + b², however it is turned and wherever it lies; all on a line; of two arms the mean."""
    ellipse = arc(401)[:-1] * torch.tensor([3.0, 1.0]).double()
    turn = torch.linalg.qr(uniform(2, 2, seed=3))[0]
    for x in (ellipse, 1e4 * ellipse @ turn + 7e4):
        assert float(curves.first_axis(x, one(x))) == pytest.approx(0.9, rel=1e-6)
    there_and_back = torch.cat([line(30), line(30).flip(0)[1:16]])
    assert float(curves.first_axis(there_and_back, one(there_and_back))) == pytest.approx(1)
    assert float(curves.first_axis(*two(ellipse, line(30) + 50))) == pytest.approx(0.95)


def deaths(x):
    """The finite deaths of H₀, by ripser (in float32)."""
    found = ripser(x.numpy(), maxdim=0)["dgms"][0][:, 1]
    return np.sort(found[np.isfinite(found)])


SETS = {
    "plane": uniform(80, 2),
    "space": uniform(50, 5, seed=1),
    "spiral": rl.spiral(60, dtype=torch.float64).x,
    "circle": arc(50, 6.0),
    "pieces": torch.cat([uniform(30, 2), uniform(20, 2) + 5]),
    "seven points": uniform(7, 2),
}


@pytest.mark.parametrize("x", SETS.values(), ids=SETS)
def test_merge_distances_are_ripsers_deaths(x):
    found = curves.merge_distances(x)
    assert len(found) == len(x) - 1 and found == pytest.approx(deaths(x), rel=1e-5)


def test_one_point_has_no_merge_distance():
    assert curves.merge_distances(uniform(1, 2)).shape == (0,)


def test_pieces_are_components_of_their_own_arm():
    """Pieces count where the gap is beyond 5 % of the diameter; each arm is looked at by itself."""
    whole, pieces = line(201), torch.cat([line(60), line(60) + 1.2, line(60) + 2.4])
    assert int(curves.components(whole, one(whole))) == 1
    assert int(curves.components(pieces, one(pieces))) == 3
    assert int(curves.components(1e-4 * pieces, one(pieces))) == 3
    x, label = two(pieces, line(200, (0.0, 1.0), (3.0, 1.0)))
    assert int(curves.components(x, label)) == 4
    near = pieces + torch.tensor([0.0, 0.01])  # a second arm that would bridge nothing, and no arm bridges another
    bridge = line(200, (0.0, 0.01), (3.4, 0.01))
    assert int(curves.components(*two(near, bridge))) == 4
    gap = torch.cat([line(100), line(100) + torch.tensor([1.1, 0.0])])  # a gap of 0.1, of a diameter of 2.1
    assert int(curves.components(gap, one(gap))) == 1 and int(curves.components(gap, one(gap), scale=0.04)) == 2
    assert int(curves.components(torch.ones(8, 2).double(), one(torch.ones(8)))) == 1


@pytest.mark.parametrize("scale", [0.02, 0.05, 0.1, 0.3])
def test_components_are_ripsers(scale):
    """Counted from ripser's deaths beyond the threshold, one more for the component that never dies."""
    for x in SETS.values():
        a, b = x[: len(x) // 2], x[len(x) // 2 :]
        threshold = scale * max(math.dist(p, q) for p in x.tolist() for q in x.tolist())
        expected = sum(1 + int((deaths(part) > threshold).sum()) if len(part) > 1 else 1 for part in (a, b))
        assert int(curves.components(*two(a, b), scale=scale)) == expected


# Crossings.


def bent(x):
    """Points (angle, depth) on circles about the origin, of radius 1 less the depth."""
    return (1 - x[:, 1:]) * torch.stack([x[:, 0].cos(), x[:, 0].sin()], 1)


def strands(depth, n=13, stop=2.4):
    """Two polylines whose images under `bent` are parallel arcs; the second is sampled midway between the points of the first."""
    half = stop / (n - 1) / 2
    return line(n, (0.0, 0.0), (stop, 0.0)), line(n, (half, depth), (stop - half, depth))


def test_curves_that_cross_are_seen_to_cross():
    plane = {"level": line(20), "upright": line(20, (0.43, -1.0), (0.43, 1.0)), "apart": line(20, (0.0, 0.5), (1.0, 0.6))}
    for stages in (0, 1, 3):
        assert curves.cross(lambda x: x, plane["level"], plane["upright"], stages=stages)
        assert not curves.cross(lambda x: x, plane["level"], plane["apart"], stages=stages)
    wave = line(40, (0.0, -0.5), (9.0, 0.5))
    assert curves.cross(lambda x: torch.stack([x[:, 0], x[:, 1] + x[:, 0].sin()], 1), wave, line(40, (0.0, 0.0), (9.0, 0.0)))
    assert curves.cross(bent, strands(0.0)[0], line(20, (1.0, 0.3), (1.1, -0.3)))
    assert curves.cross(bent, line(20, (1.0, 0.3), (1.1, -0.3)), strands(0.0)[0])


def test_chords_that_cross_are_not_curves_that_cross():
    """Arcs 0.002 apart, whose chords sag by 0.005: at a glance they cross, more finely they do not. Without refinement: the control."""
    first, second = strands(0.002)
    assert curves.cross(bent, first, second, stages=0)
    for stages in (1, 2, 3):
        assert not curves.cross(bent, first, second, stages=stages)
        assert not curves.cross(bent, second, first, stages=stages)
    assert not curves.cross(bent, *strands(0.01), stages=0)


def test_a_crossing_among_chords_that_cross_is_found():
    """The second arc dives through the first at one place only, at its one end or the other; at six others just their chords meet."""
    first, second = strands(0.002, n=5, stop=2.0)
    meet = shapely.intersection(*(shapely.LineString(bent(x).numpy()) for x in (first, second)))
    assert len(shapely.get_parts(meet)) == 6
    ends = torch.tensor([[[0.02, -0.3]], [[1.98, -0.3]]]).double()
    assert curves.cross(bent, first, torch.cat([ends[0], second])) and curves.cross(bent, first, torch.cat([second, ends[1]]))
    assert not curves.cross(bent, first, second)


def test_crossing_points_are_where_curves_cross():
    """A wave through its zeros, and an arc where one other dives through it; chords that meet are no crossing without refinement."""

    def sine(x):
        return torch.stack([x[:, 0], x[:, 1] + x[:, 0].sin()], 1)

    found = curves.crossing_points(sine, line(400, (0.5, 0.0), (10.0, 0.0)), line(40, (0.5, -1.0), (10.0, -1.0)), stages=0)
    assert np.allclose(found, [[1.5 * math.pi, -1.0]], atol=0.1)  # they touch
    level = line(2, (0.5, 0.0), (10.0, 0.0))
    wave = torch.stack([torch.linspace(0.5, 10, 999).double(), torch.linspace(0.5, 10, 999).double().sin()], 1)
    found = curves.crossing_points(lambda x: x, wave, level)
    assert np.allclose(found[found[:, 0].argsort()], [[k * math.pi, 0.0] for k in (1, 2, 3)], atol=1e-4)
    first, second = strands(0.002, n=5, stop=2.0)
    assert len(curves.crossing_points(bent, first, second, stages=0)) == 6 and len(curves.crossing_points(bent, first, second)) == 0
    dived = torch.cat([torch.tensor([[0.02, -0.3]]).double(), second])
    assert len(curves.crossing_points(bent, first, dived)) == 1
    assert curves.crossing_points(lambda x: x, line(5), line(5) + 1).shape == (0, 2)


def test_images_decide_not_points():
    """Curves apart whose images cross, and the reverse."""
    first, second = line(30), line(30, (0.0, 1.0), (1.0, 1.0))
    assert curves.cross(lambda x: torch.stack([x[:, 0], (x[:, 0] - 0.5) * (1 - 2 * x[:, 1])], 1), first, second)
    upright = line(30, (0.5, -1.0), (0.5, 1.0))
    assert not curves.cross(lambda x: x + torch.tensor([0.0, 9.0]) * (x[:, 1:] != 0), first[:14], upright)
    assert curves.cross(lambda x: x, first, upright)


# Separability.


def test_a_probe_separates_what_a_plane_separates():
    """1 where a line parts the classes, the share of the larger class where there is nothing to go by, about a half for a chequerboard."""
    x = uniform(200, 2) - 0.5
    sides = (x @ torch.tensor([1.0, -2.0]).double() > 0.1).long()
    assert curves.linear_probe(x[(x[:, 0] - 2 * x[:, 1] - 0.1).abs() > 0.02], sides[(x[:, 0] - 2 * x[:, 1] - 0.1).abs() > 0.02]) == 1
    assert 0.4 < curves.linear_probe(x, (x.prod(1) > 0).long()) < 0.7
    assert curves.linear_probe(torch.full((10, 2), 0.1).double(), torch.tensor([0] * 3 + [1] * 7)) == pytest.approx(0.7)
    sample = rl.annulus(200, dtype=torch.float64)
    assert curves.linear_probe(sample.x, sample.label) < 0.7
    lifted = torch.cat([sample.x, sample.x.square().sum(1, keepdim=True)], 1)
    assert curves.linear_probe(lifted, sample.label) == 1  # one dimension more, and a plane parts them


def test_a_probe_sees_through_squeezing():
    """What parts the classes may be 10⁻⁹ of the picture, which a probe that is not whitened misses; or the picture a line in a plane."""
    x, label = uniform(200, 2) - 0.5, torch.tensor([0, 1] * 100)
    x[:, 1] = 1e-9 * (x[:, 1].abs() + 0.1) * (2 * label - 1)
    assert curves.linear_probe(x, label) == 1
    assert LogisticRegression(C=1e4).fit(x.numpy(), label.numpy()).score(x.numpy(), label.numpy()) < 0.7
    flat = (label - 0.5).double()[:, None] * torch.tensor([[1.0, 3.0]])
    assert curves.linear_probe(flat, label) == 1 and curves.linear_probe(flat + 5, label) == 1


# Gaps.


def test_gaps_of_a_continuous_map_vanish_and_a_tear_keeps_its_size():
    """A segment cut into 32: gaps of a smooth map fall to 1/32; a jump of 0.3 stays, however fine; a map just steep falls in the end."""
    x = line(50)[:, :1]
    smooth = curves.refined_gaps(lambda x: (3 * x).sin() + x, x)
    assert smooth.shape == (5,)
    assert (smooth[:-1] / smooth[1:]).tolist() == pytest.approx([32] * 4, rel=0.05)
    torn = curves.refined_gaps(lambda x: x + 0.3 * (x > 0.1234), x)
    assert torn.tolist() == pytest.approx([0.3] * 5, abs=0.03) and float(torn[-1]) == pytest.approx(0.3, abs=1e-6)
    steep = curves.refined_gaps(lambda x: x + 0.3 * torch.sigmoid(1e5 * (x - 0.1234)), x)
    assert float(steep[0]) > 0.3 and float(steep[-2] / steep[-1]) == pytest.approx(32, rel=0.2)
    few = curves.refined_gaps(lambda x: 2 * x, x, parts=10, stages=2)
    assert few.tolist() == pytest.approx([2 / 49, 2 / 490, 2 / 4900])


def test_gaps_are_refined_where_each_of_many_maps_has_its_own():
    """Leading axes: each row tears at a place of its own, in points of two dimensions."""
    x = line(40).expand(3, 2, -1, -1)
    where = torch.tensor([[0.1, 0.3], [0.55, 0.7], [0.9, 2.0]]).double()

    def jumps(x, where):
        return x + torch.tensor([0.0, 0.5]) * (x[..., :1] > where[..., None, None])

    found = curves.refined_gaps(lambda x: jumps(x, where), x)
    assert found.shape == (3, 2, 5)
    assert found[..., -1].flatten().tolist() == pytest.approx([0.5] * 5 + [0.0], abs=1e-5)
    for i in range(3):
        for j in range(2):
            alone = curves.refined_gaps(lambda x, w=where[i, j]: jumps(x, w), line(40))
            assert torch.allclose(found[i, j], alone, rtol=1e-9)


def test_the_last_refinement_is_the_last_one_clear_of_rounding():
    """32 for each stage that shrinks by it, 1 for a tear, NaN where only the first refinement is clear; the first one never counts."""
    shrinking, torn = 32.0 ** -torch.arange(5.0, dtype=torch.float64), torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0]).double()
    rounded = torch.tensor([1.0, 1e-3, 1e-6, 1e-13, 3e-14]).double()
    short = torch.tensor([1e-11, 2e-12, 1e-12, 1e-13, 1e-13]).double()
    found = curves.last_refinement(torch.stack([shrinking, torn, rounded, short]))
    assert found[:3].tolist() == pytest.approx([32, 1, 1000]) and found[3].isnan()
    assert float(curves.last_refinement(torch.tensor([1.0, 1.0, 0.5]).double())) == 2
    assert torch.equal(curves.last_refinement(torch.stack([torn, shrinking])[None]), found[[1, 0]][None])


def test_a_curve_that_meets_itself_is_found_and_chords_that_meet_are_not_enough():
    """A figure of eight meets itself. Of a narrow hairpin around an arc, sampled coarsely, only the chords meet."""
    t = line(41)

    def eight(x):
        t = x[:, :1]
        return torch.cat([torch.sin(2 * torch.pi * t), torch.sin(4 * torch.pi * t + 0.2)], 1)

    def hairpin(x):
        """Out along a unit circle and back along one of radius 0.99."""
        t = x[:, :1]
        out = (1 - (2 * t - 1).abs()) * torch.pi
        radius = 1 - 0.01 * torch.sigmoid(200 * (t - 0.5))
        return radius * torch.cat([out.cos(), out.sin()], 1)

    coarse = torch.tensor([0.0, 0.13, 0.26, 0.39, 0.5, 0.62, 0.76, 0.85, 0.99], dtype=torch.float64)[:, None]
    coarse = torch.cat([coarse, 0 * coarse], 1)
    assert curves.self_crosses(eight, t) and not curves.self_crosses(lambda x: torch.cat([x[:, :1], x[:, :1] ** 2], 1), t)
    assert not shapely.is_simple(shapely.LineString(hairpin(coarse).numpy())) and not curves.self_crosses(hairpin, coarse)
    with pytest.raises(ValueError, match="points of the plane"):
        curves.self_crosses(lambda x: x[:, :1], t)
