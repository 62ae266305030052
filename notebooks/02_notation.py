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
# # §2 Notation: which layers are coordinate changes?
#
# Section 2 of the paper says how it reads a network. The data lie on a manifold $M$. A layer does not move the data. It changes the *coordinates* in which they are written.
#
# **What $M$ is.** The paper reads its manifold in two ways. Its formulas need as many coordinates as a layer has entries: there $M$ is an open piece of the input space, for the spirals a piece of the plane. Its remarks on dimension speak of the shape of the data: for the spirals two curves. In all these notebooks $M$ is the first, the piece of input space. The data's own manifold is called $C$, and lies in $M$.
#
# The reading depends on one property. A layer is a change of coordinates if it is **injective, and its Jacobian is invertible everywhere**. Injective alone is not enough for the metric of §4: $x-\tanh x$ is strictly increasing, but its derivative is 0 at $x=0$, and so is the metric that it pulls back.
#
# The paper makes four statements: a plain ReLU layer is not a bijection; a residual ReLU layer is one; $x+f(x)$ gives coordinates of the whole manifold; the softmax is a coordinate transformation. All of its experiments use tanh. This notebook tests each statement. For the residual layers there is one criterion, and it takes a line of algebra. Where it holds, a tanh layer is a diffeomorphism. A ReLU layer has kinks, so it is a homeomorphism.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live
seed: int = 0  # of the random layers and of the first network
layers: int = 500  # random ReLU layers and readouts tested at each width
networks: int = 1000  # networks at initialisation, for each step
searched: int = 100  # tanh layers in which Newton's method looks for folds
seeds: int = 100  # networks trained for each step
updates: int = 3000  # of Adam, for each of them
angles: int = 360  # rotations of one image

# %%
from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch.func import grad, jacrev, vmap

import riemlib as rl
from riemlib import charts, curves
from riemlib.companion import notebook, rules, statistics
from riemlib.companion.figures import save, section2

notebook.opening("§2 Notation", device=device, time="about half a minute")
torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(seed)
where = {"device": device}

# %% [markdown]
# ## Coordinates, indices, softmax
#
# We know a point $q\in M$ only through coordinates. At layer $l$ they are $x^{(l)}(q)\in\mathbb R^{d_l}$. A network is a chain of coordinate changes:
#
# $$ x^{(l+1)} = \varphi^{(l)}\circ x^{(l)},\qquad x^{(L)} = \varphi^{(L-1)}\circ\dots\circ\varphi^{(0)}\circ x^{(0)} . $$
#
# The layer $\varphi^{(l)}$ has weights $W^{(l)}$ and biases $b^{(l)}$. As in the paper, $f$ of one argument is the activation, applied to each component, and $f(x;l)$ is short for $f(W^{(l)}x+b^{(l)})$. A plain layer is $\varphi^{(l)}(x)=f(x;l)$. A residual layer is $\varphi^{(l)}(x)=x+f(x;l)\,\Delta l$ with a step $\Delta l$; in the paper's experiments, as we read them, the step is 1.
#
# An index in parentheses is a layer. A free upper index numbers the components of a vector, and a free lower index those of a covector. A repeated index is summed. `net.coordinates(x)` is the list $x^{(0)},\dots,x^{(L)}$, each with one row for each point. The Jacobian of a layer, $(\partial x^{(l+1)}/\partial x^{(l)})^a{}_b$, is indexed `[point, a, b]`.
#
# A vector $v^a$ at layer 0 has the components $v^{(1)a}=J^a{}_b\,v^b$ at layer 1. `einsum` writes this sum over the repeated index. The cell compares it with a small displacement, which changes in the same way. The control sums over the other index of $J$.

# %%
net = rl.CkNetwork([2] * 11, order=1, step=1.0, seed=seed, **where)
sample = rl.Condition().sample(dtype=torch.float64)  # 1000 points at random positions on two arms
x = net.coordinates(sample.x)
J = rl.jacobians(net, sample.x)
print(f"{len(x)} coordinate systems, each {tuple(x[0].shape)}; {len(J)} Jacobians, each {tuple(J[0].shape)}")
v = torch.randn(len(sample), 2, generator=generator).to(device)
pushed = torch.einsum("nab,nb->na", J[0], v)
tiny = 1e-6
ahead, behind = (net.coordinates(sample.x + sign * tiny * v)[1] for sign in (1, -1))
displaced = (ahead - behind) / (2 * tiny)
off = float((torch.einsum("nba,nb->na", J[0], v) - displaced).detach().abs().max())
assert torch.allclose(pushed, displaced, atol=1e-8) and off > 0.1
print(f"largest difference below {rules.order_of_magnitude(1e-8)}; control, the other index: {off:.1g}")

