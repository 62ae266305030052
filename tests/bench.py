"""Speed: riemlib and its competitors side by side, in one run on this machine (`make bench`; `--quick`: tiny sizes, to try it).

The competitors of a group take turns, so that whatever else the machine does hits all alike. Times are medians. What they compute is
compared first: a competitor with another answer ends the run. The table is printed, and written to build/bench with a figure of growth.
`--publish` also puts the record where the book takes its page "Speed" from.
"""

import argparse
import datetime
import gc
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev, stack_module_state, vmap

import riemlib as rl
from riemlib import engines
from riemlib.companion.book import speed
from riemlib.companion.provenance import ROOT

DEPTH, BATCH, RATE, SAMPLE = 10, 300, 1e-2, 1000  # layers, points of a minibatch, learning rate, points of a sample
ENOUGH = 15.0  # seconds for the turns of a group
TURN = 0.2  # seconds of a turn
GIB = 2**30


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    plane: int = 100_000  # points at width 2
    wide: int = 1_000  # points at larger widths
    networks: int = 100
    updates: int = 1_000  # of the compiled trainer at width 2; the others do a part of it
    rounds: int = 7
    reduced: int = 10**7  # points whose volumes are computed in chunks
    images: int = 4
    curve: int = 99  # sizes of each curve of growth, at most


QUICK = Sizes(plane=500, wide=50, networks=3, updates=20, rounds=1, reduced=10_000, images=1, curve=3)


@dataclass(frozen=True)
class Row:
    """A competitor: what it does `work` times (its time is divided by that). The first row of a group is riemlib's.

    promise: how many times riemlib's time it must take. checked: whether it returns, as a list of tensors, what riemlib returns.
    """

    name: str
    call: Callable[[], object]
    promise: float | None = None
    work: float = 1.0
    checked: bool = False
    note: str = ""


@dataclass(frozen=True)
class Group:
    title: str
    rows: list[Row]


# The metric at every layer, g <- J^T g J, as others would compute it.


def by_hand(net: rl.CkNetwork, x: Tensor) -> list[Tensor]:
    """The closed form, points first: J = I + diag(f') W."""
    layers, identity = [], torch.eye(x.shape[1], device=x.device)
    for W, b in zip(net.weights, net.biases, strict=True):
        layers.append((W, f := torch.tanh(x @ W.T + b)))
        x = x + f
    metrics = [identity.expand(len(x), -1, -1)]
    for W, f in reversed(layers):
        J = identity + (1 - f * f)[..., None] * W
        metrics.append(J.mT @ metrics[-1] @ J)
    return metrics[::-1]


def by_layer(jacobian: Callable[[Callable, Tensor], Tensor], net: rl.CkNetwork, x: Tensor) -> list[Tensor]:
    """The Jacobian of each layer by automatic differentiation. `jacobian` takes a layer, and the points there."""
    layers = [lambda p, W=W, b=b: p + torch.tanh(p @ W.T + b) for W, b in zip(net.weights, net.biases, strict=True)]
    points = [x]
    for layer in layers:
        points.append(layer(points[-1]))
    metrics = [torch.eye(x.shape[1], device=x.device).expand(len(x), -1, -1)]
    for layer, p in zip(layers[::-1], points[-2::-1], strict=True):
        J = jacobian(layer, p)
        metrics.append(J.mT @ metrics[-1] @ J)
    return metrics[::-1]


JACREV = "vmap(jacrev), layer by layer"
#: what makes the Jacobians of a layer at all points
JACOBIANS: dict[str, Callable[[Callable, Tensor], Tensor]] = {
    JACREV: lambda layer, p: vmap(jacrev(layer))(p),
    "vmap(jacfwd), layer by layer": lambda layer, p: vmap(jacfwd(layer))(p),
    "autograd.functional.jacobian, layer by layer": lambda layer, p: torch.autograd.functional.jacobian(
        lambda q: layer(q).sum(0), p
    ).movedim(0, 1),
}
HAND = "closed form by hand, points first"
FORWARD = "floor: forward pass"


def bare_products(net: rl.CkNetwork, P: Tensor) -> None:
    """The matrix products of a sweep and nothing else: P W and P^T P at every layer, for P (n, d, d)."""
    for W in net.weights:
        P = P @ W
        P.mT @ P


