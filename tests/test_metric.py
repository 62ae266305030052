"""The metric in closed form against automatic differentiation of an independent recursion (Eqs. 8-13), in float64 to 1e-10."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import CASES, cases, coordinates, error, jacobians, metrics, network, points, pushforwards, spd, states
from torch.func import jacfwd, jacrev, vmap

import riemlib as rl
from riemlib.metric import condition_number, log_volume

TOLERANCE = 1e-10
FAR = 1e-2  # what a control has to be off by

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def output_metrics(net, n):
    d = net.widths[-1]
    v = points(n, d, seed=7)
    return {"Euclidean": None, "one matrix": spd(d), "one per point": spd(d, n), "degenerate": v[:, :, None] * v[:, None, :]}


@each_case
def test_layer_jacobians(case):
    net, x = network(**case), points(7, case["widths"][0])
    assert error(rl.jacobians(net, x), jacobians(net, x)) < TOLERANCE


@each_case
def test_pushforward_from_every_layer(case):
    net, x = network(**case), points(7, case["widths"][0])
    found = [rl.pushforward(net, x, layer) for layer in range(len(net.weights) + 1)]
    assert error(found, pushforwards(net, x)) < TOLERANCE


@each_case
def test_metric_at_every_layer(case):
    net, x = network(**case), points(6, case["widths"][0])
    etas = output_metrics(net, len(x))
    for eta, expected in zip(etas.values(), metrics(net, x, *etas.values()), strict=True):
        assert error(rl.pullback_metrics(net, x, eta), expected) < TOLERANCE
        assert error([rl.pullback_metric(lambda x: net.coordinates(x)[-1], x, eta)], expected[:1]) < TOLERANCE


def test_reference_metric_of_points_or_batches():
    net, x = network(**CASES["mixed"]), points(6, 2)
    for eta in output_metrics(net, len(x)).values():
        expected = metrics(net, x, eta)[0]
        batch = rl.pullback_metric(lambda x: net.coordinates(x)[-1], x, eta)
        single = rl.pullback_metric(lambda p: net.coordinates(p[None])[-1][0], x, eta)
        assert error([batch, single], [expected, expected]) < TOLERANCE


def test_reference_metric_of_modules():
    net, x = network(widths=[2] * 5, order=2), points(6, 2)
    A, J = net.readout.weight.detach(), pushforwards(net, x)[0]
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()).double()
    direct = vmap(jacrev(module))(x).detach()
    found = [rl.pullback_metric(net, x).detach(), rl.pullback_metric(module, x).detach()]
    assert error(found, [(A @ J).mT @ (A @ J), direct.mT @ direct]) < TOLERANCE


def test_recursion_and_product_agree():
    """Eq. 9 layer by layer, Eq. 10 at once and Eq. 12 are one thing, at every layer and for every order."""
    net, x = network(**CASES["mixed"]), points(9, 2)
    J, g = rl.jacobians(net, x), rl.pullback_metrics(net, x, spd(2))
    for l in range(len(J)):
        assert error([g[l]], [J[l].mT @ g[l + 1] @ J[l]]) < TOLERANCE
        P = rl.pushforward(net, x, l)
        assert error([g[l], P], [P.mT @ spd(2) @ P, rl.pushforward(net, x, l + 1) @ J[l]]) < TOLERANCE


def product(jacobians, reverse=False):
    """The product of Eq. 12, last layer leftmost; or the other way round."""
    P = torch.eye(jacobians[0].shape[-1], dtype=jacobians[0].dtype)
    for J in jacobians:
        P = P @ J if reverse else J @ P
    return P


def test_wrong_products_differ():
    """The controls: what the paper's equations would be with one slip, each far from automatic differentiation."""
    net, x = network(widths=[2] * 6, order=1, step=0.7), points(7, 2)
    (P, *_), J = pushforwards(net, x), rl.jacobians(net, x)
    identity = torch.eye(2, dtype=x.dtype)
    slips = {
        "reversed product": product(J, reverse=True),
        "Δl dropped": product([identity + (j - identity) / 0.7 for j in J]),
        "identity dropped": product([j - identity for j in J]),
        "Jacobians transposed": product([j.mT for j in J]),
    }
    assert error([product(J)], [P]) < TOLERANCE
    assert {slip: error([wrong], [P]) > FAR for slip, wrong in slips.items()} == dict.fromkeys(slips, True)
    assert {slip: error([w.mT @ w], [P.mT @ P]) > FAR for slip, w in slips.items()} == dict.fromkeys(slips, True)
    assert error([P @ P.mT], rl.pullback_metrics(net, x)[:1]) > FAR