# %% [markdown]
# ## The softmax is no coordinate transformation
#
# The classifier at the end applies a linear map and a softmax to the last coordinates,
#
# $$ P(Y=j\mid q) = \frac{e^{W^{(L)j}x^{(L)}(q)}}{\sum_k e^{W^{(L)k}x^{(L)}(q)}}, $$
#
# where $Y$ is the class, $j$ one of $K$ classes, and $W^{(L)}$ the readout. We add a bias. `net(x)` gives the exponents $z$, the logits. The paper calls the softmax a coordinate transformation. On the logits it is none: the same number added to all of them changes no probability. On *centred* logits, $\sum_j z_j=0$, it is one, and $z_j=\log p_j-\frac1K\sum_k\log p_k$ undoes it.
#
# With a readout $W$ of $d$ coordinates, $x\mapsto\mathrm{softmax}(Wx)$ is a change of coordinates only where the centred $W$, each column less its mean, has rank $d$. This rank is at most $K-1$. So it needs $d\le K-1$, and two classes in the plane never have it. The cell tests random readouts in two ways: the explicit inverse, and the rank of the Jacobian by automatic differentiation.

# %%
found = []
for d, K in product((1, 2, 3), (2, 3, 4)):
    V, x = (torch.randn(layers, *size, generator=generator).to(device) for size in ((K, d), (d,)))
    of_readout = vmap(jacrev(lambda V, x: (V @ x).softmax(0), argnums=1))(V, x)
    log_p = torch.einsum("nka,na->nk", V, x).log_softmax(1)
    centred = V - V.mean(1, keepdim=True)
    undo = torch.linalg.pinv(centred, rtol=1e-9)
    back = torch.einsum("nak,nk->na", undo, log_p - log_p.mean(1, keepdim=True))
    inverted = ((back - x).norm(dim=1) < 1e-6 * x.norm(dim=1)).sum()
    full = (torch.linalg.matrix_rank(of_readout, rtol=1e-9) == d).sum()
    found.append({"d": d, "classes": K, "inverted": int(inverted), "Jacobian of rank d": int(full)})
found = pd.DataFrame(found)
allowed = found["d"] <= found["classes"] - 1
assert (found.loc[~allowed, ["inverted", "Jacobian of rank d"]] == 0).all(axis=None)
assert (found.loc[allowed, ["inverted", "Jacobian of rank d"]] == layers).all(axis=None)
found

# %% tags=["nbval-check-output"]
z = torch.randn(layers, 3, generator=generator).to(device)
shifted = z + torch.randn(layers, 1, generator=generator).to(device)
same = ((shifted.softmax(1) - z.softmax(1)).abs().amax(1) < 1e-12) & ((shifted - z).norm(dim=1) > 1e-3)
few, plane = found[allowed], found[(found["d"] == 2) & (found["classes"] == 2)]
notebook.decide(
    "softmax-chart",
    rules.universal(
        int(same.sum()),
        layers,
        shown="logits z and z + c, the same constant added to all, have one softmax",
        repaired="the softmax is injective on centred logits, and x ↦ softmax(Wx) is a change of coordinates exactly "
        "where the centred W has rank d: d ≤ K − 1, never for two classes in the plane",
    ),
    {
        "readouts of two classes in the plane that can be undone": [int(plane["inverted"].iloc[0]), layers],
        "readouts with d ≤ K − 1 that can be undone": [int(few["inverted"].sum()), len(few) * layers],
    },
    protocol="Gaussian readouts and logits; explicit inverse to 1e-6, rank by automatic differentiation.",
)

# %% [markdown]
# ## A ReLU layer is not a coordinate change
#
# Where $Wx+b$ has only negative components, $\mathrm{relu}(Wx+b)=0$. So a whole cone of points has one image. For any invertible $W$ we find two such points: the solutions of $Wx+b=(-1,\dots,-1)$ and of $Wx+b=(-2,\dots,-2)$. The two points are distinct, they have the same image, and the Jacobian at both has rank 0.
#
# The paper's sentence is about layers of $d$ inputs and $d$ outputs, and so it stands as it is printed. We test it for random layers of width 2 and 3.
#
# A layer that widens enough may be injective. With the weights $(W,-W)$ and the biases $(b,-b)$, the identity $\mathrm{relu}(z)-\mathrm{relu}(-z)=z$ gives $x$ back. These are $2d$ outputs, and no ReLU layer with fewer is injective on all of $\mathbb R^d$ (Puthawala et al., 2022). Random layers need more. In the plane, without biases, a layer is injective exactly where every open half-plane holds two of its weight vectors or more. (On a bounded set a large bias makes any invertible layer injective: nothing is cut off there.)

# %%
W = torch.tensor([[1.0, -0.6], [0.5, 1.1]], **where)
b = torch.tensor([0.3, -0.2], **where)
plain = rl.CkNetwork.from_weights([W], [b], order=0, activation="relu")
pair = torch.stack([charts.points_on_pieces(W, b, off=off)[0] for off in (-1.0, -2.0)])
ranks = torch.linalg.matrix_rank(rl.jacobians(plain, pair)[0])
print("the points", pair.round(decimals=3).tolist(), "have the images", plain.coordinates(pair)[-1].tolist())
print("and Jacobians of rank", ranks.tolist())
merged, ranks, recovered = 0, [], 0
for d in (2, 3):
    V, c = (torch.randn(layers, *size, generator=generator).to(device) for size in ((d, d), (d,)))
    one, two = (charts.points_on_pieces(V, c, off=off)[:, 0] for off in (-1.0, -2.0))
    image = [torch.relu(torch.einsum("nab,nb->na", V, point) + c) for point in (one, two)]
    merged += int(((image[0] == image[1]).all(1) & ((one - two).norm(dim=1) > 1e-3)).sum())
    jacobian = vmap(jacrev(lambda x, V, c: torch.relu(V @ x + c)))(one, V, c)
    ranks.append(int(torch.linalg.matrix_rank(jacobian).max()))
    z = torch.einsum("nab,nb->na", V, one) + c
    back = torch.linalg.solve(V, torch.relu(z) - torch.relu(-z) - c)
    recovered += int(((back - one).norm(dim=1) < 1e-8 * one.norm(dim=1)).sum())

