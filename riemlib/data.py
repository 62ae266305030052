"""Data: points sampled from a manifold, one class to an arm (the paper's spirals, section 7)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from . import checks


@dataclass(frozen=True)
class Sample:
    """Points of a labelled manifold, one arm after the other, in order along each arm."""

    x: Float[Tensor, "points dim"]
    label: Int64[Tensor, " points"]
    position: Float[Tensor, " points"] | None = None  # along its arm, in [0, 1]

    def __len__(self) -> int:
        return len(self.x)

    def to(self, *where) -> "Sample":
        """The same sample on another device or in another floating-point dtype."""
        x = self.x.to(*where)
        return Sample(x, self.label.to(x.device), None if self.position is None else self.position.to(*where))


def spiral(n, *, turns=1.0, arms=2, noise=0.0, positions="even", seed=0, dtype=None, device=None) -> Sample:
    r"""Archimedean spiral arms in the plane, one class each (the paper gives no formula; this one is ours).

    Arm $j$ is $r(t)\,(\cos\theta, \sin\theta)$ with $r = 0.1 + 0.9\,t$ and $\theta = 2\pi\,(\text{turns}\; t + j/\text{arms})$,
    at positions $t \in [0, 1]$ that are evenly spaced (`even`), or independent and uniform, drawn from `seed` (`random`). `noise` is the
    standard deviation of a Gaussian displacement drawn from `seed`.
    An even sample with two arms is its own mirror image. Then, on the whole sample, the gradient of every bias of a tanh network is 0 by
    symmetry, and an optimiser that divides by the size of the gradient turns rounding into steps. Train on random positions.
    Errors: ValueError for fewer points than arms, fewer than one arm, a non-finite or negative `turns` or `noise`, other `positions`.

    >>> spiral(6, arms=3).label.tolist()
    [0, 0, 1, 1, 2, 2]
    """
    arms = checks.integer("arms", arms, 1)
    n = checks.integer("n", n, arms)
    turns = checks.real("turns", turns, positive=False)
    noise = checks.real("noise", noise, positive=False)
    where: dict[str, Any] = {"dtype": checks.floating("dtype", dtype), "device": checks.device(device)}
    sizes = [n // arms + (arm < n % arms) for arm in range(arms)]
    exact: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # the same points for every dtype and device
    generator = torch.Generator().manual_seed(checks.seed(seed))
    if positions == "even":
        t = torch.cat([torch.linspace(0, 1, size, **exact) for size in sizes])
    elif positions == "random":
        t = torch.cat([torch.rand(size, **exact, generator=generator).sort().values for size in sizes])
    else:
        raise ValueError(f"positions is {positions!r}; 'even' or 'random' is needed")
    arm = torch.cat([torch.full((size,), j, **exact) for j, size in enumerate(sizes)])
    angle = 2 * math.pi * (turns * t + arm / arms)
    x = (0.1 + 0.9 * t)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    if noise:
        x = x + noise * torch.randn(x.shape, **exact, generator=generator)
    x = x.to(**where)
    if not checks.is_true_or_unknown(x.isfinite().all()):
        raise ValueError(f"turns is {turns} and noise {noise}; smaller ones, for which all points are finite, are needed")
    return Sample(x, arm.to(where["device"], torch.int64), t.to(**where))


def arm(t: Float[Tensor, " *points"], *, turns: float = 1.0, start: float = 0.0) -> Float[Tensor, "*points 2"]:
    """An arm of `spiral` as a curve: its points at the positions t, (*t, 2). `start` is its angle at t = 0, as a share of the full turn.

    >>> arm(torch.tensor([0.0], dtype=torch.float64)).tolist()
    [[0.1, 0.0]]
    """
    angle = 2 * math.pi * (checks.real("turns", turns, positive=False) * t + start)
    return (0.1 + 0.9 * t)[..., None] * torch.stack([angle.cos(), angle.sin()], -1)


def polar(sample: Sample, turns: float | None = None) -> Sample:
    r"""The points of the plane in polar coordinates $(r, \theta)$.

    $\theta \in (-\pi, \pi]$ jumps along a ray. With `turns` it is unwound along a two-armed `spiral` with this number of turns. Then it is
    continuous on each arm: the angle of the first arm at the radius of the point, plus the angle from there to the point, which is taken
    between $-\pi/2$ and $3\pi/2$.
    """
    if not isinstance(sample, Sample):
        raise TypeError(f"sample is a {type(sample).__name__}; a Sample is needed")
    checks.points(sample.x, 2)
    r, theta = sample.x.norm(dim=1), torch.atan2(sample.x[:, 1], sample.x[:, 0])
    if turns is not None:
        along = 2 * math.pi * checks.real("turns", turns) * (r - 0.1) / 0.9
        theta = along + torch.remainder(theta - along + math.pi / 2, 2 * math.pi) - math.pi / 2
    return Sample(torch.stack([r, theta], 1), sample.label, sample.position)


def annulus(n, *, disc=0.5, inner=0.7, outer=1.0, seed=0, dtype=None, device=None) -> Sample:
    """A disc of radius `disc` (label 0) within an annulus from `inner` to `outer` (label 1).

    No homeomorphism of the plane lets a line separate them, since the image of the annulus still surrounds that of the disc. Points are
    independent and uniform in area. `position` is their angle, as a share of the full turn.
    Errors: ValueError for fewer than two points, or radii that do not increase from above 0.

    >>> annulus(4).label.tolist()
    [0, 0, 1, 1]
    """
    n = checks.integer("n", n, 2)
    radii = [checks.real(name, value) for name, value in (("disc", disc), ("inner", inner), ("outer", outer))]
    if not radii[0] < radii[1] < radii[2]:
        raise ValueError(f"disc, inner and outer are {radii}; increasing radii are needed")
    where: dict[str, Any] = {"dtype": checks.floating("dtype", dtype), "device": checks.device(device)}
    exact: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    label = torch.arange(n, device="cpu") >= n // 2
    area, angle = torch.rand(2, n, **exact, generator=torch.Generator().manual_seed(checks.seed(seed)))
    least, most = (torch.tensor(pair, **exact)[label.long()].square() for pair in ((0.0, radii[1]), (radii[0], radii[2])))
    r = (least + area * (most - least)).sqrt()
    x = r[:, None] * torch.stack([(2 * math.pi * angle).cos(), (2 * math.pi * angle).sin()], 1)
    return Sample(x.to(**where), label.to(where["device"], torch.int64), angle.to(**where))


def as_sample(data, like: Tensor) -> tuple[Sample, tuple | None]:
    """Points and labels as a `Sample` of the dtype and on the device of `like`, and the names of the classes, None where they are numbers.

    `data` is a Sample or a pair (x, label): tensors, arrays, lists, or columns of a DataFrame. Labels that are names are numbered in sorted
    order. Errors: TypeError for another kind of data; ValueError for lengths that differ, or numbers that are not finite.
    """
    if hasattr(data, "x") and hasattr(data, "label"):
        data = data.x, data.label
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"sample is a {type(data).__name__}; a Sample, or a pair (x, label), is needed")
    x, label = data
    x = x if isinstance(x, Tensor) else _numbers(x)
    if x.is_complex() or x.layout != torch.strided:
        raise TypeError(f"x has dtype {x.dtype} and layout {x.layout}; a dense tensor of real numbers is needed")
    x = checks.points(x.detach().to(like))
    classes = None
    if not isinstance(label, Tensor):
        names = np.asarray(label)
        if names.dtype.kind not in "iufc":
            classes, names = _numbered(names)
        label = torch.as_tensor(names, device="cpu").flatten()
    if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
        raise TypeError(f"label has dtype {label.dtype}; integers from 0, or names of classes, are needed")
    if label.shape != (len(x),):
        raise ValueError(f"x has shape {tuple(x.shape)}, label {tuple(label.shape)}; one label for each point is needed")
    return Sample(x, label.to(x.device, torch.int64)), classes


def _numbers(x) -> Tensor:
    """Columns of numbers as a float64 tensor."""
    try:
        array = np.asarray(x)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"x has dtype {array.dtype}; real numbers are needed")
        return torch.as_tensor(array.astype(np.float64), device="cpu")
    except (ValueError, TypeError) as reason:
        raise TypeError(f"x is no array of real numbers ({reason}); (n, d), a row for each point, is needed") from reason


def _numbered(names: np.ndarray) -> tuple[tuple, np.ndarray]:
    """The names of classes in sorted order, and the number of each point's class."""
    try:
        classes, numbers = np.unique(names, return_inverse=True)
    except TypeError as reason:
        raise TypeError(f"label holds values that have no order among them ({reason}); integers from 0, or names, are needed") from reason
    return tuple(classes.tolist()), numbers
