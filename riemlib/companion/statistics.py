"""Intervals and tests for empirical claims, each with its source: what scipy lacks, and what a study's tables need."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap, spearmanr
from torch import Tensor

from .. import checks


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion, k successes in n trials, by scipy.

    It stays inside [0, 1] and keeps its coverage at k = 0 and k = n.
    Errors: ValueError for k outside 0 to n, n below 1, a level outside (0, 1).
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; recommended by Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101.

    >>> [round(p, 3) for p in wilson(0, 100)]
    [0.0, 0.037]
    """
    k, n = checks.integer("k", k, 0), checks.integer("n", n, 1)
    if k > n:
        raise ValueError(f"k is {k} of n = {n}; at most n is needed")
    found = binomtest(k, n).proportion_ci(_level(level), "wilson")
    return float(found.low), float(found.high)


def relative_error(measured: Tensor, reference: Tensor) -> float:
    """The largest |measured − reference| over the largest |reference|. Entries near zero do not make it larger."""
    return float((measured - reference).abs().max() / reference.abs().max())


def median_interval(values, level: float = 0.95, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """The median of a sample with its percentile bootstrap interval: (median, low, high).

    Errors: ValueError for no values, one that is not finite, a level outside (0, 1).
    Source: B. Efron, Ann. Stat. 7 (1979) 1.

    >>> median_interval([3.0] * 10)
    (3.0, 3.0, 3.0)
    """
    values = np.asarray(values, dtype=float).ravel()
    if not len(values) or not np.isfinite(values).all():
        gone = int((~np.isfinite(values)).sum())
        raise ValueError(f"values has {len(values)} entries, {gone} not finite; at least one, all finite, is needed")
    if len(values) == 1:
        return float(values[0]), float(values[0]), float(values[0])
    how = {"confidence_level": _level(level), "n_resamples": checks.integer("resamples", resamples, 1), "method": "percentile"}
    found = bootstrap((values,), np.median, vectorized=True, rng=np.random.default_rng(seed), **how).confidence_interval
    return float(np.median(values)), float(found.low), float(found.high)


def rank_correlation(a, b, least: float = 1e-6) -> float:
    """Spearman's rank correlation of two lists. It is 0 where one of them varies by less than `least`: its ranks are rounding.

    Errors: ValueError where the lengths differ.

    >>> rank_correlation([1, 2, 3], [1, 8, 27])
    1.0
    """
    a, b = (np.asarray(values, dtype=float).ravel() for values in (a, b))
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} entries, b {len(b)}; as many of each are needed")
    return 0.0 if min(np.ptp(a), np.ptp(b)) < least else round(float(spearmanr(a, b)[0]), 12)


@dataclass(frozen=True)
class Paired:
    """Two conditions run on the same seeds: how many seeds succeed in which, how large the difference is, and how likely by chance."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float  # success of the second less that of the first
    interval: tuple[float, float]  # of the difference
    p: float  # exact McNemar, two-sided

    @property
    def n(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither


def mcnemar(first, second, level: float = 0.95) -> Paired:
    """The exact McNemar test of two conditions on the same seeds, with the difference in success and its interval.

    It looks at the seeds that succeed in only one condition. Under the null hypothesis this is either condition with probability 1/2, which
    is a binomial test. The interval is the paired one from Wilson's limits (method 10 of Newcombe).
    Errors: ValueError where the lengths differ.
    Sources: Q. McNemar, Psychometrika 12 (1947) 153; R. G. Newcombe, Stat. Med. 17 (1998) 2635.

    >>> mcnemar([True, False, False], [True, True, True]).only_second
    2
    """
    first, second = (np.asarray(s, dtype=bool).ravel() for s in (first, second))
    if len(first) != len(second) or not len(first):
        raise ValueError(f"first has {len(first)} outcomes, second {len(second)}; one of each for every seed is needed")
    a, b, c, d = (int(k.sum()) for k in (first & second, first & ~second, ~first & second, ~first & ~second))
    n, p1, p2 = len(first), (a + b) / len(first), (a + c) / len(first)
    (l1, u1), (l2, u2) = wilson(a + b, n, level), wilson(a + c, n, level)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    phi = 0.0 if not margins else (max(excess - n / 2, 0) if excess > 0 else excess) / sqrt(margins)
    low = sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    high = sqrt((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2)
    p = float(binomtest(c, b + c).pvalue) if b + c else 1.0
    return Paired(a, b, c, d, p2 - p1, (p2 - p1 - low, p2 - p1 + high), p)


def proportion(happens) -> tuple[float, float, float]:
    """The share of seeds for which something is true, with Wilson's 95 % interval: (share, low, high).

    Errors: ValueError for no seeds, or a NaN among them, which is neither true nor false.
    """
    happens = np.asarray(happens).ravel()
    if happens.dtype.kind == "f" and np.isnan(happens).any():
        raise ValueError(f"happens has {int(np.isnan(happens).sum())} NaN of {len(happens)}; true or false for every seed is needed")
    happens = happens.astype(bool)
    interval = wilson(int(happens.sum()), len(happens))
    return float(happens.mean()), *interval


# Tables of a study: a row for each number, its condition and seed beside it.


def select(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows in which every named column has the given value or, where a list is given, one of its values."""
    chosen = pd.Series(True, index=table.index)
    for column, value in values.items():
        chosen &= table[column].isin(value) if isinstance(value, list) else table[column] == value
    return table[chosen]