# %% tags=["nbval-check-output"]
wide = {}
for outputs in (4, 5, 8):
    angle = (2 * torch.pi * torch.rand(8 * layers, outputs, generator=generator)).sort(1).values
    reach = (angle.roll(-2, 1) - angle).remainder(2 * torch.pi)  # the arc that holds one weight vector inside
    wide[outputs] = float((reach < torch.pi).all(1).double().mean())
notebook.decide(
    "relu-not-chart",
    rules.universal(2 * layers - merged, 2 * layers, shown="layers of d inputs and d outputs send two points to one"),
    {
        "layers of width 2 and 3 with two points of one image": [merged, 2 * layers],
        "largest rank of the Jacobian at these points, width 2 and width 3": ranks,
        "widened layers (W, -W) inverted exactly (control)": [recovered, 2 * layers],
        "random layers from 2 to 4, 5 and 8 outputs that are injective": [wide[4], wide[5], wide[8]],
    },
    protocol="Gaussian layers; two points with all pre-activations negative. The control widens the same layers to 2d.",
)

# %% [markdown]
# ## A residual layer: one criterion for every increasing activation
#
# Now $\varphi(x)=x+\Delta l\,f(Wx+b)$. Suppose that two points have one image, $\varphi(x)=\varphi(y)$. Between them the activation of each unit $a$ has a secant slope $s_a$. So $f(Wx+b)-f(Wy+b)=S\,W(x-y)$ with $S=\mathrm{diag}(s_1,\dots,s_d)$, and
#
# $$ (I+\Delta l\,S\,W)\,(x-y)=0 . $$
#
# If $x\ne y$, the determinant of this matrix is 0. ReLU and tanh have slopes in $[0,1]$, whatever the points are. The determinant is affine in each $s_a$. So on the box $[0,1]^d$ it lies between its smallest and its largest value at the corners. At a corner some slopes are 1 and the others 0. There the determinant is a *principal minor* of $I+\Delta l\,W$: that of the rows and columns whose slope is 1. Therefore:
#
# > **If all principal minors of $I+\Delta l\,W$ are positive (it is a *P-matrix*; Fiedler and Pták, 1962), the layer is injective.**
#
# Then the determinant is positive everywhere as well, so the layer is a diffeomorphism onto its image. There are $2^d-1$ principal minors: three numbers for a layer of width 2. For sigmoid the largest slope is 1/4, so $\Delta l\,W/4$ takes the place of $\Delta l\,W$.
#
# The converse holds as well, for an invertible $W$. Then $Wx+b$ takes every value, so the slopes come as near to every corner as we like. A negative minor makes the determinant of the Jacobian, $\det\partial\varphi$, negative somewhere. Where all slopes vanish, it is 1. But a continuous injective map of $\mathbb R^d$ cannot preserve orientation in one place and reverse it in another. So the layer is not injective. Only a minor of exactly 0 leaves the question open.
#
# The figure shows the whole argument for two layers. Above: $\det(I+\Delta l\,S\,W)$ over the square of slopes, with its four corner values. The first of them, 1, is the empty minor. Below: what the layer does to a grid, pink where it reverses orientation.

# %%
given = ([[0.9, -1.1], [1.2, 0.2]], [[-0.4, 1.2], [1.1, -0.5]])
pair_of_layers = [rl.CkNetwork.from_weights([torch.tensor(W, **where)], [b]) for W in given]
for layer in pair_of_layers:
    print(charts.principal_minors(torch.eye(2, **where) + layer.weights[0]).tolist())
assert [charts.is_chart(layer) for layer in pair_of_layers] == [True, False]
for name, order in (("C0", 0), ("C1", 1), ("C2", 2), ("mixed", [1] * 5 + [0] + [1] * 4)):
    found = charts.certificates(rl.CkNetwork([2] * 11, order=order, seed=seed + 1, **where))
    signs = "".join("+" if certain else "-" for certain in found)
    print(f"{name:6} {sum(found):2} of {len(found)} layers certified  ", signs)
fig = section2.certificate_by_slopes(pair_of_layers)
save(fig, "section2_certificate")
plt.show()

# %% [markdown]
# `charts.certificates(net)` applies the criterion to each layer, and `charts.is_chart(net)` to all layers at once. `True` is a proof. Two more cases complete the rule.
#
# - A plain layer (order 0) with a strictly increasing $f$ and a $W$ of full column rank is injective.
# - A layer of order 2 or more (§3) is injective *whatever $f$ is*. Its state is $(x,D_1,\dots)$, where $D_1$ is the difference quotient of $x$ in $l$. At order 2 it sets $D_1'=D_1+\Delta l\,f(x;l)$ and $x'=x+\Delta l\,D_1'$. So $x=x'-\Delta l\,D_1'$; from $x$ we know $f(x;l)$, and from that $D_1$.
#
# The second case is a statement about the state. The coordinates $x$ alone are a projection of the state, and the projection may overlap itself.
#
# In JupyterLab, sliders above the figure set the two off-diagonal entries of $W$. The third minor is $2.28-W_{12}W_{21}$. Move both entries to the same side until their product is above 2.28. Then the value at the corner changes its sign, and the pink fold appears.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

