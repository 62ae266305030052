"""Figures of section 3 and the appendix: networks and the equation they discretise, measured orders, phase space, the product of Eq. 12.

Errors are tables in long form: a row for each network or product, with the case it belongs to.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from ...plot import CLASSES, GREY, NETWORKS, as_array, figure
from . import described, listed

MARKERS = "osD^vP"
CASES = (*CLASSES, "#E69F00", "#56B4E9", "#000000", GREY)  # one colour for each case of a panel


def tracks(polygons: Mapping[tuple[str, int], Tensor], exact: Mapping[str, Tensor], *, height: float = 2.25) -> Figure:
    """Polygons of x^(l) in the plane, (L + 1, points, 2) for each network and depth, over the curves x(l) of the equation.

    One line of panels, `height` inches high, for each network in `exact`, one panel for each depth.
    """
    depths = sorted({depth for _, depth in polygons})
    fig, axes = figure(len(exact), len(depths), width=8.2, height=height * len(exact), sharex="row", sharey="row")
    for line, (name, curves) in zip(axes, exact.items(), strict=True):
        for ax, depth in zip(line, depths, strict=True):
            ax.plot(*np.moveaxis(as_array(curves), -1, 0), color="0.75", lw=2.5, solid_capstyle="round")
            polygon = np.moveaxis(as_array(polygons[name, depth]), -1, 0)
            ax.plot(*polygon, color=NETWORKS[name], lw=0.8, marker="o", ms=2 if depth < 40 else 0)
            ax.set_title(f"{name}, L = {depth}")
            ax.set(xlabel="$x^1$", aspect="equal")
        line[0].set_ylabel("$x^2$")
    alt = (
        f"Points carried through networks {listed(exact)} of {listed(depths)} layers, as polygons over the grey curves of the differential "
        "equation. The deeper the network, the closer its polygons are to the curves."
    )
    return described(fig, alt)


def orders(panels: Mapping[str, pd.DataFrame], orders: Mapping[str, tuple], *, abscissa: str = r"step $\Delta l$") -> Figure:
    """Errors against the step on logarithmic axes, one panel for each table with the columns case, step, error.

    `orders` gives (value, low, high) for each case, shown in the legend.
    """
    fig, axes = figure(1, len(panels), width=8.2, height=3.5)
    for ax, (title, table) in zip(axes.flat, panels.items(), strict=True):
        for i, (name, line) in enumerate(table.groupby("case", sort=False)):
            style = {"ls": "none"} if line["step"].nunique() > 8 else {}
            value, low, high = (round(number, 2) + 0.0 for number in orders[name])  # no minus sign before 0.00
            label = f"{name}: {value:.2f} [{low:.2f}, {high:.2f}]"
            ax.loglog(line["step"], line["error"], color=CASES[i], marker=MARKERS[i % 6], ms=4, label=label, **style)
        ax.set(xlabel=abscissa, ylabel="error of $x^{(L)}$ (rms)", title=title)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.32), fontsize=7.5, title="order [95 % interval]", title_fontsize=7.5)
    alt = (
        f"Error against the step on logarithmic axes, one panel each for: {'; '.join(panels)}. Measured orders: "
        + "; ".join(f"{name}: {float(orders[name][0]):.2f}" for table in panels.values() for name in table["case"].unique())
        + "."
    )
    return described(fig, alt)


def partitions(positions: Mapping[str, Tensor]) -> Figure:
    """The layers of each partition as ticks on [0, 1] (Eq. 7)."""
    fig, ((ax,),) = figure(1, 1, width=7.2, height=0.42 * len(positions) + 0.6)
    for i, l in enumerate(positions.values()):
        ax.plot(l, [-i] * len(l), color=CLASSES[i % 4], marker="|", ms=10, lw=0.6)
    ax.set(yticks=[-i for i in range(len(positions))], yticklabels=list(positions), xlabel="$l$", ylim=(0.6 - len(positions), 0.5))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    alt = f"Partitions of the interval from 0 to 1, each layer a tick: {listed(positions)}."
    return described(fig, alt)


def _grid(ax, grid: np.ndarray, colour: str) -> None:
    lines = [*grid, *np.swapaxes(grid, 0, 1)]
    ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.7))
    ax.autoscale()
    ax.set(aspect="equal", xlabel="$x^1$", ylabel="$x^2$")


def implicit(shares: pd.DataFrame, grids: Mapping[str, Tensor]) -> Figure:
    """Left: how far each network's map is from affine, against depth (columns network, depth, share).

    Right: one panel for each image of a square grid, (m, m, 2).
    """
    fig, axes = figure(1, 1 + len(grids), width=8.4, height=3.0, width_ratios=[1.35] + [1] * len(grids))
    left, *rest = axes.flat
    for i, (name, line) in enumerate(shares.groupby("network", sort=False)):
        style = "--" if name == "ReLU, implicit" else "-"  # it hides the explicit network behind it
        left.loglog(line["depth"], line["share"], color=CLASSES[i], marker=MARKERS[i], ms=4, label=name, ls=style)
    left.set(xlabel="depth $L$", ylabel="non-affine share of the map")
    left.legend(loc="lower left")
    for i, (ax, (name, grid)) in enumerate(zip(rest, grids.items(), strict=True)):
        _grid(ax, as_array(grid), CLASSES[i])
        ax.set_title(name)
    ends = shares.groupby("network", sort=False)["share"].last()
    alt = (
        "Left: the non-affine share of the map against the depth. At the greatest depth: "
        + "; ".join(f"{name}: {share:.2g}" for name, share in ends.items())
        + f". Right: images of a square grid, for {listed(grids)}."
    )
    return described(fig, alt)


def weights(profiles: pd.DataFrame, ratios: pd.DataFrame) -> Figure:
    """One panel for each start: a weight along the layers at three depths. Right: von Neumann's ratio of every network against depth.

    `profiles` has the columns start, depth, layer, weight; `ratios` has start, depth, seed, ratio.
    """
    fig, axes = figure(1, 1 + profiles["start"].nunique(), width=8.4, height=3.0)
    *rest, right = axes.flat
    for colour, ax, (start, table) in zip(CLASSES, rest, profiles.groupby("start", sort=False), strict=False):
        for alpha, width, (depth, line) in zip((0.35, 0.6, 1), (2.4, 1.4, 0.7), table.groupby("depth"), strict=False):
            ax.plot(line["layer"] / depth, line["weight"], color=colour, alpha=alpha, lw=width, label=f"L = {depth}")
        ax.set(xlabel="$l$", ylabel="$W_{11}(l)$", title=start)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, handlelength=1.2, columnspacing=1)
    for i, (start, table) in enumerate(ratios.groupby("start", sort=False)):
        right.loglog(table["depth"], table["ratio"], color=CLASSES[i], lw=0, marker=MARKERS[i], ms=3, alpha=0.6)
        right.loglog(table.groupby("depth")["ratio"].median(), color=CLASSES[i])
        right.plot([], [], color=CLASSES[i], marker=MARKERS[i], ms=3, label=start)
    right.set(xlabel="depth $L$", ylabel="variation (1 = independent)", title="every run, and the median")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, handlelength=1.2, columnspacing=1)
    ends = ratios.loc[ratios["depth"] == ratios["depth"].max()].groupby("start", sort=False)["ratio"].median()
    alt = (
        "A trained weight along the layers, one panel for each start of training, at three depths. Right: the variation from "
        "layer to layer "
        f"against depth, 1 for independent layers. Medians at {ratios['depth'].max()} layers: "
        + "; ".join(f"{start}: {ratio:.2g}" for start, ratio in ends.items())
        + "."
    )
    return described(fig, alt)


def sharing(success: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Left: share of seeds at 0.0 % error, with its interval (columns weights, share, low, high).

    Right: late loss of every seed, own weights (x) against shared ones (y). `runs` has one row for each seed and the columns
    late_loss and solved, each split into own and shared.
    """
    fig, ((left, right),) = figure(1, 2, width=7.6, height=3.3, width_ratios=[1, 1.4])
    for i, row in enumerate(success.itertuples()):
        left.bar(i, row.share, color=CLASSES[i], width=0.6)
        left.errorbar(i, row.share, [[row.share - row.low], [row.high - row.share]], color="k", capsize=4, lw=1)
    left.set(xticks=range(len(success)), xticklabels=list(success["weights"]), ylim=(0, 1), ylabel="share of seeds at 0.0 % error")
    loss, solved = runs["late_loss"], runs["solved"].astype(bool)
    own, shared = solved["own"], solved["shared"]
    groups = {"neither": ~own & ~shared, "shared only": ~own & shared, "own only": own & ~shared, "both solve": own & shared}
    colours = (GREY, CLASSES[1], CLASSES[0], CLASSES[2])
    for (name, here), colour, marker in zip(groups.items(), colours, MARKERS, strict=False):
        label = f"{name}: {here.sum()}"
        right.loglog(loss["own"][here], loss["shared"][here], color=colour, marker=marker, ms=4, ls="none", label=label)
    ends = [loss.min(axis=None), loss.max(axis=None)]
    right.loglog(ends, ends, color="0.6", lw=0.8, ls="--")
    right.set(xlabel="late training loss, own weights (nats)", ylabel="late training loss, shared (nats)")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = (
        "Left: seeds at 0.0 % error, "
        + ", ".join(f"{row.weights} weights {row.share:.0%}" for row in success.itertuples())
        + ". Right: the late training loss of each seed, shared against own weights: "
        + "; ".join(f"{name}: {here.sum()}" for name, here in groups.items())
        + "."
    )
    return described(fig, alt)


