"""Studies: conditions × seeds, cut into shards that any process, here or on a cluster, computes to the same bits (section 7).

A shard is the unit of work, of retry and of keeping: one condition, up to `SHARD` seeds. What is finished lies in build/studies (or the
folder RIEMLIB_STUDIES) as safetensors, under a digest of its condition, its seeds and the code that made it; a study that was killed
goes on from there.
"""

import contextlib
import copy
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors
import torch
from jaxtyping import Float
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from safetensors.numpy import save
from torch import Tensor
from tqdm import tqdm as tqdm_plain
from tqdm.auto import tqdm

from . import charts, checks, topology
from .manifolds import Sample, annulus, polar, spiral
from .metric import condition_number, log_volume, pullback_metrics
from .networks import CkNetwork, evolve
from .provenance import hashed, syntax
from .training import Outcome, fit, unstack

SHARD = 100  #: seeds
ATTEMPTS = 3  #: how often a shard is tried whose worker dies
#: The modules that a shard's numbers depend on: a change in one of them, comments and docstrings aside, makes kept shards stale.
MODULES = ("charts", "checks", "manifolds", "metric", "networks", "studies", "topology", "training")
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "shapely")


@dataclass(frozen=True)
class Condition:
    """What is trained: data, network, training. The defaults are the base that the sensitivity strips vary one setting at a time."""

    order: int | tuple[int, ...] = 1
    depth: int = 10
    width: int = 2  # of the network; the points are padded with zeros to it
    step: float = 1.0
    shared: bool = False  # one set of weights for all layers
    data: str = "spiral"  # or "annulus"
    points: int = 1000
    turns: float = 1.0
    chart: str = "cartesian"  # of the input; or "polar", or "unwound": polar with the angle unwound along the spiral
    batch_size: int = 300
    updates: int = 800
    learning_rate: float = 1e-2  # at the start; cosine decay to 0

    def sample(self, points: int | None = None, dtype: torch.dtype | None = None) -> Sample:
        """The training points, or the same manifold sampled by so many points."""
        if self.data not in ("spiral", "annulus") or self.chart not in ("cartesian", "polar", "unwound"):
            given = f"data is {self.data!r}, chart {self.chart!r}"
            raise ValueError(f"{given}; spiral or annulus, and cartesian, polar or unwound are needed")
        checks.integer("width", self.width, 2)
        where = {"dtype": dtype or torch.float32, "device": "cpu"}
        count = points or self.points
        found = spiral(count, turns=self.turns, **where) if self.data == "spiral" else annulus(count, **where)
        if self.chart != "cartesian":
            found = polar(found, turns=self.turns if self.chart == "unwound" else None)
        return replace(found, x=torch.nn.functional.pad(found.x, (0, self.width - 2)))

    def template(self) -> CkNetwork:
        """A network of this condition, to be filled with weights."""
        kind = {"order": self.order, "step": self.step, "shared": self.shared}
        return CkNetwork([self.width] * (self.depth + 1), **kind, seed=0, dtype=torch.float32, device="cpu")


@dataclass(frozen=True)
class Runs(Outcome):
    """A condition's trained networks, a row for each seed; a diverged seed is a row with error NaN."""

    condition: Condition
    seeds: tuple[int, ...]
    error: Float[Tensor, " seeds"]  # share of all points misclassified
    late_loss: Float[Tensor, " seeds"]  # mean over the last tenth of updates, in nats
    parameters: Float[Tensor, "seeds parameters"]
    measured: dict[str, Tensor] = field(default_factory=dict)  # name -> (seeds, ...), float64

    def network(self, i: int) -> CkNetwork:
        """The i-th trained network."""
        net = copy.deepcopy(self.condition.template())
        torch.nn.utils.vector_to_parameters(self.parameters[i], net.parameters())
        return net.requires_grad_(False)


# What is measured. Each function looks at all networks of a shard at once and returns tensors with a row for each.


