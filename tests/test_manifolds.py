"""The spirals: where the points lie, whose they are, and that they are the same everywhere."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import riemlib as rl


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


def test_noise():
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


def test_moved_sample():
    sample = rl.spiral(10).to(torch.float64)
    assert sample.x.dtype == sample.position.dtype == torch.float64 and sample.label.dtype == torch.int64
    gone = sample.to("meta")
    assert {part.device.type for part in (gone.x, gone.label, gone.position)} == {"meta"}


def test_sampling_draws_nothing_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rl.spiral(10, noise=0.1)
    assert torch.equal(before, torch.get_rng_state())
