"""The five findings: questions of a newcomer, each answered by the verdict of one claim, with the numbers that its notebook recorded.

A sentence belongs to one verdict. Where a run finds another verdict, the reason that its rule gives stands in place of the sentence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A question, the claim (`id`) that answers it, and what to say of its evidence where its verdict is `verdict`."""

    question: str
    id: str
    verdict: str
    said: Callable[[Mapping], str]

    def answer(self, claim: Mapping) -> str:
        """The sentences for a gathered claim. Errors: KeyError where its evidence lacks a number that they need."""
        return self.said(claim["evidence"]) if claim["verdict"] == self.verdict else f"The rule finds: {claim['reason']}."


def share(middle: float, low: float, high: float) -> str:
    """A share and its interval, in per cent.

    >>> share(0.4, 0.309, 0.498)
    '40 % [31, 50]'
    """
    return f"{100 * middle:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _metric(evidence: Mapping) -> str:
    kinds, off, wrong = len(evidence["cases"]), evidence["tolerance, relative"], evidence["weakest control"]
    return (
        f"Yes. For {kinds} kinds of network Eqs. 9 and 10 give the same metric as automatic differentiation, within a relative {off:g}. "
        f"Versions that are wrong on purpose are off by {100 * wrong:.0f} % or more."
    )


def _folds(evidence: Mapping) -> str:
    meets = "trained networks in which an arm meets itself at the output, step "
    (one, whole), (tenth, small) = (evidence[name] for name in sorted(evidence) if name.startswith(meets))
    return (
        "No. A layer can fold the plane, so that two points get the same coordinates. With tanh and steps of 1, as we read the paper's "
        f"networks, an arm of the spiral meets itself at the output in {share(one, *whole)} of the trained networks. "
        f"With steps of 1/L it does so in {share(tenth, *small)}. A condition on the weights, which §2 gives, excludes folds."
    )


def _limit(evidence: Mapping) -> str:
    return (
        "That depends on where training starts. We compare the trained weights of networks of L and of 2L layers. From weights that change "
        f"smoothly from layer to layer, {evidence['primary contrast']}. From weights drawn anew for each layer, "
        f"{evidence['secondary: independent layers']}. The paper takes the limit for given weights. What training does is our question."
    )


def _smooth(evidence: Mapping) -> str:
    same, tell = evidence["specifications that read so, of those that decide"]
    return (
        f"Yes. C0 is the plain network, C1 the residual one, C2 the one of second order. {evidence['primary contrast']}. "
        f"The same is found under {same} of the {tell} settings where the data tell."
    )


def _torn(evidence: Mapping) -> str:
    torn, smallest = evidence["C1 networks in pieces at 5 %, at some layer"], evidence["smallest effect of interest"]
    return (
        f"We do not see that: {evidence['primary contrast']}. The smallest effect that would count is {smallest}. "
        f"At some layer an arm has a gap of more than 5 % of the picture in {share(*torn['batch 300'])} of the networks "
        f"with batch 300, and in {share(*torn['batch 1000'])} with batch 1000."
    )


FINDINGS = (
    Finding("Is the metric of the paper right?", "pullback-recursion", "confirmed", _metric),
    Finding("Do residual networks move the points more smoothly than plain ones?", "smoother-layers", "confirmed", _smooth),
    Finding(
        "Do trained residual networks approach a differential equation as they get deeper?",
        "weights-regular",
        "confirmed with conditions",
        _limit,
    ),
    Finding("Is every residual layer a change of coordinates?", "tanh-residual-folds", "refuted", _folds),
    Finding("Does a small batch tear the data apart?", "batch-connectedness", "not supported", _torn),
)
