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
# Section 2 of the paper sets up its reading of a network. The data lie on a manifold $M$; a layer doesn't move the data, it changes the *coordinates* in which they are
# written. A map is a change of coordinates only if it can be undone, so the reading stands or falls with one property: **each layer is
# injective**. The paper says that a plain ReLU layer is not, and that a residual ReLU layer is. Of tanh, which all of its experiments use, it says nothing and takes the property
# for granted.
#
# This notebook decides the question for every layer the paper uses. There is one criterion, it takes a line of algebra, and it contradicts the paper twice:
# a residual layer folds the plane for an open set of weights, with ReLU and with tanh alike, while a plain tanh layer almost never fails to be injective.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live
seed: int = 0  # of the random layers and of the first network
layers: int = 500  # random ReLU layers tested at each width
networks: int = 1000  # networks at initialisation, for each step
searched: int = 100  # tanh layers in which Newton's method looks for folds
seeds: int = 100  # networks trained for each step
updates: int = 1000  # of Adam, for each of them
angles: int = 360  # rotations of one image

# %%
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import riemlib as rl
from riemlib import charts, figures, ledger, notebook
from riemlib.evidence import wilson
from riemlib.figures import charts as draw

# %%
notebook.opening("§2 Notation", device=device, time="about a minute and a half")
torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(seed)
kw = {"device": device}

# %% [markdown]
# ## Coordinates, indices, softmax
#
# A point $q\in M$ is known to us only through coordinates. At layer $l$ they are $x^{(l)}(q)\in\mathbb R^{d_l}$, and a network is a chain of coordinate changes
#
# $$ x^{(l+1)} = \varphi^{(l)}\circ x^{(l)},\qquad x^{(L)} = \varphi^{(L-1)}\circ\dots\circ\varphi^{(0)}\circ x^{(0)} . $$
#
# An index in parentheses is a layer; a free upper index numbers the components of a vector, a lower one those of a covector, and a repeated one is summed. `net.coordinates(x)` is the
# list $x^{(0)},\dots,x^{(L)}$ with a row for each point, and a layer's Jacobian $(\partial x^{(l+1)}/\partial x^{(l)})^a{}_b$ is indexed `[point, a, b]`.

# %%
net = rl.CkNetwork([2] * 11, order=1, step=1.0, seed=seed, **kw)
sample = rl.spiral(1000, **kw)
x = net.coordinates(sample.x)
J = rl.jacobians(net, sample.x)
print(f"{len(x)} coordinate systems, each {tuple(x[0].shape)}; {len(J)} Jacobians, each {tuple(J[0].shape)}")

# %% [markdown]
# A vector $v^a$ at layer 0 has the components $v^{(1)a}=J^a{}_b\,v^b$ at layer 1. That sum over the repeated index is what `einsum` writes, and it is what an infinitesimal displacement does.

# %%
v = torch.randn(len(sample), 2, generator=generator).to(device)
pushed = torch.einsum("nab,nb->na", J[0], v)
tiny = 1e-6
moved = (net.coordinates(sample.x + tiny * v)[1] - net.coordinates(sample.x - tiny * v)[1]) / (2 * tiny)
assert torch.allclose(pushed, moved, atol=1e-8)
print("largest difference below", ledger.power(1e-8))

# %% [markdown]
# The classifier at the end reads the last coordinates through a linear map and a softmax,
#
# $$ P(Y=j\mid q) = \frac{e^{W^{(L)j}x^{(L)}(q)}}{\sum_k e^{W^{(L)k}x^{(L)}(q)}}, $$
#
# to which we add a bias. `net(x)` gives the exponents. The paper calls this map a coordinate transformation as well. It is not one: adding one number to all exponents changes nothing, so the
# softmax loses a dimension. Nothing below depends on it.

# %%
logits = net(sample.x)
exponents = (x[-1] @ net.readout.weight.mT + net.readout.bias).exp()
assert torch.allclose(logits.softmax(1), exponents / exponents.sum(1, keepdim=True), rtol=1e-12)
assert torch.allclose((logits + 3.0).softmax(1), logits.softmax(1), rtol=1e-12)
rank = torch.linalg.matrix_rank(torch.func.jacrev(lambda z: z.softmax(0))(logits[0]))
print(f"softmax of {logits.shape[1]} exponents: Jacobian of rank {int(rank)}")

