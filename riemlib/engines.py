"""Two engines for one computation: torch, and where it serves the compiled loop `_fused`, for training and for the metric.

The compiled loop serves networks of at most `WIDEST` coordinates at a layer, with one of the four activations that have a name, in float32
or float64 on the CPU. Torch serves everything. The results agree within rounding.
"""

import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from tqdm.auto import tqdm

from . import checks
from .activations import ACTIVATIONS, name_of
from .networks import CkNetwork

WIDTHS = (2, 4, 8, 16)  #: for which the loop is compiled; a width between two of them is filled up with zeros
WIDEST = WIDTHS[-1]
SMALL = 2**20  #: products that one thread sweeps before a second one pays
CACHE_LINE = 64  #: bytes
CHUNK = 0.1  #: seconds of computing between two looks at the keyboard and the progress bar
#: Added to a seed, so that its minibatches are not drawn from the same numbers as its weights (the generator reads 32 bits)
MINIBATCH_SEED_OFFSET = 2**31
#: dtype -> the degree of the Taylor polynomial of exp, and what rounds a number to a whole one when added and taken away
PRECISIONS = {torch.float32: (7, 1.5 * 2**23), torch.float64: (13, 1.5 * 2**52)}


@cache
def kernel() -> Any:
    """The compiled loop, a module. None where numba cannot be imported: a warning says so once."""
    try:
        from . import _fused

        _fused.start_generator(np.empty(625, np.uint32), np.uint32(0))  # a small function: does it compile?
    except Exception as reason:  # a missing or broken numba or LLVM fails in many ways
        warnings.warn(
            f"numba cannot be used here ({type(reason).__name__}: {reason}); torch computes instead", RuntimeWarning, stacklevel=2
        )
        return None
    return _fused


