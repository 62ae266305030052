"""Power: how often a contrast would read `for` if the effect were there, from samples with the spread of one that was seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .contrasts import KINDS, AllOf, Contrast

POWER = "power to find twice that effect"  #: its name in a record
LEAST_POWER = 0.8  #: a rule with less power at the effect that it looks for is not used


def power(contrast: Contrast, effect: float, *, n: int | None = None, draws: int = 1000, seed: int = 0) -> float:
    """The share of samples of n seeds that read `for` where the true effect is `effect`, with the spread of the contrast's own sample.

    n is the contrast's own number of seeds where none is given. Errors: ValueError where the contrast has no seeds.
    """
    if contrast.n == 0:
        raise ValueError("contrast has no seeds; a sample that shows the spread is needed")
    moved, interval = MOVED.get(contrast.kind, _moved), KINDS[contrast.kind][1]
    samples = moved(contrast.estimate, contrast.sample, effect, (draws, n or contrast.n), np.random.default_rng(seed))
    found = (replace(contrast, **dict(zip(("estimate", "low", "high"), interval(sample), strict=True))) for sample in samples)
    return sum(each.reading == "for" for each in found) / draws


def primary(base: Contrast | AllOf, *, updates: int, specifications: Sequence = ()) -> dict[str, object]:
    """What the record of a claim says first: the primary contrast in plain terms and as statistics, its power, and how often it agrees.

    The power is that of `powers`, of several contrasts that of all of them. `specifications` are those of the
    multiverse (`specifications.Specification`), where the claim has one.
    """
    readings = [each.whole.reading for each in specifications]
    spoken = len(readings) - readings.count("silent")
    return {
        "primary contrast": base.plain,
        "as statistics": base.statistics,
        "smallest effect of interest": base.smallest,
        "reads": base.reading,
        POWER: powers(base)[-1],
        "seeds": base.n,
        "updates": updates,
        **({"specifications that read so, of those that decide": [readings.count(base.reading), spoken]} if readings else {}),
    }


def powers(base: Contrast | AllOf, *, factor: float = 2.0, **how) -> list[float]:
    """The power of each contrast at `factor` times its smallest effect (of an equivalence: at no effect), and of all of them.

    Where several must hold, the last is the least that theirs allow, 1 less the sum of what each lacks.
    """
    parts = list(base.parts.values()) if isinstance(base, AllOf) else [base]
    each = [power(part, factor * part.delta if part.test == "effect" else 0.0, **how) if part.n else math.nan for part in parts]
    return [*each, max(0.0, 1 - sum(1 - p for p in each))] if len(each) > 1 else each


def power_table(bases: Mapping[str, Contrast | AllOf], *, factor: float = 2.0, **how) -> pd.DataFrame:
    """The power of each claim's rule at `factor` times its smallest effect (of an equivalence: at no effect): a row for each contrast.

    Where several contrasts must hold, a row more has the least power that theirs allow, 1 less the sum of what each lacks. `used` is false
    below 80 %. `how` is passed to `power`.
    """
    rows = []
    for name, base in bases.items():
        parts = base.parts if isinstance(base, AllOf) else {"": base}
        found = powers(base, factor=factor, **how)
        for (part, contrast), each in zip(parts.items(), found, strict=False):
            effect = factor * contrast.delta if contrast.test == "effect" else 0.0
            label = f"{name}: {part}" if part else name
            rows.append((label, KINDS[contrast.kind][0], contrast.delta, effect, how.get("n") or contrast.n, each))
        if len(parts) > 1:
            rows.append((name, "all of them", math.nan, math.nan, how.get("n") or base.n, found[-1]))
    table = pd.DataFrame(rows, columns=["claim", "estimator", "smallest effect", "true effect", "seeds", "power"])
    return table.assign(used=table["power"] >= LEAST_POWER)


def _moved(estimate: float, sample: np.ndarray, effect: float, shape: tuple, rng) -> np.ndarray:
    """What was seen, shifted, drawn with replacement."""
    return rng.choice(sample - estimate + effect, shape)


def _moved_shares(estimate: float, pairs: np.ndarray, effect: float, shape: tuple, rng) -> np.ndarray:
    """Pairs of which the second, the reference, solves as large a share of seeds as before, where this share allows the effect.

    A seed differs where only one of its pair solves it. Where a large effect was seen, many seeds differ; a smaller effect may not allow
    so many. Then as many differ as the two shares allow. With no effect and a reference that solves 82 %, at most 36 % can differ.
    """
    reference = min(max(pairs[:, 1].mean(), -effect, 0.0), 1 - max(effect, 0.0))
    most = min(2 * reference + effect, 2 * (1 - reference) - effect)
    differ = max(min((pairs[:, 0] != pairs[:, 1]).mean(), most), abs(effect))
    first, second = (differ + effect) / 2, (differ - effect) / 2  # the seeds that only one of the two solves
    p = np.array([reference - second, first, second, 1 - reference - first]).clip(0)
    return np.array([[True, True], [True, False], [False, True], [False, False]])[rng.choice(4, shape, p=p / p.sum())]


def _moved_signs(estimate: float, sample: np.ndarray, effect: float, shape: tuple, rng) -> np.ndarray:
    """The share of ties is kept where it allows the effect."""
    differ = max((sample != 0).mean(), abs(2 * effect))
    return rng.choice([1.0, -1.0, 0.0], shape, p=[differ / 2 + effect, differ / 2 - effect, 1 - differ])


MOVED = {"share": _moved_shares, "superiority": _moved_signs}  #: how samples are drawn where a shift of the sample will not do