diagonal, bias = (0.9, 0.2), b  # a later cell uses the name b again


def layer_with(W12=-1.1, W21=1.2):
    """The certificate of the layer with these entries of W beside its diagonal."""
    W = torch.tensor([[diagonal[0], W12], [W21, diagonal[1]]], **where)
    return section2.certificate_by_slopes([rl.CkNetwork.from_weights([W], [bias])])


play(layer_with, W12=(-3.0, 3.0, 0.1), W21=(-3.0, 3.0, 0.1))

# %% [markdown]
# ## A residual ReLU layer need not be bijective
#
# In one dimension $I+\Delta l\,W$ has one principal minor, $1+\Delta l\,w$. At $w=-2$ it is negative, and indeed
#
# $$ x+\mathrm{relu}(-2x)=|x| . $$
#
# The left and middle panels show a plain layer. It flattens three of its four linear pieces onto two edges and a corner. The right panel shows residual layers whose minor is above 0, at 0 and below 0.

# %%
disc = 2 * torch.rand(6000, 2, generator=generator).to(device) - 1
inside = disc[disc.norm(dim=1) < 1]
piece = ((inside @ W.mT + 0 * b > 0) * torch.tensor([1, 2], **where)).sum(1).long()
line = torch.linspace(-2, 2, 401, **where)
lines = {f"w = {w:g}": line + torch.relu(w * line) for w in (-0.5, -1.0, -2.0)}
assert torch.equal(lines["w = -2"], line.abs())
without_bias = rl.CkNetwork.from_weights([W], [0 * b], order=0, activation="relu")
fig = section2.relu_layers(without_bias, inside, piece, line, lines)
save(fig, "section2_relu")
plt.show()

# %% [markdown]
# For ReLU the criterion is exact. With $W$ invertible, the layer is bijective *if and only if* $I+\Delta l\,W$ is a P-matrix. (Substitute $y=Wx+b$: it becomes a linear complementarity problem, and this is the theorem of Samelson, Thrall and Wesler (1958) about such problems.) We test the criterion against a count that does not use minors. A ReLU layer has $2^d$ linear pieces. So we find the preimages of a point exactly: we solve on every piece and keep the solutions that lie on their own piece (`relu_preimages`).
#
# The test points are the image of an interior point of each piece, and random points. Beside the criterion we test two wrong ones, which the count has to reject. "The determinant is positive" looks at one minor only. "The Lipschitz constant of the residual part is below 1" is sufficient, but it rejects many bijective layers.

# %%
tested = []
for d in (2, 3):
    W = 1.2 * d**-0.5 * torch.randn(layers, d, d, generator=generator).to(device)
    b = torch.randn(layers, d, generator=generator).to(device)
    x = charts.points_on_pieces(W, b)
    y = x + torch.relu(x @ W.mT + b[:, None])
    y = torch.cat([y, 3 * torch.randn(layers, 50, d, generator=generator).to(device)], 1)
    count = charts.relu_preimages(W, b, y)[1].sum(-1)
    tested.append((d, W, count))
    often = dict(enumerate(count.flatten().bincount().tolist()))
    print(f"d = {d}: number of preimages, and of the {count.numel()} points that have so many: {often}")

# %%
criteria = []
for d, W, count in tested:
    minors_of = torch.eye(d, **where) + W
    found = {
        "bijective": (count == 1).all(1),
        "P-matrix": charts.is_p_matrix(minors_of),
        "positive determinant": torch.linalg.det(minors_of) > 0,
        "Lipschitz below 1": torch.linalg.matrix_norm(W, 2) < 1,
    }
    criteria.append(pd.DataFrame({name: values.tolist() for name, values in found.items()}).assign(d=d))
criteria = pd.concat(criteria, ignore_index=True)  # a row for each layer
verdicts = criteria[["P-matrix", "positive determinant", "Lipschitz below 1"]]
disagree = verdicts.ne(criteria["bijective"], axis=0).groupby(criteria["d"]).sum()
assert disagree["P-matrix"].sum() == 0
assert disagree[["positive determinant", "Lipschitz below 1"]].min(axis=None) > 0
folding = statistics.shares(criteria.assign(folds=~criteria["bijective"]), ["d"], "folds")
print(f"disagreements with the count in {layers} layers of each width d")
disagree

# %% tags=["nbval-check-output"]
notebook.decide(
    "relu-residual-bijective",
    rules.universal(
        int(folding["count"].sum()),
        2 * layers,
        shown="x + relu(-2x) = |x| in one dimension, and random layers in two and three",
        repaired="for det W ≠ 0 it is bijective exactly where every principal minor of I + Δl W is positive; "
        f"criterion and exact preimage count disagree in {disagree['P-matrix'].sum()} of {2 * layers} layers",
    ),
    {
        **{f"share not bijective, d = {row.d}": [row.share, (row.low, row.high)] for row in folding.itertuples()},
        "P-matrix criterion against the count, disagreements (d = 2, d = 3)": disagree["P-matrix"].tolist(),
        "wrong criterion, positive determinant": disagree["positive determinant"].tolist(),
        "wrong criterion, Lipschitz below 1": disagree["Lipschitz below 1"].tolist(),
    },
    protocol="Gaussian weights of standard deviation 1.2/√d, biases 1; "
    "exact count at an image of every linear piece and 50 random points a layer.",
)

