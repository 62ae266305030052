# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Appendix · The infinite product, and the definitions
#
# The paper defers two things to an appendix that we could not find: a proof that the product of Eq. 12 converges as the layers become infinitely many, and the definitions of the bundles of section 5. Here is a proof of our own, with an explicit bound on the error, next to the numbers it predicts; and each definition with an example that a computer can check.

# %% tags=["parameters"]
seed: int = 0  # seed of everything random
depths: list = [10, 20, 40, 80, 160, 320, 640]  # numbers of factors; orders are fitted over the last four
device: str = "cpu"  # where the network lives

# %%
import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.integrate import solve_ivp

import riemlib as rl
from riemlib import evidence, flow, ledger, notebook
from riemlib.figures import flow as draw
from riemlib.figures import save

# %%
notebook.opening("the appendix", device=device)

# %% [markdown]
# ## The theorem
#
# Let $A:[0,1]\to\mathbb R^{d\times d}$ be **bounded and Riemann-integrable** (each entry; it may jump), and put $M=\sup_l\lVert A(l)\rVert$ in an operator norm. For a partition $0=l(0)<\dots<l(L)=1$ with steps $h_n=l(n+1)-l(n)$ let
#
# $$P_L=\prod_{n=L-1}^{0}\bigl[I+A(l(n))\,h_n\bigr],\qquad\text{last factor leftmost.}\tag{12}$$
#
# **Theorem.** As $\max_n h_n\to0$, $P_L$ converges to the path-ordered exponential $P=\Phi(1,0)$, the solution of $\Phi(l,s)=I+\int_s^lA(t)\,\Phi(t,s)\,dt$. More exactly, with the oscillation $\omega_n=\sup\{\lVert A(l)-A(l(n))\rVert: l(n)\le l\le l(n+1)\}$,
#
# $$\lVert P_L-P\rVert\;\le\;e^{M}\Bigl(\sum_n\omega_nh_n+\tfrac{M^2}{2}\sum_nh_n^2\Bigr).\tag{A.1}$$
#
# **Proof.** *The limit exists.* $A$ is bounded and measurable, so the series $\Phi(l,s)=I+\int_s^lA(t_1)dt_1+\int_s^l\!\int_s^{t_1}A(t_1)A(t_2)\,dt_2dt_1+\dots$ converges absolutely, its $k$-th term being at most $M^k(l-s)^k/k!$. It solves the integral equation, $\Phi(l,s)\Phi(s,r)=\Phi(l,r)$ by uniqueness (Gronwall), and
# $$\lVert\Phi(l,s)\rVert\le e^{M(l-s)},\qquad \lVert\Phi(l,s)-I\rVert\le e^{M(l-s)}-1.\tag{A.2}$$
#
# *One factor.* Write $A_n=A(l(n))$ and $\Phi_n=\Phi(l(n+1),l(n))$. By the integral equation
# $$\Phi_n-(I+A_nh_n)=\int_{l(n)}^{l(n+1)}\bigl(A(t)-A_n\bigr)dt+\int_{l(n)}^{l(n+1)}A(t)\bigl(\Phi(t,l(n))-I\bigr)dt.$$
# The first integral is at most $\omega_nh_n$. The second, by A.2, is at most $\int_0^{h_n}M(e^{Mt}-1)\,dt=e^{Mh_n}-1-Mh_n\le\tfrac{M^2h_n^2}{2}e^{Mh_n}$.
#
# *All factors.* Exchange the factors of $\Phi(1,0)=\Phi_{L-1}\cdots\Phi_0$ for those of $P_L$ one at a time, starting at the right end:
# $$P-P_L=\sum_n\Bigl[\prod_{m=L-1}^{n+1}(I+A_mh_m)\Bigr]^{\phantom{|}}\bigl[\Phi_n-(I+A_nh_n)\bigr]\,\Phi(l(n),0)\;.$$
# (The sum telescopes: its $n$-th term is the difference of $\prod_{m>n}(I+A_mh_m)\,\Phi(l(n+1),0)$ and $\prod_{m\ge n}(I+A_mh_m)\,\Phi(l(n),0)$.) The bracket on the left is at most $\prod_{m>n}(1+Mh_m)\le e^{M(1-l(n+1))}$, the factor on the right at most $e^{Ml(n)}$. Together they are $e^{M(1-h_n)}$, and with the bound on one factor the exponentials are at most $e^M$. This is A.1.
#
# *Why it goes to zero.* $\sum h_n^2\le\max h_n$. And $\sum\omega_nh_n\to0$ is what Riemann-integrability says (Darboux): the oscillation of each entry, weighted by the lengths, vanishes with the mesh. $\square$
#
# **How fast.** If $A$ is Lipschitz with constant $K$, then $\omega_n\le Kh_n$ and the error is at most $e^M(K+\tfrac12M^2)\sum h_n^2=O(\max h_n)$. If $A$ is of bounded variation $V$, jumps and all, $\sum\omega_nh_n\le V\max h_n$: order 1 again. In between the oscillation sum may go to zero as slowly as it likes. If $A$ is *not* Riemann-integrable there is no theorem: for $A(l)=B$ at rational and $0$ at irrational $l$ the product tends to $e^{B}$ or to $I$, depending on where the layers happen to stand.
#
# **Consequences.** In the limit
# $$\lVert P\rVert\le e^{\int\lVert A\rVert},\qquad \det P=e^{\int\operatorname{tr}A}>0,\qquad \frac{dg}{dl}=-(A^{\mathsf T}g+gA)\ \text{ for }\ g(l)=\Phi(1,l)^{\mathsf T}\eta\,\Phi(1,l).\tag{A.3}$$
# The first is A.2 with $\lVert A\rVert$ kept under the integral; the second is Liouville's formula, since $\det(I+Ah)=1+h\operatorname{tr}A+O(h^2)$; the third follows from $\partial_l\Phi(1,l)=-\Phi(1,l)A(l)$, and is the continuous form of Eq. 9, read from the output backwards. The limit is therefore always invertible and keeps orientation, whatever single layers do.
#
# **Networks.** There the factors are $A^{(L)}_n=\operatorname{diag}\sigma'(z)\,W$ at the *network's* point $x^{(n)}$, not at the solution's $x(l(n))$. Exchanging one for the other adds $e^{M}\sum_n\lVert A^{(L)}_n-A(l(n))\rVert\,h_n$ to A.1 (the same telescope, $M$ bounding both), of the order of Euler's error in $x$. It also says what has to hold for Eq. 12 to converge at all: the weights have to follow an integrable path in $l$, which training does not guarantee (section 3).

