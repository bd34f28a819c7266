"""From a form's predictor and needs to the guess it is decoded with.

Owns the head in front of a predicted chunk's payload, and how each predictor's needs are read. Must
not know where needs are kept, nor residual codecs. A guess is the same on every machine.

Head: four bytes little-endian with the length of the predictor's parameters, then these, as the
predictor's own file spells them; ``same`` has none.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from theta_store.dtypes import dtype
from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.forms import Need
from theta_store.ids import ChunkId, RecordId
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
from theta_store.predictors.head import decode_head
from theta_store.scratch import Bytes

_LENGTH = 4


class NeedSource(Protocol):
    """Where the plain bytes of needs come from."""

    def chunk(self, id_: ChunkId) -> Bytes:
        """Return a needed chunk."""

    def span(self, tensor: RecordId, start: int, stop: int) -> Bytes:
        """Return bytes of a needed tensor."""


def head_of(params: bytes) -> bytes:
    """Return what stands in front of a predicted chunk's residual."""
    return len(params).to_bytes(_LENGTH, "little") + params


def split_head(payload: memoryview) -> tuple[memoryview, memoryview]:
    """Return the parameters and the residual's payload; anything else is an `IntegrityError`."""
    stop = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    if not _LENGTH <= stop <= len(payload):
        raise IntegrityError("the head of a predicted chunk is damaged")
    return payload[_LENGTH:stop], payload[stop:]


def predict(
    predictor: int, params: bytes | memoryview, needs: Sequence[Need], size: int, source: NeedSource
) -> Bytes:
    """Return the guess at a chunk of ``size`` bytes; needs that do not fit are damage."""
    kind = _PREDICTORS.get(predictor)
    if kind is None:
        raise ForeignRepository(
            f"a chunk is kept by predictor {predictor}: a newer theta is needed",
            hint="pip install --upgrade theta-vcs",
        )
    guess = kind(params, needs, size, source)
    if len(guess) != size:
        raise IntegrityError("a guess has another length than its chunk")
    return guess


def _same(
    params: bytes | memoryview,
    needs: Sequence[Need],
    size: int,  # noqa: ARG001 - the table's signature
    source: NeedSource,
) -> Bytes:
    if len(params) or len(needs) != 1:
        raise IntegrityError("the predictor same has one need and no parameters")
    return read_need(needs[0], source)


def _rows(
    params: bytes | memoryview, needs: Sequence[Need], size: int, source: NeedSource
) -> Bytes:
    head = decode_head(rows.Head, params)
    if size % head.row_bytes:
        raise IntegrityError("a chunk does not hold whole rows")
    runs = rows.runs_in(head, size // head.row_bytes)
    start, stop = rows.needed_range(runs, head.row_bytes)
    if [(need.start, need.stop) for need in needs] != ([(start, stop)] if start < stop else []):
        raise IntegrityError("the predictor rows needs other rows than it names")
    base = read_need(needs[0], source) if needs else np.empty(0, np.uint8)
    return rows.gather(runs, base, head.row_bytes, np.empty(size, np.uint8))


def _cast(
    params: bytes | memoryview,
    needs: Sequence[Need],
    size: int,  # noqa: ARG001 - the table's signature
    source: NeedSource,
) -> Bytes:
    head = decode_head(cast.Head, params)
    (need,) = _exactly(needs, 1)
    return cast.predict(read_need(need, source), dtype(head.base), dtype(head.dtype))


def _weighted_sum(
    params: bytes | memoryview,
    needs: Sequence[Need],
    size: int,  # noqa: ARG001 - the table's signature
    source: NeedSource,
) -> Bytes:
    head = decode_head(weighted_sum.Head, params)
    parts = [read_need(need, source) for need in _exactly(needs, len(head.coefficients))]
    return weighted_sum.predict(parts, head.coefficients, dtype(head.dtype))


def _rescale(
    params: bytes | memoryview, needs: Sequence[Need], size: int, source: NeedSource
) -> Bytes:
    head = decode_head(rescale.Head, params)
    row = dtype(head.dtype)
    base, vector = _exactly(needs, 2)
    factors = read_need(vector, source).view("<f8" if row.name == "F64" else "<f4")
    plain = read_need(base, source)
    first, last = rescale.vector_range(head, size // row.nbytes)
    if len(factors) != last - first:
        raise IntegrityError("a vector has another length than its chunk needs")
    return rescale.predict(plain, factors, head.axis, row, head.columns, start=head.start)


def _low_rank(
    params: bytes | memoryview, needs: Sequence[Need], size: int, source: NeedSource
) -> Bytes:
    head = decode_head(low_rank.Head, params)
    row = dtype(head.dtype)
    base, left, right = _exactly(needs, 3)
    plain = read_need(base, source)
    rows_needed = low_rank.rows_range(head, size // row.nbytes)
    shapes = (rows_needed[1] - rows_needed[0], head.rank), (head.rank, head.columns)
    factors = [read_need(need, source).view("<f4") for need in (left, right)]
    if [len(f) for f in factors] != [rows * columns for rows, columns in shapes]:
        raise IntegrityError("a factor has another size than its chunk needs")
    return low_rank.predict(
        plain,
        factors[0].reshape(shapes[0]),
        factors[1].reshape(shapes[1]),
        row,
        head.formula,
        head.columns,
        start=head.start,
        bits=head.bits,
    )


def _pieces(
    params: bytes | memoryview,
    needs: Sequence[Need],
    size: int,  # noqa: ARG001 - the table's signature
    source: NeedSource,
) -> Bytes:
    if len(params) or not needs:
        raise IntegrityError("the predictor pieces has needs and no parameters")
    pieces = [read_need(need, source) for need in needs]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _exactly(needs: Sequence[Need], count: int) -> Sequence[Need]:
    if len(needs) != count:
        raise IntegrityError(f"a predictor has {len(needs)} needs, not {count}")
    return needs


def read_need(need: Need, source: NeedSource) -> Bytes:
    """Return the plain bytes that a need names."""
    if need.kind == "tensor":
        return source.span(RecordId(need.id), need.start, need.stop)
    plain = source.chunk(ChunkId(need.id))
    if not 0 <= need.start <= need.stop <= len(plain):
        raise IntegrityError("a need lies outside its chunk")
    return plain[need.start : need.stop]


_PREDICTORS = {
    SAME: _same,
    ROWS: _rows,
    CAST: _cast,
    RESCALE: _rescale,
    LOW_RANK: _low_rank,
    WEIGHTED_SUM: _weighted_sum,
    PIECES: _pieces,
}
