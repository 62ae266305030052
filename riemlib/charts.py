r"""Charts: which layers are coordinate changes (section 2), and the tools that check it.

Suppose that two points x, y have the same image under $x \mapsto x + \Delta l\, f(Wx + b)$. Then $(I + \Delta l\, D W)(x - y) = 0$, where
the diagonal matrix $D$ holds the secant slopes of f between them. For an increasing f these slopes lie in $[0, s]$. The determinant
$\det(I + \Delta l\, D W)$ is affine in each of them, so it is positive on the whole box if it is positive at the corners. Its values there
are the principal minors of $I + \Delta l\, s\, W$. Where all of them are positive (a *P-matrix*), no two points share an image. This does
not use smoothness: ReLU and tanh have the same criterion.
"""

from collections.abc import Iterable
from itertools import combinations, pairwise, product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.ndimage import rotate, zoom
from torch import Tensor

from . import checks
from .activations import slopes_of
from .ellipsoids import balls_of
from .metric import geometry, pushforward
from .networks import CkNetwork

WIDEST = 12  # there are 2^d - 1 principal minors; above this width a sufficient condition is used in their place


def principal_minors(M: Float[Tensor, "*batch dim dim"]) -> Float[Tensor, "*batch minors"]:
    """All 2^d - 1 principal minors det M[S, S]. The binary digits of i = 1, 2, ... say which indices S the i-th holds, index 0 the lowest.

    Errors: ValueError for a matrix that is not square, or wider than 12 (the number of minors doubles with every dimension).

    >>> principal_minors(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [1.0, 4.0, -2.0]
    """
    return _minors(M)[0]


def is_p_matrix(M: Float[Tensor, "*batch dim dim"]) -> Bool[Tensor, "*batch"]:
    """Whether every principal minor is positive (section 2). A minor that is 0 within rounding counts as not positive.

    Errors: as in `principal_minors`. Source: M. Fiedler and V. Pták, Czechoslovak Math. J. 12 (1962) 382.
    """
    minors, rounding = _minors(M)
    return (minors > rounding).all(-1)


def certificates(net: CkNetwork) -> list[bool]:
    r"""For each of the L layers, whether it is proved to be injective on its state (x, D_1, ...) (section 2). False: there is no proof.

    The rule depends on what the layer does to the entries of the state. *It drops one*: not certified. *It adds one, or has effective order
    2 or more*: injective for every f, since the new $x'$ and $D_1'$ give back $x = x' - \Delta l\, D_1'$; then x gives f(x), and the other
    differences follow. *Order 1 on x alone*: certified where $I + \Delta l\, s\, W$ is a P-matrix, with s the largest slope of f; above
    width 12 where its symmetric part is positive definite, which implies this. *Order 0 on x alone*: certified where f increases strictly
    and W has full column rank.
    Conversely, for tanh, and for ReLU with det W ≠ 0, a negative minor proves that a layer of order 1 is not injective.

    Errors: ValueError where the rule needs the slopes of an activation that is not one of tanh, relu, sigmoid, softplus.
    """
    found = [False] * len(checks.network(net).weights)
    first_order: dict[int, list[int]] = {}  # width -> the layers that it takes a P-matrix to certify
    for l, (before, after) in enumerate(pairwise(net.entries)):
        if before == after == 1 and net.orders[l] == 0:
            W = net.weights[l].detach().double()
            found[l] = slopes_of(net.activation).strict and int(torch.linalg.matrix_rank(W)) == W.shape[1]
        elif before == after == 1:
            first_order.setdefault(net.widths[l], []).append(l)
        else:
            found[l] = after >= before
    for width, layers in first_order.items():
        W = torch.stack([net.steps[l] * net.weights[l].detach().double() for l in layers])
        M = torch.eye(width, dtype=W.dtype, device=W.device) + slopes_of(net.activation).largest * W
        for l, certain in zip(layers, (is_p_matrix(M) if width <= WIDEST else _positive_definite(M)).tolist(), strict=True):
            found[l] = certain
    return found


def is_chart(net: CkNetwork) -> bool:
    """Whether every layer is certified, so that the state at each layer is a coordinate system (`certificates`)."""
    return all(certificates(net))


def patterns(dim: int, device=None) -> Bool[Tensor, "patterns dim"]:
    """The 2^dim subsets of the coordinates, in the order of the binary numbers, coordinate 0 the lowest digit."""
    return torch.tensor([row[::-1] for row in product((False, True), repeat=dim)], device=device)


