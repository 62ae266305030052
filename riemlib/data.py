"""Data: points sampled from a manifold, one class to an arm (the paper's spirals, section 7)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from . import checks


@dataclass(frozen=True)
class Sample:
    """Points of a labelled manifold, one arm after the other, in order along each arm."""

    x: Float[Tensor, "points dim"]
    label: Int64[Tensor, " points"]
    position: Float[Tensor, " points"]  # along its arm, in [0, 1]

    def __len__(self) -> int:
        return len(self.x)

    def to(self, *where) -> "Sample":
        """The same sample on another device or in another floating-point dtype."""
        return Sample(self.x.to(*where), self.label.to(self.x.to(*where).device), self.position.to(*where))


def spiral(n, *, turns=1.0, arms=2, noise=0.0, seed=0, dtype=None, device=None) -> Sample:
    r"""Archimedean spiral arms in the plane, one class each (the paper gives no formula; this one is ours).

    Arm $j$ is $r(t)\,(\cos\theta, \sin\theta)$ with $r = 0.1 + 0.9\,t$ and $\theta = 2\pi\,(\text{turns}\; t + j/\text{arms})$,
    at evenly spaced positions $t \in [0, 1]$; `noise` is the standard deviation of a Gaussian displacement drawn from `seed`.
    Errors: ValueError for fewer points than arms, fewer than one arm, a non-finite or negative `turns` or `noise`.

    >>> spiral(6, arms=3).label.tolist()
    [0, 0, 1, 1, 2, 2]
    """
    arms = checks.integer("arms", arms, 1)
    n = checks.integer("n", n, arms)
    turns = checks.real("turns", turns, positive=False)
    noise = checks.real("noise", noise, positive=False)
    where = {"dtype": dtype or torch.get_default_dtype(), "device": device or torch.get_default_device()}
    sizes = [n // arms + (arm < n % arms) for arm in range(arms)]
    exact = {"dtype": torch.float64, "device": "cpu"}  # the same points for every dtype and device
    t = torch.cat([torch.linspace(0, 1, size, **exact) for size in sizes])
    arm = torch.cat([torch.full((size,), j, **exact) for j, size in enumerate(sizes)])
    angle = 2 * math.pi * (turns * t + arm / arms)
    x = (0.1 + 0.9 * t)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    if noise:
        x = x + noise * torch.randn(x.shape, **exact, generator=torch.Generator().manual_seed(seed))
    return Sample(x.to(**where), arm.to(where["device"], torch.int64), t.to(**where))


def polar(sample: Sample, turns: float | None = None) -> Sample:
    r"""The points of the plane in polar coordinates $(r, \theta)$.

    $\theta \in (-\pi, \pi]$ jumps along a ray. With `turns` it is unwound along a two-armed `spiral` with this number of turns. Then it is
    continuous on each arm: the angle of the first arm at the radius of the point, plus the angle from there to the point, which is taken
    between $-\pi/2$ and $3\pi/2$.
    """
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
    where = {"dtype": dtype or torch.get_default_dtype(), "device": device or torch.get_default_device()}
    exact = {"dtype": torch.float64, "device": "cpu"}
    label = torch.arange(n, device="cpu") >= n // 2
    area, angle = torch.rand(2, n, **exact, generator=torch.Generator().manual_seed(seed))
    least, most = (torch.tensor(pair, **exact)[label.long()].square() for pair in ((0.0, radii[1]), (radii[0], radii[2])))
    r = (least + area * (most - least)).sqrt()
    x = r[:, None] * torch.stack([(2 * math.pi * angle).cos(), (2 * math.pi * angle).sin()], 1)
    return Sample(x.to(**where), label.to(where["device"], torch.int64), angle.to(**where))
