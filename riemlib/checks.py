"""Checks of arguments: bad input is refused with the name of the argument, what was given and what is needed."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

MOST_SEED = 2**31


def integer(name: str, value, least: int) -> int:
    """`value` as an int, refused below `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); an integer is needed")
    if value < least:
        raise ValueError(f"{name} is {value}; at least {least} is needed")
    if value >= 2**63:  # type: ignore[operator]
        raise ValueError(f"{name} is {value if value < 10**30 else 'above 1e30'}; an integer of 64 bits is needed")
    return int(value)


def integers(name: str, values, least: int) -> tuple[int, ...]:
    """Several of them."""
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"{name} is {values!r} ({type(values).__name__}); a sequence of integers is needed")
    return tuple(integer(name, value, least) for value in values)


def choice(name: str, value, options: Sequence[str]) -> str:
    """`value`, refused unless it is one of these names."""
    if value not in options:
        raise ValueError(f"{name} is {value!r}; {' or '.join(options)} is needed")
    return value


def truth(name: str, value) -> bool:
    """`value`, refused unless it is true or false."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); True or False is needed")
    return bool(value)


def seed(value) -> int:
    """A seed: an integer from 0 to 2³¹ - 1. (The generator reads 32 bits, and minibatches use the upper half.)"""
    if integer("seed", value, 0) >= MOST_SEED:
        raise ValueError(f"seed is {value}; an integer below 2³¹ = {MOST_SEED} is needed, since seeds are read modulo 2³²")
    return int(value)


def seeds(values) -> tuple[int, ...]:
    """Seeds, at least one, each once."""
    found = tuple(seed(value) for value in integers("seeds", values, 0))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"seeds are {list(found)}; at least one, each once, is needed")
    return found


def floating(name: str, value) -> torch.dtype:
    """A dtype that the package computes in, torch.float32 or torch.float64; the default one where it is None."""
    value = torch.get_default_dtype() if value is None else value
    if value not in (torch.float32, torch.float64):
        raise ValueError(f"{name} is {value!r}; torch.float32 or torch.float64 is needed")
    return value


def device(value) -> torch.device:
    """A device that is there; the default one where it is None."""
    try:
        found = torch.get_default_device() if value is None else torch.device(value)
        if found.type != "cuda":
            torch.empty(0, device=found)
    except Exception as reason:  # the many ways in which torch has no such device
        raise ValueError(f"device is {value!r}; a device of torch that is there, such as 'cpu' or 'cuda', is needed") from reason
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is {str(found)!r}, and torch finds {torch.cuda.device_count()} CUDA devices; one that is there is needed")
    return found


def per_layer(name: str, value, depth: int) -> list:
    """One value for each of `depth` layers: a list of so many, or one value that serves all."""
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.device.type == "meta"):
        raise TypeError(f"{name} is a tensor of layout {value.layout} on {value.device}; numbers that can be read are needed")
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Sequence):
        return [value] * depth
    if len(value) != depth:
        raise ValueError(f"{name} has {len(value)} entries; one for each of the {depth} layers is needed")
    return list(value)


def real(name: str, value, *, positive: bool = True, most: float = math.inf) -> float:
    """`value` as a finite float, refused below zero (and at zero where `positive`), and above `most`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); a number is needed")
    try:
        found = float(value)
    except OverflowError:  # an integer of more than 308 digits
        found = math.inf
    if not math.isfinite(found) or found < 0 or (positive and found == 0):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{name} is {found}; a finite {kind} number is needed")
    if found > most:
        raise ValueError(f"{name} is {found}; at most {most:.3g} is needed")
    return found


def is_true_or_unknown(condition: Tensor) -> bool:
    """Whether a tensor of one element is true, or its value cannot be read: on the meta device, and inside vmap."""
    if condition.numel() != 1:
        raise ValueError(f"condition has shape {tuple(condition.shape)}; a tensor of one element is needed")
    if condition.device.type == "meta":
        return True
    try:
        return bool(condition)
    except RuntimeError as reason:
        if "vmap" in str(reason):
            return True
        raise


def is_plain(value: Tensor) -> bool:
    """Whether this is a tensor with numbers on the CPU, not the stand-in of one in a transform of torch.func or in torch.compile."""
    return type(value) is Tensor and value.device.type == "cpu" and not value.is_neg() and not is_transformed()


def is_transformed() -> bool:
    """Whether a transform of torch.func, or torch.compile, is at work: tensors may then be stand-ins without numbers."""
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.compiler.is_compiling()


def _finite(value: Tensor) -> bool:
    """Whether all numbers are finite, as far as they can be read. By numpy where it can: torch wakes threads that then wait busily."""
    if is_plain(value):
        return bool(np.isfinite(value.detach().numpy()).all())
    return is_true_or_unknown(torch.isfinite(value).all())


def tensor(name: str, value, shape: str) -> Tensor:
    """`value`, refused unless it is a dense float32 or float64 tensor of finite numbers. `shape` only says what is needed."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; a torch tensor {shape} is needed")
    if value.layout != torch.strided:
        raise TypeError(f"{name} has the layout {value.layout}; a dense tensor {shape} is needed: {name}.to_dense()")
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} has dtype {value.dtype}; a tensor {shape} of torch.float32 or torch.float64 is needed")
    if not _finite(value):
        raise ValueError(f"{name} holds a value that is not finite; finite numbers {shape} are needed")
    return value


def tensors(name: str, values) -> list[Tensor]:
    """Several tensors of any shape."""
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} is a {type(values).__name__}; a sequence of tensors is needed")
    return [tensor(name, value, "(...)") for value in values]


def same_kind(name: str, value: Tensor, other: str, like: Tensor) -> Tensor:
    """`value`, refused unless it has the dtype and the device of `like`, which is the argument `other`."""
    if value.dtype != like.dtype:
        raise TypeError(f"{name} has dtype {value.dtype}, {other} {like.dtype}; convert one with .to(dtype)")
    if value.device != like.device:
        raise ValueError(f"{name} is on {value.device}, {other} on {like.device}; move one with .to(device)")
    return value


def network(net):
    """`net`, refused unless it is a CkNetwork."""
    if not all(hasattr(net, name) for name in ("weights", "biases", "stencils", "entries", "first_state")):
        other = "for another module use pullback_metric or pushforward_of"
        raise TypeError(f"net is a {type(net).__name__}; a riemlib.CkNetwork is needed ({other})")
    return net


def classifier(net):
    """`net`, refused unless it is a CkNetwork with a readout, which a part `net[a:b]` has not."""
    if not hasattr(network(net).readout, "out_features"):
        raise ValueError("net is a part of a network and has no readout; the whole network is needed")
    return net


def points(x, width: int | None = None, like: Tensor | None = None, name: str = "x") -> Tensor:
    """Points (n, width), n at least 1, of the dtype of `like`."""
    shape = f"(n, {'d' if width is None else width})"
    tensor(name, x, shape)
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0 or (width is not None and x.shape[1] != width):
        raise ValueError(f"{name} has shape {tuple(x.shape)}; {shape}, a row for each of at least one point, is needed")
    return x if like is None else same_kind(name, x, "the network's weights", like)


def batch(name: str, x) -> Tensor:
    """Points of any shape, (n, ...), n at least 1."""
    tensor(name, x, "(n, ...)")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; (n, ...), with at least one point and one number for each, is needed")
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
    """Symmetric matrices (..., dim, dim), finite. Whether an eigenvalue is negative is another question: `spectrum`."""
    shape = f"(..., {dim or 'd'}, {dim or 'd'})"
    tensor(name, g, shape)
    if g.ndim < 2 or g.shape[-1] != g.shape[-2] or 0 in g.shape or (dim is not None and g.shape[-1] != dim):
        raise ValueError(f"{name} has shape {tuple(g.shape)}; {shape} is needed")
    size = g.abs().amax((-2, -1), keepdim=True)
    rounding = 100 * g.shape[-1] * torch.finfo(g.dtype).eps * size
    if not is_true_or_unknown(((g - g.mT).abs() <= rounding).all()):
        raise ValueError(f"{name} is not symmetric; a metric g_ab = g_ba is needed")
    return g


def spectrum(name: str, g: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a metric, by one decomposition, refused where an eigenvalue is negative beyond rounding."""
    values, vectors = torch.linalg.eigh(g)
    rounding = 100 * g.shape[-1] * torch.finfo(g.dtype).eps * values.abs().amax(-1, keepdim=True)
    if not is_true_or_unknown((values >= -rounding).all()):
        raise ValueError(f"{name} has an eigenvalue {float(values.min()):.3g}; a metric has none below 0")
    return values, vectors


def output_metric(eta, outputs: Tensor) -> Tensor:
    """The metric on outputs (n, k): `eta` for all points, (k, k), or for each, (n, k, k), or a function of the outputs. Gives (n, k, k)."""
    n, dim = outputs.shape
    eta = metric("output_metric", eta(outputs) if callable(eta) else eta, dim)
    if eta.shape[:-2] not in ((), (n,)):
        raise ValueError(f"output_metric has shape {tuple(eta.shape)}; ({dim}, {dim}) or ({n}, {dim}, {dim}) is needed")
    spectrum("output_metric", eta.detach())
    return same_kind("output_metric", eta, "the outputs", outputs).expand(n, dim, dim)