def metric_group(width: int, n: int, promises: dict[str, float], device: str) -> Group:
    net = rl.CkNetwork([width] * (DEPTH + 1), seed=0, dtype=torch.float32, device=device).requires_grad_(False)
    x = torch.randn(n, width, generator=torch.Generator().manual_seed(0)).to(device)
    g = [each.clone() for each in rl.pullback_metrics(net, x)]
    summed = "of the sum over points, so one pass for each output"
    rows = [
        Row("riemlib.pullback_metrics", lambda: rl.pullback_metrics(net, x), checked=True),
        Row(HAND, lambda: by_hand(net, x), checked=True),
        *(
            Row(name, lambda j=j: by_layer(j, net, x), checked=True, note=summed if "functional" in name else "")
            for name, j in JACOBIANS.items()
        ),
        Row("floor: the matrix products alone", lambda: bare_products(net, g[0])),
        Row(FORWARD, lambda: net(x)),
        Row("floor: a copy of the output", lambda: [each.clone() for each in g]),
    ]
    return Group(f"Metric at every layer: width {width}, {n} points, depth {DEPTH}", promised(rows, promises))


def promised(rows: list[Row], promises: dict[str, float]) -> list[Row]:
    """The rows with what is promised of each."""
    return [replace(row, promise=promises.get(row.name)) for row in rows]


def balls_groups(width: int, n: int, device: str) -> list[Group]:
    """Balls, against one decomposition of the same matrices: at most 1.3 times its time."""
    net = rl.CkNetwork([width] * (DEPTH + 1), seed=0, dtype=torch.float32, device=device).requires_grad_(False)
    x = torch.randn(n, width, generator=torch.Generator().manual_seed(0)).to(device)
    layer = DEPTH - 2  # further down, some eigenvalues of g are lost in its rounding
    g, P = rl.pullback_metrics(net, x)[layer].contiguous(), rl.pushforward(net, x, layer).contiguous()
    from_metric = [Row("riemlib.balls", lambda: rl.balls(g, 0.1)), Row("floor: torch.linalg.eigh", lambda: torch.linalg.eigh(g), 1 / 1.3)]
    from_pushforward = [
        Row("riemlib.balls_of", lambda: rl.balls_of(P, 0.1)),
        Row("floor: torch.linalg.svd", lambda: torch.linalg.svd(P), 1 / 1.3),
    ]
    size = f"{n} points, width {width}"
    return [Group(f"Balls from the metric: {size}", from_metric), Group(f"Balls from the pushforward: {size}", from_pushforward)]


# Training: the same weights at the start, the same minibatches, Adam. Each returns the losses of the first updates of two networks.


@dataclass(frozen=True)
class Task:
    """Points of two classes, on a device, for networks of one width."""

    width: int
    device: str

    @property
    def points(self) -> tuple[Tensor, Tensor]:
        x = torch.randn(SAMPLE, self.width, generator=torch.Generator().manual_seed(1))
        return x.to(self.device), (x[:, 0] * x[:, 1] > 0).long().to(self.device)

    def network(self, seed: int) -> rl.CkNetwork:
        return rl.CkNetwork([self.width] * (DEPTH + 1), seed=seed, dtype=torch.float32, device=self.device)

    def minibatches(self, seeds: Sequence[int], updates: int) -> Iterator[Tensor]:
        return islice(engines.minibatches(seeds, SAMPLE, BATCH), updates)


def first(losses: Tensor) -> list[Tensor]:
    """Of losses (networks, updates) those that are compared: later the rounding of float32 has grown."""
    return [losses[:2, :10].detach().cpu()]


class Plain(nn.Module):
    """The network, as a tutorial would write it."""

    def __init__(self, net: rl.CkNetwork):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(W.shape[1], W.shape[0]) for W in net.weights)
        self.readout = nn.Linear(net.readout.in_features, net.readout.out_features)
        self.to(net.readout.weight.device)
        names = [f"layers.{l}.{kind}" for kind in ("weight", "bias") for l in range(len(self.layers))]
        values = [*net.weights, *net.biases]
        self.load_state_dict({**dict(zip(names, values, strict=True)), **{f"readout.{k}": v for k, v in net.readout.state_dict().items()}})

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.readout(x)


