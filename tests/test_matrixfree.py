"""The leading directions of a metric from products with the Jacobian, against the dense metric; and what is refused."""

import pytest
import torch
from reference import network, points, spd
from test_chunks import growth
from test_maps import COUPLED, fixed
from torch import nn

import riemlib as rl
from riemlib import matrixfree

F64 = {"dtype": torch.float64}


def convolutions(outputs: int) -> nn.Module:
    """A small convolutional network on 3 x 32 x 32 images: to so many classes, or a feature map of 1024 numbers for 0."""
    head = (
        [nn.Conv2d(8, 4, 3, stride=2, padding=1), nn.Flatten()]
        if outputs == 0
        else [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, outputs)]
    )
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), *head, nn.Tanh()).eval()


def dense(f, x, k, eta=None):
    """The largest eigenvalues and their eigenvectors in rows, from the whole metric in float64."""
    values, vectors = torch.linalg.eigh(rl.pullback_metric(f, x, eta).double())
    return values.flip(-1)[:, :k], vectors.flip(-1)[..., :k].mT


def agree(found, expected, rtol, gap=1e-2):
    """The same values; the same directions up to sign, where a value is alone by more than `gap`."""
    values, vectors = expected
    assert found.values.shape == values.shape and torch.allclose(found.values.double(), values, rtol=rtol)
    alone = torch.ones_like(values, dtype=torch.bool)
    near = values.diff(dim=1).abs() <= gap * values[:, :-1]
    alone[:, 1:] &= ~near
    alone[:, :-1] &= ~near
    alone[:, -1] = False  # the next value is not known here
    cosine = (found.directions.flatten(2).double() * vectors).sum(-1).abs()
    assert alone.any() and (1 - cosine[alone] < max(rtol, 1e-8)).all()


ROUTES = {
    "many outputs, by iteration": (lambda: fixed(nn.Sequential(nn.Linear(80, 90), nn.Tanh(), nn.Linear(90, 70))), 80, 70),
    "few outputs": (lambda: fixed(nn.Sequential(nn.Linear(80, 20), nn.Tanh(), nn.Linear(20, 7))), 80, 7),
    "few inputs": (lambda: fixed(nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 90))), 6, 90),
}


@pytest.mark.parametrize("name", ROUTES)
def test_values_and_directions_are_those_of_the_dense_metric(name):
    """With each kind of output metric. The control: another output metric has others."""
    build, d, r = ROUTES[name]
    f, x = build(), points(3, d)
    one, each = spd(r), spd(r, 3)
    for eta in (None, one, each, lambda y: (1 + y.square().sum(1))[:, None, None] * one):
        found = rl.leading_directions(f, x, 4, eta)
        agree(found, dense(f, x, 4, eta), 1e-8)
        assert (found.values.diff(dim=1) <= 0).all()
    assert not torch.allclose(rl.leading_directions(f, x, 4, one).values, rl.leading_directions(f, x, 4).values, rtol=1e-2)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-8)])
def test_at_width_64_they_are_those_of_the_metric_in_closed_form(dtype, rtol, monkeypatch):
    monkeypatch.setattr(matrixfree, "FEW", 0)  # by iteration
    net, x = network(widths=[64] * 6, dtype=dtype, step=0.5), points(3, 64, dtype=dtype)
    found = rl.leading_directions(net[:], x, 5)
    values, vectors = torch.linalg.eigh(rl.pullback_metrics(network(widths=[64] * 6, step=0.5), x.double())[0])
    agree(found, (values.flip(-1)[:, :5], vectors.flip(-1)[..., :5].mT), rtol)
    assert found.values.dtype == found.directions.dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [10, 0])
def test_at_3072_inputs_they_are_those_of_the_dense_jacobian(outputs):
    """Few outputs and a feature map, in float32, from the singular values of the Jacobian in float64."""
    f, x = convolutions(outputs), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = rl.leading_directions(f, x, 4)
    _, values, vectors = torch.linalg.svd(rl.pushforward_of(f.double(), x.double()), full_matrices=False)
    assert found.directions.shape == (2, 4, 3, 32, 32) and values.shape[1] == (outputs or 1024)
    agree(found, (values[:, :4].square(), vectors[:, :4]), 1e-4)
    step = 1e-3 * found.directions[0].double()
    moved = torch.stack([f(x[:1].double() + v) - f(x[:1].double() - v) for v in step]).flatten(1).norm(dim=1) / 2e-3
    assert torch.allclose(moved.square(), found.values[0].double(), rtol=1e-3)  # ds² of Eq. 13, by finite differences


def test_a_function_of_one_point_is_taken_point_by_point():
    f, x = (lambda p: torch.outer(p, p).flatten()), points(4, 9)
    agree(rl.leading_directions(f, x, 2), dense(f, x, 2), 1e-8)
    f, x = (lambda p: torch.outer(p, p)[0]), points(2, 70)
    agree(rl.leading_directions(f, x, 2), dense(f, x, 2), 1e-8)