# %% [markdown]
# ## A ReLU layer is not a coordinate change
#
# Where $Wx+b$ has only negative components, $\mathrm{relu}(Wx+b)=0$: a whole cone of points has one image. For any invertible $W$ such points are found by solving $Wx+b=(-1,\dots,-1)$ and
# $Wx+b=(-2,\dots,-2)$. The two are distinct, they have the same image, and the Jacobian there has rank 0.

# %%
W = torch.tensor([[1.0, -0.6], [0.5, 1.1]], **kw)
b = torch.tensor([0.3, -0.2], **kw)
plain = charts.one_layer(W, b, order=0, activation="relu")
pair = torch.stack([charts.points_on_pieces(W, b, off=off)[0] for off in (-1.0, -2.0)])
ranks = torch.linalg.matrix_rank(rl.jacobians(plain, pair)[0])
print("the points", pair.round(decimals=3).tolist(), "have the images", plain.coordinates(pair)[-1].tolist())
print("and Jacobians of rank", ranks.tolist())

# %% [markdown]
# "Every ReLU layer" would still be too much to say. If the layer widens, it can keep both signs of each coordinate: with the weights $(W,-W)$ and the biases $(b,-b)$,
# $\mathrm{relu}(z)-\mathrm{relu}(-z)=z$ gives $x$ back. So the claim is tested on square layers, with these widened ones as its control.

# %%
W2 = torch.randn(layers, 2, 2, generator=generator).to(device)
b2 = torch.randn(layers, 2, generator=generator).to(device)
one, two = (charts.points_on_pieces(W2, b2, off=off)[:, 0] for off in (-1.0, -2.0))
image = [torch.relu(torch.einsum("nab,nb->na", W2, p) + b2) for p in (one, two)]
same = ((image[0] == image[1]).all(1) & ((one - two).norm(dim=1) > 1e-3)).sum()
z = torch.einsum("nab,nb->na", W2, one) + b2
back = torch.linalg.solve(W2, torch.relu(z) - torch.relu(-z) - b2)
recovered = ((back - one).norm(dim=1) < 1e-8 * one.norm(dim=1)).sum()

# %% tags=["nbval-check-output"]
notebook.decide(
    "relu-not-chart",
    ledger.condition(int(same), layers, int(recovered), layers, when="the layer does not widen"),
    {"square layers with two points of one image": [int(same), layers], "rank of the Jacobian at the pair": ranks.tolist(),
     "widened layers (W, -W) inverted exactly (control)": [int(recovered), layers]},
    protocol="Two points with all pre-activations negative in random 2 by 2 Gaussian layers; the control widens the same layers to 4.",
)

# %% [markdown]
# ## A residual layer: one criterion for every increasing activation
#
# Now $\varphi(x)=x+\Delta l\,f(Wx+b)$. Suppose two points have one image, $\varphi(x)=\varphi(y)$. Between them each unit $a$ of $f$ has a secant slope $D_a$, so that
# $f(Wx+b)-f(Wy+b)=D\,W(x-y)$ with $D=\mathrm{diag}(D_1,\dots,D_d)$, and
#
# $$ (I+\Delta l\,D\,W)\,(x-y)=0 . $$
#
# If $x\ne y$, that determinant vanishes. ReLU and tanh have slopes in $[0,1]$, whatever the points are. The determinant is affine in each $D_a$, so on the box $[0,1]^d$ it lies between its
# smallest and largest corner, and in the corner that has $D_a=1$ for $a\in S$ and 0 elsewhere, it is the principal minor $\det\,(I+\Delta l\,W)_{SS}$. Therefore:
#
# > **If all principal minors of $I+\Delta l\,W$ are positive (it is a *P-matrix*), the layer is injective.**
#
# There are $2^d-1$ of them: three numbers for a layer of width 2. For sigmoid the largest slope is 1/4, and $\Delta l\,W/4$ takes the place of $\Delta l\,W$.
# Conversely, if $W$ is invertible, $Wx+b$ reaches every value, so the slopes come as near to every corner as we like. A negative minor then makes $\det\partial\varphi$ negative somewhere, while
# it is 1 where all slopes vanish; and a continuous injective map of $\mathbb R^d$ cannot preserve orientation in one place and reverse it in another. Only a minor of exactly 0 stays open.
#
# The picture is the whole argument. Above, $\det(I+\Delta l\,D\,W)$ over the square of slopes with its four corner values, the first of which, 1, is the empty minor; below, what the layer does to a
# grid, pink where it reverses orientation.

