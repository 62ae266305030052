"""pip, quiet but with progress: `python -P riemlib/companion/install.py requirements.lock`, before any package is installed.

What pip says goes to the file pip.log of the environment, and to the terminal only where it fails. A line says how far it is: on a terminal
it changes in place, elsewhere it is written once for each step.
"""

import re
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

LOOK = 0.3  #: seconds between two looks at what pip wrote
PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input")


def main(lock: str) -> int:
    """Installs the packages of a lock file into the environment of this Python. Returns the exit code of pip."""
    packages = len(re.findall("^[^#\n]+==", Path(lock).read_text(encoding="utf-8"), re.MULTILINE))
    log, there, start, before = Path(sys.prefix) / "pip.log", installed(), time.monotonic(), ""
    print(f"installing {packages} packages into {sys.prefix}, which takes a few minutes", flush=True)
    with open(log, "wb") as file, subprocess.Popen([sys.executable, "-u", *PIP, "-r", lock], stdout=file, stderr=file) as pip:
        while pip.poll() is None:
            time.sleep(LOOK)
            now = step(log.read_text(encoding="utf-8", errors="replace"), packages, installed() - there)
            if sys.stdout.isatty():
                print(f"\r\33[K{time.monotonic() - start:4.0f} s  {now}"[:100], end="", flush=True)
            elif now.split()[0] != before:
                print(f"  {now}", flush=True)
            before = now.split()[0]
    if pip.returncode:
        print(f"\n{log.read_text(encoding='utf-8', errors='replace')}\npip failed; what it said is above, and in {log}", file=sys.stderr)
    elif sys.stdout.isatty():
        print("\r\33[K", end="")
    return pip.returncode


def step(said: str, packages: int, new: int) -> str:
    """How far pip is, from what it said and how many packages are new in the environment."""
    if "Installing collected packages" in said:
        return f"unpacked {new} of {packages}"
    found = len(re.findall("^(?:Collecting|Processing|Requirement already satisfied)", said, re.MULTILINE))
    files = re.findall(r"^ *Downloading (?:\S+/)?(\S+?)-\S+(?:\.whl|\.tar\.gz) (\(.+\))", said, re.MULTILINE)
    return f"found {min(found, packages)} of {packages}" + (f"; downloading {' '.join(files[-1])}" if files else "")


def installed() -> int:
    """How many packages the environment has."""
    return len(list(Path(sysconfig.get_path("purelib")).glob("*.dist-info")))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