def with_riemlib(task: Task, engine: str, seeds: int, updates: int) -> list[Tensor]:
    settings = dict(batch_size=BATCH, updates=updates, learning_rate=RATE, schedule="constant", progress=False)
    return first(rl.fit(task.network(0), task.points, seeds=range(seeds), engine=engine, device=task.device, **settings).loss)


def plain_loop(task: Task, seeds: int, updates: int) -> list[Tensor]:
    """One network after the other."""
    losses, (x, label) = [], task.points
    for seed in range(seeds):
        model = Plain(task.network(seed))
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
        for (rows,) in task.minibatches([seed], updates):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), label[rows])
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return first(torch.stack(losses).unflatten(0, (seeds, updates)))


def stacked(task: Task, seeds: int, updates: int) -> list[Tensor]:
    """All networks at once by torch's recipe for ensembles: stacked parameters, and vmap over the networks."""
    models, (x, label) = [Plain(task.network(seed)) for seed in range(seeds)], task.points
    parameters, losses = stack_module_state(models)[0], []

    def loss(parameters, x, label):
        return nn.functional.cross_entropy(functional_call(models[0], parameters, (x,)), label)

    optimiser = torch.optim.Adam(parameters.values(), lr=RATE)
    for rows in task.minibatches(range(seeds), updates):
        optimiser.zero_grad()
        each = vmap(loss)(parameters, x[rows], label[rows])
        each.sum().backward()
        optimiser.step()
        losses.append(each.detach())
    return first(torch.stack(losses, 1))


