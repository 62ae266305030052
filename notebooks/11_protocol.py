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
# # Protocol and deviations
#
# How does evidence become a verdict? This page answers that for all notebooks. It has five parts:
#
# 1. the rules, in plain words;
# 2. the two protocols: what changed between them, and why;
# 3. the multiverse: the comparisons of Figures 2 and 4 under 144 settings that the paper leaves open;
# 4. the power of the rules: how often each would find an effect that is there;
# 5. a test of the table from which the multiverse is read.
#
# No claim is decided on this page. C0 is a plain network, C1 a residual one, C2 one with a momentum term, and "mixed" is C1 with one plain layer.

# %% tags=["parameters"]
handful: int = 10  # cells of the multiverse, besides those of the base, that are computed anew
seed: int = 0  # of the choice of these cells, and of the draws for the power
seeds: int = 100  # networks of each kind at the base, where sizes are compared
seeds_of_shares: int = 400  # and where shares of networks are compared
device: str = "cpu"  # where everything runs

# %%
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML

from riemlib.companion import ledger, multiverse, notebook
from riemlib.companion.figures import protocol, save
from riemlib.companion.ledger import CLAIMS
from riemlib.companion.multiverse import AXES, BASE, read, rougher, torn, untangled
from riemlib.companion.power import power_table
from riemlib.companion.specifications import condition, specifications
from riemlib.companion.statistics import select

pd.set_option("display.max_colwidth", None)
notebook.opening("the protocol", device=device, time="about a minute")

# %% [markdown]
# ## The rules
#
# **Statements of mathematics.** A statement is *confirmed* if it holds under the hypotheses that the paper states, and two independent ways of
# computing agree. If it needs another hypothesis, it is *confirmed with conditions*, and the verdict names the hypothesis. One counterexample *refutes*
# a statement about all cases. If the paper's argument does not show the statement, and we neither prove nor refute it, it is *not supported*.
#
# **Statements that something can happen.** One verified case confirms. If there is none in many tries, the statement is not refuted. It is *not
# supported*, and the verdict says how often it happens at most.
#
# **Statements about trained networks.** Such a statement compares two conditions. Three things are named first: the comparison that decides, the
# direction that the paper says (it counts as positive), and the smallest effect of interest, $\Delta$. Both conditions are trained from the same
# seeds on the same points. Under one setting the effect has a 95 % interval. The effect reads
#
# - **for**, where the whole interval is above $\Delta$;
# - **against**, where the whole interval is below $-\Delta$;
# - **absent**, where the whole interval is between $-\Delta$ and $\Delta$;
# - **silent** otherwise: the data do not tell.
#
# The base is the setting that we chose, with many seeds. The multiverse is a table of many settings, with 20 seeds each. The first line that applies is
# the verdict:
#
# 1. *undecided*, if the base is silent, or more than half of all settings are. The verdict says about how many seeds would be enough.
# 2. *confirmed*, if the base is for, and so are at least 90 % of the settings that are not silent.
# 3. *refuted*, if the base is against, and so are at least 90 % of the settings that are not silent.
# 4. *confirmed with conditions*, if there is a rule of at most two thresholds, such as "turns at most 1 and Adam". Of the settings that meet the rule
#    and are not silent, at least 90 % are for. At least 20 settings meet it. The rule is chosen by the even seeds, and has to pass on the odd ones, too.
# 5. *not supported* otherwise.
#
# The rules treat both directions alike: with the two conditions exchanged, lines 2 and 3 change places. A difference that is not significant never
# confirms and never refutes.
#
# A statement that something *makes no difference*, or *costs little*, has a margin in the place of $\Delta$. It reads *for* where the whole interval is
# within the margin. It reads *silent* where the network without the change reaches 0.0 % error for fewer than 20 % of the seeds: it has little to lose.
#
# Words such as "intuitive" are not measured. Where a verdict turns on a word that the paper does not define, such as "flat" or "simple", the
# [errata](10_errata.ipynb) say how we read it.

