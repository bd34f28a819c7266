"""Loops over the words of a chunk: in C where that was built, else in numpy.

Owns the choice between the two, which give the same bytes, and what C does for some dtypes only.
Must not know payloads, codecs or the store.
"""

from collections.abc import Sequence

from theta_store.kernels import portable
from theta_store.kernels.portable import Counts, Plain, Plane, Words, fold, unfold, words_in
from theta_store.scratch import Bytes, Scratch

try:
    from theta_store.kernels import native

    if native.revision() != portable.REVISION:  # it was built of another version's source
        native = None  # type: ignore[assignment]
except (ImportError, AttributeError):  # there was no compiler where this was installed
    native = None  # type: ignore[assignment]


def join(planes: Sequence[Plane], words: Words, guess: Words | None, scratch: Scratch) -> None:
    """Fill contiguous words from the bytes of each place, the lowest first.

    With a ``guess`` of as many words they are folded differences, which are added to it.
    """
    if native is None:
        portable.join(planes, words, guess, scratch)
    else:
        native.join(tuple(planes), words.itemsize, guess, words)


def split(words: Words, guess: Words | None, planes: Sequence[Bytes], scratch: Scratch) -> None:
    """Fill planes with the bytes of each place of contiguous words, the lowest first.

    With a ``guess`` of as many words they are those of the folded differences to it.
    """
    if native is None:
        portable.split(words, guess, planes, scratch)
    else:
        native.split(words, words.itemsize, guess, tuple(planes))


def count_large(plane: Bytes, most: int, scratch: Scratch) -> int | None:
    """Return how many bytes are an escape for `pack`, 3 or more; None: more than ``most``."""
    if native is None:
        return portable.count_large(plane, most, scratch)
    return native.count_large(plane, most)


def is_constant(plane: Bytes) -> bool:
    """Say whether all bytes of a plane, which has some, are the same."""
    return portable.is_constant(plane) if native is None else native.is_constant(plane)


def count_planes(words: Words, guess: Words | None, counts: Counts) -> int:
    """Fill 256 ``counts`` for each place of words with how many bytes of a value lie there.

    With a ``guess`` of the same shape the bytes of their folded differences to it. Words lie in
    rows, each without gaps. Returns how many of these words are 0.
    """
    if native is None:
        return portable.count_planes(words, guess, counts)
    return native.count_planes(words, guess, counts)


def concatenate(parts: Sequence[Plain]) -> bytes:
    """Return the bytes of some parts, one after the other."""
    return b"".join(parts) if native is None else native.concatenate(tuple(parts))


def pack(plane: Bytes, packed: Bytes, escapes: Bytes, scratch: Scratch) -> None:
    """Fill ``packed`` with two bits per byte, the first in the lowest, filled up with zeros.

    A byte of 3 or more is a 3 there; what it is more than that goes to ``escapes``, which has
    exactly the room for these.
    """
    if native is None:
        portable.pack(plane, packed, escapes, scratch)
    else:
        native.pack(plane, packed, escapes)


def unpack(packed: Bytes, escapes: Bytes, out: Bytes, scratch: Scratch) -> bool:
    """Fill ``out`` with two bits of ``packed`` per byte, the first in the lowest; a 3 is an escape.

    Each escape is the next of ``escapes``, plus 3. False, where there are more or fewer of them.
    """
    if native is None:
        return portable.unpack(packed, escapes, out, scratch)
    return native.unpack(packed, escapes, out)


def sum_bf16(terms: Sequence[Bytes], coefficients: Sequence[float], out: Bytes) -> bool:
    """Fill ``out`` as `theta_store.arithmetic.weighted_sum` and `narrow` do, for BF16.

    False, and nothing useful in ``out``, where a value is not finite or there is no C code.
    """
    return native is not None and native.weighted_sum(tuple(terms), tuple(coefficients), 2, out)


def sum_f32(terms: Sequence[Bytes], coefficients: Sequence[float], out: Bytes) -> bool:
    """Do the same for F32."""
    return native is not None and native.weighted_sum(tuple(terms), tuple(coefficients), 4, out)


def has_all_ones(plain: Plain, width: int, exponent: int) -> bool:
    """Say whether any word has all the bits of an exponent set, which lie next to the sign."""
    if native is None or width not in (2, 4):
        return portable.has_all_ones(plain, width, exponent)
    return native.has_all_ones(plain, width, exponent)


def is_same(left: Plain, right: Plain) -> bool:
    """Say whether two runs of bytes are equal."""
    if native is None:
        return portable.is_same(left, right)
    return native.is_same(left, right)


__all__ = [
    "Counts",
    "Plane",
    "Words",
    "concatenate",
    "count_large",
    "count_planes",
    "fold",
    "has_all_ones",
    "is_constant",
    "is_same",
    "join",
    "pack",
    "split",
    "sum_bf16",
    "sum_f32",
    "unfold",
    "unpack",
    "words_in",
]
