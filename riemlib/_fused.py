r"""One compiled loop for small networks on the CPU: training (Eq. 15), and the metric at every layer (Eqs. 9, 10, 12).

`BLOCK` points go through all layers forward, then covectors go back through all layers. So what a layer keeps stays in the cache of a
core. A layer is $D_i \leftarrow \sum_j A_{ij} D_j + B_i f$ with $f = f(W D_0 + b)$ (see `networks`). A covector $u$ on the state after
the layer is pulled back through its Jacobian, one line of code for each term:

$$\bar z = f' \sum_i B_i u_i, \qquad u_j \leftarrow \sum_i A_{ij} u_i + [j = 0]\, W^T \bar z.$$

The trainer starts with the derivative of the loss by the output coordinates. Its gradients are $\bar z\, x^T$ for $W$ and $\bar z$ for $b$,
summed over the points (Eq. 15). The metric starts with the identity: its rows are the pushforward $P$ (Eq. 12), and $g = P^T P$ (Eq. 10).
`pull_back` is the same function for both.

The numbers of a block lie in lines of `BLOCK`, one for each component, in one flat array: component `a` of the coordinates at `o` is
`T[o + a * BLOCK + i]`. What the compiler needs to compute many points at once: unsigned indices, a constant length of the inner loop, a
width that it knows (`width` is a tuple, whose length is part of its type), few arrays, and no call of a library in the inner loop. So it
compiles once for a width and a dtype, and keeps the result on disk.
"""

import math
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numba.extending import overload

from ._registers import FLAGS, REGISTER, TILE, add_products, load, products, spread, store

U = nb.uint64
BLOCK = 64  # points
LANES = 16  # partial sums of a gradient, side by side
PAD = 16  # unused numbers between layers and between rows of P: at a distance of 4096 bytes they would share a place in the cache
TANH, RELU, SIGMOID, SOFTPLUS = range(4)
#: The digest of the code of `_registers`. Numba compiles anew what it keeps on disk when this file changes, but looks at no other file.
REGISTERS = "64c95e4766c6e2f3"

options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {*FLAGS}}
compiled, inlined = nb.njit(**options), nb.njit(forceinline=True, **options)


# The exponential, from which all four activations and the softmax are made, for float32 and float64.


def power_of_two(shifted):
    """2^k, for k + `shift` in floating point: the last bits of the sum are those of k, and become the exponent. Compiled for each dtype."""


@overload(power_of_two)
def _power_of_two(shifted):
    if shifted == types.float32:
        return lambda shifted: np.int32((np.int64(np.float32(shifted).view(np.int32)) << 23) + (127 << 23)).view(np.float32)
    return lambda shifted: np.int64((np.float64(shifted).view(np.int64) << 52) + (1023 << 52)).view(np.float64)


@inlined
def exponential(x, number):
    """2^k and (e^r - 1), so that e^x = 2^k e^r, with |r| <= log(2) / 2 and the Taylor polynomial of degree len(terms)."""
    real, (terms, shift) = type(x), number
    shifted = x * real(1.4426950408889634) + shift  # rounds x / log 2 to a whole number
    k = shifted - shift
    r = (x - k * real(0.693359375)) + k * real(2.12194440054690583e-4)  # log 2 in two parts, the first of few digits
    c = real(1)
    for j in range(2, len(terms) + 1):  # 1 / terms!, known to the compiler
        c = c / real(j)
    p = c
    for j in range(len(terms), 1, -1):
        c = c * real(j)
        p = p * r + c
    return power_of_two(shifted), p * r


@inlined
def expm1(x, number):
    """e^x - 1, right to rounding near 0 too."""
    scale, p = exponential(x, number)
    return scale * p + (scale - type(x)(1))


@inlined
def exp(x, number):
    """e^x for x <= 0, not below the least normal number."""
    scale, p = exponential(max(x, type(x)(-87)), number)
    return scale + scale * p


@inlined
def log1p(e, terms):
    """log(1 + e) for e in [0, 1]: twice the area hyperbolic tangent of e / (2 + e), as a series."""
    real = type(e)
    s = e / (real(2) + e)
    total = real(0)
    for j in range(2 * len(terms) + 7, 0, -2):
        total = total * s * s + real(1) / real(j)
    return real(2) * s * total


