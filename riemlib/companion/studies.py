"""Studies: networks trained under many conditions from many seeds, and what is measured of them, as tidy tables (section 7).

The unit of work is a shard: one condition, up to `SHARD` seeds (`shards` computes and keeps them). The tables have a row for each number:
the settings of its condition, its seed, the columns that say where it was measured, and the value.
"""

import hashlib
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from .. import charts, checks, curves
from ..data import Sample, annulus, as_sample, polar, spiral
from ..ellipsoids import balls_of
from ..metric import pushforward
from ..networks import CkNetwork
from ..training import Ensemble, TrainingResult, fit
from .shards import Task, compute

SHARD = 100  #: seeds

#: The settings of a condition that `fit` takes
TRAINING = ("batch_size", "updates", "learning_rate", "optimiser", "schedule")

#: name -> data: a function of the number of points and of dtype=, that returns a Sample or a pair (x, label)
DATA: dict[str, Callable[..., Sample | tuple]] = {"spiral": spiral, "annulus": annulus}


@dataclass(frozen=True)
class Condition:
    """What is trained: data, network, training. The defaults are the base that the sensitivity strips vary one setting at a time.

    `data` is a name in `DATA`, or a function f(points, dtype=...) that returns a Sample or a pair (x, label). Other processes have to find
    the function. So it stands at the top of a module that can be imported. `data` then holds its dotted name, "module.function".
    Errors: ValueError for another function, such as a lambda, or one of a notebook or of the script that runs.
    """

    order: int | tuple[int, ...] = 1
    depth: int = 10
    width: int = 2  # of the network; the points are padded with zeros to it
    step: float = 1.0
    shared: bool = False  # one set of weights for all layers
    data: str | Callable[..., Sample | tuple] = "spiral"  # or "annulus", or a function
    points: int = 1000
    turns: float = 1.0
    positions: str = "random"  # of the training points along the arms of the spiral, one draw for all; or "even"
    chart: str = "cartesian"  # of the input; or "polar", or "unwound": polar with the angle unwound along the spiral
    batch_size: int = 300
    updates: int = 3000
    learning_rate: float = 1e-2  # at the start
    optimiser: str = "adam"  # or "sgd", with momentum 0.9
    schedule: str = "cosine"  # to 0; or "constant"

    def __post_init__(self):
        if callable(self.data):
            object.__setattr__(self, "data", _dotted(self.data))

    @property
    def network(self) -> str:
        """The kind of network: C0, C1, C2, ... for one order in all layers, else `mixed`."""
        return f"C{self.order}" if isinstance(self.order, int) else "mixed"

    def settings(self) -> dict:
        """The kind of network and all settings, by name: the columns of a table."""
        return {"network": self.network, **asdict(self)}

    def sample(self, points: int | None = None, dtype: torch.dtype | None = None) -> Sample:
        """The training points, or the same manifold with another number of points (as far as a function can give them).

        Those of the spiral are then evenly spaced along the arms, wherever the training points are.
        Errors: ValueError for an unknown name, another number of training points than `points`, points of more than `width` coordinates.
        """
        source, dtype = _source(self.data), dtype or torch.float32
        if source is None or self.chart not in ("cartesian", "polar", "unwound"):
            needed = f"{' or '.join(DATA)} (or a function at the top of a module), and cartesian, polar or unwound are needed"
            raise ValueError(f"data is {self.data!r}, chart {self.chart!r}; {needed}")
        checks.integer("width", self.width, 2)
        with torch.device("cpu"):
            along = {"turns": self.turns, "positions": "even" if points else self.positions} if source is spiral else {}
            given = source(points or self.points, dtype=dtype, **along)
        found, _ = as_sample(given, torch.empty(0, dtype=dtype, device="cpu"))
        if points is None and len(found) != self.points:
            raise ValueError(f"data {self.data!r} has {len(found)} points, points is {self.points}; points={len(found)} is needed")
        found = replace(found, position=getattr(given, "position", None))
        if self.chart != "cartesian":
            found = polar(found, turns=self.turns if self.chart == "unwound" else None)
        missing = self.width - found.x.shape[1]
        if missing < 0:
            raise ValueError(f"width is {self.width}, data {self.data!r} has {found.x.shape[1]} coordinates; at least as many are needed")
        return replace(found, x=torch.nn.functional.pad(found.x, (0, missing)))

    def template(self) -> CkNetwork:
        """A network of this condition, to be filled with weights. It tells apart the classes of the training points, two at least."""
        classes = max(2, 1 + int(self.sample().label.max()))
        kind: dict[str, Any] = {"order": self.order, "step": self.step, "shared": self.shared, "classes": classes}
        return CkNetwork([self.width] * (self.depth + 1), **kind, seed=0, dtype=torch.float32, device="cpu")


