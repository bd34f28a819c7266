"""Which version of a package an environment has.

Owns the question. Must not know any program.
"""

import subprocess
from pathlib import Path

ASK = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"


def version_of(programs: Path, package: str) -> str:
    """Return the version of a package, asked of the environment's Python."""
    told = [str(programs / "python"), "-c", ASK, package]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
