"""The compiled loop against torch: gradients, training, minibatches, the metric; and what happens where it cannot serve."""

import ast
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import CASES, cases, coordinates, error, metrics, network, points, pushforwards

import riemlib as rl
from riemlib import engines
from riemlib.companion.provenance import code_used, hashed

pytest.importorskip("numba")
NAMED = ("tanh", "relu", "sigmoid", "softplus")
EXACT, ROUGH = 1e-10, 1e-5  # in float64, in float32
RATE = 1024.0  # so large that rounding to the weights does not matter


def weights(net):
    return [p.detach() for p in net.parameters()]


def flat(net):
    return torch.cat([p.flatten() for p in weights(net)]).double()


# Gradients.


def sample(n, width, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return rl.Sample(points(n, width, seed), torch.randint(classes, (n,), generator=generator))


def rows_of(seed, n, batch_size, count):
    """The first minibatches of a seed, from torch.randperm."""
    generator, found = torch.Generator().manual_seed(engines.MINIBATCH_SEED_OFFSET + seed), []
    while len(found) < count:
        found += list(torch.randperm(n, generator=generator)[: n - n % batch_size].split(batch_size))
    return found[:count]


def gradient_found(case, data, seed, batch_size, dtype):
    """What one update of gradient descent without momentum takes from the weights, over the rate: the gradient."""
    run = rl.fit(
        rl.CkNetwork(**case, dtype=dtype),
        data,
        seeds=[seed],
        batch_size=batch_size,
        updates=1,
        learning_rate=RATE,
        optimiser="sgd",
        momentum=0.0,
        schedule="constant",
        engine="fused",
        progress=False,
        snapshots=[0],
    )
    return (flat(run.snapshots[0][0]) - flat(run.networks[0])) / RATE, run.loss[0, 0].double()


def gradient_expected(case, data, seed, batch_size, dtype):
    """The gradient of the mean cross-entropy by automatic differentiation, in float64 at weights of this dtype, and the loss."""
    net, rows = rl.CkNetwork(**case, seed=seed, dtype=dtype).double(), rows_of(seed, len(data), batch_size, 1)[0]
    net.by_hand = network(**case).by_hand
    loss = torch.nn.functional.cross_entropy(net(data.x[rows]), data.label[rows])
    loss.backward()
    if case["activation"] == "relu":  # no point on a kink
        layers = zip(coordinates(net, data.x[rows]), net.weights, net.biases, strict=False)
        assume(min(float((x @ W.mT + b).detach().abs().min()) for x, W, b in layers) > 1e-4)
    return torch.cat([p.grad.flatten() for p in net.parameters()]), loss.detach()


@st.composite
def trained(draw):
    """Any network that the loop serves, with a number of points that is no multiple of a block, and a number of classes."""
    case = draw(cases())
    case.pop("seed")
    case["activation"] = draw(st.sampled_from(NAMED))
    case["classes"] = draw(st.integers(2, 5))
    return case


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, ROUGH)])
@given(case=trained(), seed=st.integers(0, 1000), n=st.integers(3, 200), share=st.floats(0.1, 1.0))
@settings(max_examples=60)
def test_a_gradient_is_that_of_automatic_differentiation(dtype, tolerance, case, seed, n, share):
    """Relative to its own norm. In float32 the points and the weights are rounded first."""
    data, batch_size = sample(n, case["widths"][0], case["classes"], seed), max(1, int(share * n))
    data = rl.Sample(data.x.to(dtype).double(), data.label)
    expected, loss = gradient_expected(case, data, seed, batch_size, dtype)
    found, loss_found = gradient_found(case, data, seed, batch_size, dtype)
    assert float((found - expected).norm()) < tolerance * float(expected.norm())
    assert float((loss_found - loss).abs()) < tolerance * max(1.0, float(loss))


@pytest.mark.parametrize("width", [8, 16])
def test_wide_networks_have_the_same_gradient(width):
    case = dict(widths=[width] * 4, order=[1, 2, 1], step=0.3, activation="tanh", classes=3)
    data = sample(130, width, 3)
    expected, _ = gradient_expected(case, data, 5, 100, torch.float64)
    found, _ = gradient_found(case, data, 5, 100, torch.float64)
    assert float((found - expected).norm()) < EXACT * float(expected.norm())


