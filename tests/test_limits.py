"""Limits of many layers: orders measured against an independent solver, partitions, the product's bound, the adjoint equation."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import error
from scipy.integrate import solve_ivp

from riemlib import CkNetwork, limits
from riemlib.bundles import covectors

DEPTHS = [30, 60, 120, 240]
POINTS = 2 * torch.rand(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1


def orders(kind, seed, **network):
    W, b = limits.smooth_field(2, seed=seed, scale=1.5)
    partitions = [limits.partition(depth, kind) for depth in DEPTHS]
    errors = limits.measured_errors(W, b, POINTS, partitions, **network)
    return limits.local_order([steps[-1] for steps in partitions], errors)


# The reference: the same equation by scipy, written out here.


@pytest.mark.parametrize("order", [1, 2, 3])
def test_solve_is_the_equation_that_scipy_solves(order):
    W, b = limits.smooth_field(2, seed=4)

    def f(l, y):
        at = torch.tensor(l, dtype=torch.float64)
        return np.tanh(W(at).numpy() @ y + b(at).numpy()[:, None])

    def rate(l, state):
        parts = state.reshape(order, 2, -1)
        return np.concatenate([parts[1:], f(l, parts[0])[None]]).ravel()

    start = POINTS.T.numpy()
    state = np.stack([start, *[f(0.0, start)] * (order - 1)])
    end = solve_ivp(rate, (0, 1), state.ravel(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1].reshape(order, 2, -1)[0]
    half, whole = limits.solve(W, b, POINTS, order=order, at=[0.5, 1.0])
    assert np.abs(whole.T.numpy() - end).max() < 1e-7
    assert (half - whole).abs().max() > 1e-2


# Orders, each with the neighbouring integers outside its range.


@pytest.mark.parametrize(
    ("kind", "network", "theory"),
    [
        ("uniform", dict(order=1), 1),
        ("uniform", dict(order=1, activation="softplus"), 1),
        ("graded", dict(order=1), 1),
        ("uniform", dict(order=2), 1),
        ("half start", dict(order=2), 2),
        ("uniform", dict(order=3), 1),
        ("uniform", dict(order=4), 1),
    ],
)
def test_networks_approach_their_equation_with_the_order_of_theory(kind, network, theory):
    measured = orders(kind, 0, **network)
    assert abs(measured.value - theory) < 0.12
    assert theory - 1 < measured.low <= theory <= measured.high < theory + 1


def test_the_equation_of_another_field_is_not_approached():
    W, b = limits.smooth_field(2, seed=0)
    other = limits.solve(*limits.smooth_field(2, seed=1), POINTS)[-1]
    with torch.no_grad():
        errors = [float((limits.discretise(W, b, limits.partition(depth)).coordinates(POINTS)[-1] - other).norm()) for depth in DEPTHS]
    assert abs(limits.local_order([1 / depth for depth in DEPTHS], errors).value) < 0.1


@given(st.floats(0.5, 4), st.floats(-2, 2), st.floats(-3, 3))
def test_the_range_of_local_orders_holds_that_of_a_known_expansion(order, scale, next_order):
    h = 1 / np.array(DEPTHS)
    errors = math.exp(scale) * h**order * (1 + next_order * h + 4 * h**2)
    measured = limits.local_order(h.tolist(), errors.tolist())
    assert abs(measured.value - order) < 0.03
    assert measured.low <= order <= measured.high


# Networks on a path of weights.


@pytest.mark.parametrize("kind", ["uniform", "graded", "root", "random", "half start"])
@pytest.mark.parametrize("depth", [1, 2, 17])
def test_partitions_cover_the_interval(kind, depth):
    steps = limits.partition(depth, kind)
    assert len(steps) == depth and min(steps) > 0 and sum(steps) == pytest.approx(1)


def test_partitions_differ_as_they_should():
    assert limits.partition(9, "random", seed=1) != limits.partition(9, "random", seed=2)
    assert limits.partition(4, "half start")[0] == pytest.approx(limits.partition(4, "half start")[1] / 2)
    graded, root = limits.partition(8, "graded"), limits.partition(8, "root")
    assert graded == sorted(graded) and root == sorted(root, reverse=True) and sum(root[:2]) == pytest.approx(0.5)


def test_weights_are_sampled_where_the_layers_stand():
    W, b = limits.smooth_field(3, seed=2)
    net = limits.discretise(W, b, [0.1, 0.4, 0.5])
    assert limits.layer_positions(net) == pytest.approx([0, 0.1, 0.5, 1])
    at = torch.tensor(0.5, dtype=torch.float64)
    assert torch.allclose(net.weights[2], W(at)) and torch.allclose(net.biases[2], b(at))
    assert not torch.allclose(net.weights[1], W(at))


def test_a_fourier_path_is_its_series():
    path = limits.Fourier(torch.tensor([1.0]), torch.tensor([[2.0], [0.5]]), torch.tensor([[3.0], [0.25]]))
    l = torch.tensor([0.0, 0.1, 0.3])
    angle = 2 * torch.pi * l
    series = 1 + 2 * angle.cos() + 0.5 * (2 * angle).cos() + 3 * angle.sin() + 0.25 * (2 * angle).sin()
    assert torch.allclose(path(l)[:, 0], series)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_momentum_form_is_eq_4(activation):
    net = CkNetwork([2] * 8, order=2, step=0.3, activation=activation, seed=3, dtype=torch.float64)
    with torch.no_grad():
        x = torch.stack(net.coordinates(POINTS))
        assert torch.allclose(torch.stack(limits.momentum_form(net, POINTS)), x, atol=1e-13)
        assert (torch.stack(limits.momentum_form(net, POINTS, 0.0)) - x).abs().max() > 1e-2


def test_momentum_is_rescaled_on_an_uneven_partition():
    steps = [0.1, 0.3, 0.2, 0.4]
    net = CkNetwork([2] * 5, order=2, step=steps, seed=3, dtype=torch.float64)
    assert limits.rescaled(steps) == pytest.approx([1, 3, 2 / 3, 2])
    with torch.no_grad():
        x = torch.stack(net.coordinates(POINTS))
        assert torch.allclose(torch.stack(limits.momentum_form(net, POINTS, limits.rescaled(steps))), x, atol=1e-13)
        assert (torch.stack(limits.momentum_form(net, POINTS)) - x).abs().max() > 1e-2


@pytest.mark.parametrize(("kind", "force", "theory"), [("graded", True, 2), ("uniform", True, 2), ("graded", False, 1)])
def test_on_graded_partitions_a_second_factor_gives_second_order(kind, force, theory):
    """Eq. 4 with the momentum rescaled; and with the factor of f of the central difference on unequal steps."""

    def scheme(net, x):
        return limits.momentum_form(net, x, *(limits.second_order(net.steps) if force else [limits.rescaled(net.steps)]))

    partitions = [limits.partition(depth, kind) for depth in DEPTHS]
    errors = limits.measured_errors(*limits.smooth_field(2, seed=0, scale=1.5), POINTS, partitions, order=2, scheme=scheme)
    found = limits.local_order([1 / depth for depth in DEPTHS], errors)
    assert abs(found.value - theory) < 0.1 and found.low <= theory <= found.high


def test_second_order_factors_are_those_of_a_parabola():
    """x = l² + l solves x'' = 2 and x'(0) = 1: with f = 2 the central difference on unequal steps has no error."""
    steps = [0.1, 0.3, 0.2, 0.4]
    momentum, force = limits.second_order(steps)
    l = np.cumsum([0.0, *steps])
    x = [0.0, 0.1 + 0.1**2]
    for n in range(1, 4):
        x.append(x[n] + momentum[n] * (x[n] - x[n - 1]) + force[n] * 2)
    assert np.allclose(x, l**2 + l)
    assert force[0] == pytest.approx(0.1 + 0.1**2 / 2)


