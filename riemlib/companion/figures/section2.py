"""Figures of section 2: plain and residual ReLU layers, certificates, folds, certificates through training, the circle of images."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import Tensor

from ...charts import principal_minors
from ...metric import jacobians
from ...networks import CkNetwork
from ...plot import CLASSES, GREY, canvas, class_colour, figure
from . import described, listed

KEPT, REVERSED = "#7FBC41", "#C51B7D"  # orientation kept, orientation reversed: not the colours of classes


def relu_layers(plain: CkNetwork, x: Tensor, pieces: Tensor, line: Tensor, curves: Mapping[str, Tensor]) -> Figure:
    """Points of the plane and their image under a plain ReLU layer, coloured by linear piece; and residual layers of width 1.

    `x` (n, 2) and `pieces` (n,) are the points and the numbers of their pieces. `curves` holds an image of `line` for each name.
    """
    fig, (axes,) = figure(1, 3, width=9, height=3.1)
    colours = [CLASSES[i] for i in pieces.tolist()]
    with torch.no_grad():
        image = plain.coordinates(x)[-1].numpy(force=True)
    for ax, points, title in ((axes[0], x.numpy(force=True), "input"), (axes[1], image, "image under relu(Wx)")):
        ax.scatter(*points.T, s=5, c=colours, linewidths=0)
        ax.set(title=title, xlabel="$x^1$", ylabel="$x^2$")
        ax.set_aspect("equal", adjustable="datalim")
    styles = zip(curves.items(), (CLASSES[0], GREY, CLASSES[1]), ("-", "--", "-"), strict=True)
    for (name, y), colour, dash in styles:
        axes[2].plot(line.numpy(force=True), y.numpy(force=True), dash, color=colour)
        axes[2].annotate(name, (float(line[0]), float(y[0])), (-3, 0), textcoords="offset points", ha="right", va="center", color=colour)
    axes[2].set(title="residual layers x + relu(wx)", xlabel="$x$", ylabel="image", xlim=(float(line[0]) * 2, float(line[-1])))
    alt = (
        f"Left: a disc, its points coloured by the {len(set(pieces.tolist()))} linear pieces of a ReLU layer. Middle: the "
        "image of the disc, in "
        f"which pieces are flattened onto edges and a corner. Right: residual ReLU layers of width 1 for {listed(curves)}."
    )
    return described(fig, alt)


def certificate_by_slopes(nets: Sequence[CkNetwork], extent: float = 3.0) -> Figure:
    """One column for each one-layer tanh network of width 2. Above: det(I + Δl S W) over all slopes S, with its corner values.

    Below, or beside it where there is one network: the image of a square grid, `extent` to each side of the origin.
    """
    lines, columns = (2, len(nets)) if len(nets) > 1 else (1, 2)
    fig, axes = figure(lines, columns, width=3.6 * columns, height=3.6 * lines)
    for net, (top, bottom) in zip(nets, axes.reshape(2, -1).T, strict=True):
        M = torch.eye(2, dtype=torch.float64) + net.steps[0] * net.weights[0].detach().double().cpu()
        first, second, both = principal_minors(M).tolist()
        s, t = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
        det = (1 - s) * (1 - t) + s * (1 - t) * first + (1 - s) * t * second + s * t * both
        reach = max(2.0, np.abs(det).max())
        top.contourf(s, t, det, levels=np.linspace(-reach, reach, 21), cmap="PiYG")
        folds = bool(det.min() < 0)
        if folds:
            top.contour(s, t, det, levels=[0], colors="k", linewidths=2)
        for corner, value in zip(((0, 0), (1, 0), (0, 1), (1, 1)), (1.0, first, second, both), strict=True):
            offset = tuple(9 if c == 0 else -9 for c in corner)
            place = {"ha": "left" if corner[0] == 0 else "right", "va": "bottom" if corner[1] == 0 else "top"}
            top.plot(*corner, "o", color="k", clip_on=False, zorder=3)
            top.annotate(f"{value:.2f}", corner, xytext=offset, textcoords="offset points", fontsize=10, fontweight="bold", **place)
        top.set(title="folds: a corner is negative" if folds else "certified: every corner is positive", aspect="equal")
        top.set(xlabel="slope $s_1$ of the first unit", ylabel="slope $s_2$ of the second unit", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        _grid_image(bottom, net, (0.0, 0.0), extent, 31)
        bottom.set(title="image of a square grid", xlabel="$x^1$ after the layer", ylabel="$x^2$ after the layer", aspect="equal")
    alt = (
        f"One column for each of {len(nets)} tanh layers. Above: the determinant over the square of slopes, with its four corner values; "
        "where a corner is negative a black line marks determinant 0. Below: the image of a square grid, which folds over itself there."
    )
    return described(fig, alt)


def folding_layer(
    net: CkNetwork,
    centre: Sequence[float],
    extent: float,
    points: Tensor,
    image: Tensor,
    data: tuple[Tensor, Tensor] | None = None,
    *,
    title: str = "",
) -> Figure:
    """A layer that folds: where det J < 0, the fold curve det J = 0 and its image, and `points` (k, 2) that share one `image` (2,).

    The domain drawn reaches `extent` to each side of `centre`. `data` adds points (n, 2) of the domain with their labels (n,).
    """
    fig, ((left, right),) = figure(1, 2, width=9, height=4.4)
    corners, det = _grid(net, centre, extent, 201)
    x, y = corners[..., 0], corners[..., 1]
    left.contourf(x, y, det < 0, levels=[-0.5, 0.5, 1.5], colors=[to_rgba(KEPT, 0.15), to_rgba(REVERSED, 0.3)])
    curve = left.contour(x, y, det, levels=[0], colors="k", linewidths=1.6)
    _grid_image(right, net, centre, extent, 41)
    for segment in curve.allsegs[0]:
        right.plot(*_image(net, segment).T, color="k", lw=1.6)
    if data is not None:
        colours = [class_colour(label) for label in data[1].tolist()]
        left.scatter(*data[0].numpy(force=True).T, s=4, c=colours, linewidths=0, zorder=2)
        right.scatter(*_image(net, data[0].numpy(force=True)).T, s=4, c=colours, linewidths=0, zorder=2)
    fig.suptitle(title)
    left.set_anchor("N")
    right.set_anchor("N")
    marks = {"mec": "k", "mew": 0.8, "ls": "", "zorder": 4, "mfc": "#F0E442"}
    left.plot(*points.numpy(force=True).T, "*", ms=13, **marks)
    right.plot(*image.numpy(force=True), "*", ms=13, **marks)
    left.set(title="domain: orientation reversed in pink, fold curve black", xlabel="$x^1$ before", ylabel="$x^2$ before", aspect="equal")
    right.set(title="image of a square grid and of the fold curve", xlabel="$x^1$ after", ylabel="$x^2$ after", aspect="equal")
    alt = (
        f"A layer that folds. Left: its domain; the orientation is reversed in {(det < 0).mean():.0%} of it, in pink, inside "
        "the black fold "
        f"curve; {len(points)} stars share one image. Right: the image of a square grid, turned over along the fold curve, and that image."
    )
    return described(fig, alt)


def through_training(layers: pd.DataFrame, networks: pd.DataFrame) -> Figure:
    """The share of layers, and of whole networks, that are certified after so many updates; bands are the intervals.

    Each table has the columns step, update, share, low, high.
    """
    fig, (axes,) = figure(1, 2, width=8, height=3.2, sharey=True)
    for ax, table, title in ((axes[0], layers, "layers"), (axes[1], networks, "whole networks")):
        for (step, line), colour, marker in zip(table.groupby("step", sort=False), CLASSES, "os^D", strict=False):
            ax.fill_between(line["update"], line["low"], line["high"], color=colour, alpha=0.2, linewidth=0)
            ax.plot(line["update"], line["share"], marker, ls="-", ms=4, color=colour, label=step)
        ax.set(title=title, xlabel="updates", ylim=(-0.03, 1.03))
    axes[0].set_ylabel("share certified injective (band: 95 %)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    alt = (
        "Share certified injective against the number of updates, layers at the left, whole networks at the right. At the end: "
        + "; ".join(f"{step}, {line['share'].iloc[-1]:.0%} of layers" for step, line in layers.groupby("step", sort=False))
        + "; "
        + "; ".join(f"{step}, {line['share'].iloc[-1]:.0%} of networks" for step, line in networks.groupby("step", sort=False))
        + "."
    )
    return described(fig, alt)


def rotated_circle(images: Tensor, angles: Sequence[float], components: Tensor, arc: Tensor, chord: Tensor, side: int) -> Figure:
    """Eight of the rotated images, their curve in pixel space in its first three principal components, and chord against arc.

    `images` (n, side²), `angles` in degrees and `components` (n, 3) belong together; `arc` and `chord` are lengths for pairs of images.
    """
    fig = canvas(8.6, 5.2)
    top, bottom = fig.subfigures(2, 1, height_ratios=[1, 3.6])
    for ax, i in zip(top.subplots(1, 8), range(0, len(images), len(images) // 8), strict=False):
        ax.imshow(images[i].reshape(side, side).numpy(force=True), cmap="gray_r")
        ax.set(title=f"{angles[i]:.0f}°", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    halves = bottom.add_gridspec(1, 2, width_ratios=[1.15, 1])
    space = bottom.add_subplot(halves[0], projection="3d")
    closed = torch.cat([components, components[:1]]).numpy(force=True)
    space.plot(*closed.T[:3], color="#999999", lw=0.8)
    dots = space.scatter(*components.numpy(force=True).T[:3], c=angles, cmap="twilight", vmin=0, vmax=360, s=9, depthshade=False)
    space.set(xlabel="component 1", ylabel="component 2", zlabel="component 3")
    for axis in (space.xaxis, space.yaxis, space.zaxis):
        axis.set_major_locator(plt.MaxNLocator(4))
    space.tick_params(labelsize=7, pad=-1)
    space.set_box_aspect(None, zoom=0.85)
    bottom.colorbar(dots, ax=space, label="angle (degrees)", ticks=range(0, 361, 90), location="left", shrink=0.7, pad=0.02)
    ax = bottom.add_subplot(halves[1])
    far, total = arc.numpy(force=True), 2 * float(arc.max())
    ax.plot([0, far.max()], [0, far.max()], "--", color=GREY)
    ax.annotate("straight line", (far.max() * 0.62, far.max() * 0.64), color=GREY, rotation=0, ha="right")
    along = np.linspace(0, far.max(), 100)
    ax.plot(along, total / np.pi * np.sin(np.pi * along / total), color=CLASSES[2])
    ax.annotate("round circle", (far.max(), total / np.pi), xytext=(0, 4), textcoords="offset points", color=CLASSES[2], ha="right")
    ax.plot(far, chord.numpy(force=True), ".", ms=1.5, color=CLASSES[0], rasterized=True)
    ax.annotate("images", (far.max(), float(chord.max())), xytext=(0, 4), textcoords="offset points", color=CLASSES[0], ha="right")
    ax.set(xlabel="distance along the curve", ylabel="distance in pixel space")
    alt = (
        "Above: eight rotated images of a digit. Left: all images as a closed curve in their first three principal components, coloured by "
        f"angle. Right: distance in pixel space against distance along the curve: it stays below the straight line, reaching "
        f"{float(chord.max()):.3g} where the curve is {float(arc.max()):.3g} long."
    )
    return described(fig, alt)


def _grid(net: CkNetwork, centre: Sequence[float], extent: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A square grid about `centre`, (count, count, 2), and det J of the layer on it."""
    like = net.weights[0]
    line = torch.linspace(-extent, extent, count, dtype=like.dtype, device=like.device)
    x = torch.stack(torch.meshgrid(line + float(centre[0]), line + float(centre[1]), indexing="xy"), -1)
    det = torch.linalg.det(jacobians(net, x.reshape(-1, 2))[0]).reshape(count, count)
    return x.numpy(force=True), det.numpy(force=True)


