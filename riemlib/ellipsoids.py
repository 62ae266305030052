"""Lengths and balls of a metric at each point (Eq. 13, Figure 3), its condition number and its volume."""

from dataclasses import dataclass

import torch
import torch.autograd.forward_ad as forward_ad
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
    thin = small.any(-1)
    if not checks.is_true_or_unknown(~thin.any()):
        pivots = torch.linalg.lu_factor_ex(g.detach()[thin].double())[0].diagonal(dim1=-2, dim2=-1)  # in float64, a 0 is none of rounding
        hidden = small[thin].sum(-1) > (pivots == 0).sum(-1)
        if hidden.any():
            why = f"g has an eigenvalue that its own rounding hides at {int(hidden.sum())} of {thin.numel()} points"
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
    differentiated = P.requires_grad or forward_ad.unpack_dual(P).tangent is not None
    values, directions = (_by_svd if P.shape[-1] != 2 or differentiated else _by_rotation)(P)
    zero = values <= max(P.shape[-2:]) * torch.finfo(P.dtype).eps * values[..., -1:]
    return Balls(radius / values.masked_fill(zero, 0), directions, radius)


def _by_svd(P: Tensor) -> tuple[Tensor, Tensor]:
    """All d singular values of P, (..., d), the least first, and the directions in which P has them, (..., d, d), in columns."""
    _, values, V = torch.linalg.svd(P, full_matrices=True)
    return torch.nn.functional.pad(values, (0, P.shape[-1] - values.shape[-1])).flip(-1), V.mT.flip(-1)


def _by_rotation(P: Tensor) -> tuple[Tensor, Tensor]:
    """The same for two columns, all points at once: a rotation makes the columns orthogonal (Jacobi), and they are as long as the values.

    As accurate as the decomposition: the error is the rounding of the largest singular value. Not for derivatives: where both values are
    equal the angle has none.
    """
    size = P.abs().amax((-2, -1), keepdim=True)
    size = size.masked_fill(size == 0, 1)
    a, b = (P / size).unbind(-1)
    angle = torch.atan2(2 * (a * b).sum(-1), a.square().sum(-1) - b.square().sum(-1)) / 2
    cos, sin = angle.cos(), angle.sin()
    columns = [cos[..., None] * b - sin[..., None] * a, cos[..., None] * a + sin[..., None] * b]  # the shorter one first
    values = torch.stack(columns).square().sum(-1).sqrt() * size[..., 0, 0]
    directions = torch.stack([torch.stack([-sin, cos], -1), torch.stack([cos, sin], -1)], -1)
    return torch.stack([values[0], values.amax(0)], -1), directions


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
