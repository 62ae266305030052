"""C^k networks against the recursion written out entry by entry (Eqs. 1-4), for every order and mixture of orders."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import CASES, GRADED, cases, coordinates, error, network, points, silu, states

import riemlib as rl

TOLERANCE = 1e-12
FAR = 1e-2

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@each_case
def test_states_follow_the_recursion(case):
    net, x = network(**case), points(7, case["widths"][0])
    assert error(net.states(x), states(net, x)) < TOLERANCE
    assert error(net.coordinates(x), coordinates(net, x)) < TOLERANCE
    logits = coordinates(net, x)[-1] @ net.readout.weight.mT + net.readout.bias
    assert error([net(x)], [logits]) < TOLERANCE


@given(cases(), st.integers(0, 10**6))
def test_any_network_follows_the_recursion(case, seed):
    net, x = network(**case), points(3, case["widths"][0], seed)
    assert error(net.states(x), states(net, x)) < TOLERANCE


def velocity(net, l, x):
    """f(x^(l)) of layer l."""
    return torch.tanh(x @ net.weights[l].mT + net.biases[l])


def test_order_0_is_eq_1():
    net, x = network(widths=[2, 3, 1, 4], order=0, step=0.3), points(7, 2)
    for l, (now, following) in enumerate(zip(net.coordinates(x)[:-1], net.coordinates(x)[1:], strict=True)):
        assert error([following], [velocity(net, l, now)]) < TOLERANCE


def test_order_1_is_eq_2():
    net, x = network(widths=[2] * 6, order=1, step=GRADED), points(7, 2)
    xs = net.coordinates(x)
    for l, h in enumerate(GRADED):
        assert error([xs[l + 1]], [xs[l] + h * velocity(net, l, xs[l])]) < TOLERANCE


def test_order_2_is_eq_4():
    """x^(l+1) = 2 x^(l) − x^(l−1) + h² f, the first step x + h f; the momentum form says the same; h for h², or a lost term, does not."""
    h = 0.6
    net, x = network(widths=[3] * 7, order=2, step=h), points(7, 3)
    xs = net.coordinates(x)
    assert error([xs[1]], [x + h * velocity(net, 0, x)]) < TOLERANCE
    for l in range(1, 6):
        f = velocity(net, l, xs[l])
        assert error([xs[l + 1]], [2 * xs[l] - xs[l - 1] + h**2 * f]) < TOLERANCE
        assert error([xs[l + 1]], [xs[l] + h**2 * f + (xs[l] - xs[l - 1])]) < TOLERANCE
        assert error([xs[l + 1]], [2 * xs[l] - xs[l - 1] + h * f]) > FAR
        assert error([xs[l + 1]], [xs[l] + h**2 * f]) > FAR


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_kth_difference_of_order_k_is_f(order):
    """δ^k x = h^k f once the order is reached, with the k-th backward difference taken of the coordinates alone."""
    h = 0.8
    net, x = network(widths=[2] * 9, order=order, step=h), points(7, 2)
    xs = net.coordinates(x)
    differences = torch.stack(xs)
    for _ in range(order):
        differences = differences[1:] - differences[:-1]
    for l in range(order - 1, 8):
        assert error([differences[l - order + 1]], [h**order * velocity(net, l, xs[l])]) < TOLERANCE


def test_the_order_rises_by_one_a_layer():
    assert network(widths=[2] * 7, order=4).entries == [1, 2, 3, 4, 4, 4, 4]
    assert network(widths=[2] * 7, order=[3, 3, 3, 0, 2, 2]).entries == [1, 2, 3, 3, 1, 2, 2]
    assert network(widths=[2] * 7, order=1).entries == [1] * 7
    x = points(5, 2)
    first, second = network(widths=[2] * 3, order=1), network(widths=[2] * 3, order=2)
    assert error(second.coordinates(x)[:2], first.coordinates(x)[:2]) < TOLERANCE
    assert error(second.coordinates(x)[2:], first.coordinates(x)[2:]) > FAR


def test_order_0_forgets_the_differences():
    """After a plain layer the past is gone: the rest is a network that starts there."""
    whole = network(widths=[2] * 7, order=[3, 3, 3, 0, 2, 2], step=0.7)
    rest = network(widths=[2] * 3, order=2, step=0.7)
    with torch.no_grad():
        for l in range(2):
            rest.weights[l].copy_(whole.weights[4 + l])
            rest.biases[l].copy_(whole.biases[4 + l])
    x = points(6, 2)
    assert error(rest.states(whole.coordinates(x)[4]), whole.states(x)[4:]) < TOLERANCE


def test_figure_2d_leaves_one_identity_out():
    net, x = network(**CASES["figure 2d"]), points(6, 2)
    xs = net.coordinates(x)
    for l in range(10):
        f = velocity(net, l, xs[l])
        assert error([xs[l + 1]], [f if l == 5 else xs[l] + f]) < TOLERANCE


def test_one_step_for_all_is_that_step_for_each(untyped):
    x = points(5, 2)
    assert error(network(widths=[2] * 4, step=0.3).states(x), network(widths=[2] * 4, step=[0.3] * 3).states(x)) == 0
    each = network(widths=[2] * 4, order=(2, 2, 2), step=torch.ones(3))
    assert error(network(widths=[2] * 4, order=2).states(x), each.states(x)) == 0


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "softplus"])
def test_a_name_is_its_function(name):
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    x = points(5, 2)
    assert error(network(widths=[2] * 4, activation=name).states(x), network(widths=[2] * 4, activation=function).states(x)) == 0


def test_any_pointwise_callable_is_an_activation():
    x = points(5, 2)
    expected = network(widths=[2] * 4, activation=silu).states(x)
    for activation in (silu, torch.nn.SiLU(), lambda z: z / (1 + (-z).exp())):
        assert error(network(widths=[2] * 4, activation=activation).states(x), expected) < TOLERANCE


def test_shared_weights_are_one():
    net = network(widths=[2] * 6, shared=True)
    assert len(net.weights) == len(net.biases) == 5
    assert len({id(W) for W in net.weights}) == len({id(b) for b in net.biases}) == 1
    assert [p.numel() for p in net.parameters()] == [4, 2, 4, 2]
    net(points(5, 2)).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_every_weight_learns(order):
    net = network(widths=[2] * 5, order=order, classes=3)
    assert net(points(5, 2)).shape == (5, 3)
    net(points(5, 2))[:, 0].sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


def test_weights_are_glorots():
    """Uniform on ±√(6 / (fan in + fan out)), biases 0 (Glorot and Bengio 2010)."""
    net = rl.CkNetwork([30, 20, 20], order=0, classes=40, seed=0, dtype=torch.float64)
    for W in (*net.weights, net.readout.weight):
        bound = (6 / sum(W.shape)) ** 0.5
        assert W.abs().max() <= bound
        assert float(W.detach().abs().max()) == pytest.approx(bound, rel=0.02)
        assert float(W.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert all((b == 0).all() for b in (*net.biases, net.readout.bias))
    assert [tuple(W.shape) for W in net.weights] == [(20, 30), (20, 20)]


def test_a_seed_is_a_network():
    """The same in every dtype, another for another seed; `redraw` in place; the global generator is left alone."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    double, single = (rl.CkNetwork([2] * 4, seed=5, dtype=dtype) for dtype in (torch.float64, torch.float32))
    assert all(torch.equal(p.float(), q) for p, q in zip(double.parameters(), single.parameters(), strict=True))
    other = rl.CkNetwork([2] * 4, seed=6, dtype=torch.float64)
    assert not torch.equal(double.weights[0], other.weights[0])
    assert other.redraw(5) is other
    assert all(torch.equal(p, q) for p, q in zip(double.parameters(), other.parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())
    unseeded = rl.CkNetwork([2] * 4), rl.CkNetwork([2] * 4)
    assert not torch.equal(unseeded[0].weights[0], unseeded[1].weights[0])


def test_a_network_without_a_seed_draws_from_the_global_generator():
    """As torch's own layers do: manual_seed makes it reproducible, a second one differs, and the generator goes on from there."""

    def drawn(seed):
        torch.manual_seed(seed)
        nets = [rl.CkNetwork([2] * 4) for _ in range(2)]
        return [torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets] + [torch.rand(3)]

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])  # the generator is moved on, not set anew
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    torch.manual_seed(0)
    rl.CkNetwork([2] * 9, order=2, classes=5)
    rl.CkNetwork([2, 2])
    assert torch.equal(torch.rand(3), first[2])  # by one draw a network, whatever its size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_the_networks(dtype):
    net, x = network(**CASES["mixed"], dtype=dtype), points(5, 2, dtype=dtype)
    assert {t.dtype for t in (*net.states(x), *net.coordinates(x), net(x))} == {dtype}
    assert {t.dtype for t in net.double().states(x.double())} == {torch.float64}
    assert rl.CkNetwork([2, 2]).readout.weight.dtype == torch.get_default_dtype()


