"""The multiverse of the claims about Figures 2 and 4: the same networks trained under every setting that the paper leaves open (section 7).

A setting is a choice on each of `AXES`. Under each of the 144 the four kinds of Figure 2 are trained with batch 300 of 1000 points, and C1
and C2, for Figure 4, with batches 300 and 1000 of 1000 and of 4000 points. The training points are at random positions along the arms, one
draw for all. The mixed network has no identity on the way into layer 6 of 10, or into the layer at the same share of another depth: 4 of
6, 10 of 16. What is measured is `studies.summary`, on 4000 points evenly along the arms.

`make` computes a table of a row for each network, `multiverse.csv.gz`, and beside it `multiverse.json`, which says what made it.
"""

import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from gzip import compress, decompress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import checks
from .contrasts import Contrast, equivalence, ratio, share
from .files import renamed_to
from .provenance import code_of, hashed
from .shards import LIBRARIES, Task, compute, versions
from .statistics import select
from .studies import Condition, outcome, without_identity

TABLE = Path(__file__).with_name("multiverse.csv.gz")

#: What is varied. `rate` is the factor of the optimiser's learning rate, `sgd` has momentum 0.9
AXES: dict[str, tuple[Any, ...]] = {
    "turns": (0.75, 1.0, 1.25, 1.5),
    "depth": (6, 10, 16),
    "rate": (0.333, 1.0, 3.0),
    "updates": (1000, 3000),
    "optimiser": ("adam", "sgd"),
}
BASE: dict[str, Any] = {"turns": 1.0, "depth": 10, "rate": 1.0, "updates": 3000, "optimiser": "adam"}  #: the protocol's own setting
ORDERS = {"C0": 0, "C1": 1, "C2": 2, "mixed": 1}
PLAIN = 0.6  #: the share of the depth at which the mixed network has its plain layer

#: Network, batch size and points of what is trained under each setting: first for Figure 2, then for Figure 4
TRAINED = [(network, 300, 1000) for network in ORDERS]
TRAINED += [(network, batch, points) for network in ("C1", "C2") for batch, points in ((1000, 1000), (300, 4000), (1000, 4000))]

SEEDS = tuple(range(20))
MEASURES = ("log_roughness", "log_gap", "log_length", "log_condition")  #: columns of the table, besides the settings, seed and error

ADAM_RATE = 1e-2
SGD_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  #: one of these is the paper's unnamed rate: the best for the base with sgd,
TUNING_SEEDS = tuple(range(10_000, 10_020))  #: by networks from seeds that are not in the table


@dataclass(frozen=True)
class Cell:
    """What one task trains: a kind of network, a batch and a sample, under one setting."""

    network: str
    batch_size: int
    points: int
    turns: float
    depth: int
    rate: float
    updates: int
    optimiser: str

    def condition(self, sgd_rate: float) -> Condition:
        """The condition of a study that this is, with the learning rate of `sgd` that tuning has found."""
        first = {"adam": ADAM_RATE, "sgd": sgd_rate}[self.optimiser]
        same = {name: getattr(self, name) for name in ("batch_size", "points", "turns", "depth", "updates", "optimiser")}
        found = Condition(order=ORDERS[self.network], positions="random", learning_rate=self.rate * first, **same)
        return without_identity(found, max(1, round(PLAIN * self.depth))) if self.network == "mixed" else found


def cells(axes: Mapping[str, Sequence] = AXES) -> list[Cell]:
    """All of them, in the order of the table. `axes` may have fewer values."""
    return [Cell(*trained, *values) for values in product(*axes.values()) for trained in TRAINED]


# The table.


