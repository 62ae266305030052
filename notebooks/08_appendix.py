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
# # Appendix: the infinite product, and the definitions
#
# The paper leaves two things to an appendix that we could not find. One is a proof that the product of Eq. 12 converges as the layers become infinitely many. The other is the definitions of the bundles of section 5. Here is a proof of our own, with an explicit bound on the error, next to the numbers that it predicts. Each definition has an example that a computer can check.

# %% tags=["parameters"]
seed: int = 0  # seed of everything random
depths: list = [10, 20, 40, 80, 160, 320, 640]  # numbers of factors; orders are fitted over the last four
trained_depths: list = [20, 40, 80, 160, 320, 640]  # layers of the trained networks, those of section 3
trained_seeds: int = 20  # networks trained at each of them, from each start
updates: int = 3000  # Adam updates each
device: str = "cpu"  # where the network lives

# %%
import math
from functools import partial
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.integrate import solve_ivp

import riemlib as rl
from riemlib import limits
from riemlib.companion import deep, notebook, rules, statistics
from riemlib.companion.figures import save, section3

notebook.opening("the appendix", device=device, time="a minute, where section 3 was run before")

# %% [markdown]
# ## The theorem
#
# Let $A:[0,1]\to\mathbb R^{d\times d}$ be **bounded and Riemann-integrable** in each entry. It may jump. Put $\alpha=\sup_l\lVert A(l)\rVert$ in an operator norm. For a partition $0=l(0)<\dots<l(L)=1$ with steps $\Delta l_n=l(n+1)-l(n)$ (Eq. 7) let
#
# $$P_L=\prod_{n=L-1}^{0}\bigl[I+A(l(n))\,\Delta l_n\bigr],\qquad\text{last factor leftmost.}\tag{12}$$
#
# **Theorem.** As $\max_n \Delta l_n\to0$, $P_L$ converges to the path-ordered exponential $P=\Phi(1,0)$. Here $\Phi$ is the solution of $\Phi(l,s)=I+\int_s^lA(t)\,\Phi(t,s)\,dt$. More exactly, with the oscillation $\omega_n=\sup\{\lVert A(l)-A(l(n))\rVert: l(n)\le l\le l(n+1)\}$,
#
# $$\lVert P_L-P\rVert\;\le\;e^{\alpha}\Bigl(\sum_n\omega_n\,\Delta l_n+\tfrac{\alpha^2}{2}\sum_n\Delta l_n^2\Bigr).\tag{A.1}$$
#
# **Proof.** *The limit exists.* $A$ is bounded and measurable. So the series $\Phi(l,s)=I+\int_s^lA(t_1)dt_1+\int_s^l\!\int_s^{t_1}A(t_1)A(t_2)\,dt_2dt_1+\dots$ converges absolutely: its $k$-th term is at most $\alpha^k(l-s)^k/k!$. It solves the integral equation. By uniqueness (Gronwall) $\Phi(l,s)\Phi(s,r)=\Phi(l,r)$, and
# $$\lVert\Phi(l,s)\rVert\le e^{\alpha(l-s)},\qquad \lVert\Phi(l,s)-I\rVert\le e^{\alpha(l-s)}-1.\tag{A.2}$$
#
# *One factor.* Write $A_n=A(l(n))$ and $\Phi_n=\Phi(l(n+1),l(n))$. By the integral equation
# $$\Phi_n-(I+A_n\,\Delta l_n)=\int_{l(n)}^{l(n+1)}\bigl(A(t)-A_n\bigr)dt+\int_{l(n)}^{l(n+1)}A(t)\bigl(\Phi(t,l(n))-I\bigr)dt.$$
# The first integral is at most $\omega_n\,\Delta l_n$. The second, by A.2, is at most $\int_0^{\Delta l_n}\alpha(e^{\alpha t}-1)\,dt=e^{\alpha \Delta l_n}-1-\alpha \Delta l_n\le\tfrac{\alpha^2\Delta l_n^2}{2}e^{\alpha \Delta l_n}$.
#
# *All factors.* Replace the factors of $\Phi(1,0)=\Phi_{L-1}\cdots\Phi_0$ by those of $P_L$ one at a time, starting at the left end:
# $$P-P_L=\sum_n\Bigl[\prod_{m=L-1}^{n+1}(I+A_m\,\Delta l_m)\Bigr]^{\phantom{|}}\bigl[\Phi_n-(I+A_n\,\Delta l_n)\bigr]\,\Phi(l(n),0)\;.$$
# (The sum telescopes. Its $n$-th term is the difference of $\prod_{m>n}(I+A_m\,\Delta l_m)\,\Phi(l(n+1),0)$ and $\prod_{m\ge n}(I+A_m\,\Delta l_m)\,\Phi(l(n),0)$.) The bracket on the left is at most $\prod_{m>n}(1+\alpha \Delta l_m)\le e^{\alpha(1-l(n+1))}$. The factor on the right is at most $e^{\alpha l(n)}$. Their product is at most $e^{\alpha(1-\Delta l_n)}$. Together with the bound on one factor, the exponentials are at most $e^\alpha$. This is A.1.
#
# *Why the bound goes to zero.* $\sum \Delta l_n^2\le\max \Delta l_n$. And $\sum\omega_n\,\Delta l_n\to0$ is what Riemann-integrability says (Darboux): the oscillations of each entry, weighted by the lengths of the intervals, vanish with the mesh. $\square$
#
# **The bound is sharp where $A$ is constant.** For $A=\alpha I$ all $\omega_n$ are 0, and on uniform steps $\lVert P_L-P\rVert=e^\alpha-(1+\alpha/L)^L$. Its ratio to A.1 tends to 1. So the second sum cannot have a smaller factor.
#
# **How fast.** If $A$ is Lipschitz with constant $\beta$, then $\omega_n\le\beta \Delta l_n$, and the error is at most $e^\alpha(\beta+\tfrac12\alpha^2)\sum \Delta l_n^2=O(\max \Delta l_n)$. If $A$ is of bounded variation, with or without jumps, $\sum\omega_n\,\Delta l_n$ is at most the total variation times $\max\Delta l_n$, which is order 1 again. For other Riemann-integrable $A$ the sum of the oscillations may go to zero arbitrarily slowly.
#
# If $A$ is *not* Riemann-integrable, the product need not have one limit. An example is $A(l)=I$ at rational and $0$ at irrational $l$. The product tends to $e\,I$ where the layers stand at rational $l$, and to $I$ where all but the first stand at irrational $l$.
#
# **Consequences.** Let $\eta$ be the Euclidean output metric (Eq. 8), and $g(l)=\Phi(1,l)^{\mathsf T}\eta\,\Phi(1,l)$. In the limit
# $$\lVert P\rVert\le e^{\int\lVert A\rVert},\qquad \det P=e^{\int\operatorname{tr}A}>0,\qquad \frac{dg}{dl}=-(A^{\mathsf T}g+gA).\tag{A.3}$$
#
# 1. The first is A.2 with $\lVert A\rVert$ kept under the integral.
# 2. The second is Liouville's formula, since $\det(I+A\,\Delta l)=1+\Delta l\operatorname{tr}A+O(\Delta l^2)$. So the limit is always invertible and keeps orientation. So does every layer as soon as $\alpha\max_n\Delta l_n<1$.
# 3. The third holds for almost every $l$. It follows from $\partial_l\Phi(1,l)=-\Phi(1,l)A(l)$. It is the continuous form of Eq. 9 along the way $x(l)$ of one input point.
#
# At a fixed place $x$ the third reads $\partial_lg+\mathcal L_fg=0$, where $f$ is smooth enough for $g$ to have derivatives in $x$. $\mathcal L_f$ is the Lie derivative along the vector field $f(x;l)$ of Eq. 5. The limit of Eq. 15 is the same operator on covectors, $dp/dl=-pA$ for a row $p$ (section 6).
#
# ## Networks
#
# In a network the path $A$ is not given. With the activation $f$, applied to each component, its factors are $A^{(L)}_n=\operatorname{diag}f'(z_n)\,W(l(n))$ with $z_n=W(l(n))\,x^{(n)}+b(l(n))$, at the network's own point $x^{(n)}$. So the hypotheses are on $W$, $b$ **and** $f$, and the convergence of $x$ has to be proved first.
#
# **Theorem.** Let $W$ and $b$ be bounded and Riemann-integrable, and let $f$ be in $C^1$ with bounded $f'$. Then $x^{(n)}$ converges to the solution of $dx/dl=f(Wx+b)$, uniformly in $l$, and $P_L$ to $\Phi(1,0)$ for $A(l)=\operatorname{diag}f'(z(l))\,W(l)$ along the solution. If moreover $f'$ is Lipschitz, and $W$ and $b$ are Lipschitz or of bounded variation, both errors are $O(\max_n\Delta l_n)$.
#
# **Proof.** *$x$ first.* The right-hand side is Lipschitz in $x$ with the constant $\kappa=\sup|f'|\,\sup\lVert W\rVert$. So there is one solution $x(l)$, and it is continuous. Hence $\dot x(l)=f(W(l)x(l)+b(l))$ is bounded and continuous wherever $W$ and $b$ are, which is almost everywhere: it is Riemann-integrable. Let $\dot\omega_n$ be its oscillation on step $n$ and $\tau_n=\lVert x^{(n)}-x(l(n))\rVert$. Then $\tau_{n+1}\le(1+\kappa\,\Delta l_n)\,\tau_n+\dot\omega_n\,\Delta l_n$, so $\max_n\tau_n\le e^{\kappa}\sum_n\dot\omega_n\,\Delta l_n\to0$.
#
# *Then $P$.* The points $z_n$ stay in a bounded set, and there $f'$ is uniformly continuous. So $\max_n\lVert A^{(L)}_n-A(l(n))\rVert\to0$, and $A$ is Riemann-integrable for the same reason as $\dot x$. By the telescoping sum, with $\alpha$ a bound on both, the exchange of $A_n$ for $A^{(L)}_n$ adds at most $e^{\alpha}\sum_n\lVert A^{(L)}_n-A(l(n))\rVert\,\Delta l_n$ to A.1.
#
# *The rate.* Bounded variation gives $\sum\omega_n\,\Delta l_n=O(\max \Delta l_n)$ for $\dot x$ and $A$, and a Lipschitz $f'$ gives $\lVert A^{(L)}_n-A(l(n))\rVert=O(\tau_n)$. $\square$
#
# **ReLU is not in $C^1$, and the theorem fails for it.** An example in one dimension: $x(0)=0$; $W=-1$, $b=2$ for $l<\tfrac12$; then $W=1$, $b=-x(\tfrac12)$. The solution is $x(l)=2(1-e^{-l})$ up to $l=\tfrac12$. From there it rests *on* the kink. The network's $x^{(n)}$ is $2(1-(1-1/L)^n)$, which lies slightly above the kink at $l=\tfrac12$, on the active side, at every depth. For even $L$ this gives $P_L=(1-1/L^2)^{L/2}\to1$.
#
# The formal limit puts $A(l)=\mathrm{relu}'(z(l))\,W(l)$ into the theorem. With $\mathrm{relu}'(0)=0$, as in torch, it is $e^{-1/2}$, and $P_L$ keeps away from it. With $\mathrm{relu}'(0)=1$ it is 1. Then the mirrored example $W=-1$, $b=x(\tfrac12)$ for $l\ge\tfrac12$ fails instead: $P_L=(1-1/L)^{L/2}\to e^{-1/2}$, and the formal limit is $e^{-1}$. The coordinate $x^{(L)}$ converges in all cases.

