"""The frame of a notebook: the box it opens with, filled in as claims are decided, and the stamp it ends with."""

import html
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from IPython.display import HTML, display

from . import ledger, rules

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib")


class Opening:
    """The box at the top of a notebook: its section, verdicts so far, run time, device."""

    def __init__(self, section: str, device: str, minutes: str):
        self.section, self.device, self.minutes = section, device, minutes
        self.records: dict[str, ledger.Record] = {}
        self.start, self.seconds = time.perf_counter(), None
        self.handle = display(HTML(self.html()), display_id=True)

    def html(self) -> str:
        took = f"took {self.seconds:.0f} s" if self.seconds is not None else f"takes {self.minutes}"
        none = "<li>none yet: run the cells below</li>"
        lines = "".join(
            f"<li><b style='color:{rules.VERDICTS[r.verdict]}'>{html.escape(r.verdict)}</b> · {html.escape(r.statement)}</li>"
            for r in self.records.values()
        )
        return (
            f"<div style='border:1px solid #bbb;padding:6px 14px'><b>Verdicts of {html.escape(self.section)}</b> "
            f"<span style='color:#777'>({took} on {html.escape(self.device)})</span><ul style='margin:4px 0'>{lines or none}</ul></div>"
        )

    def update(self) -> None:
        if self.handle:
            self.handle.update(HTML(self.html()))


_opening: Opening | None = None


def opening(section: str, *, device: str = "cpu", time: str = "about a minute") -> None:
    """Shows the box that says what this notebook found; `decide` adds a line to it for each claim."""
    global _opening
    _opening = Opening(section, device, time)


def decide(id: str, verdict: rules.Verdict, evidence: Mapping, protocol: str = "") -> ledger.Record:
    """`ledger.record`, also shown in the opening box; stands last in its cell, so that the record is the cell's output."""
    record = ledger.record(id, verdict, evidence, protocol)
    if _opening:
        _opening.records[id] = record
        _opening.update()
    return record


def closing(**settings) -> HTML:
    """The environment stamp: versions, commit, device, and the settings given (seeds, for one). Fills in the run time at the top."""
    device = _opening.device if _opening else "cpu"
    if _opening:
        _opening.seconds = time.perf_counter() - _opening.start
        _opening.update()
    rows = {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else f"{device}, {torch.get_num_threads()} threads",
        **settings,
    }
    return HTML("<small>" + " · ".join(f"{html.escape(k)} {html.escape(str(v))}" for k, v in rows.items()) + "</small>")


def _commit() -> str:
    """The commit the code was at, `+` where files differ from it; `unknown` outside a repository."""
    here = Path(__file__).parent
    try:
        questions = (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", str(here)])
        told = {"capture_output": True, "text": True, "check": True}
        answers = [subprocess.run(["git", "-C", str(here), *q], **told).stdout.strip() for q in questions]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answers[0] + ("+" if answers[1] else "")