def test_metric_is_not_that_of_x_alone():
    """At order 2 the state has its difference beside x; a metric that forgets it is wrong."""
    net, x = network(widths=[2] * 6, order=2, step=0.7), points(7, 2)
    g = rl.pullback_metrics(net, x)
    on_x = [J[:, :2, :2] for J in rl.jacobians(net, x)]
    assert [m.shape[-1] for m in g] == [2, 4, 4, 4, 4, 4]
    assert error([product(on_x).mT @ product(on_x)], g[:1]) > FAR


def test_phase_space_volume_is_kept():
    """det = 1 for a layer of order 2 on (x, D_1), whatever f is; not at order 1."""
    net, x = network(widths=[3] * 6, order=2, step=0.7), points(7, 3)
    inner = torch.stack(rl.jacobians(net, x)[1:])
    assert (inner.det() - 1).abs().max() < TOLERANCE
    assert (torch.stack(rl.jacobians(network(widths=[3] * 6, step=0.7), x)).det() - 1).abs().max() > FAR


@given(cases(), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from(["Euclidean", "one matrix", "one per point", "degenerate"]))
def test_any_network_at_any_points(case, n, seed, eta):
    net = network(**case)
    x = points(n, net.widths[0], seed)
    eta = output_metrics(net, n)[eta]
    assert error(rl.pullback_metrics(net, x, eta), metrics(net, x, eta)) < TOLERANCE
    assert error(rl.jacobians(net, x), jacobians(net, x)) < TOLERANCE
    assert error([rl.pushforward(net, x)], pushforwards(net, x)[:1]) < TOLERANCE


@given(cases(), st.integers(0, 10**6))
def test_length_is_the_same_at_every_layer(case, seed):
    """Eq. 13: a displacement pushed forward keeps its length; the metric is symmetric, and no length is negative."""
    net = network(**case)
    x, dx = points(3, net.widths[0], seed), points(3, net.widths[0], seed + 1)
    g = rl.pullback_metrics(net, x)
    at_output = (rl.pushforward(net, x) @ dx[..., None]).square().sum((1, 2))
    for l, metric in enumerate(g):
        scale = max(1.0, float(metric.abs().max()))
        assert (metric - metric.mT).abs().max() < TOLERANCE * scale
        assert torch.linalg.eigvalsh(metric).min() > -TOLERANCE * scale
        assert error([rl.squared_length(metric, dx)], [at_output]) < TOLERANCE
        if l < len(net.weights):
            dx = (rl.jacobians(net, x)[l] @ dx[..., None])[..., 0]


@given(cases(), st.floats(0, 3), st.floats(0, 3))
def test_metric_is_linear_in_the_output_metric(case, a, b):
    net = network(**case)
    x, d = points(3, net.widths[0]), net.widths[-1]
    h, k = spd(d, seed=1), spd(d, seed=2)
    both = rl.pullback_metrics(net, x, a * h + b * k)
    parts = [a * g + b * m for g, m in zip(rl.pullback_metrics(net, x, h), rl.pullback_metrics(net, x, k), strict=True)]
    assert error(both, parts) < TOLERANCE


@given(cases())
def test_points_do_not_see_each_other(case):
    net = network(**case)
    x = points(5, net.widths[0])
    whole = rl.pullback_metrics(net, x)
    for i in (0, 4):
        assert error([g[i : i + 1] for g in whole], rl.pullback_metrics(net, x[i : i + 1])) < TOLERANCE


@each_case
def test_float32(case):
    """Single precision keeps five digits of each tensor, at depths up to 10, and stays single."""
    single, double = network(**case, dtype=torch.float32), network(**case)
    x = points(50, case["widths"][0])
    found = [*rl.pullback_metrics(single, x.float()), *rl.jacobians(single, x.float()), rl.pushforward(single, x.float())]
    expected = [*rl.pullback_metrics(double, x), *rl.jacobians(double, x), rl.pushforward(double, x)]
    assert {a.dtype for a in found} == {torch.float32}
    assert error([a.double() for a in found], expected) < 1e-4


def test_derivatives_of_the_metric():
    """∂g/∂x, which curvature needs, by forward and reverse mode through the sweep, and under vmap."""
    net, x = network(widths=[2] * 5, order=2, step=0.7), points(4, 2)

    def g(p):
        return rl.pullback_metrics(net, p[None])[0][0]

    def by_hand(p):
        return metrics(net, p[None])[0][0]

    expected = torch.stack([jacrev(by_hand)(p) for p in x])
    assert expected.abs().max() > FAR
    assert error([vmap(jacrev(g))(x), vmap(jacfwd(g))(x)], [expected, expected]) < TOLERANCE