@inlined
def activate(F, T, slope, kind, number, width):
    """f and its derivative f' in place of z in F, and in T at `slope`, for all components of a block."""
    real = F.dtype.type
    one, limit, slope, size = real(1), real(40), U(slope), U(len(width)) * U(BLOCK)
    if kind == TANH:
        for i in range(size):
            e = expm1(min(max(F[i] + F[i], -limit), limit), number)
            f = e / (e + real(2))
            F[i], T[slope + i] = f, one - f * f
    elif kind == RELU:
        for i in range(size):
            T[slope + i] = one if F[i] > real(0) else real(0)
            F[i] = F[i] if F[i] > real(0) else F[i] * real(0)
    elif kind == SIGMOID:
        for i in range(size):
            e = exp(-abs(F[i]), number)  # of -|z|, so that it does not overflow
            f = one / (one + e)
            T[slope + i] = f * (one - f)
            F[i] = f if F[i] >= real(0) else e * f
    else:
        for i in range(size):
            z = F[i]
            e = exp(-abs(z), number)
            f = one / (one + e)
            T[slope + i] = f if z >= real(0) else e * f
            F[i] = max(z, real(0)) + log1p(e, number[0])


@inlined
def affine(out, W, w, lines, T, o, width):
    """z = W x + b: `lines` lines of `out`, from the coordinates at `o`. In `W` at `w` a line holds its weights, then its bias."""
    o, w, D = U(o), U(w), U(len(width))
    for a in range(U(lines)):
        for i in range(U(BLOCK)):
            z = W[w + a * (D + U(1)) + D]
            for c in range(D):
                z += W[w + a * (D + U(1)) + c] * T[o + c * U(BLOCK) + i]
            out[a * U(BLOCK) + i] = z


@inlined
def advance(T, o, after, F, A, l, width):
    """D_i <- sum_j A_ij D_j + B_i f: the state at `after`, from the state at `o` and f in F (Eqs. 1-4)."""
    o, after, size, l, entries = U(o), U(after), U(len(width)) * U(BLOCK), U(l), U(A.shape[1])
    for e in range(entries):
        a, b, to = A[l, e, 0], A[l, e, entries], after + e * size
        for i in range(size):
            T[to + i] = a * T[o + i] + b * F[i]
        for j in range(U(1), entries):
            a, source = A[l, e, j], o + j * size
            if a != 0:
                for i in range(size):
                    T[to + i] += a * T[source + i]


@inlined
def forward(T, F, W, lines, A, kind, number, width):
    """A block through all layers. T holds for each layer its state and its slopes f'; the points are its first state."""
    L, entries, D = A.shape[0], A.shape[1], len(width)
    layer = (entries + 1) * D * BLOCK + PAD
    for l in range(L):
        affine(F, W, l * lines * (D + 1), D, T, l * layer, width)
        activate(F, T, l * layer + entries * D * BLOCK, kind, number, width)
        advance(T, l * layer, (l + 1) * layer, F, A, l, width)


@inlined
def pull_back(C, u, apart, Z, T, slope, W, lines, A, l, width):
    """A covector on the state, its entries in C at `u` and so far apart, through the Jacobian of layer l (Eqs. 11, 15).

    Z becomes its value on z = W x + b.
    """
    u, apart, slope, w, l = U(u), U(apart), U(slope), U(l * lines * (len(width) + 1)), U(l)
    size, entries = U(len(width)) * U(BLOCK), U(A.shape[1])
    b = A[l, 0, entries]
    for i in range(size):  # Z = f' sum_i B_i u_i
        Z[i] = b * C[u + i] * T[slope + i]
    for e in range(U(1), entries):
        b, source = A[l, e, entries], u + e * apart
        if b != 0:
            for i in range(size):
                Z[i] += b * C[source + i] * T[slope + i]
    for j in range(entries - U(1), U(0), U(-1)):  # u_j = sum_i A_ij u_i; A is upper triangular, so the last comes first
        a, to = A[l, j, j], u + j * apart
        for i in range(size):
            C[to + i] *= a
        for e in range(j):
            a, source = A[l, e, j], u + e * apart
            if a != 0:
                for i in range(size):
                    C[to + i] += a * C[source + i]
    add_back(C, u, Z, W, w, A, l, width)