# %% [markdown]
# ## The numbers
#
# Four paths $A(l)$: one smooth; one with a jump; one with jumps at every rational number, Thomae's function times a matrix, Riemann-integrable all the same; and the Jacobians of a network along its own trajectory. For the first two $M$ and the oscillations are known in closed form, so the bound is computed without sampling; for the network they are taken on a grid. (The smooth path is one of several we tried, chosen because its matrices do not nearly commute: the control, the wrong order, then has something to show.)

# %%
A, _ = flow.smooth_field(2, seed=seed + 4, scale=0.8)
norm = partial(torch.linalg.matrix_norm, ord=2)
modes = torch.arange(1, len(A.cosine) + 1)
swing = norm(A.cosine) + norm(A.sine)
M = float(norm(A.constant) + swing.sum())
K = float(2 * math.pi * (modes * swing).sum())
print(f"smooth path: |A| is at most M = {M:.2f}, its Lipschitz constant at most K = {K:.2f}")

# %%
jump = torch.tensor([[0.0, 0.5], [-0.3, 0.2]], dtype=torch.float64)
cut = 1 / math.sqrt(2)
M_jump = M + float(norm(jump))


def B(l):
    return A(l) + (l >= cut)[..., None, None] * jump


def size(matrix):
    return float(norm(torch.as_tensor(matrix)))