# %%
pair_of_layers = [charts.one_layer(torch.tensor(W, **kw), b) for W in ([[0.9, -1.1], [1.2, 0.2]], [[-0.4, 1.2], [1.1, -0.5]])]
print([charts.principal_minors(torch.eye(2, **kw) + layer.weights[0]).tolist() for layer in pair_of_layers])
assert [charts.is_chart(layer) for layer in pair_of_layers] == [True, False]
fig = draw.certificates(pair_of_layers)
figures.save(fig, "section2_certificate")
plt.show()

# %% [markdown]
# `rl.charts.certificates(net)` applies the criterion layer by layer and `is_chart(net)` to all layers at once. `True` is a proof. Two more cases complete the rule. A plain layer (order 0) with a strictly increasing $f$ and a $W$ of
# full column rank is injective. And a layer of order 2 or more is injective *whatever $f$ is*: its state is $(x,D_1,\dots)$, it sets $D_1'=D_1+\Delta l f(x)$ and $x'=x+\Delta l\,D_1'$, so that
# $x=x'-\Delta l\,D_1'$, from $x$ we know $f(x)$, and from that $D_1$. That is a statement about the state. The coordinates $x$ alone are a projection of it, and may well overlap.

# %%
for name, order in (("C0", 0), ("C1", 1), ("C2", 2), ("mixed", [1] * 5 + [0] + [1] * 4)):
    found = charts.certificates(rl.CkNetwork([2] * 11, order=order, seed=seed + 1, **kw))
    print(f"{name:6} {sum(found):2} of {len(found)} layers certified  ", "".join("+" if certain else "-" for certain in found))

# %% [markdown]
# ## A residual ReLU layer need not be bijective
#
# In one dimension, $I+\Delta l\,W$ has one principal minor, $1+\Delta l\,w$. At $w=-2$ it is negative, and indeed
#
# $$ x+\mathrm{relu}(-2x)=|x| . $$
#
# The left and middle panels show a plain layer, which flattens three of its four linear pieces onto two edges and a corner; the right one shows residual layers with a minor above, at and below 0.

# %%
disc = 2 * torch.rand(6000, 2, generator=generator).to(device) - 1
inside = disc[disc.norm(dim=1) < 1]
piece = ((inside @ W.mT + 0 * b > 0) * torch.tensor([1, 2], **kw)).sum(1).long()
line = torch.linspace(-2, 2, 401, **kw)
curves = {f"w = {w:g}": line + torch.relu(w * line) for w in (-0.5, -1.0, -2.0)}
assert torch.equal(curves["w = -2"], line.abs())
fig = draw.relu_layers(charts.one_layer(W, 0 * b, order=0, activation="relu"), inside, piece, line, curves)
figures.save(fig, "section2_relu")
plt.show()

# %% [markdown]
# For ReLU the criterion is exact: with $W$ invertible, the layer is bijective *if and only if* $I+\Delta l\,W$ is a P-matrix (substitute $y=Wx+b$ and it is a linear complementarity problem; this is
# the classical theorem about them). We test it against a count that knows nothing of minors. A ReLU layer has $2^d$ linear pieces, so the preimages of a point are found exactly
# by solving every piece and keeping the solutions that lie on their own piece (`relu_preimages`). As test points we take the image of an interior point of each piece, and
# random points besides. The former suffice: a preimage count that is 1 on all of them forces all pieces to have one orientation, and with it the same count everywhere.

