"""Words as planes: the bytes of each place together, from the lowest to the highest.

Owns taking words apart and putting them together. Must not know what the words mean.
"""

from collections.abc import Callable, Sequence

import numpy as np

from theta_store.codecs.plane import Coded
from theta_store.kernels import Plane, Words, join, split
from theta_store.scratch import Bytes, Scratch

Encode = Callable[[Bytes, Scratch], Coded]
# Of kind, bytes, length of the plane; it may live in scratch under a role, which is the last.
Decode = Callable[[int, memoryview, int, Scratch, str], Plane]


def encode_words(
    words: Words, scratch: Scratch, encode: Encode, role: str, guess: Words | None = None
) -> list[Coded]:
    """Return each plane of contiguous words, coded; raw ones live in scratch under ``role``.

    With a guess, the planes of the folded differences to it.
    """
    if words.itemsize == 1 and guess is None:
        return [encode(words.view(np.uint8), scratch)]
    # A role of its own per place: raw planes live in scratch until the payload is joined.
    planes = [scratch.array(f"{role} plane {place}", len(words)) for place in range(words.itemsize)]
    split(words, guess, planes, scratch)
    return [encode(plane, scratch) for plane in planes]


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
