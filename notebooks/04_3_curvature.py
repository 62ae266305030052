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
# # §4 Two questions about the learned metric
#
# The paper does not ask them, but a geometer would ask them first. Is the metric curved? And does it depend on choices
# that the classifier does not see? Both claims of this notebook are ours.
#
# The answers: with a Euclidean output of the width of the input, the metric is flat wherever it is a metric at all.
# The network does not learn curvature. It learns where the flat space is folded and stretched. And the metric does
# depend on such a choice: on the coordinates in which the output is written.

# %% tags=["parameters"]
points: int = 1000  # on the spiral, both arms together, at random positions
depth: int = 10  # layers
seeds: int = 20  # trained networks; one of them is drawn
updates: int = 3000  # Adam updates
seed: int = 0  # of the random networks and points
device: str = "cpu"  # where the networks live

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch.func import jacfwd, vmap

import riemlib as rl
from riemlib.companion import notebook, rules
from riemlib.companion.figures import save, section4
from riemlib.companion.statistics import relative_error
from riemlib.curvature import christoffel, gauss_equation, riemann

# %%
notebook.opening("§4 Curvature and output coordinates", device=device, time="about ten seconds")

# %%
spiral = rl.spiral(points, positions="random", device=device)
template = rl.CkNetwork([2] * (depth + 1), device=device)
run = rl.fit(template, spiral, seeds=range(seeds), batch_size=300, updates=updates, learning_rate=1e-2)
sample, drawn = spiral.to(torch.float64), run.typical()
trained = run.networks[drawn].double().requires_grad_(False)
f64 = {"dtype": torch.float64, "device": device, "seed": seed}
print(f"{int(run.solved.sum())} of {seeds} at 0.0 % error; drawn: error {float(run.error[drawn]):.1%}")

# %% [markdown]
# ## Is the learned metric curved?
#
# At constant width it is not. Where $P$ is invertible, $g = P^{\mathsf T} P$ says that the network is a local isometry
# from the input with $g$ to Euclidean space. A local isometry preserves curvature, and Euclidean space has none. So
# the Riemann tensor
#
# $$R_{abcd} = \tfrac12(\partial_b\partial_c g_{ad} + \partial_a\partial_d g_{bc} - \partial_a\partial_c g_{bd} -
# \partial_b\partial_d g_{ac}) + g_{ef}\,(\Gamma^e{}_{bc}\Gamma^f{}_{ad} - \Gamma^e{}_{bd}\Gamma^f{}_{ac})$$
#
# vanishes, however much the ellipses of $g$ turn and stretch. ($\Gamma$ are the Christoffel symbols of $g$.) In this
# form, with all indices down, it loses the fewest digits where $g$ is badly conditioned. Rounding is judged against the
# terms that cancel, $|g|\,|\Gamma|^2$ at each point.
#
# Two things make a curved metric, and both are controls.
#
# - An output that is wider than the input. Then the image is a surface. The Gauss equation finds its curvature from
#   outside, from the second derivatives of the map. `riemann` differentiates the metric, `gauss_equation` the map: they
#   have no formula in common. Curvatures of two different networks must not agree.
# - An output metric that is itself curved.


# %%
def field_of(net, output_metric=None):
    """The metric at the input, as a function of points (n, d)."""
    return lambda x: rl.pullback_metrics(net, x, output_metric)[0]


def relative_curvature(field, at):
    """The largest entry of the Riemann tensor at these points, against the size of its terms."""
    R, gamma, g = (part.flatten(1).abs().amax(1) for part in (riemann(field, at), christoffel(field, at), field(at)))
    return float((R / (g * gamma**2)).max())


def on_a_sphere(y):
    """A metric on the output of Gaussian curvature 1: the unit sphere in stereographic coordinates."""
    factor = 2 / (1 + y.square().sum(1))
    return factor[:, None, None] ** 2 * torch.eye(y.shape[1]).to(y)