def serves(net: CkNetwork, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the compiled loop can compute this network, as far as its kind, the dtype and the device say."""
    small = max(net.widths) <= WIDEST and name_of(net.activation) in ACTIVATIONS
    return small and dtype in PRECISIONS and device.type == "cpu" and kernel() is not None


def chosen(engine: str, net: CkNetwork, x: Tensor, compile: bool) -> str:
    """The engine that trains: `fused` or `torch`. Errors: ValueError for an unknown name, or where the compiled loop is asked for and
    cannot serve."""
    if checks.choice("engine", engine, ("auto", "fused", "torch")) == "torch" or (engine == "auto" and compile):
        return "torch"
    if serves(net, x.dtype, x.device) and not compile:
        return "fused"
    if engine == "fused":
        what = f"width {max(net.widths)}, activation {name_of(net.activation) or net.activation!r}, {x.dtype} on {x.device}"
        needed = f"at most {WIDEST} coordinates at a layer, an activation with a name, the CPU, numba, and no compile=True are needed"
        raise ValueError(f"engine is 'fused', the network has {what}; {needed}")
    return "torch"


class Tables:
    """A network as the arrays that the loop reads: weights, stencils, activation, width.

    The loop wants full lines: D weights and a bias, D being the largest width or the next of `WIDTHS`.
    """

    def __init__(self, net: CkNetwork, dtype: torch.dtype):
        D = next(width for width in WIDTHS if width >= max(net.widths))
        self.net, self.dim, self.entries = net, net.widths[-1], max(net.entries)
        self.stencils = np.zeros((len(net.stencils), self.entries, self.entries + 1), str(dtype).removeprefix("torch."))
        for A, stencil in zip(self.stencils, net.stencils, strict=True):
            for line, given in zip(A, stencil, strict=False):
                line[: len(given) - 1], line[-1] = given[:-1], given[-1]
        self.kind = [*ACTIVATIONS].index(str(name_of(net.activation)))
        terms, shift = PRECISIONS[dtype]
        self.number = ((0,) * terms, self.stencils.dtype.type(shift))
        self.width = (0,) * D

    @property
    def weights(self) -> np.ndarray:
        """The lines of every layer, filled up with zeros."""
        D = len(self.width)
        lines = np.zeros((len(self.stencils), D, D + 1), self.stencils.dtype)
        for table, W, b in zip(lines, self.net.weights, self.net.biases, strict=True):
            table[: W.shape[0], : W.shape[1]], table[: len(b), D] = W.detach().numpy(), b.detach().numpy()
        return lines.ravel()

    def where(self) -> np.ndarray:
        """For each number of each line of each layer and of the readout: which parameter of the network it is; -1 stands for none.

        Every layer has as many lines as the readout, where that has more than D.
        """
        D, at, first, readout = len(self.width), 0, {}, self.net.readout
        for parameter in self.net.parameters():  # layers may share them
            first[id(parameter)], at = at, at + parameter.numel()
        layers = [*zip(self.net.weights, self.net.biases, strict=True), (readout.weight, readout.bias)]
        where = np.full((len(layers), max(D, readout.out_features), D + 1), -1)
        for table, (W, b) in zip(where, layers, strict=True):
            table[: W.shape[0], : W.shape[1]] = first[id(W)] + np.arange(W.numel()).reshape(W.shape)
            table[: len(b), D] = first[id(b)] + np.arange(len(b))
        return where.ravel()

    @property
    def arguments(self) -> tuple:
        """What every function of the loop takes: stencils, activation, precision, width."""
        return self.stencils, self.kind, self.number, self.width


def learning_rates(first: float, updates: int, schedule: str) -> list[float]:
    """The learning rate of each update: constant, or along a cosine from `first` to 0. Errors: ValueError for another schedule."""
    first = checks.real("learning_rate", first)
    if checks.choice("schedule", schedule, ("cosine", "constant")) == "constant":
        return [first] * updates
    return [first * (1 + math.cos(math.pi * update / updates)) / 2 for update in range(updates)]


def momentum_of(optimiser: str, momentum: float) -> float | None:
    """The momentum of `sgd`, None for `adam`. Errors: ValueError for another optimiser, or a momentum that is not in [0, 1]."""
    momentum = checks.real("momentum", momentum, positive=False, most=1.0)
    return momentum if checks.choice("optimiser", optimiser, ("adam", "sgd")) == "sgd" else None


@dataclass(frozen=True)
class Descent:
    """How many networks are trained side by side, whichever engine does it.

    x (d, n) and label (n,) are all points, seeds those of the networks. rates: the learning rate of each update. momentum: that of
    stochastic gradient descent; None stands for Adam. snapshots: numbers of updates. progress: whether a bar shows it.
    """

    x: Tensor
    label: Tensor
    seeds: Sequence[int]
    batch_size: int
    rates: Sequence[float]
    momentum: float | None
    snapshots: Sequence[int]
    progress: bool

    def bar(self, networks: int) -> tqdm:
        """The progress bar, in updates."""
        silent = not self.progress or bool(os.environ.get("TQDM_DISABLE"))
        return tqdm(total=len(self.rates), desc=f"{networks} networks", unit="update", leave=False, disable=silent)

    def run(self, ensemble, engine: str, compile: bool) -> tuple[Tensor, dict[int, Tensor]]:
        """Trains an `Ensemble` in place: the losses (seeds, updates), and its weights after the numbers of updates asked for."""
        return self.with_kernel(ensemble) if engine == "fused" else self.with_torch(ensemble, compile)

    def with_torch(self, ensemble, compile: bool) -> tuple[Tensor, dict[int, Tensor]]:
        """A forward and a backward pass of automatic differentiation for each update."""
        flat, parts = ensemble.flat, [part.requires_grad_() for part in ensemble.parts]
        points = self.x.expand(len(flat), -1, -1)

        def losses(rows: Tensor) -> Tensor:
            logits = ensemble.logits(points.gather(2, rows[:, None].expand(-1, len(self.x), -1)))
            return torch.nn.functional.cross_entropy(logits, self.label[rows], reduction="none").mean(1)

        if compile:
            losses = compiled(losses, parts, torch.arange(self.batch_size, device=flat.device).expand(len(flat), -1))
        if self.momentum is None:
            optimiser = torch.optim.Adam([flat], fused=flat.device.type in ("cpu", "cuda"))
        else:
            optimiser = torch.optim.SGD([flat], momentum=self.momentum)
        loss, batches = flat.new_empty(len(flat), len(self.rates)), minibatches(self.seeds, self.x.shape[1], self.batch_size)
        kept = {0: flat.detach().clone()} if 0 in self.snapshots else {}
        with self.bar(len(flat)) as bar:
            for update, rate in enumerate(self.rates):
                each = losses(next(batches).to(flat.device))
                loss[:, update] = each.detach()
                flat.grad = torch.cat([gradient.flatten(1) for gradient in torch.autograd.grad(each.sum(), parts)], 1)
                optimiser.param_groups[0]["lr"] = rate
                optimiser.step()
                if update + 1 in self.snapshots:
                    kept[update + 1] = flat.detach().clone()
                bar.update()
        return loss, kept

    def with_kernel(self, ensemble) -> tuple[Tensor, dict[int, Tensor]]:
        """The compiled loop. The threads that torch may use share the networks, none of which depends on another."""
        flat = ensemble.flat
        tables, done = Tables(ensemble.template, flat.dtype), 0
        loss, kept = flat.new_full((len(flat), len(self.rates)), torch.nan), {0: flat.clone()} if 0 in self.snapshots else {}
        threads = max(1, min(torch.get_num_threads(), len(flat)))
        parts = [slice(len(flat) * i // threads, len(flat) * (i + 1) // threads) for i in range(threads)]
        work = [_Part(self, tables, flat, part) for part in parts]
        work[0].advance(0, 0)  # compiles, or reads what was compiled
        ends, count = sorted({*self.snapshots, len(self.rates)} - {0}), 1
        with self.bar(len(flat)) as bar, ThreadPoolExecutor(threads) as pool:
            while done < len(self.rates):
                start = time.perf_counter()
                count = min(count, next(end for end in ends if end > done) - done)
                found = list(pool.map(_Part.advance, work, repeat(done), repeat(count))) if threads > 1 else [work[0].advance(done, count)]
                loss[:, done : done + count] = torch.from_numpy(np.concatenate(found))
                done += count
                if done in self.snapshots:
                    kept[done] = flat.clone()
                bar.update(count)
                count = max(1, int(count * min(4.0, CHUNK / (time.perf_counter() - start))))
        return loss, kept


def minibatches(seeds: Sequence[int], n: int, batch_size: int) -> Iterator[Tensor]:
    """Row numbers (seeds, batch_size) without end: for each seed its own permutations, drawn on the CPU."""
    generators = [torch.Generator().manual_seed(MINIBATCH_SEED_OFFSET + seed) for seed in seeds]
    while True:
        epoch = torch.stack([torch.randperm(n, generator=generator, device="cpu") for generator in generators])
        yield from epoch[:, : n - n % batch_size].split(batch_size, 1)


def compiled(losses, parts: list[Tensor], rows: Tensor):
    """`losses` compiled by torch and tried once. Where this machine cannot compile, `losses` as it is, with a warning."""
    try:
        found = torch.compile(losses)
        torch.autograd.grad(found(rows).sum(), parts)
    except Exception as reason:  # no compiler, or one that fails: the many ways are torch's own
        warnings.warn(f"torch.compile does not work here ({type(reason).__name__}); going on without it", RuntimeWarning, stacklevel=4)
        return losses
    return found


class _Part:
    """The networks that one thread trains: their weights, moments and minibatches."""

    def __init__(self, descent: Descent, tables: Tables, flat: Tensor, part: slice):
        self.descent, self.tables, self.flat = descent, tables, flat[part].numpy()
        self.where, self.classes = tables.where(), tables.net.readout.out_features
        self.points = descent.x.contiguous().numpy(), descent.label.contiguous().numpy()
        seeds, n = descent.seeds[part], descent.x.shape[1]
        self.moments = np.zeros((len(seeds), 2, flat.shape[1]), self.flat.dtype)
        self.generators, self.orders = np.empty((len(seeds), 625), np.uint32), np.empty((len(seeds), n), np.int32)
        self.used = np.full(len(seeds), n)
        for state, seed in zip(self.generators, seeds, strict=True):
            kernel().start_generator(state, np.uint32(MINIBATCH_SEED_OFFSET + seed))

    def advance(self, done: int, count: int) -> np.ndarray:
        """`count` updates after `done`; returns their losses, (networks, count)."""
        d, t, loss = self.descent, self.tables, np.empty((len(self.flat), count))
        rates, momentum = np.array(d.rates[done : done + count], dtype=np.float64), -1.0 if d.momentum is None else d.momentum
        drawing = self.generators, self.orders, self.used, d.batch_size
        network = self.where, t.dim, self.classes, *t.arguments
        kernel().train(self.flat, self.moments, drawing, self.points, network, rates, done, momentum, loss)
        return loss


@cache
def helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that are kept: to start one takes a tenth of a millisecond, a sweep little more."""
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=helpers.cache_clear)  # a process made by fork has no threads but its first