def test_eq_4_as_printed_does_not_converge_on_graded_partitions():
    partitions = [limits.partition(depth, "graded") for depth in DEPTHS]
    field = limits.smooth_field(2, seed=0, scale=1.5)
    errors = limits.measured_errors(*field, POINTS, partitions, order=2, scheme=limits.momentum_form)
    assert errors[-1] > 0.9 * errors[0] > 10 * limits.measured_errors(*field, POINTS, partitions, order=2)[0]


def test_local_orders_of_a_known_expansion():
    h = 1 / np.array(DEPTHS)
    errors = 3 * h**2 * (1 + 0.5 * h)
    found, local = limits.local_order([*h], [*errors]), limits.local_orders([*h], [*errors])
    assert local == pytest.approx(np.log2(errors[:-1] / errors[1:]))
    assert found.value == local[-1] and found.low <= 2 <= found.high < 2.1 and found.low > 1.9
    kinks = limits.local_order(
        [1 / depth for depth in (10, 20, 40, 80, 160)], [1.0, 0.5, 0.251, 0.125, 0.0622]
    )  # the last two happen to agree
    assert kinks.low < 1 < kinks.high
    jumpy = limits.local_order([*h], [*(errors * [1, 2, 1, 2])])
    assert jumpy.low < 1 and jumpy.high > 3


