"""Sections 5 and 6: group and bundle laws on random frames, metrics and group elements; Eqs. 14 and 15 against autograd."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from reference import CASES, network, points

import riemlib as rl
from riemlib.bundles import (
    act_on_frame,
    act_on_metric,
    action_sizes,
    backpropagate,
    change_of_frame,
    covectors,
    error_covector,
    group_elements,
)

POINTS = 5
TIGHT = 1e-10

dims = st.integers(1, 6)
seeds = st.integers(0, 2**31 - 1)
laws = settings(max_examples=40)


def draw(seed: int, dim: int, count: int) -> list[torch.Tensor]:
    """Group elements (n, d, d) whose singular values, within [1/2, 2], keep rounding far below the tolerance."""
    return list(group_elements(count * POINTS, dim, seed=seed).split(POINTS))


def metric(h: torch.Tensor) -> torch.Tensor:
    return h.mT @ h


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    return float((a - b).detach().abs().max() / b.detach().abs().max())


def test_group_elements_are_general():
    h = group_elements(50, 3, seed=0, spread=1.5)
    values, determinants = torch.linalg.svdvals(h), torch.linalg.det(h)
    assert 1 / 1.5 <= values.min() and values.max() <= 1.5
    assert determinants.min() < 0 < determinants.max()
    for square in (h @ h.mT, h.mT @ h):  # neither is diagonal: random directions on both sides
        assert (square - torch.diag_embed(square.diagonal(dim1=1, dim2=2))).abs().amax((1, 2)).median() > 1e-2
    assert torch.equal(h, group_elements(50, 3, seed=0, spread=1.5)) and not torch.equal(h, group_elements(50, 3, seed=1, spread=1.5))


# Definition 5.1: the frame bundle


@laws
@given(seeds, dims)
def test_action_on_frames_is_a_right_action(seed, dim):
    e, h, k = draw(seed, dim, 3)
    identity = torch.eye(dim, dtype=torch.float64)
    assert off(act_on_frame(e, identity), e) < TIGHT
    assert off(act_on_frame(act_on_frame(e, h), k), act_on_frame(e, h @ k)) < TIGHT


@laws
@given(seeds, st.integers(2, 6))
def test_multiplying_from_the_left_is_not_a_right_action(seed, dim):
    e, h, k = draw(seed, dim, 3)
    assert off(k @ (h @ e), (h @ k) @ e) > 1e-6


@laws
@given(seeds, dims)
def test_action_is_free_and_transitive_on_fibres(seed, dim):
    e, f, h = draw(seed, dim, 3)
    assert off(act_on_frame(e, change_of_frame(e, f)), f) < TIGHT  # one orbit
    assert off(change_of_frame(e, act_on_frame(e, h)), h) < TIGHT  # reached by one h alone
    assert off(change_of_frame(e, e), torch.eye(dim, dtype=torch.float64)) < TIGHT


@laws
@given(seeds, st.integers(2, 6))
def test_action_does_not_depend_on_the_chart(seed, dim):
    e, h, jacobian = draw(seed, dim, 3)
    assert off(act_on_frame(jacobian @ e, h), jacobian @ act_on_frame(e, h)) < TIGHT
    assert off(h @ (jacobian @ e), jacobian @ (h @ e)) > 1e-6  # from the left it would


# Definition 5.2: metrics as an associated bundle


@laws
@given(seeds, dims)
def test_action_on_metrics_is_a_left_action(seed, dim):
    h, k, root = draw(seed, dim, 3)
    g, identity = metric(root), torch.eye(dim, dtype=torch.float64)
    assert off(act_on_metric(identity, g), g) < TIGHT
    assert off(act_on_metric(h, act_on_metric(k, g)), act_on_metric(h @ k, g)) < TIGHT
    assert torch.linalg.eigvalsh(act_on_metric(h, g)).min() > 0
    if dim > 1:
        assert off(act_on_metric(h, act_on_metric(k, g)), act_on_metric(k @ h, g)) > 1e-6


@laws
@given(seeds, dims)
def test_inverse_is_the_action_of_the_inverse(seed, dim):
    h, root = draw(seed, dim, 2)
    g = metric(root)
    assert off(act_on_metric(h, g, inverse=True), act_on_metric(torch.linalg.inv(h), g)) < TIGHT
    assert off(act_on_metric(h, act_on_metric(h, g, inverse=True)), g) < TIGHT
    inverse = torch.linalg.inv(h)
    assert off(act_on_metric(h, g), inverse.mT @ g @ inverse) < TIGHT


@laws
@given(seeds, dims)
def test_a_class_of_frame_and_metric_is_one_bilinear_form(seed, dim):
    e, h, root, vectors = draw(seed, dim, 4)
    g, (u, v) = metric(root), (vectors[..., :1], vectors[..., -1:])

    def form(e, g):  # the components of u and v in the frame, contracted with g
        return change_of_frame(e, u.expand_as(e)).mT @ g @ change_of_frame(e, v.expand_as(e))

    moved = act_on_frame(e, h)
    assert off(form(moved, act_on_metric(h, g, inverse=True)), form(e, g)) < TIGHT
    assert off(form(e, g), u.expand_as(e).mT @ act_on_metric(e, g) @ v.expand_as(e)) < TIGHT  # which is e ▷ g
    transposed = act_on_metric(h.mT, g)  # h^T in the place of h^-T: h^-1 g h^-T
    assert off(form(moved, transposed), form(e, g)) > 1e-6


# Equation 14


@pytest.mark.parametrize("order", [0, 1, 2, 3, [1, 2, 0, 1, 2]])
def test_eq_14_is_eq_10(order):
    net = rl.CkNetwork([2] * 6, order=order, step=0.5, seed=3, dtype=torch.float64)
    x = torch.randn(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metrics = rl.pullback_metrics(net, x)
    g = metrics[-1]
    for h, expected in reversed(list(zip(rl.jacobians(net, x), metrics[:-1], strict=True))):
        g = act_on_metric(h, g, inverse=True)
        assert off(g, expected) < TIGHT
    assert off(g, rl.pullback_metric(lambda y: net.coordinates(y)[-1], x)) < TIGHT


def test_eq_14_in_the_wrong_order_is_not_eq_10():
    net = rl.CkNetwork([2] * 6, seed=3, dtype=torch.float64)
    x = torch.randn(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = torch.eye(2, dtype=torch.float64).expand(POINTS, 2, 2)
    for h in rl.jacobians(net, x):
        g = act_on_metric(h, g, inverse=True)
    assert off(g, rl.pullback_metrics(net, x)[0]) > 1e-3


# Equation 15


def problem(case=None):
    """A network of three classes, nine points, and a label for each."""
    case = case or dict(widths=[3] * 6)
    net = network(**case, classes=3, seed=5)
    return net, points(9, case["widths"][0]), torch.randint(3, (9,), generator=torch.Generator().manual_seed(11))


def autograd(net, x, label):
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), label), parameters), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_eq_15_is_automatic_differentiation(case):
    net, x, label = problem(CASES[case])
    found, expected = backpropagate(net, x, label), autograd(net, x, label)
    assert list(found) == list(expected) == [name for name, _ in net.named_parameters()]
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3  # not all zero: a ReLU can be off everywhere
    for name, gradient in expected.items():
        assert found[name].shape == gradient.shape
        assert (found[name] - gradient).abs().max() < TIGHT, name


@pytest.mark.parametrize("case", CASES)
def test_error_covectors_are_the_gradients_at_the_states(case):
    net, x, label = problem(CASES[case])
    swept = covectors(net, x, error_covector(net, x, label)[:, None])
    states = net.states(x.requires_grad_())
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(net.readout(states[-1][:, : net.widths[-1]]), label), x)
    assert len(swept) == len(net.widths) and [row.shape[2] for row in swept] == [state.shape[1] for state in states]
    assert (swept[0][:, 0] - gradients[0]).abs().max() < TIGHT


def test_eq_15_with_the_product_reversed_is_wrong():
    net, x, label = problem()
    row, wrong = [error_covector(net, x, label)[:, None]] * 2
    jacobians = rl.jacobians(net, x)
    for h in reversed(jacobians):
        row = row @ h
    for h in jacobians:
        wrong = wrong @ h
    right = covectors(net, x, error_covector(net, x, label)[:, None])[0]
    assert off(row, right) < TIGHT
    assert off(wrong, right) > 1e-3


def test_one_sweep_pulls_back_the_metric_and_the_error():
    net, x, label = problem(dict(widths=[3] * 6, order=2))
    identity = torch.eye(3, dtype=torch.float64).expand(len(x), 3, 3)
    error = error_covector(net, x, label)[:, None]
    both = covectors(net, x, torch.cat([identity, error], 1))
    for l, (rows, g) in enumerate(zip(both, rl.pullback_metrics(net, x), strict=True)):
        P = rows[:, :3]
        assert off(P, rl.pushforward(net, x, l)) < TIGHT
        assert off(P.mT @ P, g) < TIGHT
        assert off(rows[:, 3:], error @ P) < TIGHT


def test_gradients_are_constants_and_leave_no_trace():
    net, x, label = problem()
    found = backpropagate(net, x.requires_grad_(), label)
    assert not any(gradient.requires_grad for gradient in found.values())
    assert x.grad is None and all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_one_matrix_is_one_for_all_also_where_there_are_as_many_as_it_has_columns(dim):
    """One metric, or frame, for d of them is not d vectors."""
    h, (g, *_) = group_elements(dim, dim, seed=1), group_elements(1, dim, seed=2)
    each = act_on_metric(h, metric(g).expand(dim, dim, dim).contiguous())
    assert act_on_metric(h, metric(g)).shape == h.shape and off(act_on_metric(h, metric(g)), each) < TIGHT
    assert off(h.mT @ act_on_metric(h, metric(g)) @ h, metric(g).expand_as(h)) < TIGHT
    assert off(act_on_metric(g, metric(h)), act_on_metric(g.expand_as(h).contiguous(), metric(h))) < TIGHT
    assert off(act_on_frame(h, change_of_frame(h, g)), g.expand_as(h)) < TIGHT
    assert off(act_on_frame(g, change_of_frame(g, h)), h) < TIGHT


def test_sizes_of_actions_by_hand_and_along_a_path():
    """Two points and three layers by hand; along a path that is smooth in l the sizes fall with 1/L and 1/L²."""
    one = torch.eye(2, dtype=torch.float64)
    h = torch.stack([torch.stack([one, 3 * one]), torch.stack([one, one]), torch.stack([2 * one, one])])
    size, jump = action_sizes(h)
    assert torch.allclose(size, torch.tensor([2.0, 0.0, 1.0]).double()) and torch.allclose(jump, torch.tensor([2.0, 1.0]).double())
    assert all(torch.equal(each, same[0]) for each, same in zip((size, jump), action_sizes(h[None]), strict=True))
    found = []
    for L in (100, 200):
        l = torch.arange(L, dtype=torch.float64)[:, None, None, None] / L
        found.append(action_sizes(one + torch.sin(l) * torch.tensor([[0.0, 1.0], [2.0, 0.0]]).double() / L))
    for power, few, many in zip((1, 2), *found, strict=True):
        assert float(few.mean() / many.mean()) == pytest.approx(2**power, rel=0.02)
    with pytest.raises(ValueError, match="at least two layers"):
        action_sizes(h[:1])
