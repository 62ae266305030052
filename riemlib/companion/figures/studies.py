"""Figures of studies: distributions over seeds, sensitivity strips, layers, batch sizes. A dot is a network, full at 0.0 % error."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, PercentFormatter

from ...plot import GREY, NETWORKS, as_array, figure

OTHERS = ("#a6cee3", "#56a0d3", "#1f5fa8", "#0b2a5b")  # an order, light to dark
TORN = "#D55E00"


def _colour(name: str, i: int) -> str:
    return NETWORKS.get(name, OTHERS[i % len(OTHERS)])


def _plain(axis) -> None:
    """Numbers on a logarithmic axis as 2, 20, 200; powers of ten where it spans more than four."""
    low, high = axis.get_view_interval()
    if high / low < 1e4:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _spread(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Sideways offsets, so that dots do not hide each other."""
    return np.random.default_rng(seed).uniform(-0.26, 0.26, len(values))


def distributions(panels: Mapping[str, Mapping[str, tuple]], *, ylabel: str | Mapping[str, str] = "", log: bool = False):
    """A panel each, a column of dots a name: `panels[title][name]` is (values, solved, (median, low, high)); the bar is the interval."""
    fig, axes = figure(1, len(panels), width=max(4.0, min(9.0, 3.2 * len(panels) + 1)), height=3.5)
    for ax, (title, columns) in zip(axes[0], panels.items(), strict=True):
        for i, (name, (values, solved, (median, low, high))) in enumerate(columns.items()):
            values, solved, colour = as_array(values), as_array(solved).astype(bool), _colour(name, i)
            x = i + _spread(values)
            ax.plot(x[~solved], values[~solved], "o", ms=3, mfc="none", mec=colour, mew=0.6, alpha=0.7)
            ax.plot(x[solved], values[solved], "o", ms=3, color=colour, mew=0, alpha=0.7)
            ax.plot([i - 0.36, i + 0.36], [median, median], color="k", lw=1.4)
            ax.plot([i, i], [low, high], color="k", lw=3.5, solid_capstyle="butt")
        if log:
            ax.set_yscale("log")
        ax.set(xticks=range(len(columns)), xlim=(-0.6, len(columns) - 0.4), title=title)
        ax.set_xticklabels(list(columns))
        ax.set_ylabel(ylabel if isinstance(ylabel, str) else ylabel[title])
    _dots(fig, GREY)
    return fig


def _dots(fig, colour: str) -> None:
    kinds = {"0.0 % error": colour, "not": "none"}
    handles = [Line2D([], [], marker="o", ls="", ms=4, mfc=face, mec=colour, label=name) for name, face in kinds.items()]
    handles.append(Line2D([], [], color="k", lw=1.4, label="median and 95 % interval of all"))
    fig.legend(handles=handles, loc="outside lower center", ncols=3)


def strips(rows: Mapping[str, Mapping[str, Mapping[float, Mapping[str, tuple]]]], *, base: Mapping[str, float], shares: Sequence[str] = ()):
    """Sensitivity: a row a quantity, a column a setting: `rows[quantity][setting][value][name]` is (value, low, high). Dotted: the base.

    Quantities in `shares` are shown in percent.
    """
    settings = list(next(iter(rows.values())))
    fig, axes = figure(len(rows), len(settings), width=9.0, height=0.6 + 2.3 * len(rows), sharey="row", sharex="col")
    names: dict[str, str] = {}
    for i, (quantity, columns) in enumerate(rows.items()):
        for ax, (setting, values) in zip(axes[i], columns.items(), strict=True):
            xs = sorted(values)
            for k, name in enumerate(values[xs[0]]):
                middle, low, high = np.array([values[x][name] for x in xs]).T
                names[name] = _colour(name, k)
                ax.errorbar(xs, middle, [middle - low, high - middle], color=names[name], marker="o", ms=4, capsize=2, lw=1.2)
            ax.axvline(base[setting], color=GREY, ls=":", lw=1, zorder=0)
            if xs[-1] / xs[0] > 4:
                ax.set_xscale("log")
            ax.xaxis.set_major_locator(FixedLocator(xs))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xticks(xs, [f"{x:g}" for x in xs])
            if i == len(rows) - 1:
                ax.set_xlabel(setting)
            if quantity in shares:
                ax.set_ylim(-0.03, 1.03)
                ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        if quantity not in shares:
            axes[i, 0].set_ylim(bottom=0)
        axes[i, 0].set_ylabel(quantity)
    handles = [Line2D([], [], color=colour, marker="o", ms=4, label=name) for name, colour in names.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(names))
    return fig