def test_phase_determinants_are_those_of_the_steps():
    """By the formula, with x'' = A x: (x, y) -> (x + r (x - y) + h² A x, x), r the ratio of the steps, has the determinant r^d."""
    steps = [0.5, 0.2, 0.8]
    net = CkNetwork([2] * 4, order=2, step=steps, seed=1, dtype=torch.float64).requires_grad_(False)
    pairs = limits.phase_determinants(net, POINTS, pairs=True)
    assert pairs.shape == (2, 8) and torch.allclose(pairs, torch.tensor([[0.16], [16.0]]).double().expand(2, 8))
    assert torch.allclose(limits.phase_determinants(net, POINTS, pairs=False), torch.ones(2, 8).double())
    with pytest.raises(ValueError, match=r"orders \(1, 1\); order 2"):
        limits.phase_determinants(CkNetwork([2] * 3), POINTS, pairs=True)


def test_the_central_first_difference_has_two_roots():
    rate, depth = 5.0, 20
    net = CkNetwork([1] * (depth + 1), step=1 / depth, activation=lambda z: z, seed=0, dtype=torch.float64)
    limits.sample_weights(net, lambda l: -rate * torch.ones(*l.shape, 1, 1).to(l), lambda l: torch.zeros(*l.shape, 1).to(l))
    with torch.no_grad():
        x = torch.cat(limits.central_first_difference(net, torch.ones(1, 1, dtype=torch.float64)))[:, 0]
    hr = rate / depth
    roots = -hr + math.sqrt(1 + hr**2), -hr - math.sqrt(1 + hr**2)
    c = np.linalg.solve([[1, 1], roots], [1, 1 - hr])
    assert np.allclose(x, c[0] * roots[0] ** np.arange(depth + 1) + c[1] * roots[1] ** np.arange(depth + 1))


def test_implicit_step_is_exact_for_relu_alone():
    W, b = limits.smooth_field(2, seed=0)
    with torch.no_grad():
        for activation, same in (("relu", True), ("tanh", False)):
            net = limits.discretise(W, b, limits.partition(12, "graded"), activation=activation)
            y, inside = net.coordinates(POINTS)[-1], limits.implicit(net).coordinates(POINTS)[-1]
            assert torch.allclose(y, inside, atol=1e-12) == same
        net = limits.discretise(W, b, limits.partition(12), activation="relu")
        assert not torch.allclose(net.coordinates(POINTS)[-1], limits.implicit(net, bias=False).coordinates(POINTS)[-1], atol=1e-3)


def test_the_nonaffine_share_is_0_for_affine_maps_and_1_for_a_parabola():
    affine = POINTS @ torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64) + 3
    assert limits.nonaffine_share(POINTS, affine) < 1e-13
    assert limits.nonaffine_share(POINTS, POINTS**2) > 0.1
    grid = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    assert limits.nonaffine_share(grid, grid**2) == pytest.approx(1)