# %%
flat = {f"order {k}, width {d}": rl.CkNetwork([d] * 6, order=k, step=0.3, **f64) for k in (1, 2) for d in (2, 3)}
flat |= {"order 0, width 2": rl.CkNetwork([2] * 4, order=0, **f64), "trained, width 2": trained}
wider = {f"output of width {d}": rl.CkNetwork([2, 2, 2, d], order=[1, 1, 0], step=0.3, **f64) for d in (3, 5)}
flat, wider = ({name: net.requires_grad_(False) for name, net in nets.items()} for nets in (flat, wider))
torch.manual_seed(seed)
on_spiral, errors, wrong = sample.x[len(sample) // 40 :: len(sample) // 20], {}, {}
in_space = 0.5 * torch.randn(20, 3, dtype=torch.float64, device=device)
places = {name: on_spiral if net.widths[0] == 2 else in_space for name, net in flat.items()}
for name, net in flat.items():
    errors[name] = relative_curvature(field_of(net), places[name])
inside = {name: riemann(field_of(net), on_spiral) for name, net in wider.items()}
outside = {name: gauss_equation(net[:], on_spiral) for name, net in wider.items()}
for name, other in zip(wider, reversed(wider), strict=True):
    errors[f"Gauss equation, {name}"] = relative_error(inside[name], outside[name])
    wrong[f"Gauss equation, {name} against {other}"] = relative_error(inside[name], outside[other])
controls = {name: relative_curvature(field_of(net), on_spiral) for name, net in wider.items()}
controls["output a sphere"] = relative_curvature(field_of(flat["order 1, width 2"], on_a_sphere), on_spiral)

# %%
side = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64, device=device)
square = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
at, surface = square.reshape(-1, 2), wider["output of width 3"]
log_volume = rl.balls_of(rl.pushforward(surface, at), 1.0).log_volume  # log √det g
gaussian = riemann(field_of(surface), at)[:, 0, 1, 0, 1] / (2 * log_volume).exp()
image = surface.coordinates(at)[-1].view(61, 61, 3)
fig = section4.curved_surface(image, gaussian.view(61, 61), title="a random network to three dimensions, untrained")
save(fig, "section4_curvature")
plt.show()

# %% [markdown]
# ## The flat connection
#
# There is a second way to say that $g$ is flat. Let $J = \partial x^{(L)}/\partial x^{(0)}$. The connection of $g$ is
#
# $$\Gamma^a{}_{bc} = (J^{-1})^a{}_e\, \partial_c J^e{}_b .$$
#
# So the columns $e_a$ of $J^{-1}$ are vector fields whose covariant derivative is zero, $\nabla e_a = 0$. They are a frame
# that is parallel along every curve: whichever way it is carried, it arrives as the same frame. And it is orthonormal,
# because $(J^{-1})^{\mathsf{T}}gJ^{-1}=1$. This is the orthonormal frame of [§5](05_lie_groups.ipynb), the coordinate
# frame of the output. In the picture it turns from point to point at the input, and is constant at the output.
#
# Both formulas are checked with Jacobians by automatic differentiation. The controls take $J$ and $J^{-1}$ transposed.


# %%
def connection_error(net, at, sum_over="nea,nebc->nabc"):
    """How far g Γ, from derivatives of g alone, is from J^T ∂J. With its index down Γ needs no inverse of g."""
    J = vmap(jacfwd(lambda x: net[:](x[None])[0]))(at)
    second = vmap(jacfwd(jacfwd(lambda x: net[:](x[None])[0])))(at)  # ∂_c J^e_b
    slope = vmap(jacfwd(lambda x: field_of(net)(x[None])[0]))(at)  # ∂_c g_ab
    gamma = (slope.transpose(2, 3) + slope - slope.permute(0, 3, 1, 2)) / 2
    return relative_error(gamma, torch.einsum(sum_over, J, second))


def parallel_error(net, at, sum_over="nabc,nbe->naec"):
    """How far ∇ J^-1 = 0 is from holding, against the size of its two terms."""
    inverse = vmap(jacfwd(lambda p: torch.linalg.inv(jacfwd(lambda x: net[:](x[None])[0])(p))))(at)  # ∂_c of J^-1
    frame = torch.linalg.inv(rl.pushforward(net, at))
    return relative_error(torch.einsum(sum_over, christoffel(field_of(net), at), frame), -inverse)


# %%
for name, net in flat.items():
    if "order 2" not in name:
        errors[f"g Γ = Jᵀ∂J, {name}"] = connection_error(net, places[name])
        wrong[f"g Γ = J∂J, {name}"] = connection_error(net, places[name], "nae,nebc->nabc")
