"""Heads keep their bytes, and damaged or hostile ones are refused before anything is computed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.predictors import cast, low_rank, rescale, rows, weighted_sum
from theta_store.predictors.head import AnyHead, decode_head, encode_head

NOTHING = rows.Ints(0, 0, b"")
HEADS: dict[str, AnyHead] = {
    "cast": cast.Head(1, "F32", "BF16"),
    "weighted-sum": weighted_sum.Head(1, "F32", (0.5, -1.25)),
    "rows": rows.Head(768, 1, rows.Ints(5, 0, b""), rows.Ints(1, 0, b""), rows.Ints(9, 0, b"")),
    "rescale": rescale.Head(1, "F16", 1, 384, 0),
    "low-rank": low_rank.Head(2, "BF16", 8, 25, 4096, 1 << 20),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_comes_back(name: str) -> None:
    data = encode_head(HEADS[name])
    assert decode_head(type(HEADS[name]), memoryview(data)) == HEADS[name]
    assert encode_head(decode_head(type(HEADS[name]), data)) == data


@pytest.mark.parametrize("name", HEADS)
@given(data=st.data())
def test_a_damaged_head_is_refused_or_reads_as_another_head(name: str, data: st.DataObject) -> None:
    plain = bytearray(encode_head(HEADS[name]))
    place = data.draw(st.integers(0, len(plain) - 1))
    plain[place] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(plain), bytes(plain[:place]), bytes(plain) + b"\0"):
        try:
            head = decode_head(type(HEADS[name]), damaged)
        except (IntegrityError, ForeignRepository):
            continue
        assert encode_head(head) == damaged


def _spelled(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (cast.Head, _spelled(1, "F32", "F32")),
        (cast.Head, _spelled(1, "F32", "I64")),
        (cast.Head, _spelled(0, "F32", "BF16")),
        (cast.Head, _spelled(1, "F32", "BF16", 1)),
        (cast.Head, b"\x93\xcd\x00\x01\xa3F32\xa4BF16"),
        (weighted_sum.Head, _spelled(1, "F32", [])),
        (weighted_sum.Head, _spelled(1, "F32", [float("nan")])),
        (weighted_sum.Head, _spelled(1, "F32", [float("inf")])),
        (weighted_sum.Head, _spelled(1, "F32", [1.0] * 257)),
        (weighted_sum.Head, _spelled(1, "I32", [1.0])),
        (rescale.Head, _spelled(1, "F32", 2, 4, 0)),
        (rescale.Head, _spelled(1, "F32", 0, 0, 0)),
        (rescale.Head, _spelled(1, "F32", 0, 4, -1)),
        (rescale.Head, _spelled(1, "F32", 0, 1 << 62, 0)),
        (low_rank.Head, _spelled(1, "F32", 0, 25, 4, 0)),
        (low_rank.Head, _spelled(1, "F32", 513, 21, 4, 0)),
        (low_rank.Head, _spelled(1, "F32", 8, 26, 4, 0)),
        (low_rank.Head, _spelled(1, "F32", 8, 0, 4, 0)),
        (low_rank.Head, _spelled(1, "F32", 8, 25, 0, 0)),
        (rows.Head, _spelled(0, 0, NOTHING, NOTHING, NOTHING)),
        (rows.Head, _spelled(4, -1, NOTHING, NOTHING, NOTHING)),
    ],
)
def test_a_hostile_head_is_refused(kind: type[AnyHead], data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_head(kind, data)


@pytest.mark.parametrize("name", ["cast", "weighted-sum", "rescale", "low-rank"])
def test_a_formula_of_the_future_is_newer_not_corrupt(name: str) -> None:
    fields = [getattr(HEADS[name], field) for field in HEADS[name].__struct_fields__]
    with pytest.raises(ForeignRepository, match="newer"):
        decode_head(type(HEADS[name]), _spelled(9, *fields[1:]))
