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
# # §7.1 Untangling the spiral: Figure 2
#
# The paper trains four networks of width 2 on one spiral: a plain network ($C^0$), a residual one ($C^1$), one with a momentum term ($C^2$),
# and a residual network whose identity is left out on the way into layer 6. It shows one run of each, says that all four separate the classes
# without error, and reads off the pictures that $C^1$ and $C^2$ move the points smoothly from layer to layer while $C^0$ does not.
#
# It names the activation (tanh), the initialisation (Glorot) and the width. It does not give the number of points or layers, the formula of the
# spiral, the optimiser, the learning rate or the seed; ours stand in the next cell. Because one run proves little, we train many seeds of each
# network, all at once, say how many reach 0.0 % error, and draw a run that is typical of those.

# %% tags=["parameters"]
seeds: int = 100  # networks of each kind
points: int = 1000  # on the spiral, both arms together
turns: float = 1.0  # of each arm
depth: int = 10  # layers
updates: int = 3000  # Adam updates
batch_size: int = 300  # points in a minibatch
learning_rate: float = 1e-2  # at the start; cosine decay to 0
device: str = "cpu"  # where the networks live

# %%
import matplotlib.pyplot as plt

import riemlib as rl
from riemlib import figures, notebook
from riemlib.evidence import success_table
from riemlib.figures import spirals

notebook.opening("§7.1 Smoothness", device=device, time="about two minutes")

# %% [markdown]
# ## The data and the networks
#
# Two arms, $r = 0.1 + 0.9\,t$, half a turn apart. The same points are resampled densely where a figure needs a curve rather than a cloud.
# The step is 1, as in the paper's trained networks; the four differ only in `order`.

# %%
sample = rl.spiral(points, turns=turns, device=device)
curve = rl.spiral(20 * points, turns=turns, device=device)
orders = {"C0": 0, "C1": 1, "C2": 2, "mixed": [1] * 5 + [0] + [1] * (depth - 6)}

# %%
runs = {}
for name, order in orders.items():
    net = rl.CkNetwork([2] * (depth + 1), order=order, device=device)
    runs[name] = rl.fit(net, sample, seeds=range(seeds), batch_size=batch_size, updates=updates, learning_rate=learning_rate)

# %% [markdown]
# ## How many of them succeed
#
# Success is 0.0 % error on every point of the spiral. The interval is Wilson's at 95 %. The run drawn below is, of the seeds with the least error,
# the one whose loss at the end of training is the median: typical of the runs that succeed, which for $C^0$ are not typical of $C^0$ at all.


# %% tags=["nbval-ignore-output"]
success_table(runs)

# %%
drawn = {name: run.networks[run.typical()] for name, run in runs.items()}
errors = {name: float((net(sample.x).argmax(1) != sample.label).float().mean()) for name, net in drawn.items()}
assert all(abs(errors[name] - float(run.error[run.typical()])) < 1e-6 for name, run in runs.items())  # the error, counted anew


# %%
def figure_2(letter, name):
    run = runs[name]
    share = f"{int(run.solved.sum())} of {len(run.seeds)} seeds reach 0.0 %"
    title = f"Figure 2{letter}: {name}, seed {run.seeds[run.typical()]}, error {errors[name]:.1%} ({share})"
    fig = spirals.untangling(drawn[name], sample, curve=curve, title=title)
    figures.save(fig, f"figure_2{letter}_{name}")
    plt.show()


# %% [markdown]
# ## Figure 2a: the plain network, $x^{(l+1)} = f(x^{(l)};l)$
#
# One panel a layer, each in the coordinates of that layer; the dashed line in the last is where the readout is undecided. Below, both coordinates
# of the outlined particles against the layer.

# %%
figure_2("a", "C0")

# %% [markdown]
# ## Figure 2b: the residual network, $x^{(l+1)} = x^{(l)} + f(x^{(l)};l)$

# %%
figure_2("b", "C1")

# %% [markdown]
# ## Figure 2c: the second-order network, $x^{(l+1)} = x^{(l)} + f(x^{(l)};l) + \delta x^{(l-1)}$
#
# The momentum term carries the points on. What moves here is a point and its difference together, so two points may share their coordinates at a
# layer and still be told apart (§3 shows why); the curves of the two classes may cross.

# %%
figure_2("c", "C2")

# %% [markdown]
# ## Figure 2d: the residual network without the identity into layer 6

# %%
figure_2("d", "mixed")

# %%
notebook.closing(seeds=f"0 to {seeds - 1}", drawn={name: run.seeds[run.typical()] for name, run in runs.items()})