# %%
count, minors = {}, {}
for d in (2, 3):
    W = 1.2 * d**-0.5 * torch.randn(layers, d, d, generator=generator).to(device)
    b = torch.randn(layers, d, generator=generator).to(device)
    x = charts.points_on_pieces(W, b)
    y = x + torch.relu(x @ W.mT + b[:, None])
    y = torch.cat([y, 3 * torch.randn(layers, 50, d, generator=generator).to(device)], 1)
    count[d] = charts.relu_preimages(W, b, y)[1].sum(-1)
    minors[d] = torch.eye(d, **kw) + W
    often = dict(enumerate(count[d].flatten().bincount().tolist()))
    print(f"d = {d}: number of preimages, and of the {count[d].numel()} points that have so many: {often}")

# %% [markdown]
# Beside the criterion stand two wrong ones, which have to be caught: "the determinant is positive", which looks at one minor only, and "the Lipschitz constant of the residual part is
# below 1", which is sufficient but rejects many bijective layers.

# %%
bijective = {d: (count[d] == 1).all(1) for d in count}
criteria = {
    "P-matrix": {d: charts.is_p_matrix(M) for d, M in minors.items()},
    "positive determinant": {d: torch.linalg.det(M) > 0 for d, M in minors.items()},
    "Lipschitz below 1": {d: torch.linalg.matrix_norm(M - torch.eye(d, **kw), 2) < 1 for d, M in minors.items()},
}
disagree = {name: [int((said[d] != bijective[d]).sum()) for d in count] for name, said in criteria.items()}
assert sum(disagree["P-matrix"]) == 0 and min(disagree["positive determinant"] + disagree["Lipschitz below 1"]) > 0
print(f"disagreements with the count in {layers} layers each of width 2 and 3: {disagree}")

# %% tags=["nbval-check-output"]
folding = [int((~bijective[d]).sum()) for d in count]
notebook.decide(
    "relu-residual-bijective",
    ledger.universal(
        sum(folding), 2 * layers, shown="x + relu(-2x) = |x| in one dimension, and random layers in two and three",
        repaired="for det W ≠ 0 it is bijective exactly where every principal minor of I + Δl W is positive; "
        f"criterion and exact preimage count disagree in {sum(disagree['P-matrix'])} of {2 * layers} layers",
    ),
    {"share not bijective, d = 2": [folding[0] / layers, wilson(folding[0], layers)],
     "share not bijective, d = 3": [folding[1] / layers, wilson(folding[1], layers)],
     "P-matrix criterion against the count, disagreements (d = 2, d = 3)": disagree["P-matrix"],
     "wrong criterion, positive determinant": disagree["positive determinant"],
     "wrong criterion, Lipschitz below 1": disagree["Lipschitz below 1"]},
    protocol="Gaussian weights of standard deviation 1.2/√d, biases 1; exact count at an image of every linear piece and 50 random points a layer.",
)

# %% [markdown]
# ## A plain tanh layer is injective
#
# $y=\tanh(Wx+b)$ is undone by $x=W^{-1}(\mathrm{artanh}(y)-b)$ whenever $\det W\ne0$, which random weights satisfy with probability 1. The image is only a cube, but a chart needs no more than an
# invertible map onto its image. The paper's order of preference suggests that a plain layer is the worse chart. Test it with weights drawn as at initialisation: how often does
# the plain layer's inverse return the point, and how often does the residual layer *of the same weights* fold?

# %%
W = torch.stack([W.detach() for s in range(networks) for W in rl.CkNetwork([2] * 11, order=0, seed=s, **kw).weights])
z = 2 * torch.rand(len(W), 20, 2, generator=generator).to(device) - 1
x = torch.linalg.solve(W, z.mT).mT
back = torch.linalg.solve(W, torch.tanh(x @ W.mT).atanh().mT).mT
invertible = ((back - x).norm(dim=2) < 1e-8 * x.norm(dim=2).clamp(min=1)).all(1)
folds = (charts.principal_minors(torch.eye(2, **kw) + W) < 0).any(1)
print(f"{len(W)} layers: {int(invertible.sum())} plain ones inverted, {int(folds.sum())} residual ones of the same weights fold")

