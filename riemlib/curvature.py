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
    by Newton's method, while the radius grows in `stages`. It is the branch through the centre, the edge of the component that holds it,
    and NaN from where it meets a fold. A map that folds has other components (`preimages`).
    Errors: ValueError for centres that are not in the plane, or a radius that is not positive.
    """
    centres = checks.points(centres, 2, name="centres")
    radius = checks.real("radius", radius)
    u = _circle(count, centres).expand(len(centres), -1, -1)
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


def bending(f: Field, centres: Float[Tensor, "points 2"], count: int = 96) -> Float[Tensor, " points"]:
    r"""How much f bends the ball of Eq. 13 about each centre: the largest $\lVert D^2f[J^{-1}u, J^{-1}u]\rVert$ over `count` unit u.

    The ellipse $p + \varepsilon J^{-1} u$ is off the true preimage by $\tfrac12\varepsilon^2$ times this, measured in g, up to
    $O(\varepsilon^3)$. So first order is within a tenth of $\varepsilon$ for $\varepsilon$ below 0.2 over this. In units of one over those
    of f. Errors: ValueError for centres that are not in the plane; torch's LinAlgError where f folds.
    """
    centres = checks.points(centres, 2, name="centres")
    u = _circle(count, centres)

    def single(x: Tensor) -> Tensor:
        return f(x[None])[0]

    def at(p: Tensor) -> Tensor:
        v = torch.linalg.solve(jacfwd(single)(p), u.mT)
        return torch.einsum("iab,ak,bk->ik", jacfwd(jacfwd(single))(p), v, v).norm(dim=0).amax()

    return vmap(at)(centres)


def preimages(
    f: Field, target: Float[Tensor, " dim"], starts: Float[Tensor, "starts dim"], *, steps: int = 20
) -> Float[Tensor, "found dim"]:
    """The points that f takes to `target`, each once: those that Newton's method reaches from `starts`, and within their box.

    A map that folds has several, and the preimage of a small ball about the target has a component about each of them. More starts may find
    more. Errors: ValueError for starts that are no points of the dimension of the target.
    """
    x = starts = checks.points(starts, len(target), name="starts")
    jacobian = vmap(jacfwd(lambda x: f(x[None])[0]))
    for _ in range(steps):
        x = x - torch.linalg.solve_ex(jacobian(x), (f(x) - target)[..., None])[0][..., 0]
        x = torch.where(x.isfinite().all(1, keepdim=True), x, starts)
    low, high = starts.amin(0), starts.amax(0)
    size = float((high - low).max())
    there = ((f(x) - target).norm(dim=1) <= 1e-9 * (1 + target.norm())) & ((x >= low) & (x <= high)).all(1)
    found = x[there]
    again = (torch.cdist(found, found, compute_mode="donot_use_mm_for_euclid_dist") < 1e-6 * size).tril(-1).any(1)
    return found[~again]


def christoffel(metric: Field, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points dim dim dim"]:
    r"""Γ^a_bc = ½ g^{ad} (∂_b g_dc + ∂_c g_db − ∂_d g_bc) of a metric field at each point, (n, d, d, d), index order a, b, c.

    `metric` maps points (n, d) to metrics (n, d, d), each point by itself, for instance `lambda x: pullback_metrics(net, x)[0]`. Γ is in
    units of one over those of x. Errors: ValueError where the metric has another shape, is not symmetric, or is degenerate.
    """
    x = checks.points(x)
    field = _pointwise(metric, x)
    return vmap(lambda p: _christoffel(field, p))(x)


def riemann(metric: Field, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points dim dim dim dim"]:
    r"""The Riemann tensor of a metric field, all indices lowered, (n, d, d, d, d) (section 4):

    $R_{abcd} = \tfrac12(\partial_b\partial_c g_{ad} + \partial_a\partial_d g_{bc}
    - \partial_a\partial_c g_{bd} - \partial_b\partial_d g_{ac})
    + g_{ef}\,(\Gamma^e{}_{bc}\Gamma^f{}_{ad} - \Gamma^e{}_{bd}\Gamma^f{}_{ac})$.

    So a surface has the Gaussian curvature $R_{1212} / \det g$, positive on a sphere. Second derivatives of g lose fewer digits, where g is
    badly conditioned, than derivatives of Γ, which contain the inverse of g. Arguments and errors as for `christoffel`.
    """
    x = checks.points(x)
    field = _pointwise(metric, x)

    def at(p: Tensor) -> Tensor:
        lowered = _lowered(jacfwd(field)(p))
        gamma = torch.linalg.solve(field(p), lowered.flatten(1)).view_as(lowered)
        H = jacfwd(jacfwd(field))(p)  # [a, b, c, d] = ∂_d ∂_c g_ab
        half = (H.permute(0, 2, 3, 1) + H.permute(2, 0, 1, 3)) / 2  # [a, b, c, d]: ½ (∂_b ∂_c g_ad + ∂_a ∂_d g_bc)
        first = half + torch.einsum("fad,fbc->abcd", lowered, gamma)
        return first - first.transpose(2, 3)

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


def _circle(count: int, like: Tensor) -> Tensor:
    """Unit vectors of the plane, evenly around, (count, 2)."""
    angle = torch.arange(count, dtype=like.dtype, device=like.device) * (2 * math.pi / count)
    return torch.stack([angle.cos(), angle.sin()], 1)


def _pointwise(metric: Field, x: Tensor) -> Field:
    """The field at single points, after a check that it gives metrics (n, d, d) at the points themselves."""
    if not callable(metric):
        raise TypeError(f"metric is a {type(metric).__name__}; a function from points (n, d) to metrics (n, d, d) is needed")
    g = metric(x)
    if getattr(g, "shape", None) != (*x.shape, x.shape[1]):
        given = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else f"a {type(g).__name__}"
        raise ValueError(f"metric gives {given} at points {tuple(x.shape)}; {(*x.shape, x.shape[1])} is needed")
    checks.metric("metric", g.detach())
    singular = torch.linalg.lu_factor_ex(g.detach()).info > 0
    if not checks.is_true_or_unknown(~singular.any()):
        raise ValueError(f"metric is degenerate at {int(singular.sum())} of {len(x)} points; one that is invertible is needed")
    return lambda p: metric(p[None])[0]


def _lowered(slope: Tensor) -> Tensor:
    """Γ with its first index lowered, [d, b, c] = ½ (∂_b g_dc + ∂_c g_db − ∂_d g_bc), from [a, b, c] = ∂_c g_ab."""
    return (slope.transpose(1, 2) + slope - slope.permute(2, 0, 1)) / 2


def _christoffel(field: Field, p: Tensor) -> Tensor:
    return torch.einsum("ad,dbc->abc", torch.linalg.inv(field(p)), _lowered(jacfwd(field)(p)))
