"""Conditions of a study by what they change of a base, and contrasts between two of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from .contrasts import Contrast, ratio
from .statistics import select
from .studies import Condition, StudyResult

Change = Mapping[str, object]  #: settings of a condition that differ from those of the base; none for the base itself


class Changes:
    """The networks of studies whose conditions differ from one `base`. `smallest` holds the smallest effect of interest of each measure.

    Measures are those that the studies have, and two more: `solved`, which is true or false, and `condition number`, from `log condition`.
    """

    def __init__(self, base: Condition, studies: Sequence[StudyResult], smallest: Mapping[str, float]):
        self.base, self.smallest = base, dict(smallest)
        self.runs = pd.concat([study.runs for study in studies], ignore_index=True)
        names = dict.fromkeys(name for study in studies for name in study.tables)
        found = {name: pd.concat([study[name] for study in studies if name in study.tables], ignore_index=True) for name in names}
        found["solved"] = self.runs.assign(value=self.runs["solved"])
        if "log condition" in found:
            found["condition number"] = found["log condition"].assign(value=10 ** found["log condition"]["value"])
        self.tables = found

    def rows(self, measure: str, *changes: Change, layers: bool = False) -> pd.DataFrame:
        """The rows of a measure under these changes, one after the other, at the output alone unless `layers` asks for every layer.

        Errors: ValueError where no study has the condition.
        """
        table, found = self.tables[measure], []
        for change in changes:
            condition = replace(self.base, **change)  # type: ignore[arg-type]
            own = select(table, **condition.settings()).drop_duplicates(["seed", *({"layer"} & set(table))])
            if own.empty:
                raise ValueError(f"change is {dict(change)}; one of the conditions that were measured for {measure!r} is needed")
            found.append(own if layers or "layer" not in own else own[own["layer"] == condition.depth])
        return pd.concat(found, ignore_index=True)

    def values(self, measure: str, change: Change) -> pd.Series:
        """A measure of the networks under a change, at the output: a number for each seed."""
        return self.rows(measure, change).set_index("seed")["value"]

    def solved(self, *changes: Change) -> pd.Series:
        """Whether a seed reaches 0.0 % error under each of these changes."""
        return pd.concat([self.values("solved", change) for change in changes], axis=1).all(axis=1)

    def against(self, measure: str, first: Change, second: Change, *, than: str, only: pd.Series | None = None) -> Contrast:
        """How much larger a measure is under the first change than under the second, which `than` names.

        Of all seeds, or of those for which `only` is true.
        """
        return self._ratio(measure, [self.values(measure, change) for change in (first, second)], f"{measure} {{}} {{}} with {than}", only)

    def growth(self, measure: str, pair: tuple[Change, Change], change: Change, *, what: str, than: str) -> Contrast:
        """How much larger the ratio of a measure, first of a `pair` to second, is with a further change than without.

        The ratio for each seed of the one is compared with that for the same seed of the other. `what` names the ratio with the change, and
        `than` the one without.
        """
        ratios = [self.values(measure, {**each, **pair[0]}) / self.values(measure, {**each, **pair[1]}) for each in (change, {})]
        return self._ratio(measure, ratios, f"{what} {{}} {{}} than {than}", None, growth=True)

    def _ratio(self, measure: str, pair: list[pd.Series], sentence: str, only: pd.Series | None, growth: bool = False) -> Contrast:
        first, second = pair if only is None else [each[only.reindex(each.index)] for each in pair]
        says = tuple(sentence.format("{}", word) for word in (("larger", "smaller") if growth else ("smaller", "larger")))
        return ratio(first, second.reindex(first.index), delta=self.smallest[measure], say=says, growth=growth)  # type: ignore[arg-type]


def told(contrast: Contrast) -> str:
    """A contrast that cannot turn a verdict, as a record tells it: in plain terms, and how it reads."""
    return f"{contrast.plain}: {contrast.reading}"
