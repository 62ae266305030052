"""Pairs of points, near and far, in the input and at the output (section 4).

At the output the distance in the learned metric g is at least the straight line between the images, the *chord*: Eq. 13 adds up to the
length of the image of a path, and no path is shorter than the line. It is at most the length of any *path*, and the shortest one in a graph
over the plane is such a path. So a pair whose path is short is near in g, and one whose chord is long is far apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ..data import Sample

NEIGHBOURS, STRETCHES = 12, 5  # of the graph: edges from each node, and straight pieces in which the image of an edge is measured


@dataclass(frozen=True)
class Pairs:
    """All pairs of some labelled points, with their distance in the input and whether they are of one class."""

    i: Int64[Tensor, " pairs"]
    j: Int64[Tensor, " pairs"]
    distance: Float[Tensor, " pairs"]
    same: Bool[Tensor, " pairs"]

    @classmethod
    def of(cls, sample: Sample) -> "Pairs":
        i, j = torch.triu_indices(len(sample), len(sample), 1, device=sample.x.device)
        return cls(i, j, (sample.x[i] - sample.x[j]).norm(dim=1), sample.label[i] == sample.label[j])

    def chords(self, y: Float[Tensor, "points dim"]) -> Float[Tensor, " pairs"]:
        """The straight distance between the images of each pair."""
        return (y[self.i] - y[self.j]).norm(dim=1)


class PlaneGraph:
    """A graph over the plane around some points, the same for every network: the points, a grid, and edges to the nearest nodes."""

    def __init__(self, x: Float[Tensor, "points 2"], *, side: int = 41, margin: float = 0.15):
        self.points = len(x)
        low, high = x.amin(0) - margin, x.amax(0) + margin
        axes = [torch.linspace(float(a), float(b), side, dtype=x.dtype, device=x.device) for a, b in zip(low, high, strict=True)]
        self.nodes = torch.cat([x, torch.cartesian_prod(*axes)])
        near = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(self.nodes.cpu()).kneighbors(return_distance=False)
        ends = np.stack([np.repeat(np.arange(len(near)), NEIGHBOURS), near.ravel()])
        self.ends = torch.as_tensor(np.unique(np.sort(ends, axis=0), axis=1), device=x.device)

    def lengths(self, f: Callable[[Tensor], Tensor]) -> Float[Tensor, " edges"]:
        """The length of each edge's image."""
        a, b = self.nodes[self.ends]
        s = torch.linspace(0, 1, STRETCHES + 1, dtype=a.dtype, device=a.device)[:, None, None]
        images = f((a + s * (b - a)).flatten(0, 1)).unflatten(0, (STRETCHES + 1, -1))
        return images.diff(dim=0).norm(dim=2).sum(0)

    def paths(self, f: Callable[[Tensor], Tensor], pairs: Pairs) -> Float[Tensor, " pairs"]:
        """The length in g of the shortest path along edges between the points of each pair, for a map f of the plane."""
        weights, (a, b) = self.lengths(f).cpu().numpy(), self.ends.cpu().numpy()
        graph = coo_array((np.maximum(weights, 1e-12), (a, b)), shape=(len(self.nodes),) * 2).tocsr()
        found = dijkstra(graph, directed=False, indices=np.arange(self.points))
        return torch.as_tensor(found[pairs.i.cpu().numpy(), pairs.j.cpu().numpy()]).to(pairs.distance)


@dataclass(frozen=True)
class Exchanged:
    """How many pairs change from far to near (of one class), and from near to far (of two)."""

    drawn_together: int
    pulled_apart: int

    def __bool__(self) -> bool:
        return self.drawn_together > 0 and self.pulled_apart > 0


def exchanged(pairs: Pairs, chords: Float[Tensor, " pairs"], paths: Float[Tensor, " pairs"]) -> Exchanged:
    """Pairs of one class in the farthest quarter of the input and the nearest at the output, and of two classes the other way.

    By the Euclidean distance at the output `paths` are the chords again. By the distance in g each bound counts against it: near is a path
    within the quarter of the shortest chords, far is a chord within the quarter of the longest paths.
    """
    far, near = pairs.distance >= pairs.distance.quantile(0.75), pairs.distance <= pairs.distance.quantile(0.25)
    together = pairs.same & far & (paths <= chords.quantile(0.25))
    apart = ~pairs.same & near & (chords >= paths.quantile(0.75))
    return Exchanged(int(together.sum()), int(apart.sum()))


def matched_difference(pairs: Pairs, learned: Float[Tensor, " pairs"], bins: int = 10) -> float:
    """How much farther apart two classes are than one class at the same distance in the input, as log2 of a ratio of learned distances.

    Pairs are sorted into `bins` of input distance, equal in width, over the range in which both kinds occur. In each bin the medians of
    log2 of the learned distance are compared, and the differences averaged. NaN where no bin has both kinds.
    """
    one, two = (pairs.distance[kind] for kind in (pairs.same, ~pairs.same))
    low, high = max(float(one.min()), float(two.min())), min(float(one.max()), float(two.max()))
    if not low < high:
        return float("nan")
    place = ((pairs.distance - low) / (high - low) * bins).floor()
    place = place.where(pairs.distance != high, bins - 1.0)  # the last bin holds its end
    log, found = learned.log2(), []
    for b in range(bins):
        own = place == b
        if (own & pairs.same).any() and (own & ~pairs.same).any():
            found.append(float(log[own & ~pairs.same].median() - log[own & pairs.same].median()))
    return sum(found) / len(found) if found else float("nan")
