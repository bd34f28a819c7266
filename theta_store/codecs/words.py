"""Words as planes: the bytes of each place together, from the lowest to the highest.

Owns taking words apart and putting them together. Must not know what the words mean.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from theta_store.codecs.plane import CONSTANT, Coded, Plane
from theta_store.codecs.residual import Words, words_in
from theta_store.scratch import Bytes, Scratch

Encode = Callable[[Bytes, Scratch], Coded]
Decode = Callable[[int, memoryview, int, Scratch], Plane]


def encode_words(words: Words, scratch: Scratch, encode: Encode, role: str) -> list[Coded]:
    """Return each plane of contiguous words, coded; raw ones live in scratch under ``role``.

    A plane above the highest bit of all words costs nothing.
    """
    highest = int(np.bitwise_or.reduce(words)) if len(words) else 1
    coded: list[Coded] = []
    for place in range(words.itemsize):
        if highest >> 8 * place == 0 and len(words):
            coded.append((CONSTANT, b"\0"))
        else:
            coded.append(encode(_plane(words, place, scratch, role), scratch))
    return coded


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
    if place:
        moved = words_in(scratch, "moved words", len(words), words.itemsize)
        words = np.right_shift(words, 8 * place, out=moved)
    # Shift and narrow: numpy has vector code for these, not for bytes at strides.
    np.copyto(plane, words, casting="unsafe")
    return plane


def _join(planes: Iterable[Plane], words: Words, scratch: Scratch) -> None:
    for place, plane in enumerate(planes):
        if place == 0:
            # The other bytes of each word become zero.
            words[:] = plane
        elif isinstance(plane, int):
            if plane:
                np.bitwise_or(words, words.dtype.type(plane << 8 * place), out=words)
        elif words.itemsize == 2:
            moved = words_in(scratch, "moved words", len(words), 2)
            moved[:] = plane
            np.left_shift(moved, 8, out=moved)
            np.bitwise_or(words, moved, out=words)
        else:
            words.view(np.uint8)[place :: words.itemsize] = plane
