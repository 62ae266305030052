"""Spirals and annuli: where the points lie, whose they are, and that they are the same everywhere."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

import riemlib as rl
from riemlib import data


@given(st.integers(1, 5), st.integers(0, 60), st.floats(0, 3))
def test_points_lie_on_their_arm(arms, more, turns):
    """Point by point: r = 0.1 + 0.9 t at the angle 2π (turns t + j / arms), t evenly spaced from 0 to 1 on each arm."""
    n = arms + more
    sample = rl.spiral(n, turns=turns, arms=arms, dtype=torch.float64)
    assert sample.x.shape == (n, 2) and sample.label.shape == (n,) and sample.position.shape == (n,)
    assert len(sample) == n and sample.label.dtype == torch.int64
    sizes = sample.label.bincount(minlength=arms).tolist()
    assert max(sizes) - min(sizes) <= 1 and sample.label.tolist() == sorted(sample.label.tolist())
    for j, size in enumerate(sizes):
        for i, (x, y) in enumerate(sample.x[sample.label == j].tolist()):
            t = i / (size - 1) if size > 1 else 0.0
            assert float(sample.position[sample.label == j][i]) == pytest.approx(t, abs=1e-12)
            angle = 2 * math.pi * (turns * t + j / arms)
            assert (x, y) == pytest.approx(((0.1 + 0.9 * t) * math.cos(angle), (0.1 + 0.9 * t) * math.sin(angle)), abs=1e-12)


def test_two_arms_are_opposite():
    sample = rl.spiral(100, dtype=torch.float64)
    assert (sample.x[:50] + sample.x[50:]).abs().max() < 1e-12
    assert (sample.x[:50] - sample.x[50:]).abs().max() > 1


def test_noise_is_gaussian_and_has_a_seed():
    """Gaussian, of the standard deviation asked for, of its own seed."""
    clean, noisy = rl.spiral(20000, dtype=torch.float64), rl.spiral(20000, noise=0.05, seed=3, dtype=torch.float64)
    away = noisy.x - clean.x
    assert float(away.std()) == pytest.approx(0.05, rel=0.02) and abs(float(away.mean())) < 0.002
    assert torch.equal(noisy.label, clean.label) and torch.equal(noisy.position, clean.position)
    assert torch.equal(noisy.x, rl.spiral(20000, noise=0.05, seed=3, dtype=torch.float64).x)
    assert not torch.equal(noisy.x, rl.spiral(20000, noise=0.05, seed=4, dtype=torch.float64).x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_points_in_every_dtype(dtype):
    sample = rl.spiral(31, arms=3, noise=0.1, dtype=dtype)
    assert sample.x.dtype == sample.position.dtype == dtype
    assert torch.equal(sample.x, rl.spiral(31, arms=3, noise=0.1, dtype=torch.float64).x.to(dtype))
    assert rl.spiral(4).x.dtype == torch.get_default_dtype()


def test_a_sample_moves_to_another_dtype():
    sample = rl.spiral(10).to(torch.float64)
    assert sample.x.dtype == sample.position.dtype == torch.float64 and sample.label.dtype == torch.int64


def test_sampling_draws_nothing_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rl.spiral(10, noise=0.1)
    rl.annulus(10)
    assert torch.equal(before, torch.get_rng_state())


@given(st.integers(2, 60), st.floats(0.1, 0.9), st.floats(1.0, 2.0), st.floats(2.1, 3.0), st.integers(0, 9))
def test_a_disc_within_an_annulus(n, disc, inner, outer, seed):
    """Half the points, rounded down, in the disc, then the others in the annulus, at the angle that `position` says."""
    sample = rl.annulus(n, disc=disc, inner=inner, outer=outer, seed=seed, dtype=torch.float64)
    assert sample.x.shape == (n, 2) and sample.label.dtype == torch.int64 and len(sample) == n
    assert sample.label.tolist() == [0] * (n // 2) + [1] * (n - n // 2)
    r = sample.x.norm(dim=1)
    assert (r[sample.label == 0] <= disc).all()
    assert ((r[sample.label == 1] >= inner - 1e-12) & (r[sample.label == 1] <= outer + 1e-12)).all()
    for (x, y), length, t in zip(sample.x.tolist(), r.tolist(), sample.position.tolist(), strict=True):
        assert 0 <= t <= 1
        assert (x, y) == pytest.approx((length * math.cos(2 * math.pi * t), length * math.sin(2 * math.pi * t)), abs=1e-12)


def test_an_annulus_is_uniform_in_area():
    """The area within r, not r, is uniform on each part, and the angle too, independent of it."""
    sample = rl.annulus(4000, dtype=torch.float64)
    for label, (least, most) in enumerate([(0.0, 0.5), (0.7, 1.0)]):
        part = sample.label == label
        r, angle = sample.x[part].norm(dim=1), sample.position[part]
        assert kstest(((r**2 - least**2) / (most**2 - least**2)).numpy(), "uniform").pvalue > 0.01
        assert kstest(((r - least) / (most - least)).numpy(), "uniform").pvalue < 1e-3 or label == 1  # thin, the annulus hardly differs
        assert kstest(angle.numpy(), "uniform").pvalue > 0.01
        assert abs(float(torch.corrcoef(torch.stack([r, angle]))[0, 1])) < 0.05
    assert abs(float(sample.x.mean())) < 0.02


def test_an_annulus_has_a_seed():
    one, same, other = (rl.annulus(50, seed=seed, dtype=torch.float64) for seed in (0, 0, 1))
    assert torch.equal(one.x, same.x) and torch.equal(one.x, rl.annulus(50, dtype=torch.float64).x)
    assert not torch.equal(one.x, other.x) and torch.equal(one.label, other.label)


def test_an_annulus_is_the_same_in_every_dtype():
    double, single = (rl.annulus(31, dtype=dtype) for dtype in (torch.float64, torch.float32))
    assert single.x.dtype == single.position.dtype == torch.float32
    assert torch.equal(single.x, double.x.float()) and torch.equal(single.position, double.position.float())
    assert rl.annulus(4).x.dtype == torch.get_default_dtype()


@pytest.mark.parametrize("turns", [None, 0.5, 1.5])
def test_polar_coordinates_lead_back_to_the_points(turns):
    """r and an angle of the point; unwound, the angle runs on along each arm, without it it jumps by a full turn."""
    sample = rl.spiral(200, turns=turns or 1.5, dtype=torch.float64)
    found = rl.polar(sample, turns)
    r, angle = found.x.T
    assert torch.allclose(torch.stack([r * angle.cos(), r * angle.sin()], 1), sample.x, atol=1e-12)
    assert torch.equal(found.label, sample.label) and torch.equal(found.position, sample.position)
    steps = torch.cat([angle[found.label == arm].diff() for arm in (0, 1)])
    assert float(steps.abs().max()) < 0.2 if turns else float(steps.abs().max()) > 6
    if turns:  # each arm a straight line in r, the second half a turn ahead
        expected = 2 * math.pi * (turns * (r - 0.1) / 0.9 + found.label / 2)
        assert torch.allclose(angle, expected, atol=1e-9)


@pytest.mark.parametrize(("turns", "arms"), [(1.0, 2), (1.3, 3)])
def test_an_arm_is_a_curve_through_the_points_of_the_spiral(turns, arms):
    sample = rl.spiral(60, turns=turns, arms=arms, positions="random", dtype=torch.float64)
    for j in range(arms):
        own = sample.label == j
        assert torch.allclose(data.arm(sample.position[own], turns=turns, start=j / arms), sample.x[own], atol=1e-12)
    assert data.arm(torch.zeros(2, 3)).shape == (2, 3, 2)


# Random positions.


@pytest.mark.parametrize(("arms", "noise"), [(1, 0.0), (2, 0.0), (3, 0.1)])
def test_random_positions_are_sorted_uniform_and_from_the_seed(arms, noise):
    sample = rl.spiral(3001, arms=arms, noise=noise, positions="random", seed=5, dtype=torch.float64)
    for arm in range(arms):
        t = sample.position[sample.label == arm]
        assert (t.diff() > 0).all() and kstest(t.numpy(), "uniform").pvalue > 0.01
        assert not torch.allclose(t, torch.linspace(0, 1, len(t), dtype=t.dtype), atol=1e-6)
    same, other = (rl.spiral(3001, arms=arms, noise=noise, positions="random", seed=seed, dtype=torch.float64) for seed in (5, 6))
    assert torch.equal(sample.x, same.x) and torch.equal(sample.position, same.position) and not torch.equal(sample.x, other.x)
    single = rl.spiral(3001, arms=arms, noise=noise, positions="random", seed=5, dtype=torch.float32)
    assert torch.equal(single.x, sample.x.float()) and torch.equal(single.label, sample.label)


def test_random_positions_lie_on_the_arms():
    sample = rl.spiral(200, turns=1.3, positions="random", dtype=torch.float64)
    angle = 2 * math.pi * (1.3 * sample.position + sample.label / 2)
    assert torch.allclose(sample.x, (0.1 + 0.9 * sample.position)[:, None] * torch.stack([angle.cos(), angle.sin()], 1), atol=1e-12)


def test_an_even_sample_is_its_own_mirror_image_and_a_random_one_is_not():
    """So the whole even sample gives the biases of a tanh network no gradient but rounding; the random one does."""
    mirror, gradient = {}, {}
    for positions in ("even", "random"):
        sample = rl.spiral(100, positions=positions, dtype=torch.float64)
        mirror[positions] = float((sample.x[:50] + sample.x[50:]).abs().max())
        found = [rl.backpropagate(rl.CkNetwork([2] * 4, seed=s, dtype=torch.float64), sample.x, sample.label) for s in range(3)]
        gradient[positions] = max(float(g.abs().max()) for each in found for name, g in each.items() if name.startswith("biases"))
        assert min(float(each["weights.0"].abs().max()) for each in found) > 1e-3
    assert mirror["even"] < 1e-12 and mirror["random"] > 0.01
    assert gradient["even"] < 1e-15 and gradient["random"] > 1e-3


def test_a_sample_needs_no_positions():
    bare = rl.Sample(rl.spiral(10).x, rl.spiral(10).label)
    assert bare.position is None and len(bare) == 10
    moved = bare.to(torch.float64)
    assert moved.position is None and moved.x.dtype == torch.float64
    assert rl.polar(bare).position is None and torch.equal(rl.polar(bare).x, rl.polar(rl.spiral(10)).x)
