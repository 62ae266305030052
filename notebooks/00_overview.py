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
# M. Hauser and A. Ray (NIPS 2017) read a neural network as geometry. The data are points of a manifold that never changes; every layer is a change
# of the coordinates in which they are written; training looks for coordinates in which hyperplanes separate the classes. Three statements follow.
#
# 1. **A residual network is a differential equation, discretised.** Its layers are the steps of a finite-difference scheme for
#    $\mathrm dx/\mathrm dl = f(x;l)$; with a momentum term it is second order. (§3)
# 2. **A network induces a metric on the data, in closed form.** Give the output the Euclidean metric and pull it back through the layers' Jacobians,
#    last layer first. What is near in that metric is what the network takes to be near. (§4)
# 3. **The pullback is a sequence of Lie group actions**, on the bundle of metrics, and error backpropagation is one too, on the frame bundle. (§§5, 6)
#
# Toy spirals illustrate this in §7, one run each, without settings. Here each equation is one call of `riemlib`, each figure is redrawn from networks
# trained by the notebook that shows it, and each claim ends in a verdict computed from evidence.
#
# ## How to read this
#
# Each notebook follows one section: what the paper says, in our words; the call that is the equation; a picture; a check; the verdict. They are
# independent of one another, open with their verdicts, and run in a minute or so each, the two studies of §7 in a few.
#
# | notebook | section | what it shows |
# |---|---|---|
# | [01_introduction](01_introduction.ipynb) | 1 | the geometric view; Figure 1 from a trained network |
# | [02_notation](02_notation.ipynb) | 2 | when a layer is a coordinate change, and when it folds |
# | [03_ck_networks](03_ck_networks.ipynb) | 3 | Eqs. 1–7: one recursion for every order, and its limit |
# | [04_metric](04_metric.ipynb) | 4 | Eqs. 8–13: the metric, its balls, changing dimension |
# | [05_lie_groups](05_lie_groups.ipynb) | 5 | frame bundle, bundle of metrics, Eq. 14 |
# | [06_backpropagation](06_backpropagation.ipynb) | 6 | Eq. 15 |
# | [07_1_smoothness](07_1_smoothness.ipynb) | 7.1 | Figure 2: four networks untangle a spiral; smoothness, crossings, flatness over many seeds |
# | [07_2_metric_balls](07_2_metric_balls.ipynb) | 7.2 | Figure 3: balls of the learned metric |
# | [07_3_batch_size](07_3_batch_size.ipynb) | 7.3 | Figure 4: batch 300 against 1000; the batch study |
# | [08_appendix](08_appendix.ipynb) | appendix | the infinite product converges; the definitions |
# | [10_errata](10_errata.ipynb) | all | what does not hold as stated, and the statement that does |

# %% tags=["parameters"]
device: str = "cpu"  # where the networks live

# %%
from IPython.display import HTML, Markdown

import riemlib as rl
from riemlib import ledger, paper

claims = ledger.gather(paper.executed())

# %% [markdown]
# ## In short
#
# The paper's theses, each with the claims that stand for it and how many of these have which verdict. What is not confirmed as stated is named; the
# [errata](10_errata.ipynb) give the statement that does hold.

# %%
theses = {
    "a layer is a change of coordinates": ["relu-not-chart", "relu-residual-bijective", "tanh-residual-folds", "c0-tanh-injective", "c2-phase-space"],
    "a residual network is a differential equation": [id for id, (section, _) in ledger.CLAIMS.items() if section == "3"],
    "the metric in closed form": ["pullback-recursion", "residual-jacobian", "product-order", "product-converges", "line-element", "pushforward-pullback", "epsilon-delta", "flatness", "gauge"],
    "its remarks on dimension, charts and distance": ["dimension-bottleneck", "polar-easy", "width-easier", "lle-charts", "near-far"],
    "metric and error by group actions": [id for id, (section, _) in ledger.CLAIMS.items() if section in ("5", "6")],
    "what the figures of the spirals show": [id for id, (section, _) in ledger.CLAIMS.items() if "7." in section],
}

# %% tags=["nbval-ignore-output"]
verdict = {claim["id"]: claim["verdict"] for claim in claims}
rows = []
for thesis, ids in theses.items():
    counts = [f"{sum(verdict.get(id) == kind for id in ids) or ''}" for kind in ("confirmed", "confirmed with conditions", "not supported", "refuted")]
    exceptions = ", ".join(f"{id} ({verdict[id]})" for id in ids if verdict.get(id, "confirmed") != "confirmed")
    rows.append(f"| {thesis} | {' | '.join(counts)} | {exceptions} |")
Markdown("\n".join(["| thesis | confirmed | with conditions | not supported | refuted | not confirmed as stated |", "|---|---|---|---|---|---|", *rows]))

# %% [markdown]
# ## The ledger
#
# **confirmed**: the evidence shows it. **confirmed with conditions**: it holds where the condition does. **not supported**: the evidence does not show
# it. **refuted**: a counterexample is shown. The notebook named beside a claim holds the evidence, the control that had to fail, and the deciding cell.

# %% tags=["nbval-ignore-output"]
HTML(ledger.table(claims))

# %% tags=["nbval-ignore-output"]
Markdown(ledger.summary(claims))

# %% [markdown]
# ## The whole of it in eight lines
#
# A network of any order, its coordinates at every layer, the metric at every layer, a ball.

# %%
sample = rl.spiral(200, device=device)
run = rl.fit(rl.CkNetwork([2] * 6, device=device), sample, seeds=[0, 1], batch_size=100, updates=100, learning_rate=1e-2)
net = run.networks[0]
coordinates = net.coordinates(sample.x)  # Eqs. 1-4
metrics = rl.pullback_metrics(net, sample.x)  # Eqs. 8-10, every layer in one sweep
length = rl.squared_length(metrics[0], 0.01 * sample.x).sqrt()  # Eq. 13
ball = rl.balls(metrics[0], radius=0.1)  # semi-axes and directions
assert len(coordinates) == len(metrics) == 6 and ball.axes.shape == sample.x.shape and length.shape == (200,)