# %% [markdown]
# ## The two protocols
#
# The first protocol decided the 39 claims of the first edition (version 1.0.0, November 2026). A review of the evidence then found verdicts that did
# not follow from it. All verdicts of the ledger are now decided by the second protocol (version 2.0.0, November 2026). Its rules were written after a
# look at the first results. Such rules are weaker than rules written before any look. So this page says what changed, claim by claim.
#
# | | first protocol | second protocol | why |
# |---|---|---|---|
# | rule | significance, or an interval on one side of 0 | an interval beyond the smallest effect of interest, and the five lines above | a tiny effect can be significant, and a small sample can hide a large one |
# | other settings | one varied at a time, looked at by eye | 144 settings, counted by the rule | settings act together |
# | training points | evenly spaced along the arms | at random positions, one draw for all | an even sample is its own mirror image: training on all points at once then leaves every bias at 0 |
# | updates | from 80 to 3000 | 3000; 1000 only as one of the settings | after few updates one measures how fast networks learn, not what they learn |
# | batch sizes | compared at equal epochs, too | compared at equal updates | at equal epochs a larger batch gets fewer updates |
# | seeds | 100 or fewer | 100, or 200 where 100 have too little power, and 400 for shares; 20 for networks of up to 640 layers | 100 pairs fix a difference of shares to about ± 12 points only |
# | several comparisons | any of them could turn the verdict | one comparison decides, the others are shown beside it | more comparisons mean more chances to err |
# | whose claim | printed or implied | printed, implied, cited or ours, counted apart | what we read into the paper, or what it reports of others, is not held against its authors |
#
# For Figures 2 and 4, the second protocol names these comparisons:
#
# | claim | comparison that decides | $\Delta$ or margin |
# |---|---|---|
# | C1 and C2 change smoothly from layer to layer, C0 sharply | roughness of C0 over that of C1, and over that of C2; both must hold | a factor of 1.25 |
# | the four networks reach 0.0 % error | existence; the shares over the multiverse are shown | |
# | a network without the identity into layer 6 still untangles | existence; whether it does so as often as C1 is shown beside it | 10 points |
# | batch 300 breaks connected sets, 1000 keeps them | largest gap over the diameter at the output, batch 300 over batch 1000, C1 | a factor of 2 |

# %% [markdown]
# Claim by claim: whose it is, its verdict under the first protocol, and what the second one changes. The [ledger](00_overview.ipynb) has the
# verdicts of today.

# %%
assert sum(claim.first != "" for claim in CLAIMS.values()) == 39
HTML(ledger.changed(CLAIMS.values()))

# %% [markdown]
# ## The multiverse
#
# The text of the paper does not give the number of turns, the depth, the learning rate or the number of updates. Of the optimiser it says that it is
# stochastic gradient descent. So we train under every combination of these values, from 20 seeds each:

# %%
table, about = read(), multiverse.described()
how_many = f"{len(table)} networks under {table[list(AXES)].drop_duplicates().shape[0]} settings"
print(f"{how_many}, made on {about['date']} with torch {about['versions']['torch']}; code {about['code']}")
pd.Series({name: ", ".join(map(str, values)) for name, values in AXES.items()}, name="values").to_frame()

# %% [markdown]
# `adam` is the optimiser Adam, and `sgd` is stochastic gradient descent with momentum 0.9. `rate` is a factor: it multiplies the optimiser's own
# learning rate. That of Adam is 0.01. That of stochastic gradient descent was tuned once, by code, on other seeds. Of five rates it is the one with
# which most networks of the four kinds reach 0.0 % error at the base.
#
# Batches have 300 of 1000 points. For the claim about batches, C1 and C2 are also trained with batch 1000, and with both batches on 4000 points. The
# mixed network has no identity on the way into layer 6 of 10, 4 of 6 or 10 of 16. All measures are taken on 4000 points that are even along the arms.

# %%
print(f"the rate of sgd is {about['sgd_rate']}, of {about['sgd_rates']}")
main = select(table, batch_size=300, points=1000)
by = main.groupby(["optimiser", "updates", "network"])["solved"].mean().unstack().round(3)
by.rename_axis(columns="share of networks at 0.0 % error")

# %% [markdown]
# ### Roughness: C0 against C1 and against C2
#
# Roughness says how sharply points change direction from layer to layer. Each column of the picture is one setting. The dot is the effect and the bar
# its 95 % interval. The marks below say which setting it is. The arrow points at the base.

# %%
found = {
    "C0-C1 roughness": partial(rougher, network="C1"),
    "C0-C2 roughness": partial(rougher, network="C2"),
    "C1 gaps, batch 300-1000": partial(torn, network="C1"),
    "C2 gaps, batch 300-1000": partial(torn, network="C2"),
    "C1 gaps, 4000 points": partial(torn, network="C1", points=4000),
    "C2 gaps, 4000 points": partial(torn, network="C2", points=4000),
    "mixed as often solved as C1": untangled,
}
effects = {name: specifications(table, list(AXES), contrast) for name, contrast in found.items()}


def curve(name, file, ylabel, title):
    fig = protocol.specification_curve(effects[name], BASE, ylabel=ylabel, title=title)
    save(fig, file)
    plt.show()


# %%
title = "Roughness of C0 against C1, 20 pairs under each of 144 settings"
curve("C0-C1 roughness", "protocol_roughness_c1", "roughness of C0 over that of C1", title)

