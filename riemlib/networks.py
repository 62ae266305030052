r"""$C^k$ networks: one recursion for every order (Eqs. 1-4).

A network's state at a layer is $(D_0, D_1, \dots)$: the coordinates $x = D_0$ and the differences that higher orders carry along.
A layer is affine in the state and in $f = f(W x + b)$:

$$D_i \leftarrow \sum_j A_{ij} D_j + B_i\, f(W D_0 + b),$$

with a constant *stencil* $[A \mid B]$ of powers of the step $\Delta l$. Order 0 is $[0 \mid 1]$ (Eq. 1), order 1 is $[1 \mid \Delta l]$
(Eqs. 2, 3), order 2 is $[1\ \Delta l \mid \Delta l^2;\ 0\ 1 \mid \Delta l]$ (Eq. 4). Nothing below asks which order it is.

Inside, the point index comes last (`D[a, n]`, contiguous in n); any axes before it, such as one for seeds, are carried along.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import checks

ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
}


def stencil(order: int, entries: int, step: float) -> list[list[float]]:
    r"""The rows $[A \mid B]$ of a layer of this `order` that finds `entries` entries in the state (Eqs. 1-4).

    The effective order is $m = \min(\text{order}, \text{entries})$. For $m \ge 1$ row $i$ is
    $D_i \leftarrow \sum_{j=i}^{m-1} \Delta l^{\,j-i} D_j + \Delta l^{\,m-i} f$; later entries are dropped, and where the order exceeds $m$
    a new entry $D_m = f$ is added: the order rises by one a layer, as first order at the input demands.
    """
    m = min(order, entries)
    if m == 0:
        return [[0.0] * entries + [1.0]]
    rows = [[step ** (j - i) if i <= j < m else 0.0 for j in range(entries)] + [step ** (m - i)] for i in range(m)]
    return rows + [[0.0] * entries + [1.0]] * (order > m)


def combine(coefficients: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    """The sum of the terms times their coefficients; what has the coefficient 0 costs nothing."""
    total = None
    for c, term in zip(coefficients, terms, strict=True):
        if c != 0:
            total = (term if c == 1 else c * term) if total is None else torch.add(total, term, alpha=c)
    return torch.zeros_like(terms[0]) if total is None else total


def affine(W: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """z = W x + b for points in columns, with or without an axis of seeds in front."""
    return (torch.baddbmm if W.ndim == 3 else torch.addmm)(b[..., None], W, x)


def advance(state: list[Tensor], f: Tensor, rows: list[list[float]]) -> list[Tensor]:
    """One layer, D <- A D + B f; being linear in (D, f) it is its own pushforward."""
    return [combine(row, [*state, f]) for row in rows]


def glorot(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform on ±√(6 / (fan in + fan out)) for a matrix, zero for a bias (Glorot and Bengio 2010), drawn in float64."""
    if len(shape) == 1:
        return torch.zeros(shape, dtype=torch.float64, device="cpu")
    bound = (6 / sum(shape)) ** 0.5
    return torch.empty(shape, dtype=torch.float64, device="cpu").uniform_(-bound, bound, generator=generator)


