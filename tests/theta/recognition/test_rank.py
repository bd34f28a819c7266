"""Low ranks are found where adapters left them, and nowhere else."""

from typing import Any

import numpy as np
import pytest

from tests.theta.leaves import floats
from theta.examination import Leaf, examine, pairs
from theta.recognition import rank as ranks
from theta.recognition.base import Finding


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _adapter(seed: int, rows: int, columns: int, rank: int) -> np.ndarray:
    return _noise(seed, rows, rank) @ _noise(seed + 1, rank, columns)


def _rank(old: Leaf, new: Leaf, **options: Any) -> Finding | None:
    found = examine(old, new, **options).findings
    return next((finding for finding in found if finding.kind == "rank"), None)


def _values(leaf: Leaf) -> np.ndarray:
    return np.concatenate([pair.left for pair in pairs(leaf, leaf)]).reshape(leaf.shape)


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize("rank", [1, 4, 16, 64])
def test_a_merged_adapter_has_its_rank(kind: str, rank: int) -> None:
    old = floats(0.02 * _noise(0, 320, 450), kind)
    step = 0.01 / np.sqrt(rank) * _adapter(1, 320, 450, rank)
    found = _rank(old, floats(_values(old) + step, kind))
    assert found == Finding("rank", f"rank {rank}", rank)


def test_a_weight_that_was_zero() -> None:
    found = _rank(floats(np.zeros((200, 100))), floats(_adapter(1, 200, 100, 8)))
    assert found == Finding("rank", "rank 8", 8)


@pytest.mark.parametrize("shape", [(16, 400), (300, 300), (700, 64)])
def test_a_dense_update_has_no_rank(shape: tuple[int, int]) -> None:
    old = 0.02 * _noise(0, *shape)
    assert _rank(floats(old), floats(old + 0.001 * _noise(1, *shape))) is None
    decaying = _noise(1, *shape) * 0.97 ** np.arange(shape[1])
    assert _rank(floats(old), floats(old + 0.001 * decaying)) is None


def test_small_dense_matrices_are_never_mistaken() -> None:
    sizes = np.random.default_rng(0).integers(2, 60, (150, 2))
    for seed, (rows, columns) in enumerate(sizes):
        old, new = _noise(seed, rows, columns), _noise(seed + 1000, rows, columns)
        assert _rank(floats(old), floats(new)) is None


def test_what_noise_hides_in_part_is_about_a_rank() -> None:
    old = 0.02 * _noise(0, 300, 300)
    step = 0.01 * _adapter(1, 300, 300, 4) + 0.0005 * _noise(3, 300, 300)
    found = _rank(floats(old), floats(old + step))
    assert found == Finding("rank", "rank ~4", 4, exact=False)


def test_a_rank_beside_one_changed_row_is_not_called_exact() -> None:
    old = 0.02 * _noise(0, 400, 400)
    new = old + 0.01 * _adapter(1, 400, 400, 4)
    new[7] += 0.3 * _noise(3, 400)
    found = _rank(floats(old), floats(new))
    assert found is None or found.amount == 5 or not found.exact


@pytest.mark.parametrize("count", [4, 10, 20])
def test_a_few_changed_rows_are_no_adapter(count: int) -> None:
    old = 0.02 * _noise(0, 500, 300)
    new = old.copy()
    new[:: 500 // count] += _noise(1, count, 300)
    assert _rank(floats(old), floats(new)) is None


def test_numbers_that_are_not_finite_have_no_rank() -> None:
    old = 0.02 * _noise(0, 64, 64)
    new = old + _adapter(1, 64, 64, 2)
    new[3, 3] = np.nan
    assert _rank(floats(old), floats(new)) is None


def test_vectors_and_stacks_have_no_rank() -> None:
    assert _rank(floats(np.zeros(64)), floats(np.ones(64))) is None
    assert _rank(floats(np.zeros((4, 8, 8))), floats(np.ones((4, 8, 8)))) is None


def test_large_matrices_are_judged_by_a_sample_unless_asked(monkeypatch: Any) -> None:
    monkeypatch.setattr(ranks, "MOST_ELEMENTS", 1000)
    reads = []
    old = floats(0.02 * _noise(0, 1200, 900), "BF16")
    new = floats(_values(old) + 0.002 * _adapter(1, 1200, 900, 8), "BF16")

    def read(start: int, out: memoryview) -> None:
        reads.append(start)
        new.read(start, out)

    watched = Leaf(new.tensor, read)
    assert _rank(old, watched) == Finding("rank", "rank ~8", 8, exact=False)
    assert len(reads) == len(set(reads)), "a chunk was read twice"
    assert _rank(old, watched, rank=True) == Finding("rank", "rank 8", 8)
    dense = floats(_values(old) + 0.001 * _noise(2, 1200, 900), "BF16")
    assert _rank(old, dense) is None
