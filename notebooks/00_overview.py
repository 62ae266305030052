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
# # Principles of Riemannian Geometry in Neural Networks, rerun
#
# M. Hauser and A. Ray (NIPS 2017) read a neural network as geometry. The data are points of a manifold that never
# changes. Every layer is a change of the coordinates in which the points are written. Training looks for coordinates in
# which hyperplanes separate the classes. Three statements follow.
#
# 1. **A residual network is a differential equation, discretised.** Its layers are the steps of a finite-difference
#    scheme for $\mathrm dx/\mathrm dl = f(x;l)$. With a momentum term the equation is of second order. (§3)
# 2. **A network induces a metric on the data, in closed form.** Give the output the Euclidean metric, and pull it back
#    through the Jacobians of the layers, the last layer first. Points that are near in this metric are those that the
#    network takes to be near. (§4)
# 3. **The pullback is a sequence of Lie group actions**, on the bundle of metrics. Error backpropagation is such a
#    sequence too, on the frame bundle. (§§5, 6)
#
# **Why it matters.** If a network is a change of coordinates, then "near" and "far" have a meaning that the network itself gives to the data, at
# every layer, and this meaning can be computed exactly. It says to which changes of an input the network is blind, and to which it is not. The claims
# about smoothness, depth and batch size are advice on how to build and train networks. So it is worth knowing which of them hold.
#
# The paper illustrates this in §7 with toy spirals. It names the activation, the initialisation and the width, but no sample size, learning rate or
# number of updates, and it shows one run of each. Here each equation is one call of `riemlib`, each figure is drawn again from networks that are
# trained in the notebook that shows it, and each claim ends in a verdict that is computed from evidence.

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live

# %%
from IPython.display import HTML, Markdown, display

import riemlib as rl
from riemlib.companion import build, figures, ledger

claims = ledger.gather(build.executed())

# %% [markdown]
# ## Five questions
#
# Each answer is the verdict of the claim that decides it, with its numbers, as its notebook computed them.

# %% tags=["nbval-ignore-output"]
questions = {
    "Is the metric of the paper right?": "pullback-recursion",
    "Is every residual layer a change of coordinates?": "tanh-residual-folds",
    "Do trained residual networks approach a differential equation, as they get deeper?": "weights-regular",
    "Do residual networks move the points more smoothly than plain ones?": "smoother-layers",
    "Does a small batch tear the data apart?": "batch-connectedness",
}
HTML(ledger.answers(claims, questions))

# %% [markdown]
# ## Four pictures
#
# The paper's four figures, from the networks of this run. Their notebooks say which networks were drawn, and why.

# %% tags=["nbval-ignore-output"]
pictures = {
    "figure_1": "Figure 1: one data set in the coordinates of several layers (§1)",
    "figure_2b_C1": "Figure 2: a residual network untangles the spiral (§7.1)",
    "figure_3": "Figure 3: balls of the learned metric (§7.2)",
    "figure_4_batch_size": "Figure 4: batch 300 against batch 1000 (§7.3)",
}
for name, caption in pictures.items():
    display(Markdown(f"**{caption}**"), figures.saved(name, alt=caption))

# %% [markdown]
# ## How to read this
#
# Each notebook follows one section. It shows what the paper says, in our words; the call that is the equation; a picture; a check; and the verdict.
# The notebooks are independent of one another, and each begins with its verdicts.
#
# | notebook | section | what it shows |
# |---|---|---|
# | [01_introduction](01_introduction.ipynb) | 1 | the geometric view; Figure 1 from a trained network |
# | [02_notation](02_notation.ipynb) | 2 | when a layer is a coordinate change, and when it folds |
# | [03_ck_networks](03_ck_networks.ipynb) | 3 | Eqs. 1–7: one recursion for every order, and its limit |
# | [04_1_metric](04_1_metric.ipynb) | 4 | Eqs. 8–13: the metric, its balls, the line element |
# | [04_2_data_manifold](04_2_data_manifold.ipynb) | 4 | changing dimension, better charts, near and far |
# | [04_3_curvature](04_3_curvature.ipynb) | 4 | is the metric curved, and what does it depend on |
# | [05_lie_groups](05_lie_groups.ipynb) | 5 | frame bundle, bundle of metrics, Eq. 14 |
# | [06_backpropagation](06_backpropagation.ipynb) | 6 | Eq. 15 |
# | [07_1_smoothness](07_1_smoothness.ipynb) | 7.1 | Figure 2: four networks untangle a spiral |
# | [07_2_metric_balls](07_2_metric_balls.ipynb) | 7.2 | Figure 3: balls of the learned metric |
# | [07_3_batch_size](07_3_batch_size.ipynb) | 7.3 | Figure 4: batch 300 against 1000 |
# | [08_appendix](08_appendix.ipynb) | appendix | the infinite product converges; the definitions |
# | [10_errata](10_errata.ipynb) | all | what does not hold as stated, and the statement that does |
# | [11_protocol](11_protocol.ipynb) | all | how evidence becomes a verdict; 144 settings of Figures 2 and 4 |

# %% [markdown]
# ## The ledger
#
# - **confirmed**: the evidence shows it.
# - **confirmed with conditions**: it holds where the condition does; the verdict names it.
# - **not supported**: the evidence does not show it.
# - **refuted**: a counterexample is shown, or the evidence shows the opposite.
# - **undecided**: more evidence is needed; the record says how much.
#
# The last column links to the cell that decides the claim. Its notebook holds the evidence, and the control that had to fail. The claims are sorted by
# whose they are. Only the printed ones are the paper's own statements.

# %% tags=["nbval-ignore-output"]
Markdown(ledger.summary(claims))

# %% tags=["nbval-ignore-output"]
HTML(ledger.tables_by_source(claims))

# %% [markdown]
# ## `riemlib` in eight lines
#
# The import above and the seven lines below are a network of any order, its coordinates and its metric at every layer, a
# length and a ball. The last line is a check.

# %%
sample = rl.spiral(200, positions="random", device=device)
net = rl.CkNetwork([2] * 6, device=device)
run = rl.fit(net, sample, seeds=[0, 1], batch_size=100, updates=100, learning_rate=1e-2)
geometry = rl.geometry(run.networks[0], sample.x)  # every layer, in one pass forward and one backward
coordinates, metrics = geometry.x, geometry.g  # Eqs. 1-4 and 8-10
length = rl.squared_length(metrics[0], 0.01 * sample.x).sqrt()  # Eq. 13
ball = geometry.balls(radius=0.1)[0]  # semi-axes and directions
assert len(coordinates) == len(metrics) == 6 and ball.axes.shape == sample.x.shape and length.shape == (200,)

# %%
from riemlib.companion.references import references

references()
