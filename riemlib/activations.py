"""Activations: pointwise functions by name, and the slopes that a certificate needs of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
}


class Slopes(NamedTuple):
    """The derivative of an increasing function lies in [0, largest]; where it is `strict`, the function has no flat piece."""

    largest: float
    strict: bool


SLOPES = {"tanh": Slopes(1.0, True), "relu": Slopes(1.0, False), "sigmoid": Slopes(0.25, True), "softplus": Slopes(1.0, True)}


def pointwise(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The activation of this name, or the callable itself. Errors: ValueError for an unknown name or a callable that is not pointwise."""
    if callable(activation):
        probe = torch.linspace(-1, 1, 6, device="cpu").view(2, 3)
        image, alone = activation(probe), activation(probe.flatten())
        if getattr(image, "shape", None) != probe.shape or not torch.allclose(image.flatten(), alone, equal_nan=True):
            raise ValueError(f"activation {activation!r} does not act on each entry by itself; a pointwise function is needed")
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; one of {', '.join(ACTIVATIONS)} or a pointwise callable is needed")
    return ACTIVATIONS[activation]


def name_of(activation: Activation) -> str | None:
    """The name of an activation; None for a callable that has none."""
    return next((name for name, function in ACTIVATIONS.items() if function is activation), None)


def slopes_of(activation: Activation) -> Slopes:
    """Where the derivative of an activation lies. Errors: ValueError for a callable that has no name."""
    name = name_of(activation)
    if name is None:
        raise ValueError(f"activation is {activation!r}, whose slopes are unknown; one of {', '.join(SLOPES)} is needed for a certificate")
    return SLOPES[name]
