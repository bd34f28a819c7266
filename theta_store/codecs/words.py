"""Words as planes: the bytes of each place together, from the lowest to the highest.

Owns taking words apart and putting them together. Must not know what the words mean.
"""

from collections.abc import Callable, Sequence

import numpy as np

from theta_store.codecs.plane import Coded
from theta_store.kernels import Plane, Words, join
from theta_store.scratch import Bytes, Scratch

Encode = Callable[[Bytes, Scratch], Coded]
# Of kind, bytes, length of the plane; it may live in scratch under a role, which is the last.
Decode = Callable[[int, memoryview, int, Scratch, str], Plane]


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
    coded: Sequence[tuple[int, memoryview]],
    words: Words,
    scratch: Scratch,
    decode: Decode,
    guess: Words | None = None,
) -> None:
    """Fill contiguous words from their planes; damage is an `IntegrityError`.

    With a guess the planes are those of folded differences, which are added to it.
    """
    planes = [
        decode(kind, data, len(words), scratch, f"plane {place}")
        for place, (kind, data) in enumerate(coded)
    ]
    join(planes, words, guess, scratch)


def _plane(words: Words, place: int, scratch: Scratch, role: str) -> Bytes:
    if words.itemsize == 1:
        return words.view(np.uint8)
    # A role of its own per place: raw planes live in scratch until the payload is joined.
    plane = scratch.array(f"{role} plane {place}", len(words))
    take_place(words, place, plane)
    return plane
