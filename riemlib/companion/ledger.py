"""The ledger: every claim of the paper, with the verdict that a rule computed from evidence.

`claims.toml` beside this file holds the claims. A notebook calls `record(id, verdict, evidence)` where it decides a claim. The record is an
output of the executed notebook, with a MIME type of its own beside the HTML that a reader sees. `gather` collects the records. The other
functions show gathered claims to a reader. What a claim says, they all take from `claims.toml`.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

from .findings import FINDINGS, Finding
from .rules import VERDICTS, Verdict, rounded, show

MIME = "application/vnd.riemlib.claim+json"
STAMP = "application/vnd.riemlib.stamp+json"  #: of the line at the end of a notebook
#: source -> whose claims they are, in words
WHOSE = {
    "printed": "printed in the paper",
    "implied": "implied by it, as we read it",
    "cited": "reported by it from other works",
    "ours": "added by us",
}
SOURCES = tuple(WHOSE)
#: heading of the errata -> what stands there
ERRATA = {
    "Refuted": "These printed statements are about all cases, and a counterexample is shown.",
    "Refuted, as we read a word": "The verdict turns on a word that the paper does not define. Another reading can give another verdict.",
    "Not supported": "Our experiments do not show these printed statements. They are on toy data, as the paper's are.",
    "With a condition": "These printed statements hold under a condition that the published paper does not state. The verdict names it.",
    "Not decided": "Our evidence is too weak for a verdict on these printed statements. The verdict says how much more is needed.",
    "Implied or cited": "We read these into the paper, or it reports them from other works. They are not held against its authors.",
}
#: verdict -> the heading of `ERRATA` under which a printed statement stands
PARTS = {
    "refuted": "Refuted",
    "not supported": "Not supported",
    "confirmed with conditions": "With a condition",
    "undecided": "Not decided",
}


# The claims.


@dataclass(frozen=True)
class Claim:
    """What the paper says (`statement`), where (`section`), and the statement that does hold (`repaired`), where there is one.

    `source`: the paper prints the claim, implies it, or cites it from another work; or it is ours. `reading`: how a word is read that the
    paper does not define; `context`: what it says around the statement. `first`: the verdict under the first protocol, where it had one;
    `changed`: what the second changes.
    """

    id: str
    section: str
    source: str
    statement: str
    reading: str = ""
    context: str = ""
    repaired: str = ""
    first: str = ""
    changed: str = ""


def read_claims(file: Path) -> dict[str, Claim]:
    """The claims of a file such as claims.toml, in its order, by id.

    Errors: ValueError for an id that stands there twice, or for an unknown source.
    """
    found: dict[str, Claim] = {}
    for entry in tomllib.loads(file.read_text(encoding="utf-8"))["claim"]:
        claim = Claim(**entry)
        if claim.id in found:
            raise ValueError(f"claim {claim.id} stands twice in {file.name}; each id once is needed")
        if claim.source not in SOURCES:
            raise ValueError(f"claim {claim.id} has the source {claim.source!r}; one of {', '.join(SOURCES)} is needed")
        found[claim.id] = claim
    return found


CLAIMS = read_claims(Path(__file__).with_name("claims.toml"))


# Records: they travel in the executed notebooks.


@dataclass(frozen=True)
class Record:
    """A decided claim, as the notebook that decides it shows and keeps it."""

    id: str
    section: str
    source: str
    statement: str
    verdict: str
    reason: str
    evidence: dict
    protocol: str

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict} ({self.reason})"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {MIME: asdict(self), "text/html": self._html(), "text/plain": repr(self)}

    def _html(self) -> str:
        rows = [element("tr", _cell(escape(name)), _cell(escape(show(value)))) for name, value in self.evidence.items()]
        details = element("summary", "evidence") + element("table", *rows) + element("div", escape(self.protocol))
        head = (
            f"{verdict_in_colour(self.verdict)} · {element('code', self.id)} (§ {escape(self.section)}): {escape(wording(asdict(self)))}."
        )
        return _box(self.verdict, f"{head}<br>{escape(self.reason)}<details open>{details}</details>", id=self.id)


def record(id: str, verdict: Verdict, evidence: Mapping, protocol: str = "") -> Record:
    """The record of a claim, to stand last in its cell. Numbers are kept to three significant digits.

    Errors: ValueError for an unknown id; TypeError for a verdict that no rule made.
    """
    if id not in CLAIMS:
        raise ValueError(f"claim id is {id!r}; one of those in claims.toml is needed")
    if not isinstance(verdict, Verdict) or verdict.verdict not in VERDICTS:
        raise TypeError(f"verdict is {verdict!r}; the Verdict that a rule of riemlib.companion.rules returns is needed")
    kept = {name: rounded(value) for name, value in evidence.items()}
    return Record(**_from_claims(id), verdict=verdict.verdict, reason=verdict.reason, evidence=kept, protocol=protocol)


def gather(notebooks: Iterable[Path]) -> list[dict]:
    """The records in executed notebooks, in the order of `CLAIMS`, each with its `notebook` and the number of the deciding `cell`.

    Section, source and statement are those of `claims.toml` today: a correction there shows everywhere, before the notebook runs again. A
    record whose id is no longer in `claims.toml` is left out. Errors: ValueError where a claim is recorded twice, or a notebook is damaged.
    """
    found: dict[str, dict] = {}
    for file in map(Path, notebooks):
        for kept in records(file):
            if (id := kept["id"]) in found:
                raise ValueError(f"claim {id} is recorded in {found[id]['notebook']} and again in {file.stem}")
            found[id] = kept
    return [{**found[id], **_from_claims(id)} for id in CLAIMS if id in found]


def records(file: Path) -> list[dict]:
    """The records in one executed notebook, as `gather` gives them, but for what they take from claims.toml.

    Errors: ValueError for a file that is no notebook, and for a record without an id.
    """
    found = []
    try:
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            for kept in (output["data"][MIME] for output in cell.get("outputs", []) if MIME in output.get("data", {})):
                found.append({**kept, "id": str(kept["id"]), "notebook": file.stem, "cell": cell["execution_count"]})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file.name} is damaged ({type(error).__name__}: {error}): make paper") from error
    return found


def _from_claims(id: str) -> dict:
    """What a record takes from claims.toml."""
    claim = CLAIMS[id]
    return {"id": id, "section": claim.section, "source": claim.source, "statement": claim.statement}


# For a reader: gathered claims as HTML and Markdown.


def table(claims: Sequence[Mapping]) -> str:
    """Gathered claims as an HTML table: section, claim, verdict, reason, and the cell that decides it."""
    head = [element("th", name, style=LEFT) for name in ("§", "statement", "verdict", "because", "decided in")]
    rows = [
        element(
            "tr",
            _cell(escape(claim["section"])),
            _cell(escape(wording(claim)), "<br>", element("code", claim["id"])),
            _cell(verdict_in_colour(claim["verdict"])),
            _cell(escape(claim["reason"])),
            _cell(_link(claim)),
        )
        for claim in claims
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *rows))


def changed(claims: Iterable[Claim]) -> str:
    """Claims as an HTML table: section, claim, whose it is, its verdict under the first protocol, and what the second changes."""
    head = [element("th", name, style=LEFT) for name in ("§", "statement", "source", "first verdict", "what the second protocol changes")]
    rows = [
        element(
            "tr",
            _cell(escape(claim.section)),
            _cell(escape(claim.statement), "<br>", element("code", claim.id)),
            _cell(claim.source),
            _cell(verdict_in_colour(claim.first) if claim.first else "none"),
            _cell(escape(claim.changed)),
        )
        for claim in claims
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *rows))


def tables_by_source(claims: Sequence[Mapping]) -> str:
    """Gathered claims as HTML: whose they are, and a table for each."""
    found = []
    for source, whose in WHOSE.items():
        of_source = [claim for claim in claims if claim["source"] == source]
        if of_source:
            found += [element("h3", f"{escape(whose[0].upper() + whose[1:])} ({len(of_source)})"), table(of_source)]
    return "".join(found)


def errata(claims: Sequence[Mapping]) -> str:
    """What is not confirmed as the paper has it, as HTML: the statement, what was found, and what does hold.

    The headings of `ERRATA` keep apart the printed statements that are refuted, that are refuted as a word is read, that are not supported,
    that hold under a condition, and that are not decided; and what the paper implies or cites.
    """
    parts: dict[str, list[Mapping]] = {heading: [] for heading in ERRATA}
    for claim in claims:
        if claim["verdict"] != "confirmed" and claim["source"] != "ours":
            parts[_part(claim)].append(claim)
    shown = []
    for (heading, explained), found in zip(ERRATA.items(), parts.values(), strict=True):
        if found:
            shown += [element("h2", escape(heading)), _paragraph(escape(explained)), *map(_erratum, found)]
    return "".join(shown)


def _part(claim: Mapping) -> str:
    """The heading of `ERRATA` under which a claim stands."""
    if claim["source"] != "printed":
        return "Implied or cited"
    if claim["verdict"] == "refuted" and CLAIMS[claim["id"]].reading:
        return "Refuted, as we read a word"
    return PARTS[claim["verdict"]]


def _erratum(claim: Mapping) -> str:
    """A statement, what is said around it, what was found, and what does hold. A reason that says the last as well is cut there."""
    said, about = CLAIMS[claim["id"]], _paragraph(element("b", f"§ {escape(claim['section'])}: {escape(wording(claim))}."))
    reason = claim["reason"].partition(" What holds:")[0].rstrip(".") if said.repaired else claim["reason"]
    found = _paragraph(f"{verdict_in_colour(claim['verdict'])}, {_link(claim)}: {escape(reason)}.")
    notes = {"Context.": said.context, "As we read it.": said.reading, "What holds.": said.repaired}
    context, reading, holds = (_paragraph(f"{element('b', name)} {escape(text)}") if text else "" for name, text in notes.items())
    return _box(claim["verdict"], about, context, reading, found, holds)


def markdown(claims: Sequence[Mapping], folder: str) -> str:
    """Gathered claims as Markdown: the answers to five questions, and a table of section, claim, verdict, and a link to `folder`."""
    answered = answers_in_markdown(claims, folder)
    lines = [*([answered, ""] if answered else []), "| § | statement | verdict | decided in |", "|---|---|---|---|"]
    for claim in claims:
        lines.append(f"| {claim['section']} | {wording(claim)} | **{claim['verdict']}** | {_link_in_markdown(claim, folder)} |")
    return "\n".join(lines)


def summary(claims: Sequence[Mapping]) -> str:
    """How many claims have which verdict, apart for each source, and which have none yet."""
    parts = []
    for source, whose in WHOSE.items():
        verdicts = [claim["verdict"] for claim in claims if claim["source"] == source]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)
        parts += [f"{len(verdicts)} {whose}: {counts}."] if verdicts else []
    waiting = [f"`{id}`" for id in CLAIMS if id not in {claim["id"] for claim in claims}]
    return " ".join([f"{len(claims)} claims.", *parts, *([f"No verdict yet: {', '.join(waiting)}."] if waiting else [])])


def answers(claims: Iterable[Mapping]) -> str:
    """The questions of `FINDINGS`, each with its answer, and the verdict and the cell that it rests on, as a numbered list in HTML."""
    found = {claim["id"]: claim for claim in claims}
    return element("ol", *(element("li", element("b", escape(f.question)), " ", _answer(f, found.get(f.id))) for f in FINDINGS))


def _answer(finding: Finding, claim: Mapping | None) -> str:
    if not claim:
        return "No verdict yet."
    verdict = verdict_in_colour(claim["verdict"])
    return f"{escape(finding.answer(claim))}<br>Verdict on “{escape(wording(claim))}”: {verdict} ({_link(claim)})."


def answers_in_markdown(claims: Iterable[Mapping], folder: str) -> str:
    """The same in Markdown, with links to the notebooks in `folder`. A question without a verdict is left out."""
    found, lines = {claim["id"]: claim for claim in claims}, []
    for finding in (finding for finding in FINDINGS if finding.id in found):
        claim = found[finding.id]
        verdict = f"Verdict on “{wording(claim)}”: **{claim['verdict']}** ({_link_in_markdown(claim, folder)})."
        lines.append(f"1. **{finding.question}** {finding.answer(claim)}<br>{verdict}")
    return "\n".join(lines)


def wording(claim: Mapping) -> str:
    """The statement of a claim, with its source where the paper does not print it itself: (implied) or (cited)."""
    return claim["statement"] + (f" ({claim['source']})" if claim["source"] in ("implied", "cited") else "")


# Pieces of HTML. The styles stand in the elements: a style sheet in an output would apply to the whole page. The book goes by the classes.

LEFT = "text-align:left"


def element(name: str, *content: str, **attributes: str) -> str:
    """An HTML element; `class_` is its class. The content is HTML: text from elsewhere goes through `escape` first."""
    given = "".join(f" {key.rstrip('_')}='{value}'" for key, value in attributes.items())
    return f"<{name}{given}>{''.join(content)}</{name}>"


def verdict_in_colour(verdict: str) -> str:
    """A verdict in bold, in its colour."""
    return element("b", escape(verdict), class_=_classes(verdict), style=f"color:{VERDICTS[verdict]}")


def _box(verdict: str, *content: str, **attributes: str) -> str:
    """A block with a bar in the verdict's colour at its left."""
    style = f"border-left:5px solid {VERDICTS[verdict]};padding:2px 12px;margin:10px 0"
    return element("div", *content, class_=_classes(verdict), style=style, **attributes)


def _classes(verdict: str) -> str:
    """The classes of an element in the colour of a verdict: `verdict`, and its name with hyphens."""
    return f"verdict {verdict.replace(' ', '-')}"


def _cell(*content: str) -> str:
    return element("td", *content, style=LEFT)


def _paragraph(*content: str) -> str:
    return element("p", *content, style="margin:4px 0")


def _link(claim: Mapping) -> str:
    """A link from a notebook to the cell that decides a claim, named by its number when it was executed."""
    return element("a", f"{escape(claim['notebook'])} [{claim['cell']}]", href=f"{claim['notebook']}.ipynb#{claim['id']}")


def _link_in_markdown(claim: Mapping, folder: str) -> str:
    """A link from a Markdown file to the notebook that decides a claim, in `folder`, and the number of the cell."""
    return f"[{claim['notebook']} \\[{claim['cell']}\\]]({folder}/{claim['notebook']}.ipynb)"
