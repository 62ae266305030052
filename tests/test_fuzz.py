"""Random calls of the promised names, with good and bad arguments: in float64 the result is right, or the refusal names an argument.

RIEMLIB_FUZZ=1000 tries so many calls of each name, from other seeds at every run.
"""

import math
import os
import re
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import FUNCTIONS, cases, coordinates, error, jacobians, metrics, network, points, pushforwards, spd, states
from torch.func import jacrev

import riemlib as rl
from riemlib import engines

pytestmark = pytest.mark.usefixtures("untyped")  # riemlib's own refusals
MANY = int(os.environ.get("RIEMLIB_FUZZ", 0))
F64 = {"dtype": torch.float64}

# Bad arguments.


@st.composite
def tensors(draw):
    """Tensors of any shape, dtype, layout and content, most of them wrong."""
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    dtypes = [torch.float64] * 5 + [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex128]
    x = torch.randn(shape, **F64, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    x = x * draw(st.sampled_from([1.0, 1.0, 0.0, 1e-200, 1e100, math.inf, math.nan]))
    if draw(st.booleans()) and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
        x = x @ x.mT
    x = x.nan_to_num(0, 9, -9) if (dtype := draw(st.sampled_from(dtypes))) in (torch.int64, torch.bool) else x
    x = x.to(dtype)
    return x.to_sparse() if x.ndim and draw(st.integers(0, 9)) == 0 else x


WORDS = ["", "two", "tanh", "cpu", "gpu", "mps", "cuda:77", "random", "even"]
NUMBERS = [0, 1, 2, 3, -1, 2**31 - 1, 2**31, 2**40, 10**400, 0.5, 1.0, -0.5, 1e308, 5e-324, math.inf, -math.inf, math.nan, True, False, 1j]
OTHERS = [None, torch.sin, torch.sum, torch.nn.Linear(2, 2), np.int64(2), np.float32(0.5), np.arange(3), np.eye(2), int, {}, {"x": 1}]
LISTS = [[], [2], [2, 2, 2], [1, 0, 1], (0.5, 0.1), [[1.0, 2.0], [3.0, 4.0]], [None], ["a", "b"], [2**40], [1.5], [-1], [math.nan, 1.0]]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.int64, torch.complex128, "float32", float]
junk = st.one_of(tensors(), *map(st.sampled_from, (WORDS, NUMBERS, OTHERS, LISTS, DTYPES)))

# Good ones.

nets = cases().map(lambda case: network(**case))
counts = st.integers(1, 3)
seeds = st.integers(0, 10**6)
SPD = {dim: spd(dim) for dim in (1, 2, 3)}
FIELDS = {
    "conformal": lambda x: (x.square().sum(1) / 2).exp()[:, None, None] * torch.eye(x.shape[1], **F64),
    "flat": lambda x: SPD[x.shape[1]].expand(len(x), -1, -1) + 0 * x[:, :1, None],
    "curved": lambda x: torch.eye(x.shape[1], **F64) + x.sin()[:, :, None] * x.sin()[:, None, :],
    "a map": lambda x: rl.pullback_metric(lambda y: torch.cat([y.sin(), y.square(), y], 1), x),
}
MAPS = {
    "sine": torch.sin,
    "a norm": lambda x: x.square().sum(1),
    "of one point": lambda p: torch.outer(p.flatten(), p.flatten()),
    "a scalar of one point": lambda p: p.cos().prod(),
    "a module": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Softmax(1)),
    "coupled": lambda x: x - x.mean(0),
    "constant": lambda x: torch.ones_like(x),
    "integer": lambda x: x.long(),
    "complex": lambda x: torch.complex(x, x),
    "a list": lambda x: [x],
    "nothing": lambda x: x[:, :0],
}


@st.composite
def calls(draw, good):
    """Arguments by name. `good` gives all of them; in two of three calls one or two are replaced."""
    arguments = draw(good)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(arguments)))
        arguments[name] = draw(junk)
        if name in ("f", "metric", "output_metric") and callable(arguments[name]):
            arguments[name] = torch.sin  # what other callables raise at points that are not theirs is theirs
    return arguments


def on_networks(*more):
    """A network and points, and what `more` adds to them."""

    @st.composite
    def good(draw):
        net, n, seed = draw(nets), draw(counts), draw(seeds)
        arguments = {"net": net, "x": points(n, net.widths[0], seed) * draw(st.sampled_from([1.0, 1.0, 1e-3, 30.0]))}
        for name in more:
            arguments[name] = draw(
                {
                    "layer": st.integers(0, len(net.weights)),
                    "output_metric": st.sampled_from([None, spd(net.widths[-1]), spd(net.widths[-1], n), lambda y: FIELDS["curved"](y)]),
                    "label": st.just(torch.arange(n) % 2),
                }[name]
            )
        return arguments

    return good()


