"""Figures of studies: distributions over seeds, sensitivity strips, layers, batch sizes. They take the tables of a study.

A dot is a network, filled where it reaches 0.0 % error. Medians carry bootstrap 95 % intervals, shares of networks Wilson's.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, PercentFormatter
from torch import Tensor

from ... import curves
from ...data import Sample
from ...networks import CkNetwork
from ...plot import GREY, NETWORKS, as_array, class_colour, figure, scatter_classes, square_limits
from .. import statistics
from ..contrasts import Contrast
from . import described, listed
from .protocol import CALLED, FACTORS, READINGS

ORDERED = ("#a6cee3", "#56a0d3", "#1f5fa8", "#0b2a5b")  # values in their order, light to dark
TORN = "#D55E00"
MARKS = ("#999999", "#444444")  #: of bars over the layers
GAP = "#E0002D"
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


def strips(table: pd.DataFrame, base: Mapping[str, object], *, measure: str, line: tuple[str, float] | None = None):
    """Sensitivity: above the share of networks at 0.0 % error, below the median of a measure; a column of panels for each setting.

    `table` is one that `statistics.strips` made of the measure. Dotted: the value of each setting in `base`. `line` is what a value of the
    measure to compare with means, and this value, dashed.
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
                ax.axhline(line[1], color=GREY, ls="--", lw=1, zorder=0)
        row[0].set_ylabel(quantities[column])
    for ax, setting in zip(axes[-1], settings, strict=True):
        ax.set_xlabel(setting.replace("_", " "))
    _percent(axes[0, 0])
    axes[1, 0].set_ylim(bottom=0)
    more = [Line2D([], [], color=GREY, ls=":", label="the base")]
    more += [Line2D([], [], color=GREY, ls="--", label=line[0])] if line else []
    _legend(fig, kinds, more=more, marker="o", ms=4)
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


