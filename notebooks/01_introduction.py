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
# # §1 Two perspectives, and Figure 1
#
# A network is usually read as a stack of *representations*: each layer holds latent variables that stand for something more abstract than the
# layer before. The paper takes the other view. The data are points of one manifold $M$ that never changes; what changes from layer to layer is the
# *coordinate system* $x^{(l)}$ in which a point is written. A layer $\varphi^{(l)}$ is a change of coordinates, and training looks for
# coordinates in which hyperplanes separate the classes.
#
# If that is so, two things travel through the network in opposite directions. A tangent vector is *pushed forward* by the layers' Jacobians. A
# metric, a way to measure the length of such a vector, is *pulled back* by the same Jacobians, from the output, where we choose it to be Euclidean,
# to the input, where it then measures the distances the network has learned:
#
# $$g_{x^{(l)}(M)}(X, Y) = g_{x^{(l+1)}(M)}\big(\varphi^{(l)}_* X,\ \varphi^{(l)}_* Y\big).$$
#
# The paper's Figure 1 is a diagram of this. Here it is drawn from a network trained on this machine.

# %% tags=["parameters"]
seeds: int = 16  # networks trained; one of them is drawn
points: int = 1000  # on the spiral, both arms together
updates: int = 2000  # Adam updates
shown: list = [0, 3, 6, 10]  # layers drawn
device: str = "cpu"  # where the networks live

# %%
import matplotlib.pyplot as plt
import torch

import riemlib as rl
from riemlib import figures, notebook
from riemlib.figures import spirals

notebook.opening("§1 Introduction", device=device, time="about half a minute")

# %% [markdown]
# ## A network to look at
#
# Ten residual layers of width 2, $x^{(l+1)} = x^{(l)} + \tanh(W^{(l)}x^{(l)} + b^{(l)})$, trained to tell the two arms of a spiral apart. A diagram
# should be legible, so of the seeds that end with the least error we take the one whose balls of the learned metric are the least elongated; §7.2
# draws a typical one.

# %%
sample = rl.spiral(points, device=device).to(torch.float64)
template = rl.CkNetwork([2] * 11, dtype=torch.float64, device=device)
run = rl.fit(template, sample, seeds=range(seeds), batch_size=300, updates=updates, learning_rate=1e-2)


# %%
def elongation(net):
    axes = rl.balls(rl.pullback_metrics(net, sample.x)[0], radius=1.0).axes
    return axes[:, 0] / axes[:, 1]


medians = [float(elongation(net).median()) for net in run.networks]
least = [i for i in range(seeds) if run.error[i] == run.error.nan_to_num(1.0).min()]
drawn = min(least, key=medians.__getitem__)
net = run.networks[drawn].requires_grad_(False)
print(f"seed {run.seeds[drawn]}: error {float(run.error[drawn]):.1%}; {int(run.solved.sum())} of {seeds} seeds reach 0.0 %")
print(f"axes of the balls at the input, median ratio: {medians[drawn]:.1f}; over the {len(least)} best seeds {min(medians[i] for i in least):.1f} "
      f"to {max(medians[i] for i in least):.1f}")

# %% [markdown]
# ## What travels forward
#
# Coordinates: `net.coordinates(x)` is the list of all $x^{(l)}$. Tangent vectors: the layers' Jacobians, one after the other. The vectors stand at
# one point of each arm, where the ball is of the less elongated quarter.

# %%
ratio = elongation(net).view(2, -1)  # by arm
at = sample.x.view(2, -1, 2)[torch.arange(2), (ratio - ratio.quantile(0.25, 1, keepdim=True)).abs().argmin(1)]  # one point of each arm
vector = torch.tensor([[0.0, 0.2], [0.2, 0.0]], dtype=torch.float64, device=device)
vectors = [vector]
for J in rl.jacobians(net, at):
    vectors.append((J @ vectors[-1][..., None])[..., 0])

# %% [markdown]
# ## What travels backward
#
# The metric: `rl.pullback_metrics` starts from the Euclidean metric of the output and returns $g$ at every layer. A ball of constant length
# $\mathrm ds$ is round at the output and an ellipse before it.

# %%
output = net.coordinates(sample.x)[-1]
radius = 0.05 * float(torch.cdist(output, output).max())
metrics, feet = rl.pullback_metrics(net, at), net.coordinates(at)
outlines = [rl.balls(metrics[l], radius).outline(feet[l]) for l in shown]

# %% [markdown]
# The length of the arrows does not depend on the layer where it is measured, as long as each layer measures with its own metric:

# %% tags=["nbval-check-output"]
lengths = torch.stack([rl.squared_length(g, v) for g, v in zip(metrics, vectors, strict=True)]).sqrt()
assert torch.allclose(lengths, lengths[-1].expand_as(lengths), rtol=1e-10)
euclidean = torch.stack([v.norm(dim=1) for v in vectors])
assert not torch.allclose(euclidean, euclidean[-1].expand_as(euclidean), rtol=1e-2)  # with the Euclidean metric at every layer it does
print("same length from g at every layer: yes; from the Euclidean metric at every layer: no")

# %% [markdown]
# ## Figure 1
#
# Four of the coordinate systems. The grey net is the square grid of the input carried along: where it is squeezed, distances that were large have
# become small.

# %%
line, fine = (torch.linspace(-1.1, 1.1, k, dtype=torch.float64, device=device) for k in (12, 121))
across = torch.stack([torch.cartesian_prod(line, fine), torch.cartesian_prod(line, fine).flip(1)])
carried = [x.reshape(-1, len(fine), 2) for x in net.coordinates(across.flatten(0, 1))]
fig = spirals.chain(net, sample, shown, [carried[l] for l in shown], [vectors[l] for l in shown], outlines, at)
figures.save(fig, "figure_1")
plt.show()

# %% [markdown]
# Where the net crosses itself two different inputs have received the same coordinates. A change of coordinates must not do that, and the paper's
# residual layers are not prevented from it; §2 says exactly when they are.
#
# ## Flat coordinates for curved data
#
# The paper's motivation is that Euclidean distance is the wrong ruler for coordinates such as pixels: word vectors may be added and subtracted,
# photographs may not. Locally Linear Embedding looks for coordinates in which the Euclidean ruler is right; the paper says that a network does so
# too, for the metric that it pulls back. §4 measures both statements.

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn=run.seeds[drawn])