def strips(table: pd.DataFrame, base: Mapping[str, object], settings: Sequence[str]) -> pd.DataFrame:
    """The rows of each strip, in which one setting varies and the others of `settings` are those of `base`.

    Two columns are added: `setting`, the name of the one that varies, and `at`, its value. Rows of the base itself are in every strip.
    """
    parts = []
    for setting in settings:
        strip = select(table, **{name: base[name] for name in settings if name != setting})
        parts.append(strip.assign(setting=setting, at=strip[setting]))
    return pd.concat(parts, ignore_index=True)


def at_some_layer(table: pd.DataFrame, happens: pd.Series) -> pd.DataFrame:
    """Whether something happens at one layer or more: a row for each network, and in `value` true or false.

    `happens` says it for each row of the table, that is for each layer.
    """
    network = [column for column in table.columns if column not in ("layer", "value")]
    found = table.assign(value=happens).groupby(network, sort=False, dropna=False)["value"].any()
    return found.reset_index()


def typical_seed(runs: pd.DataFrame) -> int:
    """The seed to draw from all conditions of a table. Of the seeds with the least error it has the median loss at the end of training.

    A seed counts with the largest of its errors, and with the sum of its losses, over the conditions. Errors: ValueError where each seed
    diverged somewhere.
    """
    seeds = runs.groupby("seed").agg(error=("error", "max"), late_loss=("late_loss", "sum"), diverged=("diverged", "any"))
    seeds = seeds[~seeds["diverged"]]
    if seeds.empty:
        raise ValueError("every seed of the table diverged somewhere; one that did not is needed")
    least = seeds[seeds["error"] == seeds["error"].min()].sort_values("late_loss", kind="stable")
    return int(least.index[(len(least) - 1) // 2])


def median(values) -> float:
    """The median of what is not NaN. Of an even number of values it is the lower of the two in the middle, as in torch.

    Infinite values count: the condition number of a network that collapsed is larger than any other. NaN where nothing is left.
    """
    values = np.asarray(values, dtype=float).ravel()
    values = np.sort(values[~np.isnan(values)])
    return float(values[(len(values) - 1) // 2]) if len(values) else float("nan")


def shares(table: pd.DataFrame, by: Sequence[str], value: str = "solved") -> pd.DataFrame:
    """For each combination of `by`, the share of rows in which a column is true, with Wilson's interval: share, low, high, count, n."""

    def one(values: pd.Series) -> dict:
        share, low, high = proportion(values)
        return {"share": share, "low": low, "high": high, "count": int(values.sum()), "n": len(values)}

    return _each(table, by, value, one)


def medians(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """For each combination of `by`, the median of the finite values of a column with its bootstrap interval: median, low, high, n."""

    def one(values: pd.Series) -> dict:
        finite = values[np.isfinite(values)]
        return dict(zip(("median", "low", "high"), median_interval(finite), strict=True)) | {"n": len(finite)}

    return _each(table, by, value, one)


def success_table(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """For a reader: how many networks reach 0.0 % error under each combination of `by`, with Wilson's interval, and the median error."""
    rows = {}
    for name, group in runs.groupby(list(by), sort=False):
        low, high = wilson(int(group["solved"].sum()), len(group))
        rows[", ".join(map(str, name))] = {
            "at 0.0 % error": f"{int(group['solved'].sum())} of {len(group)}",
            "95 % interval": f"{low:.0%} to {high:.0%}",
            "median error": f"{median(group['error']):.1%}",
            "diverged": int(group["diverged"].sum()),
        }
    return pd.DataFrame(rows).T


# What rules and records take: mappings, with a label for each row of a table.

SHARE = ("share", "low", "high")  #: a share and its interval, in a table that `shares` made
MEDIAN = ("median", "low", "high")  #: a median and its interval, in a table that `medians` made


def labelled(table: pd.DataFrame, label: str, columns: str | Sequence[str]) -> dict:
    """The value of a column, or a tuple of the values of several, for each row. `label` names the row by the columns in braces.

    >>> labelled(pd.DataFrame({"network": ["C1"], "share": [0.5]}), "share of {network}", "share")
    {'share of C1': 0.5}
    """
    rows = table.to_dict("records")
    return {label.format(**row): row[columns] if isinstance(columns, str) else tuple(row[name] for name in columns) for row in rows}


def _each(table: pd.DataFrame, by: Sequence[str], value: str, one: Callable[[pd.Series], dict]) -> pd.DataFrame:
    """A row for each combination of `by`, in the order in which they first stand in the table."""
    groups = table.groupby(list(by), sort=False)[value]
    return pd.DataFrame([dict(zip(by, place, strict=True)) | one(values) for place, values in groups])


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; a number between 0 and 1 is needed")
    return level
