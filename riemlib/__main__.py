"""The command line: `python -m riemlib run`, `check` and `publish`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .companion import build


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say. Returns 0; 1 where a notebook failed or is not up to date."""
    given = parser().parse_args(arguments)
    try:
        if given.command == "run":
            with build.environment(**{"RIEMLIB_SCHEDULER": given.scheduler} if given.scheduler else {}):
                return build.run(profile=given.profile, build=given.build, only=given.names, jobs=given.jobs)
        if given.command == "publish":
            return build.publish()
        problems = build.check()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(*problems or ["the published notebooks and README.md are those of today's code"], sep="\n")
    return 1 if problems else 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m riemlib", description="Runs, checks and publishes the notebooks of the paper.")
    commands = whole.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute the notebooks that are out of date, and publish them if the profile is full")
    run.add_argument("names", nargs="*", metavar="NAME", help="notebooks, such as 04_metric (default: all)")
    run.add_argument("--profile", choices=build.PROFILES, default="full", help="quick: few seeds, nothing is published (default: full)")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="notebooks at a time (default: 1)")
    run.add_argument("--build", type=Path, metavar="DIR", help="folder for the results (default: build)")
    run.add_argument("--scheduler", metavar="ADDR", help="compute the studies on the dask scheduler at this address, tcp://host:8786, say")
    commands.add_parser("check", help="say whether the published notebooks and README.md are those of today's code")
    commands.add_parser("publish", help="carry the full run in build/full, and edits of prose, to notebooks/ and README.md; runs nothing")
    return whole


if __name__ == "__main__":
    sys.exit(main())
