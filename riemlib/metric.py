r"""The metric that a network induces on the data, in closed form (section 4, Eqs. 8-13).

A layer is $D \leftarrow A D + B f(W x + b)$ (see `networks`). So its Jacobian on the state is, for every order,

$$J = A \otimes I + (B \otimes \mathrm{diag}(f'(z))\, W)\, e_0^{\mathsf T},$$

which at order 1 is Eq. 11. `pull_back` multiplies covectors by J from the right. `backward_sweep` does so from the output to the input.
Swept on the identity it gives the pushforward P (Eq. 12), and with P the metric P^T eta P (Eqs. 9, 10). Swept on the gradient of an error
it is backpropagation (Eq. 15, in `bundles`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from . import checks, engines, wide
from .ellipsoids import Balls, balls_of
from .memory import NARROW, gathered, gram, points_first
from .networks import CkNetwork, advance, affine, combine

OutputMetric = Tensor | Callable[[Tensor], Tensor]  # (k, k), (n, k, k), or a function of the outputs (n, k) with such a result


def forward_pass(net: CkNetwork, x: Float[Tensor, "points _"], *, differentiable: bool = False) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The states at every layer, as lists of D_i, (d_l, n) each, and f'(z^(l)) of every layer, (d_{l+1}, n) each.

    f' is the forward-mode derivative of the activation, whatever it is. Derivatives flow to the points, and to the weights only where
    `differentiable`.
    """
    states, slopes = [checks.network(net).first_state(x)], []
    for W, b, stencil in zip(net.weights, net.biases, net.stencils, strict=True):
        z = affine(W, states[-1][0], b) if differentiable else affine(W.detach(), states[-1][0], b.detach())
        f, slope = jvp(net.activation, (z,), (torch.ones_like(z),))[:2]
        slopes.append(slope)
        states.append(advance(states[-1], f, stencil))
    return states, slopes


def pull_back(covectors: Tensor, W: Tensor, slope: Tensor, stencil: list[list[float]]) -> Tensor:
    """Covectors (r, s', d', n) on a layer's image, times its Jacobian: (r, s, d, n) on its domain (Eq. 11 from the right)."""
    entries = covectors.unbind(1)
    *A, B = zip(*stencil, strict=True)
    blocks = [combine(column, entries) if any(column) else None for column in A]
    if large := len(covectors) > 1 and min(W.shape) > NARROW:
        slope = slope.mT.contiguous().mT
    through = combine(B, entries) * slope
    through = (through.movedim(-1, 0) @ W).movedim(0, -1) if large else torch.bmm(W.mT.expand(len(covectors), -1, -1), through)
    first = through if blocks[0] is None else through.add_(blocks[0])
    if len(blocks) == 1:  # no copy where the state is x alone
        return first[:, None]
    return torch.stack([first, *(torch.zeros_like(first) if block is None else block for block in blocks[1:])], 1)


def backward_sweep(
    net: CkNetwork, slopes: list[Tensor], output: Tensor, layer: int = 0, *, differentiable: bool = False
) -> Iterator[Tensor]:
    """Covectors `output` (r, d_L, n) on x^(L), pulled back to the layers L, L - 1, ..., `layer`: each (r, s, d, n) (Eqs. 12, 15)."""
    if net.entries[-1] == 1:
        swept = output[:, None]
    else:  # the differences that x^(L) carries along count for nothing
        swept = torch.cat([output[:, None], output.new_zeros(len(output), net.entries[-1] - 1, *output.shape[1:])], 1)
    yield swept
    for l in reversed(range(layer, len(slopes))):
        W = net.weights[l] if differentiable else net.weights[l].detach()
        swept = pull_back(swept, W, slopes[l], net.stencils[l])
        yield swept


def jacobians(net: CkNetwork, x: Float[Tensor, "points _"]) -> list[Float[Tensor, "points _ _"]]:
    """The L layer Jacobians on the state, each (n, s_{l+1}, s_l), at the points' own coordinates (Eq. 11; for orders 0, 1 on x itself)."""
    found, slopes = [], forward_pass(net, x)[1]
    for W, slope, stencil in zip(net.weights, slopes, net.stencils, strict=True):
        identity = _identity(len(stencil) * len(slope), slope).unflatten(1, (len(stencil), len(slope)))
        found.append(points_first(pull_back(identity, W.detach(), slope, stencil)))
    return found


def pushforward(
    net: CkNetwork, x: Float[Tensor, "points _"], layer: int = 0, *, differentiable: bool = False
) -> Float[Tensor, "points out _"]:
    """P of Eq. 12 (Def. 4.2), (n, d_L, s_l): the product of the Jacobians from the last layer (leftmost) down to `layer`, onto x^(L).

    `differentiable` as in `geometry`. Errors: ValueError for a layer outside 0 to L.
    """
    if checks.integer("layer", layer, 0) > len(checks.network(net).weights):
        raise ValueError(f"layer is {layer}; 0 to {len(net.weights)} is needed")
    return _swept(net, x, None, layer, differentiable, metrics=False).P[0]


