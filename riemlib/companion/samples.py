"""Samples of the spiral for the study of the batch (section 7.3): data of a `Condition`, and what is asked of a sample as a whole.

Data are functions of a number of points and a dtype. Asked for the number of its training points, each gives these; asked for any other
number, points evenly along the arms, where measures of curves look.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from .. import checks, curves
from ..data import Sample, spiral
from ..training import fit
from .studies import Condition, StudyResult, TrainedNetworks

POINTS = 1000  #: training points of the base, of the noisy spiral and of the rolls
THIRD = 300  #: training points of a third of the base; 100 of the base are in none
SEEN, UNSEEN = "error on the training points", "error on other points"
NOISE = 0.1  #: standard deviation; neighbouring turns of the two arms are 0.45 apart


# Data of a condition.


def third_1(points: int, dtype: torch.dtype | None = None) -> Sample:
    """300 of the 1000 points of the base, 150 on each arm, drawn at random. The three thirds have no point in common."""
    return _third(points, dtype, 0)


def third_2(points: int, dtype: torch.dtype | None = None) -> Sample:
    """The second third (`third_1`)."""
    return _third(points, dtype, 1)


def third_3(points: int, dtype: torch.dtype | None = None) -> Sample:
    """The last third (`third_1`)."""
    return _third(points, dtype, 2)


def noisy(points: int, dtype: torch.dtype | None = None) -> Sample:
    """The spiral of the base with noise in the plane, so that the arms overlap."""
    return spiral(points, noise=NOISE, positions="random", dtype=dtype) if points == POINTS else spiral(points, dtype=dtype)


def roll_3(points: int, dtype: torch.dtype | None = None) -> Sample:
    """A rolled-up sheet of dimension 2 in 3 coordinates: the spiral times an interval. Its arms run through the middle of the interval."""
    return _roll(points, dtype, 3)


def roll_4(points: int, dtype: torch.dtype | None = None) -> Sample:
    """A rolled-up sheet of dimension 3 in 4 coordinates: the spiral times a square (`roll_3`)."""
    return _roll(points, dtype, 4)


def roll_8(points: int, dtype: torch.dtype | None = None) -> Sample:
    """A rolled-up sheet of dimension 7 in 8 coordinates: the spiral times a cube of dimension 6 (`roll_3`)."""
    return _roll(points, dtype, 8)


def _third(points: int, dtype: torch.dtype | None, which: int) -> Sample:
    if points != THIRD:
        return spiral(points, dtype=dtype)
    whole, generator = spiral(POINTS, positions="random", dtype=dtype), torch.Generator().manual_seed(0)
    drawn = [(whole.label == arm).nonzero()[:, 0] for arm in (0, 1)]
    drawn = [rows[torch.randperm(len(rows), generator=generator)] for rows in drawn]
    size = THIRD // 2
    rows = torch.cat([each[which * size : (which + 1) * size].sort().values for each in drawn])
    return Sample(whole.x[rows], whole.label[rows], None if whole.position is None else whole.position[rows])


def _roll(points: int, dtype: torch.dtype | None, width: int) -> Sample:
    flat = spiral(points, positions="random" if points == POINTS else "even", dtype=dtype)
    across = 2 * torch.rand(points, width - 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    across = across.to(flat.x) if points == POINTS else torch.zeros_like(across).to(flat.x)
    return Sample(torch.cat([flat.x, across], 1), flat.label, flat.position)


# What a sample tells of networks.


def held_out(points: int = 4000) -> Sample:
    """Points of the noisy spiral that no network was trained on, in float64: other positions, other noise."""
    return spiral(points, noise=NOISE, positions="random", seed=1, dtype=torch.float64)


def generalisation(study: StudyResult, conditions: Mapping[str, Condition], sample: Sample) -> pd.DataFrame:
    """The error of trained networks on their training points and on those of a sample, under the names of their conditions as batch sizes.

    A row for each network and measure: network, batch_size, seed, solved, measure, value.
    """
    parts = []
    for name, condition in conditions.items():
        trained = study.trained(condition)
        rows = {"network": condition.network, "batch_size": name, "seed": trained.seeds, "solved": trained.solved.numpy()}
        errors = {SEEN: trained.error.double(), UNSEEN: misclassified(trained, sample)}
        parts += [pd.DataFrame(rows | {"measure": measure, "value": value.numpy()}) for measure, value in errors.items()]
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def misclassified(trained: TrainedNetworks, sample: Sample) -> Float[Tensor, " seeds"]:
    """The share of the points of a sample that each network puts into another class; NaN for a seed that diverged."""
    wrong = [(net(sample.x).argmax(1) != sample.label).double().mean() for net in trained.networks]
    return torch.stack(wrong).masked_fill(trained.error.isnan(), torch.nan)


def gradients(condition: Condition, seeds: Sequence[int]) -> pd.DataFrame:
    """The first gradient over the whole sample, in float32: its largest entry for a bias and for a weight, a row for each seed."""
    sample, rows = condition.sample(), []
    for seed in checks.seeds(seeds):
        net = condition.template()
        net.redraw(seed)
        cross_entropy(net(sample.x), sample.label).backward()
        sizes = {name: float(parameter.grad.abs().max()) for name, parameter in net.named_parameters() if parameter.grad is not None}
        biases = max(size for name, size in sizes.items() if "bias" in name)
        rows.append({"seed": seed, "biases": biases, "weights": max(size for name, size in sizes.items() if "bias" not in name)})
    return pd.DataFrame(rows)


def backwards(sample: Sample) -> Sample:
    """The same points, listed from the last to the first."""
    return Sample(sample.x.flip(0), sample.label.flip(0), None if sample.position is None else sample.position.flip(0))


@torch.no_grad()
def listings(condition: Condition, seeds: Sequence[int], at: Sequence[int]) -> pd.DataFrame:
    """How far training on the whole sample depends on the order in which its points are listed: forwards against backwards.

    After each number `at` of updates, a row for each seed: `apart`, the largest difference of a parameter; `gap`, the largest gap at the
    output of one of the two networks over that of the other, the larger on top.
    """
    seeds, sample, curve = checks.seeds(seeds), condition.sample(), condition.sample(4000)
    how = {name: getattr(condition, name) for name in ("updates", "learning_rate", "optimiser", "schedule")}
    runs = []
    for each in (sample, backwards(sample)):
        with torch.enable_grad():
            runs.append(fit(condition.template(), each, seeds=seeds, batch_size=len(sample), snapshots=at, progress=False, **how))
    rows = []
    for updates in at:
        for seed, *pair in zip(seeds, *(run.snapshots[updates] for run in runs), strict=True):
            flat = [torch.nn.utils.parameters_to_vector(net.parameters()) for net in pair]
            gaps = [float(curves.largest_gap(net.coordinates(curve.x)[-1], curve.label)) for net in pair]
            rows.append({"seed": seed, "updates": updates, "apart": float((flat[0] - flat[1]).abs().max()), "gap": max(gaps) / min(gaps)})
    return pd.DataFrame(rows)


def mirrored(conditions: Mapping[str, Condition], seeds: Sequence[int], at: Sequence[int]) -> pd.DataFrame:
    """Medians of `gradients` and `listings` for each condition, and the share of seeds whose gap the listing changes by more than 10 %."""
    rows = {}
    for name, condition in conditions.items():
        first, listed = gradients(condition, seeds).median(), listings(condition, seeds, at)
        rows[name] = {"first gradient, largest bias": first["biases"], "largest weight": first["weights"]}
        rows[name] |= {f"apart after {updates}": rows_at["apart"].median() for updates, rows_at in listed.groupby("updates")}
        rows[name]["gap differs"] = float((listed[listed["updates"] == max(at)]["gap"] > 1.1).mean())
    return pd.DataFrame(rows).T
