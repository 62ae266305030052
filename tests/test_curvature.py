"""Curvature against surfaces whose curvature is known, and the preimages of balls against the networks themselves."""

import math

import pytest
import torch
from torch.func import vmap

import riemlib as rl
from riemlib import CkNetwork, pullback_metric, pullback_metrics
from riemlib.curvature import ball_preimages, bending, christoffel, gauss_equation, preimages, riemann

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


def shear(x):
    """It has no fold, and second derivatives of 1000 in one direction."""
    return torch.stack([x[:, 0], x[:, 1] + 500 * x[:, 0] ** 2], 1)


def test_a_shear_bends_by_its_second_derivative_at_every_point():
    """J⁻¹u has the first entry of u, so D²F[J⁻¹u, J⁻¹u] = (0, 1000 u₁²): at ε = 10⁻³ the ellipse is off by half of ε."""
    x = random(4, 2)
    torch.testing.assert_close(bending(shear, x), torch.full((4,), 1000.0, **F64), rtol=1e-10, atol=0.0)
    first, true = ball_preimages(shear, x, 1e-3, count=16)
    J = torch.eye(2, **F64).expand(4, 2, 2).clone()
    J[:, 1, 0] = 1000 * x[:, 0]
    off = ((true - first) @ J.mT).norm(dim=2).amax(1) / 1e-3
    torch.testing.assert_close(off, torch.full((4,), 0.5, **F64), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_bending_predicts_how_far_a_small_ball_is_from_its_ellipse(step):
    net = CkNetwork([2] * 6, step=step, seed=0, **F64)
    f, x = net[:].requires_grad_(False), random(6, 2, seed=3)
    P = rl.pushforward(net, x)
    for share in (1e-4, 1e-3):
        for i, bent in enumerate(bending(f, x, count=32)):
            first, true = ball_preimages(f, x[[i]], 2 * share / float(bent), count=32)
            off = ((true - first) @ P[i].mT).norm(dim=2).max() / (2 * share / bent)
            assert float(off / share) == pytest.approx(1, abs=100 * share)


def test_bending_is_zero_for_a_linear_map_and_grows_as_the_output_shrinks():
    A = random(2, 2) + 2 * torch.eye(2, **F64)
    assert float(bending(lambda x: x @ A.mT, random(3, 2)).max()) == 0
    torch.testing.assert_close(bending(lambda x: shear(x) / 5, random(3, 2)), torch.full((3,), 5000.0, **F64), rtol=1e-9, atol=0.0)


def test_all_preimages_of_a_folding_map_are_found_once():
    """(x², y): two, at (±1, 0.3); one at the fold itself; none on the other side; only one in a box that ends before the other."""

    def fold(x):
        return torch.stack([x[:, 0] ** 2, x[:, 1]], 1)

    line = torch.linspace(-2, 2, 9, **F64)
    box = torch.cartesian_prod(line, line) + 0.01
    found = preimages(fold, torch.tensor([1.0, 0.3], **F64), box)
    torch.testing.assert_close(found[found[:, 0].argsort()], torch.tensor([[-1.0, 0.3], [1.0, 0.3]], **F64), rtol=0, atol=1e-9)
    assert len(preimages(fold, torch.tensor([-1.0, 0.3], **F64), box)) == 0
    assert len(preimages(fold, torch.tensor([1.0, 0.3], **F64), box[box[:, 0] > 0])) == 1


def test_a_network_without_folds_has_one_preimage_and_a_random_one_finds_the_point_itself():
    x, line = random(5, 2) / 2, torch.linspace(-2, 2, 15, **F64)
    box = torch.cartesian_prod(line, line)
    for step, most in ((0.05, 1), (1.0, 9)):
        f = CkNetwork([2] * 6, step=step, seed=0, **F64)[:].requires_grad_(False)
        for p, image in zip(x, f(x), strict=True):
            found = preimages(f, image, box)
            assert 1 <= len(found) <= most and float((found - p).norm(dim=1).min()) < 1e-8


@pytest.mark.parametrize(("order", "scale", "seed"), [(2, 1.5, 3), (1, 2.0, 3)])
def test_a_badly_conditioned_flat_network_is_flat(order, scale, seed):
    """Condition numbers of 1.4 · 10⁵ to 3.3 · 10⁵: K below 10⁻⁶, where derivatives of Γ gave 0.03."""
    net, x = CkNetwork([2] * 7, order=order, step=0.5, seed=seed, **F64), random(40, 2, seed=1)
    with torch.no_grad():
        for W in net.weights:
            W.mul_(scale)
    ball = rl.geometry(net, x).balls(1.0)[0]
    assert float(ball.condition_number.max()) > 1e5
    R = riemann(lambda x: pullback_metrics(net, x)[0], x)[:, 0, 1, 0, 1]
    assert float((R / (2 * ball.log_volume).exp()).abs().max()) < 1e-6


def u(y):
    """The logarithm of a conformal factor, of points in rows."""
    return 0.3 * y[:, 0] ** 2 + 0.5 * y[:, 0].sin() * y[:, 1]


IDENTITY = CkNetwork.from_weights([torch.zeros(2, 2, **F64)], [torch.zeros(2, **F64)])


def conformal(y):
    return (2 * u(y)).exp()[:, None, None] * torch.eye(2, **F64)


CONFORMAL = {
    "written down": conformal,
    "at the output of a network": lambda x: pullback_metrics(IDENTITY, x, conformal)[0],
    "a matrix for each point": lambda x: pullback_metrics(IDENTITY, x, conformal(x))[0],
    "at the output of a map": lambda x: pullback_metric(lambda y: 1.0 * y, x, conformal),
}


@pytest.mark.parametrize("name", CONFORMAL)
def test_a_conformal_plane_has_its_curvature(name):
    """e^{2u} δ has K = -e^{-2u} Δu, and Γ^a_bc = δ^a_b ∂_c u + δ^a_c ∂_b u - δ_bc ∂_a u: equal eigenvalues everywhere, and no NaN."""
    x, field = random(6, 2), CONFORMAL[name]
    slope = torch.stack([0.6 * x[:, 0] + 0.5 * x[:, 0].cos() * x[:, 1], 0.5 * x[:, 0].sin()], 1)
    laplace = 0.6 - 0.5 * x[:, 0].sin() * x[:, 1]
    delta = torch.eye(2, **F64)
    gamma = (
        torch.einsum("ab,nc->nabc", delta, slope) + torch.einsum("ac,nb->nabc", delta, slope) - torch.einsum("bc,na->nabc", delta, slope)
    )
    torch.testing.assert_close(christoffel(field, x), gamma, rtol=1e-10, atol=1e-12)
    K = riemann(field, x)[:, 0, 1, 0, 1] / (4 * u(x)).exp()
    torch.testing.assert_close(K, -(-2 * u(x)).exp() * laplace, rtol=1e-10, atol=1e-12)


def test_a_conformal_metric_behind_a_network_is_that_of_the_definition():
    """Γ and R of P^T η(x^(L)) P for a network that bends, against those of the same metric written as automatic differentiation."""
    net, x = CkNetwork([2] * 4, step=0.4, seed=2, **F64), random(5, 2)
    f = net[:].requires_grad_(False)

    def by_map(x):
        return vmap(lambda p: (J := torch.func.jacrev(lambda p: f(p[None])[0])(p)).mT @ conformal(f(p[None]))[0] @ J)(x)

    def by_network(x):
        return pullback_metrics(net, x, conformal)[0]

    torch.testing.assert_close(christoffel(by_network, x), christoffel(by_map, x), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(riemann(by_network, x), riemann(by_map, x), rtol=1e-8, atol=1e-9)
    y = f(x)  # K is a scalar: the same as at the image
    K = riemann(by_network, x)[:, 0, 1, 0, 1] / torch.linalg.det(by_network(x))
    torch.testing.assert_close(K, riemann(conformal, y)[:, 0, 1, 0, 1] / torch.linalg.det(conformal(y)), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("s", [0.01, 3.0, 100.0])
def test_curvature_in_scaled_coordinates(s):
    """x' = s x: Γ' = Γ / s, R' = R / s⁴ with all indices lowered, and the same K; a metric c times as large: the same Γ, c R, K / c."""
    _, metric = sphere(2.0)

    def scaled(x):
        return metric(x / s) / s**2

    torch.testing.assert_close(s * christoffel(scaled, s * ANGLES), christoffel(metric, ANGLES), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(s**4 * riemann(scaled, s * ANGLES), riemann(metric, ANGLES), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(christoffel(lambda x: s * metric(x), ANGLES), christoffel(metric, ANGLES), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(riemann(lambda x: s * metric(x), ANGLES), s * riemann(metric, ANGLES), rtol=1e-9, atol=1e-12 * s)