def through_layers(panels: Mapping[str, Mapping[str, np.ndarray]], *, log: Sequence[str] = (), shares: Sequence[str] = ()):
    """A panel each: `panels[ylabel][name]` (seeds, layers), drawn as the median and the middle half against the layer.

    Panels in `shares` hold 0 and 1 and show the mean instead.
    """
    fig, axes = figure(1, len(panels), width=max(4.6, min(9.0, 4.0 * len(panels) + 0.6)), height=3.3)
    for ax, (ylabel, columns) in zip(axes[0], panels.items(), strict=True):
        for i, (name, values) in enumerate(columns.items()):
            values, colour = as_array(values), _colour(name, i)
            l = np.arange(values.shape[1])
            if ylabel in shares:
                ax.plot(l, np.nanmean(values, 0), color=colour, marker="o", ms=3, label=name)
                continue
            low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
            ax.fill_between(l, low, high, color=colour, alpha=0.16, lw=0)
            ax.plot(l, middle, color=colour, marker="o", ms=3, label=name)
        ax.set(xlabel="layer", ylabel=ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if ylabel in log:
            ax.set_yscale("log")
            _plain(ax.yaxis)
        if ylabel in shares:
            ax.set_ylim(-0.03, 1.03)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper center", ncols=len(names))
    return fig


def positions(success: Mapping[int, tuple], roughness: Mapping[int, tuple], *, reference: Mapping[str, tuple[float, float]]):
    """Success (left) and roughness (right) by the position of the one plain layer. Dashed: `reference[name]`, networks of one kind."""
    fig, axes = figure(1, 2, width=8.2, height=3.2)
    for ax, values, column in zip(axes[0], (success, roughness), (0, 1), strict=True):
        at = sorted(values)
        middle, low, high = np.array([values[l] for l in at]).T
        ax.errorbar(at, middle, [middle - low, high - middle], color=NETWORKS["mixed"], marker="o", ms=4, capsize=2, ls="")
        for i, (name, pair) in enumerate(reference.items()):
            ax.axhline(pair[column], color=_colour(name, i), ls="--", lw=1, label=f"{name} throughout")
        ax.set(xlabel="layer without the identity", xticks=at)
    axes[0, 0].set(ylabel="seeds at 0.0 % error", ylim=(-0.03, 1.03))
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0, 1].set(ylabel="roughness (median)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper center", ncols=len(names))
    return fig


