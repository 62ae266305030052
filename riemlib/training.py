"""Training many seeds at once: one forward and one backward pass serve every network (section 7)."""

import copy
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm.auto import tqdm

from . import checks
from .manifolds import Sample
from .networks import CkNetwork, affine, evolve

MINIBATCHES = 2**31  # added to a seed, so that the draw of its minibatches is not the draw of its weights (the generator reads 32 bits)


class Outcome:
    """What training came to, seed by seed: `seeds`, `error` (share of all points misclassified, NaN where diverged) and `late_loss`."""

    @property
    def diverged(self) -> tuple[int, ...]:
        """Seeds whose loss or weights stopped being finite."""
        return tuple(seed for seed, gone in zip(self.seeds, self.error.isnan().tolist(), strict=True) if gone)

    @property
    def solved(self) -> Bool[Tensor, " seeds"]:
        """Which seeds reach 0.0 % error on all points."""
        return self.error == 0

    def typical(self) -> int:
        """The index of the run to draw: of the seeds with the least error, the one whose loss over the last tenth of updates is the median.

        Errors: ValueError where every seed diverged.
        """
        if bool(self.error.isnan().all()):
            raise ValueError(f"all {len(self.seeds)} seeds diverged; a smaller learning_rate is needed")
        least = min(error for error in self.error.tolist() if error == error)
        runs = [i for i, error in enumerate(self.error.tolist()) if error == least]
        return sorted(runs, key=lambda i: float(self.late_loss[i]))[(len(runs) - 1) // 2]


@dataclass(frozen=True)
class Fit(Outcome):
    """Trained networks, one a seed. A diverged seed has error NaN and is named in `diverged`."""

    seeds: tuple[int, ...]
    networks: list[CkNetwork]
    error: Float[Tensor, " seeds"]  # share of all points misclassified
    loss: Float[Tensor, "seeds updates"]  # cross-entropy of each minibatch, in nats
    snapshots: dict[int, list[CkNetwork]]  # networks after so many updates, where asked for

    @property
    def late_loss(self) -> Float[Tensor, " seeds"]:
        """The mean loss over the last tenth of updates, in nats."""
        return self.loss[:, -max(1, self.loss.shape[1] // 10) :].mean(1)


def fit(
    net: CkNetwork,
    sample: Sample,
    *,
    seeds: Iterable[int],
    batch_size: int,
    updates: int,
    learning_rate: float,
    device: torch.device | str | None = None,
    compile: bool = False,
    progress: bool = True,
    snapshots: Sequence[int] = (),
) -> Fit:
    """Trains a copy of `net` for every seed, all at once: softmax cross-entropy, Adam, cosine decay from `learning_rate` to 0.

    `net` is the template and stays as it is. Each seed redraws its own Glorot weights and its own minibatches (a fresh permutation of the
    points an epoch, cut into batches; a remainder smaller than a batch is left out of that epoch). Neither depends on which other seeds run
    beside it, on the device or on the dtype. `compile` uses torch.compile, or says that it can't and goes on without. `snapshots` keeps the
    networks after so many updates, 0 being the initial ones.

    Errors: ValueError for a batch larger than the sample, no or repeated seeds, labels out of range, a snapshot beyond the last update.
    Seeds that diverge are named in a RuntimeWarning and in `Fit.diverged`; their error is NaN, never a number.

    >>> run = fit(CkNetwork([2] * 4), spiral(100), seeds=range(8), batch_size=50, updates=200, learning_rate=1e-2)  # doctest: +SKIP
    """
    seeds = checks.integers("seeds", seeds, 0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {list(seeds)}; at least one, each once, is needed")
    device = torch.device(device or net.readout.weight.device)
    x = checks.points(sample.x, net.widths[0], like=net.readout.weight).mT.to(device).contiguous()
    label = checks.labels(sample.label, len(sample), net.readout.out_features).to(device)
    batch_size = checks.integer("batch_size", batch_size, 1)
    if batch_size > len(sample):
        raise ValueError(f"batch_size is {batch_size}, the sample has {len(sample)} points; a batch no larger than the sample is needed")
    updates = checks.integer("updates", updates, 0)
    learning_rate = checks.real("learning_rate", learning_rate)
    if any(not 0 <= at <= updates for at in snapshots):
        raise ValueError(f"snapshots are {list(snapshots)}; updates from 0 to {updates} are needed")

    # All parameters of all seeds in one tensor (seeds, parameters): one optimiser step, and no seed touches another. The layers work on
    # views of it, which are leaves, so that their gradients need no split to be undone.
    templates = list(net.parameters())
    drawn = [torch.cat([value.flatten() for value in net.draw(seed)]) for seed in seeds]
    flat = torch.stack(drawn).to(device, templates[0].dtype)
    parts, weights, biases = unstack(net, flat)
    for part in parts:
        part.requires_grad_()

    def logits(x: Tensor) -> Tensor:
        return affine(parts[-2], evolve([x], weights, biases, net.stencils, net.activation)[-1][0], parts[-1])

    def losses(x: Tensor, label: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits(x), label, reduction="none").mean(1)

    def networks() -> list[CkNetwork]:
        copies = [copy.deepcopy(net).to(device) for _ in seeds]
        for values, trained in zip(zip(*parts, strict=True), copies, strict=True):
            with torch.no_grad():
                for parameter, value in zip(trained.parameters(), values, strict=True):
                    parameter.copy_(value)
        return copies

    step_losses = _compiled(losses, parts, x, label, batch_size) if compile else losses
    optimiser = torch.optim.Adam([flat], lr=learning_rate, fused=flat.device.type in ("cpu", "cuda"))
    batches = _minibatches(seeds, len(sample), batch_size)
    each_seed = x.expand(len(seeds), -1, -1)
    loss = torch.empty(len(seeds), updates, dtype=flat.dtype, device=device)
    kept = {0: networks()} if 0 in snapshots else {}
    silent = not progress or bool(os.environ.get("TQDM_DISABLE"))
    bar = tqdm(range(updates), desc=f"{len(seeds)} networks", unit="update", leave=False, disable=silent)
    for update in bar:
        rows = next(batches).to(device)
        each = step_losses(each_seed.gather(2, rows[:, None].expand(-1, len(x), -1)), label[rows])
        loss[:, update] = each.detach()
        flat.grad = torch.cat([gradient.flatten(1) for gradient in torch.autograd.grad(each.sum(), parts)], 1)
        optimiser.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * update / updates)) / 2
        optimiser.step()
        if update + 1 in snapshots:
            kept[update + 1] = networks()

    with torch.no_grad():
        wrong = (logits(each_seed).argmax(1) != label).to(flat.dtype).mean(1)
    gone = ~(loss.isfinite().all(1) & flat.isfinite().all(1))
    result = Fit(seeds, networks(), wrong.masked_fill(gone, torch.nan), loss, kept)
    if not checks.holds(~gone.any()):
        warnings.warn(f"{len(result.diverged)} of {len(seeds)} seeds diverged: {list(result.diverged)}", RuntimeWarning, stacklevel=2)
    return result


def unstack(net: CkNetwork, flat: Float[Tensor, "seeds parameters"]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The parameters of many networks like `net`, a row of `flat` each, as views (seeds, *shape) in the order of `net.parameters()`,
    and of these the weights and the biases layer by layer, as `networks.evolve` takes them."""
    sizes = [parameter.numel() for parameter in net.parameters()]
    parts = [part.unflatten(1, parameter.shape) for part, parameter in zip(flat.split(sizes, 1), net.parameters(), strict=True)]
    where = {id(parameter): part for parameter, part in zip(net.parameters(), parts, strict=True)}
    return parts, *([where[id(parameter)] for parameter in own] for own in (net.weights, net.biases))


def _minibatches(seeds: Sequence[int], n: int, batch_size: int):
    """Row numbers (seeds, batch_size) without end: for each seed its own permutations, drawn on the CPU."""
    generators = [torch.Generator().manual_seed(MINIBATCHES + seed) for seed in seeds]
    while True:
        epoch = torch.stack([torch.randperm(n, generator=generator, device="cpu") for generator in generators])
        yield from epoch[:, : n - n % batch_size].split(batch_size, 1)


def _compiled(losses, parts, x, label, batch_size):
    """`losses` compiled, tried once; as it is, with a word, where this machine can't compile."""
    rows = torch.arange(batch_size, device=x.device).expand(len(parts[0]), -1)
    try:
        compiled = torch.compile(losses)
        torch.autograd.grad(compiled(x[:, rows].transpose(0, 1).contiguous(), label[rows]).sum(), parts)
    except Exception as reason:  # no compiler, or one that fails: the many ways are torch's own
        warnings.warn(f"torch.compile does not work here ({type(reason).__name__}); going on without it", RuntimeWarning, stacklevel=3)
        return losses
    return compiled