def points_on_pieces(
    W: Float[Tensor, "*layers dim dim"], b: Float[Tensor, "*layers dim"], on: float = 1.0, off: float = -1.0
) -> Float[Tensor, "*layers patterns dim"]:
    """For each subset of the coordinates the point where z = Wx + b is `on` there and `off` elsewhere (W invertible).

    With 1 and -1 these are interior points of the 2^d linear pieces of a ReLU layer. With 0 and a large number the slopes of tanh come near
    to the corners of [0, 1]^d there. Errors: ValueError where W is singular.
    """
    checks.tensor("W", W, "(..., d, d)")
    z = torch.where(patterns(W.shape[-1], W.device), *torch.tensor([on, off], dtype=W.dtype, device=W.device))
    x, info = torch.linalg.solve_ex(W, (z - b[..., None, :]).mT)  # type: ignore[operator]
    if not checks.is_true_or_unknown((info == 0).all()):
        raise ValueError("W is singular; an invertible W, which reaches every sign pattern, is needed")
    return x.mT


def relu_preimages(
    W: Float[Tensor, "*layers dim dim"], b: Float[Tensor, "*layers dim"], y: Float[Tensor, "*layers points dim"], step: float = 1.0
) -> tuple[Float[Tensor, "*layers points patterns dim"], Bool[Tensor, "*layers points patterns"]]:
    """Every x with x + step · relu(Wx + b) = y: the solutions on each of the 2^d linear pieces, and which of them lie on their piece.

    A piece is a sign pattern of Wx + b, with 0 counted as negative. So each x is on one piece, and y has `found.sum(-1)` preimages.
    Errors: ValueError where a piece is singular, since preimages are not isolated there.
    """
    checks.tensor("W", W, "(..., d, d)")
    checks.tensor("y", y, "(..., n, d)")
    step = checks.real("step", step)
    signs = patterns(W.shape[-1], W.device)
    D = step * signs.to(W.dtype)
    pieces = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device) + D[:, :, None] * W[..., None, :, :]
    right = y.mT[..., None, :, :] - (D * b[..., None, :])[..., None]  # (..., patterns, d, n)
    x, info = torch.linalg.solve_ex(pieces, right)
    if not checks.is_true_or_unknown((info == 0).all()):
        raise ValueError("a linear piece of the layer is singular: its preimages are not isolated; a W without singular pieces is needed")
    found = ((W[..., None, :, :] @ x + b[..., None, :, None] > 0) == signs[:, :, None]).all(-2)
    return x.movedim(-1, -3), found.mT


def preimages(
    net: CkNetwork, y: Float[Tensor, " dim"], *, reach: float, starts: int = 25, iterations: int = 60, tolerance: float = 1e-10
) -> Float[Tensor, "found dim"]:
    """The points with x^(L) = y that Newton's method finds from a grid of `starts`^d points within `reach` of y in every coordinate.

    This is a search, not a proof: each point returned is a preimage to `tolerance`, but others may exist. A layer with a bounded activation
    moves no point by more than step · max|f|: with this `reach` nothing lies outside. Points closer than 1e-5 count as one.
    Errors: ValueError for y or a network whose input and output differ in width.
    """
    if net.widths[0] != net.widths[-1] or y.shape != (net.widths[0],):
        ends = f"the network maps width {net.widths[0]} to {net.widths[-1]}"
        raise ValueError(f"y has shape {tuple(y.shape)}, {ends}; one width for all three is needed")
    reach = checks.real("reach", reach)
    line = torch.linspace(-reach, reach, checks.integer("starts", starts, 1), dtype=y.dtype, device=y.device)
    x = y + torch.cartesian_prod(*[line] * len(y)).reshape(-1, len(y))
    with torch.no_grad():
        for _ in range(iterations):
            found = geometry(net, x)
            miss = found.x[-1] - y
            move = torch.linalg.solve_ex(found.P[0], miss)[0]
            move = move * (0.5 * reach / move.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1)  # far jumps off a fold line are cut
            x = (x - move).nan_to_num(reach, reach, -reach)
        x = x[(net.coordinates(x)[-1] - y).abs().amax(1) < tolerance]
    close = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") < 1e-5
    return x[~close.tril(-1).any(1)]  # the first of each group


