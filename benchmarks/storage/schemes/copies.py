"""Plain copies, and copies of what is not there yet: what a folder, DVC and git-lfs keep.

Owns two schemes that know files only.
"""

import hashlib

from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Measured, Scheme


def plain_copies(history: History) -> Measured:
    """Count every file in full."""
    return Measured(tuple(Cost(step.path.stat().st_size) for step in history.steps))


def distinct_files(history: History) -> Measured:
    """Count every file in full unless an earlier commit holds the same bytes."""
    seen, costs = set(), []
    for step in history.steps:
        with step.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        costs.append(Cost(0 if digest in seen else step.path.stat().st_size))
        seen.add(digest)
    return Measured(tuple(costs))


COPIES = Scheme("plain copy", "arithmetic", "the size of every file", plain_copies)
DISTINCT = Scheme(
    "file dedup",
    "arithmetic",
    "the size of every file that no earlier commit holds: DVC's and git-lfs's cache",
    distinct_files,
)