# %% [markdown]
# ## A plain tanh layer is injective
#
# The paper prefers residual layers, but it does not say that a plain tanh layer is a worse chart. So the next statement is ours: for $\det W\ne0$ the layer $y=\tanh(Wx+b)$ is injective, and $x=W^{-1}(\mathrm{artanh}(y)-b)$ undoes it. Its image is only a cube, but a chart needs no more than an invertible map onto its image.
#
# On a computer this has a limit. Far out tanh is 1 to all digits, in float32 from $|z|\approx9$ on and in float64 from $|z|\approx19$. There the numbers that a network holds merge points although the map does not. The cell asks which share of pre-activations come back, for wider and wider ranges.
#
# In float64 and within $|z|\le8$ nothing merges. So this is where injectivity is tested: the point comes back, and the determinant of the Jacobian, by automatic differentiation, has the sign of $\det W$ everywhere. The control makes $W$ singular: its second row is a multiple of the first. Then points that differ by a null vector of $W$ have one image.
#
# Beside injectivity stands the conditioning. An inverse may exist and still be useless, and in this the residual form is better: ten plain layers squeeze some directions far more than ten residual layers.

# %%
drawn = [rl.CkNetwork([2] * 11, order=0, seed=s, **where) for s in range(networks)]
W = torch.stack([W.detach() for net in drawn for W in net.weights])
z = 2 * torch.rand(len(W), 20, 2, generator=generator).to(device) - 1
returned = {}
for dtype, reach in product((torch.float32, torch.float64), (1, 4, 8, 12, 16, 20)):
    known = (reach * z).to(dtype)
    returned[str(dtype)[6:], reach] = float(((known.tanh().atanh() - known).abs() < 0.01 * reach).double().mean())
x = torch.linalg.solve(W, 8 * z.mT).mT
back = torch.linalg.solve(W, torch.tanh(x @ W.mT).atanh().mT).mT
error = ((back - x) @ W.mT).abs().amax((1, 2))  # in pre-activations
slopes = vmap(grad(lambda z: z.tanh()))(8 * z.flatten()).view_as(z)
signs = (torch.linalg.det(slopes[..., None] * W[:, None]).sign() == torch.linalg.det(W).sign()[:, None]).all(1)
singular = torch.stack([W[:layers, 0], 0.7 * W[:layers, 0]], 1)
null = torch.stack([-singular[:, 0, 1], singular[:, 0, 0]], 1)
merged = (torch.tanh(torch.einsum("nab,nb->na", singular, null)).abs() < 1e-12).all(1)  # like the point 0
folds = (charts.principal_minors(torch.eye(2, **where) + W) < 0).any(1)
print("share of pre-activations that tanh keeps, to 1 %, by their range:")
pd.Series(returned).unstack()

# %% tags=["nbval-check-output"]
condition = {}
for name, order in (("C0", 0), ("C1", 1)):
    nets = [rl.CkNetwork([2] * 11, order=order, seed=s, **where) for s in range(100)]
    stretch = torch.linalg.svdvals(torch.cat([rl.pushforward(net, sample.x[::50]) for net in nets]))
    condition[name] = float((stretch[:, 0] / stretch[:, -1]).median())
exceptions = int(((error > 1e-6) | ~signs).sum()) + int((~merged).sum())  # a control that fails counts, too
notebook.decide(
    "c0-tanh-injective",
    rules.universal(exceptions, len(W), shown="det W ≠ 0: layers are inverted; det W = 0: they send two points to one"),
    {
        "plain layers inverted": [int(((error <= 1e-6) & signs).sum()), len(W)],
        "singular W: layers that merge two points (control)": [int(merged.sum()), len(singular)],
        "residual layers of the same weights that fold": [int(folds.sum()), len(W)],
        "kept by tanh in float32 for |z| up to 8, 12, 20": [returned["float32", reach] for reach in (8, 12, 20)],
        "median condition number through ten layers, plain": condition["C0"],
        "and residual": condition["C1"],
    },
    protocol="Glorot weights, width 2; 20 points a layer, pre-activations in [-8, 8], returned to 1e-6 in float64; "
    "conditioning at 20 data points, 100 networks.",
)

# %% [markdown]
# ## Residual tanh layers fold
#
# A bounded $f$ gives more. The map $\varphi(x)=x+\Delta l\tanh(Wx+b)$ moves no point by more than $\Delta l$ in any coordinate. Far out, a bounded shift changes little. So the layer is *onto*, and a generic target has one preimage if each is counted with its orientation, $+1$ or $-1$ (its *degree* is 1). Therefore a regular value that has a reversed preimage has at least two more, which are not reversed.
#
# Because each layer is onto, the layers before a folding layer reach the points that it merges. So one folding layer makes the whole network non-injective.
#
# The figure shows such a layer. The fold curve $\det\partial\varphi=0$ is drawn before and after the layer. The stars on the left are points that share one image, the star on the right.

