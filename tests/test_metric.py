"""The metric in closed form against automatic differentiation of an independent recursion (Eqs. 8-13), in float64 to 1e-10."""

import copy
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import CASES, cases, coordinates, error, jacobians, metrics, network, output, points, pushforwards, spd, states
from torch.func import jacfwd, jacrev, vmap

import riemlib as rl
from riemlib import engines, memory, wide
from riemlib import metric as metric_module
from riemlib.metric import Geometry, backward_sweep, forward_pass

TOLERANCE = 1e-10
FAR = 1e-2  # what a control has to be off by

each_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module", autouse=True, params=["compiled", "torch"])
def engine(request):
    """Every test runs where the compiled loop serves what it can, and where torch computes everything."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(engines, "sweeps", lambda net, x: False)
        yield request.param


@pytest.fixture
def torch_only(monkeypatch):
    monkeypatch.setattr(engines, "sweeps", lambda net, x: False)


@cache
def by_hand(case):
    """The network of a case, six points, and its pushforwards from every layer by automatic differentiation of the recursion."""
    net, x = network(**CASES[case]), points(6, CASES[case]["widths"][0])
    return net, x, pushforwards(net, x)


def metrics_of(P, eta):
    return [p.mT @ p if eta is None else p.mT @ eta @ p for p in P]


def output_metrics(net, n):
    d = net.widths[-1]
    v = points(n, d, seed=7)
    return {"Euclidean": None, "one matrix": spd(d), "one per point": spd(d, n), "degenerate": v[:, :, None] * v[:, None, :]}


@each_case
def test_layer_jacobians_are_those_of_automatic_differentiation(case):
    net, x, _ = by_hand(case)
    assert error(rl.jacobians(net, x), jacobians(net, x)) < TOLERANCE


@each_case
def test_the_pushforward_from_every_layer_is_that_of_automatic_differentiation(case):
    net, x, P = by_hand(case)
    assert error([rl.pushforward(net, x, layer) for layer in range(len(P))], P) < TOLERANCE


@each_case
def test_the_metric_at_every_layer_is_that_of_automatic_differentiation(case):
    net, x, P = by_hand(case)
    for eta in output_metrics(net, len(x)).values():
        expected = metrics_of(P, eta)
        assert error(rl.pullback_metrics(net, x, eta), expected) < TOLERANCE
        assert error([rl.pullback_metric(lambda x: net.coordinates(x)[-1], x, eta)], expected[:1]) < TOLERANCE


def test_the_metric_of_any_map_takes_points_or_batches():
    net, x = network(**CASES["mixed"]), points(6, 2)
    for eta in output_metrics(net, len(x)).values():
        expected = metrics(net, x, eta)[0]
        batch = rl.pullback_metric(lambda x: net.coordinates(x)[-1], x, eta)
        single = rl.pullback_metric(lambda p: net.coordinates(p[None])[-1][0], x, eta)
        assert error([batch, single], [expected, expected]) < TOLERANCE


def test_the_metric_of_any_map_takes_modules():
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


def test_products_with_one_slip_are_far_off():
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


@given(cases(), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from(["Euclidean", "one matrix", "one per point", "degenerate"]))
def test_any_network_has_the_metric_of_automatic_differentiation(case, n, seed, eta):
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
def test_float32_keeps_five_digits(case):
    """Single precision keeps five digits of each tensor, at depths up to 10, and stays single."""
    single, double = network(**CASES[case], dtype=torch.float32), network(**CASES[case])
    x = points(50, double.widths[0])
    found = [*rl.pullback_metrics(single, x.float()), *rl.jacobians(single, x.float()), rl.pushforward(single, x.float())]
    expected = [*rl.pullback_metrics(double, x), *rl.jacobians(double, x), rl.pushforward(double, x)]
    assert {a.dtype for a in found} == {torch.float32}
    assert error([a.double() for a in found], expected) < 1e-4


def test_the_metric_can_be_differentiated():
    """∂g/∂x, which curvature needs, by forward and reverse mode through the sweep, and under vmap."""
    net, x = network(widths=[2] * 5, order=2, step=0.7), points(4, 2)

    def g(p):
        return rl.pullback_metrics(net, p[None])[0][0]

    def reference(p):
        return metrics(net, p[None])[0][0]

    expected = torch.stack([jacrev(reference)(p) for p in x])
    assert expected.abs().max() > FAR
    assert error([vmap(jacrev(g))(x), vmap(jacfwd(g))(x)], [expected, expected]) < TOLERANCE


def test_networks_pass_through_vmap_and_jacrev():
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


def test_the_layout_of_the_points_in_memory_does_not_matter():
    """Strides do not matter: transposed, sliced and expanded points."""
    net = network(widths=[2] * 4, order=2)
    x = points(6, 2)
    for view in (x.t().contiguous().t(), torch.stack([x, x], 2)[..., 0], points(1, 2).expand(6, 2)):
        dense = view.clone(memory_format=torch.contiguous_format)
        assert error(rl.pullback_metrics(net, view), rl.pullback_metrics(net, dense)) < TOLERANCE


def test_the_networks_own_points_are_the_ones_meant():
    """The control: at other points the metric is another."""
    net, x = network(widths=[2] * 5), points(6, 2)
    assert error(rl.pullback_metrics(net, x + 0.1), metrics(net, x)) > FAR


@pytest.mark.parametrize("activation", ["tanh", "relu", torch.sin])
def test_an_order_2_layer_keeps_the_volume_of_its_state(activation):
    """det = 1 on (x, D_1), whatever f is; at order 1 it is not."""
    for order, kept in ((2, True), (1, False)):
        net, x = network(widths=[3] * 6, order=order, step=0.7, activation=activation), points(7, 3)
        det = torch.stack(rl.jacobians(net, x)[1:]).det()
        assert (float((det - 1).abs().max()) < TOLERANCE) is kept


# One forward and one backward pass.


@each_case
def test_the_forward_pass_gives_states_and_slopes(case):
    net, x, _ = by_hand(case)
    found, slopes = forward_pass(net, x)
    assert error([torch.cat(state).mT for state in found], states(net, x)) < TOLERANCE
    for W, b, at, slope in zip(net.weights, net.biases, coordinates(net, x), slopes, strict=False):
        z = (at @ W.mT + b).detach()
        expected = vmap(vmap(jacrev(net.by_hand)))(z)
        assert error([slope.mT], [expected]) < TOLERANCE


@each_case
def test_the_backward_sweep_is_the_product_of_jacobians(case):
    """Two covectors at the output, one layer after the other, down to a layer in the middle and no further."""
    net, x, P = by_hand(case)
    rows = points(12, net.widths[-1], seed=5).unflatten(0, (6, 2))
    expected = [rows @ p for p in P]
    swept = list(backward_sweep(net, forward_pass(net, x)[1], rows.movedim(0, -1)))[::-1]
    assert error([each.flatten(1, 2).movedim(-1, 0) for each in swept], expected) < TOLERANCE
    last = len(net.weights)
    part = list(backward_sweep(net, forward_pass(net, x)[1], rows.movedim(0, -1), layer=last // 2))
    assert len(part) == last - last // 2 + 1
    assert error([part[-1].flatten(1, 2).movedim(-1, 0)], [expected[last // 2]]) < TOLERANCE


@each_case
def test_geometry_is_coordinates_pushforwards_and_metrics_at_once(case):
    net, x, P = by_hand(case)
    for eta in output_metrics(net, len(x)).values():
        found = rl.geometry(net, x, eta)
        assert error(found.x, coordinates(net, x)) < TOLERANCE
        assert error(found.P, P) < TOLERANCE
        assert error(found.g, metrics_of(P, eta)) < TOLERANCE


@each_case
def test_balls_of_a_geometry_are_those_of_its_definition(case):
    """Axes are the radius over the singular values of η^½ P, tips have the length of the radius, and P sends the infinite ones to 0.

    `balls(g)` gives the same axes, or refuses and names `balls_of`, where the state has more components than the output.
    """
    net, x, Ps = by_hand(case)
    for eta in (None, spd(net.widths[-1]), spd(net.widths[-1], 6)):
        found = rl.geometry(net, x, eta)
        for ball, g, P in zip(found.balls(0.3), found.g, Ps, strict=True):
            values = torch.linalg.svdvals(P if eta is None else torch.linalg.cholesky(eta).mT @ P).flip(1)
            lost = g.shape[-1] - values.shape[1]
            assert ball.axes.shape == g.shape[:2] and ball.directions.shape == g.shape
            assert ball.axes[:, :lost].isinf().all()
            clear = values > 1e-9 * values[:, -1:]
            assert torch.allclose((0.3 / ball.axes[:, lost:])[clear], values[clear], rtol=1e-6)
            clear = values > 1e-4 * values[:, -1:]  # the rounding of g hides the length of others
            tips = (ball.directions * ball.axes[:, None])[:, :, lost:].mT[clear]
            at = clear.nonzero()[:, 0]
            assert torch.allclose(torch.einsum("ia,iab,ib->i", tips, g[at], tips), torch.tensor(0.09, dtype=x.dtype), rtol=1e-6)
            assert (P @ ball.directions[:, :, :lost]).norm() <= 1e-12 * P.norm()
            try:
                other = rl.balls(g, 0.3).axes
            except ValueError as refusal:
                assert "balls_of(P, radius)" in str(refusal)
                assert lost or (values[:, 0] < 1e-7 * values[:, -1]).any()
            else:
                assert torch.allclose(0.3 / other, 0.3 / ball.axes, rtol=1e-6, atol=1e-6 * float(values.max()))


def test_balls_from_the_pushforward_see_the_output_metric():
    """The control: with another metric at the output they are other balls, by the root of that metric and not of its transpose."""
    net, x = network(widths=[2] * 4), points(6, 2)
    plain, other = rl.geometry(net, x).balls(0.3)[0], rl.geometry(net, x, spd(2)).balls(0.3)[0]
    assert error([other.axes], [plain.axes]) > FAR


def test_geometry_passes_through_the_network_once():
    calls = []

    def counted(z):
        calls.append(1)
        return torch.tanh(z)

    net = network(widths=[2] * 6, order=2, activation=counted)
    calls.clear()
    rl.geometry(net, points(5, 2)).balls(0.1)
    assert len(calls) == len(net.weights)


def test_geometry_at_a_layer_is_that_of_the_rest_of_the_network():
    net, x = network(**CASES["mixed"]), points(5, 2)
    whole = rl.geometry(net, x)
    for layer, state in enumerate(states(net, x)[:-1]):
        rest = rl.geometry(net[layer:], state)
        assert error([rest.P[0], rest.g[0]], [whole.P[layer], whole.g[layer]]) < TOLERANCE


# Single precision after training.


@pytest.fixture(scope="module")
def trained():
    """64 networks as in the README, of orders 0, 1 and 2, in float32: few updates of many seeds at once."""
    sample, networks = rl.spiral(300, positions="random"), []
    for order, seeds in ((0, 22), (1, 21), (2, 21)):
        settings = dict(seeds=range(seeds), batch_size=150, updates=300, learning_rate=0.02, progress=False)
        networks += rl.fit(rl.CkNetwork([2] * 11, order=order), sample, **settings).networks
    return networks


def test_balls_of_trained_networks_in_float32_are_those_of_float64(trained):
    """Within 1 % wherever the ratio of the axes is below 2000, and none of them infinite. Through g many are lost: the control."""
    x, compared, lost, refused = rl.spiral(1000, dtype=torch.float64).x, 0, 0, 0
    assert len(trained) == 64
    for net in trained:
        single, double = rl.geometry(net, x.float()), rl.geometry(copy.deepcopy(net).double(), x)
        found, exact = (Geometry(each.x[:1], each.P[:1], each.g[:1]).balls(0.1)[0].axes.double() for each in (single, double))
        fair = exact[:, 0] < 2e3 * exact[:, 1]
        assert found[fair].isfinite().all()
        assert ((found / exact - 1).abs()[fair] <= 0.01).all()
        compared += int(fair.sum())
        through_g = 0.1 / torch.linalg.eigvalsh(single.g[0]).clamp(min=0).sqrt().double()
        lost += int(((through_g / exact - 1).abs()[fair] > 0.01).any(1).sum())
        try:
            rl.balls(single.g[0], 0.1)
        except ValueError as refusal:
            refused += "balls_of" in str(refusal)
    assert compared > 30000 and lost > 300 and refused > 30


def test_balls_of_trained_networks_in_float32_are_right_at_every_layer(trained):
    x = rl.spiral(60, dtype=torch.float64).x
    for net in trained[::21]:
        found = rl.geometry(net, x.float()).balls(0.1)
        for ball, exact in zip(found, rl.geometry(copy.deepcopy(net).double(), x).balls(0.1), strict=True):
            assert torch.equal(ball.axes.isinf().sum(1) > 0, exact.axes.isinf().sum(1) > 0) or net.orders[0] == 0
            fair = exact.axes.isfinite() & (exact.axes < 2e3 * exact.axes[:, -1:])
            assert ((ball.axes.double() / exact.axes - 1).abs()[fair] <= 0.01).all()


# Output metrics that are functions, and gradients.


def conformal(y):
    """exp(|y|²) times the Euclidean metric: equal eigenvalues everywhere."""
    return y.square().sum(1).exp()[:, None, None] * torch.eye(y.shape[1], dtype=y.dtype)


def test_an_output_metric_may_be_a_function_of_the_output():
    net, x = network(widths=[2] * 4, order=2, step=0.5), points(6, 2)
    y = coordinates(net, x)[-1]
    for found in (rl.pullback_metrics(net, x, conformal), rl.geometry(net, x, conformal).g):
        assert error(found, metrics(net, x, conformal(y))) < TOLERANCE
    assert error([rl.pullback_metric(net[:].requires_grad_(False), x, conformal)], metrics(net, x, conformal(y))[:1]) < TOLERANCE
    balls, plain = rl.geometry(net, x, conformal).balls(0.3), rl.geometry(net, x).balls(0.3)
    factor = (y.square().sum(1, keepdim=True) / 2).exp()
    assert error([1 / (each.axes * factor) for each in balls], [1 / each.axes for each in plain]) < 1e-8


@pytest.mark.parametrize("eta", ["Euclidean matrix", "conformal", "degenerate"])
def test_a_metric_with_equal_eigenvalues_at_the_output_can_be_differentiated(eta):
    """By the points, in both modes, against automatic differentiation of the definition: no NaN."""
    net, x = network(widths=[2] * 4, step=0.7), points(4, 2)
    eta = {"Euclidean matrix": lambda y: torch.eye(2).double(), "conformal": conformal, "degenerate": lambda y: 0 * conformal(y)}[eta]

    def g(p):
        return rl.pullback_metrics(net, p[None], eta)[0][0]

    def reference(p):
        J, y = jacrev(output(net))(p), output(net)(p)
        return J.mT @ eta(y[None]).reshape(2, 2) @ J

    expected = torch.stack([jacrev(reference)(p) for p in x])
    for found in (vmap(jacrev(g))(x), vmap(jacfwd(g))(x)):
        assert found.isfinite().all() and error([found], [expected]) < TOLERANCE
    moving = x.clone().requires_grad_()
    whole = rl.pullback_metrics(net, moving, eta(output(net)(x[0])[None]).reshape(2, 2).detach())[0]
    (gradient,) = torch.autograd.grad(whole.sum(), moving, allow_unused=True)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("case", ["order 2", "mixed", "order 1, shared", "relu, order 1"])
def test_a_metric_carries_gradients_to_the_weights_where_asked(case):
    """Those of automatic differentiation of the map; none without `differentiable`."""
    net, x = network(**CASES[case]), points(5, CASES[case]["widths"][0])
    own = [*net.parameters()][:-2]
    by_map = rl.pullback_metric(net[:], x, conformal, differentiable=True).square().mean()
    expected = torch.autograd.grad(by_map, own)
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-6
    for g in (
        rl.pullback_metrics(net, x, conformal, differentiable=True)[0],
        rl.geometry(net, x, conformal, differentiable=True).g[0],
        (P := rl.pushforward(net, x, differentiable=True)).mT @ conformal(net.coordinates(x)[-1]) @ P,
    ):
        found = torch.autograd.grad(g.square().mean(), own, retain_graph=True)
        assert error([a / by_map.detach() for a in found], [b / by_map.detach() for b in expected]) < 1e-8
    assert not any(g.requires_grad for g in rl.pullback_metrics(net, x, spd(net.widths[-1])))
    assert not rl.pushforward(net, x).requires_grad


# Scale covariance.


@given(cases(), st.sampled_from([0.01, 0.5, 3.0, 100.0]), st.integers(0, 10**6))
def test_in_coordinates_s_times_as_large_the_metric_is_one_over_s_squared(case, s, seed):
    """x' = s x, with the first weights over s: g' = g / s² at the input, balls are s times as large, and nothing changes behind it."""
    net = network(**{**case, "shared": False, "order": [0, *case["order"][1:]]})
    x, other = points(3, net.widths[0], seed), copy.deepcopy(net)
    with torch.no_grad():
        other.weights[0].div_(s)
    (g, *rest), (scaled, *same) = rl.pullback_metrics(net, x), rl.pullback_metrics(other, s * x)
    assert error([scaled * s**2], [g]) < 1e-8 and error(same, rest) < 1e-8
    one, large = rl.geometry(net, x).balls(0.1)[0].axes, rl.geometry(other, s * x).balls(0.1)[0].axes
    thin = one[:, :1] > 1e6 * one[:, -1:]
    assert torch.allclose((large / s).masked_fill(thin, 0), one.masked_fill(thin, 0), rtol=1e-6)


# Many points, wide layers: some points at a time, in another order in memory.


WIDE = {
    "width 16": dict(widths=[16] * 5, order=1, step=0.3),
    "width 16, orders 0 and 1": dict(widths=[16] * 6, order=[1, 0, 1, 1, 0], step=[0.3, 1.0, 0.7, 1.3, 0.6]),
    "width 12, one layer": dict(widths=[12, 12], order=0, activation="sigmoid"),
    "width 16, orders": dict(widths=[16] * 6, order=[1, 2, 0, 3, 2], step=0.4),
    "width 12, relu": dict(widths=[12] * 4, order=2, activation="relu"),
    "from 16 to 10": dict(widths=[16, 16, 10, 10], order=[1, 0, 2], step=0.5),
    "one output": dict(widths=[12, 12, 1], order=[2, 0]),
    "a wide layer between": dict(widths=[2, 20, 20, 2], order=[0, 1, 0]),
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_networks_have_the_metric_of_automatic_differentiation(name):
    net, x = network(**WIDE[name]), points(5, WIDE[name]["widths"][0])
    P = pushforwards(net, x)
    for eta in output_metrics(net, len(x)).values():
        found = rl.geometry(net, x, eta)
        assert error([*found.P, *found.g], [*P, *metrics_of(P, eta)]) < TOLERANCE
        assert error(rl.pullback_metrics(net, x, eta), metrics_of(P, eta)) < TOLERANCE
    assert error([rl.pushforward(net, x, l) for l in range(len(P))], P) < TOLERANCE
    assert error(rl.jacobians(net, x), jacobians(net, x)) < TOLERANCE


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Two points at a time, however many the cache would hold."""
    monkeypatch.setattr(memory, "CACHED", 1)


