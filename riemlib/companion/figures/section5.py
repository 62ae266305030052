"""Figures of sections 5 and 6: frames, the metrics that belong to them, and the covectors of the error, layer by layer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from ...bundles import act_on_metric
from ...ellipsoids import balls, balls_of
from ...plot import CLASSES, GREY, NETWORKS, figure, scatter_classes
from . import described, listed

VECTORS = (CLASSES[2], CLASSES[3])  # the first and the second vector of a frame
INK = "#222222"


def polar_chart(points: Tensor, h: Tensor) -> Figure:
    """Polar coordinates as a layer, at points (r, θ), (n, 2). Left: the unit balls of g in (r, θ). Right: the columns of h in the plane.

    `h` (n, 2, 2) are the Jacobians of the layer. Balls and frames are drawn to a quarter of their size.
    """
    fig, ((left, right),) = figure(1, 2, width=6.4, height=4.4, width_ratios=(1, 2))
    r, theta = points.T
    plane = torch.stack([r * theta.cos(), r * theta.sin()], 1)
    for curve in balls_of(h, 0.25).outline(points):
        left.plot(*curve.T, color=INK, linewidth=0.8)
    for ax, centres, frames, width in ((left, points, torch.eye(2).to(h).expand_as(h), 0.025), (right, plane, h, 0.006)):
        _arrows(ax, centres.repeat_interleave(2, 0), 0.25 * frames.mT.flatten(0, 1), VECTORS * len(h), width=width)
        ax.set_aspect("equal")
        ax.margins(0.1)
    (pole,) = right.plot(0, 0, "x", color=CLASSES[1])
    left.set(xlabel="$r$", ylabel=r"$\theta$", title="layer 0: coordinate frame")
    right.set(xlabel="$x^1$", ylabel="$x^2$", title="layer 1: the same frame, the columns of h")
    entries = [(r"$\partial_r$", "-", VECTORS[0]), (r"$\partial_\theta$", "-", VECTORS[1]), ("ball of g", "-", INK)]
    handles = [*_handles(entries), (pole, "r = 0: no frame")]
    fig.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=4)
    alt = (
        f"Polar coordinates as a network of one layer, at {len(points)} points. Left, in (r, θ): ellipses that become flatter as r grows, "
        "with unit arrows. Right, in the plane: the arrow of ∂r points outwards, that of ∂θ is normal to it and grows with r."
    )
    return described(fig, alt)


def one_class(frames: Tensor, metrics: Tensor, wrong: Tensor, names: Sequence[str]) -> Figure:
    """Pairs (frame, metric components), (m, 2, 2) each, of one class. Above: in the tangent plane. Below: in the components of the frame.

    `wrong` are the components that the rule for upper indices gives with the same frames. Where they are the same, they are not drawn.
    """
    fig, axes = figure(2, len(frames), width=7.6, height=4.3)
    for (top, bottom), e, g, other, name in zip(axes.T, frames, metrics, wrong, names, strict=True):
        drawn = [(g, "-", CLASSES[0])] if torch.allclose(other, g) else [(other, "--", CLASSES[1]), (g, "-", CLASSES[0])]
        for components, style, colour in drawn:
            top.plot(*_ellipse(act_on_metric(e, components)), style, color=colour)
        _arrows(top, torch.zeros(1, 2), e[None].mT.flatten(0, 1), VECTORS)
        bottom.plot(*_ellipse(g), color=CLASSES[0])
        _arrows(bottom, torch.zeros(1, 2), torch.eye(2), VECTORS)
        top.set_title(name)
    for row in axes:
        reach = 1.05 * max(abs(end) for ax in row for end in (*ax.get_xlim(), *ax.get_ylim()))
        for ax in row:
            ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel("in the tangent plane")
    axes[1, 0].set_ylabel("in the components of the frame")
    entries = [("unit ball of the class", "-", CLASSES[0]), ("by the rule for upper indices", "--", CLASSES[1])]
    entries += [("first vector of the frame", "-", VECTORS[0]), ("second vector", "-", VECTORS[1])]
    fig.legend(*zip(*_handles(entries), strict=True), loc="outside lower center", ncols=4)
    alt = (
        f"{len(frames)} frames of one class of pairs. Above: in the tangent plane all have the same unit ball, a solid ellipse; by the "
        "rule for upper indices the ellipse, dashed, changes. Below: the ball in the components of each frame."
    )
    return described(fig, alt)


def frames_through_layers(
    coordinates: Sequence[Tensor],
    label: Tensor,
    at: Sequence[int],
    frames: Sequence[Tensor],
    orthonormal: Sequence[Tensor],
    pushforwards: Sequence[Tensor],
    layers: Sequence[int],
    *,
    title: str = "",
) -> Figure:
    """Frames (m, 2, 2) at the points `at`, in the coordinates of each of `layers`. Below: orthonormal frames with the balls of the metric.

    `coordinates`, `frames`, `orthonormal` and `pushforwards`, from which the balls are found, are lists over all layers. The vectors of an
    orthonormal frame are conjugate radii of its ball. Each frame, with its ball, is drawn to a size of its own.
    """
    fig, axes = figure(2, len(layers), width=9.6, height=4.9)
    for column, l in zip(axes.T, layers, strict=True):
        x, centres = coordinates[l], coordinates[l][at]
        extent = float((x.amax(0) - x.amin(0)).max())
        for ax, e, with_ball in zip(column, (frames[l], orthonormal[l]), (False, True), strict=True):
            scatter_classes(ax, x, label, 1.0, alpha=0.35)
            scale = 0.13 * extent / torch.linalg.matrix_norm(e, 2)
            if with_ball:
                for P, centre, radius in zip(pushforwards[l], centres, scale.tolist(), strict=True):
                    ax.plot(*balls_of(P[None], radius).outline(centre[None])[0].T, color=INK, linewidth=0.8)
            _arrows(ax, centres.repeat_interleave(2, 0), (scale[:, None, None] * e).mT.flatten(0, 1), VECTORS * len(centres))
            ax.set_aspect("equal", adjustable="datalim")
            ax.set_title(f"layer {l}")
            ax.margins(0.1)
            ax.tick_params(labelsize=6)
    fig.suptitle(title)
    axes[0, 0].set_ylabel("coordinate frame of the input")
    axes[1, 0].set_ylabel("orthonormal frame and its ball")
    entries = [("first vector of the frame", "-", VECTORS[0]), ("second vector", "-", VECTORS[1]), ("ball of g", "-", INK)]
    fig.legend(*zip(*_handles(entries), strict=True), loc="outside lower center", ncols=3)
    alt = (
        f"Frames at {len(at)} points of the spiral in layers {listed(layers)}. Above: the coordinate frame of the input, "
        "pushed forward; its two "
        "arrows come together. Below: the orthonormal frame, its arrows conjugate radii of the ball of the metric."
    )
    return described(fig, alt)


def invertibility(ratio: Tensor, folds: pd.DataFrame) -> Figure:
    """Left: σ_min / σ_max of the layers' Jacobians, (seeds, layers, points). Right: the share of networks that fold in each layer.

    `folds` has the columns seed, layer and square: whether the determinant has both signs in the square.
    """
    fig, ((left, right),) = figure(1, 2, width=7.6, height=2.8)
    layers = np.arange(ratio.shape[1])
    by_layer = ratio.transpose(0, 1).flatten(1).double()
    least, low, median, high = (torch.quantile(by_layer, q, 1).numpy() for q in (0.0, 0.05, 0.5, 0.95))
    left.fill_between(layers, low, high, color=NETWORKS["C1"], alpha=0.25, linewidth=0, label="5 % to 95 %")
    left.plot(layers, median, color=NETWORKS["C1"], label="median")
    left.plot(layers, least, ":", color=GREY, label="least")
    left.set(yscale="log", xlabel="from layer", ylabel=r"$\sigma_\mathrm{min}\,/\,\sigma_\mathrm{max}$ of the Jacobian", xticks=layers)
    left.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    right.bar(layers, 100 * folds.groupby("layer")["square"].mean(), color=NETWORKS["C1"])
    right.set(xlabel="from layer", ylabel="networks that fold there (%)", xticks=layers)
    alt = (
        f"Left: smallest over largest singular value of the Jacobians by layer; medians {median.min():.2f} to "
        f"{median.max():.2f}, the least "
        f"{least.min():.1g}. Right: networks that fold, {100 * folds.groupby('layer')['square'].mean().min():.0f} to "
        f"{100 * folds.groupby('layer')['square'].mean().max():.0f} % in a layer."
    )
    return described(fig, alt)


def error_gradients(
    coordinates: Sequence[Tensor],
    gradients: Sequence[Tensor],
    differentials: Sequence[Tensor],
    angles: Sequence[Tensor],
    label: Tensor,
    at: Tensor,
    layers: Sequence[int],
    *,
    title: str = "",
) -> Figure:
    """Directions in which the error falls, at the points `at`, a panel for each of `layers`: -g⁻¹dE, and -dE as a Euclidean arrow.

    Coordinates, gradients, differentials, (n, 2) each, and their angles in degrees, (n,), are lists over the layers drawn. All arrows of a
    panel have one length.
    """
    fig, axes = figure(1, len(layers), width=2.5 * len(layers), height=3.3)
    for ax, l, x, v, p, angle in zip(axes[0], layers, coordinates, gradients, differentials, angles, strict=True):
        length = 0.16 * float((x.amax(0) - x.amin(0)).max())
        scatter_classes(ax, x, label, 1.0, alpha=0.35)
        for each, colour in ((p, GREY), (v, CLASSES[3])):
            _arrows(ax, x[at], -length * each[at] / each[at].norm(dim=1, keepdim=True), [colour] * len(at), width=0.011)
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_title(f"layer {l}: median angle {float(angle.median()):.0f}°")
        ax.margins(0.15)
        ax.tick_params(labelsize=6)
    entries = [("gradient $-g^{-1}dE$", "-", CLASSES[3]), ("Euclidean arrow $-dE$", "-", GREY)]
    fig.legend(*zip(*_handles(entries), strict=True), loc="outside lower center", ncols=2)
    fig.suptitle(title)
    alt = (
        f"{title}. Layers {listed(layers)}: the spiral, with two arrows at each of {len(at)} points. Their median angle is "
        f"{listed(f'{float(angle.median()):.0f}°' for angle in angles)}; at the output they coincide."
    )
    return described(fig, alt)


def adjoint_convergence(errors: pd.DataFrame, control: str) -> Figure:
    """Errors over the number of layers, log-log, with a line of order 1. The quantity `control` is grey.

    `errors` has the columns quantity, layers, error.
    """
    fig, ((ax,),) = figure(1, 1, width=5.2, height=3.2)
    styles = zip(CLASSES, "osD^", strict=True)
    for name, table in errors.groupby("quantity", sort=False):
        (colour, marker), line = ((GREY, "x"), "--") if name == control else (next(styles), "-")
        ax.loglog(table["layers"], table["error"], marker=marker, color=colour, label=name, markersize=4, linestyle=line)
    layers = np.sort(errors["layers"].unique())
    first = errors.loc[(errors["layers"] == layers[0]) & (errors["quantity"] != control), "error"].max()
    ax.loglog(layers, 1.6 * first * layers[0] / layers, ":", color=INK, label="order 1")
    ax.set(xlabel="layers L", ylabel="relative error")
    ax.set_xticks(layers, [str(count) for count in layers])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = (
        f"Relative error of {listed(name for name in errors['quantity'].unique() if name != control)} against {layers[0]} to "
        f"{layers[-1]} layers on "
        f"logarithmic axes, parallel to a line of order 1. The control, {control}, does not fall."
    )
    return described(fig, alt)


def _arrows(ax: Axes, at: Tensor, vectors: Tensor, colours: Sequence[str], width: float = 0.012) -> None:
    at = at.expand(len(vectors), 2)
    shape = {"width": width, "headwidth": 3.2, "headlength": 3.6}
    ax.quiver(*at.T, *vectors.T, angles="xy", scale_units="xy", scale=1, color=colours, zorder=3, **shape)
    tips = (at + vectors).numpy()
    ax.update_datalim(tips)  # quiver counts only the tails
    ax.autoscale_view()


def _ellipse(form: Tensor) -> Tensor:
    return balls(form[None], 1.0).outline(form.new_zeros(1, 2))[0].T


def _handles(entries: Sequence[tuple[str, str, str]]) -> list:
    return [(Line2D([], [], linestyle=style, color=colour), name) for name, style, colour in entries]
