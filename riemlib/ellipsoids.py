"""Lengths and balls of a metric at each point (Eq. 13, Figure 3), its condition number and its volume."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from . import checks

HIDDEN = 4  # an eigenvalue within so many roundings of g says nothing


def squared_length(g: Float[Tensor, "points dim dim"], dx: Float[Tensor, "points dim"]) -> Float[Tensor, " points"]:
    """ds² = g_ab dx^a dx^b of a displacement at each point (Eq. 13).

    Errors: ValueError where g is not symmetric, or the shapes of g and dx do not fit together.
    """
    g, dx = checks.metric("g", g), checks.points(dx, name="dx")
    if g.shape != (*dx.shape, dx.shape[1]):
        raise ValueError(f"dx has shape {tuple(dx.shape)}, g {tuple(g.shape)}; (n, d) and (n, d, d) are needed")
    checks.same_kind("dx", dx, "g", g)
    return torch.einsum("nab,na,nb->n", g, dx, dx)


@dataclass(frozen=True)
class Balls:
    """One ellipsoid {v : g_ab v^a v^b <= radius²} for each point: its semi-axes, the longest first, along the columns of `directions`."""

    axes: Float[Tensor, "*points dim"]
    directions: Float[Tensor, "*points dim dim"]
    radius: float

    def outline(self, centres: Float[Tensor, "points 2"], count: int = 97) -> Float[Tensor, "points count 2"]:
        """The ellipses about the points as closed curves (n, count, 2), for width 2. An infinite axis gives an infinite curve.

        Errors: ValueError where the balls are not one ellipse of the plane for each centre.
        """
        centres = checks.points(centres, 2, name="centres")
        if self.axes.shape != centres.shape:
            given = f"centres has shape {tuple(centres.shape)}, the axes of the balls {tuple(self.axes.shape)}"
            raise ValueError(f"{given}; (n, 2) for both is needed: only a ball of a plane has an outline")
        angle = torch.linspace(0, 2 * torch.pi, count, dtype=self.axes.dtype, device=self.axes.device)
        circle = torch.stack([angle.cos(), angle.sin()])
        return centres[:, None] + ((self.directions * self.axes[:, None, :]) @ circle).mT

    @property
    def condition_number(self) -> Float[Tensor, "*points"]:
        """The largest eigenvalue of g over the least: the squared ratio of the axes. Infinite where g is degenerate."""
        infinite = self.axes[..., 0].isinf()
        longest = self.axes[..., 0].masked_fill(infinite, 1.0)  # so that no gradient is NaN there
        return (longest / self.axes[..., -1]).square().masked_fill(infinite, torch.inf)

    @property
    def log_volume(self) -> Float[Tensor, "*points"]:
        """log √det g: the logarithm, in nats, of how much larger a small volume becomes. Minus infinity where g is degenerate."""
        return -(self.axes / self.radius).log().sum(-1)


def balls(g: Float[Tensor, "*points dim dim"], radius: float) -> Balls:
    """Balls of constant ds = radius (Eq. 13, Figure 3): semi-axes radius / √λ along the eigenvectors of g, infinite where g is singular.

    `radius` is in the units of the output, the axes in the units of the coordinates of g. Where P is known, use `balls_of`: the rounding of
    g = P^T P hides small eigenvalues that P still holds. An axis is infinite only where elimination finds that g is exactly singular.
    Errors: ValueError for a radius that is not positive, a g that is not symmetric or has a negative eigenvalue, or one whose least
    eigenvalue is lost in the rounding of g.
    """
    radius, g = checks.real("radius", radius), checks.metric("g", g)
    values, directions = checks.spectrum("g", g)
    small = values <= HIDDEN * g.shape[-1] * torch.finfo(g.dtype).eps * values[..., -1:]
    pivots = torch.linalg.lu_factor_ex(g.detach().double())[0].diagonal(dim1=-2, dim2=-1)  # in float64, a 0 is none of rounding
    hidden = small.sum(-1) > (pivots == 0).sum(-1)
    if not checks.is_true_or_unknown(~hidden.any()):
        why = f"g has an eigenvalue that its own rounding hides at {int(hidden.sum())} of {hidden.numel()} points"
        raise ValueError(f"{why}; its pushforward is needed: balls_of(P, radius), or geometry(net, x).balls(radius)")
    return Balls(radius * values.masked_fill(small, 0).rsqrt(), directions, radius)


def balls_of(P: Float[Tensor, "*points out dim"], radius: float) -> Balls:
    """The balls of the metric g = P^T P, from a pushforward or any Jacobian P, (n, r, d): semi-axes radius / σ (Eq. 13, Figure 3).

    σ are the singular values of P. They keep twice as many digits as the eigenvalues σ² of g. Units are as in `balls`. A singular value
    counts as zero below max(r, d) × machine epsilon of the largest. Then the axis is infinite.
    Errors: ValueError for a radius that is not positive, or P that is not (n, r, d).
    """
    radius, P = checks.real("radius", radius), checks.tensor("P", P, "(n, r, d)")
    if P.ndim < 2 or 0 in P.shape:
        raise ValueError(f"P has shape {tuple(P.shape)}; (n, r, d), a Jacobian at each of at least one point, is needed")
    _, values, V = torch.linalg.svd(P, full_matrices=True)
    values = torch.nn.functional.pad(values, (0, P.shape[-1] - values.shape[-1])).flip(-1)
    zero = values <= max(P.shape[-2:]) * torch.finfo(P.dtype).eps * values[..., -1:]
    return Balls(radius / values.masked_fill(zero, 0), V.mT.flip(-1), radius)


def condition_number(g: Float[Tensor, "*points dim dim"]) -> Float[Tensor, "*points"]:
    """`balls(g, 1).condition_number`: the largest eigenvalue of g over the least. From P: `balls_of(P, 1).condition_number`.

    Errors: as for `balls`.
    """
    return balls(g, 1.0).condition_number


def log_volume(g: Float[Tensor, "*points dim dim"]) -> Float[Tensor, "*points"]:
    """`balls(g, 1).log_volume`: log √det g. From P: `balls_of(P, 1).log_volume`.

    Errors: as for `balls`.
    """
    return balls(g, 1.0).log_volume
