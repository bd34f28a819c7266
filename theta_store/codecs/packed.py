"""A plane of mostly small bytes: four to a byte, so that entropy coding can go below one bit each.

A Huffman code spends at least one bit on a symbol. The upper planes of small residuals hold less
than that: nearly always 0, 1 or 2. Four such bytes make one symbol of a packed plane.

Owns the kind 3 of planes, which is on disk. Must not know words, nor what a payload is built of.

Kind 3: how many bytes stand as they are in front, and how many escapes there are (four bytes
little-endian each); the entries of two planes of kinds 0 to 2; their bytes. The first plane holds
the bytes in front, then, less 3, each later byte that is 3 or more (the escapes). The second one
holds all later bytes, no more than 3 of each, two bits per byte, the first in the lowest bits,
filled up with zeros.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from theta_store.codecs.plane import (
    CONSTANT,
    Coded,
    decode_plane,
    encode_plane,
    encode_shrinking,
    is_constant,
    pack_entries,
    unpack_entries,
)
from theta_store.codecs.words import take_place
from theta_store.errors import IntegrityError
from theta_store.kernels import ESCAPE, LOW_BITS, Plane, unpack
from theta_store.kernels.places import places
from theta_store.scratch import Bytes, Scratch

Flags = NDArray[np.bool_]

PACKED = 3
# A group with more escapes than this share stays as it is.
FEW_ESCAPES = 0.2
LEAST_BYTES = 1024
_HEAD = struct.Struct("<II")
# The product has the two low bits of a word's four bytes side by side in its highest byte; no sum
# of shifted bits meets another, so nothing carries.
_GATHER = np.uint32(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6)


def encode_skewed(plane: Bytes, scratch: Scratch, bounds: Sequence[int] = ()) -> Coded:
    """Return the kind and bytes of a plane, packed from where its bytes become small.

    ``bounds`` as in `encode_plane`. Bytes of kind raw are the plane's own memory.
    """
    if len(plane) and is_constant(plane):
        return CONSTANT, plane[:1].tobytes()
    ends = [*bounds] or [len(plane)]
    large = scratch.array("large", len(plane)).view(np.bool_)
    split, count = _split(plane, large, ends)
    if len(plane) - split < LEAST_BYTES:
        return encode_plane(plane, scratch, bounds)
    later, front = plane[split:], plane[:split]
    if count:
        escapes = later[places(large[split:], count)] - np.uint8(ESCAPE)
        front = np.concatenate([front, escapes])
    packed = _pack(later, large[split:] if count else None, scratch)
    inside = sorted({end for end in ends if end < split} | {split, len(front)} - {0})
    cuts = [(end - split) // 4 for end in ends if split < end < len(plane)]
    planes = [
        encode_plane(front, scratch, inside),
        encode_shrinking(packed, scratch, [*cuts, len(packed)]),
    ]
    head = _HEAD.pack(split, count)
    return PACKED, b"".join((head, pack_entries(planes), planes[0][1], planes[1][1]))


def decode_skewed(
    kind: int, data: memoryview, size: int, scratch: Scratch, role: str = "packed bytes"
) -> Plane:
    """Return a plane of ``size`` bytes, or the one byte it repeats; else an `IntegrityError`.

    The bytes may live in ``scratch`` under a role until the next call with that.
    """
    if kind != PACKED:
        return decode_plane(kind, data, size, scratch)
    if len(data) < _HEAD.size:
        raise IntegrityError("a packed plane is cut off")
    split, escapes = _HEAD.unpack_from(data)
    if split + escapes > size:
        raise IntegrityError("a packed plane has a wrong length")
    (first, second), rest = unpack_entries(data, _HEAD.size, 2)
    if len(rest):
        raise IntegrityError("a packed plane has a wrong length")
    plane = scratch.array(role, size)
    packed = _filled(second, -(-(size - split) // 4), scratch)
    front = _filled(first, split + escapes, scratch)
    if not unpack(packed, front[split:], plane[split:], scratch):
        raise IntegrityError("a packed plane has other escapes than it declares")
    plane[:split] = front[:split]
    return plane


def _filled(coded: tuple[int, memoryview], size: int, scratch: Scratch) -> Bytes:
    plane = decode_plane(*coded, size, scratch)
    return np.full(size, plane, np.uint8) if isinstance(plane, int) else plane


def _split(plane: Bytes, large: Flags, ends: Sequence[int]) -> tuple[int, int]:
    """Return where the last run of groups with few escapes begins, and how many it has.

    From there on ``large`` marks them.
    """
    starts = [0, *ends[:-1]]
    split, found = len(plane), 0
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        count = _mark(plane[start:end], large[start:end])
        if count is None:
            break
        split, found = start, found + count
    return split, found


def _mark(group: Bytes, large: Flags) -> int | None:
    """Mark the escapes of a group and count them; None where they are not few.

    To see that there are many a quarter of the group is mostly enough.
    """
    most, quarter, count = FEW_ESCAPES * len(group), len(group) // 4, 0
    for part in (slice(quarter), slice(quarter, None)):
        np.greater_equal(group[part], ESCAPE, out=large[part])
        count += int(np.count_nonzero(large[part]))
        if count > most:
            return None
    return count


def _pack(later: Bytes, large: Flags | None, scratch: Scratch) -> Bytes:
    """Return two bits per byte, no more than 3 of each; ``large`` marks more and is overwritten."""
    size = -(-len(later) // 4)
    symbols = scratch.array("symbols", 4 * size)
    symbols[len(later) :] = 0
    four = symbols.view("<u4")
    if large is None:
        symbols[: len(later)] = later
    else:
        # All ones for an escape. Numpy has vector code for these, not for a minimum with a number.
        ones = large.view(np.uint8)
        np.negative(ones, out=ones)
        np.bitwise_or(later, ones, out=symbols[: len(later)])
        np.bitwise_and(four, LOW_BITS, out=four)
    np.multiply(four, _GATHER, out=four)
    packed = scratch.array("packed", size)
    take_place(four, 3, packed)
    return packed