def batches(rows: Mapping[str, Mapping[str, Mapping[str, Mapping[int, tuple]]]], *, log: Sequence[str] = (), shares: Sequence[str] = ()):
    """A row a measure, a column a matching: `rows[measure][matching][name][batch]` is (values, (median, low, high)).

    Dots are networks, the line joins the medians. A measure in `shares` is (value, low, high) instead.
    """
    columns = list(next(iter(rows.values())))
    fig, axes = figure(len(rows), len(columns), width=8.6, height=0.7 + 2.15 * len(rows), sharey="row", sharex="col")
    names: dict[str, str] = {}
    for i, (quantity, matchings) in enumerate(rows.items()):
        for ax, (matching, networks) in zip(axes[i], matchings.items(), strict=True):
            for k, (name, by_batch) in enumerate(networks.items()):
                sizes = sorted(by_batch)
                colour = names[name] = _colour(name, k)
                x = np.arange(len(sizes)) + 0.24 * (k - (len(networks) - 1) / 2)
                if quantity in shares:
                    middle, low, high = np.array([by_batch[size] for size in sizes]).T
                else:
                    middle, low, high = np.array([by_batch[size][1] for size in sizes]).T
                    for place, size in zip(x, sizes, strict=True):
                        values = as_array(by_batch[size][0])
                        ax.plot(place + 0.3 * _spread(values), values, "o", ms=1.6, color=colour, mew=0, alpha=0.3)
                ax.errorbar(x, middle, [middle - low, high - middle], color=colour, marker="s", ms=4, mec="k", mew=0.5, capsize=2, lw=1.2)
            ax.set_xticks(range(len(sizes)), [str(size) for size in sizes])
            if quantity in log:
                ax.set_yscale("log")
                _plain(ax.yaxis)
            elif quantity in shares:
                ax.set_ylim(-0.03, 1.03)
                ax.yaxis.set_major_formatter(PercentFormatter(1.0))
            else:
                ax.set_ylim(bottom=0)
            if i == 0:
                ax.set_title(matching)
            if i == len(rows) - 1:
                ax.set_xlabel("batch size")
        axes[i, 0].set_ylabel(quantity)
    handles = [Line2D([], [], color=colour, marker="s", ms=4, mec="k", mew=0.5, label=name) for name, colour in names.items()]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(names))
    return fig


def shifts(rows: Mapping[str, Mapping[str, Mapping[str, tuple]]], *, xlabel: str):
    """Effects with their intervals: a row a measure, a column a matching; `rows[measure][matching][name]` is (median, low, high)."""
    columns = list(next(iter(rows.values())))
    count = len(next(iter(rows.values()))[columns[0]])
    fig, axes = figure(len(rows), len(columns), width=8.0, height=0.7 + len(rows) * (0.35 + 0.24 * count), sharex="row", sharey=True)
    for i, (measure, matchings) in enumerate(rows.items()):
        for ax, (matching, effects) in zip(axes[i], matchings.items(), strict=True):
            for y, (name, (middle, low, high)) in enumerate(effects.items()):
                sure = low > 0 or high < 0
                ax.plot([low, high], [y, y], color=_colour(name, y), lw=2.4, alpha=1 if sure else 0.35)
                ax.plot(middle, y, "o", ms=6, color=_colour(name, y), mfc=_colour(name, y) if sure else "w")
            ax.axvline(0, color=GREY, lw=0.8, ls="--")
            ax.set_yticks(range(count), list(effects))
            ax.set_ylim(count - 0.5, -0.5)
            ax.set_title(f"{measure}, {matching}")
    fig.supxlabel(xlabel, fontsize=9)
    return fig


def refinement(gaps: Mapping[str, np.ndarray], torn: np.ndarray, parts: int):
    """The largest gap of every network, relative to its first, as the sampling grows `parts`-fold a stage; `torn`: a map with a tear."""
    fig, ((ax,),) = figure(1, 1, width=5.4, height=3.6)
    for i, (name, values) in enumerate(gaps.items()):
        values = as_array(values)
        ax.plot((values / values[:, :1]).T, color=_colour(name, i), lw=0.4, alpha=0.25)
        ax.plot([], [], color=_colour(name, i), label=name)
    stages = np.arange(len(as_array(torn)))
    ax.plot(stages, float(parts) ** -stages, color="k", ls="--", lw=1, label="in proportion to the sampling")
    ax.plot(stages, as_array(torn) / as_array(torn)[0], color=TORN, marker="s", ms=4, label="a map with a tear")
    ax.set(yscale="log", xticks=stages, xlabel=f"refinements, each {parts} times as fine", ylabel="largest gap, relative")
    ax.legend(loc="lower left")
    return fig