# Training.

SAMPLE = rl.spiral(150, turns=0.7, noise=0.02, dtype=torch.float64)
SETTINGS = dict(batch_size=65, updates=50, learning_rate=1e-2, progress=False)
MANY = {
    "order 0": dict(widths=[2] * 5, order=0),
    "order 2": dict(widths=[2] * 5, order=2, step=0.6),
    "mixed": dict(widths=[2, 3, 3, 3], order=[0, 3, 3], activation="softplus"),
    "shared": dict(widths=[2] * 5, order=1, shared=True, activation="sigmoid"),
    "relu": dict(widths=[2] * 5, order=1, activation="relu", classes=3),
}


@pytest.mark.parametrize("how", [{}, {"optimiser": "sgd", "learning_rate": 0.1}, {"schedule": "constant"}], ids=str)
@pytest.mark.parametrize("case", MANY.values(), ids=MANY)
def test_both_engines_train_the_same_networks(case, how):
    """After 50 updates in float64: losses, weights and errors, from the same seeds and the same minibatches."""
    kept = {"snapshots": [0, 7, 50], "seeds": [4, 0, 11], **SETTINGS, **how}
    a, b = (rl.fit(network(**case), SAMPLE, engine=engine, **kept) for engine in ("fused", "torch"))
    assert error([a.loss], [b.loss]) < 1e-9 and torch.equal(a.error, b.error)
    for one, other in zip([a.networks, *a.snapshots.values()], [b.networks, *b.snapshots.values()], strict=True):
        assert all(error(weights(p), weights(q)) < 1e-6 for p, q in zip(one, other, strict=True))
    assert error(weights(a.snapshots[7][0]), weights(a.networks[0])) > 1e-4


def test_optimisers_and_schedules_differ():
    """The control: each setting is seen by the comparison above."""
    base = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[3], **SETTINGS)
    for how in ({"optimiser": "sgd"}, {"schedule": "constant"}, {"optimiser": "sgd", "momentum": 0.5}):
        assert (
            error(weights(rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[3], **SETTINGS, **how).networks[0]), weights(base.networks[0]))
            > 1e-4
        )


@pytest.mark.parametrize("n", [1, 2, 3, 17, 700, 2000])
def test_the_permutations_are_those_of_torch(n):
    """Over several epochs, so that the words of the generator run out at other places each time."""
    for seed in (0, 5, 2**31 - 1):
        state, rows = np.empty(625, np.uint32), np.empty(n, np.int32)
        engines.kernel().start_generator(state, np.uint32(engines.MINIBATCH_SEED_OFFSET + seed))
        generator = torch.Generator().manual_seed(engines.MINIBATCH_SEED_OFFSET + seed)
        for _ in range(4):
            engines.kernel().permute(state, rows)
            assert rows.tolist() == torch.randperm(n, generator=generator).tolist()


def test_every_minibatch_is_used_once_and_in_order():
    """Five updates at a tiny rate: each loss is that of the next minibatch, over the border of an epoch."""
    run = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[3], **{**SETTINGS, "updates": 5, "learning_rate": 1e-12})
    net = rl.CkNetwork([2] * 4, seed=3, dtype=torch.float64)
    rows = rows_of(3, len(SAMPLE), 65, 5)
    expected = torch.stack([torch.nn.functional.cross_entropy(net(SAMPLE.x[each]), SAMPLE.label[each]) for each in rows]).detach()
    assert error([run.loss[0]], [expected]) < 1e-9 and len({round(float(loss), 6) for loss in expected}) == 5