@pytest.mark.parametrize("case", [CASES["order 1"], CASES["mixed"], CASES["narrowing"], *WIDE.values()])
def test_some_points_at_a_time_give_the_metrics_of_all_at_once(case, monkeypatch):
    """Seven points, two at a time, so that one is left over; coordinates, P and g at every layer, and their order in memory."""
    net, x = network(**case), points(7, case["widths"][0])
    for eta in output_metrics(net, len(x)).values():
        monkeypatch.setattr(memory, "CACHED", 2**40)
        whole, one = rl.geometry(net, x, eta), [rl.pushforward(net, x, l) for l in range(len(case["widths"]))]
        monkeypatch.setattr(memory, "CACHED", 1)
        found = rl.geometry(net, x, eta)
        assert error([*found.x, *found.P, *found.g], [*whole.x, *whole.P, *whole.g]) < 1e-13
        assert error(rl.pullback_metrics(net, x, eta), whole.g) < 1e-13
        assert error([rl.pushforward(net, x, l) for l in range(len(one))], one) < 1e-13
        if max(case["widths"]) <= memory.NARROW:
            assert [P.stride(0) for P in found.P] == [P.stride(0) for P in whole.P]


def test_only_some_points_are_computed_at_a_time(few_at_a_time, torch_only, monkeypatch):
    """The control of the test above: the sweep meets two points at a time, and all at once where a derivative is taken."""
    sizes = []
    sweep = metric_module.backward_sweep
    monkeypatch.setattr(
        metric_module,
        "backward_sweep",
        lambda net, slopes, *more, **how: sizes.append(slopes[0].shape[1]) or sweep(net, slopes, *more, **how),
    )
    net, x = network(widths=[2] * 3), points(7, 2)
    rl.pullback_metrics(net, x)
    assert sizes == [2, 2, 2, 1]
    rl.pullback_metrics(net, x.requires_grad_())
    assert sizes[4:] == [7]