# %%
title = "Roughness of C0 against C2, 20 pairs under each of 144 settings"
curve("C0-C2 roughness", "protocol_roughness_c2", "roughness of C0 over that of C2", title)

# %% [markdown]
# ### Success
#
# The share of networks that reach 0.0 % error on their 1000 training points.

# %%
title = "Success of each kind of network, 20 seeds under each of 144 settings"
fig = protocol.success_curve(main, list(AXES), BASE, networks=["C1", "C2", "mixed", "C0"], title=title)
save(fig, "protocol_success")
plt.show()

# %% [markdown]
# ### Connectedness: batch 300 against batch 1000
#
# The largest gap between neighbours of 4000 points on the arms, at the output, over the diameter of the picture. Both batches get the same number of
# updates. With batch 1000 of 1000 points every update sees all points.

# %%
title = "Largest gap of C1 with batch 300 against batch 1000, 20 pairs under each of 144 settings"
curve("C1 gaps, batch 300-1000", "protocol_connectedness", "largest gap, batch 300 over batch 1000", title)

# %% [markdown]
# ### What the settings say
#
# Each row is a comparison. The first columns count the settings by their reading. Then follow the reading of the base, with the 20 seeds of the table,
# and the effect there in plain terms. The last two columns have the rule of line 4 under which the paper's statement holds, or its opposite. They are
# empty where no such rule is needed, or none is found. These counts are no verdicts: the verdicts rest on more seeds at the base.

# %%
rows = []
for name, each in effects.items():
    readings = pd.Series([one.whole.reading for one in each])
    counts = {reading: int((readings == reading).sum()) for reading in ("for", "against", "absent", "silent")}
    (base,) = [one.whole for one in each if all(one.settings[axis] == value for axis, value in BASE.items())]
    most = 0.9 * (readings != "silent").sum()
    rules = {f"{way} where": condition(each, way) if counts[way] < most else "" for way in ("for", "against")}
    rows.append({"comparison": name, **counts, "base": base.reading, "in plain terms": base.plain, **rules})
pd.DataFrame(rows).set_index("comparison")

# %% [markdown]
# ## The power of the rules
#
# A rule that rarely finds an effect that is there should not decide. To see how often it does, we draw samples with the spread that the networks of the
# base show. In these samples the true effect is twice the smallest effect of interest. (For a statement of no difference there is none.) The power is
# the share of samples that read *for*. None of the comparisons below has a power under 80 % at the base. The record of every other claim about trained
# networks gives its own power, and a test asserts that none is under 80 %.
#
# The settings of the multiverse have 20 seeds. Where the power is low there, many of them are silent. A silent setting counts for neither side.
#
# The effects in the table are logarithms of ratios, or differences of shares. A logarithm of 0.223 is a factor of 1.25, and 0.693 a factor of 2.

# %%
at_base = {name: next(one.whole for one in each if one.settings == BASE) for name, each in effects.items()}
sizes = {name: base for name, base in at_base.items() if base.kind != "share"}
shares = {name: base for name, base in at_base.items() if base.kind == "share"}
parts = [power_table(sizes, n=seeds, seed=seed), power_table(shares, n=seeds_of_shares, seed=seed)]
few = power_table(sizes | shares, n=len(about["seeds"]), seed=seed).set_index("claim")["power"]
powers = pd.concat(parts).set_index("claim")
assert powers["used"].all()  # 80 % or more
powers.assign(**{"power with 20 seeds": few}).drop(columns="used").round(3).rename_axis("comparison")

# %% [markdown]
# ## Is the table right?
#
# The table was computed once and is kept with the code. `make multiverse` computes it anew, also on a cluster. Here the cells of the base, and some others
# chosen at random, are computed again on this machine and compared. `equal` is the share of numbers that are the same to the last digit kept. The
# last columns are the new value less the old one: of the share of networks at 0.0 % error (`solved`), and of the medians of the logarithms of the
# measures. On another kind of processor rounding differs, and single networks can end elsewhere. Then `equal` is below 1, and the last columns say how
# much it matters.

# %% tags=["nbval-ignore-output"]
again = multiverse.check(handful, seed)
print(f"{len(again)} cells computed anew: {again['equal'].mean():.1%} of the numbers are equal")
again.rename(columns=lambda name: name.removeprefix("log_").removesuffix("_size"))

# %%
assert again["solved"].abs().mean() < 0.1 and again["log_roughness"].abs().median() < 0.1

# %%
from riemlib.companion.references import references

references(
    wilson="the interval of a share",
    newcombe="the interval of a difference of paired shares",
    hodges_lehmann="the shift of paired values",
    simonsohn="specification curves",
)

# %%
notebook.closing(seed=seed)
