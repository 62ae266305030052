"""Promises about speed: two ratios of timings of one run, the best of several, taken in turns; and the time that an import takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.func import jacrev, vmap

import riemlib as rl

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("untyped")]


def best(*runs, rounds):
    """The least time of each run in seconds, the first call of each left out."""
    for run in runs:
        run()
    times = []
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start, i))
    return [min(t for t, j in times if j == i) for i in range(len(runs))]


def test_the_metric_at_every_layer_is_four_times_faster_than_automatic_differentiation():
    """Width 2, 10⁵ points, depth 10, float32: at most a quarter of vmap(jacrev), layer by layer; both give the same metrics."""
    net = rl.CkNetwork([2] * 11, seed=0, dtype=torch.float32)
    x = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))

    def layer_by_layer():
        xs, g = [x], [torch.eye(2).expand(len(x), 2, 2)]
        layers = [lambda p, W=W, b=b: p + torch.tanh(W @ p + b) for W, b in zip(net.weights, net.biases, strict=True)]
        for layer in layers:
            xs.append(vmap(layer)(xs[-1]))
        for layer, at in zip(layers[::-1], xs[-2::-1], strict=True):
            J = vmap(jacrev(layer))(at)
            g.append(J.mT @ g[-1] @ J)
        return g[::-1]

    for ours, theirs in zip(rl.pullback_metrics(net, x), layer_by_layer(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.detach().abs().max()))
    ours, theirs = best(lambda: rl.pullback_metrics(net, x), layer_by_layer, rounds=5)
    assert ours <= theirs / 4, f"{ours * 1e3:.0f} ms against {theirs * 1e3:.0f} ms: {ours / theirs:.2f} of it"


class Plain(torch.nn.Module):
    """The network of the comparison, written as usual."""

    def __init__(self, depth):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(depth))
        self.readout = torch.nn.Linear(2, 2)

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.readout(x)


def test_training_64_seeds_takes_a_tenth_of_the_time_for_each():
    """Depth 10, batch 300: each of 64 networks takes at most a tenth of one network in a plain loop."""
    sample, updates = rl.spiral(1000, dtype=torch.float32), 50
    template = rl.CkNetwork([2] * 11, seed=0, dtype=torch.float32)

    def together():
        rl.fit(template, sample, seeds=range(64), batch_size=300, updates=updates, learning_rate=1e-2, progress=False)

    def plain_loop():
        net = Plain(10)
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        for _ in range(updates):
            rows = torch.randperm(len(sample))[:300]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(sample.x[rows]), sample.label[rows]).backward()
            optimiser.step()
            schedule.step()

    ours, theirs = best(together, plain_loop, rounds=4)
    assert ours / 64 <= theirs / 10, f"{ours / 64 / updates * 1e6:.0f} µs a network and update against {theirs / updates * 1e6:.0f} µs"


IMPORTS = """
import sys, time

start = time.perf_counter()
import riemlib as rl
first = time.perf_counter() - start
print(*[name for name in ("torch", "pandas", "matplotlib", "scipy") if name in sys.modules])

import torch

start = time.perf_counter()
rl.CkNetwork, rl.geometry, rl.fit, rl.spiral
print(*[name for name in ("pandas", "matplotlib", "scipy", "sklearn") if name in sys.modules])
print(first + time.perf_counter() - start)
"""


def test_importing_riemlib_takes_less_than_a_third_of_a_second_beside_torch():
    """And loads neither torch nor what the companion needs: not pandas, not matplotlib. What the core needs beside torch is counted in."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, env=environment)
    at_once, with_the_core, seconds = run.stdout.splitlines()
    assert (at_once, with_the_core) == ("", "") and float(seconds) < 0.3
