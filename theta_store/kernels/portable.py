"""The loops in numpy: where there is no C code, and what that is compared with.

Owns how few passes and fresh pages they take. Must not know payloads, codecs or the store.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta_store.kernels.places import places
from theta_store.scratch import Bytes, Scratch

Words = NDArray[np.unsignedinteger[Any]]
# The bytes of one place of all words, or the one byte that all of them are.
Plane = Bytes | int
Plain = bytes | memoryview | NDArray[np.unsignedinteger[Any]]
Counts = NDArray[np.int64]

# Of what the loops do: native.c has the same number. It goes up with every change of either that
# the other must know of.
REVISION = 2
# So few words take less time than the calls that vector code needs.
FEW = 1 << 13
# Bytes that are compared before all are.
FIRST = 1 << 14
ESCAPE = 3
_LOW_BITS = np.uint32(0x03030303)
# The product has the two low bits of a word's four bytes side by side in its highest byte; no sum
# of shifted bits meets another, so nothing carries.
_GATHER = np.uint32(1 << 24 | 1 << 18 | 1 << 12 | 1 << 6)
# Two bits to each byte, in two steps: four bits to each half of a word, then two to each byte.
_SPREAD = ((np.uint32(1 << 12 | 1), np.uint32(0x000F000F)), (np.uint32(1 << 6 | 1), _LOW_BITS))


def join(planes: Sequence[Plane], words: Words, guess: Words | None, scratch: Scratch) -> None:
    """Fill words from their planes; with a guess they are folded differences to it."""
    if guess is None:
        _join(iter(planes), words, scratch)
        return
    missed = words_in(scratch, "residual", len(words), words.itemsize)
    _join(iter(planes), missed, scratch)
    unfold(missed, scratch)
    np.add(missed, guess, out=words)


def split(words: Words, guess: Words | None, planes: Sequence[Bytes], scratch: Scratch) -> None:
    """Fill planes with the bytes of words; with a guess, of their folded differences to it."""
    if guess is not None:
        missed = words_in(scratch, "residual", len(words), words.itemsize)
        np.subtract(words, guess, out=missed)
        fold(missed, scratch)
        words = missed
    for place, plane in enumerate(planes):
        take_place(words, place, plane)


def take_place(words: Words, place: int, plane: Bytes) -> None:
    """Fill a plane with the bytes of one place of contiguous words."""
    if not place:
        np.copyto(plane, words, casting="unsafe")
    elif len(words):
        # The lowest bytes of words that begin in the middle of these: numpy has vector code for
        # narrowing words wherever they lie, not for bytes at strides.
        source = words.view(np.uint8)
        inner = source[place : place - words.itemsize].view(words.dtype)
        np.copyto(plane[:-1], inner, casting="unsafe")
        plane[-1] = source[place - words.itemsize]


def fold(words: Words, scratch: Scratch) -> None:
    """Turn differences into small unsigned words where they are near zero: 0, -1, 1, -2, …"""
    width = words.itemsize
    sign = words_in(scratch, "residual sign", len(words), width)
    signed = f"<i{width}"
    np.right_shift(words.view(signed), 8 * width - 1, out=sign.view(signed))
    # A sum, not a shift: numpy has no fast shift to the left of single bytes.
    np.add(words, words, out=words)
    np.bitwise_xor(words, sign, out=words)


def unfold(words: Words, scratch: Scratch) -> None:
    """Undo `fold`, in place."""
    sign = words_in(scratch, "residual sign", len(words), words.itemsize)
    np.bitwise_and(words, 1, out=sign)
    np.negative(sign, out=sign)
    np.right_shift(words, 1, out=words)
    np.bitwise_xor(words, sign, out=words)


def words_in(scratch: Scratch, role: str, count: int, width: int) -> Words:
    """Return ``count`` words of the scratch buffer of this role."""
    return scratch.array(role, count * width).view(f"<u{width}")


def count_large(plane: Bytes, most: int, scratch: Scratch) -> int | None:
    """Count bytes that do not go into two bits, or are a 3; None where there are more than that.

    To see that there are many a quarter of the plane is mostly enough.
    """
    quarter, count = len(plane) // 4, 0
    for part in (plane[:quarter], plane[quarter:]):
        count += int(np.count_nonzero(_large(part, scratch)))
        if count > most:
            return None
    return count


def is_constant(plane: Bytes) -> bool:
    """Say whether all bytes of a plane, which has some, are the same."""
    first = plane[0]
    return bool(first == plane[-1] and first == plane.max() and first == plane.min())


def count_planes(words: Words, guess: Words | None, counts: Counts) -> int:
    """Count the bytes of each place of words, or of their folded differences to a guess.

    Returns how many of these words are 0.
    """
    missed = np.ascontiguousarray(words).reshape(-1)
    if guess is not None:
        missed = missed - guess.reshape(-1)
        fold(missed, Scratch())
    rows = missed.view(np.uint8).reshape(-1, words.itemsize)
    for place in range(words.itemsize):
        counts[place] = np.bincount(rows[:, place], minlength=256)
    return len(missed) - int(np.count_nonzero(missed))


def pack(plane: Bytes, packed: Bytes, escapes: Bytes, scratch: Scratch) -> None:
    """Fill ``packed`` with two bits of each byte, no more than 3, and ``escapes`` with the rest."""
    symbols = scratch.array("symbols", 4 * len(packed))
    symbols[len(plane) :] = 0
    four = symbols.view("<u4")
    if len(escapes):
        large = _large(plane, scratch)
        np.subtract(plane[places(large, len(escapes))], np.uint8(ESCAPE), out=escapes)
        # All ones for an escape. Numpy has vector code for these, not for a minimum with a number.
        ones = large.view(np.uint8)
        np.negative(ones, out=ones)
        np.bitwise_or(plane, ones, out=symbols[: len(plane)])
        np.bitwise_and(four, _LOW_BITS, out=four)
    else:
        symbols[: len(plane)] = plane
    np.multiply(four, _GATHER, out=four)
    take_place(four, 3, packed)


def _large(plane: Bytes, scratch: Scratch) -> NDArray[np.bool_]:
    flags = scratch.array("large", len(plane)).view(np.bool_)
    return np.greater_equal(plane, ESCAPE, out=flags)


def unpack(packed: Bytes, escapes: Bytes, out: Bytes, scratch: Scratch) -> bool:
    """Spread two bits to each byte and put the escapes, less 3 each, where the threes are."""
    symbols = scratch.array("symbols", 4 * len(packed))
    four = symbols.view("<u4")
    four[:] = packed
    for factor, kept in _SPREAD:
        np.multiply(four, factor, out=four)
        np.bitwise_and(four, kept, out=four)
    out[:] = symbols[: len(out)]
    escaped = scratch.array("large", len(out)).view(np.bool_)
    found = places(np.equal(out, ESCAPE, out=escaped), len(escapes))
    if len(found) != len(escapes):
        return False
    out[found] = escapes + np.uint8(ESCAPE)
    return True


def has_all_ones(plain: Plain, width: int, exponent: int) -> bool:
    """Say whether any word has all bits of the exponent set, which lie next to the sign."""
    words = np.frombuffer(plain, f"<u{width}")
    # Such a word is above any other: of the positive, and of the negative.
    sign = 1 << 8 * width - 1
    positive = np.max(words.view(f"<i{width}"), initial=0) >= exponent
    return bool(positive or np.max(words, initial=0) >= sign | exponent)


def is_same(left: Plain, right: Plain) -> bool:
    """Compare; what differs mostly does so at the beginning."""
    one, other = np.frombuffer(left, np.uint8), np.frombuffer(right, np.uint8)
    if len(one) != len(other) or not np.array_equal(one[:FIRST], other[:FIRST]):
        return False
    # Eight at a time: numpy makes a truth value of each comparison, and looks at all of them.
    whole = len(other) // 8 * 8
    return np.array_equal(one[:whole].view(np.uint64), other[:whole].view(np.uint64)) and (
        np.array_equal(one[whole:], other[whole:])
    )


def _join(planes: Iterator[Plane], words: Words, scratch: Scratch) -> None:
    """Fill words from the next planes: the lower half of each, then the upper one.

    Halves of halves, since numpy has vector code for whole words, not for bytes at strides.
    """
    half = words.itemsize // 2
    if len(words) <= FEW:
        for place, plane in enumerate(itertools.islice(planes, words.itemsize)):
            words.view(np.uint8)[place :: words.itemsize] = plane
        return
    if half <= 1:
        words[:] = next(planes)
        if half:
            _raise(next(planes), 8, words, scratch)
        return
    part = words_in(scratch, f"half words {half}", len(words), half)
    _join(planes, part, scratch)
    words[:] = part
    _join(planes, part, scratch)
    _raise(part, 8 * half, words, scratch)


def _raise(upper: Words | int, shift: int, words: Words, scratch: Scratch) -> None:
    """Set the upper bits of words that are zero there."""
    if isinstance(upper, int):
        if upper:
            np.bitwise_or(words, words.dtype.type(upper << shift), out=words)
        return
    # Written so many bytes further on, each is shifted: the part of it that lies in the word after
    # its own is zero.
    gap, size = shift // 8, len(words) * words.itemsize
    moved = scratch.array("moved words", gap + size)
    moved[:gap] = 0
    moved[gap:].view(words.dtype)[:] = upper
    np.bitwise_or(words, moved[:size].view(words.dtype), out=words)
