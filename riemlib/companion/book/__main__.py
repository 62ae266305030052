"""`python -m riemlib.companion.book [FOLDER]`: builds the book in FOLDER, build/site unless given. A warning of Sphinx is an error."""

import sys
from pathlib import Path

from sphinx.cmd.build import main

from ..provenance import ROOT
from . import pages

site = Path(sys.argv[1] if sys.argv[1:] else ROOT / "build" / "site").resolve()
sources = site.with_name(f"{site.name}-pages")
pages.write(ROOT, sources)
settings = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(Path(__file__).parent), "-d", str(sources / ".doctrees")]
sys.exit(main([*settings, str(sources), str(site)]))