def with_jax(task: Task, seeds: int, updates: int) -> Callable[[], list[Tensor]]:
    """All networks and all updates in one compiled call. Compiling, and drawing the minibatches, are left out of its time."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    x, label = (jnp.asarray(part.numpy()) for part in task.points)
    parts = [[p.detach().numpy() for p in task.network(seed).parameters()] for seed in range(seeds)]
    start = [jnp.stack(part) for part in zip(*parts, strict=True)]  # weights, biases, readout
    drawn = jnp.asarray(torch.stack([*task.minibatches(range(seeds), updates)], 1).numpy())

    def loss(parameters, rows):
        *layers, V, c = parameters
        y = x[rows]
        for W, b in zip(layers[:DEPTH], layers[DEPTH:], strict=True):
            y = y + jnp.tanh(y @ W.T + b)
        logits = jax.nn.log_softmax(y @ V.T + c)
        return -jnp.take_along_axis(logits, label[rows][:, None], 1).mean()

    def update(state, rows):
        parameters, mean, square, number = state
        value, gradient = jax.value_and_grad(loss)(parameters, rows)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
        step, root = RATE / (1 - 0.9**number), jnp.sqrt(1 - 0.999**number)
        parameters = jax.tree.map(lambda p, m, s: p - step * m / (jnp.sqrt(s) / root + 1e-8), parameters, mean, square)
        return (parameters, mean, square, number + 1), value

    def train(parameters, rows):
        zero = jax.tree.map(jnp.zeros_like, parameters)
        return jax.lax.scan(update, (parameters, zero, zero, 1.0), rows)[1]

    compiled = jax.jit(jax.vmap(train))
    return lambda: first(torch.from_numpy(np.array(compiled(start, drawn))))


PLAIN, TORCH, JAX = "a plain loop, one network after the other", "riemlib.fit, torch", "JAX: jit(vmap), lax.scan over the updates"


def training_group(width: int, sizes: Sizes, promises: dict[str, float], device: str) -> Group:
    """Each competitor does as many updates as its speed allows; the compiled loop is on the CPU only."""
    task, seeds = Task(width, device), sizes.networks

    def row(name: str, train: Callable[[int, int], object], seeds: int, updates: int, note: str = "") -> Row:
        return Row(name, lambda: train(seeds, updates), work=seeds * updates, checked=True, note=note)

    many, some, few = (max(10, sizes.updates // share) for share in (1, 10, 20))
    if width > 2:
        many = some
    rows = [row(TORCH, lambda s, u: with_riemlib(task, "torch", s, u), seeds, few)]
    if device == "cpu":
        rows.insert(0, row("riemlib.fit, compiled", lambda s, u: with_riemlib(task, "fused", s, u), seeds, many))
    rows.append(row("torch: vmap over stacked networks", lambda s, u: stacked(task, s, u), seeds, few))
    rows.append(row(PLAIN, lambda s, u: plain_loop(task, s, u), 2, few))
    if device == "cpu" and find_spec("jax"):
        jax = with_jax(task, seeds, some)
        rows.append(row(JAX, lambda s, u: jax(), seeds, some, "without the time to compile it and to draw the minibatches"))
    title = f"Training, time of one network and update: {seeds} networks, width {width}, depth {DEPTH}, minibatches of {BATCH}"
    return Group(title, promised(rows, promises))


# All groups.

METRICS = [  # width, points, promises
    (2, "plane", {JACREV: 20, HAND: 10, FORWARD: 1}),
    (8, "wide", {}),
    (16, "wide", {JACREV: 5, HAND: 2}),
    (64, "wide", {JACREV: 2.4, HAND: 1}),
]
TRAININGS = [(2, {PLAIN: 120, TORCH: 6, JAX: 5}), (8, {PLAIN: 20})]


def groups(sizes: Sizes, device: str) -> Iterator[Group]:
    for width, points, promises in METRICS:
        yield metric_group(width, getattr(sizes, points), promises, device)
    for width, points in ((2, sizes.plane), (16, sizes.wide)):
        yield from balls_groups(width, points, device)
    for width, promises in TRAININGS:
        yield training_group(width, sizes, promises, device)


# Measuring.


def clocked(call: Callable[[], object], device: str) -> float:
    """The time of one call in seconds, to the end of what it asked of a GPU."""
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(calls: Sequence[Callable[[], object]], rounds: int, device: str = "cpu") -> list[float]:
    """The median time of each call. They take turns, after one turn that does not count; after `ENOUGH` seconds three turns do."""
    for call in calls:
        clocked(call, device)
    gc.collect()
    start, times = time.perf_counter(), []
    while len(times) < rounds and (len(times) < 3 or time.perf_counter() - start < ENOUGH):
        times.append([turn(call, device) for call in calls])
    return [statistics.median(each) for each in zip(*times, strict=True)]


def turn(call: Callable[[], object], device: str) -> float:
    """The median time of a call in a turn of `TURN` seconds, in which it is made once at least.

    In the first half the caches and the waiting threads may still be as another competitor left them. So only the second half counts.
    """
    start, times = time.perf_counter(), []
    while not times or time.perf_counter() - start < TURN:
        times.append(clocked(call, device))
    return statistics.median(times[len(times) // 2 :])


def compare(rows: Sequence[Row]) -> None:
    """Errors: ValueError where a competitor's answer is not riemlib's, to 1e-3 of its largest number."""
    own, *others = [row for row in rows if row.checked] or [None]
    for row in others:
        for ours, theirs in zip(own.call(), row.call(), strict=True):
            if not (ours - theirs).abs().max() <= 1e-3 * ours.abs().max():
                raise ValueError(f"{row.name} computes something else than {own.name}; the same answer is needed for a comparison")


def measure(group: Group, rounds: int, device: str) -> dict[str, float]:
    """Row -> seconds."""
    compare(group.rows)
    times = medians([row.call for row in group.rows], rounds, device)
    return {row.name: seconds / row.work for row, seconds in zip(group.rows, times, strict=True)}


def recorded(group: Group, cpu: dict[str, float], gpu: dict[str, float]) -> dict:
    """A group as the record holds it (`riemlib.companion.book.speed`)."""
    own, rows = cpu[group.rows[0].name], []
    for row in group.rows:
        ratio = cpu[row.name] / own
        needed = None if row.promise is None else f"at least {row.promise:.3g}"
        holds = None if row.promise is None else ratio >= row.promise
        found = {"cpu": cpu[row.name], "ratio": ratio, "promise": needed, "holds": holds, "gpu": gpu.get(row.name), "note": row.note}
        rows.append({"name": row.name, **found})
    return {"title": group.title, "rows": rows}


# What runs alone, in a process of its own, for its memory.


def peak() -> float:
    """The most memory that this process had so far, in GiB. From Linux where it tells: getrusage counts what started this process too."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return int(found[1]) * 1024 / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB


