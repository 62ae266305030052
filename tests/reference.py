"""What the tests compare with: the recursion of Eqs. 1-4 written out entry by entry, and automatic differentiation of it.

It shares no code with riemlib: a network gives only its weights, orders, steps and activation.
"""

import torch
from hypothesis import strategies as st
from torch.func import jacrev, vmap

from riemlib import CkNetwork


def silu(z):
    """A custom activation, smooth and not monotone."""
    return z * torch.sigmoid(z)


FUNCTIONS = {
    "tanh": lambda z: (z.exp() - (-z).exp()) / (z.exp() + (-z).exp()),
    "relu": lambda z: z * (z > 0),
    "sigmoid": lambda z: 1 / (1 + (-z).exp()),
    "softplus": lambda z: (1 + z.exp()).log(),
}

GRADED = [0.1, 0.3, 0.6, 1.0, 1.7]  # a partition that is not uniform
CASES = {
    **{f"order {k}": dict(widths=[2] * 6, order=k, step=0.7) for k in range(5)},
    **{f"order {k}, graded": dict(widths=[3] * 6, order=k, step=GRADED) for k in range(5)},
    **{f"order {k}, shared": dict(widths=[2] * 5, order=k, step=0.5, shared=True) for k in range(4)},
    **{f"relu, order {k}": dict(widths=[2] * 5, order=k, activation="relu") for k in range(4)},
    **{f"sigmoid, order {k}": dict(widths=[2] * 5, order=k, activation="sigmoid") for k in range(4)},
    **{f"softplus, order {k}": dict(widths=[2] * 5, order=k, activation="softplus") for k in range(4)},
    "custom": dict(widths=[2] * 6, order=[1, 2, 0, 3, 3], activation=silu),
    "sine": dict(widths=[2] * 6, order=2, activation=torch.sin),
    "figure 2d": dict(widths=[2] * 11, order=[1] * 5 + [0] + [1] * 4),
    "mixed": dict(widths=[2] * 10, order=[3, 3, 3, 3, 1, 4, 2, 0, 2], step=[0.2, 0.5, 0.9, 0.4, 1.1, 0.3, 0.8, 2.0, 0.6]),
    "falling": dict(widths=[2] * 9, order=[4, 4, 4, 4, 4, 3, 2, 1], step=0.6),
    "widening": dict(widths=[2, 3, 3, 5, 5, 5], order=[0, 1, 0, 2, 2], step=GRADED),
    "narrowing": dict(widths=[4, 4, 4, 2, 2, 1], order=[1, 2, 0, 3, 0], step=GRADED),
    "bottleneck": dict(widths=[3, 1, 1, 4, 4, 4], order=[0, 2, 0, 3, 3]),
    "one layer": dict(widths=[2, 2], order=3, step=0.3),
    "width 1": dict(widths=[1] * 6, order=2, step=0.4),
    "width 8": dict(widths=[8] * 5, order=[1, 2, 3, 4], step=0.3),
}


@st.composite
def cases(draw):
    """Any network: order, width and step of each layer, activation, weights shared or not."""
    depth = draw(st.integers(1, 5))
    shared = draw(st.booleans())
    orders = draw(st.lists(st.integers(0, 4), min_size=depth, max_size=depth))
    widths = [draw(st.integers(1, 4))]
    for order in orders:
        widths.append(draw(st.integers(1, 4)) if order == 0 and not shared else widths[-1])
    steps = draw(st.lists(st.floats(0.05, 1.5), min_size=depth, max_size=depth))
    activation = draw(st.sampled_from(["tanh", "relu", "sigmoid", "softplus", silu, torch.sin]))
    return dict(seed=draw(st.integers(0, 10**6)), widths=widths, order=orders, step=steps, activation=activation, shared=shared)


def network(seed=0, dtype=torch.float64, **case) -> CkNetwork:
    """A network of the case with biases that are not zero."""
    net = CkNetwork(**case, seed=seed, dtype=dtype)
    name = case.get("activation", "tanh")
    net.by_hand = FUNCTIONS.get(name, name)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for b in net.biases[: 1 if net.shared else None]:
            b.copy_(0.5 * torch.randn(b.shape, generator=generator, dtype=torch.float64))
        net.readout.bias.copy_(torch.randn(net.readout.bias.shape, generator=generator, dtype=torch.float64))
    return net


def points(n, width, seed=0, dtype=torch.float64):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64).to(dtype)


def spd(dim, n=None, seed=0):
    """A symmetric positive definite matrix, not diagonal; or n of them."""
    a = torch.randn(*([] if n is None else [n]), dim, dim, generator=torch.Generator().manual_seed(200 + seed), dtype=torch.float64)
    return a @ a.mT + 0.1 * torch.eye(dim, dtype=torch.float64)


def layer(D, W, b, f, order, step):
    """One layer on the entries D = [x, D_1, ...] of points in rows (or one point): D_{m-1} += h f, then D_{m-2} += h D_{m-1}, down to x."""
    value = f(D[0] @ W.mT + b)
    m = min(order, len(D))
    if m == 0:
        return [value]
    D = list(D[:m])
    D[m - 1] = D[m - 1] + step * value
    for i in reversed(range(m - 1)):
        D[i] = D[i] + step * D[i + 1]
    return [*D, value] if order > m else D


def layers(net):
    """Each layer as a map of flat states (s_l,) or (n, s_l)."""

    def flat(W, b, order, step, width):
        return lambda s: torch.cat(layer(s.unflatten(-1, (-1, width)).unbind(-2), W, b, net.by_hand, order, step), -1)

    parts = zip(net.weights, net.biases, net.orders, net.steps, net.widths[:-1], strict=True)
    return [flat(W.detach(), b.detach(), order, step, width) for W, b, order, step, width in parts]


def states(net, x):
    found = [x]
    for step in layers(net):
        found.append(step(found[-1]))
    return found


def coordinates(net, x):
    return [s[:, :width] for s, width in zip(states(net, x), net.widths, strict=True)]


def output(net, first=0):
    """The map from the state at layer `first` to x^(L), of one point."""

    def run(s):
        for step in layers(net)[first:]:
            s = step(s)
        return s[: net.widths[-1]]

    return run


def jacobians(net, x):
    return [vmap(jacrev(step))(s) for step, s in zip(layers(net), states(net, x), strict=False)]


def pushforwards(net, x):
    return [vmap(jacrev(output(net, l)))(s) for l, s in enumerate(states(net, x))]


def metrics(net, x, *etas):
    """For each output metric the list of metrics, layer by layer."""
    P = pushforwards(net, x)
    found = [[p.mT @ p if eta is None else p.mT @ eta @ p for p in P] for eta in etas or [None]]
    return found if len(etas) > 1 else found[0]


@torch.no_grad()
def error(found, expected) -> float:
    """The largest difference over several tensors, relative to the largest entry where that is above 1."""
    assert len(found) == len(expected)
    assert [a.shape for a in found] == [b.shape for b in expected]
    return max(float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in zip(found, expected, strict=True))
