r"""The metric a network induces on the data, in closed form (section 4, Eqs. 8-13).

A layer is $D \leftarrow A D + B f(W x + b)$ (see `networks`), so its Jacobian on the state is, for every order,

$$J = A \otimes I + (B \otimes \mathrm{diag}(f'(z))\, W)\, e_0^{\mathsf T},$$

which at order 1 is Eq. 11. `pull_back` multiplies covectors by J from the right; everything else is that function swept from the
output to the input: on the identity it gives the pushforward P (Eq. 12) and with it the metric P^T eta P (Eqs. 9, 10), on the gradient of
an error backpropagation (Eq. 15, in `bundles`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev, jvp, vmap

from . import checks
from .networks import CkNetwork, advance, affine, combine


def layers(net: CkNetwork) -> list[tuple[Tensor, Tensor, list[list[float]]]]:
    """(W, b, stencil) of every layer. The weights are constants here: derivatives of a metric flow to the points alone."""
    return [(W.detach(), b.detach(), rows) for W, b, rows in zip(net.weights, net.biases, net.stencils, strict=True)]


def slopes(net: CkNetwork, x: Float[Tensor, "points dim"]) -> list[Tensor]:
    """f'(z^(l)) of every layer, each (d_{l+1}, n): the forward-mode derivative of whatever the activation is."""
    state = [checks.points(x, net.widths[0], like=net.readout.weight).mT.contiguous()]
    found = []
    for W, b, rows in layers(net):
        z = affine(W, state[0], b)
        f, slope = jvp(net.activation, (z,), (torch.ones_like(z),))
        found.append(slope)
        state = advance(state, f, rows)
    return found


def pull_back(covectors: Tensor, W: Tensor, slope: Tensor, rows: list[list[float]]) -> Tensor:
    """Covectors (r, s', d', n) on a layer's image, times its Jacobian: (r, s, d, n) on its domain (Eq. 11 from the right)."""
    entries = covectors.unbind(1)
    *A, B = zip(*rows, strict=True)
    blocks = [combine(column, entries) if any(column) else None for column in A]
    through = torch.bmm(W.mT.expand(len(covectors), -1, -1), combine(B, entries) * slope)
    blocks[0] = through if blocks[0] is None else blocks[0] + through
    if len(blocks) == 1:  # no copy where the state is x alone
        return blocks[0][:, None]
    return torch.stack([torch.zeros_like(through) if block is None else block for block in blocks], 1)


def jacobians(net: CkNetwork, x: Float[Tensor, "points dim"]) -> list[Float[Tensor, "points _ _"]]:
    """The L layer Jacobians on the state, each (n, s_{l+1}, s_l), at the points' own coordinates (Eq. 11; for orders 0, 1 on x itself)."""
    found = []
    for (W, _, rows), slope in zip(layers(net), slopes(net, x), strict=True):
        found.append(_points_first(pull_back(_identity(len(rows), slope), W, slope, rows)))
    return found


def pushforward(net: CkNetwork, x: Float[Tensor, "points dim"], layer: int = 0) -> Float[Tensor, "points out _"]:
    """P of Eq. 12, (n, d_L, s_l): the product of the Jacobians from the last layer (leftmost) down to `layer`, onto x^(L).

    Errors: ValueError for a layer outside 0 to L.
    """
    layer = checks.integer("layer", layer, 0)
    if layer > len(net.weights):
        raise ValueError(f"layer is {layer}; 0 to {len(net.weights)} is needed")
    found = slopes(net, x)
    P = _identity(net.entries[-1], found[-1])[: net.widths[-1]]
    for (W, _, rows), slope in reversed(list(zip(layers(net), found, strict=True))[layer:]):
        P = pull_back(P, W, slope, rows)
    return _points_first(P)


def pullback_metrics(
    net: CkNetwork, x: Float[Tensor, "points dim"], output_metric: Float[Tensor, "..."] | None = None
) -> list[Float[Tensor, "points _ _"]]:
    """The metric at every layer, L + 1 tensors (n, s_l, s_l), in one backward sweep (Eqs. 9, 10).

    P is swept instead of g, whose recursion in both indices is Eq. 9: so every g = P^T eta P is symmetric and positive to rounding of its
    own size, however much the layers have squeezed it.

    It starts from Eq. 8: `output_metric` on x^(L), (d_L, d_L) or one for each point (n, d_L, d_L), Euclidean unless given; the
    differences that an order above 1 carries have length 0 there. A squared length is in the units of the output coordinates squared.
    Errors: ValueError for an output metric that is not symmetric, or has a negative eigenvalue.

    >>> net = CkNetwork([2, 2, 2], seed=0)
    >>> [tuple(g.shape) for g in pullback_metrics(net, torch.zeros(5, 2))]
    [(5, 2, 2), (5, 2, 2), (5, 2, 2)]
    """
    found = slopes(net, x)
    P = _identity(net.entries[-1], found[-1])[: net.widths[-1]]
    if output_metric is not None:
        root = _square_root(_output_metric(output_metric, net.widths[-1], len(x), x)).movedim(0, -1)
        P = torch.cat([root[:, None], root.new_zeros(len(root), net.entries[-1] - 1, *root.shape[1:])], 1)
    metrics = [_gram(P)]
    for (W, _, rows), slope in reversed(list(zip(layers(net), found, strict=True))):
        P = pull_back(P, W, slope, rows)
        metrics.append(_gram(P))
    return metrics[::-1]


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
    return J.mT @ _output_metric(output_metric, J.shape[1], len(x), x) @ J


