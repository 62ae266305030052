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
# A network is usually read as a stack of *representations*: each layer holds latent variables, and these stand for
# something more abstract than those of the layer before. The paper takes another view. The data are points of one
# manifold $M$ that never changes ([§2](02_notation.ipynb) says what $M$ is). What changes from layer to layer is the
# *coordinate system* $x^{(l)}$ in which a point is written. A layer $\varphi^{(l)}$ is a change of coordinates.
# Training looks for coordinates in which hyperplanes separate the classes.
#
# If that is so, two things travel through the network, in opposite directions. A tangent vector is *pushed forward* by
# the Jacobians of the layers. A metric, which measures the length of such a vector, is *pulled back* by the same
# Jacobians. At the output we choose it to be Euclidean. At the input it then measures the distances that the network
# has learned:
#
# $$g_{x^{(l)}(M)}(X, Y) = g_{x^{(l+1)}(M)}\big(\varphi^{(l)}_* X,\ \varphi^{(l)}_* Y\big).$$
#
# The paper's Figure 1 is a diagram of this. Here the same figure is drawn from a network that this notebook trains.

# %% tags=["parameters"]
seeds: int = 100  # networks trained; one of them is drawn
updates: int = 3000  # Adam updates
share: float = 0.03  # radius of the balls over the diameter of the output
shown: list = [0, 3, 6, 10]  # layers drawn
device: str = "cpu"  # where the networks live

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

import riemlib as rl
from riemlib import curves
from riemlib.companion import notebook
from riemlib.companion.figures import save, section1

notebook.opening("§1 Introduction", device=device, time="a few seconds")

# %% [markdown]
# ## A network to look at
#
# The network has ten residual layers of width 2, $x^{(l+1)} = x^{(l)} + \tanh(W^{(l)}x^{(l)} + b^{(l)})$. It is trained
# to tell the two arms of a spiral apart. A diagram should be easy to read. So we draw one of the seeds that end with
# the least error: the one whose balls of the learned metric are the least elongated. §7.1 draws typical networks, and
# §7.2 a typical one beside this one. A ball's elongation is the ratio of its axes, which is the square root of the
# condition number of $g$.

# %%
base = rl.Condition(updates=updates)
trained = rl.study([base], seeds=range(seeds), device=device).trained(base)
sample = trained.points
ratios = [rl.geometry(net, sample.x).balls(1.0)[0].condition_number.sqrt() for net in trained.networks]
medians = pd.Series([float(ratio.median()) for ratio in ratios], index=trained.seeds)
least = (trained.error == trained.error.nan_to_num(1.0).min()).numpy()
drawn = int(medians[least].idxmin())
net, elongation = trained.network(drawn).double(), ratios[trained.seeds.index(drawn)]
data, error = rl.geometry(net, sample.x), float(trained.error.nan_to_num(1.0).min())
percentile = 100 * float((medians < medians[drawn]).mean())
print(f"seed {drawn} on this machine: error {error:.1%}; {int(trained.solved.sum())} of {seeds} seeds reach 0.0 %")
print(f"axes of the balls at the input, median ratio: {medians[drawn]:.1f}; "
      f"over the {least.sum()} best seeds {medians[least].min():.1f} to {medians[least].max():.1f}")

# %% [markdown]
# ## What travels forward
#
# Points and tangent vectors travel forward. `rl.geometry(net, x)` holds the coordinates of the points at every layer,
# in `.x`. A tangent vector is multiplied by the Jacobians of the layers, one after the other. We draw one vector on
# each arm. It stands at a point whose ball is among the less elongated quarter of the arm.

# %%
half = len(sample) // 2
ratio = elongation.view(2, half)  # of each arm
quarter = (ratio - ratio.quantile(0.25, 1, keepdim=True)).abs().argmin(1)
at = rl.geometry(net, sample.x.view(2, half, 2)[torch.arange(2), quarter])  # one point of each arm
vectors = [torch.tensor([[0.0, 0.2], [0.2, 0.0]], dtype=torch.float64, device=device)]
for J in rl.jacobians(net, at.x[0]):
    vectors.append((J @ vectors[-1][..., None])[..., 0])

