"""What the claims about Figure 2 compare (section 7.1), and how the network that a figure draws was chosen.

The tables are those of a study: network, seed, solved, value. Networks of the same seed are compared.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..networks import CkNetwork
from .contrasts import Contrast, difference, median, ratio, superiority
from .statistics import select
from .studies import Condition, StudyResult

DELTA = math.log(1.25)  #: the smallest effect of interest of a ratio
SMOOTH = ("{} less rough than C0", "{} rougher than C0")
STRAIGHT = ("chord over length {} larger at the output than at the input", "chord over length {} smaller at the output than at the input")


def drawn(study: StudyResult, condition: Condition, measure: str, **where) -> tuple[CkNetwork, str]:
    """The network of a condition that a figure draws, in float64, and in words how it was chosen and where it lies in a measure.

    `where` says at which layer, if the measure has layers.
    """
    networks = study.trained(condition)
    seed, least = networks.typical_seed, float(networks.error[networks.typical()])
    own = {name: value for name, value in condition.settings().items() if not isinstance(value, tuple)}
    values = select(study[measure], **own, **where).set_index("seed")["value"]
    count, less = int((networks.error == least).sum()), float((values < values[seed]).mean())
    which = "at 0.0 % error" if least == 0 else f"with the least error, {least:.1%}"
    text = f"{condition.network}, seed {seed}: the median final loss of the {count} of {len(values)} seeds {which}"
    return networks.network(seed).double(), f"{text};\n{measure} {values[seed]:.2f}, larger than that of {less:.0%} of the seeds"


def usual(solved) -> Contrast:
    """By how much the share of seeds at 0.0 % error exceeds one half. A network that diverged is not at 0.0 %."""
    say = "{} of seeds at 0.0 %", "{} of seeds above 0.0 %"
    return superiority(solved, np.full(len(solved), 0.5), delta=0.1, say=say)


def less_rough(table: pd.DataFrame, other: str, say: Sequence[str] = SMOOTH, *, only_solved: bool = False) -> Contrast:
    """How much rougher C0 is than another network, of all pairs, or of those in which both are at 0.0 % error."""
    first, second = (select(table, network=each).set_index("seed") for each in ("C0", other))
    kept = (first["solved"] & second["solved"]) | (not only_solved)
    return ratio(first["value"][kept], second["value"][kept], delta=DELTA, say=(say[0], say[1]))


def less_rough_than_untrained(trained: pd.DataFrame, untrained: pd.DataFrame, other: str) -> Contrast:
    """`less_rough` of trained networks. Its sentence also says how much of it is there before training."""
    before = less_rough(untrained, other).plain
    return less_rough(trained, other, [f"untrained {before}, trained {{}} {way}" for way in ("less rough", "rougher")])


def smooth_by_itself(trained: pd.DataFrame, untrained: pd.DataFrame, network: str, independent: float) -> dict[str, str]:
    """For a record: a network against itself before training, and against `independent` steps, whose roughness is known."""
    before, after = (select(table, network=network)["value"] for table in (untrained, trained))
    training = ratio(before, after, delta=DELTA, say=("{} less rough than before training", "{} rougher than before training"))
    pairs = less_rough(trained, network, only_solved=True)
    absolute = median(after, independent, delta=DELTA, above=False, log=True, say="median {}")
    return {
        f"secondary: {network}, trained against untrained": read(training),
        f"secondary: {network}, smoother than independent steps": read(absolute),
        f"secondary: {network}, pairs at 0.0 %": read(pairs) if pairs.n >= 6 else f"too few ({pairs.n})",
    }


def at_ends(study: StudyResult, measure: str, network: str) -> tuple[np.ndarray, np.ndarray]:
    """A measure of a kind of network at the output and at the input, for each seed."""
    rows = select(study[measure], network=network)
    first, last = (select(rows, layer=layer)["value"].to_numpy() for layer in (0, rows["layer"].max()))
    return last, first


def straighter(study: StudyResult, network: str, say: Sequence[str] = STRAIGHT) -> Contrast:
    """How much straighter the arms are at the output than at the input of the same network: chord over length."""
    return ratio(*at_ends(study, "straightness", network), delta=DELTA, say=(say[0], say[1]), growth=True)


def straight_as_we_read_it(study: StudyResult, untrained: StudyResult, network: str) -> Contrast:
    """`straighter`. Its sentence names the reading, and says what another one would give, of trained and of untrained networks."""
    last, first = (np.nanmedian(values) for values in at_ends(study, "first axis", network))
    null = np.nanmedian(at_ends(untrained, "first axis", network)[0])
    other = f"by another reading, the share of the variance on the first axis goes from {first:.0%} to {last:.0%}, untrained to {null:.0%}"
    return straighter(study, network, [f"as we read it, straight ({other}): {way}" for way in STRAIGHT])


def other_readings(study: StudyResult, network: str) -> dict[str, object]:
    """For a record: the arms on one line, and with little curvature, at the output against the input; and medians at both."""
    say = "{} more of the variance on the first axis", "{} less of the variance on the first axis"
    on_a_line = difference(*at_ends(study, "first axis", network), delta=0.1, say=say)
    last, first = at_ends(study, "turning", network)
    curved = ratio(first, last, delta=DELTA, say=("total curvature {} smaller at the output", "total curvature {} larger at the output"))
    found: dict[str, object] = {"secondary: along one line": read(on_a_line), "secondary: little curvature": read(curved)}
    for measure in ("straightness", "first axis", "turning"):
        last, first = at_ends(study, measure, network)
        found[f"median {measure}"] = {"input": float(np.nanmedian(first)), "output": float(np.nanmedian(last))}
    return found


def read(contrast: Contrast) -> str:
    """A contrast in plain terms, and how it reads."""
    return f"{contrast.plain}: reads {contrast.reading} (Δ {contrast.smallest}, {contrast.n} seeds)"
