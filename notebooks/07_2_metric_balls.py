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
# # §7.2 Balls of the learned metric: Figure 3
#
# The paper takes a residual network that separates the spiral. It gives the output the Euclidean metric and pulls that
# metric back to every layer. Then it draws balls of constant $\mathrm ds$. They are round at the output, and ellipses
# before it. The ellipses show which points the network takes to be near one another.
#
# At a point, the ball of radius $\varepsilon$ is $\{v : g_{ab}v^av^b \le \varepsilon^2\}$. It is an ellipse with the
# semi-axes $\varepsilon/\sqrt{\lambda_i}$ along the eigenvectors of $g$, where $\lambda_i$ are its eigenvalues. They are
# computed from the pushforward: the singular values of $P$ are the $\sqrt{\lambda_i}$, with twice as many digits as
# $g = P^{\mathsf T} P$ keeps. The ellipse is the preimage of the output ball only to first order in $\varepsilon$. So we
# draw the true preimage beside it. The comparison shows how far a picture of ellipses can be trusted.

# %% tags=["parameters"]
seeds: int = 16  # networks trained; one of them is drawn
points: int = 1000  # on the spiral, both arms together
updates: int = 3000  # Adam updates
share: float = 0.03  # radius of the balls over the diameter of the output
device: str = "cpu"  # where the networks live

# %%
import matplotlib.pyplot as plt
import torch

import riemlib as rl
from riemlib import plot
from riemlib.companion import notebook
from riemlib.companion.figures import save, section7

notebook.opening("§7.2 The metric", device=device, time="about ten seconds")

# %%
sample = rl.spiral(points, device=device).to(torch.float64)
template = rl.CkNetwork([2] * 11, dtype=torch.float64, device=device)
run = rl.fit(template, sample, seeds=range(seeds), batch_size=300, updates=updates, learning_rate=1e-2)

# %% [markdown]
# Which run do we draw? In many of them the balls at the input are so long and thin that they hide each other. A figure
# should be easy to read. So we draw one of the seeds with the least error: the one whose balls are the least elongated.
# For the other seeds we say how elongated the balls are. The measure is the ratio of the axes, and its median over the
# data. The ratio of the axes is the square root of the condition number of $g$.

# %% tags=["nbval-check-output"]
best = [i for i in range(seeds) if run.error[i] == run.error.nan_to_num(1.0).min()]
geometries = {i: rl.geometry(run.networks[i], sample.x) for i in best}
elongation = {i: geometry.balls(1.0)[0].condition_number.sqrt() for i, geometry in geometries.items()}
medians = {i: float(ratio.median()) for i, ratio in elongation.items()}
drawn = min(best, key=medians.get)
net, data = run.networks[drawn].requires_grad_(False), geometries[drawn]
print(f"seeds at 0.0 % error: {int(run.solved.sum())} of {seeds}; "
      f"drawn: seed {run.seeds[drawn]}, error {float(run.error[drawn]):.1%}")
print(f"median ratio of the axes: {medians[drawn]:.1f} in the run drawn; in the {len(best)} best runs:",
      *(f"{median:.0f}" for median in sorted(medians.values())))

# %%
radius = share * float(torch.cdist(data.x[-1], data.x[-1]).max())
which = f"C1, seed {run.seeds[drawn]} on this machine, error {float(run.error[drawn]):.1%}"
print(f"radius of the balls: {radius:.3f} in output units")

# %% [markdown]
# ## Figure 3: balls at points of the data
#
# The figure shows balls at twenty points, ten of each arm. `rl.geometry` gives the coordinates and the metric at every
# layer, and the balls of any radius.

# %%
half = points // 2
chosen = torch.linspace(0, half - 1, 10).round().long()
chosen = torch.cat([chosen, chosen + half])
centres = rl.geometry(net, sample.x[chosen])
title = f"Figure 3: balls of constant ds at data points ({which})"
classes = sample.label[chosen]
fig = section7.metric_balls(data, sample.label, centres, radius, classes=classes, title=title)
save(fig, "figure_3_data_points")
plt.show()

# %% [markdown]
# We check that the drawing is the definition. Every point of every outline lies at the squared length $\varepsilon^2$
# from its centre, and the balls at the output are circles. With $\sqrt\lambda$ in place of $1/\sqrt\lambda$ neither
# would hold.

