"""Kinds of conflict that options settle: dtype, and values that are no numbers."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch

BASE = np.array([1, 1 / 3, -2.5, 1e-3], np.float32)
HALF = BASE.astype(np.float16)


def _values(shell: Shell) -> np.ndarray:
    return load_file(shell.folder / "m.safetensors")["w"]


def _fork(shell: Shell, ours: np.ndarray, theirs: np.ndarray) -> Shell:
    shell.save(w=BASE)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", w=theirs)
    shell.commit("ours", w=ours)
    return shell


def test_a_dtype_that_differs_is_a_conflict_that_says_what_to_do(shell: Shell) -> None:
    _fork(shell, HALF, BASE + 1)
    said = shell("merge", "rte", "-s", "average", code=1).out
    assert "dtype  m.safetensors::w  (--dtype ours|theirs|widest" in said


@pytest.mark.parametrize(
    ("rule", "kind"), [("ours", np.float16), ("theirs", np.float32), ("widest", np.float32)]
)
def test_a_cast_of_the_base_is_no_change_of_values(shell: Shell, rule: str, kind: type) -> None:
    _fork(shell, HALF, BASE + 1)
    answer = shell("merge", "rte", "-s", "average", "--dtype", rule, "--json").json
    assert [r["how"] for r in answer["resolved"]] == ["cast"]
    assert _values(shell).dtype == kind
    assert np.array_equal(_values(shell), (BASE + 1).astype(kind))
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_what_both_only_cast_has_the_values_of_the_wider(shell: Shell) -> None:
    _fork(shell, HALF, BASE.astype(np.float64))
    shell("merge", "rte", "--dtype", "widest")
    assert np.array_equal(_values(shell), BASE.astype(np.float64))


@pytest.mark.parametrize(
    ("rule", "kind"), [("ours", np.float16), ("theirs", np.float32), ("widest", np.float32)]
)
def test_what_both_changed_is_computed_and_rounded_once(
    shell: Shell, rule: str, kind: type
) -> None:
    ours, theirs = (BASE * 3).astype(np.float16), BASE + 1
    _fork(shell, ours, theirs)
    assert shell("merge", "rte", "--dtype", rule, "--json", code=1).json["conflicts"]
    shell("merge", "rte", "--dtype", rule, "-s", "average")
    half = np.float32(0.5)
    expected = (ours.astype(np.float32) * half + theirs * half).astype(kind)
    assert _values(shell).dtype == kind
    assert np.array_equal(_values(shell), expected)
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


def test_whole_numbers_are_never_cast(shell: Shell) -> None:
    _fork(shell, np.arange(4), BASE + 1)
    (conflict,) = shell("merge", "rte", "--dtype", "widest", "--json", code=1).json["conflicts"]
    assert conflict["kind"] == "dtype"


def test_an_unknown_dtype_rule(shell: Shell) -> None:
    _fork(shell, HALF, BASE + 1)
    assert "ours, theirs or widest" in shell("merge", "rte", "--dtype", "F32", code=2).err


def test_values_that_are_no_numbers_on_request(shell: Shell) -> None:
    bad = BASE + 1
    bad[2] = np.nan
    _fork(shell, BASE + 3, bad)
    assert shell("merge", "rte", "-s", "average", "--json", code=1).json["conflicts"]
    shell("merge", "rte", "-s", "average", "--allow-nonfinite")
    assert np.isnan(_values(shell)).tolist() == [False, False, True, False]
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


def test_a_base_that_is_no_number_is_a_conflict_where_it_is_needed(shell: Shell) -> None:
    bad = BASE.copy()
    bad[0] = np.inf
    shell.save(w=bad)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", w=BASE)
    shell.commit("ours", w=BASE + 1)
    (conflict,) = shell("merge", "rte", "-s", "ties", "--json", code=1).json["conflicts"]
    assert conflict["kind"] == "non-finite"
    shell("merge", "rte", "-s", "average")
    half = np.float32(0.5)
    assert np.array_equal(_values(shell), BASE * half + (BASE + 1) * half)
