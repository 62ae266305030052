"""Figures of sections 5 and 6: frames, the metrics beside them, and the error's covectors, layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from ...bundles import act_on_metric
from ...ellipsoids import balls
from ...plot import CLASSES, GREY, NETWORKS, class_colour, figure, layer_grid

VECTORS = (CLASSES[2], CLASSES[3])  # the first and the second vector of a frame
INK = "#222222"


def one_class(frames: Tensor, metrics: Tensor, wrong: Tensor, names: Sequence[str]) -> Figure:
    """Pairs (frame, metric components), (m, 2, 2) each, of one class: above in the tangent plane, below in the frame's own components.

    `wrong` are the components that the transposed convention pairs with the same frames.
    """
    fig, axes = figure(2, len(frames), width=7.6, height=4.3)
    for (top, bottom), e, g, other, name in zip(axes.T, frames, metrics, wrong, names, strict=True):
        for components, style, colour in ((other, "--", CLASSES[1]), (g, "-", CLASSES[0])):
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
    axes[1, 0].set_ylabel("in the frame's components")
    fig.legend(
        *zip(*_handles([("unit ball of the class", "-", CLASSES[0]), ("with $h^T$ for $h^{-T}$", "--", CLASSES[1])]), strict=True),
        loc="outside lower center",
        ncols=2,
    )
    return fig


def frames_through_layers(
    coordinates: Sequence[Tensor],
    label: Tensor,
    at: Sequence[int],
    frames: Sequence[Tensor],
    orthonormal: Sequence[Tensor],
    metrics: Sequence[Tensor],
    layers: Sequence[int],
) -> Figure:
    """Frames (m, 2, 2) at the points `at` in the coordinates of each of `layers`; below, orthonormal ones with the metric's balls.

    The vectors of an orthonormal frame are conjugate radii of its ball. Each frame, with its ball, is drawn to a size of its own.
    """
    fig, axes = figure(2, len(layers), width=9.6, height=4.6)
    for column, l in zip(axes.T, layers, strict=True):
        x, centres = coordinates[l], coordinates[l][at]
        extent = float((x.amax(0) - x.amin(0)).max())
        for ax, e, with_ball in zip(column, (frames[l], orthonormal[l]), (False, True), strict=True):
            ax.scatter(*x.T, s=1, c=[class_colour(c) for c in label.tolist()], alpha=0.35, linewidths=0)
            scale = 0.13 * extent / torch.linalg.matrix_norm(e, 2)
            if with_ball:
                for g, centre, radius in zip(metrics[l], centres, scale.tolist(), strict=True):
                    ax.plot(*balls(g[None], radius).outline(centre[None])[0].T, color=INK, linewidth=0.8)
            _arrows(ax, centres.repeat_interleave(2, 0), (scale[:, None, None] * e).mT.flatten(0, 1), VECTORS * len(centres))
            ax.set_aspect("equal", adjustable="datalim")
            ax.set_title(f"layer {l}")
            ax.margins(0.1)
            ax.tick_params(labelsize=6)
    axes[0, 0].set_ylabel("the input's coordinate frame")
    axes[1, 0].set_ylabel("orthonormal frame and its ball")
    return fig


def invertibility(ratio: Tensor, folds: Tensor) -> Figure:
    """How near layers come to a singular Jacobian: σ_min / σ_max, (seeds, layers, points), and which (seeds, layers) fold."""
    fig, axes = figure(1, 2, width=7.6, height=2.8)
    layers = np.arange(ratio.shape[1])
    by_layer = ratio.transpose(0, 1).flatten(1).double()
    low, q1, median, q3 = (torch.quantile(by_layer, q, 1).numpy() for q in (0.0, 0.05, 0.5, 0.95))
    ax = axes[0, 0]
    ax.fill_between(layers, q1, q3, color=NETWORKS["C1"], alpha=0.25, linewidth=0, label="5 % to 95 %")
    ax.plot(layers, median, color=NETWORKS["C1"], label="median")
    ax.plot(layers, low, ":", color=GREY, label="least")
    ax.set_yscale("log")
    ax.set_xlabel("from layer")
    ax.set_ylabel("$\\sigma_{min}\\,/\\,\\sigma_{max}$ of the Jacobian")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[0, 1].bar(layers, 100 * folds.double().mean(0).numpy(), color=NETWORKS["C1"])
    axes[0, 1].set_xlabel("from layer")
    axes[0, 1].set_ylabel("networks that fold there (%)")
    for ax in axes.flat:
        ax.set_xticks(layers)
    return fig


def fold(before: Tensor, after: Tensor, determinant: Tensor, data: Sequence[Tensor], label: Tensor, layer: int) -> Figure:
    """A layer that folds: the region before and after it, (n, 2) each, coloured by the sign of the determinant, with the data."""
    fig, axes = figure(1, 2, width=7.6, height=3.6)
    flipped = determinant < 0
    for ax, points, x, l in zip(axes.flat, (before, after), data, (layer, layer + 1), strict=True):
        ax.scatter(*points[~flipped].T, s=2, color="#bbbbbb", linewidths=0, label="det > 0", rasterized=True)
        ax.scatter(*points[flipped].T, s=2, color=CLASSES[3], linewidths=0, label="det < 0", rasterized=True)
        ax.scatter(*x.T, s=2, c=[class_colour(c) for c in label.tolist()], linewidths=0)
        ax.set_title(f"coordinates of layer {l}")
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_xlabel("$x^1$")
        ax.set_ylabel("$x^2$")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=5)
    return fig


def error_covectors(coordinates: Sequence[Tensor], label: Tensor, at: Sequence[int], covectors: Sequence[Tensor]) -> Figure:
    """Minus the error's covectors, (m, 2) at each layer, at the points `at`: where each layer wants its points moved."""
    fig, axes = layer_grid(len(coordinates), columns=4)
    for ax, x, p in zip(axes, coordinates, covectors, strict=True):
        extent = float((x.amax(0) - x.amin(0)).max())
        scale = 0.3 * extent / float(p.norm(dim=1).max())
        ax.scatter(*x.T, s=1, c=[class_colour(c) for c in label.tolist()], alpha=0.35, linewidths=0)
        _arrows(ax, x[at], -scale * p, [INK] * len(p), width=0.007)
        ax.margins(0.15)
        ax.tick_params(labelsize=6)
    return fig


