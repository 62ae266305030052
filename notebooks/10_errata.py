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
# # Errata
#
# What the paper states, or takes for granted, that does not hold as it stands: the verdict and its reason as the notebook computed them, a link to
# the deciding cell, which shows the counterexample or the numbers, and, where mathematics gives one, the statement that does hold. Claims that were
# confirmed are not listed; the whole ledger is in [00_overview](00_overview.ipynb).
#
# Two slips of notation belong here as well and change no result. The action of Eq. 14 on metrics is $h \triangleright g = h^{-\mathsf T} g h^{-1}$, so
# that its $h^{-1}$ gives the $h^{\mathsf T} g h$ of Eq. 10 (§5). And a degenerate $g$ is positive *semi*-definite: wherever a layer narrows the input
# carries a pseudo-metric, not a metric (§4).

# %% tags=["parameters"]
device: str = "cpu"  # nothing is computed here

# %%
from IPython.display import HTML

from riemlib import ledger, paper

claims = ledger.gather(paper.executed())

# %% tags=["nbval-ignore-output"]
HTML(ledger.errata(claims))