def reduced(n: int) -> dict[str, float]:
    """Volume and condition number of the metric at the input for n points at width 2, computed in chunks."""
    net, x = rl.CkNetwork([2] * (DEPTH + 1), seed=0, dtype=torch.float32), torch.randn(n, 2)
    volume, condition, done, start = torch.empty(n), torch.empty(n), 0, time.perf_counter()
    for part in rl.geometry_in_chunks(net, x):
        balls, here = rl.balls_of(part.P[0], 1.0), slice(done, done + len(part.P[0]))
        volume[here], condition[here], done = balls.log_volume, balls.condition_number, here.stop
    return {"seconds": time.perf_counter() - start, "memory": peak()}


def leading(images: int) -> dict[str, float]:
    """The 8 leading directions at images, 3 × 32 × 32, of a small convolutional network, and how far their values are from dense ones."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.Tanh(), nn.Conv2d(16, 32, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(2048, 256)
    ).requires_grad_(False)
    x = torch.rand(images, 3, 32, 32)
    rl.leading_directions(net, x[:1], k=8)  # does not count
    start = time.perf_counter()
    values = rl.leading_directions(net, x, k=8).values
    seconds, memory = (time.perf_counter() - start) / images, peak()
    dense = torch.stack([torch.linalg.svdvals(jacrev(net)(p[None]).reshape(256, -1))[:8].square() for p in x])
    return {"seconds": seconds, "memory": memory, "difference": float(((values - dense) / dense).abs().max())}


def alone(function: Callable[[int], dict[str, float]], size: int) -> dict[str, float]:
    """What a function of this module returns in a new process."""
    command = [sys.executable, __file__, "--alone", function.__name__, str(size)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def limit(name: str, value: float, unit: str, most: float | None = None) -> dict:
    """A single number as the record holds it."""
    needed = None if most is None else f"at most {most:g}"
    return {"name": name, "value": value, "unit": unit, "promise": needed, "holds": None if most is None else value <= most}


def memory_limits(sizes: Sizes) -> Iterator[dict]:
    found = alone(reduced, sizes.reduced)
    what = f"volume and condition number of {sizes.reduced} points, width 2, depth {DEPTH}, in chunks"
    yield limit(f"{what}: peak memory", found["memory"], "GiB", 4)
    yield limit(f"{what}: time", found["seconds"], "s")
    found, what = alone(leading, sizes.images), "8 leading directions at 3072 inputs of a convolutional network"
    yield limit(f"{what}: peak memory", found["memory"], "GiB", 1)
    yield limit(f"{what}: time of a point", found["seconds"], "s")
    yield limit(f"{what}: difference from the dense values", found["difference"], "", 1e-4)


# Growth.


def metric_call(points: int = 20_000, depth: int = DEPTH, width: int = 2) -> Callable[[], object]:
    net = rl.CkNetwork([width] * (depth + 1), seed=0, dtype=torch.float32).requires_grad_(False)
    x = torch.randn(points, width, generator=torch.Generator().manual_seed(0))
    return lambda: rl.pullback_metrics(net, x)


#: axis, what is timed, its sizes, the call for a size, whether its exponent is promised to be 1
CURVES = [
    # For more points the system gives new memory with every call, and to clear it takes as long as the sweep.
    ("points", "metric at width 2", (20_000, 30_000, 45_000, 70_000, 100_000, 160_000), lambda n: metric_call(points=n), True),
    ("depth", "metric of 20000 points", (5, 10, 20, 40, 80), lambda depth: metric_call(depth=depth), True),
    ("width", "metric of 1000 points", (2, 4, 8, 16, 32, 64), lambda width: metric_call(1_000, width=width), False),
    ("networks", "training, 500 updates", (20, 40, 80, 160, 320), lambda n: lambda: with_riemlib(Task(2, "cpu"), "auto", n, 500), True),
]


def fitted(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float]:
    """overhead, factor and exponent of overhead + factor × size^exponent, both at least 0.

    The least squares of the relative errors: for each exponent on a grid of hundredths the best two numbers, then the best exponent.
    """
    n, t = np.array(sizes) / max(sizes), np.array(seconds)

    def best(exponent: float) -> tuple[np.ndarray, float]:
        return nnls(np.stack([np.ones_like(n), n**exponent], 1) / t[:, None], np.ones_like(t))

    exponent = min((hundredths / 100 for hundredths in range(10, 401)), key=lambda exponent: best(exponent)[1])
    overhead, factor = best(exponent)[0]
    return float(overhead), float(factor / max(sizes) ** exponent), exponent


def curve(axis: str, what: str, sizes: Sequence[int], call: Callable, promised: bool, rounds: int) -> dict:
    """A curve of growth as the record holds it."""
    seconds = medians([call(size) for size in sizes], rounds)
    overhead, factor, exponent = fitted(sizes, seconds)
    found = {"sizes": list(sizes), "seconds": seconds, "overhead": overhead, "factor": factor, "exponent": exponent}
    return {"axis": axis, "what": what, **found, "promised": promised}


def exponent_limit(curve: dict) -> dict:
    promised, value = curve["promised"], curve["exponent"]
    found = {"promise": "1.0 ± 0.1" if promised else None, "holds": round(abs(value - 1), 9) <= 0.1 if promised else None}
    return {"name": f"{curve['what']}, growth with {curve['axis']}: exponent", "value": value, "unit": "", **found}


# The record.


def machine() -> dict:
    """Where it was measured."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": found[1] if found else platform.processor() or platform.machine(), "cores": os.cpu_count(), "gpu": gpu}