@st.composite
def matrices(draw, *names):
    """Arguments of these names: (n, d, d) or (d, d), frames invertible and metrics positive."""
    dim, n, found = draw(st.integers(1, 3)), draw(counts), {}
    for name in names:
        value = spd(dim, n, draw(seeds)) if name == "g" else points(n * dim, dim, draw(seeds)).view(n, dim, dim)
        found[name] = value[0] if draw(st.booleans()) else value
    return found


@st.composite
def spirals(draw):
    arms = draw(st.integers(1, 4))
    return dict(
        n=arms + draw(st.integers(0, 9)),
        arms=arms,
        turns=draw(st.floats(0, 3)),
        noise=draw(st.sampled_from([0.0, 0.1])),
        positions=draw(st.sampled_from(["even", "random"])),
        seed=draw(st.integers(0, 2**31 - 1)),
        dtype=torch.float64,
        device=draw(st.sampled_from(["cpu", None])),
    )


@st.composite
def settings_of_networks(draw):
    case = draw(cases())
    return {**case, "classes": draw(st.integers(2, 3)), "dtype": torch.float64, "device": "cpu"}


@st.composite
def trainings(draw):
    net = network(widths=[2] * 3, order=draw(st.integers(0, 2)))
    sample = rl.spiral(8, positions="random", seed=draw(st.integers(0, 9)), **F64)
    forms = [
        sample,
        (sample.x, sample.label),
        (sample.x.numpy(), sample.label.numpy().astype(str)),
        (sample.x.tolist(), [*sample.label.tolist()]),
    ]
    return dict(
        net=net,
        sample=draw(st.sampled_from(forms)),
        seeds=draw(st.sampled_from([[0], [3, 1], range(2), np.arange(2)])),
        batch_size=draw(st.integers(1, 8)),
        updates=draw(st.integers(0, 3)),
        learning_rate=draw(st.sampled_from([0.01, 0.1])),
        snapshots=[0],
        device=None,
    )


# Whether a result is right.


def finite(*values) -> bool:
    return all(bool(value.isfinite().all()) for value in values)


def agree(found, expected, tolerance=1e-8):
    """Where the definition itself does not overflow. A tensor of its own size: 1e-200 is not 0."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        b = b.detach()
        if a.dtype == torch.float64 and finite(b) and float(b.abs().max()) < 1e150:
            assert finite(a.detach())
            assert float((a - b).detach().abs().max()) <= tolerance * max(1e-280, float(b.abs().max())) + 1e-280 or error([a], [b]) < 1e-12


def right_jacobians(found, net, x):
    agree(found, jacobians(net, x))


def right_pushforward(found, net, x, layer):
    agree([found], [pushforwards(net, x)[layer]])


def right_metrics(found, net, x, output_metric):
    eta = output_metric(coordinates(net, x)[-1]) if callable(output_metric) else output_metric
    agree(found, metrics(net, x, eta))


def right_geometry(found, net, x, output_metric):
    agree(found.x, coordinates(net, x))
    agree(found.P, pushforwards(net, x))
    right_metrics(found.g, net, x, output_metric)
    for ball, g in zip(found.balls(0.5), found.g, strict=True):
        right_balls(ball, g.detach(), 0.5)


def right_pullback(found, f, x, output_metric):
    def at(p):
        try:
            return f(p[None])[0].flatten()
        except Exception:
            return f(p).flatten()

    if f in (MAPS["of one point"], MAPS["a scalar of one point"]):
        J = torch.stack([jacrev(lambda p: f(p).flatten())(p).flatten(1) for p in x])
        y = torch.stack([f(p).flatten() for p in x])
    else:
        J, y = torch.stack([jacrev(at)(p).flatten(1) for p in x]), torch.stack([at(p) for p in x])
    eta = output_metric(y) if callable(output_metric) else output_metric
    agree([found], [J.mT @ J if eta is None else J.mT @ eta @ J])


def right_length(found, g, dx):
    expected = [sum(g[i, a, b] * v[a] * v[b] for a in range(len(v)) for b in range(len(v))) for i, v in enumerate(dx)]
    agree([found], [torch.stack(expected)])


def right_balls(ball, g, radius):
    """Axes from the longest, along unit vectors; a finite one has the length of the radius, an infinite one none."""
    axes, directions = ball.axes.detach(), ball.directions.detach()
    if axes.dtype != torch.float64:
        return
    assert not axes.isnan().any() and (axes > 0).all()
    assert (axes[..., :-1] >= axes[..., 1:]).all()
    assert torch.allclose(directions.mT @ directions, torch.eye(axes.shape[-1], **F64).expand_as(directions), atol=1e-10)
    size = torch.linalg.eigvalsh(g)[..., -1:].clamp(min=1e-300)
    values = (radius / axes).square()  # of the metric along the axes
    along = torch.einsum("...ai,...ab,...bi->...i", directions, g, directions)
    if finite(values, size) and float(size.max()) < 1e150 and float(radius) < 1e150:
        assert ((along - values).abs() <= 1e-9 * size).all()


def right_balls_of(ball, P, radius):
    P = P.detach()
    right_balls(ball, P.mT @ P, radius)
    values = torch.linalg.svdvals(P).flip(-1)
    lost = P.shape[-1] - values.shape[-1]
    sure = values > 1e-9 * values[..., -1:]
    assert ball.axes[..., :lost].isinf().all()
    if P.dtype == torch.float64 and 1e-150 < float(radius) < 1e150:
        assert torch.allclose((radius / ball.axes[..., lost:])[sure], values[sure], rtol=1e-6, atol=0)


def gamma(field, p):
    """Christoffel's symbols, index by index."""
    d, inverse, slope = range(len(p)), torch.linalg.inv(field(p)), jacrev(field)(p)
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack([sum(inverse[a, e] * (slope[e, c, b] + slope[e, b, c] - slope[b, c, e]) for e in d) / 2 for c in d])
                    for b in d
                ]
            )
            for a in d
        ]
    )