# %% tags=["nbval-check-output"]
outlines = plot.outlines(centres, radius)
for g, x, outline in zip(centres.g, centres.x, outlines, strict=True):
    v = outline - x[:, None]
    squared = torch.einsum("nka,nab,nkb->nk", v, g, v)
    assert torch.allclose(squared, torch.tensor(radius**2, dtype=v.dtype), rtol=1e-8)
assert torch.allclose(v.norm(dim=-1), torch.tensor(radius, dtype=v.dtype))  # v of the last layer
print("outlines lie at ds = radius in every layer, and are round at the output")

# %% [markdown]
# In JupyterLab, sliders above the figure set the layer in the middle, the radius ε of the balls as a share of the diameter
# of the output, and the point of each arm at which a ball stands. Look at how a ball that is round at the output becomes
# longer towards the input, and at which points it becomes longest.

# %% tags=["nbval-skip"]
from riemlib.companion.controls import play

diameter = radius / share


def balls_at(layer=5, epsilon=share, point=half // 2):
    """Figure 3 with two balls, in the first, this and the last layer."""
    here = torch.tensor([point, point + half])
    centre = rl.geometry(net, sample.x[here])
    how = {"classes": sample.label[here], "shown": [0, layer, 10]}
    return section7.metric_balls(data, sample.label, centre, epsilon * diameter, **how)


play(balls_at, layer=(1, 9), epsilon=(0.01, 0.15, 0.01), point=(0, half - 1))

# %% [markdown]
# ## Balls on a grid of the input plane
#
# The metric is defined wherever the network is, not only on the data. The balls are smaller here, so that they do not
# hide each other.

# %%
axis = torch.linspace(-1, 1, 9, dtype=torch.float64, device=device)
grid = torch.cartesian_prod(axis, axis)
grid = rl.geometry(net, grid[grid.norm(dim=1) <= 1.1])
title = f"Figure 3 on a grid: balls of constant ds, a third of the radius ({which})"
fig = section7.metric_balls(data, sample.label, grid, radius / 3, title=title)
save(fig, "figure_3_grid")
plt.show()

# %% [markdown]
# A long thin ellipse says: at this point the network hardly sees a move along the long axis.

# %% tags=["nbval-check-output"]
ratios = [balls.condition_number.sqrt().median() for balls in data.balls(radius)]
print("median ratio of the axes over the data, layer by layer:", *(f"{float(ratio):.1f}" for ratio in ratios))

# %% [markdown]
# ## Ellipse and true preimage
#
# The grey region is the set of all inputs, within the panel, whose image lies in the output ball around the image of
# the cross. Where the region agrees with the ellipse, the first order is enough.

# %%
few = rl.geometry(net, centres.x[0][[0, 3, 6, 9, 10, 13, 16, 19]])
ellipses = plot.outlines(few, radius)[0]
around = section7.square_around(few.x[0], ellipses)
image = net.coordinates(around.flatten(0, 1))[-1].view_as(around)
distance = (image - few.x[-1][:, None]).norm(dim=-1)
title = "The ball at the input: first order and truth"
fig = section7.true_balls(sample, few.x[0], ellipses, around, distance, radius, title=title)
save(fig, "figure_3_true_preimage")
plt.show()

# %% [markdown]
# Two things can go wrong. First, the true preimage bends where the map does, and it is not small. That is the error of
# the first order. Second, it may have several pieces, far from the ellipse. Then the network has put two different
# neighbourhoods on top of each other, and it is not a chart at all. The certificate of §2 says which layers are
# guaranteed not to do so. Whether the network that is drawn does so, the sign of the determinant over a grid shows.

# %% tags=["nbval-check-output"]
fine = torch.cartesian_prod(*[torch.linspace(-1.1, 1.1, 201, dtype=torch.float64, device=device)] * 2)
turned = (torch.linalg.det(rl.pushforward(net, fine)) < 0).double().mean()
certified = sum(rl.certificates(net))
print(f"layers certified: {certified} of {len(net.weights)}; "
      f"orientation reversed on {float(turned):.1%} of the square drawn")

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={"Figure 3": run.seeds[drawn]})