def versions() -> dict[str, str]:
    packages = [name for name in ("torch", "numpy", "numba", "jax") if find_spec(name)]
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def run(sizes: Sizes, quick: bool) -> dict:
    """Measures everything and prints each table as soon as it is there."""
    record = {"date": datetime.date.today().isoformat(), "machine": machine(), "versions": versions()}
    record |= {"threads": torch.get_num_threads(), "load": os.getloadavg()[0], "quick": quick, "groups": [], "growth": []}
    record["limits"] = [*memory_limits(sizes)]
    print(speed.conditions(record), flush=True)
    on_gpu = groups(sizes, "cuda") if torch.cuda.is_available() else repeat(None)
    for group, same in zip(groups(sizes, "cpu"), on_gpu, strict=False):
        gpu = measure(same, sizes.rounds, "cuda") if same else {}
        record["groups"].append(recorded(group, measure(group, sizes.rounds, "cpu"), gpu))
        print(f"\n{group.title}\n{speed.plain(speed.head(record), speed.table(record['groups'][-1]))}", flush=True)
    for axis, what, steps, call, promised in CURVES:
        record["growth"].append(curve(axis, what, steps[: sizes.curve], call, promised, 3 * sizes.rounds))
    record["limits"] += map(exponent_limit, record["growth"])
    print(f"\n{speed.plain(speed.LIMITS, speed.limits(record['limits']))}")
    if not find_spec("jax"):
        print("\nno jax here: its rows are left out")
    return record


def write(record: dict, folder: Path, publish: bool) -> None:
    """The record as JSON and the figure of growth; where published, the record for the book as well."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(text, encoding="utf-8")
    speed.growth(record["growth"]).savefig(folder / "growth.png")
    if publish:
        (ROOT / speed.RECORD).write_text(text, encoding="utf-8")
    print(f"\nwritten: {folder / 'bench.json'}, {folder / 'growth.png'}{f', {speed.RECORD}' if publish else ''}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it runs")
    parser.add_argument("--publish", action="store_true", help="put the record where the book takes it from")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "bench", help="folder to write to")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.alone:
        function, size = given.alone
        print(json.dumps({"reduced": reduced, "leading": leading}[function](int(size))))
        return
    if given.quick and given.publish:
        parser.error("tiny sizes measure nothing: --publish without --quick is needed")
    write(run(QUICK if given.quick else Sizes(), given.quick), given.to, given.publish)


if __name__ == "__main__":
    main()
