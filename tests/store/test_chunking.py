"""The chunk rule: ranges tile the tensor, and depend on dtype and shape alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.chunking import CHUNK_BYTES, chunk_bytes, split, split_bytes, unit_bytes
from theta_store.dtypes import DTYPES, dtype

shapes = st.lists(st.integers(0, 70), max_size=4).map(tuple)


@given(st.sampled_from(sorted(DTYPES)), shapes)
def test_ranges_tile_the_tensor(name: str, shape: tuple[int, ...]) -> None:
    row = dtype(name)
    if math.prod(shape) % row.block:
        return
    ranges = split(row, shape)
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
    assert split(dtype("F32"), (3, 0, 5)) == []
    assert split_bytes(0) == []