def batches(
    table: pd.DataFrame,
    *,
    nulls: Mapping[str, Mapping[str, float]] | None = None,
    references: Mapping[str, tuple[float, str]] | None = None,
    log: Sequence[str] = (),
    percent: Sequence[str] = (),
    shares: Sequence[str] = (),
):
    """Measures against the batch size, a panel each: a dot for each network, medians with their intervals joined by lines.

    `table`: measure, network, batch_size, seed, solved, value. Panels stand in the order of the table. So do batch sizes that are names;
    numbers are sorted. Measures in `shares` are true or false, and shown as shares. Dotted in the network's colour:
    `nulls[measure][network]`, of untrained networks. Dashed: `references[measure]`, a value and what it means. Measures in `log` have a
    logarithmic axis, those in `percent` one in per cent.
    """
    nulls, references = nulls or {}, references or {}
    measures, kinds, sizes = (list(dict.fromkeys(table[name])) for name in ("measure", "network", "batch_size"))
    sizes = sorted(sizes) if pd.api.types.is_numeric_dtype(table["batch_size"]) else sizes
    fig, axes = figure(1, len(measures), width=max(4.6, min(9.4, 0.6 + 3.0 * len(measures))), height=3.4)
    told = []
    for ax, measure in zip(axes[0], measures, strict=True):
        share = measure in shares
        rows = statistics.select(table, measure=measure).astype({"value": bool if share else float})
        for i, kind in enumerate(kinds):
            own = statistics.select(rows, network=kind)
            _by_size(ax, own, sizes, 0.24 * (i - (len(kinds) - 1) / 2), _colour(kind, i), share)
            for size, values in own.groupby("batch_size", sort=False)["value"]:
                told.append(f"{measure}, {kind}, {size}: {values.mean() if share else values.median():.3g}".replace("\n", " "))
            if kind in nulls.get(measure, {}):
                ax.axhline(nulls[measure][kind], color=_colour(kind, i), ls=":", lw=1.2, zorder=0)
        if measure in references:
            value, means = references[measure]
            ax.axhline(value, color=GREY, ls="--", lw=0.9, zorder=0)
            plate = {"facecolor": "w", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
            ax.text(0.02, value, means, color=GREY, fontsize=7, va="center", bbox=plate, transform=ax.get_yaxis_transform())
        ax.set(title=measure, xlabel="batch size")
        ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        _scale(ax, share, measure in log, measure in percent)
    handles = [Line2D([], [], color=_colour(kind, i), marker="s", ms=4, mec="k", mew=0.5, label=kind) for i, kind in enumerate(kinds)]
    handles += [Line2D([], [], color=GREY, ls=":", label="untrained networks, median")] if nulls else []
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return described(
        fig, f"{listed(measures)} against the batch size, a panel each, with 95 % intervals. Medians or shares: {'; '.join(told)}."
    )


def _scale(ax, share: bool, log: bool, percent: bool) -> None:
    """The axis of a measure: shares from 0 to 100 %, a logarithmic one, per cent, or one that begins at 0."""
    if share:
        _percent(ax)
    elif log:
        _logarithmic(ax)
    else:
        ax.set_ylim(bottom=0)
    if percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _by_size(ax, rows: pd.DataFrame, sizes: Sequence, offset: float, colour: str, share: bool) -> None:
    """One kind of network against the batch size: a dot for each network, the medians joined by a line; or shares."""
    if rows.empty:
        return
    middles = _middles(rows.assign(solved=rows["value"]) if share else rows, ["batch_size"], "solved" if share else "value")
    if not share:
        for size, values in rows.groupby("batch_size", sort=False)["value"]:
            ax.plot(sizes.index(size) + offset + 0.3 * _spread(len(values)), values, "o", ms=1.6, color=colour, mew=0, alpha=0.3)
    at = [sizes.index(size) + offset for size in middles["batch_size"]]
    _errorbar(ax, at, middles, color=colour, marker="s", ms=4, mec="k", mew=0.5, lw=1.2)


def shifts(contrasts: Mapping[str, Contrast], *, xlabel: str, title: str = ""):
    """Contrasts of one claim as factors with their 95 % intervals, a row each. In bold is what decides: names with `primary`.

    They are ratios (`contrasts.ratio`). Colours say how each reads. Dashed: the smallest effect of interest on both sides.
    """
    fig, ((ax,),) = figure(1, 1, width=7.6, height=1.5 + 0.27 * len(contrasts))
    names = list(contrasts)
    for y, each in enumerate(contrasts.values()):
        ends = np.exp(np.clip([each.low, each.estimate, each.high], -9, 9))
        ax.plot(ends[[0, 2]], [y, y], color=READINGS[each.reading], lw=2.4, solid_capstyle="butt")
        ax.plot(ends[1], y, "o", ms=6, color=READINGS[each.reading], mec="k", mew=0.5)
    borders = [-contrasts[names[0]].delta, contrasts[names[0]].delta]
    for border in borders:
        ax.axvline(math.exp(border), color=GREY, ls="--", lw=0.8, zorder=0)
    ax.axvline(1.0, color=GREY, lw=0.8, zorder=0)
    ax.set_xscale("log")
    ends = [end for each in contrasts.values() for end in (each.low, each.high) if math.isfinite(end)]
    low, high = (0.9 * math.exp(min(ends + [-borders[1]])), 1.1 * math.exp(max(ends + [borders[1]])))
    ax.set(xlim=(low, high), ylim=(len(names) - 0.4, -0.6), xlabel=xlabel, title=title)
    ticks = [factor for factor in FACTORS if low <= factor <= high] if high / low > 4 else [0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2]
    ax.xaxis.set_major_locator(FixedLocator([factor for factor in ticks if low <= factor <= high]))
    ax.xaxis.set_major_formatter(lambda value, _: f"× {value:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(names)), names)
    for label in ax.get_yticklabels():
        label.set_fontweight("bold" if label.get_text().startswith("primary") else "normal")
    seen = [reading for reading in READINGS if any(each.reading == reading for each in contrasts.values())]
    handles = [Line2D([], [], color=READINGS[reading], marker="o", ms=4, label=CALLED[reading]) for reading in seen]
    handles.append(Line2D([], [], color=GREY, ls="--", lw=0.8, label="smallest effect of interest"))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    sizes = (f"{name}: {math.exp(min(each.estimate, 9)):.3g}, {each.reading}" for name, each in contrasts.items())
    return described(fig, f"{xlabel}, a row for each contrast, with 95 % intervals. " + "; ".join(sizes) + ".")


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


def _middles(table: pd.DataFrame, by: Sequence[str], column: str = "value") -> pd.DataFrame:
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


def torn_layers(nets: Mapping[str, CkNetwork], sample: Sample, curve: Sample, shown: Sequence[int], *, title: str = ""):
    """Figure 4: a column for each network, a row for each of the layers `shown`: the points of the sample over a hairline through `curve`.

    Red: the largest gap between neighbours among the points drawn. Its size over the diameter of the points stands above the panel. The
    keys of `nets` head the columns. Axes are equal within a panel; every panel has a scale of its own.
    """
    fig, axes = figure(len(shown), len(nets), width=2.15 * len(nets), height=0.9 + 2.25 * len(shown))
    gaps = {}
    for j, (name, net) in enumerate(nets.items()):
        points, lines = net.coordinates(sample.x), net.coordinates(curve.x)
        for i, l in enumerate(shown):
            gaps[name, l] = _torn_panel(axes[i, j], points[l], sample.label, lines[l], curve.label)
            axes[i, j].set_title(f"{name}\n\ngap {gaps[name, l]:.1%}" if i == 0 else f"gap {gaps[name, l]:.1%}")
            axes[i, j].set_ylabel(f"layer {l}" if j == 0 else "")
    handles = [Line2D([], [], color=class_colour(c), marker="o", ms=3, lw=0.5, label=f"class {c + 1}") for c in (0, 1)]
    handles.append(Line2D([], [], color=GAP, lw=2.4, label="largest gap between neighbours, in % of the diameter"))
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    fig.suptitle(title)
    last = ", ".join(f"{name} {gaps[name, shown[-1]]:.1%}".replace("\n", " ") for name in nets)
    alt = (
        f"{title}. A column for each network, a row for each of the layers {listed(shown)}: the points of the two arms over the line that "
        f"joins them, the largest gap between neighbours in red. Gap over diameter at layer {shown[-1]}: {last}."
    )
    return described(fig, alt.replace("\n", " "))


def _torn_panel(ax, points: Tensor, label: Tensor, line: Tensor, line_label: Tensor) -> float:
    """Points over a hairline, the largest gap between neighbours on an arm in red; returns its size over the diameter of the points."""
    square_limits(ax, line)
    for c, arm in enumerate(curves.arms(line, line_label)):
        ax.plot(*as_array(arm).T, color=class_colour(c), lw=0.4)
    scatter_classes(ax, points, label, 2.0)
    arms = [as_array(arm) for arm in curves.arms(points, label)]
    steps = [np.linalg.norm(np.diff(arm, axis=0), axis=1) for arm in arms]
    torn = max(range(len(arms)), key=lambda c: steps[c].max())
    at = int(steps[torn].argmax())
    ax.plot(*arms[torn][at : at + 2].T, color=GAP, lw=2.4, solid_capstyle="butt", zorder=3)
    ax.tick_params(labelsize=6)
    ax.locator_params(nbins=4)
    return float(curves.largest_gap(points.detach(), label))