def test_shared_layers_compose_and_others_do_not():
    for shared in (True, False):
        net = CkNetwork([2] * 9, step=0.2, shared=shared, seed=0, dtype=torch.float64)
        short = net[:4]
        with torch.no_grad():
            twice = short.coordinates(short.coordinates(POINTS)[-1])[-1]
            assert torch.allclose(twice, net.coordinates(POINTS)[-1], atol=1e-12) == shared


# Weights along the layers.


def test_variation_tells_noise_from_a_path():
    noise = torch.randn(20, 500, 3, generator=torch.Generator().manual_seed(0))
    assert limits.variation(noise).mean() == pytest.approx(1, abs=0.05)
    l = torch.linspace(0, 1, 500)[None, :, None]
    path = torch.cat([l, (6 * l).sin()], 2)
    assert limits.variation(path).item() < 1e-3
    jump = (l > 0.5).float()
    assert limits.variation(jump).item() == pytest.approx(2 / 500, rel=0.05)


def test_path_starts_are_samples_of_one_field_at_every_depth():
    W, b = limits.smooth_field(2, seed=5, scale=1.0)
    for depth in (3, 7):
        net = limits.PathStart([2] * (depth + 1), seed=5, dtype=torch.float64)
        l = torch.arange(depth, dtype=torch.float64) / depth
        assert torch.equal(torch.stack([*net.weights]), W(l)) and torch.equal(torch.stack([*net.biases]), b(l))
    plain = CkNetwork([2] * 8, seed=5, dtype=torch.float64)
    assert torch.equal(net.readout.weight, plain.readout.weight) and not torch.equal(net.weights[0], plain.weights[0])


def test_the_distance_of_samples_of_one_path_halves_and_that_of_noise_stays():
    def path(depth):
        l = torch.arange(depth, dtype=torch.float64)[:, None] / depth
        return torch.cat([l, l**2], 1)

    found = [float(limits.path_distance(path(depth), path(2 * depth))) for depth in (40, 80, 160)]
    assert found[0] / found[1] == pytest.approx(2, rel=0.02) and found[1] / found[2] == pytest.approx(2, rel=0.02)
    a, b = (torch.randn(5, depth, 3, generator=torch.Generator().manual_seed(depth)) for depth in (300, 600))
    assert torch.allclose(limits.path_distance(a, b), torch.full((5,), 6.0**0.5), rtol=0.1)
    for values in ([1.0, 3.0], [3.0, 1.0]):  # of which the layers differ from a coarse layer of 1
        found = limits.path_distance(torch.ones(1, 1), torch.tensor(values)[:, None])
        assert float(found) == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match="4 and 4 layers; a second one twice as deep"):
        limits.path_distance(path(4), path(4))


def test_random_layers_average_out_only_with_steps_of_one_over_depth():
    def spread(depth, step):
        y = limits.random_layers(POINTS, depth, step, draws=200)[-1]
        return float((y - y.mean(0)).norm())

    assert spread(90, 1 / 90) / spread(10, 1 / 10) == pytest.approx(1 / 3, rel=0.15)
    assert spread(90, 90**-0.5) / spread(10, 10**-0.5) == pytest.approx(1, rel=0.15)
    one, two = (limits.random_layers(POINTS, 3, 0.5, draws=2, seed=s) for s in (0, 1))
    assert one.shape == (4, 2, 8, 2) and torch.equal(one[0], POINTS.expand(2, -1, -1))
    assert not torch.equal(one[-1, 0], one[-1, 1]) and not torch.equal(one[-1], two[-1])


# The infinite product.


def test_ordered_product_has_the_last_factor_leftmost():
    A = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    eye = torch.eye(2, dtype=torch.float64)
    product = (eye + 0.3 * A[2]) @ (eye + 0.2 * A[1]) @ (eye + 0.1 * A[0])
    assert torch.allclose(limits.ordered_product(A, [0.1, 0.2, 0.3]), product)
    reverse = (eye + 0.1 * A[0]) @ (eye + 0.2 * A[1]) @ (eye + 0.3 * A[2])
    assert torch.allclose(limits.ordered_product(A, [0.1, 0.2, 0.3], reverse=True), reverse)
    assert not torch.allclose(product, reverse)