def projection_fold(inputs: Tensor, images: Tensor, orientation: Tensor, meeting: Tensor, layer: int) -> Figure:
    """The square of inputs (m, m, 2), its image in the x of `layer`, with the turned sheet in the second colour, and inputs that meet.

    `orientation` (m, m) is the sign of det ∂x^(l)/∂x^(0); `meeting` (layers, points, 2) are the images of the inputs that meet.
    """
    fig, ((left, middle, right),) = figure(1, 3, width=8.6, height=3.0)
    sign, x = as_array(orientation), as_array(meeting)
    for ax, grid in ((left, as_array(inputs)), (middle, as_array(images))):
        for lines, signs in ((grid, sign), (np.swapaxes(grid, 0, 1), sign.T)):
            segments = np.stack([lines[:, :-1], lines[:, 1:]], 2).reshape(-1, 2, 2)
            turned = signs[:, :-1].ravel() < 0
            ax.add_collection(LineCollection(segments[~turned], colors=CLASSES[0], linewidths=0.4, zorder=1))
            ax.add_collection(LineCollection(segments[turned], colors=CLASSES[1], linewidths=0.5, zorder=2))
        ax.autoscale()
    for i in range(x.shape[1]):
        left.plot(*x[0, i], "ko", ms=4, zorder=4)
        left.annotate(str(i + 1), x[0, i], xytext=(4, 4), textcoords="offset points", fontweight="bold", zorder=5)
        colour = ["k", CLASSES[2], CLASSES[3], GREY, CLASSES[0]][i % 5]
        right.plot(*x[: layer + 2, i].T, color=colour, marker="o", ms=3)
        right.annotate(str(i + 1), x[0, i], xytext=(4, 4), textcoords="offset points", fontweight="bold", color=colour)
    for ax in (middle, right):
        ax.plot(*x[layer, 0], "*", color="k", mec="w", ms=11, zorder=5)
    for ax, title in ((left, "inputs"), (middle, f"their $x$ at layer {layer}"), (right, f"meeting inputs, layers 0 to {layer + 1}")):
        ax.set(xlabel="$x^1$", ylabel="$x^2$", title=title)
        ax.margins(0.08)
    alt = (
        f"Left: the square of inputs, with {x.shape[1]} numbered inputs that meet. Middle: its image at layer {layer}; the "
        f"{(sign < 0).mean():.0%} that is turned over is vermilion. Right: these inputs layer by layer: they meet at layer "
        f"{layer} and part again."
    )
    return described(fig, alt)