@pytest.mark.parametrize("case", [CASES["order 2"], WIDE["width 16"]])
def test_metrics_of_some_points_at_a_time_can_be_differentiated(case, few_at_a_time):
    """By torch.func, whose tensors do not say that a derivative is taken; and to the weights."""
    net, x = network(**case), points(5, case["widths"][0])
    v = points(5, case["widths"][0], seed=3)

    def total(x):
        return (
            rl.pullback_metrics(net, x, lambda y: (1 + y.square().sum(1))[:, None, None] * torch.eye(y.shape[1]).double())[0].square().sum()
        )

    moving = x.clone().requires_grad_()
    expected = torch.stack([jacrev(lambda p: total(p[None]))(p) for p in x])
    assert error([torch.autograd.grad(total(moving), moving)[0]], [expected]) < TOLERANCE
    assert error([torch.func.grad(total)(x)], [expected]) < TOLERANCE
    assert error([torch.func.jvp(total, (x,), (v,))[1]], [(expected * v).sum()]) < TOLERANCE
    stacked = torch.stack([x, 2 * x])
    assert error([vmap(total)(stacked)], [torch.stack([total(x), total(2 * x)])]) < TOLERANCE
    weights = [*net.parameters()][:-2]
    found = torch.autograd.grad(rl.pullback_metrics(net, x, differentiable=True)[0].sum(), weights)
    by_map = torch.autograd.grad(rl.pullback_metric(net[:], x, differentiable=True).sum(), weights)
    assert error(found, by_map) < TOLERANCE