def _dotted(function: Callable) -> str:
    """The dotted name under which another process finds a function. Errors: as for `Condition`."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or not name.isidentifier() or getattr(sys.modules.get(module), name, None) is not function:
        called = f"{name or type(function).__name__} of {module}"
        needed = "a function at the top of a module that can be imported is needed, for other processes compute with it"
        raise ValueError(f"data is {called}; {needed}: no lambda, and nothing from a notebook or from the script that runs")
    return f"{module}.{name}"


def _source(name: Any) -> Callable[..., Sample | tuple] | None:
    """The function that data of this name (a str) come from: that of `DATA`, or that of a module. None where there is none."""
    module, _, function = name.rpartition(".")
    if name in DATA or not module:
        return DATA.get(name)
    try:
        return getattr(import_module(module), function, None)
    except ModuleNotFoundError as missing:
        if f"{module}.".startswith(f"{missing.name}."):
            return None
        raise


def without_identity(condition: Condition, layer: int) -> Condition:
    """The residual network (C1) whose identity is left out on the way into one layer, with the other settings of a condition."""
    checks.integer("layer", layer, 1)
    if layer > condition.depth:
        raise ValueError(f"layer is {layer}; one of the layers 1 to {condition.depth} is needed")
    return replace(condition, order=(1,) * (layer - 1) + (0,) + (1,) * (condition.depth - layer))


def plain_layer(order: int | tuple[int, ...]) -> int | None:
    """The layer that the identity is left out on the way into, from 1; None where all layers have the same order."""
    return order.index(0) + 1 if isinstance(order, tuple) else None


@dataclass(frozen=True)
class TrainedNetworks(TrainingResult):
    """The trained networks of one condition, one for each seed. A seed that diverged has error NaN.

    A measure looks at them in float64, all seeds at once.
    """

    condition: Condition
    seeds: tuple[int, ...]
    error: Float[Tensor, " seeds"]  # share of all points misclassified
    late_loss: Float[Tensor, " seeds"]  # mean over the last tenth of updates, in nats
    parameters: Float[Tensor, "seeds parameters"]

    def network(self, seed: int) -> CkNetwork:
        """The network trained from this seed. Errors: ValueError for a seed that is not among `seeds`."""
        if seed not in self.seeds:
            raise ValueError(f"seed is {seed}; one of the seeds {self.seeds[0]} to {self.seeds[-1]} of the study is needed")
        return self.condition.template().with_parameters(self.parameters[self.seeds.index(seed)]).requires_grad_(False)

    @property
    def typical_seed(self) -> int:
        """The seed of the run to draw (`typical`)."""
        return self.seeds[self.typical()]

    def images(self, x: Float[Tensor, "*seeds points dim"]) -> Float[Tensor, "seeds layers points dim"]:
        """Points at every layer of every network: the same points for all seeds, or some for each."""
        columns = x.expand(len(self.seeds), -1, -1).mT
        return torch.stack(self._ensemble.coordinates(columns), 1).mT

    @cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble(self.condition.template().double(), self.parameters.double())

    @cached_property
    def points(self) -> Sample:
        """The training points."""
        return self.condition.sample(dtype=torch.float64)

    @cached_property
    def curve(self) -> Sample:
        """4000 points along the arms."""
        return self.condition.sample(4000, torch.float64)

    @property
    def on_curves(self) -> bool:
        """Whether the points are in order along arms: measures of curves need it."""
        return self.points.position is not None

    @cached_property
    def curve_images(self) -> Float[Tensor, "seeds layers points dim"]:
        """The images of `curve`."""
        return self.images(self.curve.x)

    @cached_property
    def networks(self) -> list[CkNetwork]:
        """The networks in float64, one for each seed."""
        return [net.requires_grad_(False) for net in self._ensemble.networks()]


# What is measured. Each function looks at all networks of a shard at once and returns one or more measures, with a row for each seed.
# `study` refuses measures of curves (`OF_CURVES`) for points without positions along arms, and the functions leave them out.


def smoothness(trained: TrainedNetworks) -> dict[str, Tensor]:
    """The roughness of the way that the curve takes through the layers."""
    return {"roughness": curves.roughness(trained.curve_images)}


def stretch(trained: TrainedNetworks) -> dict[str, Tensor]:
    """Of the curve at every layer, the length over the diameter, and the largest gap over the diameter and over the mean gap."""
    functions = {"length": curves.length, "largest gap": curves.largest_gap, "gap ratio": curves.gap_ratio}
    return {name: function(trained.curve_images, trained.curve.label) for name, function in functions.items()}


def flatness(trained: TrainedNetworks) -> dict[str, Tensor]:
    """At every layer, of the curve: chord over length, the share of variance on the first axis, and the total curvature."""
    images, label = trained.curve_images, trained.curve.label
    return {
        "straightness": curves.straightness(images, label),
        "first axis": curves.first_axis(images, label),
        "turning": curves.turning(images, label),
    }


def connectedness(trained: TrainedNetworks) -> dict[str, Tensor]:
    """At every layer, into how many components 200 points an arm fall at 5 % of the diameter; at the last, gaps as they are refined."""
    sparse, count = trained.condition.sample(400, torch.float64), len(trained.seeds)
    found = {"components": curves.components(trained.images(sparse.x), sparse.label)}
    if trained.on_curves:
        gaps = [curves.refined_gaps(lambda x: trained.images(x)[:, -1], arm.expand(count, -1, -1)) for arm in _arms(trained.points)]
        found["refined gaps"] = torch.stack(gaps, 1)
    return found


def crossings(trained: TrainedNetworks) -> dict[str, Tensor]:
    """Whether the images of the two arms cross, at every layer; and the share of 40 000 points along the arms that are misclassified."""
    dense = trained.condition.sample(40_000, torch.float64)
    wrong = [(net(dense.x).argmax(1) != dense.label).double().mean() for net in trained.networks]
    found = {"error along the arms": torch.stack(wrong)}
    arms, layers = _arms(trained.curve), range(trained.condition.depth + 1)
    if trained.on_curves and len(arms) == 2:

        def at(net: CkNetwork, layer: int) -> bool:
            return curves.cross(lambda x: net.coordinates(x)[layer], *arms)

        crosses = [[at(net, layer) for layer in layers] for net in trained.networks]
        found["crosses"] = torch.tensor(crosses, dtype=torch.float64)
    return found


def conditioning(trained: TrainedNetworks) -> dict[str, Tensor]:
    """Of the metric at the input, medians over 100 points: the logarithm of its condition number (base 10), and its log-volume (nats)."""
    x = trained.points.x[:: max(1, len(trained.points) // 100)]
    balls = [balls_of(pushforward(net, x), 1.0) for net in trained.networks]
    return {
        "log condition": torch.stack([ball.condition_number.median().log10() for ball in balls]),
        "log volume": torch.stack([ball.log_volume.median() for ball in balls]),
    }


def certified_share(trained: TrainedNetworks) -> dict[str, Tensor]:
    """The share of layers certified as charts (section 2)."""
    return {"certified": torch.tensor([charts.certificates(net) for net in trained.networks], dtype=torch.float64).mean(1)}


def turned_over(trained: TrainedNetworks) -> dict[str, Tensor]:
    """The share of training points at which the network reverses orientation (det P < 0), or keeps it, whichever is less: 0 for charts."""
    reversed_ = [torch.linalg.det(pushforward(net, trained.points.x)) < 0 for net in trained.networks]
    share = torch.stack([each.double().mean() for each in reversed_])
    return {"turned over": torch.minimum(share, 1 - share)}


#: measure -> the function that finds it, and the columns that say where it was measured, for its axes after the seed
MEASURES: dict[str, tuple[Callable[[TrainedNetworks], dict[str, Tensor]], tuple[str, ...]]] = {
    "roughness": (smoothness, ()),
    "length": (stretch, ("layer",)),
    "largest gap": (stretch, ("layer",)),
    "gap ratio": (stretch, ("layer",)),
    "straightness": (flatness, ("layer",)),
    "first axis": (flatness, ("layer",)),
    "turning": (flatness, ("layer",)),
    "components": (connectedness, ("layer",)),
    "refined gaps": (connectedness, ("arm", "stage")),
    "crosses": (crossings, ("layer",)),
    "error along the arms": (crossings, ()),
    "log condition": (conditioning, ()),
    "log volume": (conditioning, ()),
    "certified": (certified_share, ()),
    "turned over": (turned_over, ()),
}

#: The measures of curves: they need the position of each point along its arm
OF_CURVES = ("length", "largest gap", "gap ratio", "straightness", "first axis", "turning", "refined gaps", "crosses")


def _arms(sample: Sample) -> list[Tensor]:
    return curves.arms(sample.x, sample.label)


# The two kinds of tasks.


def train(condition: Condition, seeds: tuple[int, ...], device: str, points: str = "") -> dict[str, Tensor]:
    """Trained weights, errors and late losses of these seeds, on the CPU. `points` is a digest of own data, for the result's name."""
    training = {name: getattr(condition, name) for name in TRAINING}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*seeds diverged", RuntimeWarning)  # they are rows that say so
        run = fit(condition.template(), condition.sample(), seeds=seeds, device=device, progress=False, **training)
    parameters = torch.stack([torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in run.networks])
    return {"error": run.error.cpu(), "late_loss": run.late_loss.cpu(), "parameters": parameters.cpu()}


