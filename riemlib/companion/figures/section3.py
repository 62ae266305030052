"""Section 3 and the appendix: networks beside the equation they discretise, measured orders, phase space, and the product's limit."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import NullFormatter

from ...plot import CLASSES, GREY, NETWORKS, as_array, figure

MARKERS = "osD^vP"


def tracks(rows: Mapping[str, Mapping[int, np.ndarray]], exact: Mapping[str, np.ndarray]):
    """Polygons of x^(l) in the plane for growing depth, (L + 1, points, 2), over the curves x(l) of the equation; a row a network."""
    fig, axes = figure(len(rows), len(next(iter(rows.values()))), width=8.2, height=2.25 * len(rows), sharex="row", sharey="row")
    for line, (name, depths) in zip(axes, rows.items(), strict=True):
        for ax, (depth, x) in zip(line, depths.items(), strict=True):
            ax.plot(*np.moveaxis(as_array(exact[name]), -1, 0), color="0.75", lw=2.5, solid_capstyle="round")
            ax.plot(*np.moveaxis(as_array(x), -1, 0), color=NETWORKS[name], lw=0.8, marker="o", ms=2 if depth < 40 else 0)
            ax.set_title(f"{name}, L = {depth}")
            ax.set(xlabel="$x^1$", aspect="equal")
        line[0].set_ylabel("$x^2$")
    return fig


def orders(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float], tuple]]], *, abscissa: str = r"step $\Delta l$"):
    """Errors against the step on log-log axes, a panel a group: name -> (steps, errors, order); the order stands in the legend."""
    fig, axes = figure(1, len(panels), width=8.2, height=3.5)
    for ax, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        for i, (name, (steps, errors, order)) in enumerate(curves.items()):
            colour = [*CLASSES, *NETWORKS.values()][i]
            style = {"ls": "none"} if len(set(steps)) > 8 else {}
            label = f"{name}: {order[0]:.2f} [{order[1]:.2f}, {order[2]:.2f}]"
            ax.loglog(steps, errors, color=colour, marker=MARKERS[i % 6], ms=4, label=label, **style)
        ax.set(xlabel=abscissa, ylabel="error of $x^{(L)}$ (rms)", title=title)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), fontsize=7.5, title="order [95 % interval]", title_fontsize=7.5)
    return fig


def partitions(positions: Mapping[str, Sequence[float]]):
    """The layers of each partition as ticks on [0, 1] (Eq. 7)."""
    fig, ((ax,),) = figure(1, 1, width=7.2, height=0.42 * len(positions) + 0.6)
    for i, l in enumerate(positions.values()):
        ax.plot(l, [-i] * len(l), color=CLASSES[i % 4], marker="|", ms=10, lw=0.6)
    ax.set(yticks=[-i for i in range(len(positions))], yticklabels=list(positions), xlabel="$l$", ylim=(0.6 - len(positions), 0.5))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return fig


def _grid(ax, grid: np.ndarray, colour: str) -> None:
    lines = [*grid, *np.swapaxes(grid, 0, 1)]
    ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.7))
    ax.autoscale()
    ax.set(aspect="equal", xlabel="$x^1$", ylabel="$x^2$")


def implicit(depths: Sequence[int], shares: Mapping[str, Sequence[float]], grids: Mapping[str, np.ndarray]):
    """Left: how far the map is from affine, against depth. Right: a square grid (m, m, 2) carried by the deepest networks."""
    fig, axes = figure(1, 1 + len(grids), width=8.4, height=3.0, width_ratios=[1.35] + [1] * len(grids))
    left, *rest = axes.flat
    for i, (name, share) in enumerate(shares.items()):
        left.loglog(depths, share, color=CLASSES[i], marker=MARKERS[i], ms=4, label=name, ls="--" if "ReLU, i" in name else "-")
    left.set(xlabel="depth $L$", ylabel="non-affine share of the map")
    left.legend(loc="lower left")
    for i, (ax, (name, grid)) in enumerate(zip(rest, grids.items(), strict=True)):
        _grid(ax, as_array(grid), CLASSES[i])
        ax.set_title(name)
    return fig


def weights(profiles: Mapping[str, Mapping[int, np.ndarray]], depths: Sequence[int], ratios: Mapping[str, np.ndarray]):
    """Left: one weight along the layers, (L,), for a few depths. Right: von Neumann's ratio for every run against depth, (depths, runs)."""
    fig, axes = figure(1, 1 + len(profiles), width=8.4, height=3.0)
    *rest, right = axes.flat
    for i, (ax, (name, curves)) in enumerate(zip(rest, profiles.items(), strict=True)):
        for j, (depth, w) in enumerate(curves.items()):
            l = np.arange(depth) / depth
            ax.plot(l, as_array(w), color=CLASSES[i], alpha=[0.35, 0.6, 1][j], lw=[2.4, 1.4, 0.7][j], label=f"L = {depth}")
        ax.set(xlabel="$l$", ylabel="$W_{11}(l)$", title=name)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, handlelength=1.2, columnspacing=1)
    for i, (name, ratio) in enumerate(ratios.items()):
        ratio = as_array(ratio)
        right.loglog(depths, ratio, color=CLASSES[i], lw=0, marker=MARKERS[i], ms=3, alpha=0.6)
        right.loglog(depths, np.median(ratio, 1), color=CLASSES[i])
        right.plot([], [], color=CLASSES[i], marker=MARKERS[i], ms=3, label=name)
    right.set(xlabel="depth $L$", ylabel="variation (1 = independent)", title="every run, and the median")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, handlelength=1.2, columnspacing=1)
    return fig