def squared_length(g: Float[Tensor, "points dim dim"], dx: Float[Tensor, "points dim"]) -> Float[Tensor, " points"]:
    """ds² = g_ab dx^a dx^b of a displacement at each point (Eq. 13).

    Errors: ValueError where g is not symmetric, or g and dx do not belong together.
    """
    g, dx = checks.metric("g", g), checks.points(dx)
    if g.shape != (*dx.shape, dx.shape[1]):
        raise ValueError(f"dx has shape {tuple(dx.shape)}, g {tuple(g.shape)}; (n, d) and (n, d, d) are needed")
    return torch.einsum("nab,na,nb->n", g, dx, dx)


@dataclass(frozen=True)
class Balls:
    """Ellipsoids {v : g_ab v^a v^b <= radius²}, one a point: semi-axes, longest first, along the columns of `directions`."""

    axes: Float[Tensor, "points dim"]
    directions: Float[Tensor, "points dim dim"]

    def outline(self, centres: Float[Tensor, "points 2"], count: int = 97) -> Float[Tensor, "points count 2"]:
        """The ellipses about the points as closed curves, for width 2 (infinite axes give infinite curves)."""
        angle = torch.linspace(0, 2 * torch.pi, count, dtype=self.axes.dtype, device=self.axes.device)
        circle = torch.stack([angle.cos(), angle.sin()])
        return centres[:, None] + ((self.directions * self.axes[:, None, :]) @ circle).mT


def balls(g: Float[Tensor, "points dim dim"], radius: float) -> Balls:
    """Balls of constant ds = radius (Eq. 13, Fig. 3): semi-axes radius / √λ along g's eigenvectors, infinite where g is degenerate.

    `radius` is in output units, the axes in the units of g's own coordinates. An eigenvalue counts as zero below d × machine epsilon of
    the largest. Errors: ValueError for a radius that is not positive or a g that is not symmetric, or has a negative eigenvalue.
    """
    radius = checks.real("radius", radius)
    g = checks.positive("g", checks.metric("g", g))
    values, directions = torch.linalg.eigh(g)
    zero = values <= g.shape[-1] * torch.finfo(g.dtype).eps * values[..., -1:].clamp(min=0)
    return Balls(radius * values.masked_fill(zero, 0).rsqrt(), directions)


def condition_number(g: Float[Tensor, "points dim dim"]) -> Float[Tensor, " points"]:
    """The largest eigenvalue of g over the least: the squared ratio of a ball's axes. Infinite where g is degenerate.

    Errors: as of `balls`.
    """
    axes = balls(g, 1.0).axes
    return (axes[:, 0] / axes[:, -1]).square().masked_fill(axes[:, 0].isinf(), torch.inf)


def log_volume(g: Float[Tensor, "points dim dim"]) -> Float[Tensor, " points"]:
    """log √det g: by how much, in nats, the network swells a small volume at each point. Minus infinity where g is degenerate.

    Errors: as of `balls`.
    """
    return -balls(g, 1.0).axes.log().sum(-1)


def _identity(entries: int, slope: Tensor) -> Tensor:
    """The covectors dD of a state of `entries` × d components, (entries d, entries, d, n)."""
    dim, n = slope.shape
    identity = torch.eye(entries * dim, dtype=slope.dtype, device=slope.device)
    return identity.unflatten(1, (entries, dim))[..., None].expand(-1, -1, -1, n)


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


def _output_metric(eta: Tensor, dim: int, n: int, x: Tensor) -> Tensor:
    eta = checks.positive("output_metric", checks.metric("output_metric", eta, dim))
    if eta.shape[:-2] not in ((), (n,)):
        raise ValueError(f"output_metric has shape {tuple(eta.shape)}; ({dim}, {dim}) or ({n}, {dim}, {dim}) is needed")
    return eta.to(x).expand(n, dim, dim)