def parasite(l: Tensor, solutions: Mapping[str, Tensor], exact: Tensor) -> Figure:
    """A decaying solution by each scheme, (L + 1,): left on linear axes, right its size on logarithmic axes."""
    fig, ((left, right),) = figure(1, 2, width=7.8, height=2.9)
    left.plot(l, exact, color="0.75", lw=3)
    right.semilogy(l, np.abs(exact), color="0.75", lw=3, label="equation")
    for i, (name, x) in enumerate(solutions.items()):
        left.plot(l, x, color=CLASSES[i], marker=".", ms=4)
        right.semilogy(l, np.abs(x), color=CLASSES[i], marker=".", ms=4, label=name)
    left.set(xlabel="$l$", ylabel="$x$", ylim=(-1.2, 1.2))
    right.set(xlabel="$l$", ylabel="$|x|$")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = (
        "A solution that decays to 0, in grey, and two schemes for it. "
        + " ".join(f"{name} ends at {float(x[-1]):.2g}." for name, x in solutions.items())
        + " Left on linear axes, right the size on a logarithmic axis."
    )
    return described(fig, alt)


def products(table: pd.DataFrame, orders: Mapping[str, tuple]) -> Figure:
    """Error of the product of Eq. 12 against 1/L, under the bound of the proof: one panel for each path.

    Columns: path, depth, error, bound, and wrong_order, the error with the factors reversed, where that was computed. `orders` gives
    (value, low, high) of paths whose order was measured.
    """
    fig, axes = figure(1, table["path"].nunique(), width=8.4, height=3.1, sharey=True)
    for i, (ax, (name, line)) in enumerate(zip(axes.flat, table.groupby("path", sort=False), strict=True)):
        steps = 1 / line["depth"]
        ax.loglog(steps, line["error"], color=CLASSES[i], marker=MARKERS[i], ms=4)
        ax.loglog(steps, line["bound"], color="k", ls="--", lw=0.9)
        ax.text(steps.iloc[0], line["bound"].iloc[0] * 1.5, "bound", ha="right", va="bottom")
        value, low, high = orders.get(name, (0, 0, 0))
        ax.set(xlabel="$1/L$", title=f"{name}\norder {value:.3f} [{low:.3f}, {high:.3f}]" if name in orders else name)
        ax.margins(y=0.12)
        if line["wrong_order"].notna().all():
            ax.loglog(steps, line["wrong_order"], color=GREY, marker="x", ms=4)
            ax.text(steps.iloc[-1], line["wrong_order"].iloc[-1] / 1.4, "wrong order", color=GREY, ha="left", va="top")
    axes[0, 0].set_ylabel(r"error $\|P_L - P\|_2$")
    alt = (
        f"Error of the product of Eq. 12 against 1/L on logarithmic axes, for the paths {listed(table['path'].unique())}. "
        "Every error lies under "
        "the dashed bound of the proof. Measured orders: "
        + "; ".join(f"{name}: {float(order[0]):.2f}" for name, order in orders.items())
        + "."
    )
    return described(fig, alt)