def sharing(success: Mapping[str, tuple[float, tuple[float, float]]], loss: Sequence[np.ndarray], solved: Sequence[np.ndarray]):
    """Left: share of seeds at 0.0 % error, with Wilson intervals. Right: final loss, seed by seed, own weights (x) against shared (y)."""
    fig, ((left, right),) = figure(1, 2, width=7.6, height=3.3, width_ratios=[1, 1.4])
    for i, (share, (low, high)) in enumerate(success.values()):
        left.bar(i, share, color=CLASSES[i], width=0.6)
        left.errorbar(i, share, [[share - low], [high - share]], color="k", capsize=4, lw=1)
    left.set(xticks=range(len(success)), xticklabels=list(success), ylim=(0, 1), ylabel="share of seeds at 0.0 % error")
    own, shared = (as_array(values) for values in loss)
    group = 2 * as_array(solved[0]).astype(int) + as_array(solved[1]).astype(int)
    for k, (name, colour) in enumerate(
        {"neither": GREY, "shared only": CLASSES[1], "own only": CLASSES[0], "both solve": CLASSES[2]}.items()
    ):
        at = group == k
        right.loglog(own[at], shared[at], color=colour, marker=MARKERS[k], ms=4, ls="none", label=f"{name}: {at.sum()}")
    ends = [min(own.min(), shared.min()), max(own.max(), shared.max())]
    right.loglog(ends, ends, color="0.6", lw=0.8, ls="--")
    right.set(xlabel="late training loss, own weights (nats)", ylabel="late training loss, shared (nats)")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def fold(inputs, images, orientation, tracks, layer: int):
    """The square of inputs (m, m, 2), the same square in the x of `layer`, the turned sheet in the second colour, and inputs that meet.

    `orientation` (m, m) is the sign of det ∂x^(l)/∂x^(0); `tracks` (layers, points, 2) are the meeting inputs' x, layer by layer.
    """
    fig, ((left, middle, right),) = figure(1, 3, width=8.6, height=3.0)
    sign, x = as_array(orientation), as_array(tracks)
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
    return fig


def parasite(l, runs: Mapping[str, np.ndarray], exact: np.ndarray):
    """A decaying solution by each scheme: left on linear axes, right its size on logarithmic ones."""
    fig, ((left, right),) = figure(1, 2, width=7.8, height=2.9)
    left.plot(l, exact, color="0.75", lw=3)
    right.semilogy(l, np.abs(exact), color="0.75", lw=3, label="equation")
    for i, (name, x) in enumerate(runs.items()):
        left.plot(l, x, color=CLASSES[i], marker=".", ms=4)
        right.semilogy(l, np.abs(x), color=CLASSES[i], marker=".", ms=4, label=name)
    left.set(xlabel="$l$", ylabel="$x$", ylim=(-1.2, 1.2))
    right.set(xlabel="$l$", ylabel="$|x|$")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def products(steps, curves: Mapping[str, tuple[Sequence[float], Sequence[float], tuple]], wrong: Sequence[float]):
    """Error of the product of Eq. 12 against 1/L under the proof's bound: name -> (errors, bounds, order); `wrong` of the reversed one."""
    fig, axes = figure(1, len(curves), width=8.4, height=3.1, sharey=True)
    for i, (ax, (name, (errors, bounds, order))) in enumerate(zip(axes.flat, curves.items(), strict=True)):
        ax.loglog(steps, errors, color=CLASSES[i], marker=MARKERS[i], ms=4)
        ax.loglog(steps, bounds, color="k", ls="--", lw=0.9)
        ax.text(steps[0], bounds[0] * 1.5, "bound", ha="right", va="bottom")
        title = name if order is None else f"{name}\norder {order[0]:.3f} [{order[1]:.3f}, {order[2]:.3f}]"
        ax.set(xlabel="$1/L$", title=title)
        ax.margins(y=0.12)
    axes[0, 0].loglog(steps, wrong, color=GREY, marker="x", ms=4)
    axes[0, 0].text(steps[-1], wrong[-1] * 1.3, "wrong order", color=GREY, ha="left", va="bottom")
    axes[0, 0].set_ylabel(r"error $\|P_L - P\|_2$")
    return fig


def orbit(images, plane, marks):
    """Rotated images in a row, and their orbit in pixel space, projected to the plane of most variance: (k, side, side), (n, 2), (k, 2)."""
    fig, axes = figure(1, len(images) + 1, width=8.4, height=1.9, width_ratios=[1] * len(images) + [1.5])
    for ax, image in zip(axes.flat, as_array(images), strict=False):
        ax.imshow(image, cmap="cividis", origin="lower", vmin=0)
        ax.set_axis_off()
    last = axes.flat[-1]
    last.plot(*as_array(plane).T, color=GREY)
    last.scatter(*as_array(marks).T, color=CLASSES[1], zorder=3, s=18)
    last.set(aspect="equal", xlabel="1st principal axis", ylabel="2nd", xticks=[], yticks=[])
    return fig


def bands(width: float = 0.35):
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
    return fig
