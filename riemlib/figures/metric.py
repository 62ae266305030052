"""Section 4: fields of ellipses, true preimages, lengths layer by layer, ranks, and the studies of section 4's remarks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection

from .style import CLASSES, GREY, class_colour, figure


def _array(x) -> np.ndarray:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def _points(ax, sample, size: float = 2.0, **kwargs) -> None:
    x, label = _array(sample.x), _array(sample.label)
    for c in np.unique(label):
        ax.scatter(*x[label == c].T, s=size, color=class_colour(c), linewidths=0, **kwargs)


def ellipse_field(sample, centres, outlines, plane, volume, *, radius: float):
    """Left: balls of one radius at grid points of the input plane. Right: the volume density √det g that goes with them.

    `outlines` (n, k, 2); `plane` (m, m, 2) a grid of input points and `volume` (m, m) the density there.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=4.1)
    left.add_collection(LineCollection(list(_array(outlines)), colors="k", linewidths=0.7))
    plane = _array(plane)
    mesh = right.pcolormesh(plane[..., 0], plane[..., 1], np.log10(_array(volume)), cmap="cividis", shading="gouraud", rasterized=True)
    fig.colorbar(mesh, ax=right, shrink=0.85, label=r"$\log_{10}\sqrt{\det g}$")
    low, high = plane.min((0, 1)), plane.max((0, 1))
    for ax in (left, right):
        _points(ax, sample)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    left.set_title(f"balls of radius ds = {radius:g} (output units)")
    right.set_title("volume the network gives to the plane")
    return fig


def lengths(metric, euclidean, counts, errors):
    """Left: one curve's length at every layer, by the metric and by Euclid. Right: the error of chords against how many points they join.

    `metric`, `euclidean` (L + 1,); `errors` (L + 1, len(counts)), relative.
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.1)
    layer = np.arange(len(metric))
    left.plot(layer, metric, color=CLASSES[0], marker="o", ms=4)
    left.plot(layer, euclidean, color=CLASSES[1], marker="s", ms=4, ls="--")
    left.set(xlabel="layer $l$", ylabel="length of one arm", xticks=layer, ylim=(0, None))
    left.text(layer[1], metric[1] * 0.97, r"by $g^{(l)}$", color=CLASSES[0], va="top")
    left.text(layer[2] + 0.2, euclidean[2], "by Euclid in layer $l$", color=CLASSES[1], va="top")
    for l, row in enumerate(errors):
        right.loglog(counts, row, color=str(0.75 * l / len(errors)), lw=0.8, marker=".", ms=3)
    guide = np.asarray(counts, dtype=float) ** -2
    right.loglog(counts, guide * errors[0][0] / guide[0] * 3, color=CLASSES[1], ls="--")
    right.text(counts[1], guide[1] * errors[0][0] / guide[0] * 4, "slope −2", color=CLASSES[1])
    right.set(xlabel="points on the curve", ylabel="relative error of the chords")
    right.set_title("every layer (black: input, grey: output)")
    return fig


def preimages(first: Sequence, true: Sequence, centre, radii: Sequence[float], swept, deviation):
    """Left: ellipse and true preimage about one point for growing radii. Right: how far they differ, relative to the radius, for many points.

    `first[i]`, `true[i]` (k, 2) for radii[i]; `deviation` (points, len(swept)).
    """
    fig, ((left, right),) = figure(1, 2, width=8.2, height=3.7)
    for i, (ellipse, curve) in enumerate(zip(first, true, strict=True)):
        close = lambda c: np.concatenate([_array(c), _array(c)[:1]])  # noqa: E731
        left.plot(*close(ellipse).T, color=GREY, lw=0.9, label="ellipse (Eq. 13)" if i == 0 else None)
        left.plot(*close(curve).T, color=CLASSES[1], lw=1.3, ls="--", label="true preimage" if i == 0 else None)
    left.plot(*_array(centre), "k+", ms=6)
    left.set(xlabel="$x^1$", ylabel="$x^2$", aspect="equal")
    left.set_title(r"$\varepsilon$ = " + ", ".join(f"{r:g}" for r in radii))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    right.loglog(swept, _array(deviation).T, color=CLASSES[0], lw=0.6, alpha=0.5)
    right.loglog(swept, np.asarray(swept) / swept[0] * np.median(_array(deviation)[:, 0]) * 6, color=CLASSES[1], ls="--")
    right.text(swept[0], np.median(_array(deviation)[:, 0]) * 9, "slope 1", color=CLASSES[1])
    right.set(xlabel=r"radius $\varepsilon$ at the output", ylabel=r"deviation / $\varepsilon$")
    right.set_title("a line for each centre")
    return fig
