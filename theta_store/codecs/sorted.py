"""The codec ``sorted``: the planes of a residual in the order of a key's exponents.

The smallest form of a dense residual of floating-point words; the order takes time, not bytes.

Payload, version 1: one mode byte (0); the code of how the key's exponents are read (one byte:
exponents.py); then as in the codec ``delta``, of the residual's words in the order of the key: per
plane a kind byte and four bytes of length, the planes' bytes, the chunk's own bytes that fill no
word. A frame may be cut into blocks at the bounds of the groups; any decoder reads it as it is.

A chain of residuals sorted by one key is decoded with one order: add up the `differences`, then
`place` the sum once.
"""

import numpy as np

from theta_store.codecs.base import Guess
from theta_store.codecs.exponents import Order, exponent_code, order_of
from theta_store.codecs.packed import decode_skewed, encode_skewed
from theta_store.codecs.plane import Coded, pack_entries, unpack_entries
from theta_store.codecs.residual import check_guess, tail_of, words_of
from theta_store.codecs.words import decode_words, encode_words
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError, UsageError
from theta_store.kernels import Words, concatenate, fold, unfold, words_in
from theta_store.scratch import Bytes, Scratch

MODE = 0
_HEAD_BYTES = 2


class Sorted:
    """For dense residuals of floating-point words, where size matters more than time."""

    id = "sorted"
    number = 5
    version = 1

    def encode(
        self, plain: memoryview, guess: Guess, *, dtype: DType, scratch: Scratch, head: bytes = b""
    ) -> bytes:
        """Sort what the guess missed by the key's exponents and code its planes behind ``head``.

        A guess without a key, or a dtype without exponents, is a `UsageError`.
        """
        code = exponent_code(dtype)
        if code is None or guess.key is None:
            raise UsageError(f"a residual of {dtype.name} cannot be sorted without exponents")
        check_guess(guess, len(plain))
        order = guess.order or order_of(guess.key, code, dtype.width, scratch)
        return encode_in_order(plain, guess, order, scratch, head)

    def decode(
        self, payload: memoryview, guess: Guess, out: memoryview, *, width: int, scratch: Scratch
    ) -> None:
        """Decode the planes, put the words back into their places and add the guess."""
        if guess.key is None:
            raise IntegrityError("sorted: there is no key to sort by")
        check_guess(guess, len(out))
        order = guess.order or order_of(guess.key, code_of(payload), width, scratch)
        steps = differences(payload, order, len(out), scratch)
        place(steps, order, guess, out, scratch)
        tail_of(out, width)[:] = tail_in(payload, len(out), width)


def encode_in_order(
    plain: memoryview, guess: Guess, order: Order, scratch: Scratch, head: bytes = b""
) -> bytes:
    """Return the payload of a chunk whose guess's key has this order, behind ``head``."""
    words = _difference(plain, guess, order.width, scratch)
    if len(words) != len(order.positions):
        raise UsageError("an order of another length than the chunk")
    ordered = words_in(scratch, "ordered", len(words), order.width)
    # Clipping changes nothing, as every position is valid; it lets numpy write without a copy.
    np.take(words, order.indices(scratch), out=ordered, mode="clip")

    def encode(plane: Bytes, scratch: Scratch) -> Coded:
        return encode_skewed(plane, scratch, order.bounds)

    coded = encode_words(ordered, scratch, encode, "word")
    planes = (data for _, data in coded)
    head += bytes((MODE, order.code))
    return concatenate((head, pack_entries(coded), *planes, tail_of(plain, order.width)))


def _difference(plain: memoryview, guess: Guess, width: int, scratch: Scratch) -> Words:
    """Return the folded difference of a chunk and its guess, in scratch until the next call."""
    check_guess(guess, len(plain))
    words = words_of(plain, width)
    out = words_in(scratch, "residual", len(words), width)
    np.subtract(words, words_of(guess.plain, width), out=out)
    fold(out, scratch)
    return out


def code_of(payload: memoryview) -> int:
    """Return how the exponents of the key are read; a damaged head is an `IntegrityError`."""
    if len(payload) < _HEAD_BYTES or payload[0] != MODE:
        raise IntegrityError("sorted: the head is damaged")
    return payload[1]


def differences(payload: memoryview, order: Order, size: int, scratch: Scratch) -> Words:
    """Return chunk minus guess, wrapping around, in the key's order, for a chunk of ``size`` bytes.

    They live in scratch until the next call. Damage, or an order that is not this payload's, is an
    `IntegrityError`.
    """
    if code_of(payload) != order.code or len(order.positions) != size // order.width:
        raise IntegrityError("sorted: the payload belongs to another order")
    coded, tail = unpack_entries(payload, _HEAD_BYTES, order.width)
    if len(tail) != size % order.width:
        raise IntegrityError("sorted: the payload has a wrong length")
    words = words_in(scratch, "ordered", size // order.width, order.width)
    decode_words(coded, words, scratch, decode_skewed)
    unfold(words, scratch)
    return words


def place(steps: Words, order: Order, guess: Guess, out: memoryview, scratch: Scratch) -> None:
    """Fill the whole words of ``out``: the guess plus differences that lie in the key's order."""
    words = words_in(scratch, "residual", len(steps), order.width)
    words[order.indices(scratch)] = steps
    np.add(words, words_of(guess.plain, order.width), out=words_of(out, order.width))


def tail_in(payload: memoryview, size: int, width: int) -> memoryview:
    """Return the bytes of a chunk of ``size`` bytes that fill no word, from a checked payload."""
    return payload[len(payload) - size % width :]