@dataclass(frozen=True)
class Geometry:
    """At each layer: the coordinates x, (n, d_l), the pushforward P to x^(L), (n, d_L, s_l), and the metric g, (n, s_l, s_l)."""

    x: list[Float[Tensor, "points _"]]
    P: list[Float[Tensor, "points out _"]]
    g: list[Float[Tensor, "points _ _"]]
    eta: Float[Tensor, "points out out"] | None = None  # the metric on x^(L), where it is not Euclidean

    def balls(self, radius: float) -> list[Balls]:
        """The balls of constant ds = radius at every layer (Eq. 13), from P: `balls_of`."""
        if self.eta is None:
            return [balls_of(P, radius) for P in self.P]
        values, vectors = torch.linalg.eigh(self.eta)
        root = values.clamp(min=0).sqrt()[..., None] * vectors.mT  # root^T root = eta
        return [balls_of(root @ P, radius) for P in self.P]


def geometry(
    net: CkNetwork, x: Float[Tensor, "points _"], output_metric: OutputMetric | None = None, *, differentiable: bool = False
) -> Geometry:
    """Coordinates, pushforwards and metrics at every layer (Eqs. 1-4, 9, 10, 12), from one forward and one backward pass.

    P is swept instead of g, whose recursion in both indices is Eq. 9. So every g = P^T eta P is symmetric and positive to rounding of its
    own size, however much the layers have squeezed it.

    `output_metric` is the metric on x^(L) (Eq. 8): (d_L, d_L), one for each point (n, d_L, d_L), or a function of x^(L) that returns one.
    It is Euclidean unless given. The differences that an order above 1 carries have length 0 there. A squared length is in the units of
    the output coordinates squared. Derivatives flow to the points, and to the weights only where `differentiable`.
    Errors: ValueError for an output metric that is not symmetric, or has a negative eigenvalue.

    >>> found = geometry(CkNetwork([2, 2, 2], seed=0), torch.zeros(5, 2))
    >>> tuple(found.g[0].shape), tuple(found.balls(0.1)[0].axes.shape)
    ((5, 2, 2), (5, 2))
    """
    return _swept(net, x, output_metric, 0, differentiable)


def pullback_metrics(
    net: CkNetwork, x: Float[Tensor, "points _"], output_metric: OutputMetric | None = None, *, differentiable: bool = False
) -> list[Float[Tensor, "points _ _"]]:
    """The metric at every layer, L + 1 tensors (n, s_l, s_l), in one backward sweep (Eqs. 9, 10): `geometry(...).g`.

    >>> net = CkNetwork([2, 2, 2], seed=0)
    >>> [tuple(g.shape) for g in pullback_metrics(net, torch.zeros(5, 2))]
    [(5, 2, 2), (5, 2, 2), (5, 2, 2)]
    """
    return _swept(net, x, output_metric, 0, differentiable, pushforwards=False).g


def _swept(net, x, output_metric, layer: int, differentiable: bool, *, pushforwards: bool = True, metrics: bool = True) -> Geometry:
    """One forward pass, and the sweep down to `layer` for some points at a time. Without the metrics, the P of that layer alone."""
    if not differentiable and engines.sweeps(checks.network(net), x):
        return _compiled(net, x, output_metric, layer, pushforwards=pushforwards, metrics=metrics)
    states, slopes = forward_pass(net, x, differentiable=differentiable)
    x = [state[0].mT for state in states]
    eta = None if output_metric is None else checks.output_metric(output_metric, x[-1])

    def sweep(part: slice) -> Iterator[Tensor]:
        here = [slope[:, part] for slope in slopes]
        swept = backward_sweep(net, here, _identity(net.widths[-1], here[-1]), layer, differentiable=differentiable)
        for P in map(points_first, swept if metrics else [*swept][-1:]):
            if pushforwards:
                yield P
            if metrics:
                yield gram(P) if eta is None else P.mT @ eta[part] @ P

    size, large = net.widths[-1] * max(map(int.__mul__, net.entries, net.widths)), metrics and eta is None and wide.applies(net, slopes[-1])
    found = (wide.swept(net, slopes, pushforwards=pushforwards) if large else gathered(sweep, slopes[-1], size))[::-1]  # g_0, P_0, g_1, ...
    return Geometry(x, found[metrics :: 1 + metrics] if pushforwards else [], found[:: 1 + pushforwards] if metrics else [], eta)


def _compiled(net, x, output_metric, layer: int, *, pushforwards: bool, metrics: bool) -> Geometry:
    """The same by the compiled loop, which multiplies P^T P on its way; any other output metric is multiplied here."""
    euclidean = output_metric is None
    of_layers = metrics and (pushforwards or not euclidean)  # not where only P of one layer is wanted, or g alone
    want = ["x"] * of_layers + ["P"] * (pushforwards or not euclidean) + ["g"] * (metrics and euclidean)
    found = engines.sweep(net, checks.points(x, net.entries[0] * net.widths[0], like=net.weights[0]), tuple(want), layer)
    if euclidean or not metrics:
        return Geometry(found.get("x", []), found.get("P", []), found.get("g", []))
    eta = checks.output_metric(output_metric, found["x"][-1])
    return Geometry(found["x"], found["P"], [P.mT @ eta @ P for P in found["P"]], eta)


def _identity(dim: int, like: Tensor) -> Tensor:
    """The covectors dx of `dim` components at every point, (dim, dim, n)."""
    return torch.eye(dim, dtype=like.dtype, device=like.device)[..., None].expand(-1, -1, like.shape[1])
