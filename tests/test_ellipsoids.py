"""Lengths and balls of a metric (Eq. 13), through the metric and through the pushforward; its condition number and volume."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import error, network, points, spd

import riemlib as rl
from riemlib.ellipsoids import condition_number, log_volume

TOLERANCE = 1e-10


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_a_squared_length_is_the_sum_over_both_indices(dim):
    g, dx = spd(dim, 6), points(6, dim)
    expected = torch.stack([sum(m[a, b] * v[a] * v[b] for a in range(dim) for b in range(dim)) for m, v in zip(g, dx, strict=True)])
    assert error([rl.squared_length(g, dx)], [expected]) < TOLERANCE


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_balls_hold_the_vectors_of_length_radius(dim):
    """The tip of each semi-axis is a vector of length `radius`; √λ for 1/√λ would not be. Longest first, along unit columns."""
    g, radius = spd(dim, 20), 0.3
    found = rl.balls(g, radius)
    tips = found.directions * found.axes[:, None, :]
    for i in range(dim):
        assert error([rl.squared_length(g, tips[:, :, i])], [torch.full((20,), radius**2, dtype=g.dtype)]) < TOLERANCE
    gram = found.directions.mT @ found.directions
    assert error([gram], [torch.eye(dim, dtype=g.dtype).expand_as(gram)]) < TOLERANCE
    assert (found.axes.diff(dim=1) <= 0).all()
    # A set, not its axes alone: v = Σ c_i (axis i) with |c| = 1 has length radius too.
    c = torch.nn.functional.normalize(points(20, dim, seed=3), dim=1)
    assert error([rl.squared_length(g, (tips @ c[..., None])[..., 0])], [torch.full((20,), radius**2, dtype=g.dtype)]) < TOLERANCE
    if dim > 1:
        wrong = found.directions * (radius * torch.linalg.eigvalsh(g).sqrt())[:, None, :]
        assert error([rl.squared_length(g, wrong[:, :, 0])], [torch.full((20,), radius**2, dtype=g.dtype)]) > 1e-3


def test_a_stretched_plane_has_its_ellipse():
    found = rl.balls(torch.diag(torch.tensor([4.0, 0.25])).double()[None], 1.0)
    assert found.axes.tolist() == [[2.0, 0.5]]
    assert found.directions.abs().tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


HIDES = r"g has an eigenvalue that its own rounding hides at {} points; its pushforward is needed: balls_of\(P, radius\), or geometry"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balls_are_infinite_where_the_map_is_degenerate(dtype):
    """Through a bottleneck of width 1 only one axis is finite. The metric alone cannot tell, and says so; a metric of zeros has none."""
    net = network(widths=[3, 1, 3], order=0, dtype=dtype)
    geometry = rl.geometry(net, points(20, 3, dtype=dtype))
    for found in (geometry.balls(0.1)[0], rl.balls_of(geometry.P[0], 0.1)):
        assert found.axes.isinf().sum(1).tolist() == [2] * 20
        assert not found.axes.isnan().any()
    with pytest.raises(ValueError, match=HIDES.format("20 of 20")):
        rl.balls(geometry.g[0], 0.1)
    assert rl.balls(torch.zeros(2, 3, 3, dtype=dtype), 0.1).axes.isinf().all()
    stretched = torch.diag(torch.tensor([1.0, 1e-3], dtype=dtype))[None]
    assert rl.balls(stretched, 0.1).axes.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("g", "infinite"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], 1),
        ([[1.0, 0.0], [0.0, 0.0]], 1),
        ([[0.0, 0.0], [0.0, 4.0]], 1),
        ([[1.0, 1.0, 1.0]] * 3, 2),
        ([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]], 1),
        ([[0.0]], 1),
    ],
)
def test_a_metric_that_is_exactly_singular_has_infinite_axes(g, infinite, dtype):
    """As many as elimination leaves exact zeros, and finite ones beside them."""
    found = rl.balls(torch.tensor(g, dtype=dtype), 1.0)
    assert int(found.axes.isinf().sum()) == infinite and found.axes[infinite:].isfinite().all()


def test_a_hidden_eigenvalue_beside_an_exact_zero_is_seen():
    """One eigenvalue is exactly 0, another is smaller than the rounding of the largest: not two infinite axes."""
    g = torch.diag(torch.tensor([1.0, 1e-20, 0.0], dtype=torch.float64))[None]
    with pytest.raises(ValueError, match=HIDES.format("1 of 1")):
        rl.balls(g, 1.0)


def test_luck_in_the_rounding_makes_no_metric_singular():
    """Of many thin float32 metrics P^T P elimination in float32 finds some singular. They are refused like the others."""
    turn = torch.rand(2, 200000, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    left, right = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], -1).unflatten(-1, (2, 2))
    P = left @ torch.diag(torch.tensor([1.0, 1e-4])) @ right
    g = P.mT @ P
    lucky = torch.linalg.lu_factor_ex(g).info > 0
    assert lucky.any()
    with pytest.raises(ValueError, match=HIDES.format(f"{int(lucky.sum())} of {int(lucky.sum())}")):
        rl.balls(g[lucky], 1.0)
    assert rl.balls_of(P[lucky], 1.0).axes[:, 0].tolist() == pytest.approx([1e4] * int(lucky.sum()), rel=0.01)


@pytest.mark.parametrize("shape", [(), (4,), (2, 4)])
def test_condition_and_volume_keep_the_shape_of_the_batch(shape):
    """(2, 4, 3, 3) as 8 metrics one by one; the condition number is that of each point, not of the first."""
    g = spd(3, 8)[: torch.Size(shape).numel()].reshape(*shape, 3, 3)
    for found, expected in ((condition_number(g), torch.linalg.cond(g)), (log_volume(g), torch.linalg.slogdet(g).logabsdet / 2)):
        assert found.shape == shape and error([found], [expected]) < 1e-8
    ball = rl.balls_of(torch.linalg.cholesky(g).mT, 0.5)
    assert ball.axes.shape == (*shape, 3) and error([ball.axes], [rl.balls(g, 0.5).axes]) < 1e-8
    assert error([ball.condition_number, ball.log_volume], [condition_number(g), log_volume(g)]) < 1e-8  # the radius does not matter


@given(st.sampled_from([1e-150, 1e-6, 0.1, 3.0, 1e8, 1e150]), st.integers(1, 4), st.integers(0, 10**6))
def test_balls_scale_with_the_metric_and_the_radius(c, dim, seed):
    """A metric c times as large has balls 1/√c as large, as a Jacobian √c times as large has; a radius c times has them c times."""
    g, P = spd(dim, 3, seed), points(3 * dim, dim, seed).unflatten(0, (3, dim))
    one, other = rl.balls(g, 0.3), rl.balls(c * g, 0.3)
    assert torch.allclose(other.axes * c**0.5, one.axes, rtol=1e-6)
    assert torch.allclose(other.condition_number, one.condition_number, rtol=1e-6)
    assert torch.allclose(other.log_volume, one.log_volume + dim * math.log(c) / 2, rtol=1e-6, atol=1e-6)
    of_P = rl.balls_of(P, 0.3).axes
    assert torch.allclose(rl.balls_of(c * P, 0.3).axes * c, of_P) and torch.allclose(rl.balls_of(P, 0.3 * c).axes / c, of_P)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_condition_and_volume_are_those_of_linear_algebra(dim):
    """torch.linalg.cond and half the log-determinant; the squared ratio of a ball's axes, and minus the logarithm of their product."""
    g = spd(dim, 20)
    found = condition_number(g), log_volume(g)
    assert error([*found], [torch.linalg.cond(g), torch.linalg.slogdet(g).logabsdet / 2]) < 1e-8
    scaled = condition_number(9 * g), log_volume(9 * g)
    assert error([*scaled], [found[0], found[1] + dim * math.log(3)]) < 1e-8
    assert (found[0] >= 1).all()


