"""The leading directions of the metric of any map with wide inputs, such as images, from products with its Jacobian."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.func import jvp, vjp, vmap

from . import checks
from .maps import traced
from .metric import OutputMetric

FEW = 64  # up to so many inputs or outputs the Jacobian itself is small and quick
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}  # of g v - λ v over λ
MOST_TRIED = 8  # points of a batch that are looked at to see whether f couples them


@dataclass(frozen=True)
class LeadingDirections:
    """The k largest eigenvalues of g at each point, the largest first, and their unit eigenvectors, each of the shape of a point."""

    values: Float[Tensor, "points k"]
    directions: Float[Tensor, "points k ..."]


def leading_directions(
    f: Callable[[Tensor], Tensor], x: Float[Tensor, "..."], k: int, output_metric: OutputMetric | None = None
) -> LeadingDirections:
    r"""The k orthogonal directions in which ds² (Eq. 13) is largest, at each point x, (n, ...), and its values for unit vectors there.

    They are the eigenvectors and eigenvalues of $g = J^{\mathsf T} \eta J$ (Eq. 10), d × d, which is never formed. Where f has at most 64
    outputs, or inputs, J is computed, by one product for each, and decomposed. Elsewhere Lanczos' method (ARPACK) asks for products
    $J^{\mathsf T} (\eta (J v))$ until g v - λ v is below 10⁻⁶ λ, in float64 10⁻¹⁰ λ. Points come one after the other. The memory for each
    is some tens of inputs and outputs, and η if given. The sign of a direction is arbitrary, and so are directions of equal values.
    `f` is any map as in `maps.pushforward_of`. `output_metric` is η: (r, r), one for each point (n, r, r), or a function of the outputs
    (1, r) of a point; Euclidean unless given. Values are in the units of η over those of x squared. No gradient flows.
    Errors: as in `maps.pullback_metric`; ValueError for k above the number of outputs or inputs, or a derivative that is not finite.

    >>> found = leading_directions(torch.nn.Conv2d(3, 1, 3), torch.rand(2, 3, 16, 16), k=2)
    >>> tuple(found.values.shape), tuple(found.directions.shape)
    ((2, 2), (2, 2, 3, 16, 16))
    """
    x, k = checks.batch("x", x).detach(), checks.integer("k", k, 1)
    with torch.no_grad():
        y, _, whole = traced(f, x[:MOST_TRIED])
        most = min(y.shape[1], x[0].numel())
        if k > most:
            raise ValueError(f"k is {k}; at most {most} is needed: f maps {x[0].numel()} numbers to {y.shape[1]}, so g has no more values")
        each = output_metric if isinstance(output_metric, Tensor) and output_metric.ndim == 3 else None
        if each is not None and len(each) != len(x):
            raise ValueError(f"output_metric has shape {tuple(each.shape)}; one for each of the {len(x)} points is needed")
        found = []
        for i, point in enumerate(x):
            of_point = _of_point(f, point.shape, whole)
            y = of_point(point.flatten())
            eta = output_metric if each is None else each[i]
            eta = None if eta is None else checks.output_metric(eta, y[None])[0]
            solve = _decomposed if most <= max(FEW, 2 * k) or x.device.type == "meta" else _iterated
            values, directions = solve(of_point, point.flatten(), k, eta)
            found.append((values, directions.unflatten(1, point.shape)))
    return LeadingDirections(*(torch.stack(parts) for parts in zip(*found, strict=True)))


def _of_point(f: Callable, shape: torch.Size, whole: bool) -> Callable[[Tensor], Tensor]:
    """f as a map of one point, (d,) to (r,)."""
    return lambda p: (f(p.view(1, *shape))[0] if whole else f(p.view(shape))).flatten()


def _decomposed(f: Callable, p: Tensor, k: int, eta: Tensor | None) -> tuple[Tensor, Tensor]:
    """The values (k,) and directions (k, d) from the Jacobian, by one product for each output, or each input where they are fewer."""
    y, back = vjp(f, p)  # type: ignore[misc]
    if len(y) <= len(p):
        (J,) = vmap(back)(torch.eye(len(y), dtype=y.dtype, device=y.device))
    else:
        J = vmap(lambda v: jvp(f, (p,), (v,))[1])(torch.eye(len(p), dtype=p.dtype, device=p.device)).mT
    if eta is not None:
        values, vectors = torch.linalg.eigh(eta)
        J = (values.clamp(min=0).sqrt()[:, None] * vectors.mT) @ J
    _, values, directions = torch.linalg.svd(_finite(J), full_matrices=False)
    return values[:k].square(), directions[:k]


def _iterated(f: Callable, p: Tensor, k: int, eta: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same from products with J and its transpose. The method starts from a fixed vector, so a second call gives the same numbers."""
    _, back = vjp(f, p)  # type: ignore[misc]

    def product(v: np.ndarray) -> np.ndarray:
        _, Jv = jvp(f, (p,), (torch.as_tensor(v.reshape(-1), dtype=p.dtype, device=p.device),))  # type: ignore[misc]
        return _finite(back(Jv if eta is None else eta @ Jv)[0]).cpu().numpy()

    start = np.random.default_rng(0).standard_normal(len(p)).astype(str(p.dtype).removeprefix("torch."))
    if not product(start).any():  # g = 0, or as good as that: every direction is as long
        return p.new_zeros(k), torch.eye(k, len(p), dtype=p.dtype, device=p.device)
    g = LinearOperator((len(p), len(p)), matvec=product, dtype=start.dtype)
    values, vectors = eigsh(g, k, which="LA", v0=start, tol=TOLERANCE[p.dtype])
    values, vectors = (torch.as_tensor(part[::-1].copy(), dtype=p.dtype, device=p.device) for part in (values, vectors.T))
    return values, vectors


def _finite(product: Tensor) -> Tensor:
    if not checks.is_true_or_unknown(product.isfinite().all()):
        raise ValueError("f has a derivative that is not finite at one of the points; finite ones are needed")
    return product