# %% [markdown]
# ## The numbers
#
# We take five paths $A(l)$.
#
# - A smooth one.
# - $\alpha I$ with $\alpha=1$, for which the bound is sharp.
# - One with a jump.
# - One that is discontinuous at every rational number, and Riemann-integrable all the same: Thomae's function times a matrix.
# - The Jacobians of a tanh network along its own trajectory.
#
# For the first four, formulas give upper bounds of $\lVert A\rVert$ and of the oscillations. So A.1 is computed without sampling. For the network both are maxima over a fine grid. The smooth path is one of several that we tried. We chose it because its matrices are far from commuting: there the control, the wrong order, differs most clearly.

# %%
A, _ = limits.smooth_field(2, seed=seed + 4, scale=0.8)
norm = partial(torch.linalg.matrix_norm, ord=2)
modes = torch.arange(1, len(A.cosine) + 1)
swing = norm(A.cosine) + norm(A.sine)
alpha = float(norm(A.constant) + swing.sum())
beta = float(2 * math.pi * (modes * swing).sum())
print(f"smooth path: |A| is at most α = {alpha:.2f}, its Lipschitz constant at most β = {beta:.2f}")

# %%
jump = torch.tensor([[0.0, 0.5], [-0.3, 0.2]], dtype=torch.float64)
cut = 1 / math.sqrt(2)
size = float(norm(jump))


