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
# This page lists the claims that the paper states, or takes for granted, and that do not hold as stated. For each of
# them it gives
#
# - the verdict and its reason, as the notebook computed them;
# - a link to the cell that decides it, which shows the counterexample or the numbers;
# - the statement that does hold, where mathematics gives one.
#
# Claims that were confirmed are not listed. [00_overview](00_overview.ipynb) has the whole ledger.
#
# Two slips of notation belong here as well. They change no result.
#
# - The action of Eq. 14 on metrics is $h \triangleright g = h^{-\mathsf T} g h^{-1}$. So its $h^{-1}$ gives the
#   $h^{\mathsf T} g h$ of Eq. 10 (§5).
# - A degenerate $g$ is positive *semi*-definite. Wherever a layer narrows, the input has a pseudo-metric, not a metric
#   (§4).

# %% tags=["parameters"]
device: str = "cpu"  # nothing is computed here

# %%
from IPython.display import HTML

from riemlib.companion import build, ledger

claims = ledger.gather(build.executed())

# %% tags=["nbval-ignore-output"]
HTML(ledger.errata(claims))