def test_functions_transform():
    """vmap and jacrev pass through a network: the layers' maps, as any user of torch.func writes them."""
    net, x = network(**CASES["mixed"]), points(5, 2)
    J = vmap(jacrev(lambda p: net.coordinates(p[None])[-1][0]))(x)
    assert error([J.detach()], [rl.pushforward(net, x)]) < TOLERANCE
    S = vmap(jacfwd(lambda p: net.states(p[None])[3][0]))(x)
    assert error([S.detach()], [product(rl.jacobians(net, x)[:3])]) < TOLERANCE


def test_weights_get_no_gradient_from_a_metric():
    net = network(widths=[2] * 4)
    x = points(5, 2).requires_grad_()
    rl.pullback_metrics(net, x)[0].sum().backward()
    assert x.grad.abs().max() > 0
    assert all(p.grad is None for p in net.parameters())


def test_points_and_metric_of_another_layout():
    """Strides do not matter: transposed, sliced and expanded points."""
    net = network(widths=[2] * 4, order=2)
    x = points(6, 2)
    for view in (x.t().contiguous().t(), torch.stack([x, x], 2)[..., 0], points(1, 2).expand(6, 2)):
        dense = view.clone(memory_format=torch.contiguous_format)
        assert error(rl.pullback_metrics(net, view), rl.pullback_metrics(net, dense)) < TOLERANCE


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_squared_length(dim):
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


def test_balls_by_hand():
    found = rl.balls(torch.diag(torch.tensor([4.0, 0.25])).double()[None], 1.0)
    assert found.axes.tolist() == [[2.0, 0.5]]
    assert found.directions.abs().tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_balls_are_infinite_where_the_metric_is_degenerate(dtype):
    """Through a bottleneck of width 1 only one axis is finite; a metric of zeros has none."""
    net = network(widths=[3, 1, 3], order=0, dtype=dtype)
    found = rl.balls(rl.pullback_metrics(net, points(20, 3, dtype=dtype))[0], 0.1)
    assert found.axes.isinf().sum(1).tolist() == [2] * 20
    assert not found.axes.isnan().any()
    assert rl.balls(torch.zeros(2, 3, 3, dtype=dtype), 0.1).axes.isinf().all()
    stretched = torch.diag(torch.tensor([1.0, 1e-3], dtype=dtype))[None]
    assert rl.balls(stretched, 0.1).axes.isfinite().all()


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_condition_and_volume_are_those_of_linear_algebra(dim):
    """torch.linalg.cond and half the log-determinant; the squared ratio of a ball's axes, and minus the logarithm of their product."""
    g = spd(dim, 20)
    found = condition_number(g), log_volume(g)
    assert error([*found], [torch.linalg.cond(g), torch.linalg.slogdet(g).logabsdet / 2]) < 1e-8
    scaled = condition_number(9 * g), log_volume(9 * g)
    assert error([*scaled], [found[0], found[1] + dim * math.log(3)]) < 1e-8
    assert (found[0] >= 1).all()


def test_condition_and_volume_by_hand():
    """Stretched by 3 and squeezed by 2 the metric has the eigenvalues 9 and 1/4: condition 36, √det = 3/2."""
    g = rl.pullback_metric(lambda p: p * torch.tensor([3.0, -0.5]).double(), points(4, 2))
    assert condition_number(g).tolist() == pytest.approx([36] * 4)
    assert log_volume(g).tolist() == pytest.approx([math.log(1.5)] * 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_condition_and_volume_of_a_degenerate_metric(dtype):
    """Infinite, and minus infinity, of rank 1, and of rank 0 as well."""
    net = network(widths=[3, 1, 3], order=0, dtype=dtype)
    for g in (rl.pullback_metrics(net, points(20, 3, dtype=dtype))[0], torch.zeros(20, 3, 3, dtype=dtype)):
        assert log_volume(g).tolist() == [-math.inf] * 20
        assert condition_number(g).tolist() == [math.inf] * 20


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


def test_the_networks_own_points_are_the_ones_meant():
    """Metrics stand at x^(l) of the same points as `coordinates`: a metric of the first coordinates at wrong points is off."""
    net, x = network(widths=[2] * 5), points(6, 2)
    assert error(net.coordinates(x), coordinates(net, x)) < TOLERANCE
    assert error(net.states(x), states(net, x)) < TOLERANCE
    assert error(rl.pullback_metrics(net, x + 0.1), metrics(net, x)) > FAR


def test_cuda(cuda):
    net, x = network(**CASES["mixed"]), points(50, 2)
    there = rl.pullback_metrics(network(**CASES["mixed"]).to(cuda), x.to(cuda), spd(2).to(cuda))
    assert {g.device.type for g in there} == {"cuda"}
    assert error([g.cpu() for g in there], rl.pullback_metrics(net, x, spd(2))) < TOLERANCE