# %%
def most_folded_image(layer, points):
    """Of the given points, the image of the one where the determinant of the layer's Jacobian is least."""
    found = rl.geometry(layer, points)
    return found.x[-1][torch.linalg.det(found.P[0]).argmin()]


layer = pair_of_layers[1]
image = most_folded_image(layer, torch.cartesian_prod(*[torch.linspace(-2, 2, 81, **where)] * 2))
together = charts.preimages(layer, image, reach=1.01)
starred, shared = together.round(decimals=3).tolist(), image.round(decimals=3).tolist()
print(f"{len(together)} points have the image {shared}:", starred)
assert len(together) >= 3
assert torch.allclose(layer.coordinates(together)[-1], image.expand(len(together), 2), atol=1e-9)
fig = section2.folding_layer(layer, (0.0, 0.0), 2.5, together, image, title="A residual tanh layer that folds")
save(fig, "section2_fold")
plt.show()

# %% [markdown]
# How often does a layer fold? First we check the criterion by a search, as the count did for ReLU. We draw a number of layers as at initialisation. In each we look at points near the corners of the slope box, and take the one with the smallest $\det\partial\varphi$. Newton's method then looks for preimages of its image. It starts from a grid that covers the whole region in which preimages can lie.

# %%
zero, merging = torch.zeros(2, **where), []
for s in range(searched):
    layer = rl.CkNetwork.from_weights([W[10 * s]], [zero])
    image = most_folded_image(layer, charts.points_on_pieces(W[10 * s], zero, on=0.0, off=8.0))
    merges = len(charts.preimages(layer, image, reach=1.01, starts=15)) > 1
    merging.append({"certified": charts.is_chart(layer), "merges points": merges})
merging = pd.DataFrame(merging)
assert (merging["certified"] != merging["merges points"]).all()
sure, others = (merging.loc[merging["certified"] == certain, "merges points"] for certain in (True, False))
print(f"layers that merge points: {sure.sum()} of {len(sure)} certified ones, {others.sum()} of {len(others)} others")

# %% [markdown]
# ## Certificates at initialisation and through training
#
# Then we evaluate the certificate for whole networks of ten layers, with step 1 and with step $1/L$. For a residual tanh layer it is `is_p_matrix` of $I+\Delta l\,W$. At initialisation there are many networks. Weights grow while a network learns. So we train networks with both steps and evaluate the certificate on the way.

# %%
names, counts = {1.0: "step 1", 0.1: "step 1/L = 0.1"}, []
for step, name in names.items():
    found = charts.is_p_matrix(torch.eye(2, **where) + step * W).unflatten(0, (networks, 10))
    counts.append((name, "layers certified at initialisation", int(found.sum()), found.numel()))
    counts.append((name, "networks certified at initialisation", int(found.all(1).sum()), networks))
