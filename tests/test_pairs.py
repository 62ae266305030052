"""Pairs near and far: bounds of the learned distance, what counts as exchanged, and classes at the same distance in the input."""

import math

import pytest
import torch

import riemlib as rl
from riemlib.companion.pairs import Exchanged, Pairs, PlaneGraph, exchanged, matched_difference

SAMPLE = rl.spiral(60, dtype=torch.float64)
PAIRS, GRAPH = Pairs.of(SAMPLE), PlaneGraph(SAMPLE.x)


def test_pairs_are_all_of_them_once_with_their_distance_and_class():
    assert len(PAIRS.i) == 60 * 59 // 2 == len({*zip(PAIRS.i.tolist(), PAIRS.j.tolist(), strict=True)})
    assert torch.allclose(PAIRS.distance, torch.cdist(SAMPLE.x, SAMPLE.x)[PAIRS.i, PAIRS.j], atol=1e-12)
    assert int(PAIRS.same.sum()) == 2 * 30 * 29 // 2
    assert torch.equal(PAIRS.chords(3 * SAMPLE.x), (3 * SAMPLE.x[PAIRS.i] - 3 * SAMPLE.x[PAIRS.j]).norm(dim=1))


def test_in_the_plane_itself_a_path_is_hardly_longer_than_the_chord():
    paths = GRAPH.paths(lambda x: x, PAIRS)
    ratio = paths / PAIRS.distance
    assert float(ratio.min()) > 1 - 1e-9 and float(ratio.max()) < 1.12 and float(ratio.median()) < 1.05


@pytest.mark.parametrize("seed", range(3))
def test_a_path_is_never_shorter_than_the_chord(seed):
    net = rl.CkNetwork([2] * 6, seed=seed, dtype=torch.float64).requires_grad_(False)
    paths, chords = GRAPH.paths(net[:], PAIRS), PAIRS.chords(net.coordinates(SAMPLE.x)[-1])
    assert bool((paths >= chords * (1 - 1e-9)).all()) and float(paths.max()) < float("inf")


def test_a_fold_brings_images_together_but_no_path():
    """|x| has one image for x and -x. The way from one to the other through the plane is at least 2 |x| long."""

    def fold(x):
        return torch.stack([x[:, 0].abs(), x[:, 1]], 1)

    ends = rl.Sample(torch.tensor([[-0.8, 0.0], [0.8, 0.0]], dtype=torch.float64), torch.tensor([0, 0]))
    pairs = Pairs.of(ends)
    assert float(pairs.chords(fold(ends.x))) == 0
    assert 1.6 - 1e-9 < float(PlaneGraph(ends.x, margin=0.5).paths(fold, pairs)) < 1.75


def test_an_image_that_is_curved_within_an_edge_is_measured_in_pieces():
    """Each edge against the integral of its stretch; the straight line between its ends is too short."""

    def wave(x):
        return torch.stack([x[:, 0], (8 * x[:, 0]).sin()], 1)

    graph = PlaneGraph(SAMPLE.x, side=13)
    a, b = graph.nodes[graph.ends]
    s = torch.linspace(0, 1, 401, dtype=torch.float64)[:, None, None]
    images = wave((a + s * (b - a)).flatten(0, 1)).unflatten(0, (401, -1))
    exact, found = images.diff(dim=0).norm(dim=2).sum(0), graph.lengths(wave)
    long = exact > 0.1 * exact.max()
    assert float((found / exact)[long].min()) > 0.93 and float((found - exact).max()) < 1e-9
    assert float(((images[-1] - images[0]).norm(dim=1) / exact)[long].min()) < 0.9


def pairs_of(distance, same):
    number = torch.arange(len(distance))
    return Pairs(number, number, torch.tensor(distance, dtype=torch.float64), torch.tensor(same))


def test_exchanged_counts_far_pairs_of_one_class_and_near_pairs_of_two():
    """Eight pairs: number 7 is far, of one class and near at the output; number 0 is near, of two classes and far at the output."""
    distance, same = [1.0, 2, 3, 4, 5, 6, 7, 8], [False, True, True, False, True, False, False, True]
    learned = torch.tensor([9.0, 2, 3, 4, 5, 6, 7, 0.5], dtype=torch.float64)
    pairs = pairs_of(distance, same)
    found = exchanged(pairs, learned, learned)
    assert found == Exchanged(1, 1) and found
    assert not exchanged(pairs, pairs.distance, pairs.distance)
    assert not Exchanged(3, 0) and not Exchanged(0, 3)


def test_each_bound_counts_against_the_exchange():
    """The path of the near pair has to be short, whatever its chord; the chord of the far pair long, whatever its path."""
    distance, same = [1.0, 2, 3, 4, 5, 6, 7, 8], [False, True, True, False, True, False, False, True]
    near = torch.tensor([9.0, 2, 3, 4, 5, 6, 7, 0.5], dtype=torch.float64)
    longer, shorter = near.clone(), near.clone()
    longer[7], shorter[0] = 20.0, 4.5
    assert exchanged(pairs_of(distance, same), near, longer).drawn_together == 0
    assert exchanged(pairs_of(distance, same), shorter, near).pulled_apart == 0


def test_classes_at_the_same_distance_do_not_differ_in_the_input_itself():
    assert abs(matched_difference(PAIRS, PAIRS.distance)) < 0.1
    assert abs(matched_difference(PAIRS, 7 * PAIRS.distance)) < 0.1  # whatever the scale


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_a_factor_for_pairs_of_two_classes_is_found(factor):
    learned = torch.where(PAIRS.same, PAIRS.distance, factor * PAIRS.distance)
    expected = matched_difference(PAIRS, PAIRS.distance) + torch.tensor(factor).log2()
    assert matched_difference(PAIRS, learned) == pytest.approx(float(expected))


def test_pairs_that_have_no_counterpart_at_their_distance_do_not_count():
    pairs = pairs_of([1.0, 2, 2, 3, 9], [True, True, False, False, True])
    learned = torch.tensor([100.0, 1, 8, 1, 100], dtype=torch.float64)
    assert matched_difference(pairs, learned, bins=4) == pytest.approx(3.0)
    pairs = pairs_of([1.0, 2, 2, 3, 3], [True, True, False, False, True])  # two bins, the last one at its end
    assert matched_difference(pairs, torch.tensor([100.0, 1, 8, 1, 4], dtype=torch.float64)) == pytest.approx((3 - 2) / 2)
    assert math.isnan(matched_difference(pairs_of([1.0, 5.0], [True, False]), learned[:2]))
