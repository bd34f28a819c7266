"""Rows that were removed, added or put in another order.

Owns the fingerprint of a row and the comparison of two lists of them. Must not know where rows
come from.
"""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence

from theta.recognition.base import Finding

MOST_ROWS = 1 << 20
FINGERPRINT_BYTES = 16
# With fewer rows in common than half of the shorter side it is another tensor.
LEAST_COMMON = 0.5


def fingerprint(row: bytes | bytearray | memoryview) -> bytes:
    """Return what stands for the bytes of a row."""
    return hashlib.blake2b(row, digest_size=FINGERPRINT_BYTES).digest()


def compare_rows(old: Sequence[bytes], new: Sequence[bytes]) -> list[Finding]:
    """Return how one list of rows became the other; nothing where most rows are new."""
    shared = Counter(old) & Counter(new)
    common = shared.total()
    if not common or common < LEAST_COMMON * min(len(old), len(new)):
        return []
    removed, added = len(old) - common, len(new) - common
    found = []
    if removed:
        text = f"rows removed ({removed} of {len(old)})"
        found.append(Finding("rows removed", text, removed))
    if added:
        found.append(Finding("rows added", f"rows added ({added})", added))
    if not _in_order(old, new, shared):
        found.append(Finding("rows permuted", "rows permuted", common))
    return found


def _in_order(old: Sequence[bytes], new: Sequence[bytes], shared: Counter[bytes]) -> bool:
    """Say whether the rows in common can be read off both lists in the same order.

    Each is matched with the first equal row behind the last match, which never misses an order
    unless rows that occur several times were also removed.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    for place, row in enumerate(old):
        places[row].append(place)
    left, last = Counter(shared), -1
    for row in new:
        if not left[row]:
            continue
        left[row] -= 1
        following = bisect_right(places[row], last)
        if following == len(places[row]):
            return False
        last = places[row][following]
    return True