kept = [0, *(updates * k // 20 for k in (1, 2, 4, 8, 14, 20))]
settings = {"seeds": range(seeds), "batch_size": 300, "updates": updates, "learning_rate": 1e-2, "snapshots": kept}
data, runs = sample.to(torch.float32), {}
for step, name in names.items():
    template = rl.CkNetwork([2] * 11, order=1, step=step, dtype=torch.float32, **where)
    runs[step] = rl.fit(template, data, **settings)
    solved, diverged = int(runs[step].solved.sum()), len(runs[step].diverged)
    print(f"{name}: {solved} of {seeds} networks reach 0.0 % error, {diverged} diverged")

# %%
certified = []
for step, run in runs.items():
    trained = [net for update in kept for net in run.snapshots[update]]
    W_run = torch.stack([torch.stack([*net.weights]).detach().double() for net in trained])  # [net, layer, a, b]
    found = charts.is_p_matrix(torch.eye(2, **where) + step * W_run)
    assert found[-seeds:].tolist() == [charts.certificates(net) for net in run.networks]
    norm = (step * torch.linalg.matrix_norm(W_run, 2)).flatten().tolist()
    places = product([names[step]], kept, run.seeds, range(10))
    places = pd.DataFrame(places, columns=["step", "update", "seed", "layer"])
    certified.append(places.assign(certified=found.flatten().tolist(), norm=norm))
certified = pd.concat(certified, ignore_index=True)  # a row for each layer of each network at each snapshot

# %%
whole = certified.groupby(["step", "update", "seed"], sort=False, as_index=False)["certified"].all()
by_layer = statistics.shares(certified, ["step", "update"], "certified")
by_network = statistics.shares(whole, ["step", "update"], "certified")
fig = section2.through_training(by_layer, by_network)
save(fig, "section2_training")
plt.show()
growth = certified.groupby(["step", "update"])["norm"].median()
for name in names.values():
    first, last = growth[name, 0], growth[name, updates]
    print(f"{name}: median norm of step · W from {first:.2f} at initialisation to {last:.2f}")
print(f"how many of {10 * seeds} layers and of {seeds} networks are certified after so many updates")
shown = pd.concat({"layers": by_layer, "networks": by_network}, names=["part"]).reset_index("part")
shown.pivot(index="update", columns=["part", "step"], values="count")

# %% [markdown]
# A fold could lie far from the data and do no harm. So we ask two more questions about the trained networks.
#
# - Is there a layer that preserves orientation at one point of a spiral arm and reverses it at another point of the same arm? Somewhere between the two points the arm then crosses the fold curve.
# - Does the image of an arm at the output *meet itself*? Then two points of the data have the same coordinates, and the network is no chart even on the curve $C$ of the data. (Points that have merged in one layer stay merged. So it is enough to look at the output.)
#
# Where all layers are certified, no arm can meet itself: that is the control. Each arm is sampled at 2000 points, and where chords meet, more finely.

# %%
dense, crossed = rl.Condition().sample(4000, torch.float64), []
arms = curves.arms(dense.x, dense.label)
for step, run in runs.items():
    for s, net in zip(run.seeds, (net.double().requires_grad_(False) for net in run.networks), strict=True):
        a, b, c, d = torch.stack(rl.jacobians(net, sample.x)).flatten(2).unbind(2)
        turned = a * d - b * c < 0  # [layer, point]
        sides = [turned[:, sample.label == arm] for arm in (0, 1)]
        smaller = sum(torch.minimum(side.sum(1), (~side).sum(1)) for side in sides)  # points on the smaller side
        meets = any(curves.self_crosses(lambda x, net=net: net.coordinates(x)[-1], arm) for arm in arms)
        row = {"step": names[step], "seed": s, "layer": range(10), "points": smaller.tolist(), "meets": meets}
        crossed.append(pd.DataFrame(row))
crossed = pd.concat(crossed, ignore_index=True)  # a row for each layer of each trained network
by_seed = crossed.groupby(["step", "seed"], sort=False)[["points", "meets"]].max()
on_data = (by_seed > 0).groupby("step", sort=False).sum()
for name, row in on_data.iterrows():
    print(f"{name}: of {seeds} networks, data cross a fold in {row['points']}, an arm meets itself in {row['meets']}")
at_end = whole[whole["update"] == updates].set_index(["step", "seed"])["certified"]
safe = [int(by_seed.loc[at_end, "meets"].sum()), int(at_end.sum())]
print(f"of the {safe[1]} networks that are certified as a whole, in {safe[0]} an arm meets itself (control: none must)")
assert safe[0] == 0

# %% [markdown]
# The network below is one of those with the least error (0.0 % where any seed reaches it). Of these it is the one that turns over most points of the data in one layer. The coloured curves are the two spiral arms, as this layer receives them and as it passes them on.

# %%
run = runs[1.0]
least = run.error == run.error.nan_to_num(1.0).min()
best = [s for s, is_least in zip(run.seeds, least.tolist(), strict=True) if is_least]
at_step_1 = crossed[crossed["step"] == names[1.0]]
most = at_step_1.loc[at_step_1["points"].where(at_step_1["seed"].isin(best)).idxmax()]
percentile = 100 * (at_step_1.groupby("seed")["points"].max() < most["points"]).mean()
l, net = most["layer"], run.networks[run.seeds.index(most["seed"])]
before = net.coordinates(sample.x)[l].detach()
layer = rl.CkNetwork.from_weights([net.weights[l].detach().double()], [net.biases[l].detach().double()])
image = most_folded_image(layer, before)
together = charts.preimages(layer, image, reach=1.01)
print(f"{len(together)} preimages of the star")
middle = (before.amax(0) + before.amin(0)) / 2
extent = float((before - middle).abs().max()) * 1.15
title = f"Seed {most['seed']}, layer {l + 1}: of {len(best)} seeds with the least error, most data points turned over\n"
title += f"({most['points']} points, percentile {percentile:.0f} of all {seeds} networks)"
fig = section2.folding_layer(layer, middle.tolist(), extent, together, image, data=(before, data.label), title=title)
save(fig, "section2_fold_trained")
plt.show()

# %% tags=["nbval-check-output"]
for what, table in (("layers", by_layer), ("networks", by_network)):
    for last in table[table["update"] == updates].itertuples():
        counts.append((last.step, f"{what} certified after training", last.count, last.n))
for name, row in on_data.iterrows():
    counts.append((name, "trained networks whose data cross a fold", int(row["points"]), seeds))
    counts.append((name, "trained networks in which an arm meets itself at the output", int(row["meets"]), seeds))
counts = pd.DataFrame(counts, columns=["step", "what", "k", "n"]).sort_values("step", kind="stable")
shares = {f"{row.what}, {row.step}": [row.k / row.n, statistics.wilson(row.k, row.n)] for row in counts.itertuples()}
notebook.decide(
    "tanh-residual-folds",
    rules.universal(
        int(others.sum()),
        searched,
        shown="layers that send two points to one: those of which a principal minor of I + Δl W is not positive",
        repaired="it is a diffeomorphism where every principal minor of I + Δl W is positive, "
        "and for det W ≠ 0 it folds where one is negative",
    ),
    shares | {"certified trained networks in which an arm meets itself (control)": safe},
    protocol=f"Ten layers; all of {seeds} seeds, {updates} updates; Wilson's intervals, layers taken as independent.",
)

# %% [markdown]
# So the reading "a layer changes coordinates" is a hypothesis about the weights. The networks of the paper's figures are trained at step 1. The record says how often it fails for them, on the plane as a whole and on the curves of the data. A smaller explicit step does not make it true by itself either. What counts is $\Delta l\,W$, and the weights grow to make up for the smaller step. The certificate is a quick test of it.
#
# ## A manifold in pixel space: the circle of rotated images
#
# The paper's example of a manifold that is not a vector space is a circle: the rotations of an image through the full angle. We rotate a handwritten six from scikit-learn's digits. Each rotated image is a point in $\mathbb R^{64}$, with one coordinate for each pixel.

# %%
angle = torch.arange(angles) * (360 / angles)
circle = charts.rotated_images(load_digits().images[6] / 16, angle.tolist())
steps = (circle.roll(-1, 0) - circle).norm(dim=1)
length = float(steps.sum())
dimension = charts.local_dimension(circle, neighbours=7)
average = dimension.double().mean()
print(f"{len(circle)} points in R^{circle.shape[1]}; ", end="")
print(f"local dimension {average:.2f} on average, {int(dimension.max())} at most")
centred = circle - circle.mean(0)
components = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:3].mT
lag = (torch.arange(angles)[:, None] - torch.arange(angles)) % angles
apart, chord = torch.minimum(lag, angles - lag), torch.cdist(circle, circle)
arc = torch.cat([torch.zeros(1), steps.cumsum(0)])[:-1]
arc = (arc[:, None] - arc).abs()
arc = torch.minimum(arc, length - arc)
some = slice(None, None, max(1, angles // 90))
pairs = arc[some, some].flatten(), chord[some, some].flatten()
fig = section2.rotated_circle(circle, angle.tolist(), components, *pairs, side=8)
save(fig, "section2_circle")
plt.show()

# %% [markdown]
# Four facts make these points a circle and not just a cloud.
#
# - The local dimension is 1, against 64 pixels.
# - The curve closes: the step from the last image to the first is like all other steps.
# - The curve does not meet itself: images that are an eighth of a turn or more apart stay many steps apart.
# - The curve bends: chords are shorter than arcs.
#
# The control adds a second freedom to the family, the brightness. The same measure then answers 2.

# %%
brighter = steps.mean() / circle.norm(dim=1).mean()  # as far apart as neighbouring rotations
sheet = torch.cat([circle * (1 + brighter * k) for k in range(-4, 5)])
control = charts.local_dimension(sheet, neighbours=9).double().mean()
nearest = float(chord[apart > angles // 8].min())
in_steps = [float(gap) / float(steps.mean()) for gap in (steps[-1], steps.max(), nearest)]
print("in mean steps: closing step {:.2f}, largest step {:.2f}, closest approach {:.0f}".format(*in_steps))
print(f"control with brightness: local dimension {control:.2f}")
assert average < 1.05 and steps[-1] < 1.5 * steps.mean()
assert nearest > 3 * float(steps.max()) and control > 1.8

# %% [markdown]
# The distance in pixel space follows the curve only for small rotations. Then it stops growing, and even falls: a six that stands on its head differs less from the upright six than one that lies on its side. So the Euclidean distance of pixels says little about the distance on the manifold. This is the problem for which the learned metric of §4 is meant. Two remarks on the geometry follow.
#
# A curve has no intrinsic curvature, so "not flat" means two other things here. The first is bending in the surrounding space. The total turning of the tangent measures it. It is one full turn for a plane convex curve, and more for every other closed curve (Fenchel's theorem).
#
# The second is global: no single chart covers a circle. The angle jumps somewhere, and every continuous function on the circle takes some value twice. The paper speaks of coordinates that hold over the entire manifold. What a network holds for the whole circle at once is 64 numbers for a one-dimensional set. In the terms of a textbook this is an *embedding* and not a chart. If all layers are injective with invertible Jacobians it stays an embedding, and the certificates above are about this. The cell tests it for residual networks of width 64: a circle stays a circle where the image does not come close to itself.

# %%
tangent = (circle.roll(-1, 0) - circle) / steps[:, None]
turning = (tangent * tangent.roll(-1, 0)).sum(1).clamp(-1, 1).acos().sum() / (2 * torch.pi)
print(f"length {length:.1f} pixels of brightness, largest chord {chord.max():.1f}, ", end="")
print(f"total turning {turning:.1f} full turns")
assert turning > 1 and chord.max() < length / torch.pi and chord[0, angles // 2] < chord[0, angles // 4]
wide = {step: rl.CkNetwork([64] * 11, order=1, step=step, seed=seed) for step in (1.0, 0.1)}
for step, net in wide.items():
    y = net.coordinates(circle)[-1].detach()
    gaps = (y.roll(-1, 0) - y).norm(dim=1)
    approach = torch.cdist(y, y)[apart > angles // 8].min() / gaps.mean()
    print(f"step {step}: {sum(charts.certificates(net))} of 10 layers certified; closest approach {approach:.0f} steps")

# %%
from riemlib.companion.references import references

references(
    fiedler_ptak="matrices with positive principal minors (P-matrices)",
    samelson="the bijectivity of piecewise linear maps by such matrices",
    puthawala="ReLU layers that are injective on the whole space",
)

# %%
notebook.closing(seed=seed)
