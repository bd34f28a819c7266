"""Which schemes are measured, in the order of the table.

Owns the list. Must not measure anything.
"""

from pathlib import Path

from benchmarks.storage.schemes.base import Scheme
from benchmarks.storage.schemes.bitx import BITX
from benchmarks.storage.schemes.copies import COPIES, DISTINCT
from benchmarks.storage.schemes.entropy import ORDER0
from benchmarks.storage.schemes.git_lfs import GIT_LFS
from benchmarks.storage.schemes.git_theta import git_theta_scheme
from benchmarks.storage.schemes.theta_itself import FAST, REPACKED
from benchmarks.storage.schemes.xet import XET
from benchmarks.storage.schemes.zipnn import ZIPNN


def all_schemes(cache: Path) -> tuple[Scheme, ...]:
    """Return every scheme; ``cache`` keeps the environments of peers."""
    peers = (GIT_LFS, git_theta_scheme(cache))
    return (COPIES, DISTINCT, XET, ZIPNN, BITX, FAST, REPACKED, ORDER0, *peers)
