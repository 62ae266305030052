r"""$C^k$ networks: one recursion for every order (Eqs. 1-4).

The state of a network at a layer is $(D_0, D_1, \dots)$. $D_0 = x$ are the coordinates; the others are the differences that a higher
order carries along. A layer is linear in the state and in $f = f(W x + b)$:

$$D_i \leftarrow \sum_j A_{ij} D_j + B_i\, f(W D_0 + b).$$

The constant *stencil* $[A \mid B]$ holds powers of the step $\Delta l$. Order 0 is $[0 \mid 1]$ (Eq. 1). Order 1 is $[1 \mid \Delta l]$
(Eqs. 2, 3). Order 2 is $[1\ \Delta l \mid \Delta l^2;\ 0\ 1 \mid \Delta l]$ (Eq. 4). No function below asks for the order.

Inside, the point index is the last one: `D[a, n]`, contiguous in n. Axes in front of it, such as one for seeds, are kept.
"""

import copy
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from . import checks
from .activations import Activation, name_of, pointwise


def stencil(order: int, entries: int, step: float) -> list[list[float]]:
    r"""The lines $[A \mid B]$ of a layer of this `order` whose state has `entries` entries (Eqs. 1-4).

    The effective order is $m = \min(\text{order}, \text{entries})$. For $m \ge 1$ line $i$ is
    $D_i \leftarrow \sum_{j=i}^{m-1} \Delta l^{\,j-i} D_j + \Delta l^{\,m-i} f$. Later entries are dropped. Where the order is above $m$,
    a new entry $D_m = f$ is added. So the order rises by one per layer: at the input only first order is possible.
    """
    m = min(order, entries)
    if m == 0:
        return [[0.0] * entries + [1.0]]
    lines = [[step ** (j - i) if i <= j < m else 0.0 for j in range(entries)] + [step ** (m - i)] for i in range(m)]
    return lines + [[0.0] * entries + [1.0]] * (order > m)


