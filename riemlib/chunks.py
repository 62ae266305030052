"""The geometry of more points than memory holds: some after the others, for what is computed from each point alone (Eqs. 10, 12)."""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from . import checks
from .metric import Geometry, OutputMetric, geometry
from .networks import CkNetwork


def geometry_in_chunks(
    net: CkNetwork, x: Float[Tensor, "points _"], output_metric: OutputMetric | None = None, *, memory: int = 2**30
) -> Iterator[Geometry]:
    """The `geometry` (Eqs. 10, 12) of the first points, of the next ones, ... in their order. One chunk needs at most `memory` bytes.

    That holds what `geometry` gives, its work, and the balls of one layer. What is kept of each chunk comes on top, so keep little.
    `output_metric` as in `geometry`.
    Errors: as in `geometry`; ValueError where not even one point fits in `memory`.

    >>> net = CkNetwork([2, 2, 2], seed=0)
    >>> parts = geometry_in_chunks(net, net.weights[0].new_ones(5000, 2).detach(), memory=10**6)
    >>> sum(len(part.balls(0.1)[0].axes) for part in parts)
    5000
    """
    n = len(checks.points(x, checks.network(net).entries[0] * net.widths[0], like=net.weights[0]))
    size, memory = bytes_per_point(net, x.element_size()), checks.integer("memory", memory, 1)
    if memory < size:
        raise ValueError(f"memory is {memory}; at least {size}, the bytes of one point, is needed")
    each = output_metric if isinstance(output_metric, Tensor) and output_metric.ndim == 3 else None
    if each is not None and len(each) != n:
        raise ValueError(f"output_metric has shape {tuple(each.shape)}; one for each of the {n} points is needed")
    parts = (slice(start, start + memory // size) for start in range(0, n, memory // size))
    return (geometry(net, x[part], output_metric if each is None else each[part]) for part in parts)


def bytes_per_point(net: CkNetwork, item: int = 4) -> int:
    """Memory of one point of a chunk, in bytes, where a number takes `item`: 4 in float32, 8 in float64.

    The states, slopes, P and g of every layer, twice, because a loop still holds one chunk while it asks for the next; and fourteen
    tensors of the size of the largest P or g for the work on one layer.
    """
    out, sizes = net.widths[-1], [entries * width for entries, width in zip(net.entries, net.widths, strict=True)]
    kept = sum(size * (3 + out + size) for size in sizes) + out * out
    return item * (2 * kept + 14 * max(size * max(out, size) for size in sizes))
