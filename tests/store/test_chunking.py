"""The chunk rule: ranges tile the tensor, and depend on dtype and shape alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store import chunking
from theta_store.chunking import (
    CHUNK_BYTES,
    chunk_bytes,
    chunks_within,
    pieces_within,
    ranges_of,
    split,
    split_bytes,
    unit_bytes,
)
from theta_store.dtypes import DTYPES, dtype
from theta_store.errors import IntegrityError
from theta_store.ids import ChunkId
from theta_store.records import Blob, Tensor

shapes = st.lists(st.integers(0, 70), max_size=4).map(tuple)


@given(st.sampled_from(sorted(DTYPES)), shapes)
def test_ranges_tile_the_tensor(name: str, shape: tuple[int, ...]) -> None:
    row = dtype(name)
    if math.prod(shape) % row.block:
        return
    ranges = split(name, shape)
    assert [start for start, _ in ranges[1:]] == [stop for _, stop in ranges[:-1]]
    assert (ranges[-1][1] if ranges else 0) == row.size_of(shape)
    assert all(0 < stop - start <= CHUNK_BYTES for start, stop in ranges)


@pytest.mark.parametrize(
    ("name", "shape", "unit", "chunk"),
    [
        ("F32", (), 4, 1 << 20),
        ("F32", (1 << 20,), 4, 1 << 20),
        ("F32", (30522, 384), 1536, 682 * 1536),
        ("F32", (8, 1024, 4096), 16384, 64 * 16384),
        ("F32", (8, 16, 16), 1024, 1024 * 1024),
        ("BF16", (3, 600_000), 2, 1 << 20),
        ("F4", (4, 3), 1, 1 << 20),
        ("F4", (4, 6), 3, 349525 * 3),
        ("GGML_Q4_K", (2, 512), 288, 3640 * 288),
    ],
)
def test_golden_units(name: str, shape: tuple[int, ...], unit: int, chunk: int) -> None:
    assert unit_bytes(dtype(name), shape) == unit
    assert chunk_bytes(dtype(name), shape) == chunk


def test_empty_tensors_and_blobs_have_no_chunk() -> None:
    assert split("F32", (3, 0, 5)) == []
    assert split_bytes(0) == []


sizes = st.integers(-5, 3 * CHUNK_BYTES + 5)
edges = st.integers(0, 3).flatmap(
    lambda number: st.integers(-2, 2).map(lambda off: number * CHUNK_BYTES + off)
)
places = st.one_of(sizes, edges)


@st.composite
def records(draw: st.DrawFn) -> Tensor | Blob:
    """Return a tensor or blob of some chunks, whose ids are their numbers."""
    if draw(st.booleans()):
        total = draw(places.filter(lambda size: size >= 0))
        return Blob(total, _ids(len(split_bytes(total))))
    name = draw(st.sampled_from(["F32", "BF16", "F4", "GGML_Q4_K"]))
    shape = draw(st.sampled_from([(), (0, 3), (9,), (1200, 1024), (3, 786_432), (700, 1100)]))
    row = dtype(name)
    if math.prod(shape) % row.block:
        shape = (1200, 1024)
    return Tensor(name, shape, _ids(len(split(name, shape))))


def _ids(count: int) -> tuple[ChunkId, ...]:
    return tuple(ChunkId(number.to_bytes(32, "big")) for number in range(count))


@given(records(), places, places)
def test_a_range_touches_the_chunks_that_a_walk_over_all_would_find(
    record: Tensor | Blob, start: int, stop: int
) -> None:
    walked = list(zip(record.chunks, ranges_of(record), strict=True))
    touched = tuple(i for i, (left, right) in walked if left < stop and start < right)
    assert chunks_within(record, start, stop) == touched
    pieces = [(i, *r) for i, r in walked if max(r[0], start) < min(r[1], stop)]
    assert list(pieces_within(record, start, stop)) == pieces


def test_a_record_that_names_another_number_of_chunks_is_refused() -> None:
    record = Tensor("F32", (1 << 20,), _ids(3))
    for ask in (
        ranges_of,
        lambda r: chunks_within(r, 0, 1),
        lambda r: list(pieces_within(r, 0, 1)),
    ):
        with pytest.raises(IntegrityError, match="names 3 chunks, not 4"):
            ask(record)


def test_a_range_of_a_large_tensor_lists_no_other_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Tensor("F32", (1 << 12, 1 << 19), _ids(1 << 13))
    asked: list[int] = []
    original = chunking.Cuts.range

    def watch(cuts: chunking.Cuts, number: int) -> tuple[int, int]:
        asked.append(number)
        return original(cuts, number)

    monkeypatch.setattr(chunking.Cuts, "range", watch)
    found = list(pieces_within(record, 5 * CHUNK_BYTES - 1, 6 * CHUNK_BYTES + 1))
    assert [int.from_bytes(id_) for id_, _, _ in found] == [4, 5, 6] == asked