@torch.no_grad()
def measure(
    condition: Condition, seeds: tuple[int, ...], device: str, name: str, function: Callable, trained: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What `function`, called `name`, measures of trained networks, in float64; NaN for a seed that diverged.

    `name` also has the digest of own data, for the result's name.
    """
    diverged = trained["error"].isnan()
    finite = {**trained, "parameters": trained["parameters"].nan_to_num(0.0, 0.0, 0.0)}
    found = {key: value.double() for key, value in function(TrainedNetworks(condition, seeds, **finite)).items()}
    return {key: value.masked_fill(diverged.view(-1, *[1] * (value.ndim - 1)), torch.nan) for key, value in found.items()}


def summary(trained: TrainedNetworks) -> dict[str, Tensor]:
    """One number for each measure: natural logarithms of roughness, of largest gap and length over diameter at the output; log condition.

    A number that is not finite, as where the output is a single point, is NaN.
    """
    images, label = trained.curve_images, trained.curve.label
    found = {
        "log_roughness": curves.roughness(images).log(),
        "log_gap": curves.largest_gap(images[:, -1], label).log(),
        "log_length": curves.length(images[:, -1], label).log(),
        "log_condition": conditioning(trained)["log condition"],
    }
    return {name: value.where(value.isfinite(), torch.nan) for name, value in found.items()}


def outcome(condition: Condition, seeds: tuple[int, ...]) -> dict[str, Tensor]:
    """The error, the late loss and the `summary` of networks that are trained for this and not kept: a task for `shards.compute`."""
    trained = train(condition, seeds, "cpu")
    results = {name: trained[name].double() for name in ("error", "late_loss")}
    return results | measure(condition, seeds, "cpu", "summary", summary, trained)


# The study.


class StudyResult:
    """What a study found, as tidy tables.

    `runs` has a row for each network: settings, seed, error, late_loss, solved, diverged. The settings are the kind of network (`network`)
    and the fields of `Condition`. `result["roughness"]` is the table of one measure: settings, seed, error, solved, where it was measured
    (layer; or arm and stage), value. `result.trained(condition)` are the trained networks of one condition.
    """

    def __init__(self, trained: dict[Condition, TrainedNetworks], measured: dict[Condition, dict[str, Tensor]], measures: Sequence[str]):
        self._trained = trained
        self.runs = pd.concat([_runs(each) for each in trained.values()], ignore_index=True)
        parts = {name: [_table(each, name, measured[condition][name]) for condition, each in trained.items()] for name in measures}
        self.tables = {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}

    def __getitem__(self, measure: str) -> pd.DataFrame:
        if measure not in self.tables:
            raise KeyError(f"{measure!r} was not measured; {', '.join(self.tables) or 'nothing'} was")
        return self.tables[measure]

    @property
    def conditions(self) -> list[Condition]:
        return list(self._trained)

    def trained(self, condition: Condition) -> TrainedNetworks:
        """The trained networks of a condition of this study. Errors: KeyError for another condition."""
        return self._trained[condition]


def _runs(trained: TrainedNetworks) -> pd.DataFrame:
    """The settings of a condition and the results of its networks, a row for each seed."""
    results = {
        "seed": trained.seeds,
        "error": trained.error.numpy(),
        "late_loss": trained.late_loss.numpy(),
        "solved": trained.solved.numpy(),
        "diverged": trained.error.isnan().numpy(),
    }
    settings = {name: [value] * len(trained.seeds) for name, value in trained.condition.settings().items()}
    return pd.DataFrame(settings | results)


def _table(trained: TrainedNetworks, name: str, values: Tensor) -> pd.DataFrame:
    """One measure of a condition's networks, a row for each number."""
    axes = [range(size) for size in values.shape[1:]]
    places = pd.DataFrame(product(range(len(values)), *axes), columns=["row", *MEASURES[name][1]])
    runs = _runs(trained).drop(columns=["late_loss", "diverged"]).iloc[places.pop("row")].reset_index(drop=True)
    return pd.concat([runs, places], axis=1).assign(value=values.numpy().ravel())


def study(
    conditions: Iterable[Condition],
    *,
    seeds: Iterable[int],
    measures: Sequence[str] = (),
    device: str = "cpu",
    folder: Path | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> StudyResult:
    """Trains networks under every condition from every seed, measures them, and returns tidy tables.

    Conditions that are equal are trained once. Neither the other conditions nor the workers change a number. `measures` are names in
    `MEASURES`. Results are kept in `folder` (or RIEMLIB_STUDIES, or build/studies) and read from there; where `data` is a function, under
    its code and the training points that it gives. `workers` and `scheduler` say where the shards run: see `shards.compute`. `device` is
    where networks are trained: on any but the CPU one condition after the other, in this process. Measures are taken on the CPU.
    Errors: ValueError for no or repeated seeds, no condition, an unknown measure, or a measure that the data do not have; RuntimeError
    where workers keep dying.

    >>> result = study([Condition()], seeds=range(100), measures=["gap ratio"])  # doctest: +SKIP
    """
    seeds = checks.seeds(seeds)
    if unknown := [name for name in measures if name not in MEASURES]:
        raise ValueError(f"measures are {list(measures)}, {unknown} unknown; some of {', '.join(MEASURES)} are needed")
    conditions = list(dict.fromkeys(conditions))
    if not conditions:
        raise ValueError("conditions is empty; at least one Condition is needed")
    made = {condition: _data(condition, measures) for condition in conditions}
    shards = [seeds[i : i + SHARD] for i in range(0, len(seeds), SHARD)]
    cells = [(condition, shard, str(device)) for condition in conditions for shard in shards]
    how: dict[str, Any] = {"folder": folder, "workers": workers, "scheduler": scheduler, "progress": progress}
    here = how if str(device) == "cpu" else how | {"workers": 1, "scheduler": ""}
    tasks = [Task(train, (*cell, *digest), made_by=(source,)) for cell in cells for source, digest in [made[cell[0]]]]
    trained = dict(zip(cells, compute(tasks, **here), strict=True))
    functions = list(dict.fromkeys(MEASURES[name][0] for name in measures))
    pairs = [(cell, f, *made[cell[0]]) for cell in cells for f in functions]
    tasks = [Task(measure, (*cell, " ".join([f.__name__, *digest])), (f, trained[cell]), (f, train, s)) for cell, f, s, digest in pairs]
    found = {(cell, f): result for (cell, f, *_), result in zip(pairs, compute(tasks, **how), strict=True)}

    def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([part[name] for part in parts]) for name in sorted(parts[0])}

    results, measured = {}, {}
    for condition in conditions:
        own = [cell for cell in cells if cell[0] == condition]
        results[condition] = TrainedNetworks(condition, seeds, **joined([trained[cell] for cell in own]))
        measured[condition] = {name: value for f in functions for name, value in joined([found[cell, f] for cell in own]).items()}
    return StudyResult(results, measured, measures)


def _data(condition: Condition, measures: Sequence[str]) -> tuple[Any, list[str]]:
    """The function that gives the data, and for own data a digest of the training points: the function may read a file that changes.

    Errors: ValueError for a measure that the data do not have.
    """
    source, sample = _source(condition.data), condition.sample()
    of_curves = [name for name in measures if name in OF_CURVES]
    if of_curves and sample.position is None:
        needed = "a Sample with the position of each point along its arm is needed"
        raise ValueError(f"measures are of curves ({', '.join(of_curves)}), and data {condition.data!r} has points without order; {needed}")
    if "crosses" in of_curves and len(sample.label.unique()) != 2:
        raise ValueError(f"measures has crosses, and data {condition.data!r} has {len(sample.label.unique())} arms; two are needed")
    contents = sample.x.numpy().tobytes() + sample.label.numpy().tobytes()
    return source, [] if source in (spiral, annulus) else [hashlib.sha256(contents).hexdigest()[:16]]
