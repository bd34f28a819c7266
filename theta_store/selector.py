"""Which stored form a chunk gets: predictor × codec.

Owns the choice among guesses and codecs, and the tables of codecs by their numbers on disk. Must
not know volumes, the index, records, nor where guesses come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from theta_store import estimate
from theta_store.codecs import (
    BUILTIN,
    RESIDUAL,
    Bitmap,
    Codec,
    Delta,
    Guess,
    Planes,
    Raw,
    ResidualCodec,
    Sorted,
    Zstd,
)
from theta_store.codecs.exponents import Order, exponent_code
from theta_store.codecs.sorted import code_of
from theta_store.dtypes import DType
from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.forms import NO_PREDICTOR, Form, Need
from theta_store.ids import ChunkId
from theta_store.prediction import NeedSource, head_of, predict, split_head
from theta_store.scratch import Bytes, Scratch

Level = Literal["fast", "max"]

WORTH = 0.98
# A form that needs others must be clearly smaller than one that stands alone.
WORTH_A_NEED = 0.95
# The slow codec must win by more than the time it costs.
WORTH_SORTING = 0.98
MOSTLY_UNCHANGED = 0.5
SMALL = 1 << 15
# No floating-point chunk stands alone in less.
PLAINLY_GOOD = 0.5
# Guesses that the sample puts this close to the best are all tried at level max.
CLOSE = 1.15
_RAW, _ZSTD, _PLANES = Raw(), Zstd(), Planes()
_DELTA, _BITMAP, _SORTED = Delta(), Bitmap(), Sorted()
_BY_NUMBER = {(codec.number, codec.version): codec for codec in BUILTIN}
_RESIDUAL = {(codec.number, codec.version): codec for codec in RESIDUAL}
_PLANED = frozenset({"float", "complex", "block", "opaque"})
_WIDTHS = frozenset({1, 2, 4, 8})


class Reading(NeedSource, Protocol):
    """Where needs come from, and the orders of sort keys, each made once."""

    def order(self, id_: ChunkId, code: int, width: int) -> Order:
        """Return the order of a chunk's words by their exponents."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A guess at a chunk, with what has to be written down to make it again.

    ``computed`` says that floating-point arithmetic made it. ``key`` names the chunk whose
    exponents may sort the residual; None where there is none.
    """

    predictor: int
    params: bytes
    needs: tuple[Need, ...]
    plain: Bytes
    computed: bool = False
    key: ChunkId | None = None


@dataclass(frozen=True, slots=True)
class EncodedForm:
    """A payload and what decoding needs beside it; the payload may live in scratch."""

    codec: int
    version: int
    width: int
    payload: bytes | memoryview
    predictor: int = NO_PREDICTOR
    params: bytes = b""
    needs: tuple[Need, ...] = ()
    computed: bool = False
    guess: Bytes | None = None


def choose(dtype: DType | None) -> Codec:
    """Return the codec of a chunk without a guess; ``dtype`` is None for the bytes of a blob."""
    if dtype is None:
        return _ZSTD
    eight_bit = dtype.kind in {"int", "uint"} and dtype.width == 1
    return _PLANES if dtype.kind in _PLANED or eight_bit else _ZSTD


def encode_alone(plain: memoryview, *, dtype: DType | None, scratch: Scratch) -> EncodedForm:
    """Return the form of a chunk without a guess; what does not get clearly smaller is kept raw."""
    width = 1 if dtype is None else dtype.width
    codec = choose(dtype)
    payload = codec.encode(plain, width=width, scratch=scratch)
    if len(payload) >= WORTH * len(plain):
        codec, payload = _RAW, _RAW.encode(plain, width=width, scratch=scratch)
    return EncodedForm(codec.number, codec.version, width, payload)


def encode_guessed(
    plain: memoryview,
    candidates: Sequence[Candidate],
    reading: Reading,
    *,
    dtype: DType,
    level: Level,
    scratch: Scratch,
) -> EncodedForm | None:
    """Return the best form with a guess, or None when the chunk had better stand alone."""
    source = np.frombuffer(plain, np.uint8)
    if level == "fast" and len(candidates) == 1 and len(plain) <= SMALL:
        return _encode_small(plain, source, candidates[0], dtype, scratch)
    ranked = [(estimate.residual(source, c.plain, dtype.width), c) for c in candidates]
    ranked.sort(key=lambda pair: pair[0].best)
    if not ranked:
        return None
    alone = estimate.alone(source, dtype.width)
    limit = WORTH_A_NEED * min(alone, len(plain))
    if ranked[0][0].best > limit and level == "fast":
        return None
    tried = (
        ranked[:1]
        if level == "fast"
        else [r for r in ranked if r[0].best <= CLOSE * ranked[0][0].best]
    )
    made = [
        form
        for found, candidate in tried
        for form in _forms(plain, candidate, found, reading, dtype, level, scratch)
    ]
    best = min(made, key=_cost)
    return best if len(best.payload) <= limit else None


def encode_exact(plain: memoryview, candidate: Candidate, *, dtype: DType) -> EncodedForm:
    """Return the form of a chunk whose guess is the very bytes."""
    payload = _DELTA.encode_exact(plain, dtype=dtype, head=head_of(candidate.params))
    return _formed(candidate, candidate.needs, _DELTA, payload, dtype)


def _encode_small(
    plain: memoryview, source: Bytes, candidate: Candidate, dtype: DType, scratch: Scratch
) -> EncodedForm | None:
    """Return the form of a chunk that takes less time to encode than to sample."""
    whole, word = len(plain) // dtype.width * dtype.width, f"<u{dtype.width}"
    same = source[:whole].view(word) == candidate.plain[:whole].view(word)
    mostly = np.count_nonzero(same) > MOSTLY_UNCHANGED * len(same)
    codec = _BITMAP if mostly else _DELTA
    form = _encode(plain, candidate, Guess(candidate.plain), codec, dtype, scratch)
    if len(form.payload) <= PLAINLY_GOOD * len(plain):
        return form
    limit = WORTH_A_NEED * min(estimate.alone(source, dtype.width), len(plain))
    return form if len(form.payload) <= limit else None


def _forms(
    plain: memoryview,
    candidate: Candidate,
    found: estimate.Residual,
    reading: Reading,
    dtype: DType,
    level: Level,
    scratch: Scratch,
) -> list[EncodedForm]:
    # Where one plane alone differs, both have the same entropy and are told apart by rounding only.
    quick = _BITMAP if found.bitmap < found.dense + 1 else _DELTA
    guess = Guess(candidate.plain)
    forms = [_encode(plain, candidate, guess, quick, dtype, scratch)]
    code = exponent_code(dtype)
    if level == "max" and candidate.key is not None and code is not None:
        order = reading.order(candidate.key, code, dtype.width)
        sorting = Guess(candidate.plain, reading.chunk(candidate.key), order)
        forms.append(_encode(plain, candidate, sorting, _SORTED, dtype, scratch))
    return forms


def _encode(
    plain: memoryview,
    candidate: Candidate,
    guess: Guess,
    codec: ResidualCodec,
    dtype: DType,
    scratch: Scratch,
) -> EncodedForm:
    head = head_of(candidate.params)
    payload = codec.encode(plain, guess, dtype=dtype, scratch=scratch, head=head)
    needs = candidate.needs
    if guess.key is not None and candidate.key is not None:
        needs = (*needs, Need("chunk", candidate.key, 0, len(plain)))
    return _formed(candidate, needs, codec, payload, dtype)


def _formed(
    candidate: Candidate,
    needs: tuple[Need, ...],
    codec: ResidualCodec,
    payload: bytes,
    dtype: DType,
) -> EncodedForm:
    return EncodedForm(
        codec.number,
        codec.version,
        dtype.width,
        payload,
        candidate.predictor,
        candidate.params,
        needs,
        candidate.computed,
        candidate.plain,
    )


def is_proved(form: EncodedForm, plain: memoryview, scratch: Scratch) -> bool:
    """Say whether a form whose guess was computed gives the plain bytes back.

    The guess is the one that any reader computes, from the same parameters and needs.
    """
    params, residual = split_head(memoryview(form.payload))
    out = scratch.bytes("proof", len(plain))
    if form.guess is None or params != form.params:
        return False
    codec = _RESIDUAL[form.codec, form.version]
    try:
        codec.decode(residual, Guess(form.guess), out, width=form.width, scratch=scratch)
    except IntegrityError:
        return False
    return np.array_equal(np.frombuffer(out, np.uint8), np.frombuffer(plain, np.uint8))


def _cost(form: EncodedForm) -> float:
    slow = form.codec == _SORTED.number
    return len(form.payload) / (WORTH_SORTING if slow else 1.0)


def decode_chunk(
    number: int, version: int, width: int, payload: memoryview, out: memoryview, scratch: Scratch
) -> None:
    """Fill ``out`` with the plain bytes; an unknown codec is a `ForeignRepository`."""
    codec = _BY_NUMBER.get((number, version))
    if codec is None:
        raise _newer(number, version)
    _check_width(width)
    codec.decode(payload, out, width=width, scratch=scratch)


def decode_residual(
    form: Form, payload: memoryview, needs: Reading, out: memoryview, scratch: Scratch
) -> None:
    """Fill ``out`` with the plain bytes of a form that has a predictor."""
    codec = _RESIDUAL.get((form.codec, form.version))
    if codec is None:
        raise _newer(form.codec, form.version)
    _check_width(form.width)
    params, residual = split_head(payload)
    key, order, own = None, None, form.needs
    if codec.number == _SORTED.number:
        own, last = form.needs[:-1], form.needs[-1:]
        if not last or last[0].kind != "chunk":
            raise IntegrityError("a sorted residual names no key")
        id_ = ChunkId(last[0].id)
        key = needs.chunk(id_)
        order = needs.order(id_, code_of(residual), form.width)
    plain = predict(form.predictor, params, own, len(out), needs)
    if key is not None and len(key) != len(out):
        raise IntegrityError("a sort key has another length than its chunk")
    codec.decode(residual, Guess(plain, key, order), out, width=form.width, scratch=scratch)


def _check_width(width: int) -> None:
    if width not in _WIDTHS:
        raise IntegrityError(f"a chunk of words of {width} bytes cannot exist")


def _newer(number: int, version: int) -> ForeignRepository:
    return ForeignRepository(
        f"a chunk is kept by codec {number}, version {version}: a newer theta is needed",
        hint="pip install --upgrade theta-vcs",
    )
