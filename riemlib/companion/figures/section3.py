"""Figures of section 3 and the appendix: networks and the equation they discretise, measured orders, phase space, the product of Eq. 12.

Errors are tables in long form: a row for each network or product, with the case it belongs to.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, PercentFormatter
from torch import Tensor

from ...limits import local_orders
from ...plot import CLASSES, GREY, NETWORKS, as_array, figure
from . import described, listed

MARKERS = "osD^vP"
OUTLINE = withStroke(linewidth=2.5, foreground="w")
CASES = (*CLASSES, "#E69F00", "#56B4E9", "#000000", GREY, "#8C564B")  # one colour for each case of a panel


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
            ax.plot(*polygon[:, 0], "ko", ms=2.6, label="input")
            ax.set_title(f"{name}, L = {depth}")
            ax.set(xlabel="$x^1$", aspect="equal")
        line[0].set_ylabel("$x^2$")
    axes[0, 0].legend(loc="best", handletextpad=0.1, borderpad=0.1)
    alt = (
        f"Points, black at the input, carried through networks {listed(exact)} of {listed(depths)} layers, as polygons over the grey "
        "curves of the differential equation. The deeper the network, the closer its polygons are to the curves."
    )
    return described(fig, alt)


def orders(panels: Mapping[str, pd.DataFrame], *, abscissa: str = r"step $\Delta l$") -> Figure:
    """Above, errors against the step on logarithmic axes, below, the local order between each step and the next, a column for each table.

    A table has the columns case, step, error. Cases whose steps do not shrink from row to row are points without a local order.
    """
    fig, axes = figure(2, len(panels), width=8.4, height=5.4, sharey="row", height_ratios=[1.5, 1])
    for (above, below), (title, table) in zip(axes.T, panels.items(), strict=True):
        for i, (name, line) in enumerate(table.groupby("case", sort=False)):
            steps, errors = line["step"].to_numpy(), line["error"].to_numpy()
            style, label = {"color": CASES[i % len(CASES)], "marker": MARKERS[i % 6], "ms": 4}, name
            if (np.diff(steps) < 0).all():
                local = np.array(local_orders(steps, errors))
                below.semilogx(1 / steps[:-1], local, **style)
                label = f"{name}: {local[-1] + 0.0:.2f}".replace("-0.00", "0.00")
            else:
                style["ls"] = "none"
            above.loglog(steps, errors, label=label, **style)
        above.set(xlabel=abscissa, title=title)
        below.set(xlabel=f"1 / ({abscissa})" if abscissa.startswith("$") else "1 / step")
        for ax in (above, below):
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
        for order in (0, 1, 2):
            below.axhline(order, color="0.8", lw=0.8, zorder=0)
        below.legend(*above.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.42), fontsize=7.5)
        below.get_legend().set_title("last local order", {"size": 7.5})
    axes[0, 0].set_ylabel("error of $x^{(L)}$ (rms)")
    axes[1, 0].set_ylabel("local order")
    alt = f"Error against the step on logarithmic axes, and below it the local order, one column each for: {'; '.join(panels)}."
    return described(fig, alt)


def rulers(positions: Mapping[str, Tensor], velocities: Mapping[str, Tensor]) -> Figure:
    """The layers of each partition as ticks on [0, 1] (Eq. 7), and for some a second ruler with the places of the velocities D_1."""
    fig, ((ax,),) = figure(1, 1, width=7.2, height=0.33 * (len(positions) + len(velocities)) + 0.7)
    names: list[str] = []
    for i, (name, l) in enumerate(positions.items()):
        for what, at in (("$x$", l), ("$D_1$", velocities.get(name))):
            if at is not None:
                ax.plot(at, [-len(names)] * len(at), color=CASES[i], marker="|", ms=10, lw=0.6, ls="-" if what == "$x$" else ":")
                names.append(f"{name}, {what}" if name in velocities else name)
    ax.set(yticks=[-i for i in range(len(names))], yticklabels=names, xlabel="$l$", ylim=(0.6 - len(names), 0.5))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    alt = f"Partitions of the interval from 0 to 1, each layer a tick: {listed(positions)}. For {listed(velocities)} also the velocities."
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


def weights(profiles: pd.DataFrame, pairs: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel for each start: a weight along the layers of one seed at several depths. Right: d(L, 2L) of every seed against L.

    `profiles` has the columns start, depth, layer, weight; `pairs` has start, depth, seed, distance, untrained. `titles` say which seed.
    """
    fig, axes = figure(1, 1 + len(titles), width=8.6, height=3.3, width_ratios=[1] * len(titles) + [1.15])
    *rest, right = axes.flat
    for colour, ax, (start, title) in zip(CLASSES, rest, titles.items(), strict=False):
        table = profiles[profiles["start"] == start]
        shades = np.linspace(0.35, 1, table["depth"].nunique())
        for shade, (depth, line) in zip(shades, table.groupby("depth"), strict=True):
            ax.plot(line["layer"] / depth, line["weight"], color=colour, alpha=shade, lw=2.6 - 2 * shade, label=f"L = {depth}")
        ax.set(xlabel="$l$", ylabel="$W_{11}(l)$", title=f"{start}\n{title}")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=1.2, columnspacing=1)
    for colour, (start, table) in zip(CLASSES, pairs.groupby("start", sort=False), strict=False):
        right.loglog(table["depth"], table["distance"], color=colour, lw=0, marker="o", ms=2.5, alpha=0.35)
        each = table.groupby("depth")[["distance", "untrained"]].median()
        right.loglog(each["distance"], color=colour, label=f"{start}, trained")
        right.loglog(each["untrained"], color=colour, ls="--", label="untrained")
    right.set(xlabel="depth $L$", ylabel="$d(L, 2L)$ of the weights", title="every seed, and the median")
    right.set_xticks(sorted(pairs["depth"].unique()), labels=map(str, sorted(pairs["depth"].unique())))
    right.xaxis.set_minor_formatter(NullFormatter())
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=1.4, columnspacing=1, fontsize=7)
    ends = pairs[pairs["depth"] == pairs["depth"].max()].groupby("start", sort=False)["distance"].median()
    alt = (
        "A trained weight along the layers at several depths, one panel for each start of training. Right: the distance of the weight "
        f"paths of networks of L and 2L layers against L. Medians at L = {pairs['depth'].max()}: "
        + "; ".join(f"{start}: {distance:.2g}" for start, distance in ends.items())
        + "."
    )
    return described(fig, alt)


