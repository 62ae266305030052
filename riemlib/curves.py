"""The shape of the images of curves at each layer: roughness, stretch, connectedness, crossings, separability (section 7).

`images` are the images of points, (..., n, d), or at every layer, (..., L + 1, n, d). Axes in front, such as one for seeds, are kept. Where
a measure needs curves, the points are those of the arms of a sample, in order along each arm, and `label` says on which arm a point is.
"""

from collections.abc import Callable

import numpy as np
import shapely
import torch
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import linkage
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from . import checks


def roughness(images: Float[Tensor, "*batch layers points dim"]) -> Float[Tensor, "*batch"]:
    r"""How sharply points change direction from layer to layer (section 7.1):

    $$\sum_{l,n} \lVert x^{(l+1)} - 2x^{(l)} + x^{(l-1)} \rVert^2 \Big/ \sum_{l,n} \lVert x^{(l+1)} - x^{(l)} \rVert^2,$$

    a number without unit. It is 0 where every point moves straight on at constant speed. In the limit of many layers it is 4 where every
    point jumps back and forth.
    Errors: ValueError for fewer than three layers of points. NaN where nothing moves.
    """
    if images.shape[-3] < 3:
        raise ValueError(f"images has {images.shape[-3]} layers of points; at least 3 are needed for a second difference")
    first = images.diff(dim=-3)
    second = first.diff(dim=-3)
    return second.square().sum((-3, -2, -1)) / first.square().sum((-3, -2, -1))