def test_one_large_width_is_swept_in_place_where_no_derivative_is_taken(torch_only, monkeypatch):
    """The numbers are those of the general sweep; with derivatives, another state or another width it is the general one."""
    net, x, calls = network(**WIDE["width 16, orders 0 and 1"]), points(7, 16), []
    found = rl.geometry(net, x)
    sweep = wide.swept
    monkeypatch.setattr(wide, "swept", lambda *arguments, **how: calls.append(1) or sweep(*arguments, **how))
    rl.pullback_metrics(net, x)
    assert len(calls) == 1
    assert torch.func.jvp(lambda x: rl.pullback_metrics(net, x)[0], (x,), (x,))[1].abs().max() > FAR
    moving = rl.geometry(net, x.clone().requires_grad_())
    vmap(lambda p: rl.pullback_metrics(net, p[None])[0])(x)
    for other in (dict(widths=[16] * 3, order=2), dict(widths=[16, 9, 16], order=0), dict(widths=[8] * 3)):
        rl.pullback_metrics(network(**other), points(3, other["widths"][0]))
    assert len(calls) == 1
    assert error([*found.P, *found.g], [*moving.P, *moving.g]) < 1e-13


def test_float32_at_width_64_keeps_five_digits():
    """Against float64, and against the recursion of Eq. 9, which loses more."""
    single, double = network(widths=[64] * 11, dtype=torch.float32), network(widths=[64] * 11)
    x = points(20, 64)
    for found, exact in zip(rl.pullback_metrics(single, x.float()), rl.pullback_metrics(double, x), strict=True):
        assert (found.double() - exact).norm() < 1e-5 * exact.norm()
        assert torch.equal(found, found.mT) or (found - found.mT).abs().max() < 1e-6 * found.abs().max()