def test_the_number_of_threads_changes_no_bit():
    runs = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            runs.append(rl.fit(network(widths=[2] * 4), SAMPLE, seeds=range(7), **SETTINGS))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(runs[0].loss, runs[1].loss)
    assert all(
        torch.equal(p, q)
        for a, b in zip(runs[0].networks, runs[1].networks, strict=True)
        for p, q in zip(weights(a), weights(b), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_that_diverges_leaves_the_others_alone(dtype):
    """To the bit. Its loss is NaN from there on, its error is NaN, and it is named."""
    case, hot = dict(widths=[2] * 9, order=1, activation="relu", dtype=dtype), {**SETTINGS, "optimiser": "sgd", "learning_rate": 0.9}
    with pytest.warns(RuntimeWarning, match="seeds diverged"):
        run = rl.fit(network(**case), SAMPLE, seeds=range(12), engine="fused", **hot)
    well = [seed for seed in run.seeds if seed not in run.diverged]
    assert 0 < len(well) < 12
    alone = rl.fit(network(**case), SAMPLE, seeds=well, engine="fused", **hot)
    assert torch.equal(alone.loss, run.loss[[run.seeds.index(seed) for seed in well]])
    for seed in run.diverged:
        lost = run.loss[run.seeds.index(seed)].isfinite()
        assert not lost[-1] and lost.tolist() == sorted(lost.tolist(), reverse=True) and run.error[run.seeds.index(seed)].isnan()


INTERRUPTED = """
import signal, sys, threading, time, os, torch
import riemlib as rl

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start its background jobs without
settings = dict(seeds=range(200), batch_size=300, learning_rate=1e-2, progress=False, engine="fused")
rl.fit(rl.CkNetwork([2] * 11), rl.spiral(1000), updates=3, **settings)  # compiled
threading.Timer(1.0, lambda: (sent.append(time.perf_counter()), os.kill(os.getpid(), signal.SIGINT))).start()
sent = []
try:
    rl.fit(rl.CkNetwork([2] * 11), rl.spiral(1000), updates=30_000, **settings)  # half a minute
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_ctrl_c_ends_it_within_a_second(threads):
    """In one of three tries: another process may hold the cores for as long."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": threads}
    how = {"capture_output": True, "text": True, "env": environment, "timeout": 120}
    waited = []
    while not waited or (waited[-1] >= 1.0 and len(waited) < 3):
        run = subprocess.run([sys.executable, "-c", INTERRUPTED], **how)
        assert run.returncode == 0, run.stderr
        waited.append(float(run.stdout))
    assert waited[-1] < 1.0, waited


# Which engine serves.


def test_a_change_of_the_registers_makes_numba_compile_anew():
    """The kept code goes with _fused.py, which holds the digest of the code of _registers.py: after a change put the new one there."""
    code = code_used(ast.parse("import riemlib._registers"))["riemlib._registers"]
    assert engines.kernel().REGISTERS == hashed(code)


def missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "riemlib._fused", None)
    monkeypatch.delattr(rl, "_fused", raising=False)


def broken(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("no LLVM here")

    monkeypatch.setattr(engines.kernel(), "start_generator", refuse)


@pytest.mark.parametrize("fault", [missing, broken])
def test_where_numba_cannot_be_used_torch_trains_and_a_warning_says_so_once(fault, monkeypatch):
    expected = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[1], engine="torch", **SETTINGS)
    fault(monkeypatch)
    engines.kernel.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="numba cannot be used here") as said:
            found = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[1], **SETTINGS)
        assert len(said) == 1 and torch.equal(found.loss, expected.loss)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[1], **SETTINGS)
            rl.geometry(network(widths=[2] * 4), SAMPLE.x)
        with pytest.raises(ValueError, match="engine is 'fused'"):
            rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[1], engine="fused", **SETTINGS)
    finally:
        engines.kernel.cache_clear()


@pytest.mark.parametrize(
    ("case", "device"),
    [
        (dict(widths=[2, 2], activation=torch.sin), "cpu"),
        (dict(widths=[17, 17]), "cpu"),
        (dict(widths=[2, 2]), "meta"),
    ],
)
def test_what_the_loop_does_not_serve_is_left_to_torch(case, device):
    net = network(**case)
    x = torch.zeros(3, case["widths"][0], device=device, dtype=torch.float64)
    assert engines.chosen("auto", net, x, False) == "torch" and engines.chosen("torch", net, x, False) == "torch"
    with pytest.raises(ValueError, match="at most 16 coordinates at a layer, an activation with a name, the CPU"):
        engines.chosen("fused", net, x, False)


