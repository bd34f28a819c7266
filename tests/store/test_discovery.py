"""``discovery``: a large step is told by some of its rows, in bounded memory."""

import numpy as np
import pytest

from tests.store.predictors.adapters import Merged, merged, residual_bits
from theta_store import discovery
from theta_store.discovery import Matrix, Updated, discover
from theta_store.dtypes import dtype
from theta_store.predictors import low_rank
from theta_store.scratch import Bytes

SHAPE = (3000, 1024)


def _sides(update: Merged) -> tuple[Matrix, Matrix]:
    def side(plain: Bytes) -> Matrix:
        return Matrix(update.row, *update.shape, lambda start, stop: plain[start:stop])

    return side(update.base), side(update.new)


def _bits(update: Merged, found: Updated) -> float:
    guess = low_rank.predict(
        update.base, found.left, found.right, update.row, found.formula, update.shape[1]
    )
    return residual_bits(guess, update.new, update.row)


@pytest.mark.parametrize("name", ["F32", "BF16"])
def test_some_rows_tell_what_all_rows_tell(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    update = merged(name, SHAPE)
    whole = discover(*_sides(update))
    monkeypatch.setattr(discovery, "MOST_HELD", 1 << 20)
    held: list[int] = []
    original = discovery._difference

    def watch(old: Matrix, new: Matrix, blocks: list[tuple[int, int]]) -> np.ndarray:
        step = original(old, new, blocks)
        held.append(step.size)
        return step

    monkeypatch.setattr(discovery, "_difference", watch)
    some = discover(*_sides(update))
    assert isinstance(whole, Updated)
    assert isinstance(some, Updated)
    assert max(held) <= 1 << 20 < SHAPE[0] * SHAPE[1]
    assert some.left.shape == whole.left.shape == (SHAPE[0], 8)
    assert some.formula == whole.formula
    assert _bits(update, some) < _bits(update, whole) + 0.2


def test_blocks_that_are_held_are_spread_over_the_matrix() -> None:
    blocks = [(first, min(first + 10, 95)) for first in range(0, 95, 10)]
    assert discovery._held(blocks, 1000) == blocks
    assert discovery._held(blocks, 30) == [blocks[0], blocks[4], blocks[9]]
    assert discovery._held(blocks, 1) == [blocks[0]]


def _bytes_of(values: np.ndarray, reads: list[int]) -> Matrix:
    plain = values.view(np.uint8).reshape(-1)

    def read(start: int, stop: int) -> Bytes:
        reads.append(start)
        return plain[start:stop]

    return Matrix(dtype("F32"), *values.shape, read)


@pytest.mark.parametrize(("changed", "places"), [("scattered", 1), ("last rows", 2)])
def test_one_place_tells_of_a_sparse_update_unless_nothing_changed_there(
    changed: str, places: int
) -> None:
    rng = np.random.default_rng(5)
    old = rng.normal(0, 0.02, (1024, 256)).astype(np.float32)
    new = old.copy()
    where = rng.random(old.shape) < 0.01 if changed == "scattered" else np.s_[-20:]
    new[where] += np.float32(0.01)
    reads: list[int] = []
    assert discover(_bytes_of(old, reads), _bytes_of(new, [])) is None
    assert len(reads) == places