uniform = [flow.partition(depth) for depth in depths]
starts = [torch.tensor([0.0, *steps[:-1]], dtype=torch.float64).cumsum(0) for steps in uniform]
oscillation = [K * np.array(steps) for steps in uniform]
crossed = [((l < cut) & (cut <= l + 1 / len(l))).numpy() * float(norm(jump)) for l in starts]

# %%
exact = flow.path_ordered_exponential(A, 2)
exact_jump = flow.path_ordered_exponential(B, 2, breaks=[cut])
smooth = [size(flow.ordered_product(A(l), steps) - exact) for l, steps in zip(starts, uniform, strict=True)]
broken = [size(flow.ordered_product(B(l), steps) - exact_jump) for l, steps in zip(starts, uniform, strict=True)]
reverse = [size(flow.ordered_product(A(l), steps, reverse=True) - exact) for l, steps in zip(starts, uniform, strict=True)]
bound = [flow.product_bound(M, omega, steps) for omega, steps in zip(oscillation, uniform, strict=True)]
bound_jump = [flow.product_bound(M_jump, omega + jumped, steps) for omega, jumped, steps in zip(oscillation, crossed, uniform, strict=True)]

# %% [markdown]
# Thomae's function is $1/q$ at $p/q$ in lowest terms and 0 at the irrationals. Its integral is 0, so the limit is $e^{C}$ when it is added, times a matrix, to a constant $C$. On the interval $[n/L,(n+1)/L]$ it oscillates by $1/q$ with the least $q$ that has a multiple in $[nq/L,(n+1)q/L]$. The layers stand at the rationals $n/L$, where it does not vanish: the worst choice.

