"""The ledger: every claim of the paper with a verdict that a rule computed from evidence.

`claims.toml` beside this file holds the claims. A notebook calls `record(id, verdict, evidence)` where a claim is decided. The record is an
output of the executed notebook, with its own MIME type beside the HTML that a reader sees. `gather` collects the records.
"""

import html
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .rules import VERDICTS, Verdict, rounded, show

MIME = "application/vnd.riemlib.claim+json"
SOURCES = ("printed", "implied", "cited", "ours")


@dataclass(frozen=True)
class Claim:
    """What the paper says (`statement`), where (`section`), whose claim it is (`source`), and what does hold (`repaired`, or empty)."""

    id: str
    section: str
    source: str
    statement: str
    repaired: str = ""


def read_claims(file: Path) -> dict[str, Claim]:
    """The claims of claims.toml, in its order, by id. Errors: ValueError for an id that stands there twice, or an unknown source."""
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


@dataclass(frozen=True)
class Record:
    """A decided claim."""

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
        colour, text = VERDICTS[self.verdict], html.escape
        cell = "<td style='text-align:left'>{}</td>".format
        rows = "".join(f"<tr>{cell(text(k))}{cell(text(show(v)))}</tr>" for k, v in self.evidence.items())
        return (
            f"<div id='{self.id}' style='border-left:5px solid {colour};padding:2px 12px;margin:6px 0'>"
            f"<b style='color:{colour}'>{text(self.verdict)}</b> · <code>{text(self.id)}</code> (§ {text(self.section)}): "
            f"{text(self.statement)}."
            f"<br>{text(self.reason)}<details open><summary>evidence</summary><table>{rows}</table>"
            f"<div>{text(self.protocol)}</div></details></div>"
        )


def record(id: str, verdict: Verdict, evidence: Mapping, protocol: str = "") -> Record:
    """The record of a claim, to stand last in its cell: numbers are kept to three significant digits.

    Errors: ValueError for an unknown id; TypeError for a verdict that no rule made.
    """
    if id not in CLAIMS:
        raise ValueError(f"claim id is {id!r}; one of those in claims.toml is needed")
    if not isinstance(verdict, Verdict) or verdict.verdict not in VERDICTS:
        raise TypeError(f"verdict is {verdict!r}; the Verdict that a rule of riemlib.companion.rules returns is needed")
    claim, kept = CLAIMS[id], {name: rounded(value) for name, value in evidence.items()}
    return Record(id, claim.section, claim.source, claim.statement, verdict.verdict, verdict.reason, kept, protocol)


def gather(notebooks: Iterable[Path]) -> list[dict]:
    """The records in executed notebooks, in the order of `CLAIMS`, each with its `notebook` and the number of the deciding `cell`.

    Errors: ValueError where a claim is recorded twice.
    """
    found = {}
    for path in notebooks:
        for cell in json.loads(Path(path).read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                claim = output.get("data", {}).get(MIME)
                if claim is None:
                    continue
                if claim["id"] in found:
                    raise ValueError(f"claim {claim['id']} is recorded in {found[claim['id']]['notebook']} and again in {Path(path).stem}")
                found[claim["id"]] = {**claim, "notebook": Path(path).stem, "cell": cell["execution_count"]}
    return [found[id] for id in CLAIMS if id in found]


def table(claims: Sequence[Mapping]) -> str:
    """Gathered claims as an HTML table: section, claim, verdict, why, notebook."""
    text = html.escape
    rows = "".join(
        f"<tr><td>{text(c['section'])}</td><td style='text-align:left'>{text(c['statement'])}<br><code>{text(c['id'])}</code></td>"
        f"<td style='text-align:left;color:{VERDICTS[c['verdict']]}'><b>{text(c['verdict'])}</b></td>"
        f"<td style='text-align:left'>{text(c['reason'])}</td>"
        f"<td style='text-align:left'>{link(c)}</td></tr>"
        for c in claims
    )
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("§", "what the paper says", "verdict", "because", "decided in"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def link(claim: Mapping, folder: str = "") -> str:
    """An HTML link from a notebook to the cell that decides a claim: its number as it was executed."""
    return f"<a href='{folder}{claim['notebook']}.ipynb#{claim['id']}'>{html.escape(claim['notebook'])} [{claim['cell']}]</a>"


def errata(claims: Sequence[Mapping]) -> str:
    """What the paper states that does not hold as stated: the statement, what was found, and the statement that holds, as HTML."""
    text, parts = html.escape, []
    for c in claims:
        if c["verdict"] == "confirmed" or c["section"] == "ours":
            continue
        holds = CLAIMS[c["id"]].repaired
        repaired = f"<p style='margin:4px 0'><b>What holds.</b> {text(holds)}</p>" if holds else ""
        parts.append(
            f"<div style='border-left:5px solid {VERDICTS[c['verdict']]};padding:2px 12px;margin:14px 0'>"
            f"<p style='margin:4px 0'><b>§ {text(c['section'])}: {text(c['statement'])}.</b></p>"
            f"<p style='margin:4px 0'><b style='color:{VERDICTS[c['verdict']]}'>{text(c['verdict'])}</b>, {link(c)}: "
            f"{text(c['reason'])}.</p>"
            f"{repaired}</div>"
        )
    return "".join(parts)


def markdown(claims: Sequence[Mapping], folder: str) -> str:
    """The same, shorter, as a Markdown table with links to the notebooks in `folder`."""
    links = [f"[{c['notebook']} \\[{c['cell']}\\]]({folder}/{c['notebook']}.ipynb)" for c in claims]
    rows = [f"| {c['section']} | {c['statement']} | **{c['verdict']}** | {link} |" for c, link in zip(claims, links, strict=True)]
    return "\n".join(["| § | what the paper says | verdict | decided in |", "|---|---|---|---|", *rows])


def summary(claims: Sequence[Mapping]) -> str:
    """How many claims have which verdict, and which are still to be decided."""
    counts = {verdict: sum(c["verdict"] == verdict for c in claims) for verdict in VERDICTS}
    decided = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    waiting = [f"`{id}`" for id in CLAIMS if id not in {c["id"] for c in claims}]
    return f"{len(claims)} claims decided: {decided}." + (f" Not yet decided: {', '.join(waiting)}." if waiting else "")
