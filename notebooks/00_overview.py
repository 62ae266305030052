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
# M. Hauser and A. Ray (*Principles of Riemannian Geometry in Neural Networks*, NIPS 2017) read a neural network as
# geometry. The data are points of a manifold that never changes. Every layer changes the coordinates in which the points
# are written. Training looks for coordinates in which hyperplanes separate the classes. The paper draws three conclusions.
#
# 1. **A residual network is a differential equation in small steps.** Its layers are the steps of a finite-difference
#    scheme for $\mathrm dx/\mathrm dl = f(x;l)$. With a momentum term the equation is of second order. (§3)
# 2. **A network gives the data a metric, in closed form.** The output has the Euclidean metric. It is pulled back through
#    the layers by their Jacobians, the last layer first. A small step of the input is short in this metric where it moves
#    the output little. (§4)
# 3. **The pullback is a sequence of Lie group actions** on the metrics. Error backpropagation is such a sequence, too, on
#    the frames. (§§5, 6)
#
# **Why it matters.** In such a metric "near" and "far" mean what they mean to the network. The metric can be computed exactly, at every layer. It says
# which changes of an input move the output, and which hardly do. What the paper says about smoothness, depth and batch size bears on how
# networks are built and trained.
#
# The paper illustrates this in §7 with networks of width 2 on toy spirals, and shows one run of each. It names the activation (tanh), the
# initialisation, stochastic gradient descent and, for Figure 4, two batch sizes. Its text gives no formula of the spirals, sample size, depth, learning
# rate or number of updates, so we chose them. **Here** each equation is one call of `riemlib`. Each figure of the paper is drawn again from networks
# that are trained here. Each claim gets a verdict that is computed from evidence.
#
# This page takes ten minutes. It needs some Python and an idea of what a neural network is.
#
# | word | what it means here |
# |---|---|
# | manifold | a smooth space of points, such as a curve, a surface or the plane in which the spirals lie |
# | coordinates, chart | numbers that name the points; no two points have the same |
# | Jacobian | the matrix of the first derivatives of a layer |
# | metric | at each point, a symmetric matrix that gives the length of a small step |
# | pull back | to give a step the length that its image has one layer later |
# | frame | at each point, as many independent directions as there are dimensions |
# | ball | the points within a small distance of a centre, by a metric: an ellipse in the pictures |
# | C0, C1, C2 | a plain network, a residual one, and one with a momentum term; "mixed" is C1 with one plain layer |
# | arm | one of the two spirals; each arm is one class |
# | seed | the start of one training; a number such as "44 % [40, 47]" has its 95 % interval over seeds in brackets |
# | setting | one choice of turns of the spiral, depth, learning rate, updates and optimiser |
# | control | a version that is wrong on purpose: a check counts only if it finds this out |

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
# The numbers are those that the notebooks computed. The link at the end of an answer leads to the cell that decides it.

# %% tags=["nbval-ignore-output"]
HTML(ledger.answers(claims))

# %% [markdown]
# The experiments are on spirals and small networks, as in the paper. They say nothing about large networks on other data.

# %% [markdown]
# ## Four pictures
#
# The paper's four figures, drawn again from our networks. The title of a picture says which network it shows, and how it was chosen. Of the four
# networks of Figure 2 you see the second.

# %% tags=["nbval-ignore-output"]
pictures = {
    "figure_1": "Figure 1: one data set in the coordinates of four layers (§1)",
    "figure_2b_C1": "Figure 2b: a residual network untangles the spirals, layer by layer (§7.1)",
    "figure_3": "Figure 3: balls of one radius in the learned metric (§7.2)",
    "figure_4_batch_size": "Figure 4: batch 300 against batch 1000 (§7.3)",
}
for name, caption in pictures.items():
    display(Markdown(f"**{caption}**"), figures.saved(name, alt=caption))

