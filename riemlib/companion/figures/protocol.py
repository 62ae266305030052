"""Specification curves: an effect under every setting of the multiverse, sorted by its size, and below it which settings these are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, PercentFormatter

from ...plot import GREY, NETWORKS, canvas
from ..contrasts import Contrast
from ..rules import show
from ..specifications import Specification
from ..statistics import wilson
from . import described, listed

#: How a specification reads: its colour, and what it is called in the legend
READINGS = {"for": "#0072B2", "against": "#D55E00", "absent": "k", "silent": "#b5b5b5"}
CALLED = {"for": "for: as the paper says", "against": "against: the opposite", "absent": "absent: no effect", "silent": "silent"}
NARROW, FINE = 4, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 2.5)  #: ticks where the axis spans less than a factor of 4
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def specification_curve(specifications: Sequence[Specification], base: Mapping[str, object], *, ylabel: str, title: str):
    """The effect of one contrast under each setting with its 95 % interval, sorted by size, and below the settings.

    A ratio is drawn as a factor, on a logarithmic scale. Dashed: the smallest effect of interest on both sides. The arrow marks the
    setting that is the `base`.
    """
    ordered = sorted(specifications, key=lambda each: each.whole.estimate)
    effects: list[Contrast] = [each.whole for each in ordered]
    factor = effects[0].kind == "ratio"
    delta = np.array([-1.0, 1.0]) * effects[0].delta
    fig, above, below = _panels(title)
    ends = np.array([[effect.low, effect.estimate, effect.high] for effect in effects])
    low, middle, high = (np.exp(np.clip(ends, -9, 9)) if factor else ends).T
    for reading, colour in READINGS.items():
        own = np.array([effect.reading == reading for effect in effects])
        x = np.flatnonzero(own)
        above.vlines(x, low[own], high[own], color=colour, lw=1.1)
        above.plot(x, middle[own], "o", ms=2.6, color=colour, mew=0)
    if factor:
        above.set_yscale("log")
        _factors(above, min(low.min(), np.exp(delta[0])), max(high.max(), np.exp(delta[1])))
    for border in np.exp(delta) if factor else delta:
        above.axhline(border, color=GREY, ls="--", lw=0.8, zorder=0)
    above.axhline(1.0 if factor else 0.0, color=GREY, lw=0.8, zorder=0)
    above.set_ylabel(ylabel)
    settings = pd.DataFrame([each.settings for each in ordered])
    at = _mark_base(above, settings, base)
    _settings(below, settings)
    readings = [effect.reading for effect in effects]
    handles = [
        Line2D([], [], color=READINGS[name], marker="o", ms=3, label=f"{CALLED[name]} ({readings.count(name)})") for name in READINGS
    ]
    handles.append(Line2D([], [], color=GREY, ls="--", lw=0.8, label="smallest effect of interest"))
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    counts = ", ".join(f"{readings.count(name)} {name}" for name in READINGS)
    where = f" The base is number {at + 1} in this order and reads {readings[at]}." if at is not None else ""
    sizes = f"under {len(effects)} settings, sorted: from {show(middle[0])} to {show(middle[-1])}"
    alt = f"{title}. {ylabel[0].upper()}{ylabel[1:]} {sizes}; {counts}.{where}"
    return described(fig, f"{alt} Rows of dots below tell the settings: {listed(settings)}.")


def success_curve(table: pd.DataFrame, axes: Sequence[str], base: Mapping[str, object], *, networks: Sequence[str], title: str):
    """The share of networks at 0.0 % error under each setting, sorted by that of the first of `networks`, and below the settings.

    `table` has a row for each network: the axes, network, solved. Bars are Wilson's 95 % intervals of the first network.
    """
    counts = table.groupby([*axes, "network"], sort=False)["solved"].agg(["sum", "count"])
    shares = (counts["sum"] / counts["count"]).unstack("network")[list(networks)].sort_values(list(networks))
    first = counts.xs(networks[0], level="network").loc[shares.index]
    low, high = np.array([wilson(int(k), int(n)) for k, n in first.to_numpy()]).T
    fig, above, below = _panels(title)
    x = np.arange(len(shares))
    above.vlines(x, low, high, color=NETWORKS[networks[0]], lw=1.0, alpha=0.45)
    for network, marker in zip(networks, "os^D", strict=False):
        above.plot(x, shares[network], marker, ms=3.2, color=NETWORKS[network], mew=0, alpha=0.85, label=network)
    above.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    above.set(ylabel="networks at 0.0 % error", ylim=(-0.04, 1.09))
    settings = shares.index.to_frame(index=False)
    _mark_base(above, settings, base)
    _settings(below, settings)
    fig.legend(loc="outside lower center", ncols=len(networks), title=f"network; bars: 95 % interval of {networks[0]}")
    medians = listed(f"{network} {shares[network].median():.0%}" for network in networks)
    alt = f"{title}. Share of networks at 0.0 % error under {len(shares)} settings, sorted by that of {networks[0]}; medians: {medians}."
    return described(fig, f"{alt} Rows of dots below tell the settings: {listed(settings)}.")


def _panels(title: str):
    """A figure with a panel for the effects above one for the settings."""
    fig = canvas(8.4, 6.4)
    above, below = fig.subplots(2, 1, sharex=True, height_ratios=[1.15, 1.0])
    above.set_title(title)
    return fig, above, below


def _factors(ax, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at factors that are read without computing."""
    ticks = FACTORS if high / low > NARROW else FINE
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(lambda value, _: f"× {value:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(max(low, FACTORS[0]) / 1.15, min(high, FACTORS[-1]) * 1.15)


def _mark_base(ax, settings: pd.DataFrame, base: Mapping[str, object]) -> int | None:
    """An arrow at the top over the setting that is the base, and its place; None where it is not among them."""
    (found,) = np.nonzero(np.logical_and.reduce([settings[name] == value for name, value in base.items()]))
    if not len(found):
        return None
    at = int(found[0])
    ax.annotate("base", (at, 0.91), (at, 0.985), xycoords=ax.get_xaxis_transform(), ha="center", va="top", arrowprops={"arrowstyle": "->"})
    ax.axvline(at, color=GREY, ls=":", lw=0.8, zorder=0)
    return at


def _settings(ax, settings: pd.DataFrame) -> None:
    """A row for each value of each axis, with a dot under every effect that was found with it. A line parts the axes."""
    labels: list[str] = []
    for name, column in settings.items():
        values = sorted(column.unique())
        for value in values:
            x = np.flatnonzero(column == value)
            ax.plot(x, np.full(len(x), len(labels)), "|", ms=7, mew=1.3, color="#333333")
            labels.append(f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}")
        ax.axhline(len(labels) - 0.5, color="#dddddd", lw=0.8)
    ax.set(yticks=range(len(labels)), ylim=(len(labels) - 0.5, -0.5), xlim=(-1.5, len(settings) + 0.5))
    ax.set_yticklabels(labels)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("settings, in the order of the panel above")