def B(l):
    """The smooth path with a jump at `cut`."""
    return A(l) + (l >= cut)[..., None, None] * jump


def spectral_distance(P, exact):
    """The spectral norm of P - exact."""
    return float(norm(P - exact))


uniform = {depth: limits.partition(depth) for depth in depths}
starts = {depth: torch.tensor([0.0, *h[:-1]], dtype=torch.float64).cumsum(0) for depth, h in uniform.items()}

# %%
exact = limits.path_ordered_exponential(A, 2)
exact_jump = limits.path_ordered_exponential(B, 2, breaks=[cut])
rows = []  # of the table of all products
for depth, h in uniform.items():
    l = starts[depth]
    oscillation = beta * np.array(h)
    crossed = ((l < cut) & (cut <= l + 1 / depth)).numpy() * size
    bound = limits.product_bound(alpha, oscillation, h)
    bound_jump = limits.product_bound(alpha + size, oscillation + crossed, h)
    reverse = spectral_distance(limits.ordered_product(A(l), h, reverse=True), exact)
    error = spectral_distance(limits.ordered_product(A(l), h), exact)
    error_jump = spectral_distance(limits.ordered_product(B(l), h), exact_jump)
    rows.append({"path": "smooth", "depth": depth, "error": error, "bound": bound, "wrong_order": reverse})
    rows.append({"path": "one jump", "depth": depth, "error": error_jump, "bound": bound_jump})
    one = torch.eye(2, dtype=torch.float64)
    error = spectral_distance(limits.ordered_product(one.expand(depth, 2, 2), h), math.e * one)
    bound = limits.product_bound(1.0, 0 * l, h)
    rows.append({"path": "identity, α = 1", "depth": depth, "error": error, "bound": bound})