class View:
    """Trained networks of one condition, in float64, and the images of curves under them."""

    def __init__(self, runs: Runs, curve_points: int = 4000):
        self.runs, self.template = runs, runs.condition.template().double()
        self.stack = unstack(self.template, runs.parameters.double())
        self.curve = runs.condition.sample(curve_points, torch.float64)
        self.points = runs.condition.sample(dtype=torch.float64)

    def path(self, x: Float[Tensor, "*seeds points dim"]) -> Float[Tensor, "seeds layers points dim"]:
        """Points at every layer of every network; the same points for all, or some for each."""
        x = x.expand(len(self.runs.seeds), -1, -1).mT
        states = evolve([x], *self.stack[1:], self.template.stencils, self.template.activation)
        return torch.stack([state[0] for state in states], 1).mT

    @cached_property
    def curves(self) -> Float[Tensor, "seeds layers points dim"]:
        return self.path(self.curve.x)

    @cached_property
    def networks(self) -> list[CkNetwork]:
        nets = []
        for row in self.runs.parameters.double():
            torch.nn.utils.vector_to_parameters(row, self.template.parameters())
            nets.append(copy.deepcopy(self.template).requires_grad_(False))
        return nets


def smoothness(view: View) -> dict[str, Tensor]:
    """The roughness of the curves' way through the layers."""
    return {"roughness": topology.roughness(view.curves)}


def stretch(view: View) -> dict[str, Tensor]:
    """Of the curves at every layer, the length over the diameter and the largest gap over the mean gap."""
    label = view.curve.label
    return {"length": topology.length(view.curves, label), "gap ratio": topology.gap_ratio(view.curves, label)}


def flatness(view: View) -> dict[str, Tensor]:
    """At every layer, the total curvature of the curves, and the accuracy of a linear probe on the training points."""
    probe = [[topology.linear_probe(x, view.points.label) for x in path] for path in view.path(view.points.x)]
    return {"turning": topology.turning(view.curves, view.curve.label), "probe": torch.tensor(probe, dtype=torch.float64)}


def connectedness(view: View) -> dict[str, Tensor]:
    """At every layer, into how many components 200 points an arm fall at 5 % of the diameter; at the last, gaps as they are refined."""
    sparse = view.runs.condition.sample(400, torch.float64)
    gaps = [topology.refined_gaps(lambda x: view.path(x)[:, -1], arm.expand(len(view.runs.seeds), -1, -1)) for arm in _arms(view.points)]
    return {"components": topology.components(view.path(sparse.x), sparse.label), "refined gaps": torch.stack(gaps, 1)}


def crossings(view: View) -> dict[str, Tensor]:
    """Whether the two arms' images cross, at every layer; and the share of 40 000 points along the arms that are misclassified."""
    first, second = _arms(view.curve)
    dense = view.runs.condition.sample(40_000, torch.float64)
    depth = view.runs.condition.depth

    def at(net: CkNetwork, layer: int) -> bool:
        return topology.cross(lambda x: net.coordinates(x)[layer], first, second)

    crosses = [[at(net, layer) for layer in range(depth + 1)] for net in view.networks]
    wrong = [(net(dense.x).argmax(1) != dense.label).double().mean() for net in view.networks]
    return {"crosses": torch.tensor(crosses, dtype=torch.float64), "error along the arms": torch.stack(wrong)}