def diameter(x: Float[Tensor, "*batch points dim"], most: int = 100) -> Float[Tensor, "*batch"]:
    """The largest distance between two points. At most about `most` points are compared, evenly spaced in their order."""
    x = x[..., :: -(-x.shape[-2] // most), :]
    exact = "donot_use_mm_for_euclid_dist"  # a small picture far from the origin keeps its size
    return torch.cdist(x, x, compute_mode=exact).amax((-2, -1))


def arms(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> list[Float[Tensor, "*batch _ dim"]]:
    """The curves on which the points lie, one for each label, each in its own order."""
    return [images[..., label == c, :] for c in label.unique().tolist()]


def gap_ratio(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "*batch"]:
    """The largest gap between neighbours on an arm over the mean gap on it, for the worst arm (section 7.3). 1 for evenly spaced points."""
    gaps = [arm.diff(dim=-2).norm(dim=-1) for arm in arms(images, label)]
    return torch.stack([gap.amax(-1) / gap.mean(-1) for gap in gaps]).amax(0)


def largest_gap(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "*batch"]:
    """The largest gap between neighbours on an arm over the diameter of the whole (section 7.3): how far a picture is torn, at any size."""
    gaps = [arm.diff(dim=-2).norm(dim=-1).amax(-1) for arm in arms(images, label)]
    return torch.stack(gaps).amax(0) / diameter(images)


def length(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "*batch"]:
    """The length of all arms together over the diameter of the whole."""
    total = sum(arm.diff(dim=-2).norm(dim=-1).sum(-1) for arm in arms(images, label))
    return total / diameter(images)


def turning(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"], least: float = 1e-9) -> Float[Tensor, "*batch"]:
    """The total absolute curvature of an arm, in radians, averaged over the arms: 0 for straight images, whatever their size.

    Steps shorter than `least` times the diameter have no direction beyond rounding. They count as turning by 0.
    """
    shortest, turns = least * diameter(images)[..., None], []
    for arm in arms(images, label):
        step = arm.diff(dim=-2)
        size = step.norm(dim=-1)
        unit = step / size.clamp(min=torch.finfo(size.dtype).tiny)[..., None]
        a, b = unit[..., :-1, :], unit[..., 1:, :]
        angle = 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
        clear = (size[..., :-1] > shortest) & (size[..., 1:] > shortest)
        turns.append((angle * clear).sum(-1))
    return torch.stack(turns).mean(0)


def merge_distances(x: Float[Tensor, "points dim"]) -> np.ndarray:
    """The n - 1 deaths of H₀ persistence (Vietoris-Rips), sorted: the distances at which components, at first single points, merge.

    They are the heights of single linkage, by scipy.
    """
    x = checks.points(x).detach().cpu().double().numpy()
    return np.sort(linkage(x, "single")[:, 2]) if len(x) > 1 else np.empty(0)


def components(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"], scale: float = 0.05) -> Int64[Tensor, "*batch"]:
    """The number of components of the arms at `scale` times the diameter of the whole (H₀ persistence, section 7.3), summed over the arms.

    It is the number of arms where each of them is connected at this scale.
    """
    reach = scale * diameter(images).flatten()
    counts = torch.zeros(len(reach), dtype=torch.int64)
    for arm in arms(images, label):
        for i, x in enumerate(arm.reshape(len(reach), *arm.shape[-2:])):
            counts[i] += 1 + int((merge_distances(x) > float(reach[i])).sum())
    return counts.reshape(images.shape[:-2])


def cross(f: Callable[[Tensor], Tensor], first: Float[Tensor, "points 2"], second: Float[Tensor, "_ 2"], *, stages: int = 3) -> bool:
    """Whether the images of two polylines in the plane cross, and not only the chords between their sampled points (section 7.1).

    Where the sampled images meet (shapely), the segments that meet are sampled 32 times as finely, up to `stages` times, at no more than
    eight meeting points. So two nearly parallel images whose chords cross are found apart. f maps points (n, d) to the plane, (n, 2).
    Errors: ValueError for images that are not in the plane.
    """
    pictures = [f(x).detach().cpu().double().numpy() for x in (first, second)]
    if any(image.shape[1] != 2 for image in pictures):
        raise ValueError(f"the images have shapes {[image.shape for image in pictures]}; points of the plane, (n, 2), are needed")
    a, b = (shapely.LineString(image) for image in pictures)
    if not shapely.intersects(a, b):
        return False
    if stages == 0:
        return True
    meet = shapely.get_parts(shapely.intersection(a, b))
    for point in meet[np.linspace(0, len(meet) - 1, min(len(meet), 8)).astype(int)]:
        if cross(f, _finer(first, a, point), _finer(second, b, point), stages=stages - 1):
            return True
    return False


def self_crosses(f: Callable[[Tensor], Tensor], x: Float[Tensor, "points 2"], *, stages: int = 2, most: int = 8) -> bool:
    """Whether the image of a polyline meets itself in the plane, and not only the chords between its sampled points (section 2).

    Pairs of segments that do not follow one another and whose chords meet are sampled more finely, as in `cross`: at most `most` of them,
    evenly spaced. f maps points (n, 2) to the plane, (n, 2). Errors: ValueError for an image that is not in the plane.
    """
    image = f(x).detach().cpu().double().numpy()
    if image.shape[1] != 2:
        raise ValueError(f"the image has shape {image.shape}; points of the plane, (n, 2), are needed")
    if shapely.is_simple(shapely.LineString(image)):
        return False
    segments = shapely.linestrings(np.stack([image[:-1], image[1:]], 1))
    first, second = shapely.STRtree(segments).query(segments, predicate="intersects")
    pairs = np.stack([first, second], 1)[second > first + 1]
    for i, j in pairs[np.linspace(0, len(pairs) - 1, min(len(pairs), most)).astype(int)]:
        if cross(f, x[i : i + 2], x[j : j + 2], stages=stages):
            return True
    return False


def _finer(x: Tensor, image: shapely.LineString, point: shapely.Point, parts: int = 32) -> Tensor:
    """The segment of the polyline x whose image is at `point`, and its neighbours, cut into parts."""
    ends = np.r_[0, np.hypot(*np.diff(shapely.get_coordinates(image), axis=0).T).cumsum()]
    i = int(np.searchsorted(ends, shapely.line_locate_point(image, shapely.centroid(point)), "right")) - 1
    corners = x[max(i - 1, 0) : i + 3]
    t = torch.linspace(0, 1, parts + 1, dtype=x.dtype, device=x.device)[:-1, None]
    inner = corners[:-1, None] + t * (corners[1:] - corners[:-1])[:, None]
    return torch.cat([inner.flatten(0, 1), corners[-1:]])


def linear_probe(x: Float[Tensor, "points dim"], label: Int64[Tensor, " points"]) -> float:
    """The share of points that logistic regression classifies correctly from x (scikit-learn; whitened input, weak regularisation)."""
    x, label = checks.points(x).detach().cpu().double().numpy(), label.cpu().numpy()
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    white = np.sqrt(len(x)) * u[:, s > 1e-12 * max(s[0], 1e-300)]
    if not white.shape[1]:
        return float(max(np.mean(label == c) for c in np.unique(label)))
    return float(LogisticRegression(C=1e4, max_iter=500).fit(white, label).score(white, label))


def refined_gaps(
    f: Callable[[Tensor], Tensor], x: Float[Tensor, "*batch points dim"], *, parts: int = 32, stages: int = 4
) -> Float[Tensor, "*batch stages"]:
    r"""The largest gap in the image of a polyline, while the polyline is sampled more and more finely at this gap (section 7.3).

    Each stage cuts the segment with the largest gap into `parts`, and keeps the largest gap among their images: stages + 1 gaps. If f is
    continuous, the gaps go to 0, in proportion to 1/parts once the sampling resolves the curve. A tear keeps its size.
    f maps points (..., n, d) to their images. Axes in front are kept.
    """
    found = []
    for stage in range(stages + 1):
        gap, where = f(x).diff(dim=-2).norm(dim=-1).max(-1)
        found.append(gap)
        if stage < stages:
            rows = torch.stack([where, where + 1], -1)[..., None].expand(*where.shape, 2, x.shape[-1])
            start, stop = x.gather(-2, rows).unbind(-2)
            t = torch.linspace(0, 1, parts + 1, dtype=x.dtype, device=x.device)[:, None]
            x = start[..., None, :] + t * (stop - start)[..., None, :]
    return torch.stack(found, -1)


def straightness(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "*batch"]:
    """The chord of an arm over its length, as the geometric mean over the arms: 1 for straight images, whatever their size; at most 1.

    0 where an arm ends where it starts, NaN where it is a single point.
    """
    steps = [(arm[..., -1, :] - arm[..., 0, :], arm.diff(dim=-2)) for arm in arms(images, label)]
    return torch.stack([chord.norm(dim=-1) / step.norm(dim=-1).sum(-1) for chord, step in steps]).log().mean(0).exp()


def first_axis(images: Float[Tensor, "*batch points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "*batch"]:
    """The share of an arm's variance that lies along one line, its first principal axis, as the mean over the arms.

    1 where each arm lies on a line, however often it runs to and fro there; one half where an arm in the plane has no direction.
    """
    found = []
    for arm in arms(images, label):
        centred = arm - arm.mean(-2, keepdim=True)
        variances = torch.linalg.eigvalsh(centred.mT @ centred)
        found.append(variances[..., -1] / variances.sum(-1))
    return torch.stack(found).mean(0)


def crossing_points(
    f: Callable[[Tensor], Tensor], first: Float[Tensor, "points 2"], second: Float[Tensor, "_ 2"], *, stages: int = 3, most: int = 100
) -> np.ndarray:
    """Where the images of two polylines in the plane cross, (k, 2): the meeting points that are left when they are sampled as in `cross`.

    At most `most` meeting points are followed. Crossings closer than a hundred-thousandth of the picture count as one.
    Errors: ValueError for images that are not in the plane.
    """
    if not cross(f, first, second, stages=0):
        return np.empty((0, 2))
    a, b = (shapely.LineString(f(x).detach().cpu().double().numpy()) for x in (first, second))
    meet = shapely.get_parts(shapely.intersection(a, b))
    meet = meet[np.linspace(0, len(meet) - 1, min(len(meet), most)).astype(int)]
    if not stages:
        return np.array([[point.centroid.x, point.centroid.y] for point in meet])
    followed = [crossing_points(f, _finer(first, a, p), _finer(second, b, p), stages=stages - 1, most=8) for p in meet]
    kept: list[np.ndarray] = []
    for point in np.concatenate(followed):  # two segments that meet share their neighbours, so a crossing may be found twice
        if all(np.linalg.norm(point - other) > 1e-5 * (a.length + b.length) for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def last_refinement(gaps: Float[Tensor, "*batch stages"], least: float = 1e-11) -> Float[Tensor, "*batch"]:
    """By what factor the last refinement shrinks the gap, of those that leave it clear of rounding, at `least`. `gaps`: `refined_gaps`.

    The first refinement need not resolve the curve, and does not count. NaN where no other leaves the gap clear of rounding.
    """
    clear = gaps[..., 2:] > least
    last = torch.where(clear, torch.arange(clear.shape[-1], device=gaps.device), -1).amax(-1)
    factor = gaps[..., 1:-1] / gaps[..., 2:]
    found = factor.gather(-1, last.clamp(min=0)[..., None])[..., 0]
    return found.where(last >= 0, torch.nan)