# %% [markdown]
# Thomae's function is $1/j$ at $i/j$ in lowest terms and 0 at the irrationals. Its integral is 0. So if it is multiplied by a matrix and added to a constant $A_0$, the limit is $e^{A_0}$. On the interval $[n/L,(n+1)/L]$ it lies between 0 and $1/j$, where $j$ is the least number for which $[nj/L,(n+1)j/L]$ contains an integer. So $\omega_n$ is at most $1/j$ times the norm of the matrix. The layers stand at the rationals $n/L$, where the function is not 0. At irrational places it would be 0, and the product would be that of $A_0$ alone.

# %%
constant = A.constant
for depth, h in uniform.items():
    n = np.arange(depth)
    value = torch.from_numpy(np.gcd(n, depth) / depth)
    P = limits.ordered_product(constant + value[:, None, None] * jump, h)
    q = np.arange(1, depth + 1)
    least = q[(-(-n * q[:, None] // depth) <= (n + 1) * q[:, None] // depth).argmax(0)]
    bound = limits.product_bound(float(norm(constant)) + size, size / least, h)
    error = spectral_distance(P, torch.linalg.matrix_exp(constant))
    rows.append({"path": "Thomae", "depth": depth, "error": error, "bound": bound})

# %% [markdown]
# For the network the path is $A(l)=\operatorname{diag}f'(z(l))\,W(l)$ with $f=\tanh$, along the exact trajectory. A fine solution supplies this trajectory. The oscillations and $\alpha$ are maxima over a grid sixteen times finer than the finest partition. The reference solves two equations together: that of $x$, and $dP/dl=A(l)P$ along it.

# %%
W, b = limits.smooth_field(2, seed=seed + 1, scale=0.8)
x = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
fine = 16 * math.lcm(*depths)
l = torch.arange(fine + 1, dtype=torch.float64) / fine
coarse = torch.linspace(0, 1, 2001, dtype=torch.float64)
trajectory = torch.cat([x[None], limits.solve(W, b, x, at=coarse[1:].tolist())])[:, 0]
trajectory = torch.from_numpy(np.stack([np.interp(l, coarse, component) for component in trajectory.T], 1))
slope = 1 - torch.tanh((W(l) @ trajectory[..., None])[..., 0] + b(l)) ** 2
along = slope[..., None] * W(l)
alpha_net = float(norm(along).max())

# %%
def variational(l, state):
    """The rate of (x, P): the equation of x and its variation."""
    at = torch.tensor(l, dtype=torch.float64)
    y, P = torch.from_numpy(state[:2]), torch.from_numpy(state[2:]).reshape(2, 2)
    f = torch.tanh(W(at) @ y + b(at))
    return torch.cat([f, ((1 - f**2)[:, None] * W(at) @ P).ravel()]).numpy()


solution = solve_ivp(variational, (0, 1), [*x[0].tolist(), 1, 0, 0, 1], method="DOP853", rtol=1e-12, atol=1e-13)
exact_net = torch.from_numpy(solution.y[2:, -1].reshape(2, 2))
exact_metric = exact_net.mT @ exact_net

# %%
metric_error = []
for depth, h in uniform.items():
    net = limits.discretise(W, b, h)
    found = rl.geometry(net, x)
    own = (torch.cat(rl.jacobians(net, x)) - torch.eye(2, dtype=torch.float64)) * depth
    at = along[:-1].unflatten(0, (depth, -1))
    omega = norm(torch.cat([at, along[fine // depth :: fine // depth, None]], 1) - at[:, :1]).amax(1)
    moved = norm(own - at[:, 0])
    bound = limits.product_bound(max(alpha_net, float(norm(own).max())), (omega + moved).numpy(), h)
    error = spectral_distance(found.P[0][0], exact_net)
    rows.append({"path": "network", "depth": depth, "error": error, "bound": bound})
    metric_error.append(statistics.relative_error(found.g[0][0], exact_metric))

# %%
products = pd.DataFrame(rows)


def order_in_depth(errors):
    """The local order in 1/L at the largest depths, and how far from it the order in the limit may be."""
    return limits.local_order([1 / depth for depth in depths], list(errors))


errors = products.pivot(index="depth", columns="path", values="error")
measured = {path: order_in_depth(errors[path]) for path in ("smooth", "identity, α = 1", "network")}
wrong_order = order_in_depth(products["wrong_order"].dropna())
fig = section3.products(products, measured)
save(fig, "appendix_product")
plt.show()

# %% [markdown]
# The next cell prints how fast each error and each bound fall. The error with the jump does not fall on a straight line: where the jump lies between two layers changes with $L$. The error with Thomae's function falls more slowly than $1/L$. For the smooth path the bound is far too large. For $\alpha I$ the error comes close to it, and a bound without the factor $e^\alpha$ is broken. Multiplied in the wrong order the product keeps away from $P$: it tends to another limit.

# %%
products["ratio"] = products["error"] / products["bound"]
worst = products.groupby("path", sort=False)["ratio"].max().to_dict()
above = int((products["ratio"] > 1).sum())
bounded = rules.universal(above, len(products), shown="an error above the bound A.1") if above else None
bounds = products.pivot(index="depth", columns="path", values="bound")
for path, ratio in worst.items():
    (first, last), (most, least) = (table[path].iloc[[0, -1]] for table in (errors, bounds))
    print(f"{path}: error {first:.2g} to {last:.2g} (÷ {first / last:.0f}), bound {most:.2g} to {least:.2g}, "
          f"error at most {ratio:.3g} of it")
    assert ratio <= 1 and least < most / 8 and (path == "Thomae") == (first / last < depths[-1] / depths[0] / 2)
sharp = products.loc[products["path"] == "identity, α = 1", "ratio"].iloc[-1]
print(f"control: without its factor e^α the bound is broken, the error is {sharp * math.e:.2f} of it")
assert 0.99 < sharp < 1 < sharp * math.e
uneven = limits.partition(depths[-1], "random", seed=seed)
error = spectral_distance(limits.ordered_product(A(torch.tensor(limits.starts(uneven))), uneven), exact)
assert error <= limits.product_bound(alpha, beta * np.array(uneven), uneven)
print(f"smooth path, {depths[-1]} layers at random places: error {error:.1g}, under the bound as well")

# %% [markdown]
# The next cells check the consequences A.3 for the smooth path: the norm, the determinant, and the flow of $g$. The flow is integrated from the output back to the input and compared with $P^{\mathsf T}P$. For the network's path, differences at a fixed place check the equation with the Lie derivative. At finite depth, the network's own metric, Eq. 10, is compared with its limit. (Section 3 measures the order of $x$.)
#
# Each has a control: half of the exponent in the norm, $\operatorname{tr}A$ with the wrong sign, $Ag+gA^{\mathsf T}$ in place of $A^{\mathsf T}g+gA$, and the Lie derivative without its part $f\cdot\partial_xg$.

# %%
grid = torch.linspace(0, 1, 20001, dtype=torch.float64)
on_grid = A(grid)
work = float(torch.trapezoid(norm(on_grid), grid))
trace = float(torch.trapezoid(on_grid.diagonal(dim1=-2, dim2=-1).sum(-1), grid))
det_exact, norm_exact = float(torch.linalg.det(exact)), float(norm(exact))
liouville = abs(det_exact / math.exp(trace) - 1)
half = math.exp(work / 2)
print(f"|P| = {norm_exact:.3f}, at most exp∫|A| = {math.exp(work):.3f}; control: above exp(½∫|A|) = {half:.3f}")
print("det P equals exp∫tr A to", rules.order_of_magnitude(liouville), end="; ")
wrong_sign = abs(det_exact / math.exp(-trace) - 1)
print("control: exp(−∫tr A) is off by more than", rules.order_of_magnitude(wrong_sign, up=False))
assert half < norm_exact <= math.exp(work) and liouville < 1e-8 and wrong_sign > 1e-1

# %%
def metric_flow(l, g, transposed=False):
    """The rate of g (A.3), and with A transposed."""
    A_l, g = A(torch.tensor(l, dtype=torch.float64)).numpy(), g.reshape(2, 2)
    A_l = A_l.T if transposed else A_l
    return -(A_l.T @ g + g @ A_l).ravel()


def flow_error(rate):
    """The relative error of g at the input, integrated back from the output."""
    g = solve_ivp(rate, (1, 0), np.eye(2).ravel(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    return statistics.relative_error(torch.from_numpy(g.reshape(2, 2)), exact.mT @ exact)


flow_of_g, wrong_flow = flow_error(metric_flow), flow_error(partial(metric_flow, transposed=True))
print("the flow of g equals PᵀP to", rules.order_of_magnitude(flow_of_g), end="; ")
print("control: with A transposed it is off by more than", rules.order_of_magnitude(wrong_flow, up=False))
metric_order = order_in_depth(metric_error)
print(f"the network's metric tends to the flow's with order {metric_order.value:.2f}")
assert flow_of_g < 1e-9 and wrong_flow > 1e-2

# %%
def metric_from_the_end(l, y):
    """The limit metric at a fixed place y of layer l, from the flow that starts there."""
    solution = solve_ivp(variational, (l, 1), [*y, 1, 0, 0, 1], method="DOP853", rtol=1e-12, atol=1e-13)
    P = solution.y[2:, -1].reshape(2, 2)
    return P.T @ P


place, at, step = np.array([0.3, -0.4]), 0.4, 1e-4
shifts = step * np.eye(2)
in_l = (metric_from_the_end(at + step, place) - metric_from_the_end(at - step, place)) / (2 * step)
in_x = [(metric_from_the_end(at, place + e) - metric_from_the_end(at, place - e)) / (2 * step) for e in shifts]
rate = variational(at, np.array([*place, 1, 0, 0, 1]))  # f, and its derivative
f, A_x, g_x = rate[:2], rate[2:].reshape(2, 2), metric_from_the_end(at, place)
along_f, stretched = f[0] * in_x[0] + f[1] * in_x[1], A_x.T @ g_x + g_x @ A_x
left, without = (abs(in_l + lie).max() / abs(in_l).max() for lie in (along_f + stretched, stretched))
print("at a fixed place, ∂g/∂l and the Lie derivative cancel to", rules.order_of_magnitude(left), end="; ")
print("control: without f·∂g/∂x only to", f"{without:.1g}")
assert left < 1e-5 < 1e-2 < without

# %%
dets = [float(torch.linalg.det(limits.ordered_product(A(starts[depth]), h))) for depth, h in uniform.items()]
assert all(det > 0 for det in dets)
measured = {
    "smooth A": measured["smooth"],
    "A = α I": measured["identity, α = 1"],
    "network (Eq. 12)": measured["network"],
    "metric at the input (Eq. 10)": metric_order,
    "det P": order_in_depth([abs(det - det_exact) for det in dets]),
}

# %% [markdown]
# Now the example with ReLU: the network's own Jacobians, beside the formulas above. In each convention for $\mathrm{relu}'(0)$ one of the two paths keeps away from its formal limit.

# %%
rest = 2 * (1 - math.exp(-0.5))  # x(1/2) of dx/dl = 2 - x
kinks, formal = [], {("at rest on the kink", 0): math.exp(-0.5), ("at rest on the kink", 1): 1.0,
                     ("the mirrored one", 0): math.exp(-0.5), ("the mirrored one", 1): math.exp(-1.0)}
for (name, sign), depth in product((("at rest on the kink", 1), ("the mirrored one", -1)), (10, 100, 1000)):
    steps = limits.partition(depth)
    late = (torch.tensor(limits.starts(steps), dtype=torch.float64) > 0.5 - 1e-9).double()
    slope, offset = -1 + (1 + sign) * late, 2 - (2 + sign * rest) * late
    net = rl.CkNetwork.from_weights([*slope.view(-1, 1, 1)], [*offset.view(-1, 1)], activation="relu", step=1 / depth)
    start = torch.zeros(1, 1, dtype=torch.float64)
    P, end = float(rl.pushforward(net.requires_grad_(False), start)), float(net.coordinates(start)[-1])
    kinks.append((name, depth, P, formal[name, 0], formal[name, 1], abs(end - rest)))
columns = ["path", "L", "P_L", "formal limit, relu'(0) = 0", "formal limit, relu'(0) = 1", "error of x"]
kinks = pd.DataFrame(kinks, columns=columns)
deepest = kinks[kinks["L"] == 1000]
by_formula = (1 - 1 / kinks["L"]) * np.where(kinks["path"] == "the mirrored one", 1, 1 + 1 / kinks["L"])
assert np.allclose(kinks["P_L"], by_formula ** (kinks["L"] / 2), atol=1e-12)
away = [(deepest["P_L"] - deepest[f"formal limit, relu'(0) = {value}"]).abs().max() > 0.1 for value in (0, 1)]
kinks.round(4)

# %% [markdown]
# Do trained networks meet the hypothesis? Cohen et al. (2021) found that the weights of trained deep networks need not follow a smooth path in $l$. The networks of section 3 were trained at doubling depths with a fixed readout, from two starts. We take two measures: the distance $d(L,2L)$ of the weights as paths in $l$, and the relative distance of the products $P_L$ and $P_{2L}$, the mean over ten training points. The table says by which factor each falls from the shallowest pair of depths to the deepest.

# %%
def relative_distance(weights, others):
    """The distance of the P of each network from that of its partner, relative, the mean over points."""
    P, Q = (torch.stack([rl.pushforward(deep.network(w), some) for w in each]) for each in (weights, others))
    return (norm(P - Q) / norm(Q)).mean(1)


each_seed, some = range(seed, seed + trained_seeds), rl.Condition().sample(dtype=torch.float64).x[::100]
pair, meets, table = (trained_depths[0], trained_depths[-2]), {}, {}
for name in deep.STARTS:
    found = deep.train(name, [*trained_depths[:2], *trained_depths[-2:]], each_seed, updates=updates)
    first, last = (relative_distance(found[L]["weights"], found[2 * L]["weights"]) for L in pair)
    d = deep.pairs(found, each_seed).pivot(index="seed", columns="depth", values="distance")
    meets[name] = int((d[pair[0]] > 2 * d[pair[1]]).sum())
    table[name] = {
        "seeds whose d falls by more than 2": meets[name],
        "d falls by (median)": float((d[pair[0]] / d[pair[1]]).median()),
        "P's distance falls by (median)": float((first / last).nanmedian()),
    }
pd.DataFrame(table)

# %% tags=["nbval-check-output"]
order_1 = rules.order_of(1, measured, {"wrong order": wrong_order})
hypothesis = "where W, b are bounded, Riemann-integrable in l, and f in C¹ (order 1: bounded variation, f' Lipschitz)"
trained = " and ".join(f"from {name} in {count} of {trained_seeds}" for name, count in meets.items())
without = f"a ReLU network keeps away from its formal limit; trained networks meet it, as far as d tells, {trained}"
notebook.decide(
    "product-converges",
    rules.given(bounded or order_1, sum(away), len(away), when=hypothesis, otherwise=without),
    {
        **measured,
        "trained networks (at order 1, d and P fall by the ratio of depths)": table,
        "wrong order of the factors": wrong_order,
        "largest error over the proof's bound": worst,
        "det P against exp∫tr A": liouville,
        "flow of g against PᵀP": flow_of_g,
        "norm of P and its bound": (norm_exact, math.exp(work)),
    },
    protocol="Uniform partitions, spectral norm, reference by scipy's DOP853 at 1e-12; local orders, with twice the "
    "larger of the last two changes to either side. The error lies under A.1 at every depth for every path (asserted). "
    "Control: the product with its factors reversed. Without the hypothesis: ReLU, in both conventions for relu'(0).",
)

# %% [markdown]
# ## The definitions
#
# **Lie group.** A Lie group is a smooth manifold that is a group, with smooth multiplication and inversion. $SO(2)$ is the circle of angles with addition. $GL(d,\mathbb R)$ is the open set $\det\ne0$ of all matrices. Its multiplication is a polynomial, and its inversion has the derivative $X\mapsto-h^{-1}Xh^{-1}$, which a cell below checks.
#
# **Action.** A left action of a group $G$ on a set $F$ satisfies $1\triangleright\psi=\psi$ and $(hk)\triangleright\psi=h\triangleright(k\triangleright\psi)$, for $h,k\in G$ and $\psi\in F$. A right action satisfies $(\psi\triangleleft h)\triangleleft k=\psi\triangleleft(hk)$. An action is *free* if only the element 1 fixes any point. Each left action gives a right one by $\psi\triangleleft h=h^{-1}\triangleright\psi$.
#
# **Example: rotated images.** $SO(2)$ acts on pictures from the left. A picture is a function $\psi$ of the points $x$ of the plane, and $(h\triangleright\psi)(x)=\psi(h^{-1}x)$. We take a picture given by a formula, two Gaussian blobs, so that a rotation is exact and needs no interpolation. The same formula is an action of $GL(2)$. We check the axioms there, because $SO(2)$ is commutative, and cannot tell a left action from a right one. The orbit of the picture is a circle in pixel space (§2 studies such a circle as a manifold).
#
# The blobs stand at different distances from the centre, so only a full turn brings the picture back: the action is free on this orbit. If two equal blobs face each other across the centre, it is not free, because the half turn fixes the picture. The orbit is then the circle $SO(2)/\{\pm1\}$, and a full turn runs through it twice.

# %%
pixel = torch.linspace(-1, 1, 24, dtype=torch.float64)
u = torch.cartesian_prod(pixel, pixel).flip(1)


def rotation(angle):
    """The rotation of the plane by an angle in radians."""
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)


def picture(*centres):
    """A picture with a Gaussian blob at each centre, as a function of points."""
    return lambda u: torch.exp(-torch.cdist(u, torch.tensor(centres, dtype=torch.float64)) ** 2 / 0.06).sum(1)


def act(h, psi):
    """The picture h ▷ ψ, x -> ψ(h⁻¹ x)."""
    return lambda x: psi(torch.linalg.solve(h, x.mT).mT)


# %%
inverse = torch.linalg.inv


def largest_difference(f, g):
    """The largest difference of two pictures in a pixel."""
    return float((f(u) - g(u)).abs().max())


uneven, even = picture((0.5, 0.0), (0.1, 0.45)), picture((0.5, 0.1), (-0.5, -0.1))
a, half_turn = rotation(0.7), rotation(math.pi)
c = torch.tensor([[1.0, 0.8], [0.0, 1.3]], dtype=torch.float64)  # in GL(2), not in SO(2)
by_inverses = act(inverse(a @ c), uneven)
_, moved = torch.func.jvp(inverse, (c,), (a,))


# %%
axioms = {
    "derivative of the inversion": statistics.relative_error(moved, -inverse(c) @ a @ inverse(c)),
    "identity": largest_difference(act(rotation(0.0), uneven), uneven),
    "left action": largest_difference(act(a @ c, uneven), act(a, act(c, uneven))),
    "right action by inverses": largest_difference(by_inverses, act(inverse(c), act(inverse(a), uneven))),
    "half turn fixes the even picture": largest_difference(act(half_turn, even), even),
}
wrong = {
    "derivative of the inversion, as of a number": statistics.relative_error(moved, -inverse(c) @ inverse(c) @ a),
    "another element than the identity": largest_difference(act(a, uneven), uneven),
    "left action, the factors exchanged": largest_difference(act(c @ a, uneven), act(a, act(c, uneven))),
    "ψ(h x) as a left action": largest_difference(by_inverses, act(inverse(a), act(inverse(c), uneven))),
    "half turn moves the uneven picture": largest_difference(act(half_turn, uneven), uneven),
}
found = rules.identity(axioms, wrong)
print(found)
assert found.verdict == "confirmed"

# %%
angles = torch.linspace(0, 2 * math.pi, 121)[:-1].tolist()
orbit = torch.stack([act(rotation(angle), uneven)(u) for angle in angles])
assert (orbit[1:] - orbit[0]).abs().amax(1).min() > 0.05  # no rotation of these but the first fixes the picture
centred = orbit - orbit.mean(0)
plane = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T
shown = list(range(0, 120, 24))
section3.orbit(orbit[shown].unflatten(1, (24, 24)), torch.cat([plane, plane[:1]]), plane[shown])
plt.show()

# %% [markdown]
# **Bundle, fibre bundle.** A bundle is a continuous surjection $\pi:E\to M$ onto the manifold. The preimage of a point is its fibre. The bundle is a *fibre bundle* if all fibres are alike and it is locally a product: over small $U\subset M$ there are charts $\pi^{-1}(U)\cong U\times F$. Where two charts overlap they differ by a *transition function* $t_{ij}:U_i\cap U_j\to G$ that acts on $F$. On triple overlaps $t_{ij}t_{jk}=t_{ik}$ (the cocycle condition). The transition functions determine the bundle: they say how to glue it. A principal bundle has $F=G$. An associated bundle has any fibre $F$ on which $G$ acts, with the same $t_{ij}$ (section 5).
#
# **Example: two line bundles over the circle.** Cover the circle by seven arcs, each of which overlaps the next. The fibre is $\mathbb R$ and the group is $\{\pm1\}$. With every $t=+1$ the glued bundle is a cylinder. With a single $-1$ it is the Möbius band.

# %%
section3.bands()
plt.show()

# %% [markdown]
# Locally the two cannot be told apart. The fibre over arc $i$ may be turned over, by $s_i=\pm1$. This changes the transition functions to $s_i\,t_{i,i+1}\,s_{i+1}^{-1}$ and does not change the bundle. Can the signs be chosen so that all transition functions become $+1$, as those of a product $S^1\times\mathbb R$? There are $2^7$ choices, and we try them all.
#
# No choice changes the product of all transition functions around the circle, since each $s_i$ stands in it twice. It is $+1$ for the cylinder and $-1$ for the Möbius band. The same number decides whether the bundle has a section without zeros, that is, a global frame. On the Möbius band a frame that is carried once around returns as its negative.

# %%
arcs = 7
cylinder, moebius = torch.ones(arcs), torch.ones(arcs)
moebius[3] = -1
choices = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * arcs)
trivial = {}
for name, t in (("cylinder", cylinder), ("Möbius band", moebius)):
    changed = choices * t * choices.roll(-1, 1)
    trivial[name] = int((changed == 1).all(1).sum())
    print(f"{name}: all transitions become +1 in {trivial[name]} of {len(choices)} choices")
assert trivial == {"cylinder": 2, "Möbius band": 0}

# %% [markdown]
# **The frame bundle** of section 5 is such a bundle, with $F=G=GL(d,\mathbb R)$. On a manifold with global coordinates, such as the plane, one chart suffices. Where all layers have invertible Jacobians, the coordinates of layer $l$ give a global frame, and those of layer $l+1$ give another. The Jacobian of the layer is the transition function between the two. With $t_{ji}$ for the Jacobian from layer $i$ to layer $j$, the cocycle condition $t_{20}=t_{21}t_{10}$ is the chain rule.

# %%
generator = torch.Generator().manual_seed(seed)
net = rl.CkNetwork([2] * 6, step=0.5, seed=seed, dtype=torch.float64, device=device)
x = torch.randn(50, 2, dtype=torch.float64, generator=generator).to(device)
first, found = rl.pushforward(net[:2], x), rl.geometry(net, x)
whole, last = found.P[0], found.P[2]
cocycle, swapped = statistics.relative_error(last @ first, whole), statistics.relative_error(first @ last, whole)
print("cocycle condition holds to", rules.order_of_magnitude(cocycle), end="; ")
print("with the factors exchanged it is off by more than", rules.order_of_magnitude(swapped, up=False))
assert cocycle < 1e-12 and swapped > 1e-3

# %%
from riemlib.companion.references import references

references(cohen="how weights of trained deep networks scale with the depth")

# %%
notebook.closing(seed=seed)
