r"""Networks of growing depth, trained from the same start: do their weights approach a path in l (section 3)?

A network of L layers has the step span / L, so that all depths cover the same interval. Data, batches and optimiser are those of
`studies.Condition`, and a seed draws the same minibatches at every depth. The readout is the same for all and is not trained: the logits
are ∓`READOUT` x¹. A readout that is trained, too, would leave the output's coordinates free.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .. import engines
from ..limits import PathStart, path_distance, variation
from ..networks import CkNetwork
from ..training import Ensemble
from .shards import Task, compute
from .studies import Condition

#: What the weights of the layers are drawn from
STARTS: dict[str, type[CkNetwork]] = {"one path": PathStart, "independent layers": CkNetwork}
READOUT = 4.0
FIXED = torch.tensor([-READOUT, 0.0, READOUT, 0.0, 0.0, 0.0])  # the last parameters of a network: weights and biases of the readout
STILL = 1e30  #: a second moment at which Adam moves a parameter by less than rounding
SHARD = 10  #: seeds


def train(
    start: str, depths: Sequence[int], seeds: Sequence[int], *, span: float = 1.0, updates: int = 3000, **how
) -> dict[int, dict[str, Tensor]]:
    """The networks of each depth, a row for each seed: see `at_depth`. `how` goes to `shards.compute`: folder, workers, progress.

    Errors: KeyError for a start that is not in `STARTS`.
    """
    shards = [tuple(seeds[i : i + SHARD]) for i in range(0, len(seeds), SHARD)]
    deepest_first = sorted(depths, reverse=True)
    tasks = [Task(at_depth, (start, depth, span, shard, updates), made_by=(STARTS[start],)) for depth in deepest_first for shard in shards]
    found, n = compute(tasks, **how), len(shards)
    parts = {depth: found[i * n : i * n + n] for i, depth in enumerate(deepest_first)}
    return {depth: {name: torch.cat([part[name] for part in parts[depth]]) for name in parts[depth][0]} for depth in depths}


def at_depth(start: str, depth: int, span: float, seeds: tuple[int, ...], updates: int) -> dict[str, Tensor]:
    """Networks of one depth, trained: a task for `shards.compute`.

    `untrained` and `weights` (seeds, depth, 6) hold W and b of every layer before and after, `x` (seeds, points, 2) is x^(L) of every tenth
    training point, `error` the share of all of them that is misclassified. A seed that diverged is NaN.
    """
    condition = Condition(depth=depth, step=span / depth, updates=updates)
    sample = condition.sample()
    net = STARTS[start]([2] * (depth + 1), step=span / depth, seed=0, dtype=torch.float32, device="cpu")
    flat = torch.stack([torch.cat([value.flatten() for value in net.draw(seed)]) for seed in seeds]).float()
    flat[:, -len(FIXED) :] = FIXED
    ensemble = Ensemble(net, flat)
    untrained = layers(ensemble)
    descend(ensemble, condition, sample.x.mT.contiguous(), sample.label, seeds)
    with torch.no_grad():
        x = ensemble.coordinates(sample.x.mT.expand(len(seeds), -1, -1))[-1].mT
    error = ((x[..., 0] > 0) != (sample.label == 1)).double().mean(1).masked_fill(~x.isfinite().all((1, 2)), torch.nan)
    return {"untrained": untrained, "weights": layers(ensemble), "x": x[:, ::10].contiguous(), "error": error}


def layers(ensemble: Ensemble) -> Tensor:
    """The weights and biases of every layer, (seeds, depth, 6)."""
    W, b = (torch.stack([each.detach().flatten(1) for each in parts], 1) for parts in (ensemble.weights, ensemble.biases))
    return torch.cat([W, b], 2)


def descend(ensemble: Ensemble, condition: Condition, x: Tensor, label: Tensor, seeds: tuple[int, ...], engine: str = "auto") -> Tensor:
    """Trains an ensemble in place as `fit` does, by Adam, all but its readout: the losses (seeds, updates). `engine` as in `fit`."""
    flat, updates, fixed = ensemble.flat, condition.updates, len(FIXED)
    rates = engines.learning_rates(condition.learning_rate, updates, condition.schedule)
    if engines.chosen(engine, ensemble.template, x, False) == "fused":
        descent = engines.Descent(x, label, seeds, condition.batch_size, rates, None, (), False)
        part = engines._Part(descent, engines.Tables(ensemble.template, flat.dtype), flat, slice(None))
        part.moments[:, 1, -fixed:] = STILL
        losses = [part.advance(done, min(50, updates - done)) for done in range(0, updates, 50)]
        return torch.from_numpy(np.concatenate(losses, 1))
    parts = [each.requires_grad_() for each in ensemble.parts]
    optimiser, batches = torch.optim.Adam([flat]), engines.minibatches(seeds, len(label), condition.batch_size)
    found = []
    for rate in rates:
        rows = next(batches)
        logits = ensemble.logits(x.expand(len(seeds), -1, -1).gather(2, rows[:, None].expand(-1, 2, -1)))
        loss = torch.nn.functional.cross_entropy(logits, label[rows], reduction="none").mean(1)
        flat.grad = torch.cat([gradient.flatten(1) for gradient in torch.autograd.grad(loss.sum(), parts)], 1)
        flat.grad[:, -fixed:] = 0
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        found.append(loss.detach())
    return torch.stack(found, 1)


# Tables of what was trained.


def pairs(trained: dict[int, dict[str, Tensor]], seeds: Sequence[int]) -> pd.DataFrame:
    """A row for each seed and each depth L whose double was trained, too: seed, depth, distance, untrained, outputs.

    distance: d(L, 2L) of the weights (`limits.path_distance`), untrained: that before training, outputs: the root mean square distance of
    x^(L) from x^(2L).
    """
    rows = []
    for depth, coarse in trained.items():
        if (fine := trained.get(2 * depth)) is not None:
            found = {"distance": path_distance(coarse["weights"].double(), fine["weights"].double())}
            found["untrained"] = path_distance(coarse["untrained"].double(), fine["untrained"].double())
            found["outputs"] = (coarse["x"] - fine["x"]).double().square().mean((1, 2)).sqrt()
            rows.append(pd.DataFrame({"seed": seeds, "depth": depth, **{name: value.numpy() for name, value in found.items()}}))
    return pd.concat(rows, ignore_index=True)


def runs(trained: dict[int, dict[str, Tensor]], seeds: Sequence[int]) -> pd.DataFrame:
    """A row for each network: seed, depth, error, solved, and the variation of its weights in l (`limits.variation`)."""
    rows = []
    for depth, found in trained.items():
        error = found["error"].numpy()
        ratio = variation(found["weights"].double()).numpy()
        rows.append(pd.DataFrame({"seed": seeds, "depth": depth, "error": error, "solved": error == 0, "variation": ratio}))
    return pd.concat(rows, ignore_index=True)


def profiles(trained: dict[int, dict[str, Tensor]], seeds: Sequence[int], depths: Sequence[int]) -> tuple[pd.DataFrame, str]:
    """A weight along the layers of one seed, a row for each layer of each of these depths; and which seed it is, for a title.

    It is the seed with the median distance between the two deepest networks. Columns: depth, layer, weight.
    """
    table = pairs(trained, seeds)
    deepest = table["depth"].max()
    ranked = table[table["depth"] == deepest].dropna().sort_values("distance", kind="stable")["seed"].to_list()
    seed = ranked[(len(ranked) - 1) // 2]
    rows = []
    for depth in depths:
        weight = trained[depth]["weights"][list(seeds).index(seed), :, 0].numpy()
        rows.append(pd.DataFrame({"depth": depth, "layer": range(depth), "weight": weight}))
    return pd.concat(rows, ignore_index=True), f"seed {seed}: median of d({deepest}, {2 * deepest})"


def network(weights: Tensor, span: float = 1.0) -> CkNetwork:
    """The network, in float64, of the weights (depth, 6) of one seed."""
    w = weights.double()
    return CkNetwork.from_weights([*w[:, :4].unflatten(1, (2, 2))], [*w[:, 4:]], step=span / len(w)).requires_grad_(False)
