"""Any map, by automatic differentiation: its pushforward and the metric it pulls back (Defs 4.2, 4.3). The reference for `metric`."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vjp, vmap

from . import checks
from .metric import OutputMetric

#: Layers that couple the points of a batch, or are random, in training mode
TRAINING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
COUPLED = (
    "f couples the points of a batch, so no point has a Jacobian of its own; a map of each point by itself is needed. "
    "Batch normalisation: call .eval() first. A function of single points: pass torch.vmap(f)"
)


def pushforward_of(f: Callable[[Tensor], Tensor], x: Float[Tensor, "..."], *, differentiable: bool = False) -> Tensor:
    """The Jacobian of any map at each point, (n, k, d) (Def. 4.2, Eq. 12), by automatic differentiation.

    `f` is a callable or module: of a batch (n, ...) to (n, ...) or (n,), each point by itself, or of one point to a tensor or scalar.
    Points and outputs that are not vectors, such as images, count as their flattened selves, d and k numbers. The result carries a
    gradient only if x does, or where `differentiable`: then also to the parameters of `f`.
    Errors: ValueError where `f` couples the points of a batch, or its result does not depend on x; TypeError for another result.

    >>> tuple(pushforward_of(torch.nn.Conv2d(1, 2, 3), torch.rand(5, 1, 8, 8)).shape)
    (5, 72, 64)
    """
    return _linearised(f, x, differentiable)[1]


def pullback_metric(
    f: Callable[[Tensor], Tensor],
    x: Float[Tensor, "..."],
    output_metric: OutputMetric | None = None,
    *,
    differentiable: bool = False,
) -> Float[Tensor, "points dim dim"]:
    """J^T eta J of any map, (n, d, d) (Def. 4.3, Eqs. 8, 9), by automatic differentiation. `f` and `differentiable` as in `pushforward_of`.

    `output_metric` is (k, k), one for each point (n, k, k), or a function of the outputs (n, k); Euclidean unless given.
    Errors: as in `pushforward_of`; ValueError for an output metric of the wrong shape, not symmetric, or with a negative eigenvalue.
    """
    y, J = _linearised(f, x, differentiable)
    return J.mT @ J if output_metric is None else J.mT @ checks.output_metric(output_metric, y) @ J


def _linearised(f: Callable[[Tensor], Tensor], x: Tensor, differentiable: bool) -> tuple[Tensor, Tensor]:
    """The outputs (n, k) and the Jacobians (n, k, d)."""
    with torch.set_grad_enabled(differentiable or checks.batch("x", x).requires_grad):
        y, back, _ = traced(f, x)
        n, k = y.shape
        basis = torch.eye(k, dtype=y.dtype, device=y.device)[:, None].expand(k, n, k)
        (J,) = vmap(back)(basis)
        return y, J.flatten(2).movedim(0, 1)


def traced(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Callable, bool]:
    """The outputs (n, k), the map of covectors on them to covectors on the points, whether f is a map of batches. Refuses f as above."""
    if not callable(f):
        raise TypeError(f"f is a {type(f).__name__}; a function or module is needed")
    x = checks.batch("x", x)
    for module in f.modules() if isinstance(f, nn.Module) else ():
        if module.training and isinstance(module, TRAINING):
            raise ValueError(f"f has a {type(module).__name__} in training mode, so it is no map of single points; call f.eval() first")
    by_batch = []

    def outputs(x: Tensor) -> Tensor:
        y, whole = _evaluated(f, x)
        by_batch.append(whole)
        if y.is_complex() or y.numel() == 0:
            raise TypeError(f"f gives {y.dtype} of shape {tuple(y.shape)}; at least one real number for each point is needed")
        if not y.requires_grad:
            raise ValueError("f(x) does not depend on x through differentiable operations (a constant, detach or no_grad?); it must")
        return y.flatten(1) if y.ndim > 1 else y[:, None]

    y, back = vjp(outputs, x)  # type: ignore[misc]
    if by_batch[0]:
        _refuse_coupled(f, x, back, y)
    return y, back, by_batch[0]


def _evaluated(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, bool]:
    """f at all points, and whether it is a map of batches: one result for each point. If not, it is tried on single points."""
    reason = None
    try:
        y = f(x)
    except Exception as error:  # perhaps a function of one point; if not, this is what its author wants to read
        y, reason = None, error
    whole = isinstance(y, Tensor) and y.ndim > 0 and len(y) == len(x)
    if not whole and (reason is not None or isinstance(y, Tensor)):
        try:
            y = vmap(f)(x)
        except Exception as error:
            raise (reason or error) from None
    if not isinstance(y, Tensor):
        raise TypeError(f"f gives a {type(y).__name__}; a tensor, one result for each point, is needed")
    return y, whole


def _refuse_coupled(f: Callable[[Tensor], Tensor], x: Tensor, back: Callable, y: Tensor) -> None:
    """Refuses f where a covector on some of the points reaches another."""
    if len(x) == 1:  # a batch of two, to see it
        y, back = vjp(f, torch.cat([x, x + 0.1 * (1 + x.abs().mean())]))  # type: ignore[misc]
        if y.ndim == 0 or len(y) != 2:
            raise ValueError(COUPLED)
    n = len(y)
    order = torch.as_tensor(np.random.default_rng(0).permutation(n), device=y.device)
    digits = torch.arange(min(3, (n - 1).bit_length()), device=y.device)[:, None]
    on = (order >> digits) % 2  # up to eight points differ in a digit; of more points, irregular halves
    on = torch.cat([on, 1 - on]).to(y.dtype)
    some = torch.linspace(1, 2, y[0].numel(), dtype=y.dtype, device=y.device).view(y.shape[1:])
    covectors = on.view(*on.shape, *[1] * (y.ndim - 1)) * some
    (reached,) = vmap(back)(covectors)
    if not checks.is_true_or_unknown(((reached.flatten(2) == 0).all(2) | (on > 0)).all()):
        raise ValueError(COUPLED)