def make(
    axes: Mapping[str, Sequence] = AXES,
    seeds: Sequence[int] = SEEDS,
    *,
    base: Mapping[str, Any] = BASE,
    file: Path = TABLE,
    **how,
) -> pd.DataFrame:
    """Tunes the rate of sgd, computes the table, and writes it with its description. Returns it as `read` does.

    `how` goes to `shards.compute`: workers, scheduler, folder. What a run that was stopped has finished is not computed again. A table
    that is the same as the one that is there leaves the file as it is.
    """
    rate = tuned_rate(base, **how)
    todo = cells(axes)
    text = as_text(todo, outcomes([cell.condition(rate) for cell in todo], seeds, **how), seeds)
    about = {
        "code": digest(rate, axes, seeds, base),
        "versions": dict(zip(LIBRARIES, versions(), strict=True)),
        "date": date.today().isoformat(),
        "seeds": list(seeds),
        "sgd_rate": rate,
        "sgd_rates": list(SGD_RATES),
        "tuning_seeds": list(TUNING_SEEDS),
    }
    same = file.exists() and _text(file) == text and described(file) | {"date": about["date"]} == about
    if not same:
        for path, content in ((file, compress(text.encode(), mtime=0)), (_beside(file), json.dumps(about, indent=1).encode() + b"\n")):
            with renamed_to(path) as writing:
                writing.write_bytes(content)
    return parsed(text)


def tuned_rate(base: Mapping[str, Any] = BASE, seeds: Sequence[int] = TUNING_SEEDS, **how) -> float:
    """The rate of `SGD_RATES` with which most networks of the four kinds reach 0.0 % error at the base; of equals that of least late loss.

    A network that diverged is not at 0.0 %, and its loss counts as infinite.
    """
    four = [Cell(*trained, **{**base, "rate": 1.0, "optimiser": "sgd"}) for trained in TRAINED[: len(ORDERS)]]
    found = outcomes([cell.condition(rate) for rate in SGD_RATES for cell in four], seeds, **how)
    scores = {}
    for i, rate in enumerate(SGD_RATES):
        error, loss = (torch.cat([result[name] for result in found[i * len(four) :][: len(four)]]) for name in ("error", "late_loss"))
        scores[rate] = int((error == 0).sum()), -float(loss.nan_to_num(nan=torch.inf).median())
    return max(scores, key=lambda rate: scores[rate])


def outcomes(conditions: Sequence[Condition], seeds: Sequence[int], **how) -> list[dict[str, torch.Tensor]]:
    """The outcome of each condition. They are computed in a mixed order, so that the time left that is shown is about right."""
    order = np.random.default_rng(0).permutation(len(conditions))
    found = compute([Task(outcome, (conditions[i], tuple(seeds))) for i in order], **how)
    return [found[i] for i in np.argsort(order)]


def as_text(todo: Sequence[Cell], found: Sequence[Mapping[str, torch.Tensor]], seeds: Sequence[int]) -> str:
    """The table as comma-separated values, with four significant digits: a row for each cell and seed."""
    parts = []
    for cell, result in zip(todo, found, strict=True):
        values = {name: result[name].float().numpy() for name in ("error", *MEASURES)}
        parts.append(pd.DataFrame({**asdict(cell), "seed": seeds, **values}))
    return pd.concat(parts).to_csv(index=False, float_format="%.4g")


def parsed(text: str) -> pd.DataFrame:
    """The tidy table: the settings of a cell, seed, error, the measures, and whether the network is at 0.0 % error. NaN where diverged."""
    table = pd.read_csv(io.StringIO(text), dtype={"turns": float, "rate": float})
    return table.assign(solved=table["error"] == 0)


def read(file: Path = TABLE) -> pd.DataFrame:
    """The table that is kept, as `parsed`. Errors: OSError where there is none."""
    return parsed(_text(file))


def described(file: Path = TABLE) -> dict:
    """What made the table that is kept: digest of the code, versions, date, seeds, the rate of sgd."""
    return json.loads(_beside(file).read_text(encoding="utf-8"))