def conditioning(view: View) -> dict[str, Tensor]:
    """Of the metric at the input, medians over 100 points: the logarithm of its condition number (base 10), and its log-volume (nats)."""
    x = view.points.x[:: max(1, len(view.points) // 100)]
    metrics = [pullback_metrics(net, x)[0] for net in view.networks]
    return {
        "log condition": torch.stack([condition_number(g).median().log10() for g in metrics]),
        "log volume": torch.stack([log_volume(g).median() for g in metrics]),
    }


def certificates(view: View) -> dict[str, Tensor]:
    """The share of layers certified as charts (section 2)."""
    return {"certified": torch.tensor([charts.certificates(net) for net in view.networks], dtype=torch.float64).mean(1)}


MEASURES: dict[str, Callable[[View], dict[str, Tensor]]] = {
    f.__name__: f for f in (smoothness, stretch, connectedness, crossings, flatness, conditioning, certificates)
}


def _arms(sample: Sample) -> list[Tensor]:
    return topology.arms(sample.x, sample.label)


# The two kinds of shards.


def train(condition: Condition, seeds: tuple[int, ...], device: str) -> dict[str, Tensor]:
    """Trained weights, errors and late losses of these seeds, brought to the CPU."""
    training = {"batch_size": condition.batch_size, "updates": condition.updates, "learning_rate": condition.learning_rate}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*seeds diverged", RuntimeWarning)  # they are rows that say so
        run = fit(condition.template(), condition.sample(), seeds=seeds, device=device, progress=False, **training)
    parameters = torch.stack([torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in run.networks])
    return {"error": run.error.cpu(), "late_loss": run.late_loss.cpu(), "parameters": parameters.cpu()}


@torch.no_grad()
def measure(condition: Condition, seeds: tuple[int, ...], device: str, name: str, trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """`MEASURES[name]` of trained networks; NaN for a seed that diverged."""
    gone = trained["error"].isnan()
    parameters = trained["parameters"].nan_to_num(0.0, 0.0, 0.0)
    runs = Runs(condition, seeds, trained["error"], trained["late_loss"], parameters)
    found = {key: value.double() for key, value in MEASURES[name](View(runs)).items()}
    return {key: value.masked_fill(gone.view(-1, *[1] * (value.ndim - 1)), torch.nan) for key, value in found.items()}


# The engine.


def study(
    conditions: Mapping[str, Condition],
    *,
    seeds: Iterable[int],
    measures: Sequence[str] = (),
    device: str = "cpu",
    folder: Path | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict[str, Runs]:
    """Trains every condition from every seed and measures the networks: a `Runs` for each condition, under its name.

    Shards run in `workers` processes of one thread each (as many as torch has threads, unless given; 1 stays in this process), or on the
    dask cluster whose `scheduler` address is given here or in RIEMLIB_SCHEDULER. The numbers do not depend on which, nor on the other
    conditions. Conditions that are equal are trained once. Kept shards are read from `folder` (or RIEMLIB_STUDIES, or build/studies), new
    ones written there as they finish; a damaged one is computed anew. A shard whose worker dies is tried again, `ATTEMPTS` times in all.
    `device` is where networks are trained; on another than the CPU one after the other, from this process. Measures are taken on the CPU.
    Errors: ValueError for no or repeated seeds, or an unknown measure; RuntimeError where workers keep dying.

    >>> runs = study({"base": Condition()}, seeds=range(100), measures=["stretch"])  # doctest: +SKIP
    """
    seeds = checks.integers("seeds", seeds, 0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {list(seeds)}; at least one, each once, is needed")
    if unknown := [name for name in measures if name not in MEASURES]:
        raise ValueError(f"measures are {list(measures)}, {unknown} unknown; some of {', '.join(MEASURES)} are needed")
    shards = [seeds[i : i + SHARD] for i in range(0, len(seeds), SHARD)]
    device = str(device)
    cells = [(condition, shard, device) for condition in dict.fromkeys(conditions.values()) for shard in shards]
    how = {"folder": folder, "workers": workers, "scheduler": scheduler, "progress": progress}
    here = how if device == "cpu" else how | {"workers": 1, "scheduler": ""}
    trained = dict(zip(cells, compute([Task(train, cell) for cell in cells], **here), strict=True))
    wanted = [(cell, name) for cell in cells for name in measures]
    found = dict(zip(wanted, compute([Task(measure, (*cell, name), (trained[cell],)) for cell, name in wanted], **how), strict=True))

    def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.cat([part[key] for part in parts]) for key in sorted(parts[0])}

    runs = {}
    for name, condition in conditions.items():
        measured = [joined([found[(condition, shard, device), each] for shard in shards]) for each in measures]
        merged = {key: value for part in measured for key, value in part.items()}
        runs[name] = Runs(condition, seeds, **joined([trained[condition, shard, device] for shard in shards]), measured=merged)
    return runs


@dataclass(frozen=True)
class Task:
    """A function of this module with the arguments that name its result, and further ones that follow from these."""

    function: Callable[..., dict[str, Tensor]]
    arguments: tuple
    inputs: tuple = ()

    @cached_property
    def key(self) -> str:
        named = [asdict(a) if isinstance(a, Condition) else a for a in self.arguments]
        return hashed([self.function.__name__, named, code()])


@cache
def code() -> list:
    """What a shard's numbers depend on: the modules, and the libraries they compute with."""
    here = Path(__file__).parent
    return [*(version(name).partition("+")[0] for name in LIBRARIES), *(syntax(here / f"{name}.py") for name in MODULES)]


def compute(
    tasks: Sequence[Task],
    *,
    folder: Path | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> list[dict[str, Tensor]]:
    """The results of the tasks, in their order: kept ones read, missing ones computed (see `study`) and kept."""
    folder = Path(folder or os.environ.get("RIEMLIB_STUDIES") or Path(__file__).parents[1] / "build" / "studies")
    folder.mkdir(parents=True, exist_ok=True)
    scheduler = (os.environ.get("RIEMLIB_SCHEDULER") if scheduler is None else scheduler) or None
    workers = checks.integer("workers", torch.get_num_threads() if workers is None else workers, 1)
    results = {task.key: read(folder / f"{task.key}.safetensors") for task in tasks}
    todo = {task.key: task for task in tasks if results[task.key] is None}
    with bar(len(todo), tasks[0].function.__name__ if tasks else "", progress) as shown:
        for _ in range(ATTEMPTS):
            try:
                for key, result in _each(list(todo.values()), workers, scheduler):
                    write(result, folder / f"{key}.safetensors")
                    results[key] = result
                    del todo[key]
                    shown.update()
            except TerminatedWorkerError:
                continue  # what was finished is kept; the rest is tried again
            break
    if todo:
        lost = ", ".join(str(task.arguments[0]) for task in todo.values())
        raise RuntimeError(f"workers died {ATTEMPTS} times, of lack of memory for one reason; {len(todo)} shards are missing: {lost}")
    return [{key: torch.from_numpy(value) for key, value in results[task.key].items()} for task in tasks]


def _each(tasks: list[Task], workers: int, scheduler: str | None) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Keys and results, in the order in which they are finished."""
    if not tasks:
        return
    if scheduler is None and workers == 1:
        yield from (work(task.key, task.function, task.arguments, task.inputs) for task in tasks)
        return
    if scheduler:
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker

        with Client(scheduler, set_as_default=False) as client:
            futures = [client.submit(work, task.key, task.function, task.arguments, task.inputs, pure=False) for task in tasks]
            try:
                yield from (future.result() for future in as_completed(futures, loop=client.loop))
            except KilledWorker as reason:
                raise TerminatedWorkerError(str(reason)) from reason
        return
    with parallel_config(backend="loky", inner_max_num_threads=1, n_jobs=workers):
        jobs = (delayed(work)(task.key, task.function, task.arguments, task.inputs) for task in tasks)
        yield from Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")(jobs)


def work(key: str, function: Callable, arguments: tuple, inputs: tuple) -> tuple[str, dict[str, np.ndarray]]:
    """A task, on one thread: what a worker does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return key, {name: value.numpy() for name, value in function(*arguments, *inputs).items()}
    finally:
        torch.set_num_threads(threads)


def write(result: Mapping[str, np.ndarray], path: Path) -> None:
    """A shard with a digest of its contents, written beside and renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(save({name: np.ascontiguousarray(value) for name, value in result.items()}, {"digest": _contents(result)}))
    os.replace(beside, path)


def read(path: Path) -> dict[str, np.ndarray] | None:
    """A kept shard; None where there is none, or it is not what was written."""
    try:
        with safetensors.safe_open(path, "numpy") as kept:
            result = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118  not a mapping
            return result if kept.metadata()["digest"] == _contents(result) else None
    except (OSError, safetensors.SafetensorError, KeyError, TypeError):
        return None


def _contents(result: Mapping[str, np.ndarray]) -> str:
    parts = hashlib.sha256()
    for name in sorted(result):
        value = np.ascontiguousarray(result[name])
        parts.update(json.dumps([name, str(value.dtype), value.shape]).encode() + value.tobytes())
    return parts.hexdigest()


@contextlib.contextmanager
def bar(total: int, what: str, progress: bool) -> Iterator[tqdm]:
    """Shards done and the time left: here, or on the terminal that RIEMLIB_TERMINAL names, from which `riemlib.paper` was started."""
    settings = {"total": total, "desc": f"{what} shards", "unit": "shard", "leave": False}
    terminal = os.environ.get("RIEMLIB_TERMINAL")
    silent = not progress or not total or (not terminal and bool(os.environ.get("TQDM_DISABLE")))
    with contextlib.ExitStack() as stack:
        if silent or not terminal:
            yield stack.enter_context(tqdm(**settings, disable=silent))
        else:
            file = stack.enter_context(open(terminal, "w", encoding="utf-8"))
            yield stack.enter_context(tqdm_plain(**settings, file=file, position=1, disable=False))
