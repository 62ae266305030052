"""What every notebook begins and ends with: a box with its verdicts, filled in as claims are decided, and a line on its environment."""

import os
import platform
import subprocess
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path

import torch
from IPython.display import HTML, display

from .ledger import STAMP, Record, element, record, verdict_in_colour, wording
from .rules import Verdict

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib")


class Opening:
    """The box at the top of a notebook: its section, its verdicts so far, its run time and device, and how to run it otherwise."""

    def __init__(self, section: str, device: str, expected: str):
        self.section, self.device, self.expected = section, device, expected
        self.records: dict[str, Record] = {}
        self.start = clock.perf_counter()
        self.seconds: float | None = None
        self.handle = display(HTML(self.html()), display_id=True)  # None outside a notebook

    def html(self) -> str:
        took = f"took {self.seconds:.0f} s" if self.seconds is not None else f"takes {self.expected}"
        title = element("b", f"Verdicts of {escape(self.section)}")
        where = element("span", f"({took} on {escape(self.device)})", class_="quiet", style="color:#6b6b6b")
        lines = [element("li", f"{verdict_in_colour(r.verdict)} · {escape(wording(vars(r)))}") for r in self.records.values()]
        lines = lines or [element("li", "none yet: run the cells below" if self.seconds is None else "no claim is decided here")]
        verdicts = element("ul", *lines, style="margin:4px 0")
        rerun = element("span", how_to_change(), class_="quiet", style="color:#6b6b6b")
        return element("div", f"{title} {where}", verdicts, rerun, style="border:1px solid #bbb;padding:6px 14px")

    def update(self) -> None:
        if self.handle:
            self.handle.update(HTML(self.html()))


def how_to_change() -> str:
    """How to run a notebook with other parameters, in two sentences of HTML. A reader of the published page sees them as well.

    Jupyter and `python -m riemlib run` tell a kernel which notebook it belongs to.
    """
    name = Path(os.environ.get("JPY_SESSION_NAME", "NAME")).stem
    command = element("code", f"python -m riemlib run {escape(name)} -p name=value")
    return (
        f"To change a parameter, open the notebook with {element('code', 'make lab')}, edit the value and run the cells again. "
        f"Or in a terminal: {command}."
    )


_opening: Opening | None = None


def opening(section: str, *, device: str = "cpu", time: str = "about a minute") -> None:
    """Shows the box with the verdicts of this notebook. `decide` adds a line to it for each claim. `time` is the expected run time."""
    global _opening
    _opening = Opening(section, device, time)


def decide(id: str, verdict: Verdict, evidence: Mapping, protocol: str = "") -> Record:
    """The record of a claim (`ledger.record`), shown in the opening box as well. It stands last in its cell, as the cell's output."""
    decided = record(id, verdict, evidence, protocol)
    if _opening:
        _opening.records[id] = decided
        _opening.update()
    return decided


THIS_MACHINE = (
    "These are the networks of this machine. Training makes the rounding of another processor grow. So there the same seed ends in another "
    "network, and another seed may be drawn."
)


@dataclass(frozen=True)
class Stamp:
    """The environment of a run, and the networks that its figures draw (figure -> seed), which another machine may choose differently."""

    environment: dict[str, str]
    drawn: dict[str, int]

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        entries = self.environment | {f"seed drawn in {figure}": str(seed) for figure, seed in self.drawn.items()}
        line = " · ".join(f"{escape(name)} {escape(value)}" for name, value in entries.items())
        line += f". {THIS_MACHINE}" if self.drawn else ""
        return {STAMP: vars(self), "text/html": element("small", line), "text/plain": repr(self)}


def closing(drawn: Mapping[str, int] | None = None, **settings) -> Stamp:
    """The environment in one line: versions, commit, device, and the settings given, such as seeds. The opening box gets its run time.

    `drawn` says which seed each figure of a trained network draws: figure -> seed.
    """
    device = _opening.device if _opening else "cpu"
    if _opening:
        _opening.seconds = clock.perf_counter() - _opening.start
        _opening.update()
    entries = {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else f"{device}, {torch.get_num_threads()} threads",
        **settings,
    }
    return Stamp({name: str(value) for name, value in entries.items()}, {figure: int(seed) for figure, seed in (drawn or {}).items()})


def _commit() -> str:
    """The commit that the code is at, with `+` where files differ from it. `unknown` outside a repository."""
    here = str(Path(__file__).parent)
    try:
        commit = _git(here, "rev-parse", "--short", "HEAD")
        changed = _git(here, "status", "--porcelain", "--", here)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(folder: str, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()
