"""Figures of studies: distributions over seeds, sensitivity strips, layers, batch sizes. They take the tables of a study.

A dot is a network, filled where it reaches 0.0 % error. Medians carry bootstrap 95 % intervals, shares of networks Wilson's.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, PercentFormatter

from ...plot import GREY, NETWORKS, as_array, figure
from .. import statistics
from . import described, listed

ORDERED = ("#a6cee3", "#56a0d3", "#1f5fa8", "#0b2a5b")  # values in their order, light to dark
TORN = "#D55E00"
MARKS = ("#999999", "#444444")  #: of bars over the layers
SOLVED = "seeds at 0.0 % error"


def distributions(
    table: pd.DataFrame,
    *,
    ylabel: str,
    title: str = "",
    untrained: pd.DataFrame | None = None,
    null: tuple[str, float] | None = None,
):
    """One measure: a column of dots for each kind of network, its median and the interval of it. `table`: network, solved, value.

    `untrained` are networks of the same kinds before training: their median is a short dashed line. `null` is a name and a value, a dotted
    line across.
    """
    fig, ((ax,),) = figure(1, 1, width=5.0, height=3.7)
    kinds = list(table["network"].unique())
    for i, kind in enumerate(kinds):
        rows = statistics.select(table, network=kind)
        (_, middle, low, high) = _middles(rows, ["network"], "value").iloc[0]
        x, colour, solved = i + _spread(len(rows)), _colour(kind, i), rows["solved"].to_numpy()
        ax.plot(x[~solved], rows["value"][~solved], "o", ms=3, mfc="none", mec=colour, mew=0.6, alpha=0.7)
        ax.plot(x[solved], rows["value"][solved], "o", ms=3, color=colour, mew=0, alpha=0.7)
        ax.plot([i - 0.36, i + 0.36], [middle, middle], color="k", lw=1.4)
        ax.plot([i, i], [low, high], color="k", lw=3.5, solid_capstyle="butt")
    ax.set(xticks=range(len(kinds)), xlim=(-0.6, len(kinds) - 0.4), xlabel="network", ylabel=ylabel, title=title)
    ax.set_xticklabels(kinds)
    dots = {"0.0 % error": GREY, "more": "none"}
    handles = [Line2D([], [], marker="o", ls="", ms=4, mfc=face, mec=GREY, label=name) for name, face in dots.items()]
    handles.append(Line2D([], [], color="k", lw=1.4, label="median, 95 % interval"))
    handles += _nulls(ax, kinds, untrained, null)
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    medians = _middles(table, ["network"], "value")
    before = f" Untrained: {_told(_middles(untrained, ['network'], 'value'))}." if untrained is not None else ""
    alt = f"{ylabel} of each network, a dot each, filled at 0.0 % error. {title}. Medians: {_told(medians)}.{before}"
    return described(fig, alt + (f" {null[0]}: {null[1]:.3g}." if null else ""))


def _nulls(ax, kinds: Sequence[str], untrained: pd.DataFrame | None, null: tuple[str, float] | None) -> list[Line2D]:
    """What `distributions` draws of networks before training, and of a value without networks; returns what a legend needs."""
    handles = []
    if untrained is not None:
        for row in _middles(untrained, ["network"], "value").itertuples():
            i = kinds.index(row.network)
            ax.plot([i - 0.45, i + 0.45], [row.middle, row.middle], color=GREY, ls="--", lw=1.6)
        handles.append(Line2D([], [], color=GREY, ls="--", lw=1.6, label="median, untrained"))
    if null:
        handles.append(ax.axhline(null[1], color=GREY, ls=":", lw=1, label=null[0]))
    return handles


def _told(medians: pd.DataFrame) -> str:
    return ", ".join(f"{row.network} {row.middle:.3g}" for row in medians.itertuples())


def strips(table: pd.DataFrame, base: Mapping[str, object], *, measure: str, line: float | None = None):
    """Sensitivity: above the share of networks at 0.0 % error, below the median of a measure; a column of panels for each setting.

    `table` is one that `statistics.strips` made of the measure. Dotted: the value of each setting in `base`. `line` is a value of the
    measure to compare with, dashed.
    """
    settings, kinds = list(table["setting"].unique()), list(table["network"].unique())
    quantities = {"solved": SOLVED, "value": f"{measure} (median)"}
    width = min(9.0, 1.2 + 2.4 * len(settings))
    fig, axes = figure(2, len(settings), width=width, height=5.2, sharey="row", sharex="col")
    for row, column in zip(axes, quantities, strict=True):
        for ax, (setting, strip) in zip(row, table.groupby("setting", sort=False), strict=True):
            middles = _middles(strip, ["network", "at"], column)
            for i, kind in enumerate(kinds):
                found = statistics.select(middles, network=kind).sort_values("at")
                _errorbar(ax, found["at"], found, color=_colour(kind, i), marker="o", ms=4, lw=1.2)
            ax.axvline(base[setting], color=GREY, ls=":", lw=1, zorder=0)
            _ticks_at(ax, sorted(strip["at"].unique()))
            if line is not None and column == "value":
                ax.axhline(line, color=GREY, ls="--", lw=1, zorder=0)
        row[0].set_ylabel(quantities[column])
    for ax, setting in zip(axes[-1], settings, strict=True):
        ax.set_xlabel(setting.replace("_", " "))
    _percent(axes[0, 0])
    axes[1, 0].set_ylim(bottom=0)
    _legend(fig, kinds, marker="o", ms=4)
    alt = (
        f"Above, {SOLVED}, below, the {measure}, of networks {listed(kinds)}, as one setting is changed at a time: "
        f"{listed(setting.replace('_', ' ') for setting in settings)}. Dotted lines mark the base settings."
    )
    return described(fig, alt)


def through_layers(
    panels: Mapping[str, pd.DataFrame],
    *,
    by: str = "network",
    log: Sequence[str] = (),
    mean: Sequence[str] = (),
    marked: Mapping[str, tuple[float, float]] | None = None,
):
    """A measure against the layer, one panel for each table: a line for each value of the column `by`. The key is the label of the y axis.

    Lines are medians, and the shaded regions hold the middle half of the networks. Panels in `mean` show means in percent instead; those in
    `log` have a logarithmic axis. A value that ends in "untrained" has a dashed line. `marked` names layers, first and last: a bar.
    `panels[label]`: the column `by`, layer, value.
    """
    fig, axes = figure(1, len(panels), width=max(4.6, min(9.0, 4.0 * len(panels) + 0.6)), height=3.3)
    names = list(dict.fromkeys(name for table in panels.values() for name in table[by]))
    for ax, (ylabel, table) in zip(axes[0], panels.items(), strict=True):
        for name, rows in table.groupby(by, sort=False):
            values, colour = rows.groupby("layer")["value"], _colour(name, names.index(name))
            middle = values.mean() if ylabel in mean else values.median()
            ax.plot(middle, color=colour, marker="o", ms=3, ls=_line(name))
            if ylabel not in mean and _line(name) == "-":
                ax.fill_between(middle.index, values.quantile(0.25), values.quantile(0.75), color=colour, alpha=0.16, lw=0)
        for i, layers in enumerate((marked or {}).values()):
            ax.plot(layers, [0.99 - 0.04 * i] * 2, color=MARKS[i], lw=4, transform=ax.get_xaxis_transform(), solid_capstyle="butt")
        ax.set(xlabel="layer", ylabel=ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if ylabel in log:
            _logarithmic(ax)
        if ylabel in mean:
            _percent(ax)
    band = [Patch(color=GREY, alpha=0.25, lw=0, label="middle half of the networks")] if set(panels) - {*mean} else []
    band += [Line2D([], [], color=MARKS[i], lw=4, label=name) for i, name in enumerate(marked or ())]
    _legend(fig, names, by=by, more=band, marker="o", ms=3)
    alt = (
        f"{listed(panels)} against the layer, for {listed(names)}. Last layer: "
        + "; ".join(
            f"{ylabel}: " + ", ".join(f"{value:.3g} for {name}" for name, value in _last(table, by, ylabel in mean))
            for ylabel, table in panels.items()
        )
        + "."
    )
    return described(fig, alt)


def _last(table: pd.DataFrame, by: str, mean: bool):
    """For each value of the column `by` the mean or the median at the last layer."""
    values = table.loc[table["layer"] == table["layer"].max()].groupby(by, sort=False)["value"]
    return (values.mean() if mean else values.median()).items()


def positions(table: pd.DataFrame, reference: pd.DataFrame):
    """Success by the position of the one plain layer. `table`: plain_layer, solved.

    Dashed, with its interval as a band: the networks of `reference` (network, solved), one kind in all layers.
    """
    fig, ((ax,),) = figure(1, 1, width=5.6, height=3.2)
    middles = _middles(table, ["plain_layer"], "solved")
    label = "no identity into one layer"
    _errorbar(ax, middles["plain_layer"], middles, color=NETWORKS["mixed"], marker="o", ms=4, ls="", label=label)
    found = _middles(reference, ["network"], "solved")
    for i, row in enumerate(found.itertuples()):
        ax.axhline(row.middle, color=_colour(row.network, i), ls="--", lw=1, label=f"{row.network} in all layers")
        ax.axhspan(row.low, row.high, color=_colour(row.network, i), alpha=0.12, lw=0)
    ax.set(xlabel="layer without the identity", xticks=middles["plain_layer"], ylabel=SOLVED)
    _percent(ax)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    low, high = middles["middle"].min(), middles["middle"].max()
    lines = ", ".join(f"{row.network} in all layers {row.middle:.0%}" for row in found.itertuples())
    alt = f"{SOLVED}, when the identity is left out in one layer, by that layer: from {low:.0%} to {high:.0%}. Dashed lines: {lines}"
    return described(fig, f"{alt}.")


def batches(table: pd.DataFrame, *, success: bool = False, log: Sequence[str] = ()):
    """Measures against the batch size: a row of panels for each measure, a column for each matching; medians joined by lines.

    `table`: measure, matching, network, batch_size, seed, solved, value. `success` adds a first row, the share of networks at 0.0 % error.
    Measures in `log` have a logarithmic axis.
    """
    measures, matchings = list(table["measure"].unique()), list(table["matching"].unique())
    kinds, sizes = list(table["network"].unique()), sorted(table["batch_size"].unique())
    if success:
        solved = statistics.select(table, measure=measures[0])
        table = pd.concat([table, solved.assign(measure=SOLVED)])
        measures = [SOLVED, *measures]
    fig, axes = figure(len(measures), len(matchings), width=8.6, height=0.7 + 2.15 * len(measures), sharey="row", sharex="col")
    for row, measure in zip(axes, measures, strict=True):
        for ax, matching in zip(row, matchings, strict=True):
            rows = statistics.select(table, measure=measure, matching=matching)
            for i, kind in enumerate(kinds):
                offset = 0.24 * (i - (len(kinds) - 1) / 2)
                _by_size(ax, statistics.select(rows, network=kind), sizes, offset, _colour(kind, i), measure == SOLVED)
        row[0].set_ylabel(measure)
        if measure in log:
            _logarithmic(row[0])
        elif measure == SOLVED:
            _percent(row[0])
        else:
            row[0].set_ylim(bottom=0)
    for top, bottom, matching in zip(axes[0], axes[-1], matchings, strict=True):
        top.set_title(matching)
        bottom.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        bottom.set_xlabel("batch size")
    _legend(fig, kinds, marker="s", ms=4, mec="k", mew=0.5)
    alt = (
        f"{listed(measures)} against batch sizes {listed(sizes)}, for networks {listed(kinds)}: a row of panels for each "
        "measure, a column each "
        f"for {listed(matchings)}. A dot is a network, squares are medians with 95 % intervals."
    )
    return described(fig, alt)


def _by_size(ax, rows: pd.DataFrame, sizes: Sequence[int], offset: float, colour: str, success: bool) -> None:
    """One kind of network against the batch size: a dot for each network, the medians joined by a line; or the shares of success."""
    middles = _middles(rows, ["batch_size"], "solved" if success else "value").sort_values("batch_size")
    if not success:
        for size, values in rows.groupby("batch_size")["value"]:
            ax.plot(sizes.index(size) + offset + 0.3 * _spread(len(values)), values, "o", ms=1.6, color=colour, mew=0, alpha=0.3)
    at = [sizes.index(size) + offset for size in middles["batch_size"]]
    _errorbar(ax, at, middles, color=colour, marker="s", ms=4, mec="k", mew=0.5, lw=1.2)


def shifts(comparisons: pd.DataFrame, *, xlabel: str):
    """Effects with their intervals: a row of panels for each measure, a column for each matching; pale where the interval holds 0.

    `comparisons`: measure, matching, network, median, low, high, as `statistics.compare` finds them.
    """
    measures, matchings, kinds = (list(comparisons[name].unique()) for name in ("measure", "matching", "network"))
    height = 0.7 + len(measures) * (0.35 + 0.24 * len(kinds))
    fig, axes = figure(len(measures), len(matchings), width=8.0, height=height, sharex="row", sharey=True)
    for row, measure in zip(axes, measures, strict=True):
        for ax, matching in zip(row, matchings, strict=True):
            for effect in statistics.select(comparisons, measure=measure, matching=matching).itertuples():
                y, sure = kinds.index(effect.network), effect.low > 0 or effect.high < 0
                colour = _colour(effect.network, y)
                ax.plot([effect.low, effect.high], [y, y], color=colour, lw=2.4, alpha=1 if sure else 0.35)
                ax.plot(effect.median, y, "o", ms=6, color=colour, mfc=colour if sure else "w")
            ax.axvline(0, color=GREY, lw=0.8, ls="--", zorder=0)
            ax.set_yticks(range(len(kinds)), kinds)
            ax.set_ylim(len(kinds) - 0.5, -0.5)
            ax.set_title(f"{measure}, {matching}")
    fig.supxlabel(xlabel, fontsize=9)
    away = comparisons[(comparisons["low"] > 0) | (comparisons["high"] < 0)]
    alt = (
        f"{xlabel}. Of {len(comparisons)} effects these have a 95 % interval without 0: "
        + ("; ".join(f"{e.measure}, {e.matching}, {e.network}: {e.median:.2g}" for e in away.itertuples()) or "none")
        + "."
    )
    return described(fig, alt)


def refinement(gaps: pd.DataFrame, torn, parts: int):
    """The largest gap of each arm, relative to its first, as the sampling becomes `parts` times as fine in each stage.

    `gaps`: a row for each arm, a column for each stage, `network` in the index. `torn`: the gaps of a map with a tear.
    """
    fig, ((ax,),) = figure(1, 1, width=5.4, height=3.6)
    for i, (name, rows) in enumerate(gaps.groupby(level="network", sort=False)):
        values = rows.to_numpy()
        ax.plot((values / values[:, :1]).T, color=_colour(name, i), lw=0.4, alpha=0.25)
        ax.plot([], [], color=_colour(name, i), label=name)
    torn, stages = as_array(torn), np.arange(len(torn))
    ax.plot(stages, float(parts) ** -stages, color="k", ls="--", lw=1, label="in proportion to the sampling")
    ax.plot(stages, torn / torn[0], color=TORN, marker="s", ms=4, label="a map with a tear")
    ax.set(yscale="log", xticks=stages, xlabel=f"refinements, each {parts} times as fine", ylabel="largest gap, relative to the first")
    ax.legend(loc="lower left")
    alt = (
        f"Largest gap in the image of an arm, relative to the first, as the sampling is made {parts} times finer in each of "
        f"{len(torn) - 1} "
        f"refinements: it falls in proportion to the sampling for every network. In a map with a tear it stays at {torn[-1] / torn[0]:.2g}."
    )
    return described(fig, alt)


def _middles(table: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """For each combination of `by` the share in which `solved` is true, or the median of another column: middle, low, high."""
    if column == "solved":
        found = statistics.shares(table, by).rename(columns={"share": "middle"})
    else:
        found = statistics.medians(table, by, column).rename(columns={"median": "middle"})
    return found[[*by, "middle", "low", "high"]]


def _errorbar(ax, x, middles: pd.DataFrame, **style) -> None:
    """The middles with their intervals."""
    reach = [middles["middle"] - middles["low"], middles["high"] - middles["middle"]]
    ax.errorbar(x, middles["middle"], reach, capsize=2, **style)


def _colour(name, i: int) -> str:
    """The colour of a kind of network; the i-th of an ordered list for anything else."""
    return NETWORKS.get(name.removesuffix(" untrained") if isinstance(name, str) else name, ORDERED[i % len(ORDERED)])


def _line(name) -> str:
    """The line style of a kind of network: dashed for one that is not trained."""
    return "--" if isinstance(name, str) and name.endswith(" untrained") else "-"


def _legend(fig, names: Sequence, *, by: str = "network", more: Sequence = (), **style) -> None:
    """Which colour is which value of the column `by`, above the panels. Networks go by their names, numbers with the column's.

    `more` are further entries.
    """
    labels = [name if isinstance(name, str) else f"{by.replace('_', ' ')} {name}" for name in names]
    colours = [_colour(name, i) for i, name in enumerate(names)]
    lines = [_line(name) for name in names]
    handles = [Line2D([], [], color=c, label=label, ls=ls, **style) for c, label, ls in zip(colours, labels, lines, strict=True)]
    fig.legend(handles=[*handles, *more], loc="outside upper center", ncols=len(names) + len(more))


def _percent(ax) -> None:
    """Shares from 0 to 100 %."""
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def _ticks_at(ax, values: Sequence[float]) -> None:
    """Ticks at these values and nowhere else, on a logarithmic axis where they span more than a factor 4."""
    if values[-1] / values[0] > 4:
        ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(values))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xticks(values, [f"{x:g}" for x in values])


def _logarithmic(ax) -> None:
    """A logarithmic axis with numbers such as 2, 20, 200; with powers of ten where it spans more than four."""
    ax.set_yscale("log")
    low, high = ax.yaxis.get_view_interval()
    if high / low < 1e4:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def _spread(count: int, seed: int = 0) -> np.ndarray:
    """Sideways offsets, so that dots do not hide each other."""
    return np.random.default_rng(seed).uniform(-0.26, 0.26, count)
