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

from theta_store.codecs.plane import (
    CONSTANT,
    Coded,
    decode_plane,
    encode_plane,
    encode_shrinking,
    pack_entries,
    unpack_entries,
)
from theta_store.errors import IntegrityError
from theta_store.kernels import Plane, concatenate, count_large, is_constant, pack, unpack
from theta_store.scratch import Bytes, Scratch

PACKED = 3
# A group with more escapes than this share stays as it is.
FEW_ESCAPES = 0.2
LEAST_BYTES = 1024
_HEAD = struct.Struct("<II")


def encode_skewed(plane: Bytes, scratch: Scratch, bounds: Sequence[int] = ()) -> Coded:
    """Return the kind and bytes of a plane, packed from where its bytes become small.

    ``bounds`` as in `encode_plane`. Bytes of kind raw are the plane's own memory.
    """
    if len(plane) and is_constant(plane):
        return CONSTANT, plane[:1].tobytes()
    ends = [*bounds] or [len(plane)]
    split, count = _split(plane, ends, scratch)
    if len(plane) - split < LEAST_BYTES:
        return encode_plane(plane, scratch, bounds)
    packed = scratch.array("packed", -(-(len(plane) - split) // 4))
    front = scratch.array("front", split + count)
    front[:split] = plane[:split]
    pack(plane[split:], packed, front[split:], scratch)
    inside = sorted({end for end in ends if end < split} | {split, len(front)} - {0})
    cuts = [(end - split) // 4 for end in ends if split < end < len(plane)]
    planes = [
        encode_plane(front, scratch, inside),
        encode_shrinking(packed, scratch, [*cuts, len(packed)]),
    ]
    head = _HEAD.pack(split, count)
    return PACKED, concatenate((head, pack_entries(planes), planes[0][1], planes[1][1]))


def decode_skewed(kind: int, data: memoryview, size: int, scratch: Scratch, role: str) -> Plane:
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


def _split(plane: Bytes, ends: Sequence[int], scratch: Scratch) -> tuple[int, int]:
    """Return where the last run of groups with few escapes begins, and how many it has."""
    starts = [0, *ends[:-1]]
    split, found = len(plane), 0
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        most = int(FEW_ESCAPES * (end - start))
        count = count_large(plane[start:end], most, scratch)
        if count is None:
            break
        split, found = start, found + count
    return split, found
