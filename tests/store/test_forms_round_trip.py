"""Every predictor with every codec gives any bits back, on any dtype.

``make thorough`` runs 10,000 cases.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from theta_store.arithmetic import is_computable
from theta_store.codecs import RESIDUAL, Guess
from theta_store.codecs.exponents import Order, exponent_code, order_of
from theta_store.dtypes import DTYPES, DType
from theta_store.forms import Form, Need
from theta_store.ids import ChunkId, RecordId, chunk_id
from theta_store.prediction import head_of, predict
from theta_store.predictors import (
    CAST,
    LOW_RANK,
    PIECES,
    RESCALE,
    ROWS,
    SAME,
    WEIGHTED_SUM,
    cast,
    low_rank,
    rescale,
    rows,
    weighted_sum,
)
from theta_store.predictors.head import encode_head
from theta_store.scratch import Bytes, Scratch
from theta_store.selector import decode_residual

SCRATCH = Scratch()
COMPUTABLE = [name for name, row in DTYPES.items() if is_computable(row)]
WHOLE = [name for name, row in DTYPES.items() if row.block == 1]
# Zeros of both signs, infinities, quiet and signalling NaNs, subnormals, all ones, in any width.
PATTERNS = (b"\0" * 8, b"\xff" * 8, b"\0\0\x80\x7f" * 2, b"\1\0\x80\x7f" * 2, b"\0\x80" * 4)


@dataclass
class Memory:
    """Needs in memory: tensors are single chunks here."""

    plain: dict[bytes, Bytes] = field(default_factory=dict)

    def add(self, plain: bytes, kind: str = "chunk") -> Need:
        id_ = chunk_id(plain)
        self.plain[id_] = np.frombuffer(plain, np.uint8)
        return Need("tensor" if kind == "tensor" else "chunk", id_, 0, len(plain))

    def chunk(self, id_: ChunkId) -> Bytes:
        return self.plain[id_]

    def order(self, id_: ChunkId, code: int, width: int) -> Order:
        return order_of(self.plain[id_], code, width, SCRATCH)

    def span(self, tensor: RecordId, start: int, stop: int) -> Bytes:
        return self.plain[tensor][start:stop]


@st.composite
def bits(draw: st.DrawFn, size: int, near: bytes | None = None) -> bytes:
    """Return bytes: noise, patterns, or another run of bytes with a few changes."""
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    how = draw(st.sampled_from(["noise", "weights", "patterns", "near", "equal"]))
    if near is not None and how == "equal":
        return near
    if near is not None and how == "near":
        out = bytearray(near)
        for at in rng.integers(0, max(size, 1), min(size, 5)):
            out[at] ^= 1 << int(rng.integers(8))
        return bytes(out)
    if how == "patterns":
        parts = [PATTERNS[i] for i in rng.integers(0, len(PATTERNS), size // 8 + 1)]
        return b"".join(parts)[:size]
    if how == "weights":
        return rng.normal(0, 0.02, size // 4 + 1).astype("<f4").tobytes()[:size]
    return rng.bytes(size)


Made = tuple[int, bytes, tuple[Need, ...]]


@st.composite
def claims(draw: st.DrawFn, memory: Memory, row: DType, shape: tuple[int, int]) -> Made:
    """Return a predictor with parameters and needs that fit a chunk of this matrix."""
    size = row.size_of(shape)
    able = [SAME, ROWS, PIECES]
    if row.name in COMPUTABLE:
        able += [CAST, RESCALE, LOW_RANK, WEIGHTED_SUM]
    which = draw(st.sampled_from(able))
    if which == SAME:
        return SAME, b"", (memory.add(draw(bits(size))),)
    if which == ROWS:
        return draw(_rows(memory, row, shape))
    if which == PIECES:
        return PIECES, b"", draw(_pieces(memory, size))
    if which == CAST:
        base = DTYPES[draw(st.sampled_from([name for name in COMPUTABLE if name != row.name]))]
        need = memory.add(draw(bits(base.size_of(shape))), "tensor")
        return CAST, encode_head(cast.Head(1, base.name, row.name)), (need,)
    if which == WEIGHTED_SUM:
        parts = tuple(memory.add(draw(bits(size))) for _ in range(draw(st.integers(1, 3))))
        weights = tuple(draw(st.sampled_from([0.5, 1 / 3, -1.0, 1e30])) for _ in parts)
        return WEIGHTED_SUM, encode_head(weighted_sum.Head(1, row.name, weights)), parts
    return draw(_scaled(memory, row, shape) if which == RESCALE else _updated(memory, row, shape))


@st.composite
def _pieces(draw: st.DrawFn, memory: Memory, size: int) -> tuple[Need, ...]:
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=3))) if size > 1 else []
    found = []
    for left, right in itertools.pairwise((0, *cuts, size)):
        before, after = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        whole = memory.add(draw(bits(before + right - left + after)))
        found.append(Need("chunk", whole.id, before, before + right - left))
    return tuple(found)


@st.composite
def _rows(draw: st.DrawFn, memory: Memory, row: DType, shape: tuple[int, int]) -> Made:
    row_bytes = row.size_of((1, shape[1]))
    base = draw(bits(row_bytes * 7))
    chosen = draw(st.lists(st.integers(-1, 6), min_size=shape[0], max_size=shape[0]))
    runs = rows.runs_of(np.array(chosen, np.int64))
    low, high = rows.needed_range(runs, row_bytes)
    whole = memory.add(base, "tensor")
    needs = (Need("tensor", whole.id, low, high),) if low < high else ()
    return ROWS, encode_head(rows.head_of(runs, row_bytes)), needs


@st.composite
def _scaled(draw: st.DrawFn, memory: Memory, row: DType, shape: tuple[int, int]) -> Made:
    axis = draw(st.sampled_from([-1, 0, 1]))
    head = rescale.Head(1, row.name, axis, shape[1], 0)
    first, last = rescale.vector_range(head, shape[0] * shape[1])
    kind = "<f8" if row.name == "F64" else "<f4"
    vector = np.random.default_rng(draw(st.integers(0, 99))).normal(1, 1, last - first)
    needs = (memory.add(draw(bits(row.size_of(shape)))), memory.add(vector.astype(kind).tobytes()))
    return RESCALE, encode_head(head), needs


@st.composite
def _updated(draw: st.DrawFn, memory: Memory, row: DType, shape: tuple[int, int]) -> Made:
    rank = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    factors = [rng.normal(0, 1, s).astype("<f4") for s in ((shape[0], rank), (rank, shape[1]))]
    formula = draw(st.sampled_from(low_rank.FORMULAS))
    bits_ = low_rank.bits_for(rank)
    head = low_rank.Head(formula, row.name, rank, bits_, shape[1], 0)
    base = memory.add(draw(bits(row.size_of(shape))))
    return LOW_RANK, encode_head(head), (base, *(memory.add(f.tobytes()) for f in factors))


@given(st.data())
def test_every_form_gives_the_bits_back(data: st.DataObject) -> None:
    row = DTYPES[data.draw(st.sampled_from(WHOLE))]
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 40)))
    memory = Memory()
    predictor, params, needs = data.draw(claims(memory, row, shape))
    size = row.size_of(shape)
    guess = predict(predictor, params, needs, size, memory)
    again = predict(predictor, params, needs, size, memory)
    assert np.array_equal(guess, again)
    plain = data.draw(bits(size, near=guess.tobytes()))
    key = data.draw(bits(size))
    for codec in RESIDUAL:
        _check(codec.number, plain, guess, row, (predictor, params, needs), memory, key)


def _check(
    number: int,
    plain: bytes,
    guess: Bytes,
    row: DType,
    made: Made,
    memory: Memory,
    key: bytes,
) -> None:
    codec = next(c for c in RESIDUAL if c.number == number)
    predictor, params, needs = made
    is_sorted = codec.id == "sorted"
    if is_sorted and exponent_code(row) is None:
        return
    all_needs: Sequence[Need] = (*needs, memory.add(key)) if is_sorted else needs
    guessed = Guess(guess, np.frombuffer(key, np.uint8) if is_sorted else None)
    residual = codec.encode(memoryview(plain), guessed, dtype=row, scratch=SCRATCH)
    payload = head_of(params) + residual
    form = Form(
        1,
        predictor,
        codec.number,
        codec.version,
        row.width,
        len(plain),
        len(payload),
        1,
        tuple(all_needs),
        1,
    )
    out = bytearray(len(plain))
    decode_residual(form, memoryview(payload), memory, memoryview(out), SCRATCH)
    assert out == plain