def orientation_edge(
    net: CkNetwork, line: Float[Tensor, " count"], halvings: int = 30
) -> tuple[Float[Tensor, "found 2"], Float[Tensor, "found 2"], Float[Tensor, "found 2"]]:
    """Where the map of a network of width 2 to x^(L) begins to turn the plane over: points with det P = 0 (section 2).

    They are found between neighbours of the square grid `line` × `line` whose determinants have different signs, by halving. Returns the
    points, the unit normals of the edge there, and the unit directions that P takes to zero: the long axes of the balls nearby.
    Errors: ValueError for another width at the input or the output.
    """
    if (net.widths[0], net.widths[-1]) != (2, 2):
        raise ValueError(f"net has the widths {net.widths}; 2 at the input and at the output is needed")
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    turned = (torch.linalg.det(pushforward(net, grid.flatten(0, 1))) < 0).view(grid.shape[:2])
    pairs = [(grid[:-1], grid[1:], turned[:-1], turned[1:]), (grid[:, :-1], grid[:, 1:], turned[:, :-1], turned[:, 1:])]
    kept = torch.cat([a[u & ~v] for a, _, u, v in pairs] + [b[v & ~u] for _, b, u, v in pairs])  # det < 0 here,
    other = torch.cat([b[u & ~v] for _, b, u, v in pairs] + [a[v & ~u] for a, _, u, v in pairs])  # and not here
    if not len(kept):
        return kept, kept, kept
    for _ in range(halvings):
        middle = (kept + other) / 2
        negative = (torch.linalg.det(pushforward(net, middle)) < 0)[:, None]
        kept, other = torch.where(negative, middle, kept), torch.where(negative, other, middle)
    x = kept.clone().requires_grad_()
    P = pushforward(net, x)
    (slope,) = torch.autograd.grad(torch.linalg.det(P).sum(), x)
    return kept, slope / slope.norm(dim=1, keepdim=True), balls_of(P.detach(), 1.0).directions[:, :, 0]


def rotated_images(image: Float[np.ndarray, "side side"], angles: Iterable[float | int]) -> Float[Tensor, "angles pixels"]:
    """One square image rotated about its centre, side² pixels for each angle (degrees): points of a circle in pixel space (section 2).

    The image gets a margin of zeros, a quarter of its side, so that no corner leaves the frame. It is enlarged four times, rotated
    (bilinear), and averaged down to its own pixels. Errors: ValueError for an image that is not square with a side divisible by 4.
    """
    image = np.asarray(image, dtype=np.float64)
    side = len(image)
    if image.shape != (side, side) or side == 0 or side % 4:
        raise ValueError(f"image has shape {image.shape}; (side, side) with a side divisible by 4 is needed")
    large = zoom(np.pad(image, side // 4), 4, order=1, grid_mode=True, mode="grid-constant")
    turned = np.stack([rotate(large, float(angle), reshape=False, order=1) for angle in angles])
    return torch.from_numpy(turned.reshape(len(turned), side, 6, side, 6).mean((2, 4)).reshape(len(turned), -1))


def local_dimension(x: Float[Tensor, "points dim"], neighbours: int, share: float = 0.95) -> Int64[Tensor, " points"]:
    """How many principal directions carry `share` of the variance of each point's nearest `neighbours`, itself included.

    Errors: ValueError for fewer than 2 neighbours or more than there are points.
    Source: K. Fukunaga and D. R. Olsen, IEEE Trans. Comput. C-20 (1971) 176.
    """
    x = checks.points(x)
    if not 2 <= checks.integer("neighbours", neighbours, 1) <= len(x):
        raise ValueError(f"neighbours is {neighbours}; 2 to {len(x)}, the number of points, is needed")
    near = x[torch.cdist(x, x).topk(neighbours, largest=False).indices]
    variance = torch.linalg.svdvals(near - near.mean(1, keepdim=True)).square()
    carried = variance.cumsum(1) / variance.sum(1, keepdim=True)
    return (carried < share).sum(1) + 1


def _minors(M: Tensor) -> tuple[Tensor, Tensor]:
    """The principal minors and the rounding error each may carry (Hadamard's bound on the determinant times the rounding unit)."""
    checks.tensor("M", M, "(..., d, d)")
    if M.ndim < 2 or M.shape[-1] != M.shape[-2] or not 1 <= M.shape[-1] <= WIDEST:
        raise ValueError(f"M has shape {tuple(M.shape)}; (..., d, d) with d from 1 to {WIDEST} is needed: there are 2^d - 1 minors")
    dim = M.shape[-1]
    minors = M.new_empty(*M.shape[:-2], 2**dim - 1)
    rounding = torch.empty_like(minors)
    for size in range(1, dim + 1):  # all blocks of one size at once
        rows = torch.tensor(list(combinations(range(dim), size)), device=M.device)
        these = (2**rows).sum(1) - 1
        blocks = M[..., rows[:, :, None], rows[:, None, :]]
        minors[..., these] = torch.linalg.det(blocks)
        rounding[..., these] = 10 * size * torch.finfo(M.dtype).eps * blocks.norm(dim=-1).prod(-1)
    return minors, rounding


def _positive_definite(M: Tensor) -> Tensor:
    """Whether the symmetric part is positive definite beyond rounding."""
    values = torch.linalg.eigvalsh(M + M.mT)
    return values[..., 0] > 10 * M.shape[-1] * torch.finfo(M.dtype).eps * values.abs().amax(-1)
