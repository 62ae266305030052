"""Lengths and balls of a metric at each point (Eq. 13, Figure 3), its condition number and its volume."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from . import checks


def squared_length(g: Float[Tensor, "points dim dim"], dx: Float[Tensor, "points dim"]) -> Float[Tensor, " points"]:
    """ds² = g_ab dx^a dx^b of a displacement at each point (Eq. 13).

    Errors: ValueError where g is not symmetric, or the shapes of g and dx do not fit together.
    """
    g, dx = checks.metric("g", g), checks.points(dx)
    if g.shape != (*dx.shape, dx.shape[1]):
        raise ValueError(f"dx has shape {tuple(dx.shape)}, g {tuple(g.shape)}; (n, d) and (n, d, d) are needed")
    return torch.einsum("nab,na,nb->n", g, dx, dx)


@dataclass(frozen=True)
class Balls:
    """One ellipsoid {v : g_ab v^a v^b <= radius²} for each point: its semi-axes, the longest first, along the columns of `directions`."""

    axes: Float[Tensor, "points dim"]
    directions: Float[Tensor, "points dim dim"]

    def outline(self, centres: Float[Tensor, "points 2"], count: int = 97) -> Float[Tensor, "points count 2"]:
        """The ellipses about the points as closed curves, for width 2. An infinite axis gives an infinite curve."""
        angle = torch.linspace(0, 2 * torch.pi, count, dtype=self.axes.dtype, device=self.axes.device)
        circle = torch.stack([angle.cos(), angle.sin()])
        return centres[:, None] + ((self.directions * self.axes[:, None, :]) @ circle).mT


def balls(g: Float[Tensor, "points dim dim"], radius: float) -> Balls:
    """Balls of constant ds = radius (Eq. 13, Figure 3): semi-axes radius / √λ along the eigenvectors of g, infinite where g is degenerate.

    `radius` is in the units of the output, the axes in the units of the coordinates of g. An eigenvalue counts as zero below d × machine
    epsilon of the largest. Errors: ValueError for a radius that is not positive, or a g that is not symmetric or has a negative eigenvalue.
    """
    radius = checks.real("radius", radius)
    g = checks.positive("g", checks.metric("g", g))
    values, directions = torch.linalg.eigh(g)
    zero = values <= g.shape[-1] * torch.finfo(g.dtype).eps * values[..., -1:].clamp(min=0)
    return Balls(radius * values.masked_fill(zero, 0).rsqrt(), directions)


def balls_of(P: Float[Tensor, "points out dim"], radius: float) -> Balls:
    """The balls of the metric g = P^T P, from a pushforward or any Jacobian P, (n, r, d): semi-axes radius / σ (Eq. 13, Figure 3).

    σ are the singular values of P. They keep twice as many digits as the eigenvalues σ² of g. Units are as in `balls`. A singular value
    counts as zero below max(r, d) × machine epsilon of the largest.
    Errors: ValueError for a radius that is not positive, or P that is not (n, r, d).
    """
    radius, P = checks.real("radius", radius), checks.tensor("P", P, "(n, r, d)")
    if P.ndim != 3 or 0 in P.shape:
        raise ValueError(f"P has shape {tuple(P.shape)}; (n, r, d), a Jacobian at each of at least one point, is needed")
    _, values, V = torch.linalg.svd(P, full_matrices=True)
    values = torch.nn.functional.pad(values, (0, P.shape[2] - values.shape[1])).flip(-1)
    zero = values <= max(P.shape[1:]) * torch.finfo(P.dtype).eps * values[:, -1:]
    return Balls(radius / values.masked_fill(zero, 0), V.mT.flip(-1))


def condition_number(g: Float[Tensor, "points dim dim"]) -> Float[Tensor, " points"]:
    """The largest eigenvalue of g over the least: the squared ratio of a ball's axes. Infinite where g is degenerate.

    Errors: as for `balls`.
    """
    axes = balls(g, 1.0).axes
    return (axes[:, 0] / axes[:, -1]).square().masked_fill(axes[:, 0].isinf(), torch.inf)


def log_volume(g: Float[Tensor, "points dim dim"]) -> Float[Tensor, " points"]:
    """log √det g: the logarithm, in nats, of how much larger a small volume becomes. Minus infinity where g is degenerate.

    Errors: as for `balls`.
    """
    return -balls(g, 1.0).axes.log().sum(-1)
