"""Activations: pointwise functions by name, and the slopes that a certificate needs of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
}

#: Other functions and modules that are one of these
SAME = {
    "tanh": (torch.Tensor.tanh, nn.functional.tanh, nn.Tanh),
    "relu": (torch.Tensor.relu, nn.functional.relu, nn.ReLU),
    "sigmoid": (torch.Tensor.sigmoid, nn.functional.sigmoid, torch.special.expit, nn.Sigmoid),
    "softplus": (nn.Softplus,),
}


class Slopes(NamedTuple):
    """The derivative of an increasing function lies in [0, largest]; where it is `strict`, the function has no flat piece."""

    largest: float
    strict: bool


SLOPES = {"tanh": Slopes(1.0, True), "relu": Slopes(1.0, False), "sigmoid": Slopes(0.25, True), "softplus": Slopes(1.0, True)}


def pointwise(activation: str | Activation) -> Activation:
    """The activation of this name, or the callable itself. What is one of the four under another name, such as `nn.Tanh()`, becomes it.

    Errors: ValueError for an unknown name, a callable that is not pointwise, or a module with parameters; TypeError for anything else.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; one of {', '.join(ACTIVATIONS)} or a pointwise callable is needed")
        return ACTIVATIONS[activation]
    if not callable(activation) or isinstance(activation, type):
        raise TypeError(f"activation is {activation!r}; one of {', '.join(ACTIVATIONS)} or a pointwise callable is needed")
    if (name := name_of(activation)) is not None:
        return ACTIVATIONS[name]
    if isinstance(activation, nn.Module) and any(True for _ in activation.parameters()):
        raise ValueError(f"activation {activation!r} has parameters of its own, which would not be trained; a fixed function is needed")
    probe = torch.tensor([[-5.0, 1.7, 0.3], [4.9, -0.6, -2.2]], device="cpu")  # irregular, so that means, norms and orders show
    image = activation(probe)
    entries = probe.view(-1, 1, 1)
    alone = [activation(entry) for entry in entries]
    for x, y in zip([probe, *entries], [image, *alone], strict=True):
        if (getattr(y, "shape", None), getattr(y, "dtype", None)) != (x.shape, x.dtype):
            raise ValueError(f"activation {activation!r} changes the shape or dtype of its argument; a pointwise function is needed")
    if not torch.allclose(image.flatten(), torch.cat(alone).flatten(), equal_nan=True):
        raise ValueError(f"activation {activation!r} does not act on each entry by itself; a pointwise function is needed")
    return activation


def name_of(activation: Activation) -> str | None:
    """The name of an activation, also of what is the same under another name; None for any other callable."""
    for name, function in ACTIVATIONS.items():
        if activation is function or any(activation is same for same in SAME[name]):
            return name
        if type(activation) in SAME[name] and (name != "softplus" or (activation.beta, activation.threshold) == (1, 20)):  # type: ignore[attr-defined]
            return name
    return None


def slopes_of(activation: Activation) -> Slopes:
    """Where the derivative of an activation lies. Errors: ValueError for a callable that has no name."""
    name = name_of(activation)
    if name is None:
        raise ValueError(f"activation is {activation!r}, whose slopes are unknown; one of {', '.join(SLOPES)} is needed for a certificate")
    return SLOPES[name]