def orbit(images: Tensor, plane: Tensor, marks: Tensor) -> Figure:
    """Rotated images (k, side, side), and their orbit in pixel space, projected to the plane of most variance.

    `plane` (n, 2) is the projected orbit, `marks` (k, 2) the images on it.
    """
    fig, axes = figure(1, len(images) + 1, width=8.4, height=1.9, width_ratios=[1] * len(images) + [1.5])
    for ax, image in zip(axes.flat, as_array(images), strict=False):
        ax.imshow(image, cmap="cividis", origin="lower", vmin=0)
        ax.set_axis_off()
    last = axes.flat[-1]
    last.plot(*as_array(plane).T, color=GREY)
    last.scatter(*as_array(marks).T, color=CLASSES[1], zorder=3, s=18)
    last.set(aspect="equal", xlabel="1st principal axis", ylabel="2nd", xticks=[], yticks=[])
    alt = (
        f"{len(images)} rotations of one image, and their orbit in pixel space, projected to its first two principal axes: a "
        "closed curve on "
        "which they are marked."
    )
    return described(fig, alt)


def bands(width: float = 0.35) -> Figure:
    """The cylinder and the Möbius band, line bundles over the circle, with the transition functions of their two charts."""
    fig, axes = figure(1, 2, width=7.0, height=2.8, subplot_kw={"projection": "3d"})
    angle, v = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(-width, width, 9))
    for ax, turn, title in ((axes[0, 0], 0.0, "cylinder: transition +1, +1"), (axes[0, 1], 0.5, "Möbius band: transition +1, −1")):
        radius = 1 + v * np.cos(turn * angle)
        height = v * np.sin(turn * angle) if turn else v
        radius = radius if turn else np.ones_like(v)
        ax.plot_surface(radius * np.cos(angle), radius * np.sin(angle), height, cmap="cividis", linewidth=0, rasterized=True)
        ax.set(title=title, zlim=(-0.6, 0.6))
        ax.set_box_aspect((1, 1, 0.5), zoom=1.5)
        ax.set_axis_off()
    alt = "Two line bundles over the circle: the cylinder, with transitions +1 and +1, and the Möbius band, with +1 and −1."
    return described(fig, alt)
