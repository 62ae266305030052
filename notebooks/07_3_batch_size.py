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
# # §7.3 Batch size: Figure 4
#
# The paper trains the same network twice on the same spiral, with batches of 300 and of 1000 points. With the small batch, it says, the arms are
# torn apart as early as layer 4 and the map is complicated; with the large batch the arms stay connected and the map is simple.
#
# A continuous map cannot tear a connected set, whatever the batch: what a scatter plot shows as a tear is a stretch, seen through finitely many points.
# So each panel below carries the points, as the paper's do, and the image of the whole arm as a line, from a sample twenty times as dense. The paper
# does not say which network it used; ours is the residual one ($C^1$).

# %% tags=["parameters"]
seeds: int = 32  # networks trained with each batch size
points: int = 1000  # on the spiral, both arms together
updates: int = 3000  # Adam updates, the same for both batch sizes
depth: int = 10  # layers
device: str = "cpu"  # where the networks live

# %%
import matplotlib.pyplot as plt
import torch

import riemlib as rl
from riemlib import figures, notebook
from riemlib.evidence import success_table
from riemlib.figures import spirals

notebook.opening("§7.3 Batch size", device=device, time="about a minute")

# %% [markdown]
# ## Two batch sizes, everything else the same
#
# The same data, the same initial weights seed by seed, the same number of updates. With 1000 points, a batch of 1000 is all of them: that run has no
# gradient noise, and sees more than three times as many points in as many updates. One picture of each cannot tell these causes apart.

# %%
sample, curve = rl.spiral(points, device=device), rl.spiral(20 * points, device=device)
net = rl.CkNetwork([2] * (depth + 1), device=device)
runs = {size: rl.fit(net, sample, seeds=range(seeds), batch_size=size, updates=updates, learning_rate=1e-2) for size in (300, points)}


# %% tags=["nbval-ignore-output"]
success_table({f"batch {size}": run for size, run in runs.items()})

# %% [markdown]
# ## The same seed under both batch sizes
#
# To change nothing but the batch, we draw one seed twice: of the seeds with the least error under both, the one whose loss is the median.

# %%
worst = torch.stack([run.error for run in runs.values()]).amax(0)
both = [i for i in range(seeds) if worst[i] == worst.nan_to_num(1.0).min()]
late = sum(run.loss[:, -updates // 10 :].mean(1) for run in runs.values())
drawn = sorted(both, key=lambda i: float(late[i]))[(len(both) - 1) // 2]
print(f"{len(both)} of {seeds} seeds end with error {float(worst[drawn]):.1%} or less under both; drawn: seed {runs[300].seeds[drawn]}")


# %%
def figure_4(letter, size):
    net = runs[size].networks[drawn].requires_grad_(False)
    error = float(runs[size].error[drawn])
    title = f"Figure 4{letter}: batch {size}, C1, seed {runs[size].seeds[drawn]}, error {error:.1%}"
    fig = spirals.layers(net, sample, curve=curve, title=title)
    figures.save(fig, f"figure_4{letter}_batch_{size}")
    plt.show()


# %% [markdown]
# ## Figure 4a: batch 300

# %%
figure_4("a", 300)

# %% [markdown]
# ## Figure 4b: batch 1000

# %%
figure_4("b", points)

# %% [markdown]
# ## What looks torn is stretched
#
# The largest gap between neighbouring points of an arm's image at the last layer. However densely the arm is sampled, a tear would keep its gap; a
# stretch closes in proportion to the sampling, once that resolves it. We sample 20 times as densely, and 20 times again.


# %%
def largest_gap(net, points):
    data = rl.spiral(points, device=device)
    x = net.coordinates(data.x)[-1]
    return float(torch.cat([x[data.label == c].diff(dim=0).norm(dim=1) for c in (0, 1)]).max())


# %% tags=["nbval-check-output"]
for size, run in runs.items():
    coarse, fine, finest = (largest_gap(run.networks[drawn], k * points) for k in (1, 20, 400))
    assert finest < fine < coarse
    print(f"batch {size}: the largest gap closes {coarse / fine:.1f}-fold, then {fine / finest:.1f}-fold")

# %% [markdown]
# So neither network tears anything. Whether small batches stretch *more* is a question about many runs, with the number of updates and of epochs held
# equal in turn, and not one that these two pictures can answer.

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn=runs[300].seeds[drawn])