def sweeps(net: CkNetwork, x: Tensor) -> bool:
    """Whether the compiled loop can sweep these points: nothing asks for a derivative, and no transform of torch looks on."""
    if not isinstance(x, Tensor) or not checks.is_plain(x) or (x.requires_grad and torch.is_grad_enabled()):
        return False
    return unpack_dual(x).tangent is None and x.dtype == net.weights[0].dtype and serves(net, x.dtype, net.weights[0].device)


def lines(shape: tuple[int, ...], n: int, real: np.dtype) -> np.ndarray:
    """Room for lines of n numbers, (*shape, n and a few more), each of an odd number of whole lines of the cache.

    With an even number, many of them would share the same few places in the cache.
    By numpy, which asks for large pages: with small ones, handing out the memory takes as long as the sweep.
    """
    whole = CACHE_LINE // real.itemsize
    apart = (-(-n // whole) | 1) * whole
    size = math.prod(shape) * apart
    room = np.empty(size + whole, real)
    start = -room.ctypes.data % CACHE_LINE // real.itemsize
    return room[start : start + size].reshape(*shape, apart)


def sweep(net: CkNetwork, first: Tensor, want: tuple[str, ...], lowest: int = 0) -> dict[str, list[Tensor]]:
    """Of the points `first`, the state at layer 0 (n, s_0): what `want` names of x, P and g at every layer, points first.

    x: (n, d_l). P: (n, d_L, s_l). g: (n, s_l, s_l). With `lowest` above 0 only P, at this layer. The threads that torch may use share the
    points.
    """
    t, n, block = Tables(net, first.dtype), first.shape[0], kernel().BLOCK
    D, L, entries, rows = len(t.width), len(net.weights), t.entries, max(n, block)
    total, real = entries * D, t.stencils.dtype
    state = np.ascontiguousarray(first.detach().numpy())
    if n < block:
        state = np.concatenate([state, np.zeros((block - n, state.shape[1]), real)])
    W, layers = t.weights, range(lowest, L + 1 if lowest == 0 else lowest + 1)
    shapes = {"x": (L + 1, D), "P": (len(layers), D, total), "g": (L + 1, total, total)}
    arrays = [lines(shape if name in want else (0, *shape[1:]), rows, real) for name, shape in shapes.items()]
    blocks, out = -(-rows // block), dict(zip(shapes, (torch.from_numpy(array)[..., :n] for array in arrays), strict=True))
    threads = max(1, min(torch.get_num_threads(), blocks, rows * L * (D**3 + 50 * D) // SMALL))
    ends = [*(blocks * i // threads * block for i in range(threads)), rows]

    def some(span: tuple[int, int]) -> None:
        kernel().sweep(state, net.widths[0], W, D, lowest, *t.arguments, *arrays, *span)

    spans = list(pairwise(ends))
    others = helpers(threads - 1).map(some, spans[1:]) if threads > 1 else ()
    some(spans[0])
    list(others)

    def cut(name: str, array: Tensor, l: int) -> Tensor:
        """Without what fills up widths and entries."""
        e, d = net.entries[l], net.widths[l]
        if (e, d) == (entries, D) and net.widths[-1] == D:  # there are none
            return array.movedim(-1, 0)
        if name == "x":
            return array[:d].mT
        if name == "P":
            return array[: net.widths[-1]].unflatten(1, (entries, D))[:, :e, :d].flatten(1, 2).permute(2, 0, 1)
        array = array.unflatten(1, (entries, D)).unflatten(0, (entries, D))[:e, :d, :e, :d]
        return array.flatten(2, 3).flatten(0, 1).permute(2, 0, 1)

    return {name: [cut(name, each, l) for each, l in zip(out[name], layers, strict=False)] for name in want}