# %% [markdown]
# The control makes $W$ singular by repeating a row up to a factor. Then points that differ along the null vector of $W$ have one image, and no certificate is given.

# %%
singular = torch.stack([W[:layers, 0], 0.7 * W[:layers, 0]], 1)
null = torch.stack([-singular[:, 0, 1], singular[:, 0, 0]], 1)
merged = (torch.tanh(torch.einsum("nab,nb->na", singular, null)).abs() < 1e-12).all(1).sum()  # the null vector goes where 0 goes
refused = sum(not charts.is_chart(charts.one_layer(S, b, order=0)) for S, b in zip(singular[:20], torch.zeros(20, 2, **kw), strict=True))
assert int(merged) == len(singular) and refused == 20
print(f"singular W: {int(merged)} of {len(singular)} layers send two points to one; certificates refused in {refused} of 20")

# %% [markdown]
# There is a sense in which the paper's preference is right: conditioning. An inverse may exist and be useless. The Jacobian of ten plain layers squeezes some directions far more than
# that of ten residual layers.

# %%
condition = {}
for name, order in (("C0", 0), ("C1", 1)):
    P = torch.cat([rl.pushforward(rl.CkNetwork([2] * 11, order=order, seed=s, **kw), sample.x[::50]) for s in range(100)])
    stretch = torch.linalg.svdvals(P)
    condition[name] = float((stretch[:, 0] / stretch[:, -1]).median())
print("median condition number of the Jacobian through ten layers:", ledger.show(condition))

# %% tags=["nbval-check-output"]
notebook.decide(
    "c0-tanh-injective",
    ledger.universal(
        int((invertible & folds).sum()), len(W),
        shown="the plain tanh layer has an explicit inverse where the residual layer of the same weights folds",
        repaired="a plain tanh layer is injective exactly where det W ≠ 0; what the residual form improves is the conditioning, not injectivity",
    ),
    {"plain layers inverted": [int(invertible.sum()), len(W)], "residual layers of the same weights that fold": [int(folds.sum()), len(W)],
     "singular W: layers that merge two points (control)": [int(merged), len(singular)],
     "median condition number through ten layers, plain": condition["C0"], "and residual": condition["C1"]},
    protocol="Glorot weights of width 2; 20 points a layer with pre-activations in [-1, 1], returned to 1e-8; conditioning at 20 data points, 100 networks.",
)

# %% [markdown]
# ## Residual tanh layers fold
#
# A bounded $f$ adds something special. The map $\varphi(x)=x+\Delta l\tanh(Wx+b)$ moves no point further than $\Delta l$ in a coordinate, so it is *onto*, and its degree is 1: the orientations of
# the preimages of a regular value add up to $+1$. Where the layer reverses orientation it has therefore at least three preimages, not two. And because each layer is onto, one folding layer is enough
# to make the whole network non-injective: the points it merges are reached.
#
# Here is such a layer. The fold curve $\det\partial\varphi=0$ is drawn before and after; the starred points on the left share the image starred on the right.

# %%
layer = pair_of_layers[1]
x = torch.cartesian_prod(*[torch.linspace(-2, 2, 81, **kw)] * 2)
det = torch.linalg.det(rl.jacobians(layer, x)[0])
image = layer.coordinates(x[det.argmin()][None])[-1][0].detach()
together = charts.preimages(layer, image, reach=1.01)
print(f"{len(together)} points have the image {[round(v, 3) for v in image.tolist()]}:", together.round(decimals=3).tolist())
assert len(together) >= 3 and torch.allclose(layer.coordinates(together)[-1], image.expand(len(together), 2), atol=1e-9)
fig = draw.fold(layer, (0.0, 0.0), 2.5, together, image)
figures.save(fig, "section2_fold")
plt.show()

# %% [markdown]
# How often does that happen? First the criterion is checked by search, as the count did for ReLU. In each of a number of layers drawn as at initialisation we go to the point with the
# smallest $\det\partial\varphi$ among those near the corners of the slope box, and let Newton's method look for preimages of its image, from a grid that covers all of the region in which they can lie.