@each_case
def test_float32_keeps_four_digits(case):
    x = points(50, case["widths"][0])
    found = network(**case, dtype=torch.float32).states(x.float())
    assert error([a.double() for a in found], states(network(**case), x)) < 1e-4


def test_a_network_says_what_it_is():
    text = repr(rl.CkNetwork([2, 3, 3], order=[0, 2], step=0.5))
    assert "widths=(2, 3, 3)" in text and "orders=(0, 2)" in text and "steps=(0.5, 0.5)" in text


# Parts of a network.


@each_case
def test_a_part_of_a_network_passes_through_the_states_of_the_whole(case):
    """From layer a to layer b for all a < b, against the recursion of the whole network."""
    net, x = network(**case), points(6, case["widths"][0])
    whole, on_x, depth = states(net, x), coordinates(net, x), len(net.weights)
    for a in range(depth):
        for b in range(a + 1, depth + 1):
            assert error(net[a:b].states(whole[a]), whole[a : b + 1]) < TOLERANCE
            assert error([net[a:b](whole[a])], [on_x[b]]) < TOLERANCE


def test_the_ends_of_a_part_may_be_left_out():
    net, x = network(**CASES["mixed"]), points(6, 2)
    whole = states(net, x)
    assert error([net[:](x), net[:4](x), net[4:](whole[4])], [whole[9][:, :2], whole[4][:, :2], whole[9][:, :2]]) < TOLERANCE
    assert error([net[2:8][1:4](whole[3])], [whole[6][:, :2]]) < TOLERANCE  # a part of a part
    assert error([net[3:6](whole[3])], [whole[7][:, :2]]) > FAR