def sharing(success: pd.DataFrame) -> Figure:
    """The share of seeds at 0.0 % error with its interval, a group of bars for each width, a bar for each kind of network.

    Columns: width, network, share, low, high, parameters.
    """
    kinds = list(success["network"].unique())
    fig, ((ax,),) = figure(1, 1, width=7.6, height=3.0)
    groups = list(success.groupby("width"))
    for at, (_, group) in enumerate(groups):
        for row in group.itertuples():
            i = kinds.index(row.network)
            x = at + (i - (len(kinds) - 1) / 2) * 0.27
            ax.bar(x, row.share, color=CLASSES[i], width=0.24, label=row.network if at == 0 else None)
            ax.errorbar(x, row.share, [[row.share - row.low], [row.high - row.share]], color="k", capsize=3, lw=1)
            ax.text(x, row.high + 0.03, f"{row.parameters}", ha="center", va="bottom", fontsize=7.5)
    ax.set(xticks=range(len(groups)), xticklabels=[f"width {width}" for width, _ in groups], ylim=(0, 1.14))
    ax.set(ylabel="share of seeds at 0.0 % error", title="success, with 95 % intervals; above each bar, the number of parameters")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = "Seeds at 0.0 % error: " + "; ".join(f"width {row.width}, {row.network}: {row.share:.0%}" for row in success.itertuples()) + "."
    return described(fig, alt)


F = ([(-0.5, -1), (-0.5, 1), (0.6, 1)], [(-0.5, 0.1), (0.3, 0.1)])  # a letter that shows whether it is mirrored


def _letter(ax, at: np.ndarray, matrix: np.ndarray, size: float, colour: str) -> None:
    """The letter F carried by a matrix, `size` in its largest coordinate, upright where the matrix is the identity."""
    strokes = [np.array(stroke) @ matrix.T for stroke in F]
    scale = size / np.abs(np.concatenate(strokes)).max()
    for stroke in strokes:
        ax.plot(*(at + scale * stroke).T, color="w", lw=3.2, zorder=5, solid_capstyle="round")
        ax.plot(*(at + scale * stroke).T, color=colour, lw=1.7, zorder=6, solid_capstyle="round")


