"""Merges that need no strategy, and what is ours unless somebody says otherwise."""

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch


def _array(**changes: float) -> np.ndarray:
    made = np.zeros((20, 10), np.float32)
    for place, value in changes.items():
        made[int(place[1:])] = value
    return made


@pytest.fixture
def rows(shell: Shell) -> Shell:
    """An embedding of which main trained row 2, and ``rte`` row 5."""
    shell.save(embed__weight=_array())
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", embed__weight=_array(r5=1))
    shell.commit("ours", embed__weight=_array(r2=2))
    return shell


def _values(shell: Shell) -> np.ndarray:
    from safetensors.numpy import load_file

    return load_file(shell.folder / "m.safetensors")["embed.weight"]


@pytest.mark.parametrize("words", [(), ("-s", "average")])
def test_different_rows_of_an_embedding_are_all_kept(rows: Shell, words: tuple[str, ...]) -> None:
    answer = rows("merge", "rte", *words, "--json").json
    assert [r["how"] for r in answer["resolved"]] == ["rows"]
    assert np.array_equal(_values(rows), _array(r2=2, r5=1))
    assert rows("merge", "--replay", "HEAD", "--json").json["same"]
    assert "1 rows" in rows("log", "--recipes", "-n", "1").out


def test_a_rule_wins_over_an_exact_merge(rows: Shell) -> None:
    rows("merge", "rte", "--rule", "* average")
    assert np.array_equal(_values(rows), _array(r2=1, r5=0.5))


def test_exact_merges_can_be_switched_off(rows: Shell) -> None:
    assert rows("merge", "rte", "--no-exact", "--json", code=1).json["conflicts"]
    rows("config", "merge.exact", "false")
    assert rows("merge", "rte", "--json", code=1).json["conflicts"]
    rows("merge", "rte", "-s", "average")
    assert np.array_equal(_values(rows), _array(r2=1, r5=0.5))
    assert rows("merge", "--replay", "HEAD", "--json").json["same"]


def test_different_elements_of_sparse_updates(shell: Shell) -> None:
    def weight(*places: int) -> np.ndarray:
        made = np.ones(100, np.float32)
        made[list(places)] = 5
        return made

    shell.save(w=weight())
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", w=weight(*range(50, 60)))
    branch(shell, "mnli", "main", w=weight(*range(50, 61)))
    shell.commit("ours", w=weight(1, 2, 55))
    assert shell("merge", "mnli", "--json", code=1).json["conflicts"], "11 % are no sparse update"
    # 55 was changed by both, to the same value.
    answer = shell("merge", "rte", "--json").json
    assert [r["how"] for r in answer["resolved"]] == ["elements"]
    from safetensors.numpy import load_file

    found = load_file(shell.folder / "m.safetensors")["w"]
    assert np.array_equal(found, weight(1, 2, *range(50, 60)))


def test_a_default_is_for_sparse_updates_too(shell: Shell) -> None:
    start = np.zeros(100, np.float32)
    one, two = start.copy(), start.copy()
    one[1], two[2] = 2, 4
    shell.save(w=start)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", w=two)
    shell.commit("ours", w=one)
    shell("merge", "rte", "-s", "average", "--json")
    from safetensors.numpy import load_file

    assert load_file(shell.folder / "m.safetensors")["w"][1:3].tolist() == [1, 2]


def test_the_state_of_an_optimizer_is_ours_with_a_notice(shell: Shell) -> None:
    for name in ("m.safetensors", "optimizer.safetensors"):
        shell.save(name, a=1)
        shell("add", name)
    shell.commit("first")
    shell("switch", "-c", "rte")
    shell.save("optimizer.safetensors", a=5)
    shell.commit("theirs", a=5)
    shell("switch", "main")
    shell.save("optimizer.safetensors", a=3)
    shell.commit("ours", a=3)
    said = shell("merge", "rte", "-s", "average").err
    assert "optimizer.safetensors: the state of training is ours" in said
    assert shell.load("optimizer.safetensors") == {"a": 3}
    assert shell.load() == {"a": 4}
    shell("undo")
    shell("merge", "rte", "-s", "average", "--rule", "optimizer.safetensors::* average")
    assert shell.load("optimizer.safetensors") == {"a": 4}