# %%
pairs = torch.zeros(2, 2, dtype=torch.int64)  # [certified, two or more preimages found]
zero = torch.zeros(2, **kw)
for s in range(searched):
    layer = charts.one_layer(W[10 * s], zero)
    corners = charts.points_on_pieces(W[10 * s], zero, on=0.0, off=8.0)
    image = layer.coordinates(corners)[-1][torch.linalg.det(rl.jacobians(layer, corners)[0]).argmin()].detach()
    pairs[int(charts.is_chart(layer)), int(len(charts.preimages(layer, image, reach=1.01, starts=15)) > 1)] += 1
assert pairs[0, 0] == pairs[1, 1] == 0
merging = [f"{int(pairs[k, 1])} of {int(pairs[k].sum())}" for k in (1, 0)]
print(f"layers that merge points: {merging[0]} certified ones, {merging[1]} others")

# %% [markdown]
# Then the certificate is evaluated for whole networks of ten layers at initialisation, with step 1 and with step $1/L$. For a residual tanh layer it is
# `is_p_matrix` of $I+\Delta l\,W$, which takes any number of layers at once.

# %%
initial = {}
for step in (1.0, 0.1):
    found = charts.is_p_matrix(torch.eye(2, **kw) + step * W).unflatten(0, (networks, 10))
    initial[step] = (int(found.sum()), int(found.all(1).sum()))
    for what, k, n in zip(("layers", "networks"), initial[step], (found.numel(), networks), strict=True):
        low, high = wilson(k, n)
        print(f"step {step}: {k / n:.3f} in [{low:.3f}, {high:.3f}] of the {what} certified")

# %% [markdown]
# ## Certificates through training
#
# Weights grow as a network learns. So we train, for both steps, and evaluate the certificate on the way: the same data, the same seeds, ten tanh layers of order 1.