def test_the_loop_serves_small_networks_unless_torch_is_asked_for():
    net, x = network(widths=[2, 2]), torch.zeros(3, 2, dtype=torch.float64)
    assert engines.chosen("auto", net, x, False) == "fused" and engines.chosen("auto", net, x, True) == "torch"
    with pytest.raises(ValueError, match="engine is 'numba'; auto or fused or torch is needed"):
        engines.chosen("numba", net, x, False)


# The metric.


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.get("activation", "tanh") in NAMED], ids=str)
def test_the_metric_of_the_loop_is_that_of_automatic_differentiation(case):
    """Coordinates, pushforwards and metrics at every layer, for fewer points than a block, and for more by a remainder."""
    net = network(**case)
    for n in (1, 64, 150):
        x = points(n, net.widths[0])
        found = engines.sweep(net, x, ("x", "P", "g"))
        assert error(found["x"], coordinates(net, x)) < EXACT
        assert error(found["P"], pushforwards(net, x)) < EXACT
        assert error(found["g"], metrics(net, x)) < EXACT


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("width", "order"), [(5, 2), (8, [1, 2, 1]), (16, 1), (16, 2)])
def test_wide_networks_have_the_same_metric(width, order, dtype):
    """With tiles of several lines, below the diagonal and on it, and their mirror images."""
    net, x = network(widths=[width] * 4, order=order, step=0.3), points(100, width)
    found = engines.sweep(net.to(dtype), x.to(dtype), ("P", "g"))
    net, tolerance = net.double(), EXACT if dtype == torch.float64 else 1e-4
    assert error(found["P"], pushforwards(net, x)) < tolerance
    assert error(found["g"], metrics(net, x)) < tolerance
    assert all(torch.equal(g, g.mT) for g in found["g"])


@pytest.mark.parametrize(("dtype", "whole"), [(np.float32, 16), (np.float64, 8)])
def test_lines_start_at_lines_of_the_cache_an_odd_number_apart(dtype, whole):
    for n in (64, 65, 960, 1000):
        room = engines.lines((3, 2), n, np.dtype(dtype))
        assert room.ctypes.data % 64 == 0 and room.shape[:2] == (3, 2) and n <= room.shape[2] < n + 2 * whole
        assert room.shape[2] % whole == 0 and room.shape[2] // whole % 2 == 1


def test_the_metric_of_a_part_of_a_network_starts_at_its_state():
    net = network(widths=[2] * 6, order=2, step=0.6)
    state = net.states(points(70, 2))[2].detach()
    found = engines.sweep(net[2:], state, ("P",))["P"]
    assert error(found, pushforwards(net, points(70, 2))[2:]) < EXACT
    for lowest in (1, 3):
        (P,) = engines.sweep(net[2:], state, ("P",), lowest)["P"]
        assert error([P], [pushforwards(net, points(70, 2))[2 + lowest]]) < EXACT


def test_the_loop_is_faster_than_it_takes_to_notice():
    """A second call compiles nothing."""
    net, x = network(widths=[2] * 6), points(100, 2)
    engines.sweep(net, x, ("g",))
    start = time.perf_counter()
    engines.sweep(net, x, ("g",))
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("n", [64, 65, 127, 129, 1000])
def test_threads_share_the_points_without_leaving_one_out(n, monkeypatch):
    """Spans of any length, the last one shorter than a block: to the bit what one thread computes."""
    net, x = network(widths=[2] * 4), points(n, 2)
    alone = engines.sweep(net, x, ("x", "P", "g"))
    monkeypatch.setattr(engines, "SMALL", 1)
    for threads in (2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        shared = engines.sweep(net, x, ("x", "P", "g"))
        assert all(torch.equal(a, b) for name in alone for a, b in zip(alone[name], shared[name], strict=True))
