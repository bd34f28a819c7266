"""BitX stays what storage.md says it is: sizes on a checked-in fixture, within 1 %."""

import json
from pathlib import Path

import numpy as np
import pytest
import zstandard

from benchmarks.storage.contents import Array, read_contents
from benchmarks.storage.schemes.bitx import tensor_bytes

FIXTURE = Path(__file__).parents[2] / "benchmarks" / "fixtures" / "bitx"
SIZES = json.loads((FIXTURE / "sizes.json").read_text())["bytes"]
MIB = 1 << 20


def _tensors(name: str) -> dict[str, Array]:
    return read_contents(FIXTURE / f"{name}.safetensors").tensors


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_table(name: str) -> None:
    found = tensor_bytes(_tensors("after")[name], _tensors("before").get(name))
    assert found == pytest.approx(SIZES[name], rel=0.01)


def test_the_fixture_is_small_and_its_table_is_whole() -> None:
    assert sum(path.stat().st_size for path in FIXTURE.iterdir()) < 3_000_000
    assert set(SIZES) == set(_tensors("after"))


def _spelled_out(new: bytes, old: bytes | None, width: int) -> int:
    """The definition once more, as plainly as it can be said."""
    total = 0
    for at in range(0, len(new), MIB):
        chunk = new[at : at + MIB]
        tries = [chunk]
        if old is not None:
            tries.append(bytes(a ^ b for a, b in zip(chunk, old[at : at + MIB], strict=True)))
        total += min(
            sum(len(zstandard.compress(plain[i::width], 3)) for i in range(width))
            for plain in tries
        )
    return total


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_definition_spelled_out(name: str) -> None:
    new, old = _tensors("after")[name], _tensors("before").get(name)
    older = old.plain.tobytes() if old is not None and new.fits(old) else None
    assert tensor_bytes(new, old) == _spelled_out(new.plain.tobytes(), older, new.width)


def test_another_shape_or_dtype_is_no_base() -> None:
    plain = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
    one = Array("F32", (32, 32), plain)
    assert tensor_bytes(one, Array("F32", (32, 32), plain)) < 100
    assert tensor_bytes(one, Array("F32", (1024,), plain)) > 4000
    assert tensor_bytes(one, Array("I32", (32, 32), plain)) > 4000
