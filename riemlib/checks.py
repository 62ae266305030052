"""Checks of arguments: bad input is refused with the name of the argument, what was given and what is needed."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor


def integer(name: str, value, least: int) -> int:
    """`value` as an int, refused below `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); an integer is needed")
    if value < least:
        raise ValueError(f"{name} is {value}; at least {least} is needed")
    return int(value)


def integers(name: str, values, least: int) -> tuple[int, ...]:
    """Several of them."""
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r} ({type(values).__name__}); a sequence of integers is needed")
    return tuple(integer(name, value, least) for value in values)


def seeds(values) -> tuple[int, ...]:
    """Seeds: integers from 0, at least one, each once."""
    found = integers("seeds", values, 0)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"seeds are {list(found)}; at least one, each once, is needed")
    return found


def per_layer(name: str, value, depth: int) -> list:
    """One value for each of `depth` layers: a list of so many, or one value that serves all."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Sequence):
        return [value] * depth
    if len(value) != depth:
        raise ValueError(f"{name} has {len(value)} entries; one for each of the {depth} layers is needed")
    return list(value)


def real(name: str, value, *, positive: bool = True) -> float:
    """`value` as a finite float, refused below zero (and at zero where `positive`)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); a number is needed")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{name} is {value}; a finite {kind} number is needed")
    return float(value)


def is_true_or_unknown(condition: Tensor) -> bool:
    """Whether a one-element tensor is true, or its value cannot be read (on the meta device, inside vmap)."""
    try:
        return bool(condition)
    except RuntimeError:
        return True


def tensor(name: str, value, shape: str) -> Tensor:
    """`value`, refused unless it is a floating-point tensor of finite numbers; `shape` only says what is needed."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; a torch tensor {shape} is needed")
    if not value.is_floating_point():
        raise TypeError(f"{name} has dtype {value.dtype}; a floating-point tensor {shape} is needed")
    if not is_true_or_unknown(torch.isfinite(value).all()):
        raise ValueError(f"{name} holds a value that is not finite; finite numbers {shape} are needed")
    return value


def points(x, width: int | None = None, like: Tensor | None = None) -> Tensor:
    """Points (n, width), n at least 1, of the dtype of `like`."""
    shape = f"(n, {'d' if width is None else width})"
    tensor("x", x, shape)
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0 or (width is not None and x.shape[1] != width):
        raise ValueError(f"x has shape {tuple(x.shape)}; {shape}, a row for each of at least one point, is needed")
    if like is not None and x.dtype != like.dtype:
        raise TypeError(f"x has dtype {x.dtype}, the network's weights {like.dtype}; convert one with .to(dtype)")
    return x


def labels(label, n: int, classes: int) -> Tensor:
    """Class labels (n,), integers in [0, classes)."""
    if not isinstance(label, Tensor) or label.dtype != torch.int64:
        given = getattr(label, "dtype", type(label).__name__)
        raise TypeError(f"label is {given}; an int64 tensor ({n},) is needed")
    if label.shape != (n,):
        raise ValueError(f"label has shape {tuple(label.shape)}; one label for each of the {n} points is needed")
    if not is_true_or_unknown(((label >= 0) & (label < classes)).all()):
        raise ValueError(f"label spans {int(label.min())} to {int(label.max())}; 0 to {classes - 1} is needed")
    return label


def metric(name: str, g, dim: int | None = None) -> Tensor:
    """Symmetric matrices (..., dim, dim), finite; zero eigenvalues are allowed, negative ones are not."""
    shape = f"(..., {dim or 'd'}, {dim or 'd'})"
    tensor(name, g, shape)
    if g.ndim < 2 or g.shape[-1] != g.shape[-2] or (dim is not None and g.shape[-1] != dim):
        raise ValueError(f"{name} has shape {tuple(g.shape)}; {shape} is needed")
    size = g.abs().amax((-2, -1), keepdim=True)
    rounding = 100 * g.shape[-1] * torch.finfo(g.dtype).eps * size
    if not is_true_or_unknown(((g - g.mT).abs() <= rounding).all()):
        raise ValueError(f"{name} is not symmetric; a metric g_ab = g_ba is needed")
    return g


def positive(name: str, g: Tensor) -> Tensor:
    """A metric without negative eigenvalues (beyond rounding)."""
    values = torch.linalg.eigvalsh(g)
    rounding = 100 * g.shape[-1] * torch.finfo(g.dtype).eps * values.abs().amax(-1, keepdim=True)
    if not is_true_or_unknown((values >= -rounding).all()):
        raise ValueError(f"{name} has an eigenvalue {float(values.min()):.3g}; a metric has none below 0")
    return g


def output_metric(eta, dim: int, n: int, like: Tensor) -> Tensor:
    """A metric on the output, one for all points or one for each, as (n, dim, dim) in the dtype and on the device of `like`."""
    eta = positive("output_metric", metric("output_metric", eta, dim))
    if eta.shape[:-2] not in ((), (n,)):
        raise ValueError(f"output_metric has shape {tuple(eta.shape)}; ({dim}, {dim}) or ({n}, {dim}, {dim}) is needed")
    return eta.to(like).expand(n, dim, dim)