def combine(coefficients: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    """The sum of the terms, each times its coefficient. A term with the coefficient 0 costs nothing."""
    total = None
    for c, term in zip(coefficients, terms, strict=True):
        if c != 0:
            total = (term if c == 1 else c * term) if total is None else torch.add(total, term, alpha=c)
    return torch.zeros_like(terms[0]) if total is None else total


def affine(W: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """z = W x + b for points in columns, with or without an axis of seeds in front."""
    return (torch.baddbmm if W.ndim == 3 else torch.addmm)(b[..., None], W, x)


def advance(state: list[Tensor], f: Tensor, lines: list[list[float]]) -> list[Tensor]:
    """One layer, D <- A D + B f. It is linear in (D, f), so it maps tangent vectors as well."""
    return [combine(line, [*state, f]) for line in lines]


def evolve(state, weights, biases, stencils, activation) -> list[list[Tensor]]:
    """The states at every layer, for points in columns. Weights and state may share axes in front, such as one for seeds."""
    states = [state]
    for W, b, lines in zip(weights, biases, stencils, strict=True):
        states.append(advance(states[-1], activation(affine(W, states[-1][0], b)), lines))
    return states


def glorot(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform on ±√(6 / (fan in + fan out)) for a matrix, zero for a bias (Glorot and Bengio 2010), drawn in float64."""
    value, bound = torch.zeros(shape, dtype=torch.float64, device="cpu"), (6 / sum(shape)) ** 0.5
    return value if len(shape) == 1 else value.uniform_(-bound, bound, generator=generator)


class CkNetwork(nn.Module):
    r"""A $C^k$ network with a linear softmax readout (section 3 of the paper, Eqs. 1-4 and 7).

    widths: L + 1 integers. order: an int, or one for each layer. activation: a name (`tanh`, `relu`, `sigmoid`, `softplus`) or any
    pointwise callable. step: $\Delta l$, a positive float, or one for each layer. shared: one $(W, b)$ for all layers. seed: draws the
    weights (Glorot); the same seed gives the same network in every dtype and on every device.
    `.weights[l]` has shape (d_{l+1}, d_l), `.biases[l]` (d_{l+1},). `.readout` is a linear map to the classes.
    `net[a:b]` is the network of its layers a to b.

    Errors: ValueError for a width below 1, a width that changes at a layer of order 1 or more (or under shared weights), a step that is not
    positive and finite, a list whose length is not the number of layers, an unknown activation.

    >>> net = CkNetwork([2, 2, 2], order=2, seed=0)
    >>> [tuple(s.shape) for s in net.states(torch.zeros(5, 2))]
    [(5, 2), (5, 4), (5, 4)]
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        order: int | Sequence[int] = 1,
        activation: str | Activation = "tanh",
        step: float | Sequence[float] = 1.0,
        classes: int = 2,
        shared: bool = False,
        seed: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.widths = checks.integers("widths", widths, 1)
        depth = len(self.widths) - 1
        if depth < 1:
            raise ValueError(f"widths is {list(widths)}; an input width and one for each of at least one layer are needed")
        self.orders = tuple(checks.integer("order", k, 0) for k in checks.per_layer("order", order, depth))
        most = 1e300 ** (1 / max(1, min(depth, max(self.orders))))  # a stencil holds powers of the step
        self.steps = tuple(checks.real("step", h, most=most) for h in checks.per_layer("step", step, depth))
        self.shared = shared = checks.truth("shared", shared)
        for l, (a, b) in enumerate(pairwise(self.widths)):
            if a != b and (shared or self.orders[l] > 0):
                why = "shared weights" if shared else f"order {self.orders[l]}"
                raise ValueError(f"widths change from {a} to {b} at layer {l + 1}, which has {why}; only order 0 may change the width")
        self.activation = pointwise(activation)
        self.stencils = []
        self.entries = [1]  # of the state, at each of the L + 1 layers
        for k, h in zip(self.orders, self.steps, strict=True):
            self.stencils.append(stencil(k, self.entries[-1], h))
            self.entries.append(len(self.stencils[-1]))

        new: dict[str, Any] = {"dtype": checks.floating("dtype", dtype), "device": checks.device(device)}
        layers, times = ([self.widths[:2]], depth) if shared else (list(pairwise(self.widths)), 1)
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(b, a, **new)) for a, b in layers] * times)
        self.biases = nn.ParameterList([nn.Parameter(torch.empty(b, **new)) for _, b in layers] * times)
        self.readout = nn.utils.skip_init(nn.Linear, self.widths[-1], checks.integer("classes", classes, 2), **new)
        self.redraw(int(torch.randint(2**31, (), device="cpu")) if seed is None else seed)

    @classmethod
    def from_weights(cls, weights: Sequence[Tensor], biases: Sequence[Tensor], **settings) -> "CkNetwork":
        """The network with these weights and biases, one of each for every layer. The readout is an arbitrary one.

        `settings` are those of the class: order, activation, step, classes. Errors: ValueError for shapes that do not fit together.
        """
        weights, biases = checks.tensors("weights", weights), checks.tensors("biases", biases)
        if len(weights) != len(biases) or not weights or any(W.ndim != 2 for W in weights):
            given = f"weights and biases have {len(weights)} and {len(biases)} entries"
            raise ValueError(f"{given}; a matrix (d', d) and a vector (d',) for each layer are needed")
        like = weights[0]
        net = cls([like.shape[1], *(len(W) for W in weights)], seed=0, dtype=like.dtype, device=like.device, **settings)
        for parameter, value in zip([*net.weights, *net.biases], [*weights, *biases], strict=True):
            if parameter.shape != value.shape:
                raise ValueError(f"weights or biases hold a tensor {tuple(value.shape)} where {tuple(parameter.shape)} is needed")
            parameter.data.copy_(checks.same_kind("weights or biases", value, "weights[0]", like))
        if net.shared and not all(torch.equal(v, values[0]) for values in (weights, biases) for v in values):
            raise ValueError("weights or biases differ from layer to layer, and shared is true; the same in every layer are needed")
        return net

    @torch.no_grad()
    def with_parameters(self, flat: Float[Tensor, " parameters"]) -> "CkNetwork":
        """A copy of this network with other weights: all parameters in one row, in the order of `parameters()`."""
        shape, count = getattr(flat, "shape", type(flat).__name__), sum(parameter.numel() for parameter in self.parameters())
        if not isinstance(flat, Tensor) or shape != (count,):
            raise ValueError(f"flat is {type(flat).__name__} {shape}; a tensor ({count},), all parameters of the network, is needed")
        net = copy.deepcopy(self)
        nn.utils.vector_to_parameters(flat.to(self.weights[0], copy=True), net.parameters())
        return net

    def save(self, file: str | Path) -> None:
        """Writes the weights, with the settings they belong to, as safetensors. `CkNetwork.load` reads them.

        Errors: ValueError for an activation that has no name, or a part of a network (`net[a:b]`).
        """
        name = name_of(self.activation)
        if name is None or not isinstance(self.readout, nn.Linear):
            what = f"activation {self.activation!r}, readout {self.readout}"
            raise ValueError(f"a network with {what} cannot be saved; an activation with a name and a whole network are needed")
        settings = {"widths": self.widths, "order": self.orders, "activation": name, "step": self.steps, "shared": self.shared}
        settings["classes"] = self.readout.out_features
        tensors = {key: parameter.detach().contiguous() for key, parameter in self.named_parameters()}
        save_file(tensors, file, {"settings": json.dumps(settings)})

    @classmethod
    def load(cls, file: str | Path, device: torch.device | str = "cpu") -> "CkNetwork":
        """The network that `save` wrote, in its own dtype. Errors: ValueError for a file that is damaged, or not written by `save`."""
        device = checks.device(device)
        try:
            with safe_open(file, "pt", device=str(device)) as kept:
                settings = json.loads(kept.metadata()["settings"])
                net = cls(**settings, seed=0, dtype=kept.get_tensor("readout.weight").dtype, device=device)
                net.load_state_dict({key: kept.get_tensor(key) for key, _ in net.named_parameters()}, strict=False)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as reason:
            raise ValueError(f"{file} holds no network ({reason}); a file that CkNetwork.save wrote is needed") from reason
        return net

    def __getitem__(self, layers: slice) -> "CkNetwork":
        """The layers a to b as a network that shares these weights: `net[a:b](state)` takes the state at layer a to x^(b), (n, d_b).

        It has no readout. Errors: TypeError for anything but `a:b`; ValueError for layers outside 0 to L, or out of order.
        """
        if not isinstance(layers, slice) or layers.step is not None:
            raise TypeError(f"layers are {layers!r}; a range of layers a:b is needed")
        depth = len(self.weights)
        a, b = 0 if layers.start is None else layers.start, depth if layers.stop is None else layers.stop
        if not 0 <= checks.integer("a", a, 0) < checks.integer("b", b, 0) <= depth:
            raise ValueError(f"layers are {a}:{b}; 0 <= a < b <= {depth} is needed")
        part = CkNetwork.__new__(CkNetwork)
        nn.Module.__init__(part)
        part.activation, part.shared, part.readout = self.activation, self.shared, nn.Identity()
        for name in ("orders", "steps", "stencils", "weights", "biases"):
            setattr(part, name, getattr(self, name)[a:b])
        part.widths, part.entries = self.widths[a : b + 1], self.entries[a : b + 1]
        return part

    def draw(self, seed: int) -> list[Tensor]:
        """The initial parameters of this seed, in float64 on the CPU, in the order of `parameters()`."""
        generator = torch.Generator().manual_seed(checks.seed(seed))
        return [glorot(tuple(parameter.shape), generator) for parameter in self.parameters()]

    @torch.no_grad()
    def redraw(self, seed: int) -> "CkNetwork":
        """Draws all weights again from this seed, in place."""
        for parameter, value in zip(self.parameters(), self.draw(seed), strict=True):
            parameter.copy_(value)
        return self

    def first_state(self, x: Float[Tensor, "points _"]) -> list[Tensor]:
        """The points as the state at layer 0: a list of D_i, each (d_0, n). For `net[a:b]` the rows of x hold all its entries."""
        x = checks.points(x, self.entries[0] * self.widths[0], like=self.weights[0])
        return list(x.mT.contiguous().unflatten(0, (self.entries[0], self.widths[0])).unbind(0))

    def differences(self, x: Float[Tensor, "points _"]) -> list[list[Tensor]]:
        """The states at every layer as lists of D_i, each (d_l, n). `coordinates` and `states` return views of these."""
        return evolve(self.first_state(x), self.weights, self.biases, self.stencils, self.activation)

    def coordinates(self, x: Float[Tensor, "points _"]) -> list[Float[Tensor, "points _"]]:
        """The coordinates x^(0), ..., x^(L) of the points at every layer (Eqs. 1-4), each (n, d_l)."""
        return [state[0].mT for state in self.differences(x)]

    def states(self, x: Float[Tensor, "points _"]) -> list[Float[Tensor, "points _"]]:
        """The states (x, D_1, ...) at every layer, each (n, s_l) with s_l = entries × d_l."""
        return [torch.cat(state).mT if len(state) > 1 else state[0].mT for state in self.differences(x)]

    def forward(self, x: Float[Tensor, "points _"]) -> Float[Tensor, "points classes"]:
        """Logits W^(L) x^(L) + b. Their softmax is P(Y = j | q)."""
        return self.readout(self.differences(x)[-1][0].mT)

    def extra_repr(self) -> str:
        return f"widths={self.widths}, orders={self.orders}, steps={self.steps}"