def _image(net: CkNetwork, points: np.ndarray) -> np.ndarray:
    """The images of points (n, 2) as an array."""
    like = net.weights[0]
    with torch.no_grad():
        return net.coordinates(torch.as_tensor(points, dtype=like.dtype, device=like.device))[-1].numpy(force=True)


def _grid_image(ax, net: CkNetwork, centre: Sequence[float], extent: float, lines: int) -> None:
    """Draws the image of the lines of a grid. The colour is the sign of det J."""
    fine = 8 * (lines - 1) + 1
    x, det = _grid(net, centre, extent, fine)
    y = _image(net, x.reshape(-1, 2)).reshape(fine, fine, 2)
    pieces, colours = [], []
    for curves, signs in ((y[::8], det[::8] < 0), (y[:, ::8].swapaxes(0, 1), (det[:, ::8] < 0).T)):
        for curve, sign in zip(curves, signs, strict=True):
            ends = [0, *np.flatnonzero(np.diff(sign)), fine - 1]
            pieces += [curve[i : j + 1] for i, j in pairwise(ends)]
            colours += [REVERSED if sign[j] else KEPT for j in ends[1:]]
    ax.add_collection(LineCollection(pieces, colors=colours, linewidths=[0.9 if colour == REVERSED else 0.5 for colour in colours]))
    ax.autoscale_view()
