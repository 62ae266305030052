"""Training many seeds at once: one forward and one backward pass serve every network (section 7)."""

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import checks, engines
from .data import Sample, as_sample
from .networks import CkNetwork, affine, evolve


class TrainingResult:
    """Results for each seed: `seeds`, `error` (the share of all points that are misclassified, NaN where diverged) and `late_loss`."""

    seeds: tuple[int, ...]
    error: Float[Tensor, " seeds"]

    if TYPE_CHECKING:  # a field where it is kept, computed where the losses are

        @property
        def late_loss(self) -> Float[Tensor, " seeds"]: ...

    @property
    def diverged(self) -> tuple[int, ...]:
        """Seeds whose loss or weights stopped being finite."""
        return tuple(seed for seed, gone in zip(self.seeds, self.error.isnan().tolist(), strict=True) if gone)

    @property
    def solved(self) -> Bool[Tensor, " seeds"]:
        """Which seeds reach 0.0 % error on all points."""
        return self.error == 0

    def typical(self) -> int:
        """The index of the run to draw. Of the seeds with the least error, it has the median loss over the last tenth of updates.

        Errors: ValueError where every seed diverged.
        """
        if bool(self.error.isnan().all()):
            raise ValueError(f"all {len(self.seeds)} seeds diverged; a smaller learning_rate is needed")
        least = min(error for error in self.error.tolist() if error == error)
        runs = [i for i, error in enumerate(self.error.tolist()) if error == least]
        return sorted(runs, key=lambda i: float(self.late_loss[i]))[(len(runs) - 1) // 2]


@dataclass(frozen=True)
class Fit(TrainingResult):
    """Trained networks, one for each seed. A seed that diverged has error NaN and is named in `diverged`."""

    seeds: tuple[int, ...]
    networks: list[CkNetwork]
    error: Float[Tensor, " seeds"]  # share of all points misclassified
    loss: Float[Tensor, "seeds updates"]  # cross-entropy of each minibatch, in nats
    snapshots: dict[int, list[CkNetwork]]  # networks after these numbers of updates, where asked for
    classes: tuple  # what each class number stands for

    @property
    def late_loss(self) -> Float[Tensor, " seeds"]:
        """The mean loss over the last tenth of updates, in nats."""
        return self.loss[:, -max(1, self.loss.shape[1] // 10) :].mean(1)


def fit(
    net: CkNetwork,
    sample: Sample | tuple,
    *,
    seeds: Iterable[int],
    batch_size: int,
    updates: int,
    learning_rate: float,
    optimiser: str = "adam",
    momentum: float = 0.9,
    schedule: str = "cosine",
    engine: str = "auto",
    device: torch.device | str | None = None,
    compile: bool = False,
    progress: bool = True,
    snapshots: Sequence[int] = (),
) -> Fit:
    """Trains a copy of `net` for every seed, all at once, on the softmax cross-entropy of minibatches.

    `net` is the template and stays as it is. `sample` is a Sample, or a pair (x, label) of tensors, arrays or DataFrame columns. It is
    converted to the dtype and device of `net`. Labels that are names are numbered: `Fit.classes` says which is which.
    Each seed draws its own Glorot weights and its own minibatches: for every epoch a new permutation of the points, cut into batches,
    without the remainder. Neither depends on which other seeds run beside it, on the device or on the dtype.
    `optimiser` is `adam`, or `sgd` with `momentum`. The learning rate falls to 0 as a cosine, or stays with `schedule="constant"`.
    `snapshots` keeps the networks after these numbers of updates; 0 stands for the initial ones. `engine` is `fused`, a compiled loop for
    small networks on the CPU, or `torch`, for every network; `auto` takes the first where it can (`engines`). Their results agree within
    rounding. `compile` uses torch.compile; where that fails, a warning says so.

    Errors: ValueError for a batch larger than the sample, no or repeated seeds, labels out of range, a snapshot beyond the last update,
    an engine that cannot train this network. Ctrl-C ends it within a second.
    Seeds that diverge are named in a RuntimeWarning and in `Fit.diverged`. Their error is NaN.

    >>> run = fit(CkNetwork([2] * 4), spiral(100), seeds=range(8), batch_size=50, updates=200, learning_rate=1e-2)  # doctest: +SKIP
    """
    seeds, like = checks.seeds(seeds), checks.classifier(net).readout.weight
    device = like.device if device is None else checks.device(device)
    sample, classes = as_sample(sample, like.to(device))
    x = checks.points(sample.x, net.widths[0]).mT.contiguous()
    label = checks.labels(sample.label, len(sample), net.readout.out_features)
    batch_size = checks.integer("batch_size", batch_size, 1)
    if batch_size > len(sample):
        raise ValueError(f"batch_size is {batch_size}, the sample has {len(sample)} points; a batch no larger than the sample is needed")
    updates = checks.integer("updates", updates, 0)
    rates, momentum = engines.learning_rates(learning_rate, updates, schedule), engines.momentum_of(optimiser, momentum)
    engine = engines.chosen(engine, net, x, compile)
    snapshots = checks.integers("snapshots", snapshots, 0)
    if any(at > updates for at in snapshots):
        raise ValueError(f"snapshots are {list(snapshots)}; updates from 0 to {updates} are needed")
    drawn = torch.stack([torch.cat([value.flatten() for value in net.draw(seed)]) for seed in seeds])
    ensemble = Ensemble(copy.deepcopy(net).to(device), drawn.to(device, net.readout.weight.dtype))
    loss, kept = engines.Descent(x, label, seeds, batch_size, rates, momentum, snapshots, progress).run(ensemble, engine, compile)
    with torch.no_grad():
        error = (ensemble.logits(x.expand(len(seeds), -1, -1)).argmax(1) != label).to(loss.dtype).mean(1)
    snapshots = {at: ensemble.networks(flat) for at, flat in kept.items()}
    finite = loss.isfinite().all(1) & ensemble.flat.isfinite().all(1)
    error, classes = error.masked_fill(~finite, torch.nan), classes or tuple(range(len(net.readout.bias)))
    result = Fit(seeds, ensemble.networks(), error, loss, snapshots, classes)
    if not checks.is_true_or_unknown(finite.all()):
        warnings.warn(f"{len(result.diverged)} of {len(seeds)} seeds diverged: {list(result.diverged)}", RuntimeWarning, stacklevel=2)
    return result


class Ensemble:
    """Many networks like `template`, a row of `flat` (seeds, parameters) for each. One pass serves all, and no seed touches another.

    The layers work on views of `flat` that are leaves of automatic differentiation, in the order of `template.parameters()`.
    """

    def __init__(self, template: CkNetwork, flat: Float[Tensor, "seeds parameters"]):
        self.template, self.flat, own = template, flat, list(template.parameters())
        parts = flat.split([parameter.numel() for parameter in own], 1)
        self.parts = [part.unflatten(1, parameter.shape) for part, parameter in zip(parts, own, strict=True)]
        where = {id(parameter): part for parameter, part in zip(own, self.parts, strict=True)}  # layers may share parameters
        self.weights, self.biases = ([where[id(parameter)] for parameter in each] for each in (template.weights, template.biases))

    def coordinates(self, x: Float[Tensor, "seeds dim points"]) -> list[Float[Tensor, "seeds _ points"]]:
        """x^(0), ..., x^(L) of every network, for points in columns."""
        states = evolve([x], self.weights, self.biases, self.template.stencils, self.template.activation)
        return [state[0] for state in states]

    def logits(self, x: Float[Tensor, "seeds dim points"]) -> Float[Tensor, "seeds classes points"]:
        """W^(L) x^(L) + b of every network, for points in columns."""
        return affine(self.parts[-2], self.coordinates(x)[-1], self.parts[-1])

    def networks(self, flat: Tensor | None = None) -> list[CkNetwork]:
        """A network of its own for each row, of `flat` as it is, or as it was."""
        return [self.template.with_parameters(row) for row in (self.flat if flat is None else flat).detach()]
