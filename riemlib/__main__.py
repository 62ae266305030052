"""The command line: `python -m riemlib run`, `check`, `publish` and the others."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .companion import archive, build, lab
from .companion.processes import Stopped, stopped_by_signals

QUIET = ("--log-level=WARN",)  #: JupyterLab still prints its address
CLOSED = 141  #: what a shell gives for a program whose output nobody reads any more, as in `| head`


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say.

    Returns 0; 1 where a notebook failed or is not up to date, or a file could not be written; 2 for arguments that make no sense; 130 or
    143 after Ctrl-C or SIGTERM; `CLOSED` where the output is closed.
    """
    given = parser().parse_args(arguments)
    try:
        with stopped_by_signals():
            code = perform(given)
            if sys.stdout:
                sys.stdout.flush()
            return code
    except ValueError as error:
        return complain(str(error), 2)
    except BrokenPipeError:
        return complain("", CLOSED)
    except OSError as error:
        return complain(f"stopped, a file or folder cannot be used: {error}", 1)
    except Stopped as stop:
        return complain(f"stopped by {stop}; what is finished is kept, the same command goes on from there", 128 + stop.signal)


def perform(given: argparse.Namespace) -> int:
    """Runs, checks, publishes, archives or opens Lab. Returns 0; 1 where a notebook failed or is not up to date."""
    if given.command == "run":
        with build.environment(**{"RIEMLIB_SCHEDULER": given.scheduler} if given.scheduler else {}):
            return build.run(profile=given.profile, build=given.build, only=given.names, jobs=given.jobs, settings=given.parameter)
    if given.command == "publish":
        return build.publish()
    if given.command == "multiverse":
        return compute_multiverse(given.scheduler)
    if given.command == "lab":
        with build.environment(PYTHONWARNINGS="ignore:Overriding existing pre_save_hook"):  # each of its extensions sets it again
            return lab.lab(given.edit, arguments=QUIET)
    if given.command == "archive":
        print(
            f"{os.path.relpath(archive.archive())} has the code, the executed notebooks, the claims, and their digests in {archive.DIGESTS}"
        )
        return 0
    problems = build.check()
    print(*problems or ["the published notebooks and README.md are those of today's code"], sep="\n")
    return 1 if problems else 0


def compute_multiverse(scheduler: str | None) -> int:
    """Computes the table of the multiverse, or what is missing of it. Returns 0; 1 where it cannot be finished."""
    from .companion import multiverse

    try:
        table = multiverse.make(scheduler=scheduler)
    except RuntimeError as error:
        return complain(f"stopped, what is finished is kept: {error}", 1)
    rate = multiverse.described()["sgd_rate"]
    print(f"{os.path.relpath(multiverse.TABLE)} has {len(table)} networks; the rate of sgd is {rate:g}")
    return 0


def complain(line: str, code: int) -> int:
    """Says what is wrong in one line, and returns the code. What is left for an output that is closed is dropped."""
    with contextlib.suppress(OSError):
        if line and sys.stderr:
            print(line, file=sys.stderr, flush=True)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m riemlib", description="Runs, checks and publishes the notebooks of the paper.")
    commands = whole.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute the notebooks that are out of date, into build/; tracked files stay as they are")
    run.add_argument("names", nargs="*", metavar="NAME", help="notebooks, such as 04_1_metric (default: all)")
    run.add_argument("--profile", choices=build.PROFILES, default="full", help="quick: few seeds (default: full)")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at a time (default: 1)")
    run.add_argument("--build", type=Path, metavar="DIR", help="folder for the results (default: build)")
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the notebooks for this run, once for each; the results go to build/custom",
    )
    run.add_argument("--scheduler", metavar="ADDR", help="compute the studies on the dask scheduler at this address, tcp://host:8786, say")
    whole_table = commands.add_parser(
        "multiverse", help="train the networks of section 7 under every setting, into the table in riemlib/companion"
    )
    whole_table.add_argument("--scheduler", metavar="ADDR", help="compute on the dask scheduler at this address")
    opens = commands.add_parser("lab", help="open JupyterLab on a working copy of the notebooks, in build/lab")
    opens.add_argument("--edit", action="store_true", help="open notebooks/ itself, for maintainers")
    commands.add_parser("check", help="say whether the published notebooks and README.md are those of today's code")
    commands.add_parser("publish", help="carry the full run in build/full, and edits of prose, to notebooks/ and README.md; runs nothing")
    commands.add_parser("archive", help="for maintainers: write the file of a version, for those who cite it, to build/")
    return whole


if __name__ == "__main__":
    sys.exit(main())