def adjoint_convergence(depths: Sequence[int], errors: Mapping[str, Sequence[float]], control: str) -> Figure:
    """Errors against the number of layers, log-log, with a line of order 1; the `control` in grey."""
    fig, axes = figure(1, 1, width=5.2, height=3.2)
    ax, L = axes[0, 0], np.array(depths, dtype=float)
    marks = iter(zip(CLASSES, "osD^", strict=True))
    for name, e in errors.items():
        colour, mark = (GREY, "x") if name == control else next(marks)
        ax.loglog(L, e, mark, color=colour, label=name, markersize=4, linestyle="--" if name == control else "-")
    first = max(e[0] for name, e in errors.items() if name != control)
    ax.loglog(L, 1.6 * first * L[0] / L, ":", color=INK, label="order 1")
    ax.set_xlabel("layers L")
    ax.set_ylabel("relative error")
    ax.set_xticks(L, [str(depth) for depth in depths])
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def _arrows(ax: Axes, at: Tensor, vectors: Tensor, colours: Sequence[str], width: float = 0.012) -> None:
    at = at.expand(len(vectors), 2)
    shape = {"width": width, "headwidth": 3.2, "headlength": 3.6}
    ax.quiver(*at.T, *vectors.T, angles="xy", scale_units="xy", scale=1, color=colours, zorder=3, **shape)
    tips = (at + vectors).numpy()
    ax.update_datalim(tips)  # quiver counts the tails alone
    ax.autoscale_view()


def _ellipse(form: Tensor) -> Tensor:
    return balls(form[None], 1.0).outline(form.new_zeros(1, 2))[0].T


def _handles(entries: Sequence[tuple[str, str, str]]) -> list:
    return [(Line2D([], [], linestyle=style, color=colour), name) for name, style, colour in entries]
