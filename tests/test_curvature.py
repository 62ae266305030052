"""Curvature against surfaces whose curvature is known, and the preimages of balls against the networks themselves."""

import math

import pytest
import torch
from torch.func import vmap

from riemlib import CkNetwork, pullback_metric, pullback_metrics
from riemlib.curvature import ball_preimages, christoffel, gauss_equation, riemann

F64 = {"dtype": torch.float64}


def random(*shape, seed=0):
    return torch.randn(*shape, **F64, generator=torch.Generator().manual_seed(seed))


def sphere(radius):
    """A sphere by latitude and longitude: as a map into space, and as a metric written down."""

    def image(x):
        return radius * torch.stack([x[:, 0].sin() * x[:, 1].cos(), x[:, 0].sin() * x[:, 1].sin(), x[:, 0].cos()], 1)

    def metric(x):
        return radius**2 * torch.diag_embed(torch.stack([torch.ones_like(x[:, 0]), x[:, 0].sin() ** 2], 1))

    return image, metric


def polar_plane(x):
    return torch.diag_embed(torch.stack([torch.ones_like(x[:, 0]), x[:, 0] ** 2], 1))


def half_plane(x):
    """Hyperbolic: K = -1 everywhere."""
    return torch.eye(2).to(x) / x[:, 1, None, None] ** 2


ANGLES = 0.4 + random(6, 2).abs().clamp(max=2)


def test_the_sphere_has_the_christoffel_symbols_of_the_textbook():
    gamma = christoffel(sphere(2.0)[1], ANGLES)
    expected = torch.zeros(6, 2, 2, 2, **F64)
    expected[:, 0, 1, 1] = -ANGLES[:, 0].sin() * ANGLES[:, 0].cos()
    expected[:, 1, 0, 1] = expected[:, 1, 1, 0] = 1 / ANGLES[:, 0].tan()
    torch.testing.assert_close(gamma, expected, rtol=1e-12, atol=1e-12)


def test_the_connection_is_metric_and_free_of_torsion():
    """The connection is torsion-free and metric, ∂_c g_ab = Γ_abc + Γ_bac with the first index lowered, which determines it."""
    net, x = CkNetwork([3] * 4, seed=0, **F64), random(5, 3)

    def field(x):
        return pullback_metrics(net, x)[0]

    gamma, g = christoffel(field, x), field(x)
    lowered = torch.einsum("nad,ndbc->nabc", g, gamma)
    slope = vmap(torch.func.jacfwd(lambda p: field(p[None])[0]))(x)
    torch.testing.assert_close(gamma, gamma.mT, rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, lowered + lowered.transpose(1, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("metric", "K"),
    [(sphere(2.0)[1], 0.25), (sphere(0.5)[1], 4.0), (half_plane, -1.0), (polar_plane, 0.0)],
    ids=["sphere", "small sphere", "hyperbolic", "flat"],
)
def test_surfaces_have_their_gaussian_curvature(metric, K):
    R = riemann(metric, ANGLES)
    torch.testing.assert_close(R[:, 0, 1, 0, 1] / torch.linalg.det(metric(ANGLES)), torch.full((6,), K, **F64), rtol=1e-10, atol=1e-10)


def test_the_riemann_tensor_has_its_symmetries_and_obeys_the_gauss_equation():
    net, x = CkNetwork([3, 3, 6], order=[1, 0], seed=1, **F64), random(5, 3)
    R = riemann(lambda x: pullback_metrics(net, x)[0], x)
    assert float(R.abs().max()) > 1e-3
    for same in (-R.transpose(1, 2), -R.mT, R.permute(0, 3, 4, 1, 2)):
        torch.testing.assert_close(R, same, rtol=0, atol=1e-12)
    bianchi = R + R.permute(0, 1, 3, 4, 2) + R.permute(0, 1, 4, 2, 3)
    assert float(bianchi.abs().max()) < 1e-12
    torch.testing.assert_close(R, gauss_equation(net[:], x), rtol=1e-9, atol=1e-12)


def test_the_gauss_equation_gives_the_curvature_of_the_sphere():
    image, metric = sphere(2.0)
    R = gauss_equation(image, ANGLES)
    torch.testing.assert_close(R[:, 0, 1, 0, 1], torch.linalg.det(metric(ANGLES)) / 4, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_constant_width_is_flat(order):
    net, x = CkNetwork([2] * 4, order=order, step=0.3, seed=0, **F64), random(8, 2)

    def field(x):
        return pullback_metrics(net, x)[0]

    terms = field(x).abs().amax() * christoffel(field, x).abs().amax() ** 2
    assert float(terms) > 1e-3
    assert float(riemann(field, x).abs().max()) < 1e-10 * float(terms)
    assert float(gauss_equation(net[:], x).detach().abs().max()) < 1e-10


def test_preimages_lie_on_the_sphere_about_the_image():
    net = CkNetwork([2] * 6, step=0.2, seed=0, **F64)
    x, radius = random(5, 2), 0.3
    f = net[:].requires_grad_(False)
    first, true = ball_preimages(f, x, radius, count=24)
    off = (f(true.reshape(-1, 2)).view(5, 24, 2) - f(x)[:, None]).norm(dim=2)
    torch.testing.assert_close(off, torch.full_like(off, radius), rtol=1e-8, atol=0.0)
    g = pullback_metric(f, x)
    length = torch.einsum("nab,nka,nkb->nk", g, first - x[:, None], first - x[:, None]).sqrt()
    torch.testing.assert_close(length, torch.full_like(length, radius), rtol=1e-10, atol=0.0)
    assert float((first - true).abs().max()) > 1e-4


def test_preimages_under_a_linear_map_are_the_ellipses():
    A = random(2, 2) + 2 * torch.eye(2, **F64)
    first, true = ball_preimages(lambda x: x @ A.mT, random(3, 2), 5.0)
    torch.testing.assert_close(first, true, rtol=1e-12, atol=1e-12)


def test_the_preimage_is_nan_beyond_a_fold():
    """x -> x² about 1 covers no ball of radius 2 about its image 1: the values below 0 have no preimage."""
    first, true = ball_preimages(lambda x: torch.stack([x[:, 0] ** 2, x[:, 1]], 1), torch.tensor([[1.0, 0.0]], **F64), 2.0, count=8)
    assert first.isfinite().all()
    assert true[0, 4].isnan().any()  # towards -1
    torch.testing.assert_close(true[0, 0], torch.tensor([math.sqrt(3), 0.0], **F64), rtol=1e-8, atol=1e-8)