def test_a_map_that_stretches_and_squeezes_has_its_condition_and_volume():
    """Stretched by 3 and squeezed by 2 the metric has the eigenvalues 9 and 1/4: condition 36, √det = 3/2."""
    g = rl.pullback_metric(lambda p: p * torch.tensor([3.0, -0.5]).double(), points(4, 2))
    assert condition_number(g).tolist() == pytest.approx([36] * 4)
    assert log_volume(g).tolist() == pytest.approx([math.log(1.5)] * 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_degenerate_map_has_no_volume_and_an_infinite_condition(dtype):
    """Infinite, and minus infinity, of rank 1, and of rank 0 as well; of a metric only where it is exactly singular."""
    P = rl.pushforward(network(widths=[3, 1, 3], order=0, dtype=dtype), points(20, 3, dtype=dtype))
    nothing = torch.zeros(20, 3, 3, dtype=dtype)
    for ball in (rl.balls_of(P, 0.1), rl.balls_of(nothing, 0.1)):
        assert ball.log_volume.tolist() == [-math.inf] * 20 and ball.condition_number.tolist() == [math.inf] * 20
    assert log_volume(nothing).tolist() == [-math.inf] * 20 and condition_number(nothing).tolist() == [math.inf] * 20
    for of_metric in (log_volume, condition_number):
        with pytest.raises(ValueError, match="rounding hides at 20 of 20 points.*balls_of"):
            of_metric(P.mT @ P)


def test_outline_lies_on_the_ball():
    g, centres = spd(2, 5), points(5, 2)
    curve = rl.balls(g, 0.3).outline(centres, count=33)
    assert curve.shape == (5, 33, 2)
    away = curve - centres[:, None]
    length = torch.einsum("nab,nka,nkb->nk", g, away, away)
    assert error([length], [torch.full_like(length, 0.09)]) < TOLERANCE
    assert error([curve[:, 0]], [curve[:, -1]]) < TOLERANCE
    turn = torch.atan2(away[..., 1], away[..., 0]).diff(dim=1)
    assert (((turn + math.pi) % (2 * math.pi) - math.pi).sum(1).abs() - 2 * math.pi).abs().max() < 1e-6


# Balls through the pushforward.


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (5, 5), (4, 2), (5, 3), (3, 1)])
def test_balls_of_a_jacobian_are_those_of_its_metric(shape):
    """Against eigh of P^T P in float64: semi-axes, directions up to their sign, longest first, unit columns."""
    P = points(6 * shape[0], shape[1]).unflatten(0, (6, shape[0]))
    values, vectors = torch.linalg.eigh(P.mT @ P)
    found = rl.balls_of(P, 0.3)
    assert error([found.axes], [0.3 / values.sqrt()]) < 1e-8
    assert error([(found.directions.mT @ vectors).abs()], [torch.eye(shape[1], dtype=P.dtype).expand(6, -1, -1)]) < 1e-6
    assert (found.axes.diff(dim=1) <= 0).all()
    if shape[1] > 1:  # the control: another Jacobian has other balls
        assert error([rl.balls_of(P.flip(0), 0.3).axes], [found.axes]) > 1e-2