def test_a_part_shares_the_weights_of_the_whole():
    net, x = network(widths=[2] * 6), points(6, 2)
    part = net[1:3]
    assert [*part.weights] == [net.weights[1], net.weights[2]] and part.biases[0] is net.biases[1]
    assert len([*part.parameters()]) == 4  # and no readout
    part(x).sum().backward()
    assert [W.grad is not None for W in net.weights] == [False, True, True, False, False]
    before = part(x).detach()
    with torch.no_grad():
        net.weights[2].add_(1.0)
    assert error([part(x)], [before]) > FAR
    assert (part.widths, part.orders, part.steps, part.entries) == ((2, 2, 2), (1, 1), (1.0, 1.0), [1, 1, 1])


# Networks from weights, from a row of parameters, from a file.


@each_case
def test_a_network_of_given_weights_follows_the_recursion_on_them(case):
    net, x = network(**case), points(6, case["widths"][0])
    settings = {name: value for name, value in case.items() if name in ("order", "step", "activation")}
    found = rl.CkNetwork.from_weights([*net.weights], [*net.biases], classes=3, **settings)
    assert error(found.states(x), states(net, x)) < TOLERANCE
    assert found.readout.out_features == 3 and found.widths == net.widths
    assert not {W.data_ptr() for W in found.parameters()} & {W.data_ptr() for W in net.parameters()}  # copies


def test_a_network_of_given_weights_has_their_dtype():
    W, b = points(2, 2, dtype=torch.float32), points(1, 2, dtype=torch.float32)[0]
    assert {p.dtype for p in rl.CkNetwork.from_weights([W, W], [b, b]).parameters()} == {torch.float32}


@pytest.mark.parametrize("case", [CASES["mixed"], CASES["widening"], CASES["order 2, shared"]], ids=["mixed", "widening", "shared"])
def test_a_row_of_parameters_is_a_network(case, tmp_path):
    """All parameters in one row, in the order of `parameters()`; the network it is made from keeps its own."""
    net, other, x = network(seed=1, **case), network(seed=2, **case), points(6, case["widths"][0])
    flat = torch.nn.utils.parameters_to_vector(other.parameters()).detach()
    before = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
    found = net.with_parameters(flat)
    assert error([*found.states(x), found(x)], [*other.states(x), other(x)]) == 0
    assert error([found(x)], [net(x)]) > FAR
    assert torch.equal(torch.nn.utils.parameters_to_vector(net.parameters()), before)
    assert len({id(W) for W in found.weights}) == len({id(W) for W in net.weights})
    found.save(tmp_path / "net.safetensors")
    assert torch.equal(rl.CkNetwork.load(tmp_path / "net.safetensors")(x), found(x))


SAVED = {name: CASES[name] for name in ("order 2", "order 3, shared", "sigmoid, order 1", "figure 2d", "mixed", "widening", "narrowing")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SAVED.values(), ids=SAVED)
def test_a_saved_network_is_loaded_to_the_bit(case, dtype, tmp_path):
    net, x = network(**case, classes=3, dtype=dtype), points(6, case["widths"][0], dtype=dtype)
    net.save(tmp_path / "net.safetensors")
    found = rl.CkNetwork.load(tmp_path / "net.safetensors")
    for name in ("widths", "orders", "steps", "entries", "stencils", "shared", "activation"):
        assert getattr(found, name) == getattr(net, name), name
    assert [name for name, _ in found.named_parameters()] == [name for name, _ in net.named_parameters()]
    assert all(torch.equal(a, b) and a.dtype == dtype for a, b in zip(found.parameters(), net.parameters(), strict=True))
    assert torch.equal(found(x), net(x))
    assert all(p.requires_grad for p in found.parameters())


def test_loading_draws_nothing_from_the_global_generator(tmp_path):
    network(widths=[2] * 4).save(tmp_path / "net.safetensors")
    before = torch.get_rng_state()
    rl.CkNetwork.load(tmp_path / "net.safetensors")
    assert torch.equal(before, torch.get_rng_state())