def test_a_second_call_gives_the_same_numbers_and_no_gradient():
    f, x = ROUTES["many outputs, by iteration"][0](), points(2, 80).requires_grad_()
    one, other = rl.leading_directions(f, x, 3), rl.leading_directions(f, x, 3)
    assert torch.equal(one.values, other.values) and torch.equal(one.directions, other.directions)
    assert not one.values.requires_grad and x.grad is None and all(p.grad is None for p in f.parameters())


@pytest.mark.parametrize("few", [0, 64])
def test_a_map_that_moves_nothing_has_values_0(few, monkeypatch):
    """And unit directions, orthogonal; of rank 1 the second value is 0."""
    monkeypatch.setattr(matrixfree, "FEW", few)
    x = points(2, 30)
    for f, rank in ((lambda x: 0 * x, 0), (lambda x: x.sum(1, keepdim=True) * torch.ones(30, **F64), 1)):
        found = rl.leading_directions(f, x, 3)
        assert (found.values[:, rank:].abs() < 1e-9 * (1 + found.values[:, :1])).all() and (found.values[:, :rank] > 1).all()
        assert torch.allclose(found.directions @ found.directions.mT, torch.eye(3, **F64).expand(2, 3, 3), atol=1e-8)


def test_only_shapes_are_known_on_the_meta_device():
    f, x = nn.Linear(80, 70).to("meta"), torch.empty(3, 80, device="meta")
    found = rl.leading_directions(f, x, 4)
    assert found.values.device.type == "meta" and (found.values.shape, found.directions.shape) == ((3, 4), (3, 4, 80))


MANY = points(3, 80)
LAST_0 = torch.ones(9, 80, **F64)
LAST_0[-1] = 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rl.leading_directions(torch.sin, MANY, 81), ValueError, "k is 81; at most 80"),
        (lambda: rl.leading_directions(lambda x: x[:, :2], MANY, 3), ValueError, "k is 3; at most 2"),
        (lambda: rl.leading_directions(torch.sin, MANY, 0), ValueError, "k is 0; at least 1"),
        (lambda: rl.leading_directions(torch.sin, MANY, 1.5), TypeError, "k is 1.5"),
        (lambda: rl.leading_directions("sin", MANY, 1), TypeError, "f is a str"),
        (lambda: rl.leading_directions(torch.sin, MANY.log(), 1), ValueError, "x holds a value that is not finite"),
        (lambda: rl.leading_directions(torch.sin, MANY.int(), 1), TypeError, "x has dtype"),
        (lambda: rl.leading_directions(torch.sqrt, LAST_0, 1), ValueError, "f has a derivative that is not finite"),
        (lambda: rl.leading_directions(lambda x: x[:, :2].sqrt(), LAST_0, 1), ValueError, "f has a derivative that is not finite"),
        (lambda: rl.leading_directions(lambda x: x.detach(), MANY, 1), ValueError, "does not depend on x"),
        (lambda: rl.leading_directions(nn.Sequential(nn.Linear(80, 70), nn.Dropout()).double(), MANY, 1), ValueError, r"call f.eval\(\)"),
        (lambda: rl.leading_directions(torch.sin, MANY, 1, spd(3)), ValueError, r"output_metric has shape \(3, 3\)"),
        (lambda: rl.leading_directions(torch.sin, MANY, 1, spd(80, 2)), ValueError, r"output_metric has shape \(2, 80, 80\)"),
        (lambda: rl.leading_directions(torch.sin, MANY, 1, -spd(80)), ValueError, "output_metric has an eigenvalue"),
        (lambda: rl.leading_directions(torch.sin, MANY, 1, torch.eye(80)), TypeError, "output_metric has dtype"),
    ],
)
def test_what_has_no_leading_directions_is_refused(call, error, message, untyped):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", COUPLED)
def test_what_couples_the_points_of_a_batch_is_refused(name):
    with pytest.raises(ValueError, match="couples the points"):
        rl.leading_directions(COUPLED[name], points(20, 70), 1)


IMAGES = """
import torch
import riemlib as rl

torch.manual_seed(0)
f = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.Tanh(), torch.nn.Conv2d(8, 4, 3, padding=1)).eval()
x = torch.rand(3, 3, 64, 64)
rl.leading_directions(f, x[:1, :, :8, :8], 2)
before = peak()
torch.ones(12288, 12288) if sys.argv[1] == "1" else rl.leading_directions(f, x, 2)
print(peak() - before)
"""


@pytest.mark.slow
def test_no_d_by_d_numbers_are_held():
    """At 12,288 inputs the metric takes 576 MiB a point, which is the control; the memory grows by less than 200 MiB.

    So it does for three points one after the other.
    """
    assert growth(IMAGES, 0) < 200 * 2**20 < 500 * 2**20 < growth(IMAGES, 1)