def projection_fold(
    inputs: Tensor, images: Tensor, orientation: Tensor, meeting: Tensor, jacobians: Tensor, layer: int, seed: int
) -> Figure:
    """The square of inputs (m, m, 2), its image in the x of `layer`, with the turned sheet in the second colour, and inputs that meet.

    `orientation` (m, m) is the sign of det ∂x^(l)/∂x^(0); `meeting` (layers, points, 2) are the images of the inputs that meet, `jacobians`
    (points, 2, 2) the ∂x^(l)/∂x^(0) there. An F at the place where they meet is drawn at each input as it comes from there, turned and
    perhaps mirrored, but not stretched.
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
    u, _, v = np.linalg.svd(np.linalg.inv(as_array(jacobians)))  # what turns and mirrors, without what stretches
    back, sizes = u @ v, [0.06 * np.ptp(as_array(grid)[..., 1]) for grid in (inputs, images)]
    _letter(middle, x[layer, 0], np.eye(2), sizes[1], "k")
    for i in range(x.shape[1]):
        _letter(left, x[0, i], back[i], sizes[0], "k")
        left.annotate(
            str(i + 1), x[0, i], xytext=(11, -12), textcoords="offset points", fontweight="bold", zorder=7, path_effects=[OUTLINE]
        )
        colour = ["k", CLASSES[2], CLASSES[3], GREY, CLASSES[0]][i % 5]
        right.plot(*x[: layer + 2, i].T, color=colour, marker="o", ms=3)
        right.annotate(str(i + 1), x[0, i], xytext=(4, 4), textcoords="offset points", fontweight="bold", color=colour)
    right.plot(*x[layer, 0], "*", color="k", mec="w", ms=11, zorder=5)
    titles = f"inputs of the network of seed {seed}", f"their $x$ at layer {layer}", f"meeting inputs, layers 0 to {layer + 1}"
    for ax, title in zip((left, middle, right), titles, strict=True):
        ax.set(xlabel="$x^1$", ylabel="$x^2$", title=title)
        ax.margins(0.08)
    alt = (
        f"Left: the square of inputs, with {x.shape[1]} numbered inputs that meet, and the F of the middle panel as it comes from each of "
        f"them, mirrored on the turned sheet. Middle: its image at layer {layer}; the "
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
    fig, axes = figure(1, table["path"].nunique(), width=9.2, height=3.1, sharey=True)
    for i, (ax, (name, line)) in enumerate(zip(axes.flat, table.groupby("path", sort=False), strict=True)):
        steps = 1 / line["depth"]
        ax.loglog(steps, line["error"], color=CASES[i], marker=MARKERS[i], ms=4)
        ax.loglog(steps, line["bound"], color="k", ls="--", lw=0.9)
        ax.text(steps.iloc[0], line["bound"].iloc[0] * 1.5, "bound", ha="right", va="bottom")
        value = float(orders[name][0]) if name in orders else 0.0
        ax.set(xlabel="$1/L$", title=f"{name}\nlocal order {value:.3f}" if name in orders else f"{name}\n")
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
    last = axes.flat[-1]
    for number, (ax, image, mark) in enumerate(zip(axes.flat, as_array(images), as_array(marks), strict=False), 1):
        ax.imshow(image, cmap="cividis", origin="lower", vmin=0)
        ax.set_axis_off()
        ax.set_title(number)
        last.annotate(str(number), 0.72 * mark, ha="center", va="center")
    last.plot(*as_array(plane).T, color=GREY)
    last.scatter(*as_array(marks).T, color=CLASSES[1], zorder=3, s=18)
    last.set(aspect="equal", xlabel="1st principal axis", ylabel="2nd", xticks=[], yticks=[])
    alt = (
        f"{len(images)} rotations of one image, and their orbit in pixel space, projected to its first two principal axes: a "
        "closed curve on which they are marked by the same numbers."
    )
    return described(fig, alt)


def bands(width: float = 0.35) -> Figure:
    """The cylinder and the Möbius band, line bundles over the circle, with the transition functions of their seven charts."""
    fig, axes = figure(1, 2, width=7.0, height=2.8, subplot_kw={"projection": "3d"})
    angle, v = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(-width, width, 9))
    for ax, turn, title in ((axes[0, 0], 0.0, "cylinder: seven transitions +1"), (axes[0, 1], 0.5, "Möbius band: six +1, one −1")):
        radius = 1 + v * np.cos(turn * angle)
        height = v * np.sin(turn * angle) if turn else v
        radius = radius if turn else np.ones_like(v)
        ax.plot_surface(radius * np.cos(angle), radius * np.sin(angle), height, cmap="cividis", linewidth=0, rasterized=True)
        ax.set(title=title, zlim=(-0.6, 0.6))
        ax.set_box_aspect((1, 1, 0.5), zoom=1.5)
        ax.set_axis_off()
    alt = "Two line bundles over the circle: the cylinder, all transitions +1, and the Möbius band, with one transition −1."
    return described(fig, alt)