def digest(sgd_rate: float, axes: Mapping[str, Sequence] = AXES, seeds: Sequence[int] = SEEDS, base: Mapping[str, Any] = BASE) -> str:
    """The digest of all code that decides the table, and of what it computes with it."""
    conditions = [asdict(cell.condition(sgd_rate)) for cell in cells(axes)]
    return hashed([code_of(outcome), conditions, list(seeds), dict(base), SGD_RATES, TUNING_SEEDS, MEASURES])


def _text(file: Path) -> str:
    return decompress(file.read_bytes()).decode()


def _beside(file: Path) -> Path:
    return file.with_suffix("").with_suffix(".json")


# Is the table right?


def check(handful: int = 10, seed: int = 0, *, file: Path = TABLE, **how) -> pd.DataFrame:
    """Computes the cells of the base and a random handful of the others anew, and compares them with the table: a row for each cell.

    `equal` is the share of numbers that are the same to the last digit kept. `solved` is the share of networks at 0.0 % error less that in
    the table, and each measure the median over networks less that in the table: on another machine rounding leads to other networks, and
    these show whether they are of the same kind. `how` goes to `shards.compute`. Nothing is taken from what it has kept.
    """
    table, about = read(file), described(file)
    names = [field.name for field in fields(Cell)]
    known = [Cell(*values) for values in table[names].drop_duplicates().itertuples(index=False)]
    base = [cell for cell in known if all(getattr(cell, name) == value for name, value in BASE.items())]
    others = [cell for cell in known if cell not in base]
    drawn = np.random.default_rng(seed).choice(len(others), min(checks.integer("handful", handful, 0), len(others)), replace=False)
    todo = base + [others[i] for i in drawn]
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes([cell.condition(about["sgd_rate"]) for cell in todo], about["seeds"], **{"folder": folder, **how})
    again = parsed(as_text(todo, found, about["seeds"]))
    rows = []
    for cell in todo:
        new, old = (select(each, **asdict(cell))[["solved", "error", *MEASURES]].reset_index(drop=True) for each in (again, table))
        equal = ((new == old) | (new.isna() & old.isna())).to_numpy().mean()
        off = {name: new[name].median() - old[name].median() for name in MEASURES}
        rows.append({**asdict(cell), "equal": equal, "solved": new["solved"].mean() - old["solved"].mean(), **off})
    return pd.DataFrame(rows)


# What the claims compare under each setting. Each function is given the rows of one, for `specifications`.


def rougher(rows: pd.DataFrame, network: str, *, delta: float = math.log(1.25)) -> Contrast:
    """How much rougher C0 is than a network, of all pairs (section 7.1)."""
    first, second = (select(rows, network=each, batch_size=300, points=1000)["log_roughness"] for each in ("C0", network))
    say = f"{network} {{}} less rough than C0", f"{network} {{}} rougher than C0"
    return ratio(np.exp(first), np.exp(second), delta=delta, say=say)


def torn(rows: pd.DataFrame, network: str, points: int = 1000, *, delta: float = math.log(2)) -> Contrast:
    """How much larger the largest gap is with batch 300 than with batch 1000, of all pairs at equal updates (section 7.3)."""
    first, second = (select(rows, network=network, batch_size=batch, points=points)["log_gap"] for batch in (300, 1000))
    say = "largest gap {} smaller with batch 1000", "largest gap {} larger with batch 1000"
    return ratio(np.exp(first), np.exp(second), delta=delta, say=say)


def untangled(rows: pd.DataFrame, network: str = "mixed", *, margin: float = 0.1) -> Contrast:
    """Whether a network reaches 0.0 % error as often as C1, within a margin (section 7.1)."""
    first, second = (select(rows, network=each, batch_size=300, points=1000) for each in (network, "C1"))
    solved = [each["solved"].where(each["error"].notna()).astype(float) for each in (first, second)]
    return equivalence(share(*solved, delta=margin, say=("solved by {} more", "solved by {} fewer")))