class CkNetwork(nn.Module):
    r"""A $C^k$ network with a linear softmax readout (section 3 of the paper; any order, mixed orders, any partition).

    widths: L + 1 integers. order: an int, or one per layer. activation: a name (`tanh`, `relu`, `sigmoid`, `softplus`) or any pointwise
    callable. step: $\Delta l$, a positive float or one per layer. shared: one $(W, b)$ for all layers. seed: draws the weights (Glorot);
    the same seed gives the same network in every dtype, on every device.
    `.weights[l]` has shape (d_{l+1}, d_l), `.biases[l]` (d_{l+1},), `.readout` is a linear map to the classes.

    Errors: ValueError for a width below 1, a width that changes at a layer of order 1 or more (or under shared weights), a step that is not
    positive and finite, a list that is not one entry per layer, an unknown activation.

    >>> net = CkNetwork([2, 2, 2], order=2, seed=0)
    >>> [tuple(s.shape) for s in net.states(torch.zeros(5, 2))]
    [(5, 2), (5, 4), (5, 4)]
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        order: int | Sequence[int] = 1,
        activation: str | Callable[[Tensor], Tensor] = "tanh",
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
        self.orders = tuple(checks.integer("order", k, 0) for k in _per_layer("order", order, depth))
        self.steps = tuple(checks.real("step", h) for h in _per_layer("step", step, depth))
        for l, (a, b) in enumerate(pairwise(self.widths)):
            if a != b and (shared or self.orders[l] > 0):
                why = "shared weights" if shared else f"order {self.orders[l]}"
                raise ValueError(f"widths change from {a} to {b} at layer {l + 1}, which has {why}; only order 0 may change the width")
        self.activation = _activation(activation)
        self.shared = bool(shared)
        self.stencils = []
        self.entries = [1]  # of the state, at each of the L + 1 layers
        for k, h in zip(self.orders, self.steps, strict=True):
            self.stencils.append(stencil(k, self.entries[-1], h))
            self.entries.append(len(self.stencils[-1]))

        new = {"dtype": dtype or torch.get_default_dtype(), "device": device or torch.get_default_device()}
        layers = list(pairwise(self.widths))[: 1 if shared else depth]
        times = depth if shared else 1
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(b, a, **new)) for a, b in layers] * times)
        self.biases = nn.ParameterList([nn.Parameter(torch.empty(b, **new)) for _, b in layers] * times)
        self.readout = nn.utils.skip_init(nn.Linear, self.widths[-1], checks.integer("classes", classes, 2), **new)
        self.redraw(int(torch.randint(2**31, (), device="cpu")) if seed is None else seed)

    def draw(self, seed: int) -> list[Tensor]:
        """The initial parameters of this seed, in float64 on the CPU, in the order of `parameters()`."""
        generator = torch.Generator().manual_seed(seed)
        return [glorot(tuple(parameter.shape), generator) for parameter in self.parameters()]

    @torch.no_grad()
    def redraw(self, seed: int) -> "CkNetwork":
        """Draws all weights anew from this seed, in place."""
        for parameter, value in zip(self.parameters(), self.draw(seed), strict=True):
            parameter.copy_(value)
        return self

    def differences(self, x: Float[Tensor, "points dim"]) -> list[list[Tensor]]:
        """The states as lists of D_i, each (d_l, n): what `coordinates` and `states` hand out views of."""
        x = checks.points(x, self.widths[0], like=self.readout.weight)
        return evolve([x.mT.contiguous()], self.weights, self.biases, self.stencils, self.activation)

    def coordinates(self, x: Float[Tensor, "points dim"]) -> list[Float[Tensor, "points _"]]:
        """The coordinates x^(0), ..., x^(L) of the points at every layer (Eqs. 1-4), each (n, d_l)."""
        return [state[0].mT for state in self.differences(x)]

    def states(self, x: Float[Tensor, "points dim"]) -> list[Float[Tensor, "points _"]]:
        """The states (x, D_1, ...) at every layer, each (n, s_l) with s_l = entries × d_l."""
        return [torch.cat(state).mT if len(state) > 1 else state[0].mT for state in self.differences(x)]

    def forward(self, x: Float[Tensor, "points dim"]) -> Float[Tensor, "points classes"]:
        """Logits W^(L) x^(L) + b; their softmax is P(Y = j | q)."""
        return self.readout(self.differences(x)[-1][0].mT)

    def extra_repr(self) -> str:
        return f"widths={self.widths}, orders={self.orders}, steps={self.steps}"


def evolve(state, weights, biases, stencils, activation) -> list[list[Tensor]]:
    """The states at every layer, for points in columns and any leading axes that the weights and the state share."""
    states = [state]
    for W, b, rows in zip(weights, biases, stencils, strict=True):
        states.append(advance(states[-1], activation(affine(W, states[-1][0], b)), rows))
    return states


def _per_layer(name: str, value, depth: int) -> list:
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, Sequence):
        return [value] * depth
    if len(value) != depth:
        raise ValueError(f"{name} has {len(value)} entries; one for each of the {depth} layers is needed")
    return list(value)


def _activation(activation) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        probe = torch.linspace(-1, 1, 6, device="cpu").view(2, 3)
        image, alone = activation(probe), activation(probe.flatten())
        if getattr(image, "shape", None) != probe.shape or not torch.allclose(image.flatten(), alone, equal_nan=True):
            raise ValueError(f"activation {activation!r} does not act on each entry by itself; a pointwise function is needed")
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; one of {', '.join(ACTIVATIONS)} or a pointwise callable is needed")
    return ACTIVATIONS[activation]
