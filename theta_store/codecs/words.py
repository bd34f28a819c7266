"""Words as planes: the bytes of each place together, from the lowest to the highest.

Owns taking words apart and putting them together. Must not know what the words mean.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from theta_store.codecs.plane import Coded, Plane
from theta_store.codecs.residual import Words, words_in
from theta_store.scratch import Bytes, Scratch

# So few words take less time than the calls that vector code needs.
FEW = 1 << 13

Encode = Callable[[Bytes, Scratch], Coded]
Decode = Callable[[int, memoryview, int, Scratch], Plane]


def encode_words(words: Words, scratch: Scratch, encode: Encode, role: str) -> list[Coded]:
    """Return each plane of contiguous words, coded; raw ones live in scratch under ``role``."""
    places = range(words.itemsize)
    return [encode(_plane(words, place, scratch, role), scratch) for place in places]


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


def decode_words(
    coded: Sequence[tuple[int, memoryview]], words: Words, scratch: Scratch, decode: Decode
) -> None:
    """Fill contiguous words from their planes; damage is an `IntegrityError`."""
    planes = (decode(kind, data, len(words), scratch) for kind, data in coded)
    _join(planes, words, scratch)


def _plane(words: Words, place: int, scratch: Scratch, role: str) -> Bytes:
    if words.itemsize == 1:
        return words.view(np.uint8)
    # A role of its own per place: raw planes live in scratch until the payload is joined.
    plane = scratch.array(f"{role} plane {place}", len(words))
    take_place(words, place, plane)
    return plane


def _join(planes: Iterator[Plane], words: Words, scratch: Scratch) -> None:
    """Fill words from the next planes: the lower half of each, then the upper one.

    A plane may live in scratch until the next is asked for, so each is used at once. Halves of
    halves, since numpy has vector code for whole words, not for bytes at strides.
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
