"""How far a replay is from what was committed."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from theta.merge.nearness import NEAR, farthest
from theta.repo import Author, Repo

VALUES = np.linspace(-2, 4, 300_000, dtype=np.float32)


def _states(repo: Repo, *states: dict[str, np.ndarray], note: str = "") -> float | None:
    entries = []
    for number, state in enumerate(states):
        save_file(state, repo.root / "m.safetensors")
        (repo.root / "note.txt").write_text(note * number)
        repo.add(["m.safetensors", "note.txt"])
        entries.append(repo.entries(repo.commit(f"{number}", author=Author("Ada")).id))
    return farthest(repo.store, entries[1], entries[0])


def test_the_same_values_are_0_apart(repo: Repo) -> None:
    state = {"a": VALUES, "b": VALUES + 1}
    entries = []
    save_file(state, repo.root / "m.safetensors")
    repo.add(["m.safetensors"])
    entries = repo.entries(repo.commit("one", author=Author("Ada")).id)
    assert farthest(repo.store, entries, entries) == 0


@pytest.mark.parametrize("place", [0, 150_000, -1])
def test_the_largest_step_counts_against_the_largest_value(repo: Repo, place: int) -> None:
    moved = VALUES.copy()
    moved[place] += 0.5
    apart = _states(repo, {"a": VALUES, "b": VALUES}, {"a": VALUES, "b": moved})
    assert apart == pytest.approx(0.5 / 4)


def test_what_linear_algebra_does_is_near_and_more_is_not(repo: Repo) -> None:
    moved = VALUES.copy()
    moved[7] += 4e-6
    apart = _states(repo, {"a": VALUES}, {"a": moved})
    assert apart is not None
    assert 0 < apart <= NEAR


@pytest.mark.parametrize(
    "other",
    [{"a": VALUES[:10]}, {"b": VALUES}, {"a": VALUES.astype(np.float64)}],
    ids=["shape", "name", "dtype"],
)
def test_more_than_numbers(repo: Repo, other: dict[str, np.ndarray]) -> None:
    assert _states(repo, {"a": VALUES}, other) is None


def test_another_file_is_more_than_numbers(repo: Repo) -> None:
    assert _states(repo, {"a": VALUES}, {"a": VALUES}, note="x") is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_never_near(repo: Repo, bad: float) -> None:
    moved = VALUES.copy()
    moved[0] = bad
    assert _states(repo, {"a": VALUES}, {"a": moved}) == float("inf")
