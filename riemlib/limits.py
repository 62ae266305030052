r"""The limit of many layers: weights that follow a path in l, the equation that a network discretises, and measured orders (Eqs. 2-7).

Let the layers stand at $0 = l(0) < \dots < l(L) = 1$, with the weights $W(l(n)), b(l(n))$. Then a $C^k$ network is a scheme for

$$\frac{d^k x}{dl^k} = f(W(l)\,x + b(l)), \qquad \frac{d^i x}{dl^i}(0) = f(W(0)\,x(0) + b(0)), \quad 0 < i < k.$$

The derivatives at the input are not free: the state starts as x alone, and every new entry of it starts as f.
`solve` gives the same equation to an adaptive solver. `measured_errors` compares, and `local_order` says with which order the errors fall.
The limits of the product of Eq. 12 and of Eq. 15 are below: `ordered_product`, `path_ordered_exponential`, `adjoint`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.func import jacfwd, jvp
from torchdiffeq import odeint

from . import checks
from .activations import pointwise
from .networks import CkNetwork, affine, evolve, glorot, stencil

Path = Callable[[Tensor], Tensor]  # of matrices or vectors: l, any shape, to (*l.shape, ...)


@dataclass(frozen=True)
class Fourier:
    r"""A smooth path in l: $c_0 + \sum_k a_k \cos(2\pi k l) + b_k \sin(2\pi k l)$, of any shape. It is called at l."""

    constant: Tensor
    cosine: Tensor  # (modes, ...)
    sine: Tensor

    def __call__(self, l: Tensor) -> Tensor:
        k = torch.arange(1, len(self.cosine) + 1, dtype=self.constant.dtype, device=self.constant.device)
        angle = 2 * torch.pi * l.to(self.constant)[..., None] * k
        return self.constant + torch.tensordot(angle.cos(), self.cosine, 1) + torch.tensordot(angle.sin(), self.sine, 1)


def smooth_field(dim: int, *, seed: int, scale: float = 3.0, modes: int = 2, device=None) -> tuple[Fourier, Fourier]:
    """Random smooth paths W(l), (d, d), and b(l), (d,), in float64: Glorot entries × `scale`, those of mode k divided by k²."""
    generator = torch.Generator().manual_seed(checks.seed(seed))
    fade = torch.arange(1, modes + 1, dtype=torch.float64, device=device)[:, None, None] ** -2.0

    def path(*shape: int) -> Fourier:
        draws = ([glorot((dim, dim), generator) for _ in range(count)] for count in (1, modes, modes))
        mean, cosine, sine = (scale * torch.stack(drawn).to(device) for drawn in draws)
        parts = mean[0], cosine * fade, sine * fade
        return Fourier(*parts if len(shape) == 2 else (part[..., 0] for part in parts))

    return path(dim, dim), path(dim)


def partition(depth: int, kind: str = "uniform", *, seed: int = 0) -> list[float]:
    """The steps Δl(n) of a partition of [0, 1] into `depth` layers (Eq. 7), for `CkNetwork(step=...)`.

    `uniform`; `graded`, l(n) = (n/L)²; `root`, l(n) = √(n/L); `random`, L - 1 independent uniform points; `half start`, uniform but for a
    first step half as long.
    Errors: ValueError for another kind or a depth below 1.
    """
    depth = checks.integer("depth", depth, 1)
    if kind == "uniform":
        steps = np.full(depth, 1 / depth)
    elif kind in ("graded", "root"):
        steps = np.diff((np.arange(depth + 1) / depth) ** (2.0 if kind == "graded" else 0.5))
    elif kind == "random":
        steps = np.diff(np.sort(np.random.default_rng(seed).uniform(size=depth - 1)), prepend=0, append=1)
    elif kind == "half start":
        steps = np.r_[0.5, np.ones(depth - 1)] / (depth - 0.5)
    else:
        raise ValueError(f"kind is {kind!r}; uniform, graded, root, random or half start is needed")
    return steps.tolist()


def starts(steps: Sequence[float]) -> list[float]:
    """l(0), ..., l(L - 1): where the layers of a partition begin."""
    return list(accumulate(steps[:-1], initial=0.0))


def layer_positions(net: CkNetwork) -> list[float]:
    """l(0), ..., l(L): the sums of the steps (Eq. 7)."""
    return list(accumulate(net.steps, initial=0.0))


@torch.no_grad()
def sample_weights(net: CkNetwork, W: Path, b: Path) -> CkNetwork:
    """Fills the network, in place, with W(l(n)) and b(l(n)) for n = 0, ..., L - 1: the weights of each layer are those at its start.

    Errors: ValueError for shared weights, or paths of another shape than the weights.
    """
    if net.shared:
        raise ValueError("net shares one set of weights; a network with its own in every layer is needed")
    l = torch.tensor(layer_positions(net)[:-1], dtype=torch.float64)
    for name, path, parameters in (("W", W, net.weights), ("b", b, net.biases)):
        values = path(l)
        needed = (len(l), *parameters[0].shape)
        if values.shape != needed:
            raise ValueError(f"{name}(l) has shape {tuple(values.shape)} at the {len(l)} layers; {needed} is needed")
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
    return net


def discretise(W: Path, b: Path, steps: Sequence[float], *, order: int | Sequence[int] = 1, activation="tanh") -> CkNetwork:
    """The float64 network with these steps whose weights follow the paths: Eq. 3 at order 1, Eq. 4 at order 2."""
    start = b(torch.zeros((), dtype=torch.float64))
    widths = [len(start)] * (len(steps) + 1)
    net = CkNetwork(widths, order=order, step=steps, activation=activation, seed=0, dtype=torch.float64, device=start.device)
    return sample_weights(net, W, b)


def solve(
    W: Path,
    b: Path,
    x: Float[Tensor, "points dim"],
    *,
    order: int = 1,
    activation="tanh",
    at: Sequence[float] = (1.0,),
    tolerance: float = 1e-10,
) -> Float[Tensor, "positions points dim"]:
    """x(l) of d^k x/dl^k = f(W x + b) (Eqs. 5, 6) at the positions `at`, by torchdiffeq's adaptive Dormand-Prince pair of order 5.

    Errors: ValueError for an order below 1 or positions that do not increase from above 0.
    """
    order, f = checks.integer("order", order, 1), pointwise(activation)
    start = checks.points(x).mT

    def rate(l: Tensor, state: Tensor) -> Tensor:
        return torch.cat([state[1:], f(affine(W(l), state[0], b(l)))[None]])

    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    state = torch.cat([start[None], f(affine(W(zero), start, b(zero))).expand(order - 1, -1, -1)])
    l = torch.tensor([0.0, *at], dtype=x.dtype, device=x.device)
    if not (l.diff() > 0).all():
        raise ValueError(f"at is {list(at)}; increasing positions above 0 are needed")
    return odeint(rate, state, l, method="dopri5", rtol=tolerance, atol=tolerance)[1:, 0].mT


def measured_errors(
    W: Path,
    b: Path,
    x: Float[Tensor, "points dim"],
    partitions: Sequence[Sequence[float]],
    *,
    order: int = 1,
    activation="tanh",
    scheme: Callable[[CkNetwork, Tensor], list[Tensor]] = CkNetwork.coordinates,
    exact: Float[Tensor, "points dim"] | None = None,
) -> list[float]:
    """Root mean square over points and components of x^(L) - x(1), for a network on each partition.

    Another `scheme` computes the coordinates from the network's weights and steps: `momentum_form`, `central_first_difference`. `exact` is
    x(1), where it is known already.
    """
    exact = solve(W, b, x, order=order, activation=activation)[-1] if exact is None else exact
    nets = (discretise(W, b, steps, order=order, activation=activation) for steps in partitions)
    with torch.no_grad():
        return [float((scheme(net, x)[-1] - exact).square().mean().sqrt()) for net in nets]


class Order(NamedTuple):
    """A measured order of convergence, and the interval in which the order in the limit lies."""

    value: float
    low: float
    high: float


def local_orders(steps: Sequence[float], errors: Sequence[float]) -> list[float]:
    r"""The order between each two neighbouring steps, $\log(e/e') / \log(h/h')$: for halved steps $\log_2 (e(h)/e(h/2))$.

    Errors: ValueError for fewer than three steps, lists of different length, or numbers that are not positive and finite.
    """
    h, e = (np.asarray(values, dtype=float).ravel() for values in (steps, errors))
    if len(h) != len(e) or len(h) < 3:
        raise ValueError(f"steps has {len(h)} entries, errors {len(e)}; as many of each, at least three, are needed")
    for name, values in (("steps", h), ("errors", e)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name} spans {values.min()} to {values.max()}; positive finite numbers are needed")
    return (np.diff(np.log(e)) / np.diff(np.log(h))).tolist()


def local_order(steps: Sequence[float], errors: Sequence[float], *, least: float = 1e-3) -> Order:
    r"""The order between the two finest of halved steps, and how far from it the order in the limit may be.

    For errors $C h^p (1 + a h + \dots)$ the local order is off from p by a multiple of h. So it has as far to go as it went when the steps
    were last halved. Twice the larger of its last two changes is allowed to either side (errors of a function with kinks jump about), and
    at least `least` for rounding. There is no chance in such errors: this is no confidence interval. Errors: as in `local_orders`.
    """
    local = local_orders(steps, errors)[-3:]
    away = max(2 * float(np.abs(np.diff(local)).max()), least)
    return Order(local[-1], local[-1] - away, local[-1] + away)


def momentum_form(
    net: CkNetwork, x: Float[Tensor, "points dim"], momentum: float | Sequence[float] = 1.0, force: Sequence[float] | None = None
) -> list[Float[Tensor, "points dim"]]:
    r"""Eq. 4 as the paper rewrites it, $x^{(l+1)} = x^{(l)} + f\,\Delta l^2 + \mu\,\delta x^{(l-1)}$, for a network of order 2.

    `momentum` is $\mu$, one number, or one for each layer; that of the first layer has no effect. The paper has 1, which is right for steps
    of one size. On any other partition it has to be $\Delta l(n)/\Delta l(n-1)$ (`rescaled`). `force` are the factors of f. Without it they
    are $\Delta l(0)$ in the first layer, which is of order 1, and $\Delta l(n)^2$ in the others. Returns the L + 1 coordinates.
    """
    x = checks.points(x, net.widths[0], like=net.weights[0])
    f = _layer_functions(net)
    mu = checks.per_layer("momentum", momentum, len(f))
    c = checks.per_layer("force", force or [net.steps[0], *(h**2 for h in net.steps[1:])], len(f))
    xs = [x, x + c[0] * f[0](x)]
    for n in range(1, len(f)):
        xs.append(xs[n] + c[n] * f[n](xs[n]) + mu[n] * (xs[n] - xs[n - 1]))
    return xs


def rescaled(steps: Sequence[float]) -> list[float]:
    r"""The momentum that Eq. 4 needs on these steps: 1, then $\Delta l(n)/\Delta l(n-1)$. A displacement becomes a velocity."""
    return [1.0, *(h / before for before, h in pairwise(steps))]


def second_order(steps: Sequence[float]) -> tuple[list[float], list[float]]:
    r"""The momentum and the factors of f that make `momentum_form` a scheme of second order for Eq. 6 on any smoothly graded partition.

    The momentum is `rescaled`. The factors $\Delta l(n)\,(\Delta l(n) + \Delta l(n-1))/2$ are those of the central
    second difference on unequal steps; at the input it is $\Delta l(0) + \Delta l(0)^2/2$, since the velocity there is f, too.
    """
    return rescaled(steps), [steps[0] + steps[0] ** 2 / 2, *(h * (h + before) / 2 for before, h in pairwise(steps))]


def central_first_difference(net: CkNetwork, x: Float[Tensor, "points dim"]) -> list[Float[Tensor, "points dim"]]:
    r"""$x^{(l+1)} = x^{(l-1)} + 2\,\Delta l\,f(x^{(l)})$ for a network's weights on uniform steps; Eq. 2 in the first layer.

    It is of second order for Eq. 5. It has a second, parasitic solution, which alternates in sign and grows where the flow contracts.
    """
    x = checks.points(x, net.widths[0], like=net.weights[0])
    f = _layer_functions(net)
    xs = [x, x + net.steps[0] * f[0](x)]
    for n in range(1, len(f)):
        xs.append(xs[n - 1] + 2 * net.steps[n] * f[n](xs[n]))
    return xs


@torch.no_grad()
def implicit(net: CkNetwork, bias: bool = True) -> CkNetwork:
    """A network of order 1 with its steps moved into the weights (Eq. 2): step 1, weights W Δl, biases b Δl (or b, without `bias`).

    Where the activation is positively homogeneous (ReLU), it computes the same map. Errors: ValueError for another order.
    """
    if set(checks.classifier(net).orders) != {1}:
        raise ValueError(f"net has orders {net.orders}; order 1 in every layer is needed")
    weights = [W * h for W, h in zip(net.weights, net.steps, strict=True)]
    biases = [b * (h if bias else 1.0) for b, h in zip(net.biases, net.steps, strict=True)]
    inside = CkNetwork.from_weights(weights, biases, activation=net.activation, classes=net.readout.out_features)
    inside.readout.load_state_dict(net.readout.state_dict())
    return inside


def nonaffine_share(x: Float[Tensor, "points dim"], y: Float[Tensor, "points out"]) -> float:
    """How far y(x) is from affine, 0 to 1: the norm of y less the best affine map, over the norm of y less its mean."""
    design = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    residual = y - design @ torch.linalg.lstsq(design, y).solution
    return float(residual.norm() / (y - y.mean(0)).norm())


def variation(values: Float[Tensor, "runs layers entries"]) -> Float[Tensor, " runs"]:
    r"""Von Neumann's ratio of weights along the layers: $\sum_n |w_{n+1} - w_n|^2 \big/ 2 \sum_n |w_n - \bar w|^2$ for each run.

    It is near 1 for independent layers. It goes to 0 with the number of layers if the weights follow a path of bounded variation in l.
    Source: J. von Neumann, Ann. Math. Stat. 12 (1941) 367.
    """
    return values.diff(dim=1).square().sum((1, 2)) / (2 * (values - values.mean(1, keepdim=True)).square().sum((1, 2)))


def path_distance(coarse: Float[Tensor, "*runs layers entries"], fine: Float[Tensor, "*runs twice entries"]) -> Float[Tensor, "*runs"]:
    r"""The distance d(L, 2L) of the weights of a network of L layers from those of one of 2L, as paths in l, constant on each layer.

    It is $\big(\int_0^1 |w_L(l) - w_{2L}(l)|^2\,dl\big)^{1/2}$. Samples of one smooth path have a d of order 1/L, those of one
    with a jump of order 1/√L, and independent layers one that stays. Errors: ValueError where the second network is not twice as deep.
    """
    if fine.shape[-2] != 2 * coarse.shape[-2]:
        raise ValueError(f"the networks have {coarse.shape[-2]} and {fine.shape[-2]} layers; a second one twice as deep is needed")
    return (coarse.repeat_interleave(2, -2) - fine).square().sum(-1).mean(-1).sqrt()


def random_layers(
    x: Float[Tensor, "points dim"], depth: int, step: float, *, draws: int, seed: int = 0
) -> Float[Tensor, "layers draws points dim"]:
    """x^(0), ..., x^(L) of `draws` tanh networks of order 1 whose layers are drawn independently (Glorot, no bias): they follow no path."""
    generator = torch.Generator().manual_seed(checks.seed(seed))
    dim = x.shape[1]
    weights = [torch.stack([glorot((dim, dim), generator) for _ in range(draws)]).to(x) for _ in range(depth)]
    biases = [x.new_zeros(draws, dim)] * depth
    states = evolve([x.mT.expand(draws, -1, -1)], weights, biases, [stencil(1, 1, step)] * depth, torch.tanh)
    return torch.stack([state[0].mT for state in states])


class PathStart(CkNetwork):
    """A network of constant width whose layers start from samples of one path: the seed draws a `smooth_field`, the same for every depth.

    The layers stand at the share n/L of the depth, whatever the step. The readout is drawn as ever.
    """

    def draw(self, seed: int) -> list[Tensor]:
        depth, drawn = len(self.weights), super().draw(seed)
        l = torch.arange(depth, dtype=torch.float64, device="cpu") / depth
        W, b = smooth_field(self.widths[0], seed=seed, scale=1.0, device="cpu")
        return [*W(l), *b(l), *drawn[2 * depth :]]


def ordered_product(A: Float[Tensor, "layers dim dim"], steps: Sequence[float], *, reverse: bool = False) -> Float[Tensor, "dim dim"]:
    """The product of I + A(n) Δl(n) over the layers, the last leftmost (Eq. 12). `reverse` puts the first leftmost, which is wrong."""
    P = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    for A_n, h in zip(A, steps, strict=True):
        P = P + h * (P @ A_n if reverse else A_n @ P)
    return P


def path_ordered_exponential(A: Path, dim: int, *, start: float = 0.0, end: float = 1.0, breaks: Sequence[float] = ()) -> Tensor:
    """The limit of Eq. 12: P(end) of dP/dl = A(l) P, P(start) = I, (d, d), by scipy's DOP853, restarted at the `breaks` where A jumps."""

    def rate(l: float, P: np.ndarray) -> np.ndarray:
        return (A(torch.tensor(l, dtype=torch.float64)).numpy() @ P.reshape(dim, dim)).ravel()

    P = np.eye(dim)
    for a, b in pairwise([start, *(l for l in breaks if start < l < end), end]):
        P = solve_ivp(rate, (a, np.nextafter(b, a)), P.ravel(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(dim, dim)
    return torch.from_numpy(P)


def product_bound(M: float, oscillations: Sequence[float], steps: Sequence[float]) -> float:
    r"""The bound on the error of `ordered_product` (Eq. 12), $e^M (\sum_n \omega_n \Delta l(n) + \tfrac12 M^2 \sum_n \Delta l(n)^2)$.

    M bounds $\lVert A(l)\rVert$ on [0, 1], $\omega_n$ the oscillation $\lVert A(l) - A(l(n))\rVert$ on the n-th interval of the partition.
    """
    h, omega = np.asarray(steps, dtype=float), np.asarray(oscillations, dtype=float)
    return float(np.exp(M) * (omega @ h + M**2 / 2 * (h @ h)))


def adjoint(
    W: Path,
    b: Path,
    x: Float[Tensor, "points dim"],
    p: Float[Tensor, "points dim"],
    *,
    activation="tanh",
    at: Sequence[float] = (0.0,),
    tolerance: float = 1e-11,
) -> tuple[Float[Tensor, "positions points dim"], Float[Tensor, "positions points dim"]]:
    r"""x(l) and p(l) at positions `at`, back from x(1) = `x` and p(1) = `p`: the limit of Eq. 15 as the layers become infinitely many.

    $$\frac{dx}{dl} = f(z), \qquad \frac{dp}{dl} = -A^{\mathsf T} p, \qquad A = \mathrm{diag}(f'(z))\, W, \quad z = W(l)\,x + b(l),$$

    by torchdiffeq's adaptive Dormand-Prince pair of order 8. W and b are as in `solve`.
    Errors: ValueError for p of another shape than x, or positions that do not decrease from below 1.
    Source: Pontryagin's costate equation; Chen et al., NeurIPS 2018.
    """
    f, x, p = pointwise(activation), checks.points(x), checks.tensor("p", p, "(n, d)")
    if p.shape != x.shape:
        raise ValueError(f"p has shape {tuple(p.shape)}, x {tuple(x.shape)}; one covector for each of the points is needed")
    l = torch.tensor([1.0, *at], dtype=x.dtype, device=x.device)
    if not (l.diff() < 0).all():
        raise ValueError(f"at is {list(at)}; decreasing positions below 1 are needed")

    def rate(l: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        z = affine(W(l), state[0], b(l))
        value, slope = jvp(f, (z,), (torch.ones_like(z),))  # type: ignore[misc]
        return value, -W(l).mT @ (slope * state[1])

    back = odeint(rate, (x.mT, p.mT), l, method="dopri8", rtol=tolerance, atol=tolerance)
    return back[0][1:].mT, back[1][1:].mT


def phase_determinants(net: CkNetwork, x: Float[Tensor, "points dim"], *, pairs: bool) -> Float[Tensor, "layers points"]:
    r"""The determinant of every layer but the first of a network of order 2, as a map of phase space, by forward-mode differentiation.

    On the state $(x, D_1)$ it is 1. With `pairs` it is that of $(x^{(l)}, x^{(l-1)}) \mapsto (x^{(l+1)}, x^{(l)})$, which is
    $(\Delta l(n)/\Delta l(n-1))^d$. Errors: ValueError for another order.
    """
    if set(checks.network(net).orders) != {2}:
        raise ValueError(f"net has orders {net.orders}; order 2 in every layer is needed")
    found, dim = [], net.widths[0]
    for n, state in enumerate(net.states(x)[1:-1], 1):
        before = net.steps[n - 1] if pairs else None
        points = state if before is None else torch.cat([state[:, :dim], state[:, :dim] - before * state[:, dim:]], 1)
        layer = partial(_phase_layer, net[n : n + 1], before)
        found.append(torch.stack([torch.linalg.det(jacfwd(layer)(point)) for point in points]))
    return torch.stack(found)


def _phase_layer(part: CkNetwork, before: float | None, point: Tensor) -> Tensor:
    """A layer on (x, D_1), or where the step `before` it is given, on the coordinates (x^(l), x^(l-1)); one point."""
    if before is None:
        return part.states(point[None])[-1][0]
    x, previous = point.chunk(2)
    return torch.cat([part.states(torch.cat([x, (x - previous) / before])[None])[-1][0, : len(x)], x])


def _layer_functions(net: CkNetwork) -> list[Callable[[Tensor], Tensor]]:
    """f of every layer, on points (n, d)."""
    return [lambda x, W=W, b=b: net.activation(x @ W.mT + b) for W, b in zip(net.weights, net.biases, strict=True)]  # type: ignore[misc]