# %%
template = {"order": 1, "dtype": torch.float32, **kw}
kept = [0, *(updates * k // 20 for k in (1, 2, 4, 8, 14, 20))]
settings = {"seeds": range(seeds), "batch_size": 300, "updates": updates, "learning_rate": 1e-2, "snapshots": kept}
data = sample.to(torch.float32)
runs = {step: rl.fit(rl.CkNetwork([2] * 11, step=step, **template), data, **settings) for step in (1.0, 0.1)}
for step, run in runs.items():
    print(f"step {step}: {int(run.solved.sum())} of {seeds} networks reach 0.0 % error, {len(run.diverged)} diverged")

# %%
certain, growth = {}, {}
for step, run in runs.items():
    W_run = torch.stack([torch.stack([*net.weights]).detach().double() for at in kept for net in run.snapshots[at]])
    W_run = W_run.unflatten(0, (len(kept), seeds))  # [snapshot, network, layer, a, b]
    certain[step] = charts.is_p_matrix(torch.eye(2, **kw) + step * W_run)
    growth[step] = (step * torch.linalg.matrix_norm(W_run, 2)).flatten(1).median(1).values
    assert certain[step][-1].tolist() == [charts.certificates(net) for net in run.networks]
    print(f"step {step}: median norm of step · W from {growth[step][0]:.2f} at initialisation to {growth[step][-1]:.2f}")

# %%
names = {1.0: "step 1", 0.1: "step 1/L = 0.1"}
by_layer = {names[step]: found.sum((1, 2)).tolist() for step, found in certain.items()}
by_network = {names[step]: found.all(2).sum(1).tolist() for step, found in certain.items()}
print("layers certified at updates", kept, by_layer, "of", 10 * seeds)
print("networks certified", by_network, "of", seeds)
fig = draw.through_training(kept, by_layer, by_network, depth=10, runs=seeds)
figures.save(fig, "section2_training")
plt.show()

# %% [markdown]
# A fold could lie far from the data and do no harm. So for the trained networks we also ask whether some layer preserves orientation at one point of a spiral arm and reverses it at another point of the
# same arm: somewhere between the two, the arm then crosses the fold curve.

# %%
reached = {}
for step, run in runs.items():
    crossed = []
    for net in run.networks:
        a, b, c, d = torch.stack(rl.jacobians(net, data.x)).flatten(2).unbind(2)
        arms = (a * d - b * c < 0).unflatten(1, (2, -1))  # det J < 0, [layer, arm, point]
        crossed.append(torch.minimum(arms.sum(2), (~arms).sum(2)).sum(1))
    reached[step] = torch.stack(crossed)  # [network, layer]: points on the smaller side of the fold curve, both arms
    share = int((reached[step] > 0).any(1).sum())
    print(f"step {step}: in {share} of {seeds} trained networks the data cross a fold curve")

# %% [markdown]
# The network below has the least error (0.0 % where any seed reaches it) and folds the plane on the way, right through its data. The coloured curves are the two spiral arms as that layer receives them and as it
# passes them on.

# %%
error = runs[1.0].error
best = (error == error.nan_to_num(1.0).min()).nonzero()[:, 0]
folds_most = int(best[reached[1.0][best].amax(1).argmax()])
l = int(reached[1.0][folds_most].argmax())
net = runs[1.0].networks[folds_most]
before = net.coordinates(data.x)[l].detach().double()
layer = charts.one_layer(net.weights[l].detach().double(), net.biases[l].detach().double())
image = layer.coordinates(before)[-1][torch.linalg.det(rl.jacobians(layer, before)[0]).argmin()].detach()
together = charts.preimages(layer, image, reach=1.01)
print(f"seed {runs[1.0].seeds[folds_most]}, layer {l + 1}: {int(reached[1.0][folds_most, l])} of {len(data)} points on the smaller side")
print(f"{len(together)} preimages of the star")

# %%
middle = (before.amax(0) + before.amin(0)) / 2
extent = float((before - middle).abs().max()) * 1.15
fig = draw.fold(layer, middle.tolist(), extent, together, image, data=(before, data.label))
figures.save(fig, "section2_fold_trained")
plt.show()

# %%
shares = {
    step: {
        "layers certified at initialisation": (initial[step][0], 10 * networks),
        "networks certified at initialisation": (initial[step][1], networks),
        "layers certified after training": (int(found[-1].sum()), 10 * seeds),
        "networks certified after training": (int(found[-1].all(1).sum()), seeds),
        "trained networks whose data cross a fold": (int((reached[step] > 0).any(1).sum()), seeds),
    }
    for step, found in certain.items()
}

# %% tags=["nbval-check-output"]
notebook.decide(
    "tanh-residual-folds",
    ledger.universal(
        int(pairs[0, 1]), searched, shown="distinct points with one image, found in every layer without a certificate and in none with one",
        repaired="a residual tanh layer is a diffeomorphism of the whole space where every principal minor of I + Δl W is positive, "
        "and for det W ≠ 0 it folds where one is negative",
    ),
    {f"{what}, {names[step]}": [k / n, wilson(k, n)] for step in (1.0, 0.1) for what, (k, n) in shares[step].items()},
    protocol=f"Width 2, ten layers, Glorot weights; {seeds} seeds trained for {updates} updates, whether they solve the spiral or not; Wilson 95 % intervals, layers taken as independent.",
)

# %% [markdown]
# So the reading "a layer changes coordinates" is a hypothesis about the weights, and for the networks of the paper's figures, trained at step 1, it is usually false for the plane as a whole. A
# smaller explicit step does not give it for free either: what counts is $\Delta l\,W$, and the weights grow to make up for the step. What the certificate offers is a test that takes microseconds.
#
# ## A manifold in pixel space: the circle of rotated images
#
# The paper's example of a manifold that is not a vector space is a circle made by turning an image through the full angle. We turn a handwritten six of scikit-learn's digits. Each rotated image is a point in
# $\mathbb R^{64}$, one coordinate a pixel.

# %%
digit = load_digits().images[6] / 16
angle = torch.arange(angles) * (360 / angles)
circle = charts.rotated_images(digit, angle.tolist())
steps = (circle.roll(-1, 0) - circle).norm(dim=1)
length = float(steps.sum())
dimension = charts.local_dimension(circle, neighbours=7)
print(f"{len(circle)} points in R^{circle.shape[1]}; local dimension {dimension.double().mean():.2f} on average, {int(dimension.max())} at most")

# %% [markdown]
# Four facts make it a circle and not just a cloud. The local dimension is 1, against 64 pixels. The curve closes: the step from the last image to the first is like all others. It does not meet itself:
# images an eighth of a turn or more apart stay many steps apart. And it bends: chords are shorter than arcs. As a control, adding a second freedom (brightness) to the family makes
# the same measure answer 2.

# %%
lag = (torch.arange(angles)[:, None] - torch.arange(angles)) % angles
apart = torch.minimum(lag, angles - lag)
chord = torch.cdist(circle, circle)
brighter = steps.mean() / circle.norm(dim=1).mean()  # as far apart as neighbouring rotations
sheet = torch.cat([circle * (1 + brighter * k) for k in range(-4, 5)])
control = charts.local_dimension(sheet, neighbours=9).double().mean()
nearest = float(chord[apart > angles // 8].min())
in_steps = [float(gap) / float(steps.mean()) for gap in (steps[-1], steps.max(), nearest)]
print("in mean steps: closing step {:.2f}, largest step {:.2f}, closest approach {:.0f}".format(*in_steps))
print(f"control with brightness: local dimension {control:.2f}")
assert dimension.double().mean() < 1.05 and steps[-1] < 1.5 * steps.mean() and nearest > 3 * float(steps.max()) and control > 1.8

# %%
_, _, V = torch.linalg.svd(circle - circle.mean(0), full_matrices=False)
components = (circle - circle.mean(0)) @ V[:3].mT
arc = torch.cat([torch.zeros(1), steps.cumsum(0)])[:-1]
arc = (arc[:, None] - arc).abs()
arc = torch.minimum(arc, length - arc)
thin = slice(None, None, max(1, angles // 90))
fig = draw.rotated_circle(circle, angle.tolist(), components, arc[thin, thin].flatten(), chord[thin, thin].flatten(), side=8)
figures.save(fig, "section2_circle")
plt.show()

# %% [markdown]
# Distance in pixel space follows the curve only for small rotations. Then it saturates, and even falls: on its head, a six looks more like itself than on its side. The Euclidean distance of pixels says
# little about the distance on the manifold, which is the problem that the learned metric of §4 is meant for. Two remarks on the geometry.
#
# A curve has no intrinsic curvature, so "not flat" means two other things here. One is bending in the surrounding space: the total turning of the tangent, which is one full turn for
# a plane convex curve and more for every other closed one (Fenchel's theorem).

# %%
tangent = (circle.roll(-1, 0) - circle) / steps[:, None]
turning = (tangent * tangent.roll(-1, 0)).sum(1).clamp(-1, 1).acos().sum() / (2 * torch.pi)
print(f"length {length:.1f} pixels of brightness, largest chord {chord.max():.1f}, total turning {turning:.1f} full turns")
assert turning > 1 and chord.max() < length / torch.pi and chord[0, angles // 2] < chord[0, angles // 4]

# %% [markdown]
# The other is global: no single chart covers a circle. The angle jumps somewhere, and every continuous function on the circle takes some value twice. The paper speaks of coordinates that hold over the
# entire manifold; what a network holds for the whole circle at once is 64 numbers for a one-dimensional set, an *embedding* and not a chart in the textbook's sense. If all layers are
# injective it stays an embedding, and that is what the certificates above are about: for these images, a residual network of width 64 at small weights keeps the circle a circle.

# %%
wide = {step: rl.CkNetwork([64] * 11, order=1, step=step, seed=seed) for step in (1.0, 0.1)}
for step, net in wide.items():
    y = net.coordinates(circle)[-1].detach()
    gaps = (y.roll(-1, 0) - y).norm(dim=1)
    approach = torch.cdist(y, y)[apart > angles // 8].min() / gaps.mean()
    print(f"step {step}: {sum(charts.certificates(net))} of 10 layers certified; closest approach {approach:.0f} steps")

# %%
notebook.closing(seed=seed)
