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
from torch.func import jacrev, jvp, vmap

from . import checks
from .ellipsoids import Balls, balls_of
from .networks import CkNetwork, advance, affine, combine


def forward_pass(net: CkNetwork, x: Float[Tensor, "points _"]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The states at every layer, as lists of D_i, (d_l, n) each, and f'(z^(l)) of every layer, (d_{l+1}, n) each.

    f' is the forward-mode derivative of the activation, whatever it is. The weights are constants: derivatives flow to the points alone.
    """
    states, slopes = [net.first_state(x)], []
    for W, b, stencil in zip(net.weights, net.biases, net.stencils, strict=True):
        z = affine(W.detach(), states[-1][0], b.detach())
        f, slope = jvp(net.activation, (z,), (torch.ones_like(z),))
        slopes.append(slope)
        states.append(advance(states[-1], f, stencil))
    return states, slopes


def pull_back(covectors: Tensor, W: Tensor, slope: Tensor, stencil: list[list[float]]) -> Tensor:
    """Covectors (r, s', d', n) on a layer's image, times its Jacobian: (r, s, d, n) on its domain (Eq. 11 from the right)."""
    entries = covectors.unbind(1)
    *A, B = zip(*stencil, strict=True)
    blocks = [combine(column, entries) if any(column) else None for column in A]
    through = torch.bmm(W.mT.expand(len(covectors), -1, -1), combine(B, entries) * slope)
    blocks[0] = through if blocks[0] is None else blocks[0] + through
    if len(blocks) == 1:  # no copy where the state is x alone
        return blocks[0][:, None]
    return torch.stack([torch.zeros_like(through) if block is None else block for block in blocks], 1)


def backward_sweep(net: CkNetwork, slopes: list[Tensor], output: Tensor, layer: int = 0) -> Iterator[Tensor]:
    """Covectors `output` (r, d_L, n) on x^(L), pulled back to the layers L, L - 1, ..., `layer`: each (r, s, d, n) (Eqs. 12, 15)."""
    if net.entries[-1] == 1:
        swept = output[:, None]
    else:  # the differences that x^(L) carries along count for nothing
        swept = torch.cat([output[:, None], output.new_zeros(len(output), net.entries[-1] - 1, *output.shape[1:])], 1)
    yield swept
    for l in reversed(range(layer, len(slopes))):
        swept = pull_back(swept, net.weights[l].detach(), slopes[l], net.stencils[l])
        yield swept


def jacobians(net: CkNetwork, x: Float[Tensor, "points _"]) -> list[Float[Tensor, "points _ _"]]:
    """The L layer Jacobians on the state, each (n, s_{l+1}, s_l), at the points' own coordinates (Eq. 11; for orders 0, 1 on x itself)."""
    found = []
    for W, slope, stencil in zip(net.weights, forward_pass(net, x)[1], net.stencils, strict=True):
        identity = _identity(len(stencil) * len(slope), slope).unflatten(1, (len(stencil), len(slope)))
        found.append(_points_first(pull_back(identity, W.detach(), slope, stencil)))
    return found


def pushforward(net: CkNetwork, x: Float[Tensor, "points _"], layer: int = 0) -> Float[Tensor, "points out _"]:
    """P of Eq. 12 (Def. 4.2), (n, d_L, s_l): the product of the Jacobians from the last layer (leftmost) down to `layer`, onto x^(L).

    Errors: ValueError for a layer outside 0 to L.
    """
    if checks.integer("layer", layer, 0) > len(net.weights):
        raise ValueError(f"layer is {layer}; 0 to {len(net.weights)} is needed")
    slopes = forward_pass(net, x)[1]
    *_, P = backward_sweep(net, slopes, _identity(net.widths[-1], slopes[-1]), layer)
    return _points_first(P)


def pullback_metrics(
    net: CkNetwork, x: Float[Tensor, "points _"], output_metric: Float[Tensor, "..."] | None = None
) -> list[Float[Tensor, "points _ _"]]:
    """The metric at every layer, L + 1 tensors (n, s_l, s_l), in one backward sweep (Eqs. 9, 10).

    P is swept instead of g, whose recursion in both indices is Eq. 9. So every g = P^T eta P is symmetric and positive to rounding of its
    own size, however much the layers have squeezed it.

    `output_metric` is the metric on x^(L) (Eq. 8), (d_L, d_L) or one for each point (n, d_L, d_L). It is Euclidean unless given. The
    differences that an order above 1 carries have length 0 there. A squared length is in the units of the output coordinates squared.
    Errors: ValueError for an output metric that is not symmetric, or has a negative eigenvalue.

    >>> net = CkNetwork([2, 2, 2], seed=0)
    >>> [tuple(g.shape) for g in pullback_metrics(net, torch.zeros(5, 2))]
    [(5, 2, 2), (5, 2, 2), (5, 2, 2)]
    """
    slopes = forward_pass(net, x)[1]
    output = _identity(net.widths[-1], slopes[-1])
    if output_metric is not None:
        output = _square_root(checks.output_metric(output_metric, net.widths[-1], len(x), x)).movedim(0, -1)
    return [_gram(P) for P in backward_sweep(net, slopes, output)][::-1]


@dataclass(frozen=True)
class Geometry:
    """At each layer: the coordinates x, (n, d_l), the pushforward P to x^(L), (n, d_L, s_l), and the metric g, (n, s_l, s_l)."""

    x: list[Float[Tensor, "points _"]]
    P: list[Float[Tensor, "points out _"]]
    g: list[Float[Tensor, "points _ _"]]
    root: Float[Tensor, "points out out"] | None = None  # R with R^T R = eta, where eta is not Euclidean

    def balls(self, radius: float) -> list[Balls]:
        """The balls of constant ds = radius at every layer (Eq. 13), from P: `balls_of`."""
        return [balls_of(P if self.root is None else self.root @ P, radius) for P in self.P]


def geometry(net: CkNetwork, x: Float[Tensor, "points _"], output_metric: Float[Tensor, "..."] | None = None) -> Geometry:
    """Coordinates, pushforwards and metrics at every layer (Eqs. 1-4, 10, 12), from one forward and one backward pass.

    `output_metric` and errors as in `pullback_metrics`.

    >>> found = geometry(CkNetwork([2, 2, 2], seed=0), torch.zeros(5, 2))
    >>> tuple(found.P[0].shape), tuple(found.balls(0.1)[0].axes.shape)
    ((5, 2, 2), (5, 2))
    """
    states, slopes = forward_pass(net, x)
    sweep = list(backward_sweep(net, slopes, _identity(net.widths[-1], slopes[-1])))[::-1]
    P = [_points_first(swept) for swept in sweep]
    root = None if output_metric is None else _square_root(checks.output_metric(output_metric, net.widths[-1], len(x), x))
    g = [_gram(swept) for swept in sweep] if root is None else [(root @ p).mT @ (root @ p) for p in P]
    return Geometry([state[0].mT for state in states], P, g, root)


def pullback_metric(
    f: Callable[[Tensor], Tensor], x: Float[Tensor, "points dim"], output_metric: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "points dim dim"]:
    """The reference: J^T eta J of any map by automatic differentiation, (n, d, d) (Def. 4.3, Eqs. 8, 9).

    `f` is a callable or module that takes a single point (d,) or, failing that, a batch (n, d) whose rows it treats independently.
    Errors: ValueError for an output metric of the wrong shape, not symmetric, or with a negative eigenvalue.
    """
    x = checks.points(x)
    try:
        takes_points = f(x[0]).ndim == 1
    except Exception:  # not a function of single points: f itself says why, if it is none of batches either
        takes_points = False
    batched = vmap(f) if takes_points else f
    J = jacrev(lambda x: batched(x).sum(0))(x).movedim(1, 0)  # rows are independent: one backward pass an output
    if output_metric is None:
        return J.mT @ J
    return J.mT @ checks.output_metric(output_metric, J.shape[1], len(x), x) @ J


def _identity(dim: int, like: Tensor) -> Tensor:
    """The covectors dx of `dim` components at every point, (dim, dim, n)."""
    return torch.eye(dim, dtype=like.dtype, device=like.device)[..., None].expand(-1, -1, like.shape[1])


def _gram(P: Tensor) -> Tensor:
    """P^T P at every point, (n, s d, s d), for P (r, s, d, n): sums over points for a few components, a matrix product a point for more."""
    P = P.flatten(1, 2)
    if P.shape[1] > 8:
        P = P.permute(2, 0, 1).contiguous()
        return P.mT @ P
    g = P[0][:, None] * P[0]
    for row in P[1:]:
        g = torch.addcmul(g, row[:, None], row)
    return g.permute(2, 0, 1)


def _square_root(eta: Tensor) -> Tensor:
    """R with R^T R = eta, for a metric that may be degenerate."""
    values, vectors = torch.linalg.eigh(eta)
    return values.clamp(min=0).sqrt()[..., None] * vectors.mT


def _points_first(g: Tensor) -> Tensor:
    """(r, s, d, n) as (n, r, s d), a view where the memory allows."""
    return g.flatten(1, 2).permute(2, 0, 1)
