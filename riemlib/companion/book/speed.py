"""The page "Speed" of the book: the table and the figure of growth, from what `make bench PUBLISH=1` measured and left in speed.json.

A record holds: date, machine, versions, threads, the load of the machine before, whether its sizes were tiny (`quick`); `groups`, tables of
competitors; `limits`, single numbers with what is promised of them; `growth`, times against sizes with a fitted exponent. Times are medians
in seconds.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ... import plot
from ..figures import described, listed

RECORD = Path("riemlib/companion/book/speed.json")  #: in the repository
BUSY = 0.5  #: a load of the machine above which times are not to be trusted: threads wait for each other
TOLD = """
Measured in one run of `make bench`: competitors in turn, medians, float32. The column "times riemlib" says how many times as long as
riemlib each takes on the CPU. These ratios carry over to other machines, the times do not. A promise is the least ratio that this project
wants to keep. A floor is a part of the work alone.
"""


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """The page and its figure, as the name and the text of each source; nothing without a record."""
    if (root / RECORD).is_file():
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
        yield "speed.svg", drawing(growth(record["growth"]))
        yield "speed.md", page(record)


def page(record: dict) -> str:
    """The page, in Markdown."""
    parts, columns = ["# Speed", TOLD.strip(), conditions(record)], head(record)
    for group in record["groups"]:
        notes = [f"{row['name']}: {row['note']}." for row in group["rows"] if row["note"]]
        parts += [f"## {group['title']}", markdown(columns, table(group)), " ".join(notes)]
    parts += ["## Limits", markdown(LIMITS, limits(record["limits"]))]
    parts += ["## Growth", f"![{spoken(record['growth'])}](speed.svg)"]
    return "\n\n".join(filter(None, parts)) + "\n"


def conditions(record: dict) -> str:
    """Where and when it was measured, in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    machine = record["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {record['threads']} threads; GPU: {machine['gpu'] or 'no GPU here'}"
    warned = f" Other work ran beside it (load {record['load']:.1f}): measure again without." if record["load"] > BUSY else ""
    return f"{record['date']}. {where}. {versions}." + warned + (" Tiny sizes: no measurement." if record["quick"] else "")


# Tables.

LIMITS = ("", "measured", "promise")


def head(record: dict) -> tuple[str, ...]:
    """The names of the columns of a group of competitors."""
    return "", "CPU", "times riemlib", "promise", "GPU" if record["machine"]["gpu"] else "no GPU here"


def table(group: dict) -> list[tuple[str, ...]]:
    """The lines of a group of competitors, as in `head`."""
    return [
        (row["name"], duration(row["cpu"]), ratio(row["ratio"]), promise(row["promise"], row["holds"]), duration(row["gpu"]))
        for row in group["rows"]
    ]


def limits(rows: list[dict]) -> list[tuple[str, ...]]:
    """The lines of the single numbers, as in `LIMITS`."""
    return [(row["name"], f"{row['value']:.3g} {row['unit']}".strip(), promise(row["promise"], row["holds"])) for row in rows]


def duration(seconds: float | None) -> str:
    """A time with three digits and its unit, which a line does not part.

    >>> duration(0.0026123).split(), duration(7.5e-06).split(), duration(None)
    (['2.61', 'ms'], ['7.5', 'µs'], '–')
    """
    if seconds is None:
        return "–"
    unit, size = next((each for each in (("s", 1.0), ("ms", 1e-3)) if seconds >= each[1]), ("µs", 1e-6))
    return f"{float(f'{seconds / size:.3g}'):g}\N{NO-BREAK SPACE}{unit}"


def ratio(value: float | None) -> str:
    """How many times as long as riemlib.

    >>> ratio(20.46), ratio(1.304), ratio(None)
    ('20.5', '1.3', '–')
    """
    return "–" if value is None else f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def promise(needed: str | None, holds: bool | None) -> str:
    """What is promised, and whether it holds."""
    return "" if needed is None else f"{needed}: {'holds' if holds else 'does not hold'}"


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown, its first column to the left, the others to the right."""
    lines = [head, ("---", *("--:" for _ in head[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table for the terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    padded = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in (head, *rows)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *cells[1:]]) for line, cells in zip((head, *rows), padded, strict=True))


# The figure.


def growth(curves: list[dict]) -> Figure:
    """Time against size, a panel for each of points, depth, width, networks: what was measured, and overhead + factor × size^exponent."""
    fig, axes = plot.figure(2, 2, width=7.2, height=5.2)
    for ax, curve in zip(axes.flat, curves, strict=True):
        sizes = np.array(curve["sizes"])
        fine = np.geomspace(sizes[0], sizes[-1], 100)
        ax.plot(fine, curve["overhead"] + curve["factor"] * fine ** curve["exponent"], color=plot.GREY, ls="--", label="fitted")
        ax.plot(sizes, curve["seconds"], "o", color=plot.CLASSES[0], ms=5, label="measured (median)")
        ax.set(xscale="log", yscale="log", xlabel=curve["axis"], title=f"{curve['what']}: exponent {curve['exponent']:.2f}")
        ax.set_xticks(sizes[::2], [f"{size}" for size in sizes[::2]])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_ylabel("time (s)")
    axes[0, 0].legend()
    return described(fig, spoken(curves))


def spoken(curves: list[dict]) -> str:
    """What the figure shows, for those who do not see it."""
    said = [
        f"the {curve['what']} against {curve['axis']} from {curve['sizes'][0]} to {curve['sizes'][-1]}, "
        f"{duration(curve['seconds'][0])} to {duration(curve['seconds'][-1])}, exponent {curve['exponent']:.2f}"
        for curve in curves
    ]
    return f"Time against size with logarithmic axes, and fitted curves: {listed(said)}."


def drawing(fig: Figure) -> str:
    """The figure as SVG, letters as outlines, the same text whenever it is drawn."""
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "speed"}):
        fig.savefig(file, format="svg", metadata={"Date": None})
    plt.close(fig)
    return file.getvalue()