# %%
constant = A.constant
dense, bound_dense = [], []
for depth, steps in zip(depths, uniform, strict=True):
    n = np.arange(depth)
    value = torch.from_numpy(np.gcd(n, depth) / depth)
    product = flow.ordered_product(constant + value[:, None, None] * jump, steps)
    dense.append(size(product - torch.linalg.matrix_exp(constant)))
    q = np.arange(1, depth + 1)[:, None]
    least = q[:, 0][(-(-n * q // depth) <= (n + 1) * q // depth).argmax(0)]
    bound_dense.append(flow.product_bound(float(norm(constant) + norm(jump)), float(norm(jump)) / least, steps))

# %% [markdown]
# For the network the path is the exact trajectory's $A(l)=\operatorname{diag}\sigma'(z(l))\,W(l)$, which a fine solution supplies; its oscillations and $M$ are taken on a grid sixteen times finer than the finest partition. The reference solves the equation of $x$ and its variation together.

# %%
W, b = flow.smooth_field(2, seed=seed + 1, scale=0.8)
x = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
fine = 16 * math.lcm(*depths)
l = torch.arange(fine + 1, dtype=torch.float64) / fine
coarse = torch.linspace(0, 1, 2001, dtype=torch.float64)
path = torch.cat([x[None], flow.solve(W, b, x, at=coarse[1:].tolist())])[:, 0]
path = torch.from_numpy(np.stack([np.interp(l, coarse, component) for component in path.T], 1))
slope = 1 - torch.tanh((W(l) @ path[..., None])[..., 0] + b(l)) ** 2
along = slope[..., None] * W(l)
M_net = float(norm(along).max())

# %%
def variational(l, state):
    at = torch.tensor(l, dtype=torch.float64)
    y, P = torch.from_numpy(state[:2]), torch.from_numpy(state[2:]).reshape(2, 2)
    f = torch.tanh(W(at) @ y + b(at))
    return torch.cat([f, ((1 - f**2)[:, None] * W(at) @ P).ravel()]).numpy()


solution = solve_ivp(variational, (0, 1), [*x[0].tolist(), 1, 0, 0, 1], method="DOP853", rtol=1e-12, atol=1e-13)
exact_net = torch.from_numpy(solution.y[2:, -1].reshape(2, 2))

# %%
through, bound_net = [], []
for depth, steps in zip(depths, uniform, strict=True):
    net = flow.discretise(W, b, steps)
    through.append(size(rl.pushforward(net, x)[0] - exact_net))
    own = (torch.cat(rl.jacobians(net, x)) - torch.eye(2, dtype=torch.float64)) * depth
    at = along[:-1].unflatten(0, (depth, -1))
    omega = norm(torch.cat([at, along[fine // depth :: fine // depth, None]], 1) - at[:, :1]).amax(1)
    moved = norm(own - at[:, 0])
    bound_net.append(flow.product_bound(max(M_net, float(norm(own).max())), (omega + moved).numpy(), steps))

# %%
h = [1 / depth for depth in depths]


def fit(errors):
    return flow.order_of_convergence(h[-4:], errors[-4:])


curves = {
    "smooth": (smooth, bound, fit(smooth)),
    "one jump": (broken, bound_jump, None),
    "Thomae": (dense, bound_dense, None),
    "network": (through, bound_net, fit(through)),
}
fig = draw.products(h, curves, reverse)
save(fig, "appendix_product")
plt.show()

# %% [markdown]
# The error of the jump goes up and down with the place of the jump between two layers, and Thomae's with the divisors of $L$; both stay under their bounds, which go to zero. The bound is far from sharp, as bounds with $e^M$ are. It is what it claims to be: never crossed. Multiplied in the wrong order the product converges as well, to something else.

# %%
for name, (error, over, _) in curves.items():
    ratio = [e / o for e, o in zip(error, over, strict=True)]
    print(f"{name}: error at most {max(ratio):.2f} of the bound; bound falls from {over[0]:.2g} to {over[-1]:.2g}")
    assert max(ratio) <= 1 and over[-1] < over[0] / 8

# %% [markdown]
# The consequences A.3, for the smooth path: the norm, the determinant, and the flow of $g$ (integrated from the output back to the input and compared with $P^{\mathsf T}P$ and, at finite depth, with the network's own metric, Eq. 10).

# %%
grid = torch.linspace(0, 1, 20001, dtype=torch.float64)
along_path = A(grid)
work = float(torch.trapezoid(norm(along_path), grid))
liouville = abs(float(torch.linalg.det(exact)) / math.exp(float(torch.trapezoid(along_path.diagonal(dim1=-2, dim2=-1).sum(-1), grid))) - 1)
print(f"|P| = {size(exact):.3f}, at most exp∫|A| = {math.exp(work):.3f}")
print("det P equals exp∫tr A to", ledger.power(liouville))
assert size(exact) <= math.exp(work) and liouville < 1e-8

# %%
def metric_flow(l, g):
    A_l, g = A(torch.tensor(l, dtype=torch.float64)).numpy(), g.reshape(2, 2)
    return -(A_l.T @ g + g @ A_l).ravel()


backwards = solve_ivp(metric_flow, (1, 0), np.eye(2).ravel(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
flow_of_g = evidence.deviation(torch.from_numpy(backwards.reshape(2, 2)), exact.mT @ exact)
print("the flow of g equals PᵀP to", ledger.power(flow_of_g))
metric = exact_net.mT @ exact_net
discrete = [evidence.deviation(rl.pullback_metrics(flow.discretise(W, b, steps), x)[0][0], metric) for steps in uniform]
print(f"the network's metric tends to the flow's with order {fit(discrete).value:.2f}")
assert flow_of_g < 1e-9

# %%
dets = {depth: float(torch.linalg.det(flow.ordered_product(A(l), steps))) for depth, l, steps in zip(depths, starts, uniform, strict=True)}
det_error = [abs(det - float(torch.linalg.det(exact))) for det in dets.values()]
measured = {"smooth A": fit(smooth), "network (Eq. 12)": fit(through), "metric at the input (Eq. 10)": fit(discrete), "det P": fit(det_error)}
assert all(det > 0 for det in dets.values())

# %% tags=["nbval-check-output"]
notebook.decide(
    "product-converges",
    ledger.order_of(1, measured, {"wrong order": fit(reverse)}),
    {
        **measured,
        "wrong order of the factors": fit(reverse),
        "largest error over the proof's bound": {name: max(e / o for e, o in zip(error, over, strict=True)) for name, (error, over, _) in curves.items()},
        "det P against exp∫tr A": liouville,
        "flow of g against PᵀP": flow_of_g,
        "norm of P and its bound": (size(exact), math.exp(work)),
    },
    protocol="Uniform partitions, spectral norm, reference by scipy's DOP853 at 1e-12; orders with 95 % t-intervals over the four finest depths. The error lies under A.1 at every depth for every path (asserted). Control: the product with its factors reversed.",
)

# %% [markdown]
# ## The definitions
#
# **Lie group.** A smooth manifold that is a group, with smooth multiplication and inversion. $SO(2)$ is the circle of angles with addition; $GL(d,\mathbb R)$ is the open set $\det\ne0$ of all matrices.
#
# **Action.** A left action of $G$ on $F$ satisfies $e\triangleright f=f$ and $(ab)\triangleright f=a\triangleright(b\triangleright f)$; a right action $(f\triangleleft a)\triangleleft b=f\triangleleft(ab)$. An action is *free* if only $e$ fixes anything. Each left action gives a right one by $f\triangleleft a=a^{-1}\triangleright f$.
#
# **Example: rotated images.** $SO(2)$ acts on pictures from the left by $(R\triangleright f)(u)=f(R^{-1}u)$. Take a picture given by a formula, so that a rotation is exact and needs no interpolation: two Gaussian blobs. Its orbit is a circle in pixel space (§2 studies it as a manifold). The action is free on this orbit; if the blobs face each other across the centre it is not: the half turn fixes the picture, and the orbit is the circle $SO(2)/\{\pm1\}$, run through twice.

# %%
pixel = torch.linspace(-1, 1, 24, dtype=torch.float64)
u = torch.cartesian_prod(pixel, pixel).flip(1)
uneven = torch.tensor([[0.5, 0.0], [0.1, 0.45]], dtype=torch.float64)
even = torch.tensor([[0.5, 0.1], [-0.5, -0.1]], dtype=torch.float64)


def rotation(angle):
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)


def picture(centres):
    return lambda u: torch.exp(-torch.cdist(u, centres) ** 2 / 0.06).sum(1)


def act(R, f):
    return lambda u: f(torch.linalg.solve(R, u.mT).mT)  # (R ▷ f)(u) = f(R⁻¹ u)


f, a, c = picture(uneven), rotation(0.7), rotation(1.9)

# %%
axioms = {
    "identity": float((act(rotation(0.0), f)(u) - f(u)).abs().max()),
    "left action": float((act(a @ c, f)(u) - act(a, act(c, f))(u)).abs().max()),
    "right action by inverses": float((act((a @ c).T, f)(u) - act(c.T, act(a.T, f))(u)).abs().max()),
    "half turn fixes the even picture": float((act(rotation(math.pi), picture(even))(u) - picture(even)(u)).abs().max()),
}
shear = torch.tensor([[1.0, 0.8], [0.0, 1.0]], dtype=torch.float64)  # in GL(2), not in SO(2)
wrong = {
    "order matters beyond SO(2)": float((act(shear @ a, f)(u) - act(a, act(shear, f))(u)).abs().max()),
    "half turn moves the uneven picture": float((act(rotation(math.pi), f)(u) - f(u)).abs().max()),
}
print(ledger.identity(axioms, wrong))
assert ledger.identity(axioms, wrong).verdict == "confirmed"

# %%
angles = torch.linspace(0, 2 * math.pi, 121)[:-1].tolist()
orbit = torch.stack([act(rotation(angle), f)(u) for angle in angles])
centred = orbit - orbit.mean(0)
plane = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T
shown = list(range(0, 120, 24))
draw.orbit(orbit[shown].unflatten(1, (24, 24)), torch.cat([plane, plane[:1]]), plane[shown])
plt.show()

# %% [markdown]
# **Bundle, fibre bundle.** A bundle is a continuous surjection $\pi:E\to M$; the preimage of a point is its fibre. It is a *fibre bundle* if all fibres are alike and it is locally a product: over small $U\subset M$ there are charts $\pi^{-1}(U)\cong U\times F$. Where two charts overlap they differ by a *transition function* $t_{ij}:U_i\cap U_j\to G$ acting on $F$, and on triple overlaps $t_{ij}t_{jk}=t_{ik}$. The transition functions are all there is: they glue the bundle. A principal bundle has $F=G$, an associated bundle has any $F$ that $G$ acts on, with the same $t_{ij}$ (section 5).
#
# **Example: two line bundles over the circle.** Cover the circle by arcs, each overlapping the next. The fibre is $\mathbb R$, the group $\{\pm1\}$. With every $t=+1$ the glued bundle is a cylinder; with a single $-1$ it is the Möbius band.

# %%
draw.bands()
plt.show()

# %% [markdown]
# Locally nobody can tell them apart: turning over the fibre in arc $i$, by $s_i=\pm1$, changes the transition functions to $s_i\,t_{i,i+1}\,s_{i+1}^{-1}$ and not the bundle. What survives every such change is the product around the circle. It is $+1$ for the cylinder, $-1$ for the Möbius band; so no choice makes all of the latter's transitions $+1$, and it is no product $S^1\times\mathbb R$. The same number decides whether the bundle has a section without zeros, that is a global frame: going once around, a frame would return as its negative.

# %%
generator = torch.Generator().manual_seed(seed)
arcs, trials = 7, 500
cylinder, moebius = torch.ones(arcs), torch.ones(arcs)
moebius[3] = -1
flips = 2.0 * torch.randint(0, 2, (trials, arcs), generator=generator) - 1
around = {name: (flips * t * flips.roll(-1, 1)).prod(1) for name, t in (("cylinder", cylinder), ("Möbius band", moebius))}
for name, product in around.items():
    print(f"{name}: product around the circle {sorted(set(product.int().tolist()))} in {trials} choices of charts")
assert (around["cylinder"] == 1).all() and (around["Möbius band"] == -1).all()

# %% [markdown]
# **The frame bundle** of section 5 is such a bundle, with $F=G=GL(d,\mathbb R)$. On a data manifold with global coordinates, such as the plane, one chart suffices: the coordinates of layer $l$ give a global frame, and those of layer $l+1$ another. The layer's Jacobian is the transition function between the two, and the cocycle condition $t_{02}=t_{01}t_{12}$ is the chain rule.

# %%
net = rl.CkNetwork([2] * 6, step=0.5, seed=seed, dtype=torch.float64, device=device)
x = torch.randn(50, 2, dtype=torch.float64, generator=generator).to(device)
first, last = rl.pushforward(flow.head(net, 2), x), rl.pushforward(net, x, 2)
with torch.no_grad():
    at_2 = net.coordinates(x)[2]
cocycle = evidence.deviation(rl.pushforward(net, x, 2) @ first, rl.pushforward(net, x))
swapped = evidence.deviation(first @ last, rl.pushforward(net, x))
print("cocycle condition holds to", ledger.power(cocycle), "; with the factors exchanged it is off by more than", ledger.power(swapped, up=False))
assert cocycle < 1e-12 and swapped > 1e-3

# %%
notebook.closing(seed=seed)
