"""Any map: its Jacobian and metric against formulas, and every map that has none is refused."""

import pytest
import torch
from reference import points, spd
from torch import nn
from torch.func import jacrev

import riemlib as rl

F64 = {"dtype": torch.float64}


def fixed(module: nn.Module) -> nn.Module:
    """A module in float64 with weights from a fixed seed, in evaluation mode."""
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def by_hand(f, x) -> torch.Tensor:
    """Jacobians (n, k, d), one point after the other."""
    return torch.stack([jacrev(lambda p: f(p[None])[0].flatten())(p).flatten(1) for p in x])


MODULES = {
    "a dense network": (lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (3,), 2),
    "a scalar for each point": (lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), (3,), 1),
    "a decoder to images": (lambda: nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2))), (2,), 12),
    "a convolution of images": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)), (1, 4, 4), 3),
    "batch normalisation in evaluation mode": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (3,), 4),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_jacobian_of_a_module_is_that_of_each_point_alone(name):
    build, shape, k = MODULES[name]
    f = fixed(build())
    x = points(5, 16, seed=1)[:, : torch.Size(shape).numel()].reshape(5, *shape)
    J, eta = rl.pushforward_of(f, x), spd(k)
    expected = by_hand(lambda x: f(x)[:, None] if f(x).ndim == 1 else f(x), x)
    assert J.shape == (5, k, torch.Size(shape).numel())
    assert torch.allclose(J, expected, atol=1e-12)
    assert torch.allclose(rl.pullback_metric(f, x), expected.mT @ expected, atol=1e-12)
    assert torch.allclose(rl.pullback_metric(f, x, eta), expected.mT @ eta @ expected, atol=1e-12)
    assert not torch.allclose(rl.pullback_metric(f, x, eta), expected.mT @ expected, atol=1e-3)  # the metric on the output counts


SINGLE = {
    "a vector": lambda p: torch.stack([p[0] * p[1], p[2] ** 2]),
    "a scalar": lambda p: (p * p).sum(),
    "a matrix": lambda p: torch.outer(p, p),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_function_of_one_point_is_taken_point_by_point(name):
    f, x = SINGLE[name], points(4, 3)
    expected = torch.stack([jacrev(lambda p: f(p).flatten())(p) for p in x])
    assert torch.allclose(rl.pushforward_of(f, x), expected)
    assert torch.equal(rl.pushforward_of(f, x[:1])[0], rl.pushforward_of(f, x)[0])


def test_the_metric_on_the_output_may_be_a_function_of_the_output():
    def conformal(y):
        return y.square().sum(1).exp()[:, None, None] * torch.eye(2, **F64)

    f, x = fixed(nn.Sequential(nn.Linear(3, 2), nn.Tanh())), points(6, 3)
    J, y = by_hand(f, x), f(x)
    assert torch.allclose(rl.pullback_metric(f, x, conformal), y.square().sum(1).exp()[:, None, None] * (J.mT @ J))


COUPLED = {
    "a mean over the batch": lambda x: x - x.mean(0),
    "a running sum": lambda x: x.cumsum(0),
    "the next point": lambda x: x * x.roll(1, 0),
    "a batch in reverse": lambda x: x.flip(0),
    "a sum over the batch": lambda x: x * x.sum(0),
    "a mean of squares for each point": lambda x: x.square().sum(1) * x.mean(),
    "a convolution along the batch": lambda x: nn.functional.avg_pool1d(x.mT, 3, 1, 1).mT,
}


@pytest.mark.parametrize("count", [1, 2, 5, 8, 33])
@pytest.mark.parametrize("name", COUPLED)
def test_what_couples_the_points_of_a_batch_is_refused(name, count):
    x = points(count, 3)
    with pytest.raises(ValueError, match=r"couples the points of a batch.*\.eval\(\)"):
        rl.pullback_metric(COUPLED[name], x)


@pytest.mark.parametrize("shift", [1, 2, 4, 8, 16, 31])
def test_a_coupling_of_points_at_any_distance_is_seen(shift):
    with pytest.raises(ValueError, match="couples the points"):
        rl.pushforward_of(lambda x: x.roll(shift, 0), points(32, 2))


def test_a_coupling_of_two_points_alone_is_seen_among_eight():
    for n in (2, 3, 5, 8):
        for i in range(n):
            for j in {*range(n)} - {i}:
                M = torch.eye(n, **F64)
                M[i, j] = 0.5
                with pytest.raises(ValueError, match="couples the points"):
                    rl.pushforward_of(lambda x, M=M: M @ x, points(n, 2))


def test_one_point_may_be_all_there_is():
    """A map of batches to scalars, at a single point; and a function of one point that gives a vector of length 1 says what it is."""
    x = points(1, 3)
    assert torch.allclose(rl.pushforward_of(lambda x: x.sin().sum(1), x), x.cos()[:, None])
    with pytest.raises(ValueError, match=r"A function of single points: pass torch.vmap\(f\)"):
        rl.pushforward_of(lambda p: p.sum()[None], x)
    assert torch.equal(rl.pushforward_of(torch.vmap(lambda p: p.sum()[None]), x), torch.ones(1, 1, 3, **F64))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.Dropout(0.5)])
