r"""Beyond first order: how far a ball is from its ellipse, and the curvature of a metric (section 4, Eqs. 8-13, Defs 4.1-4.3).

`metric` gives $g$ at a point. Here $g$ is a field over the points. Its derivatives give the Christoffel symbols and the Riemann tensor. The
second derivative of the map gives the deviation of a ball from the ellipse of Eq. 13, and, by the Gauss equation, the curvature of the
image. Everything is automatic differentiation of the field or the map, so it serves any network.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacfwd, vmap

from . import checks

Field = Callable[[Tensor], Tensor]  # on points (n, d), each by itself
NEWTON = 5  # iterations at each stage: convergence is quadratic, and each stage starts from the one before


def ball_preimages(
    f: Field, centres: Float[Tensor, "points 2"], radius: float, count: int = 96, stages: int = 4
) -> tuple[Float[Tensor, "points count 2"], Float[Tensor, "points count 2"]]:
    r"""The preimage of the circle of `radius` about f(centre): to first order (Eq. 13), and the true one, for the same angles.

    To first order the preimage of $f(p) + \varepsilon u$ is $p + \varepsilon J^{-1} u$. The true one solves $f(x) = f(p) + \varepsilon u$
    by Newton's method, while the radius grows in `stages`. It is the branch through the centre, and NaN from where it meets a fold.
    Errors: ValueError for centres that are not in the plane, or a radius that is not positive.
    """
    centres = checks.points(centres, 2)
    radius = checks.real("radius", radius)
    angle = torch.arange(count, dtype=centres.dtype, device=centres.device) * (2 * math.pi / count)
    u = torch.stack([angle.cos(), angle.sin()], 1).expand(len(centres), -1, -1)
    jacobian = vmap(jacfwd(lambda x: f(x[None])[0]))
    J = jacobian(centres)
    first = centres[:, None] + radius * torch.linalg.solve(J[:, None], u[..., None])[..., 0]
    start = x = centres[:, None].expand_as(first).reshape(-1, 2)
    lost = torch.zeros_like(x[:, :1], dtype=torch.bool)  # where Newton's method left the branch; f is given finite points only
    image, J = f(centres)[:, None], J.repeat_interleave(count, 0)
    for stage in range(1, stages + 1):
        target = (image + radius * stage / stages * u).reshape(-1, 2)
        for _ in range(NEWTON):
            x = x - torch.linalg.solve_ex(J, (f(x) - target)[..., None])[0][..., 0]
            lost = lost | ~x.isfinite().all(1, keepdim=True)
            x = torch.where(lost, start, x)
            J = jacobian(x)
        lost = lost | ~((f(x) - target).norm(dim=1, keepdim=True) <= 1e-6 * radius)
        x = torch.where(lost, start, x)
    return first, x.masked_fill(lost, torch.nan).view_as(first)


def christoffel(metric: Field, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points dim dim dim"]:
    r"""Γ^a_bc = ½ g^{ad} (∂_b g_dc + ∂_c g_db − ∂_d g_bc) of a metric field at each point, (n, d, d, d), index order a, b, c.

    `metric` maps points (n, d) to metrics (n, d, d), each point by itself, for instance `lambda x: pullback_metrics(net, x)[0]`. Γ is in
    units of one over those of x. Errors: ValueError where the metric has another shape; torch's LinAlgError where it is degenerate.
    """
    x = checks.points(x)
    field = _pointwise(metric, x)
    return vmap(lambda p: _christoffel(field, p))(x)


def riemann(metric: Field, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points dim dim dim dim"]:
    r"""The Riemann tensor of a metric field, all indices lowered, (n, d, d, d, d):

    $R_{abcd} = g_{ae}\,(\partial_c \Gamma^e{}_{db} - \partial_d \Gamma^e{}_{cb}
    + \Gamma^e{}_{cf}\Gamma^f{}_{db} - \Gamma^e{}_{df}\Gamma^f{}_{cb})$,

    So a surface has the Gaussian curvature $R_{1212} / \det g$, positive on a sphere. Arguments and errors as for `christoffel`.
    """
    x = checks.points(x)
    field = _pointwise(metric, x)

    def at(p: Tensor) -> Tensor:
        gamma = _christoffel(field, p)
        slope = jacfwd(lambda p: _christoffel(field, p))(p)  # [e, b, c, d] = ∂_d Γ^e_bc
        first = slope.permute(0, 2, 3, 1) + torch.einsum("ecf,fdb->ebcd", gamma, gamma)  # ∂_c Γ^e_db + Γ Γ
        return torch.einsum("ae,ebcd->abcd", field(p), first - first.mT)

    return vmap(at)(x)


def gauss_equation(f: Field, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points dim dim dim dim"]:
    r"""The Riemann tensor of an immersed image, from outside: $R_{abcd} = II_{ac}\cdot II_{bd} - II_{ad}\cdot II_{bc}$ (Gauss).

    $II_{ab}$ is the part of $\partial_a\partial_b f$ that is normal to the image; for N = d it is zero. `f` maps (n, d) to (n, N), each
    point by itself.
    Errors: torch's LinAlgError where f is no immersion.
    """

    def single(p: Tensor) -> Tensor:
        return f(p[None])[0]

    def at(p: Tensor) -> Tensor:
        J, H = jacfwd(single)(p), jacfwd(jacfwd(single))(p)
        tangent = torch.einsum("de,ie,iab->dab", torch.linalg.inv(J.mT @ J), J, H)
        normal = H - torch.einsum("ie,eab->iab", J, tangent)
        R = torch.einsum("iac,ibd->abcd", normal, normal)
        return R - R.mT

    return vmap(at)(checks.points(x))


def _pointwise(metric: Field, x: Tensor) -> Field:
    """The field at single points, after a check that it gives (n, d, d) at the points themselves."""
    shape = tuple(metric(x).shape)
    if shape != (*x.shape, x.shape[1]):
        raise ValueError(f"metric gives shape {shape} at points {tuple(x.shape)}; {(*x.shape, x.shape[1])} is needed")
    return lambda p: metric(p[None])[0]


def _christoffel(field: Field, p: Tensor) -> Tensor:
    slope = jacfwd(field)(p)  # [d, b, c] = ∂_c g_db
    lowered = (slope.transpose(1, 2) + slope - slope.permute(2, 0, 1)) / 2  # [d, b, c]: ∂_b g_dc + ∂_c g_db − ∂_d g_bc
    return torch.einsum("ad,dbc->abc", torch.linalg.inv(field(p)), lowered)
