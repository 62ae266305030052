"""How tensors of many points lie in memory, and how many points are computed at a time: for speed, the numbers are the same."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

NARROW = 8  # up to this width points are last in memory; above it they are first, and a layer is one matrix product for all of them
CACHED = 2**19  # bytes of one tensor that stay in the cache of a core from one layer to the next


def gathered(function: Callable[[slice], Iterable[Tensor]], like: Tensor, size: int) -> list[Tensor]:
    """The tensors (n, ...) whose rows `function` gives for the points of a slice, the last axis of `like`.

    `size` is how many numbers a point has in the largest of them. As many points at a time as fit in the cache; all of them on a GPU, and
    where a derivative of `like` is taken. A tensor that is the same for all points stays a view of one point.
    """
    n = like.shape[-1]
    at_once = max(2, CACHED // (size * like.element_size()))
    if at_once >= n or like.device.type != "cpu" or like.requires_grad:
        return list(function(slice(0, n)))
    found = []
    for start in range(0, n, at_once):
        for i, part in enumerate(function(slice(start, start + at_once))):
            if start == 0:
                found.append(_room(part, n))
            if found[i].stride(0) != 0:
                found[i][start : start + at_once] = part
    return found


def _room(part: Tensor, n: int) -> Tensor:
    """A tensor for n points in the order in memory of this one for some."""
    if part.stride(0) == 0:
        return part[:1].expand(n, *part.shape[1:])
    if part.stride(0) == 1:  # points are last
        return part.new_empty(*part.shape[1:], n).movedim(-1, 0)
    return part.new_empty(n, *part.shape[1:])


def gram(P: Tensor) -> Tensor:
    """P^T P at every point, for P (n, r, d): sums over points for a few components, a matrix product a point for more."""
    if len(P) > 1 and P.stride(0) == 0:
        return gram(P[:1]).expand(len(P), -1, -1)
    if P.shape[2] > NARROW:
        P = P.contiguous()
        return P.mT @ P
    P = P.permute(1, 2, 0)
    g = P[0][:, None] * P[0]
    for row in P[1:]:
        g = torch.addcmul(g, row[:, None], row)
    return g.permute(2, 0, 1)


def points_first(P: Tensor) -> Tensor:
    """(r, s, d, n) as (n, r, s d), a view where the memory allows."""
    return P.flatten(1, 2).permute(2, 0, 1)