def test_a_module_in_training_mode_is_refused_with_the_way_out(layer):
    net = nn.Sequential(nn.Linear(3, 3), layer).double()
    with pytest.raises(ValueError, match=r"in training mode.*f\.eval\(\)"):
        rl.pullback_metric(net.train(), points(4, 3))
    assert rl.pullback_metric(net.eval(), points(4, 3)).shape == (4, 3, 3)


@pytest.mark.parametrize("f", [lambda x: x.detach() * 2, lambda x: torch.ones(len(x), 2, **F64), torch.no_grad()(lambda x: 2 * x)])
def test_a_result_that_does_not_depend_on_x_is_refused(f):
    with pytest.raises(ValueError, match="does not depend on x"):
        rl.pullback_metric(f, points(4, 3))


def test_the_exception_of_a_function_reaches_its_author():
    def broken(x):
        raise KeyError("weights of layer 3")

    with pytest.raises(KeyError, match="weights of layer 3"):
        rl.pullback_metric(broken, points(4, 3))
    with pytest.raises(TypeError, match="f gives a tuple"):
        rl.pullback_metric(lambda x: (x, x), points(4, 3))


def test_a_map_of_batches_runs_once_for_many_points():
    calls = []

    def f(x):
        calls.append(len(x))
        return x.sin()

    rl.pullback_metric(f, points(7, 3))
    assert calls == [7]


@pytest.mark.parametrize(
    "x, error, word",
    [
        (torch.zeros(3, **F64), ValueError, r"x has shape \(3,\)"),
        (torch.zeros(0, 3, **F64), ValueError, r"x has shape \(0, 3\)"),
        (torch.full((2, 3), torch.nan), ValueError, "x holds a value that is not finite"),
        (torch.zeros(2, 3, dtype=torch.float16), TypeError, "x has dtype torch.float16"),
        (torch.eye(3).to_sparse(), TypeError, "x has the layout"),
        ([[0.0, 1.0]], TypeError, "x is a list"),
    ],
)
def test_points_are_checked(x, error, word, untyped):
    with pytest.raises(error, match=word):
        rl.pullback_metric(torch.sin, x)


def test_gradients_only_where_asked():
    f, x = fixed(nn.Linear(3, 2)), points(4, 3)
    assert not rl.pullback_metric(f, x).requires_grad
    rl.pullback_metric(f, x, differentiable=True).sum().backward()
    assert torch.allclose(f.weight.grad, 4 * 2 * f.weight.detach().sum(1, keepdim=True).expand(2, 3))  # d/dW of the sum of W^T W
    moving = x.clone().requires_grad_()
    g = rl.pullback_metric(torch.sin, moving).diagonal(dim1=1, dim2=2)
    g.sum().backward()
    assert torch.allclose(moving.grad, -(2 * x).sin())  # of cos²


def test_a_map_may_have_weights_in_float32_and_points_in_float32():
    f, x = nn.Linear(3, 2), points(4, 3, dtype=torch.float32)
    assert rl.pushforward_of(f, x).dtype == torch.float32 and torch.allclose(rl.pushforward_of(f, x), f.weight.detach().expand(4, 2, 3))


def test_a_penalty_on_the_metric_trains_a_network():
    """The gradient of a loss that holds the metric reaches the weights, and following it makes the penalty smaller."""
    f, x = fixed(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))), points(20, 2)
    optimiser, penalties = torch.optim.SGD(f.parameters(), 0.1), []
    for _ in range(40):
        penalty = (rl.pullback_metric(f, x, differentiable=True) - torch.eye(2, **F64)).square().mean()
        optimiser.zero_grad()
        penalty.backward()
        optimiser.step()
        penalties.append(float(penalty.detach()))
    assert penalties[-1] < 0.8 * penalties[0]


def test_curvature_of_any_map():
    def sphere(x):
        return torch.stack([x[:, 0].sin() * x[:, 1].cos(), x[:, 0].sin() * x[:, 1].sin(), x[:, 0].cos()], 1)

    x = torch.tensor([[0.8, 0.3], [1.9, -1.0]], **F64)
    R, g = rl.riemann(lambda x: rl.pullback_metric(sphere, x), x), rl.pullback_metric(sphere, x)
    assert torch.allclose(R[:, 0, 1, 0, 1] / torch.linalg.det(g), torch.ones(2, **F64))
    gamma = rl.christoffel(lambda x: rl.pullback_metric(sphere, x), x)
    assert torch.allclose(gamma[:, 0, 1, 1], -x[:, 0].sin() * x[:, 0].cos())
