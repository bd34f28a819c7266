"""The options that benchmarks of the two fixed models share.

Owns their names and meanings. Must not know what is measured.
"""

import argparse
from pathlib import Path


def options(about: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of them, with the first line of a docstring as its description."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--mib", type=int, default=512, help="size of the model")
    parser.add_argument("--hold", type=float, default=0, help="GiB of memory to occupy")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    parser.add_argument("--dry", action="store_true", help="print only, keep no result")
    return parser