def right_christoffel(found, metric, x):
    agree([found], [torch.stack([gamma(lambda p: metric(p[None])[0], p) for p in x])], 1e-6)


def right_riemann(found, metric, x):
    """From derivatives of Γ, which the other way round is not what riemlib does."""

    def at(p):
        def field(p):
            return metric(p[None])[0]

        G, slope = gamma(field, p), jacrev(lambda p: gamma(field, p))(p)  # [e, b, c, d] = ∂_d Γ^e_bc
        first = torch.einsum("edbc->ebcd", slope) + torch.einsum("ecf,fdb->ebcd", G, G)
        return torch.einsum("ae,ebcd->abcd", field(p), first - first.mT)

    expected = torch.stack([at(p) for p in x])
    size = max(1.0, float(metric(x).abs().max()) * float(1 + found.abs().max()))
    if finite(expected) and size < 1e100:
        assert float((found - expected).abs().max()) < 1e-7 * size


def right_chart(found, net):
    """Order 1: every principal minor, written out; order 0: the rank; else whether an entry is dropped."""
    expected = []
    for l, (before, after) in enumerate(zip(net.entries, net.entries[1:], strict=False)):
        W = net.weights[l].detach()
        if before == after == 1 and net.orders[l] == 0:
            expected.append(net.activation is not torch.relu and int(torch.linalg.matrix_rank(W)) == W.shape[1])
        elif before == after == 1:
            M = torch.eye(len(W), **F64) + net.steps[l] * (0.25 if net.activation is torch.sigmoid else 1.0) * W
            sets = (list(s) for k in range(1, len(W) + 1) for s in combinations(range(len(W)), k))
            expected.append(all(float(torch.linalg.det(M[s][:, s])) > 1e-12 for s in sets))
        else:
            expected.append(after >= before)
    assert found is all(expected)


def right_frame(found, e, h):
    agree([found], [torch.einsum("...ab,...bc->...ac", e, h)])


def right_action(found, h, g, inverse):
    if inverse:
        return agree([found], [torch.einsum("...ba,...bc,...cd->...ad", h, g, h)])
    back, sizes = h.mT @ found @ h, torch.linalg.cond(h)
    if finite(back) and (sizes < 1e5).all():
        assert torch.allclose(back, g.expand_as(back), rtol=1e-5, atol=1e-6 * float(g.abs().max()))
    return None


def right_gradients(found, net, x, label):
    loss = torch.nn.functional.cross_entropy(coordinates_with_gradient(net, x), label)
    expected = torch.autograd.grad(loss, [*net.parameters()])
    assert [*found] == [name for name, _ in net.named_parameters()]
    agree(found.values(), expected)


def coordinates_with_gradient(net, x):
    return net.readout(net.coordinates(x)[-1])


