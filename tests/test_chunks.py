"""Points in chunks from a memory budget: the geometry of all of them, in their order, within the budget."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference import CASES, error, network, points, spd

import riemlib as rl
from riemlib import chunks


@pytest.mark.parametrize("case", ["order 1", "mixed", "narrowing"])
def test_chunks_are_the_geometry_of_all_points_in_their_order(case):
    """With every kind of output metric, at every layer; the last chunk is shorter."""
    net = network(**CASES[case])
    x, out = points(11, net.widths[0]), net.widths[-1]
    memory = 4 * chunks.bytes_per_point(net, 8)
    for eta in (None, spd(out), spd(out, 11), lambda y: (1 + y.square().sum(1))[:, None, None] * spd(out)):
        parts, whole = [*rl.geometry_in_chunks(net, x, eta, memory=memory)], rl.geometry(net, x, eta)
        assert [len(part.x[0]) for part in parts] == [4, 4, 3]
        for l in range(len(net.widths)):
            for name in ("x", "P", "g"):
                found = torch.cat([getattr(part, name)[l] for part in parts])
                assert error([found], [getattr(whole, name)[l]]) < 1e-12
        axes = torch.cat([part.balls(0.1)[0].axes for part in parts])
        assert error([1 / axes], [1 / whole.balls(0.1)[0].axes]) < 1e-6


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(memory=10), ValueError, "memory is 10; at least [0-9]+, the bytes of one point"),
        (dict(memory=0), ValueError, "memory is 0"),
        (dict(memory=1.5), TypeError, "memory is 1.5"),
        (dict(x=points(5, 3)), ValueError, r"x has shape \(5, 3\)"),
        (dict(x=points(5, 2).log()), ValueError, "x holds a value that is not finite"),
        (dict(net=torch.nn.Linear(2, 2)), TypeError, "net is a Linear"),
        (dict(output_metric=spd(2, 3)), ValueError, r"output_metric has shape \(3, 2, 2\)"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(arguments, error, message, untyped):
    """Not when the first chunk is asked for."""
    with pytest.raises(error, match=message):
        rl.geometry_in_chunks(**{"net": network(**CASES["order 1"]), "x": points(5, 2), **arguments})


PEAK = """
import resource, sys

def peak():
    try:  # of this process alone: the other number begins with that of the process that started it
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
GOES_THROUGH = """
import torch
import riemlib as rl

torch.set_num_threads(1)
width, n, budget = map(int, sys.argv[1:])
net, x = rl.CkNetwork([width] * 11, seed=0), torch.randn(n, width)

def reduced(x, memory):
    return [rl.balls_of(part.P[0], 1.0).log_volume.mean() for part in rl.geometry_in_chunks(net, x, memory=memory)]

reduced(x[:1000], 2**20)
before = peak()
reduced(x, budget)
print(peak() - before)
"""


def growth(script: str, *arguments: int) -> int:
    """What a script prints in a process of its own: how many bytes its memory grew by."""
    command = [sys.executable, "-c", PEAK + script, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "n"), [(2, 600_000), (16, 6000)])
def test_the_memory_stays_within_the_budget(width, n):
    """The control: with a budget for all points it is several times as much."""
    budget = 2**25
    assert growth(GOES_THROUGH, width, n, budget) < budget < 3 * budget < growth(GOES_THROUGH, width, n, 2**40)