for name in ("order 1, width 2", "order 1, width 3", "order 0, width 2"):  # J^-1 has digits to spare
    errors[f"∇J⁻¹ = 0, {name}"] = parallel_error(flat[name], places[name])
    wrong[f"∇J⁻¹ with J⁻¹ transposed, {name}"] = parallel_error(flat[name], places[name], "nabc,neb->naec")
print("wrong formulas and wrong networks are off by at least", f"{min(wrong.values()):.1g}")

# %%
at = sample.x[len(sample) // 60 :: len(sample) // 30]
frames = torch.linalg.inv(rl.pushforward(trained, at))
output = replace(sample, x=trained.coordinates(sample.x)[-1])
images, constant = trained.coordinates(at)[-1], torch.eye(2).to(at).expand_as(frames)
title = "a parallel frame of g (network of median loss)"
fig = section4.parallel_frames((sample, output), at, frames, images, constant, title=title)
save(fig, "section4_parallel")
plt.show()

# %% tags=["nbval-check-output"]
notebook.decide(
    "flatness",
    rules.given(
        rules.identity(errors, controls | wrong, tolerance=1e-8),
        len(controls),
        len(controls) + len(flat),
        when="where the output is Euclidean and P is invertible",
        otherwise="the output is wider, or curved, and g is curved",
    ),
    {"flat": list(flat), "checks": list(errors), "curved (control)": controls,
     "least error of wrong formulas (control)": min(wrong.values()), "tolerance, relative": 1e-8},
    protocol="Riemann tensor with lower indices by automatic differentiation of the metric field at 20 points, against "
    "the size of its terms; Γ from g against J and its derivatives; curved images against the Gauss equation; float64",
)

# %% [markdown]
# ## What the classifier does not see: coordinates of the output
#
# Replace the last coordinates $x^{(L)}$ by $Q x^{(L)}$ and the readout $W$ by $W Q^{-1}$, for any invertible $Q$.
# Every logit stays as it is, and so does every probability. This is a *reparametrisation of the output*: another way
# to write the same classifier. No loss of the predictions can prefer one $Q$ to another. But Eq. 8 puts the Euclidean
# metric on the new coordinates, and $g$ becomes $P^{\mathsf T} Q^{\mathsf T} Q P$. So statements about learned
# distance depend on $Q$.
#
# *Weight decay* would choose a $Q$: it adds the squares of the weights to the loss, and the entries of $W Q^{-1}$ are
# not those of $W$. Then the choice is that of the decay, not of the data. The networks here are trained without it.
#
# Two output metrics change with $Q$ so that $g$ stays. Let $K$ be the number of classes, and $p$ their probabilities.
#
# - The *logit* metric is the length of the change in the logits. They have to be centred first,
#   $W_c = (1 - \tfrac1K 1 1^{\mathsf T})W$. A constant that is added to all logits changes no probability, so
#   $W + 1c^{\mathsf T}$ is the same classifier as $W$ for every vector $c$. But its $W^{\mathsf T} W$ can be as large as
#   one likes.
# - The *Fisher* metric is the mean squared change of $\log p$, $W^{\mathsf{T}}(\operatorname{diag}(p)-pp^{\mathsf{T}})W$,
#   with the probabilities as weights of the mean.
#
# With two classes there is only one number to predict. So both have rank 1. Their balls are strips, and they are no
# metrics in the sense of Def. 4.1; Benfenati and Marta (2023) study such singular metrics. With three classes in the
# plane both have rank 2.


# %%
def output_metrics(readout, p):
    """The output metrics of a readout (K, d) at probabilities p (n, K): Euclidean, plain and centred logits, Fisher."""
    centred, scores = readout - readout.mean(0), readout - (p @ readout)[:, None]  # scores: gradients of log p_j
    found = {"Euclidean": None, "plain logits": readout.mT @ readout, "centred logits": centred.mT @ centred}
    return found | {"Fisher": scores.mT @ (p[..., None] * scores)}


# %%
torch.manual_seed(seed)
Q = torch.randn(2, 2, dtype=torch.float64, device=device) + 2 * torch.eye(2).to(sample.x)
c, W, b = torch.tensor([[3.0, -2.0]]).to(sample.x), trained.readout.weight, trained.readout.bias
f, inverse = trained[:], torch.linalg.inv(Q)
p = trained(sample.x).softmax(1)
as_trained = {kind: rl.pullback_metrics(trained, sample.x, eta)[0] for kind, eta in output_metrics(W, p).items()}
ways = {"Q": (lambda x: f(x) @ Q.mT, W @ inverse, b), "constant": (f, W + c, b)}
errors, controls = {}, {}
for way, (g, readout, shift) in ways.items():
    p_new = (g(sample.x) @ readout.mT + shift).softmax(1)
    errors[f"probabilities, {way}"] = relative_error(p_new, p)
    for kind, eta in output_metrics(readout, p_new).items():
        change = relative_error(rl.pullback_metric(g, sample.x, output_metric=eta), as_trained[kind])
        changes = (way, kind) in (("Q", "Euclidean"), ("constant", "plain logits"))
        (controls if changes else errors)[f"{kind}, {way}"] = change
in_new = f(sample.x) @ Q.mT
errors["logits, Q"], controls["logits, Q with the old readout"] = (
    relative_error(in_new @ readout.mT + b, trained(sample.x)) for readout in (W @ inverse, W)
)

# %%
ranks = {}
for classes in (2, 3):
    readout = W if classes == 2 else torch.randn(3, 2, dtype=torch.float64, device=device)
    p_k = trained.coordinates(sample.x)[-1].mul(0.1).matmul(readout.mT).softmax(1)
    etas = output_metrics(readout, p_k)
    for kind in ("centred logits", "Fisher"):
        ranks[f"{kind}, {classes} classes"] = int(torch.linalg.matrix_rank(etas[kind]).max())
ranks

# %% tags=["nbval-check-output"]
notebook.decide(
    "gauge",
    rules.identity(errors, controls),
    {
        "unchanged": list(errors),
        "changed (control), relative": controls,
        "rank of the output metric": ranks,
    },
    protocol="one trained network; the same classifier after a random change Q of output coordinates, and after a "
    "constant added to the logits; closed form before, automatic differentiation after; all points, float64",
)

# %% [markdown]
# In JupyterLab, controls above the figure set the output metric, a stretch of the output along its first coordinate (a
# reparametrisation $Q$), and the radius $\varepsilon$ of the balls. The stretch changes the Euclidean balls, but not
# those of the centred logits, which are strips: all of them are cut, and their volume density is 0 (drawn as
# $10^{-6}$).

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

line, longest = torch.linspace(-1.15, 1.15, 41, dtype=torch.float64, device=device), 0.075
plane = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
centres = plane[2::3, 2::3].reshape(-1, 2)
P = {where: rl.pushforward(trained, at.reshape(-1, 2)) for where, at in (("plane", plane), ("centres", centres))}


def balls_by(output="Euclidean", stretch=1.0, epsilon=0.05):
    """Balls and volume density by one of the output metrics, after a stretch of the output and its undoing in W."""
    Q, readout = torch.diag(torch.tensor([stretch, 1.0]).to(W)), W / torch.tensor([stretch, 1.0]).to(W)
    root = Q if output == "Euclidean" else (readout - readout.mean(0)) @ Q
    balls, density = rl.balls_of(root @ P["centres"], epsilon), rl.balls_of(root @ P["plane"], 1.0).log_volume.exp()
    outlines = replace(balls, axes=balls.axes.clamp(max=longest)).outline(centres, 33)
    title = f"balls of radius {epsilon:g}, output metric: {output}, output stretched by {stretch:g}"
    return section4.ellipse_field(
        sample, outlines, balls.axes[:, 0] > longest, plane, density.clamp(min=1e-6).view(41, 41), title=title)


play(balls_by, output=["Euclidean", "centred logits"], stretch=(1.0, 5.0, 0.5), epsilon=(0.01, 0.2, 0.01))

# %%
from riemlib.companion.references import references

references(benfenati_marta="pulled-back metrics that are degenerate")

# %%
notebook.closing({"the frame": drawn}, seed=seed, seeds=seeds, updates=updates)
