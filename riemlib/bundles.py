r"""Frames, metrics and covectors under the general linear group (sections 5 and 6, Defs 5.1, 5.2, Eqs. 14, 15).

A frame at a point is d independent tangent vectors, the columns $e_a$ of a matrix. The group $GL(d)$ acts on frames from the right and on
metrics from the left. A frame and the components of a metric in it, (e, g), are the same bilinear form as
$(e \triangleleft h,\ h^{-1} \triangleright g)$.
The Jacobian h of a layer is such a group element wherever it is invertible. It takes the coordinate frame of layer l + 1 to that of
layer l. With it go the components of the metric (Eq. 14) and the gradient of the error, which is the frame applied to the error (Eq. 15).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from . import checks
from .metric import backward_sweep, forward_pass
from .networks import CkNetwork, combine


def act_on_frame(e: Float[Tensor, "... dim dim"], h: Float[Tensor, "... dim dim"]) -> Float[Tensor, "... dim dim"]:
    r"""The right action on frames, $(e \triangleleft h)_a = e_b h^b{}_a$ (Def. 5.1): a matrix product e h, (n, d, d).

    `e` holds a frame's vectors as columns, in any coordinates of the tangent space; `h` one group element for each frame, or one for all.
    Errors: ValueError for matrices that are not square or do not fit, or an h that is singular and so not in GL(d).
    """
    e, h = _matrices("e", e), _matrices("h", h)
    _same_size("e", e, "h", h)
    return e @ _invertible("h", h)


def change_of_frame(e: Float[Tensor, "... dim dim"], f: Float[Tensor, "... dim dim"]) -> Float[Tensor, "... dim dim"]:
    r"""The one h with $e \triangleleft h = f$ for two frames of the same tangent space, (n, d, d) (Def. 5.1).

    Such an h exists: the action is transitive on a fibre. It is the only one: the action is free.
    Errors: ValueError for matrices that are not square or do not fit, or an e that is singular and so no frame.
    """
    e, f = _matrices("e", e), _matrices("f", f)
    _same_size("e", e, "f", f)
    return torch.linalg.solve(*torch.broadcast_tensors(_invertible("e", e), f))  # f (d, d) would count as vectors


def group_elements(n: int, dim: int, *, seed: int, spread: float = 2.0, dtype=torch.float64, device=None) -> Float[Tensor, "n dim dim"]:
    """Random elements of GL(d), of both orientations: random orthogonal matrices on both sides of singular values in [1 / spread, spread].

    Errors: ValueError for n or dim below 1, or a spread that is not positive.
    """
    n, dim, spread = checks.integer("n", n, 1), checks.integer("dim", dim, 1), checks.real("spread", spread)
    generator = torch.Generator().manual_seed(checks.seed(seed))
    normal = torch.randn(2, n, dim, dim, dtype=torch.float64, generator=generator)
    Q, R = torch.linalg.qr(normal)
    left, right = Q * R.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]  # uniform on O(d); Q alone has det (-1)^(d-1) (Mezzadri 2007)
    values = spread ** (2 * torch.rand(n, 1, dim, dtype=torch.float64, generator=generator) - 1)
    return (left * values @ right).to(device, dtype)


def act_on_metric(h: Float[Tensor, "... image dim"], g: Float[Tensor, "... _ _"], *, inverse: bool = False) -> Float[Tensor, "... _ _"]:
    r"""The left action on metrics, $h \triangleright g = h^{-\mathsf T} g\, h^{-1}$, (n, d, d) (Def. 5.2).

    With `inverse` it is $h^{-1} \triangleright g = h^{\mathsf T} g\, h$ (Eq. 14, the same as Eq. 9). This needs no inverse, so it
    also takes an h that is in no group: one that is singular, or of shape (n, d', d) with g (n, d', d').
    Errors: ValueError for a g that is not symmetric or does not fit h; without `inverse` also for an h that is singular or not square.

    >>> act_on_metric(2 * torch.eye(2), torch.eye(2)).diagonal()
    tensor([0.2500, 0.2500])
    """
    g = checks.metric("g", g)
    h = checks.tensor("h", h, "(..., d', d)") if checks.truth("inverse", inverse) else _matrices("h", h)
    if h.ndim < 2 or h.shape[-2] != g.shape[-1]:
        raise ValueError(f"h has shape {tuple(h.shape)}, g {tuple(g.shape)}; h (..., d', d) and g (..., d', d') are needed")
    _fit_together("h", h, "g", g)
    if inverse:
        return h.mT @ g @ h
    h, g = torch.broadcast_tensors(_invertible("h", h), g)  # solve takes g (d, d) for d vectors where h is (d, d, d)
    half = torch.linalg.solve(h.mT, g)
    acted = torch.linalg.solve(h, half, left=False)
    return (acted + acted.mT) / 2  # symmetric but for rounding


def action_sizes(h: Float[Tensor, "*nets layers points dim dim"]) -> tuple[Float[Tensor, "*nets layers"], Float[Tensor, "*nets steps"]]:
    r"""How far the action of each layer is from 1 and from that of the next: $\lVert h_l - 1\rVert$, $\lVert h_{l+1} - h_l\rVert$.

    `h` holds the Jacobians of layers of one width. The norm is Frobenius', its root mean square over the points. In a smooth limit of L
    layers the first is O(1/L), the second O(1/L²) (sections 5 and 7.2). Axes in front are kept.
    Errors: ValueError for Jacobians that are not square, or fewer than two layers.
    """
    h = _matrices("h", h)
    if h.ndim < 4 or h.shape[-4] < 2:
        raise ValueError(f"h has shape {tuple(h.shape)}; (..., L, n, d, d) with at least two layers is needed")
    one = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    size, jump = (matrices.square().sum((-2, -1)).mean(-1).sqrt() for matrices in (h - one, h.diff(dim=-4)))
    return size, jump


def covectors(
    net: CkNetwork, x: Float[Tensor, "points dim"], output: Float[Tensor, "points rows out"]
) -> list[Float[Tensor, "points rows _"]]:
    """Covectors on x^(L), r for each point in `output` (n, r, d_L), at every layer: L + 1 tensors (n, r, s_l) (the product of Eq. 15).

    Each layer acts on them from the right, the last layer first. The identity gives the pushforward P of Eq. 12. The gradient of an error
    gives the backpropagated error, in units of the error per unit of the layer's coordinates.
    Errors: ValueError for an output that is not (n, r, d_L).
    """
    output, n, dim = checks.tensor("output", output, "(n, r, d_L)"), len(checks.points(x)), checks.network(net).widths[-1]
    if output.ndim != 3 or (len(output), output.shape[2]) != (n, dim):
        raise ValueError(f"output has shape {tuple(output.shape)}; ({n}, r, {dim}), r covectors at each point, is needed")
    checks.same_kind("output", output, "the network's weights", net.weights[0])
    sweep = backward_sweep(net, forward_pass(net, x)[1], output.movedim(0, -1))
    return [covector.flatten(1, 2).movedim(-1, 0) for covector in sweep][::-1]


@torch.no_grad()
def backpropagate(net: CkNetwork, x: Float[Tensor, "points dim"], label: Int64[Tensor, " points"]) -> dict[str, Tensor]:
    r"""The gradient of the mean softmax cross-entropy by Eq. 15, for every parameter, under its name in `net.named_parameters()`.

    $$\frac{\partial E}{\partial W^{(l-1)}} = \frac{\partial E}{\partial x^{(L)}}
    \prod_{l'=L-1}^{l} \frac{\partial x^{(l'+1)}}{\partial x^{(l')}}\ \frac{\partial x^{(l)}}{\partial W^{(l-1)}}$$

    on the states of any order. Weights that layers share receive the sum over these layers. Each tensor has the shape of its parameter, and
    is in nats per unit of it. Only the activation is differentiated automatically.
    Errors: ValueError for labels out of range, or not one for each point.

    >>> net = CkNetwork([2, 2, 2], seed=0)
    >>> sorted(backpropagate(net, torch.ones(3, 2), torch.tensor([0, 1, 1])))
    ['biases.0', 'biases.1', 'readout.bias', 'readout.weight', 'weights.0', 'weights.1']
    """
    states, slopes = forward_pass(net, x)
    dlogits = _error(net, states[-1][0].mT, label)
    found = {id(parameter): torch.zeros_like(parameter) for parameter in net.parameters()}
    found[id(net.readout.weight)] += dlogits.mT @ states[-1][0].mT
    found[id(net.readout.bias)] += dlogits.sum(0)
    sweep = backward_sweep(net, slopes, (dlogits @ net.readout.weight).mT[None])
    for l, covector in zip(reversed(range(len(slopes))), sweep, strict=False):  # the error at layer l + 1; the input has no weight
        df = combine([line[-1] for line in net.stencils[l]], covector[0].unbind(0))
        dz = df * slopes[l]
        found[id(net.weights[l])] += dz @ states[l][0].mT
        found[id(net.biases[l])] += dz.sum(1)
    return {name: found[id(parameter)] for name, parameter in net.named_parameters()}


@torch.no_grad()
def error_covector(net: CkNetwork, x: Float[Tensor, "points dim"], label: Int64[Tensor, " points"]) -> Float[Tensor, "points out"]:
    """∂E/∂x^(L) of the mean softmax cross-entropy E, (n, d_L): the covector at the output that Eq. 15 starts from.

    Errors: ValueError for labels out of range, or not one for each point.
    """
    return _error(net, checks.classifier(net).coordinates(x)[-1], label) @ net.readout.weight


def _error(net: CkNetwork, out: Tensor, label: Tensor) -> Tensor:
    """∂E/∂logits, (n, classes): (softmax - one-hot) / n."""
    label = checks.labels(label, len(out), checks.classifier(net).readout.out_features)
    q = net.readout(out).softmax(1)
    return (q - torch.nn.functional.one_hot(label, q.shape[1]).to(q)) / len(out)


def _matrices(name: str, value) -> Tensor:
    checks.tensor(name, value, "(..., d, d)")
    if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; square matrices (..., d, d) are needed")
    return value


def _same_size(first: str, a: Tensor, second: str, b: Tensor) -> None:
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"{first} has shape {tuple(a.shape)}, {second} {tuple(b.shape)}; one size d is needed")
    _fit_together(first, a, second, b)


def _fit_together(first: str, a: Tensor, second: str, b: Tensor) -> None:
    """Refuses matrices of different dtypes, or whose numbers do not match: one for each, or one for all, is needed."""
    checks.same_kind(second, b, first, a)
    if any(m != n and 1 not in (m, n) for m, n in zip(a.shape[-3::-1], b.shape[-3::-1], strict=False)):
        raise ValueError(f"{first} has shape {tuple(a.shape)}, {second} {tuple(b.shape)}; as many of both, or one for all, is needed")


def _invertible(name: str, value: Tensor) -> Tensor:
    """`value`, refused where elimination meets a pivot that is exactly 0."""
    singular = torch.linalg.lu_factor_ex(value).info > 0
    if not checks.is_true_or_unknown(~singular.any()):
        raise ValueError(f"{name} has {int(singular.sum())} singular matrices; elements of GL(d), invertible, are needed")
    return value