@inlined
def add_back(C, u, Z, W, w, A, l, width):
    """u_0 = A_00 u_0 + W^T Z, for some components at a time."""
    entries, line, D = U(A.shape[1]), U(len(width) + 1), U(len(width))
    if len(width) == 2:  # two sums, which LLVM keeps by itself, and in better order
        a = A[l, 0, 0]
        for i in range(U(BLOCK)):
            first, second = a * C[u + i], a * C[u + U(BLOCK) + i]
            for r in range(D):
                first += W[w + r * line] * Z[r * U(BLOCK) + i]
                second += W[w + r * line + U(1)] * Z[r * U(BLOCK) + i]
            C[u + i], C[u + U(BLOCK) + i] = first, second
    else:
        one, some = width[:1], width[:8]
        for c in range(U(0), D, U(len(some))):
            for i in range(U(0), U(BLOCK), U(REGISTER) // U(C.itemsize)):
                a, u_0 = spread(A, l * entries * (entries + U(1)), U(0), one), load(C, u + c * U(BLOCK) + i, U(BLOCK), some)
                u_0 = products(u_0, a)
                for r in range(D):
                    u_0 = add_products(u_0, spread(W, w + r * line + c, U(1), some), load(Z, r * U(BLOCK) + i, U(0), one))
                store(C, u + c * U(BLOCK) + i, U(BLOCK), U(0), one, u_0)


@inlined
def add_gradients(G, g, Z, lines, T, o, width):
    """Z x^T and Z, summed over the points in `LANES` partial sums (Eq. 15): the gradients of W and b, line by line, in G at `g`."""
    g, o, D = U(g), U(o), U(len(width))
    for a in range(U(lines)):
        for c in range(D):
            to = g + (a * (D + U(1)) + c) * U(LANES)
            for v in range(U(LANES)):
                total = G[to + v]
                for k in range(U(0), U(BLOCK), U(LANES)):
                    total += Z[a * U(BLOCK) + k + v] * T[o + c * U(BLOCK) + k + v]
                G[to + v] = total
        to = g + (a * (D + U(1)) + D) * U(LANES)
        for v in range(U(LANES)):
            total = G[to + v]
            for k in range(U(0), U(BLOCK), U(LANES)):
                total += Z[a * U(BLOCK) + k + v]
            G[to + v] = total


@inlined
def cross_entropy(Y, label, classes, count, share, number, M):
    """Of logits Y: the sum of the losses of `count` points. Y becomes the derivative by the logits, times `share`: softmax - [j = label].

    M holds three lines: the largest logit, the sum of e^(logit - largest) over the other classes, and logit - largest of the label.
    """
    real = Y.dtype.type
    for i in range(U(BLOCK)):
        M[i], M[U(BLOCK) + i], M[U(2 * BLOCK) + i] = Y[i], real(0), real(0)
    for j in range(U(1), U(classes)):
        for i in range(U(BLOCK)):
            M[i] = max(M[i], Y[j * U(BLOCK) + i])
    for j in range(U(classes)):
        for i in range(U(BLOCK)):
            shift = Y[j * U(BLOCK) + i] - M[i]
            e, own = exp(shift, number), label[i] == real(j)
            Y[j * U(BLOCK) + i] = e
            M[U(BLOCK) + i] += real(0) if own else e
            M[U(2 * BLOCK) + i] += shift if own else real(0)
    for i in range(U(BLOCK)):  # the sum over all classes; 1 where there is no point, so that its logarithm is 0
        M[i] = M[U(BLOCK) + i] + exp(M[U(2 * BLOCK) + i], number) if i < U(count) else real(1)
        M[U(2 * BLOCK) + i] = M[U(2 * BLOCK) + i] if i < U(count) else real(0)
    a, b, p, q = 1.0, 1.0, 0.0, 0.0  # the sum of the logarithms is that of a product
    for i in range(U(0), U(BLOCK), U(2)):
        a, b = a * M[i], b * M[i + U(1)]
        p, q = p + M[U(2 * BLOCK) + i], q + M[U(2 * BLOCK) + i + U(1)]
    loss = math.log(a * b) - (p + q)
    for i in range(U(BLOCK)):
        M[i] = share / M[i] if i < U(count) else real(0)
    for j in range(U(classes)):
        for i in range(U(BLOCK)):
            Y[j * U(BLOCK) + i] = -M[U(BLOCK) + i] * M[i] if label[i] == real(j) else Y[j * U(BLOCK) + i] * M[i]
    return loss


# Minibatches: the permutations that torch.randperm draws from a generator with the same seed (the Mersenne Twister MT19937, Matsumoto and
# Nishimura 1998, and the shuffle of Fisher and Yates). A state holds 624 words, and how many of them are used.

WORDS, MIDDLE, FULL = nb.uint64(624), nb.uint64(397), nb.uint32(624)


@compiled
def start_generator(state, seed):
    """The state that follows from a seed of 32 bits."""
    state[0], state[WORDS] = seed, FULL
    for i in range(U(1), WORDS):
        word = state[i - U(1)]
        state[i] = nb.uint32(nb.uint32(1812433253) * (word ^ (word >> nb.uint32(30))) + nb.uint32(i))


@inlined
def twist(upper, lower, other):
    """A new word from the upper bit of one, the lower bits of the next, and a third."""
    joined = (upper & nb.uint32(0x80000000)) | (lower & nb.uint32(0x7FFFFFFF))
    return other ^ (joined >> nb.uint32(1)) ^ (nb.uint32(0x9908B0DF) if lower & nb.uint32(1) else nb.uint32(0))


@compiled
def refill(state):
    """The next 624 words."""
    for i in range(WORDS - MIDDLE):
        state[i] = twist(state[i], state[i + U(1)], state[i + MIDDLE])
    for i in range(WORDS - MIDDLE, WORDS - U(1)):
        state[i] = twist(state[i], state[i + U(1)], state[i + MIDDLE - WORDS])
    state[WORDS - U(1)] = twist(state[WORDS - U(1)], state[0], state[MIDDLE - U(1)])


@compiled
def permute(state, rows):
    """The next permutation of the numbers of all rows."""
    n, used = len(rows), state[WORDS]
    for i in range(n):
        rows[i] = i
    for i in range(n - 1):
        if used == FULL:
            refill(state)
            used = nb.uint32(0)
        word = state[used]
        used += nb.uint32(1)
        word ^= word >> nb.uint32(11)
        word ^= (word << nb.uint32(7)) & nb.uint32(0x9D2C5680)
        word ^= (word << nb.uint32(15)) & nb.uint32(0xEFC60000)
        word ^= word >> nb.uint32(18)
        other = i + nb.int64(nb.uint32(word) % nb.uint32(n - i))
        rows[i], rows[other] = rows[other], rows[i]
    state[WORDS] = used


# Training.


@inlined
def sum_of(G, g):
    """The sum of the partial sums at `g`, four at a time."""
    g, a, b, c, d = U(g), G[g], G[g + 1], G[g + 2], G[g + 3]
    for v in range(U(4), U(LANES), U(4)):
        a, b, c, d = a + G[g + v], b + G[g + v + U(1)], c + G[g + v + U(2)], d + G[g + v + U(3)]
    return (a + b) + (c + d)


@compiled
def loss_and_gradient(x, label, rows, W, lines, dim, classes, A, kind, number, width, T, F, Z, C, G, M, own):
    """The mean loss of the points `rows`, and in G the partial sums of its gradient."""
    L, D, B, size = A.shape[0], len(width), len(rows), A.shape[1] * len(width) * BLOCK
    layer, loss, share, readout = size + D * BLOCK + PAD, 0.0, x.dtype.type(1 / len(rows)), A.shape[0] * lines * (len(width) + 1)
    G[:] = 0
    for first in range(0, B, BLOCK):
        count = min(BLOCK, B - first)
        for i in range(count):
            row = rows[first + i]
            own[i] = label[row]
            for c in range(x.shape[0]):
                T[c * BLOCK + i] = x[c, row]
        for i in range(count, BLOCK):  # no points: any will do, they get the weight 0
            own[i] = -1
            for c in range(x.shape[0]):
                T[c * BLOCK + i] = 0
        forward(T, F, W, lines, A, kind, number, width)
        affine(Z, W, readout, classes, T, L * layer, width)
        loss += cross_entropy(Z, own, classes, count, share, number, M)
        add_gradients(G, readout * LANES, Z, classes, T, L * layer, width)
        C[:] = 0
        for c in range(dim):  # the covector dE/dx^(L)
            for j in range(classes):
                w = W[readout + j * (D + 1) + c]
                for i in range(U(BLOCK)):
                    C[U(c * BLOCK) + i] += w * Z[U(j * BLOCK) + i]
        for l in range(L - 1, -1, -1):
            pull_back(C, 0, D * BLOCK, Z, T, l * layer + size, W, lines, A, l, width)
            add_gradients(G, l * lines * (D + 1) * LANES, Z, D, T, l * layer, width)
    return loss / B


@inlined
def adam(flat, gradient, mean, square, rate, number):
    """An update of Adam (Kingma and Ba 2015), number 1, 2, ...: the moments `mean` and `square` decay by 0.9 and 0.999."""
    real = flat.dtype.type
    step, root = real(rate / (1 - 0.9**number)), real(math.sqrt(1 - 0.999**number))
    for p in range(len(flat)):
        mean[p] += (gradient[p] - mean[p]) * real(0.1)
        square[p] = square[p] * real(0.999) + gradient[p] * gradient[p] * real(0.001)
        flat[p] -= step * mean[p] / (math.sqrt(square[p]) / root + real(1e-8))


@compiled
def sgd(flat, gradient, velocity, rate, momentum):
    """An update of stochastic gradient descent with momentum."""
    real = flat.dtype.type
    for p in range(len(flat)):
        velocity[p] = velocity[p] * real(momentum) + gradient[p]
        flat[p] -= real(rate) * velocity[p]


@compiled
def train(flat, moments, minibatches, points, network, rates, done, momentum, loss):
    """Some updates of every network, a row of `flat` each. Momentum below 0 stands for Adam.

    moments: (networks, 2, parameters). rates: one for each update. done: updates before these. loss: (networks, updates), written.
    minibatches: the states of the generators (networks, 625), the permutation of the points that each network draws its minibatches from
    (networks, n), how many it has drawn of them, and the size of a minibatch. points: x (d, n) and label (n,). network: the place of each
    number of each line in a row of `flat` (D weights and a bias for each line of each layer and of the readout; -1 for none), the width of
    the last layer, the number of classes, stencils, activation, precision, width.
    A network whose loss is no longer finite stops: its weights and its other losses become NaN.
    """
    generators, orders, used, batch = minibatches
    x, label = points
    where, dim, classes, A, kind, number, width = network
    L, entries, D, lines = A.shape[0], A.shape[1], len(width), max(len(width), classes)
    size, real = D * BLOCK, flat.dtype
    T, F, C = np.zeros((L + 1) * ((entries + 1) * size + PAD), real), np.zeros(size, real), np.zeros(entries * size, real)
    Z, M, own = np.zeros(lines * BLOCK, real), np.zeros(3 * BLOCK, real), np.zeros(BLOCK, real)
    W, G, gradient = np.zeros(len(where), real), np.zeros(len(where) * LANES, real), np.zeros(flat.shape[1], real)
    for s in range(len(flat)):
        for update in range(len(rates)):
            for q in range(len(where)):
                if where[q] >= 0:
                    W[q] = flat[s, where[q]]
            if used[s] + batch > len(label):
                permute(generators[s], orders[s])
                used[s] = 0
            rows = orders[s, used[s] : used[s] + batch]
            used[s] += batch
            value = loss_and_gradient(x, label, rows, W, lines, dim, classes, A, kind, number, width, T, F, Z, C, G, M, own)
            loss[s, update] = value
            if not math.isfinite(value):
                loss[s, update:] = math.nan
                flat[s] = math.nan
                break  # in later calls its loss is NaN at once
            gradient[:] = 0
            for q in range(len(where)):
                if where[q] >= 0:  # layers that share weights add up
                    gradient[where[q]] += sum_of(G, q * LANES)
            if momentum < 0:
                adam(flat[s], gradient, moments[s, 0], moments[s, 1], rates[update], done + update + 1)
            else:
                sgd(flat[s], gradient, moments[s, 0], rates[update], momentum)


# The metric.


@inlined
def aligned(size, real):
    """Zeros, from a multiple of the size of a register on: one that lies in two lines of the cache takes twice as long."""
    room = np.zeros(size + REGISTER, real)
    start = (REGISTER - room.ctypes.data % REGISTER) // room.itemsize
    return room[start : start + size]


@compiled
def sweep(first, dim, W, lines, lowest, A, kind, number, width, x, P, g, start, stop):
    """Coordinates, pushforwards and metrics at every layer, for the points `start` to `stop`, which is at least `BLOCK`.

    first: the state at layer 0, (n, entries × dim). Written, where they are not empty: x (L + 1, D, n); P (layers, D, entries × D, n) at
    the layers from `lowest` on, or at this layer alone; and g (L + 1, entries × D, entries × D, n). The last block ends with the last
    point, so it may overlap the one before.
    """
    L, entries, D, size, real = A.shape[0], A.shape[1], len(width), A.shape[1] * len(width) * BLOCK, first.dtype
    layer, row = size + D * BLOCK + PAD, D * BLOCK + PAD
    T, F = aligned((L + 1) * layer, real), aligned(D * BLOCK, real)
    Z, C = aligned(D * BLOCK, real), aligned(entries * D * row, real)
    for block in range(start, stop, BLOCK):
        at = min(block, stop - BLOCK)
        for c in range(first.shape[1]):
            for i in range(BLOCK):
                T[(c // dim * D + c % dim) * BLOCK + i] = first[at + i, c]
        forward(T, F, W, lines, A, kind, number, width)
        C[:] = 0
        for r in range(D):  # the covectors dx, the rows of the identity
            C[r * row + r * BLOCK : r * row + (r + 1) * BLOCK] = 1
        for l in range(L, lowest - 1, -1):
            if l < L:
                for r in range(D):
                    pull_back(C, r * row, D * row, Z, T, l * layer + size, W, lines, A, l, width)
            if len(x):
                for c in range(D):
                    for i in range(U(BLOCK)):
                        x[U(l), U(c), U(at) + i] = T[U(l * layer + c * BLOCK) + i]
            if len(P) > l - lowest:
                for r in range(D):
                    for e in range(entries):
                        for c in range(D):
                            for i in range(U(BLOCK)):
                                P[U(l - lowest), U(r), U(e * D + c), U(at) + i] = C[U((e * D + r) * row + c * BLOCK) + i]
            if len(g):
                gram(C, g, l, at, width)


@compiled
def gram(C, g, l, at, width):
    """g = P^T P for a block, from P in C: its entries, in each of them its rows, in each of these its components (Eq. 10).

    A tile of g on or below the diagonal, and its mirror image.
    """
    l, at, D, total, n, row = U(l), U(at), U(len(width)), U(g.shape[1]), U(g.shape[3]), U(len(width) * BLOCK + PAD)
    tile = width[:TILE]
    for i in range(U(0), U(BLOCK), U(REGISTER) // U(C.itemsize)):
        for a in range(U(0), total, U(len(tile))):
            first = a // D * D * row + a % D * U(BLOCK) + i
            for c in range(U(0), a + U(1), U(len(tile))):
                second = c // D * D * row + c % D * U(BLOCK) + i
                sums = products(load(C, first, U(BLOCK), tile), load(C, second, U(BLOCK), tile))
                for k in range(U(1), U(len(width))):  # g_ac = sum_k P_ka P_kc
                    sums = add_products(sums, load(C, first + k * row, U(BLOCK), tile), load(C, second + k * row, U(BLOCK), tile))
                store(g, ((l * total + a) * total + c) * n + at + i, total * n, n, tile, sums)
                if a != c:
                    store(g, ((l * total + c) * total + a) * n + at + i, n, total * n, tile, sums)