# %% [markdown]
# ## What travels backward
#
# The metric travels backward. It is Euclidean at the output, and `rl.geometry` returns it at every layer, in `.g`. A
# ball of constant length $\mathrm ds$ is round at the output, and an ellipse before it. Its radius is a share of the
# diameter of the output, here 3 %. The length of the arrows is the same at every layer, as long as each layer measures with its own metric:

# %% tags=["nbval-check-output"]
radius = share * float(curves.diameter(data.x[-1], len(sample)))
lengths = torch.stack([rl.squared_length(g, v) for g, v in zip(at.g, vectors, strict=True)]).sqrt()
assert torch.allclose(lengths, lengths[-1].expand_as(lengths), rtol=1e-10)
euclidean = torch.stack([v.norm(dim=1) for v in vectors])
assert not torch.allclose(euclidean, euclidean[-1].expand_as(euclidean), rtol=1e-2)  # the control: it must differ
print("same length from g at every layer: yes; from the Euclidean metric at every layer: no")

# %% [markdown]
# ## Figure 1
#
# The figure shows four of the coordinate systems. The grey net is the square grid of the input, carried along. The bar in
# each panel is one unit long. Distances may be read off the page only in the last panel: there, and only there, the
# metric is Euclidean. Most of the net is stretched on the way; the line below the figure says how much. Narrow meshes
# in the last panel are where the input is stretched least. In the panels between, narrow meshes mean nothing.

# %%
line, fine = (torch.linspace(-1.1, 1.1, k, dtype=torch.float64, device=device) for k in (12, 121))
across = torch.stack([torch.cartesian_prod(line, fine), torch.cartesian_prod(line, fine).flip(1)])
lines = [x.reshape(-1, len(fine), 2) for x in net.coordinates(across.flatten(0, 1))]
title = f"C1, seed {drawn}: the least elongated balls of {least.sum()} seeds with the least error ({error:.1%}); "
title += f"percentile {percentile:.0f} of all {seeds} in elongation"
fig = section1.chain(shown, data, sample.label, lines, at, vectors, radius, title=title)
save(fig, "figure_1")
plt.show()
first, last = (x[:, :: len(fine) // len(line)].diff(dim=1).norm(dim=2).flatten() for x in (lines[0], lines[-1]))
stretch = last / first
assert stretch.median() > 1
print(f"of {len(stretch)} pieces of the net, about a mesh long, {int((stretch < 1).sum())} are shorter in the last "
      f"panel than at the input; median stretch {float(stretch.median()):.1f}")

# %% [markdown]
# In JupyterLab, sliders above the figure set the layer in the middle, the radius ε of the balls as a share of the diameter
# of the output, and the point of each arm at which arrow and ball stand. Move the point along the arms, and look at where
# the ball at the input is long and where it is nearly round.

# %% tags=["nbval-skip"]
from itertools import accumulate

from riemlib.companion.controls import play

of_arms, diameter = sample.x.view(2, half, 2), radius / share
longer = ratio.amax(0)  # of the balls at the same place of both arms, the one that is more elongated
start = int((longer - longer.quantile(0.25)).abs().argmin())


def chain_at(layer=6, epsilon=share, point=start):
    """Figure 1 with this layer in the middle, and this point of each arm."""
    at = rl.geometry(net, of_arms[:, point])
    steps = accumulate(rl.jacobians(net, at.x[0]), lambda v, J: (J @ v[..., None])[..., 0], initial=vectors[0])
    return section1.chain([0, layer, 10], data, sample.label, lines, at, [*steps], epsilon * diameter)


play(chain_at, layer=(1, 9), epsilon=(0.01, 0.15, 0.01), point=(0, half - 1))

# %% [markdown]
# Where the net crosses itself, two different inputs have received the same coordinates. A change of coordinates must
# not do that. The paper's residual layers are not prevented from it. §2 says exactly when they are.
#
# ## Flat coordinates for curved data
#
# The paper's motivation is that the Euclidean distance is the wrong one for coordinates such as pixels: word vectors
# may be added and subtracted, photographs may not. Locally Linear Embedding (Roweis and Saul, 2000) looks for
# coordinates in which the Euclidean distance is the right one. The paper says that a network looks for such coordinates
# too, for the metric that it pulls back. §4 measures both statements.

# %%
from riemlib.companion.references import references

references(roweis_saul="Locally Linear Embedding")

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={"Figure 1": drawn})
