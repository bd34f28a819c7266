"""A guess is proved by one pass, or said to be wrong; the number found is the one of sorting."""

import numpy as np
import pytest

from theta.strategies import bracket
from theta.strategies.bracket import Bracket, Found

COUNT = 300_000


def _numbers(kind: str, levels: int) -> np.ndarray:
    random = np.random.default_rng(4)
    values = np.abs(random.standard_normal(COUNT)).astype(kind.replace("u", "f"))
    return (np.round(values * levels) / levels).astype(values.dtype).view(kind)


def _expected(runs: list[np.ndarray], kept: int) -> Found:
    """Sort: of equal numbers the first is the greater."""
    every = np.concatenate(runs)
    place = np.argsort(every.max() - every, kind="stable")[kept - 1]
    bits = every[place]
    rank = kept - int((every > bits).sum())
    starts = np.cumsum([0, *map(len, runs)])
    run = int(np.searchsorted(starts, place, side="right")) - 1
    there = int((runs[run][: place - starts[run] + 1] == bits).sum())
    return Found(int(bits), rank, int((every == bits).sum()), run, there)


def _found(runs: list[np.ndarray], kept: int, step: int) -> tuple[Bracket, Found | None]:
    made = Bracket.around(np.concatenate(runs)[::step].copy(), kept, COUNT)
    for run in runs:
        made.add(run)
    return made, made.found()


@pytest.mark.parametrize("kind", ["u4", "u8"])
@pytest.mark.parametrize("levels", [3, 1_000_000])
@pytest.mark.parametrize("kept", [1, 5, 60_000, 150_000, 299_000, 299_999])
def test_it_is_the_number_that_sorting_finds(kind: str, levels: int, kept: int) -> None:
    runs = np.split(_numbers(kind, levels), [5, 5, 100_000, 100_001])
    made, found = _found(runs, kept, 31)
    assert found == _expected(runs, kept)
    if levels > 3:
        assert made._count < COUNT // 10


def test_a_sample_of_all_numbers_needs_no_guess() -> None:
    runs = [np.arange(9, dtype="u4")]
    made = Bracket.around(runs[0], 3, 9)
    made.add(runs[0])
    assert made.found() == Found(6, 1, 1, 0, 1)


@pytest.mark.parametrize("kept", [1, COUNT // 2, COUNT - 1])
def test_a_sample_of_other_numbers_is_found_out(kept: int) -> None:
    numbers = _numbers("u4", 1_000_000)
    for sample in (numbers[:5000] // 2, numbers[:5000] // 2 + (1 << 30)):
        made = Bracket.around(sample, kept, COUNT)
        made.add(numbers)
        assert made.found() in {None, _expected([numbers], kept)}
    made = Bracket(5, 7, COUNT // 2)
    made.add(numbers)
    assert made.found() is None


def test_what_is_collected_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bracket, "_MOST", 1000)
    made = Bracket(0, 1 << 31, 10)
    for run in np.split(_numbers("u4", 7), 100):
        made.add(run)
    assert sum(map(len, made._inside)) <= 1000
    assert made.found() is None