def test_the_path_ordered_exponential_of_pieces_is_a_product_of_exponentials():
    C = torch.tensor([[0.2, 1.0], [-0.7, -0.1]], dtype=torch.float64)
    D = torch.tensor([[0.5, 0.0], [1.0, 0.1]], dtype=torch.float64)
    assert torch.allclose(limits.path_ordered_exponential(lambda l: C, 2), torch.linalg.matrix_exp(C), atol=1e-11)
    broken = limits.path_ordered_exponential(lambda l: C if l < 0.3 else D, 2, breaks=[0.3])
    assert torch.allclose(broken, torch.linalg.matrix_exp(0.7 * D) @ torch.linalg.matrix_exp(0.3 * C), atol=1e-11)
    part = limits.path_ordered_exponential(lambda l: C, 2, start=0.25, end=0.75)
    assert torch.allclose(part, torch.linalg.matrix_exp(0.5 * C), atol=1e-11)


@pytest.mark.parametrize("kind", ["uniform", "random"])
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), depth=st.integers(1, 60), scale=st.floats(0.05, 1.0))
def test_the_products_error_lies_under_its_bound(kind, seed, depth, scale):
    A, _ = limits.smooth_field(2, seed=seed, scale=scale)
    norm = partial(torch.linalg.matrix_norm, ord=2)
    swing = norm(A.cosine) + norm(A.sine)
    M, K = float(norm(A.constant) + swing.sum()), float(2 * math.pi * (torch.tensor([1.0, 2.0]) * swing).sum())
    steps = limits.partition(depth, kind, seed=seed)
    l = torch.tensor([0.0, *steps[:-1]], dtype=torch.float64).cumsum(0)
    error = norm(limits.ordered_product(A(l), steps) - limits.path_ordered_exponential(A, 2))
    bound = limits.product_bound(M, [K * h for h in steps], steps)
    assert error <= bound
    assert bound == pytest.approx(math.exp(M) * (K + M**2 / 2) * sum(h**2 for h in steps))


def test_the_bound_is_attained_to_first_order_in_its_quadratic_term():
    M, h = 1e-3, 1.0  # one factor, constant A = M: the error is e^M - 1 - M
    error = math.exp(M) - 1 - M
    assert 0.99 * error < limits.product_bound(M, [0.0], [h]) and error <= limits.product_bound(M, [0.0], [h]) < 1.01 * error


# Backpropagation in the limit.


def test_adjoint_is_the_gradient_through_the_solution():
    W, b = limits.smooth_field(2, seed=0)
    x = POINTS[:2].clone().requires_grad_()
    end = limits.solve(W, b, x, tolerance=1e-8)[-1]
    p = torch.cos(end.detach())  # the gradient of sum sin(x(1))
    (expected,) = torch.autograd.grad(end.sin().sum(), x)
    start, found = (positions[-1] for positions in limits.adjoint(W, b, end.detach(), p, at=(0.5, 0.0), tolerance=1e-9))
    assert error([start], [x]) < 1e-6 and error([found], [expected]) < 1e-6
    assert error([limits.adjoint(W, b, end.detach(), p, at=(0.5,))[1][0]], [expected]) > 1e-3


def test_covectors_converge_to_the_adjoint_with_order_one():
    W, b = limits.smooth_field(2, seed=0)
    x = POINTS[:3]
    end = limits.solve(W, b, x)[-1]
    exact = limits.adjoint(W, b, end, torch.ones_like(end))[1][0]
    errors = []
    for depth in (50, 100):
        net = limits.discretise(W, b, limits.partition(depth))
        errors.append(float((covectors(net, x, torch.ones_like(end)[:, None])[0][:, 0] - exact).norm()))
    assert 0.9 < math.log2(errors[0] / errors[1]) < 1.1