# %% [markdown]
# ## The notebooks
#
# Each notebook follows one section of the paper. It says what the paper says, in our words. Then come the call that is the equation, a picture, a
# check and the verdict. Each notebook can be read without the others, and begins with its verdicts.
#
# | notebook | section | what it shows |
# |---|---|---|
# | [01_introduction](01_introduction.ipynb) | 1 | the geometric view; Figure 1 from a trained network |
# | [02_notation](02_notation.ipynb) | 2 | when a layer is a coordinate change, and when it folds |
# | [03_ck_networks](03_ck_networks.ipynb) | 3 | Eqs. 1–7: one recursion for every order, and its limit |
# | [04_1_metric](04_1_metric.ipynb) | 4 | Eqs. 8–13: the metric, its balls, the line element |
# | [04_2_data_manifold](04_2_data_manifold.ipynb) | 4 | dimension, charts, near and far |
# | [04_3_curvature](04_3_curvature.ipynb) | 4 | curvature, and what the metric depends on |
# | [05_lie_groups](05_lie_groups.ipynb) | 5 | Eq. 14: frames, metrics, and the group that acts on them |
# | [06_backpropagation](06_backpropagation.ipynb) | 6 | Eq. 15: the error pulled back by the same sweep as the metric |
# | [07_1_smoothness](07_1_smoothness.ipynb) | 7.1 | Figure 2: four networks untangle a spiral |
# | [07_2_metric_balls](07_2_metric_balls.ipynb) | 7.2 | Figure 3: balls of the learned metric |
# | [07_3_batch_size](07_3_batch_size.ipynb) | 7.3 | Figure 4: batch 300 against 1000 |
# | [08_appendix](08_appendix.ipynb) | appendix | the infinite product converges; the definitions |
# | [10_errata](10_errata.ipynb) | all | what does not hold as stated, and the statement that does |
# | [11_protocol](11_protocol.ipynb) | all | how evidence becomes a verdict; 144 settings of Figures 2 and 4 |

# %% [markdown]
# ## The ledger
#
# The ledger has every claim. It is for looking up, not for reading through.
#
# - **confirmed**: the evidence shows it.
# - **confirmed with conditions**: it holds under a condition that the statement does not name. The verdict names it.
# - **not supported**: the evidence does not show it. It may still be true.
# - **refuted**: a counterexample is shown, or the evidence shows the opposite.
# - **undecided**: the evidence is too weak. The verdict says how much more is needed.
#
# The claims are sorted by whose they are. Only the printed ones are statements of the paper. The last column leads to the cell that decides the claim.

# %% tags=["nbval-ignore-output"]
Markdown(ledger.summary(claims))

# %% tags=["nbval-ignore-output"]
HTML(ledger.tables_by_source(claims))

# %% [markdown]
# ## `riemlib` in eight lines
#
# The import of `riemlib` above is the first line. The next seven train two networks, and compute for one of them the coordinates and the metric at
# every layer, a length and a ball. The last line checks the shapes.

# %%
sample = rl.spiral(200, positions="random", device=device)
net = rl.CkNetwork([2] * 6, device=device)
run = rl.fit(net, sample, seeds=[0, 1], batch_size=100, updates=100, learning_rate=1e-2)
geometry = rl.geometry(run.networks[0], sample.x)  # every layer, in one pass forward and one backward
coordinates, metrics = geometry.x, geometry.g  # Eqs. 1-4 and 8-10
length = rl.squared_length(metrics[0], 0.01 * sample.x).sqrt()  # Eq. 13
ball = geometry.balls(radius=0.1)[0]  # semi-axes and directions
assert len(coordinates) == len(metrics) == 6 and ball.axes.shape == sample.x.shape and length.shape == (200,)

# %% [markdown]
# ## What next
#
# - **To understand the geometry**: [01_introduction](01_introduction.ipynb), then [04_1_metric](04_1_metric.ipynb).
# - **To see the experiments**: [07_1_smoothness](07_1_smoothness.ipynb), then [11_protocol](11_protocol.ipynb), which says how a verdict is reached.
# - **To see what does not hold as printed**: [10_errata](10_errata.ipynb). It also says how to correct us.
# - **To run something**: `make lab` opens the notebooks in JupyterLab. The README has the other commands, and how to use your own data.

# %%
from riemlib.companion.references import references

references()
