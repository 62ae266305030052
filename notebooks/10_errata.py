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
# This page lists what we could not confirm as it is printed. For each statement it gives
#
# - what the paper says around it, and how we read a word that it does not define;
# - the verdict and its reason, as the notebook computed them, with a link to the cell that decides it;
# - the statement that does hold, where mathematics gives one.
#
# Each kind has its own heading: refuted; not supported; true under a condition; not decided; only implied by the paper, or reported from other works.
# Slips of the text, which change no result, are at the end of the page.
#
# **What this page leaves out** is what holds as printed. The counts are below, and [00_overview](00_overview.ipynb) has every claim.
# [11_protocol](11_protocol.ipynb) says how a verdict is reached.
#
# **What we read.** We have the paper as it was published, as a scan. Its longer version with the appendix could not be found. The longer version may
# state a condition that we miss, or have a proof that we give ourselves.
#
# **Are we wrong?** Each verdict names the cell that decides it, and you can run this cell again. If you find an error in our evidence, or in our reading
# of the paper, please tell us. `CONTRIBUTING.md` says how. Corrections by the authors are especially welcome, and will stand on this page.

# %% tags=["parameters"]
device: str = "cpu"  # nothing is computed here

# %%
from IPython.display import HTML, Markdown

from riemlib.companion import build, ledger

claims = ledger.gather(build.executed())

# %% tags=["nbval-ignore-output"]
Markdown(ledger.summary(claims))

# %% tags=["nbval-ignore-output"]
HTML(ledger.errata(claims))

# %% [markdown]
# ## Slips of the text
#
# None of these changes a result. We list them because they can stop a reader.
#
# | where | what stands there | what is meant |
# |---|---|---|
# | §3, title and text | $C^0$ and $C^k$ networks | smoothness in the layer $l$: in $x$ every tanh network is smooth |
# | §3, below Eq. 7 | $L \to 0$ (in our scan; it may be a fault of the scan) | $L \to \infty$ |
# | §3, last paragraph | a homogeneous equation | an autonomous one: $f$ does not depend on $l$ |
# | Def. 4.2 | topological manifolds | smooth manifolds: the definition differentiates |
# | Def. 4.3 | the pullback of a metric is a metric | that holds for immersions; where $P$ has rank below $d_0$, $g$ is only positive semi-definite |
# | §5 | the fibre as a product of two dual spaces | their tensor product, and in it the symmetric positive forms |
# | Figure 2, §7.1 | the classes pass at layers 3, 4, 5 (caption) and 4, 5, 6 (text) | one of the two |

# %%
from riemlib.companion.references import references

references()
