"""One parameter of two sides, looked at value by value: how far apart, and what the change is.

Owns the leaf and the reading of two leaves as pairs, chunk by chunk; equal chunks are read once.
Must not know files, commits or the terminal. A whole tensor is held in memory only to confirm a
rank; rows are fingerprinted some at a time.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from theta_store.dtypes import DType, dtype
from theta_store.records import Tensor
from theta_store.store import ranges_of

if TYPE_CHECKING:
    from theta.measure import Distance, Sums
    from theta.pairs import Pair
    from theta.recognition.base import Finding
    from theta.recognition.rank import Sample

ROW_BYTES = 1 << 20
# Sums over the same numbers in another order differ by rounding only.
SAME_SUM = 1e-9


class Leaf(msgspec.Struct, frozen=True):
    """One parameter of a side: its record, and how its plain bytes are read."""

    tensor: Tensor
    read: Callable[[int, memoryview], None]

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.tensor.shape

    @property
    def row(self) -> DType:
        """The dtype's row of the table."""
        return dtype(self.tensor.dtype)

    def bytes(self, start: int, stop: int) -> bytearray:
        """Return plain bytes of the tensor."""
        out = bytearray(stop - start)
        self.read(start, memoryview(out))
        return out


class Examined(msgspec.Struct, frozen=True):
    """What is known of a change; no distance where the shapes or kinds of dtype do not match."""

    distance: "Distance | None"
    findings: "tuple[Finding, ...]" = ()


def measure(old: Leaf, new: Leaf) -> "Distance | None":
    """Return how far two leaves are apart; None where they cannot be compared."""
    from theta.measure import distance

    return distance(pairs(old, new)) if _comparable(old, new) else None


def examine(old: Leaf, new: Leaf, *, rank: bool = False) -> Examined:
    """Measure a change and name what is recognised in it.

    ``rank`` asks for the rank of matrices of any size, at the cost of holding them in memory.
    """
    if not _comparable(old, new):
        return Examined(None, tuple(_rows(old, new)))
    from theta.measure import Sums
    from theta.recognition.cast import Cast
    from theta.recognition.rank import Sample
    from theta.recognition.scale import Scale

    sums, cast, scale = Sums(), Cast(old.row, new.row), Scale(old.row)
    scale.alive = scale.alive and old.dtype == new.dtype
    sample = Sample((old.shape[0], old.shape[1]), old.row) if _has_rank(old, new) else None
    for pair in pairs(old, new):
        sums.add(pair)
        cast.see(pair)
        scale.see(pair)
        if sample is not None:
            sample.see(pair)
    found = [cast.finding(), scale.finding()]
    if sample is not None and not sums.nan and not sums.inf and not sums.lost:
        found.append(_rank(old, new, sample, always=rank))
    found += _values(sums, old, new)
    return Examined(sums.distance(), tuple(finding for finding in found if finding is not None))


def _comparable(old: Leaf, new: Leaf) -> bool:
    if old.shape != new.shape:
        return False
    if old.dtype == new.dtype:
        return True
    from theta.pairs import is_measurable

    return is_measurable(old.row) and is_measurable(new.row)


def pairs(old: Leaf, new: Leaf) -> "Iterator[Pair]":
    """Yield two tensors of one shape as pairs, in order, each about a chunk long."""
    from theta.pairs import Pair

    first, second = old.row, new.row
    if first == second:
        ids = zip(old.tensor.chunks, new.tensor.chunks, strict=True)
        for (start, stop), (one, two) in zip(ranges_of(old.tensor), ids, strict=True):
            left = old.bytes(start, stop)
            right = left if one == two else new.bytes(start, stop)
            yield Pair(start // first.nbytes * first.block, left, right, first, second)
        return
    # The chunks of the narrower dtype hold more elements; whole ones are read on that side.
    narrow = min(old, new, key=lambda leaf: leaf.row.nbytes)
    for start, stop in ranges_of(narrow.tensor):
        low, high = start // narrow.row.nbytes, stop // narrow.row.nbytes
        left = old.bytes(low * first.nbytes, high * first.nbytes)
        right = new.bytes(low * second.nbytes, high * second.nbytes)
        yield Pair(low, left, right, first, second)


def _has_rank(old: Leaf, new: Leaf) -> bool:
    from theta_store.arithmetic import is_computable

    same = old.dtype == new.dtype and is_computable(old.row)
    return same and len(old.shape) == 2 and min(old.shape) > 1


def _rank(old: Leaf, new: Leaf, sample: "Sample", *, always: bool) -> "Finding | None":
    from theta.recognition.rank import MOST_ELEMENTS, confirm

    guess = sample.guess()
    if not guess:
        return None
    if old.tensor.count > MOST_ELEMENTS and not always:
        return sample.finding()
    return confirm(pairs(old, new), sample.shape, old.row, guess)


def _values(sums: "Sums", old: Leaf, new: Leaf) -> "Iterator[Finding]":
    """Yield what the sums say, and rows in another order where the sums allow it."""
    from theta.recognition.base import Finding

    if sums.numeric and not sums.unequal and sums.changed:
        yield Finding("bits", "equal values, other bits")
    alike = math.isclose(sums.left, sums.right, rel_tol=SAME_SUM) and sums.unequal
    if alike and sums.numeric and old.dtype == new.dtype:
        yield from _rows(old, new)


def _rows(old: Leaf, new: Leaf) -> "Iterator[Finding]":
    from theta.recognition.rows import MOST_ROWS, compare_rows

    if old.dtype != new.dtype or old.row.block > 1 or not old.shape or not new.shape:
        return
    if old.shape[1:] != new.shape[1:] or max(old.shape[0], new.shape[0]) > MOST_ROWS:
        return
    found = compare_rows(_fingerprints(old), _fingerprints(new))
    if old.shape != new.shape or [finding.kind for finding in found] == ["rows permuted"]:
        yield from found


def _fingerprints(leaf: Leaf) -> list[bytes]:
    """Return the fingerprint of each row, reading about a chunk of whole rows at a time."""
    from theta.recognition.rows import fingerprint

    width = leaf.row.nbytes * math.prod(leaf.shape[1:])
    if not width:
        return []
    found: list[bytes] = []
    step = max(1, ROW_BYTES // width) * width
    for start in range(0, leaf.tensor.nbytes, step):
        plain = memoryview(leaf.bytes(start, min(start + step, leaf.tensor.nbytes)))
        found += [fingerprint(plain[at : at + width]) for at in range(0, len(plain), width)]
    return found