@pytest.mark.parametrize("shape", [(1, 2), (1, 3), (2, 5), (3, 4)])
def test_balls_of_a_wide_jacobian_are_infinite_in_the_directions_it_loses(shape):
    """r rows see r directions; the other d - r are infinite, come first, and are what P sends to 0."""
    r, d = shape
    P = points(6 * r, d).unflatten(0, (6, r))
    found = rl.balls_of(P, 0.3)
    assert found.axes.shape == (6, d) and found.directions.shape == (6, d, d)
    assert found.axes[:, : d - r].isinf().all() and found.axes[:, d - r :].isfinite().all()
    assert (P @ found.directions[:, :, : d - r]).abs().max() < TOLERANCE
    values = torch.linalg.eigvalsh(P @ P.mT)  # those of P^T P that are not 0
    assert error([found.axes[:, d - r :]], [0.3 / values.sqrt()]) < 1e-8
    gram = found.directions.mT @ found.directions
    assert error([gram], [torch.eye(d, dtype=P.dtype).expand_as(gram)]) < TOLERANCE


@pytest.mark.parametrize(("dtype", "thin"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_jacobian_keeps_a_thin_ball_that_its_metric_loses(dtype, thin):
    """An axis ratio below the root of the machine epsilon: right from P, refused from P^T P. Below the epsilon itself it is 0."""
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=dtype)
    P = (torch.diag(torch.tensor([1.0, thin], dtype=dtype)) @ turn)[None]
    found = rl.balls_of(P, 1.0)
    assert found.axes[0].tolist() == pytest.approx([1 / thin, 1.0], rel=1e-2)
    with pytest.raises(ValueError, match=HIDES.format("1 of 1")):
        rl.balls(P.mT @ P, 1.0)
    gone = torch.diag(torch.tensor([1.0, 0.1 * torch.finfo(dtype).eps], dtype=dtype))[None]
    assert rl.balls_of(gone, 1.0).axes[0].tolist() == [math.inf, 1.0]


def test_balls_of_a_jacobian_that_is_zero_are_infinite():
    assert rl.balls_of(torch.zeros(3, 2, 2), 1.0).axes.isinf().all()


# One decomposition.


def counted(monkeypatch, *names):
    """How often each of these functions of torch.linalg is called from now on."""
    calls = dict.fromkeys(names, 0)
    for name in names:
        function = getattr(torch.linalg, name)
        monkeypatch.setattr(
            torch.linalg, name, lambda A, name=name, function=function, **how: calls.update({name: calls[name] + 1}) or function(A, **how)
        )
    return calls


def test_balls_decompose_once_and_eliminate_only_where_an_eigenvalue_is_small(monkeypatch):
    calls = counted(monkeypatch, "eigh", "lu_factor_ex", "svd")
    g = spd(3, 8)
    rl.balls(g, 0.1)
    assert calls == {"eigh": 1, "lu_factor_ex": 0, "svd": 0}
    g[5] = 1.0  # of rank 1
    sizes = []
    eliminate = torch.linalg.lu_factor_ex
    monkeypatch.setattr(torch.linalg, "lu_factor_ex", lambda A: sizes.append(len(A)) or eliminate(A))
    assert int(rl.balls(g, 0.1).axes.isinf().sum()) == 2 and sizes == [1]


def thin_jacobians(rows, dtype, n=2000):
    """Jacobians (n, rows, 2) of condition numbers from 1 to 1/eps, and their singular values to the digits of float64."""
    generator, limit = torch.Generator().manual_seed(rows), -math.log10(torch.finfo(dtype).eps)
    left, _ = torch.linalg.qr(torch.randn(n, rows, 2, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(n, 2, 2, generator=generator, dtype=torch.float64))
    least = 10 ** (-limit * torch.rand(n, generator=generator, dtype=torch.float64))
    return (left * torch.stack([torch.ones(n).double(), least], -1)[:, None] @ right).to(dtype)


@pytest.mark.parametrize("scale", ["tiny", "one", "huge"])
@pytest.mark.parametrize("rows", [2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_columns_have_the_singular_values_of_the_decomposition(dtype, rows, scale, monkeypatch):
    """Within a few roundings of the largest, as the decomposition itself; float32 against that of float64. P has these lengths there."""
    size = {"tiny": torch.finfo(dtype).tiny ** 0.8, "one": 1.0, "huge": torch.finfo(dtype).max ** 0.8}[scale]
    P, eps = thin_jacobians(rows, dtype) * size, torch.finfo(dtype).eps
    exact = torch.linalg.svdvals(P.double() / size).flip(-1)
    calls = counted(monkeypatch, "svd", "eigh")
    found = rl.balls_of(P, 1.0)
    assert calls == {"svd": 0, "eigh": 0}
    largest, fair = exact[:, 1:], (exact > 4 * rows * eps * exact[:, 1:])
    values = 1 / found.axes.double() / size
    assert ((values - exact).abs() <= 6 * eps * largest)[fair].all() and fair.sum() > 3000
    assert (values[~fair] <= 5 * rows * eps * largest.expand_as(values)[~fair]).all()
    along = torch.linalg.vector_norm(P.double() / size @ found.directions.double(), dim=1)
    assert ((along - exact).abs() <= 6 * eps * largest).all()
    gram = found.directions.mT @ found.directions
    assert (gram - torch.eye(2, dtype=dtype)).abs().max() <= 4 * eps


@pytest.mark.parametrize("P", [torch.eye(2), torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([[0.0, -3.0], [3.0, 0.0], [0.0, 0.0]])])
def test_the_axes_of_a_plane_can_be_differentiated(P):
    """Also where both are equal, in forward and reverse mode, and twice where they are not."""
    P = P.double()

    def area(P):
        return rl.balls_of(P[None], 1.0).axes.log().sum()

    expected = -torch.linalg.pinv(P).mT  # of -log √det P^T P
    moving = P.clone().requires_grad_()
    area(moving).backward()
    for found in (moving.grad, torch.func.jacrev(area)(P), torch.func.jacfwd(area)(P)):
        assert torch.allclose(found, expected, atol=1e-12)


def test_a_plane_whose_two_axes_are_equal_is_sorted():
    """Two orthogonal columns of length 1 have two equal singular values: rounding does not change their order."""
    P, _ = torch.linalg.qr(torch.randn(5000, 3, 2, generator=torch.Generator().manual_seed(0)))
    found = rl.balls_of(P, 1.0)
    assert (found.axes[:, 0] >= found.axes[:, 1]).all() and (found.condition_number >= 1).all()
    assert torch.allclose(found.axes, torch.ones(5000, 2), rtol=1e-6)
