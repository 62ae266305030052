"""What a citer of a version gets: the code, the executed notebooks, the claims, and a list of their digests, in one file."""

import hashlib
import json
import subprocess
import tomllib
import zipfile
from pathlib import Path

from . import build, ledger
from .provenance import ROOT

NOTEBOOKS, CLAIMS, DIGESTS = "notebooks/*.ipynb", "claims.json", "SHA256SUMS"


def archive(root: Path = ROOT) -> Path:
    """Writes build/riemlib-VERSION.zip: the files of the last commit, the claims, and the digests of notebooks and claims.

    The same commit gives the same notebooks, claims and digests. Errors: ValueError where files differ from the commit, or a published
    notebook is not that of the code.
    """
    if changed := git(root, "status", "--porcelain"):
        raise ValueError(f"an archive holds what is committed; these files are not:\n{changed.rstrip()}")
    if problems := build.check(root):
        raise ValueError("an archive holds notebooks of its own code; that is not so:\n" + "\n".join(problems))
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    name = f"riemlib-{version}"
    path = root / "build" / f"{name}.zip"
    path.parent.mkdir(exist_ok=True)
    git(root, "archive", "--format=zip", f"--prefix={name}/", f"--output={path}", "HEAD")
    notebooks = sorted(root.glob(NOTEBOOKS))
    claims = json.dumps(ledger.gather(notebooks), indent=1, ensure_ascii=False) + "\n"
    contents = {f"notebooks/{file.name}": file.read_bytes() for file in notebooks} | {CLAIMS: claims.encode()}
    digests = "".join(f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in contents.items())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(f"{name}/{CLAIMS}"), claims, zipfile.ZIP_DEFLATED)
        file.writestr(zipfile.ZipInfo(f"{name}/{DIGESTS}"), digests)
    return path


def git(root: Path, *arguments: str) -> str:
    """What git prints. Errors: ValueError where it fails."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {arguments[0]} fails: {done.stderr.strip()}")
    return done.stdout