def right_spiral(found, n, arms, turns, noise, positions, seed, dtype, device):
    assert found.x.shape == (n, 2) and found.x.dtype == dtype and finite(found.x)
    assert found.label.bincount().tolist() == [n // arms + (a < n % arms) for a in range(arms)]
    t = found.position
    angle = 2 * math.pi * (turns * t + found.label / arms)
    x = (0.1 + 0.9 * t)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    if turns < 1e3:
        assert (found.x - x).abs().max() <= 6 * noise + 1e-4


def right_network(found, **given):
    assert found.redraw(0) is found and finite(*(p.detach() for p in found.parameters()))
    found.by_hand = FUNCTIONS.get(given["activation"], given["activation"])
    x = points(2, found.widths[0])
    if found.weights[0].dtype == torch.float64 and found.weights[0].device.type == "cpu":
        agree(found.states(x), states(found, x))


def right_fit(found, net, sample, batch_size, updates, **_):
    data = sample if isinstance(sample, rl.Sample) else rl.Sample(torch.as_tensor(sample[0]).double(), None)
    label = sample.label if isinstance(sample, rl.Sample) else torch.as_tensor(np.unique(sample[1], return_inverse=True)[1])
    for i, seed in enumerate(found.seeds):
        first, last = found.snapshots.get(0, [None] * 9)[i], found.networks[i]
        if seed not in found.diverged:
            assert float(found.error[i]) == pytest.approx(float((last(data.x).argmax(1) != label).double().mean()))
        if updates and first is not None:
            rows = torch.randperm(len(data.x), generator=torch.Generator().manual_seed(engines.MINIBATCH_SEED_OFFSET + seed))[:batch_size]
            loss = torch.nn.functional.cross_entropy(first(data.x[rows]), label[rows])
            assert float(found.loss[i, 0]) == pytest.approx(float(loss.detach()))


# The promised names: (function, good arguments, whether a result is right, further words that a refusal may begin with)
PROMISED = {
    "spiral": (rl.spiral, spirals(), right_spiral, "turns"),
    "CkNetwork": (rl.CkNetwork, settings_of_networks(), right_network, ""),
    "jacobians": (rl.jacobians, on_networks(), right_jacobians, ""),
    "pushforward": (rl.pushforward, on_networks("layer"), right_pushforward, ""),
    "pullback_metrics": (rl.pullback_metrics, on_networks("output_metric"), right_metrics, ""),
    "geometry": (rl.geometry, on_networks("output_metric"), right_geometry, ""),
    "pullback_metric": (
        rl.pullback_metric,
        st.fixed_dictionaries(
            {
                "f": st.sampled_from([*MAPS.values()]),
                "x": st.sampled_from([points(3, 2), points(1, 2), points(2, 2), points(12, 2).view(3, 2, 4)]),
                "output_metric": st.sampled_from([None, None, None, spd(2), spd(3), spd(2, 3)]),
            }
        ),
        right_pullback,
        "",
    ),
    "squared_length": (
        rl.squared_length,
        st.builds(lambda m, s: {"g": m["g"], "dx": points(*m["g"].shape[-2:], s)}, matrices("g"), seeds),
        right_length,
        "",
    ),
    "balls": (rl.balls, st.builds(lambda m, r: {**m, "radius": r}, matrices("g"), st.floats(1e-3, 9)), right_balls, ""),
    "balls_of": (rl.balls_of, st.builds(lambda m, r: {**m, "radius": r}, matrices("P"), st.floats(1e-3, 9)), right_balls_of, ""),
    "christoffel": (
        rl.christoffel,
        st.fixed_dictionaries({"metric": st.sampled_from([*FIELDS.values()]), "x": st.builds(points, counts, st.integers(1, 3), seeds)}),
        right_christoffel,
        "",
    ),
    "riemann": (
        rl.riemann,
        st.fixed_dictionaries({"metric": st.sampled_from([*FIELDS.values()]), "x": st.builds(points, counts, st.integers(1, 3), seeds)}),
        right_riemann,
        "",
    ),
    "is_chart": (rl.is_chart, st.builds(lambda net: {"net": net}, nets), right_chart, "activation"),
    "act_on_frame": (rl.act_on_frame, matrices("e", "h"), right_frame, ""),
    "act_on_metric": (rl.act_on_metric, st.builds(lambda m, i: {**m, "inverse": i}, matrices("h", "g"), st.booleans()), right_action, ""),
    "backpropagate": (rl.backpropagate, on_networks("label"), right_gradients, ""),
    "fit": (rl.fit, trainings(), right_fit, "x label seed"),
}


@pytest.mark.parametrize("name", PROMISED)
@settings(max_examples=MANY or 40, derandomize=not MANY, suppress_health_check=[*HealthCheck], deadline=None)
@given(data=st.data())
def test_a_promised_name_is_right_or_refuses_by_name(name, data):
    function, good, right, more = PROMISED[name]
    arguments = data.draw(calls(good))
    extra = {"progress": False} if name == "fit" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of seeds that diverge
            found = function(**arguments, **extra)
    except (ValueError, TypeError) as refusal:
        words = "|".join(map(re.escape, [*arguments, *more.split()]))
        assert re.match(rf"({words})\b", str(refusal)), f"{type(refusal).__name__}: {refusal}"
    else:
        right(found, **arguments)
