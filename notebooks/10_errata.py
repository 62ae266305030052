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
# This page lists the claims of the paper that were not confirmed as they stand. For each of them it gives
#
# - the verdict and its reason, as the notebook computed them;
# - a link to the cell that decides it, which shows the counterexample or the numbers;
# - the statement that does hold, where mathematics gives one.
#
# The parts are kept apart. First come printed statements that do not hold as printed. Then come printed statements that hold under a condition, and
# those that are not decided. What the paper only implies, or reports from other works, stands last. Slips of the text, which change no result, are at
# the end of the page.
#
# Claims that were confirmed are not listed: [00_overview](00_overview.ipynb) has the whole ledger. How verdicts are reached is told in
# [11_protocol](11_protocol.ipynb).
#
# **Are we wrong?** Each verdict names the cell that decides it, and the cell can be run again. If you find an error in our evidence or in our reading of
# the paper, please open an issue or send a change (`CONTRIBUTING.md` says how). The authors' corrections are especially welcome. They will stand here.

# %% tags=["parameters"]
device: str = "cpu"  # nothing is computed here

# %%
from IPython.display import HTML

from riemlib.companion import build, ledger

claims = ledger.gather(build.executed())

# %% tags=["nbval-ignore-output"]
HTML(ledger.errata(claims))

# %% [markdown]
# ## Slips of the text
#
# None of these changes a result. We list them because a careful reader stops at them.
#
# | where | what stands there | what is meant |
# |---|---|---|
# | §3 | homogeneous | autonomous: $f$ does not depend on $l$ |
# | §3 | $L \to 0$ in the limit of many layers | $L \to \infty$ |
# | §§2, 3 | $C^0$ and $C^k$ networks | smoothness in the layer $l$: in $x$ every tanh network is smooth |
# | Defs 4.2, 4.3 | topological manifolds | smooth manifolds: the definitions differentiate |
# | Def. 4.3 | the pullback of a metric is a metric | that holds for immersions; where $P$ has rank below $d_0$, $g$ is only positive semi-definite |
# | §5 | the fibre as a product of cospaces | the tensor product: symmetric positive forms |
# | Figure 2, §7.1 | the layers at which the classes pass: 3, 4, 5 in one place, 4, 5, 6 in the other | one of the two |

# %%
from riemlib.companion.references import references

references()
