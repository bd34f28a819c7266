"""More than two sides, more than one base, and none: octopus, criss-cross, unrelated models."""

import itertools

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, orphan, tree
from theta.history import bases_of
from theta.repo import Author


@pytest.fixture
def four(shell: Shell) -> Shell:
    """Branches x, y, z and main from one commit; each changed ``w``, each one other alone."""
    start = {"w": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}
    shell.save(**start)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "x", "main", **start | {"w": 1, "a": 1})
    branch(shell, "y", "main", **start | {"w": 2, "b": 2})
    branch(shell, "z", "main", **start | {"w": 3, "c": 3})
    shell.commit("ours", **start | {"w": 6})
    return shell


def test_an_octopus_has_all_parents_and_merges_what_each_did(four: Shell) -> None:
    answer = four("merge", "x", "y", "z", "-s", "average", "--json").json
    commit = four("show", "--json").json
    assert len(commit["parents"]) == 4
    assert commit["message"] == "Merge x, y and z"
    assert four.load() == {"w": 3, "a": 1, "b": 2, "c": 3}
    hows = {r["name"]: r["how"] for r in answer["resolved"]}
    assert hows == {"a": "theirs", "b": "y", "c": "z", "w": "average"}
    assert four("merge", "--replay", "HEAD", "--json").json["same"]


def test_weights_go_by_name(four: Shell) -> None:
    weights = "weight=x:0.1,ours:0.2,z:0.3,y:0.4 normalize=false"
    four("merge", "x", "y", "z", "-s", f"linear {weights}")
    assert four.load()["w"] == pytest.approx(0.1 * 1 + 0.2 * 6 + 0.3 * 3 + 0.4 * 2)


@pytest.mark.parametrize(
    "strategy",
    ["dare-ties density=0.5", "linear weight=ours:0.1,x:0.33,y:0.7,z:0.01 normalize=false"],
)
def test_the_order_of_branches_is_immaterial(four: Shell, strategy: str) -> None:
    trees = set()
    for names in itertools.permutations("xyz"):
        four("merge", *names, "-s", strategy, "--seed", "4")
        trees.add(tree(four))
        four("reset", "--hard", "HEAD~1")
    assert len(trees) == 1


def test_who_did_not_change_a_parameter_has_no_say_in_it(four: Shell) -> None:
    start = {"w": 0.0, "a": 0.0, "b": 0.0, "c": 0.0}
    branch(four, "v", "main~1", **start | {"a": 9})
    four("merge", "v", "x", "-s", "linear weight=ours:1,v:1,x:3")
    assert four.load() == {"w": (6 + 3) / 4, "a": (9 + 3) / 4, "b": 0, "c": 0}


def test_what_others_descend_from_is_left_out(four: Shell) -> None:
    four("branch", "old", "main~1")
    four("merge", "x", "old", "x~1", "x", "-s", "average")
    assert len(four("show", "--json").json["parents"]) == 2
    assert "Already up to date: HEAD has old and x" in four("merge", "old", "x").out


def test_a_strategy_for_two_refuses_three(four: Shell) -> None:
    before = four("op", "--json").out
    assert "slerp does not merge 4 sides" in four("merge", "x", "y", "z", "-s", "slerp", code=2).err
    assert four("op", "--json").out == before


def test_a_waiting_octopus_keeps_all_its_parents(four: Shell) -> None:
    four("merge", "x", "y", "-s", "average", "--no-commit")
    four("gc")
    four("commit", "-m", "later")
    assert len(four("show", "--json").json["parents"]) == 3


def _criss_cross(shell: Shell) -> Shell:
    """Two branches that merged each other, each keeping its own: two merge bases."""
    shell.save(w=0, v=0, u=0)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", w=2, v=0, u=2)
    shell.commit("ours", w=4, v=8, u=0)
    _cross(shell, "left")
    return shell


def _cross(shell: Shell, name: str) -> None:
    """Merge main and ``rte`` into each other, each taking the other's ``w``."""
    shell("branch", name, "main")
    shell("merge", "rte", "--rule", "w theirs")
    shell("switch", "rte")
    shell("merge", name, "--rule", "w theirs")
    shell("switch", "main")


def test_bases_of_a_criss_cross_history_are_merged_first(shell: Shell) -> None:
    _criss_cross(shell)
    assert shell.load() == {"w": 2, "v": 8, "u": 2}
    # The base of v is 8, which one of the bases made of 0: only main has changed it since.
    shell.commit("more", w=2, v=10, u=2)
    with shell.repo() as repo:
        plan = repo.plan_merge("rte")
        assert len(plan.bases) == 2
        # w was 2 and 4 in the bases, so 3 is what both changed.
        (conflict,) = plan.conflicts
        assert conflict.name == "w"
        assert conflict.leaves is not None
        record = repo.store.tensor(conflict.leaves.bases[0])
        assert np.frombuffer(repo.read_tensor(record), np.float32)[0] == 3
    shell("merge", "rte", "-s", "task-arithmetic")
    assert shell.load() == {"w": 3 + (2 - 3) + (4 - 3), "v": 10, "u": 2}
    with shell.repo() as repo:
        assert len(repo.recipe("HEAD").bases) == 2
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("gc")
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_bases_that_have_several_bases_themselves(shell: Shell) -> None:
    _criss_cross(shell)
    shell.commit("more", w=2, v=10, u=2)
    _cross(shell, "again")
    shell.commit("most", w=7, v=12, u=2)
    with shell.repo() as repo:
        plan = repo.plan_merge("rte")
        assert len(plan.bases) == 2
        assert len(bases_of(repo.store, [[base] for base in plan.bases])) == 2
        assert [conflict.name for conflict in plan.conflicts] == ["w"]
    shell("merge", "rte", "-s", "ties")
    assert shell.load()["v"] == 12
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_a_criss_cross_merge_survives_gc_between_plan_and_merge(shell: Shell) -> None:
    _criss_cross(shell)
    with shell.repo() as repo:
        plan = repo.plan_merge("rte")
        repo.gc()
        answer = repo.merge(plan, repo.merge_method(default="ties"), author=_ada())
        assert answer.state == "merged"
    shell("fsck")


def _ada() -> Author:

    return Author("Ada", 0)


def test_unrelated_models_merge_on_request(model: Shell) -> None:
    with model.repo() as repo:
        first = repo.head.commit
    assert first is not None
    model("switch", "-c", "other")
    orphan(model, "other", a=5, b=2, c=7)
    model("switch", "main")
    error = model("merge", "other", code=2).err
    assert "other shares no history with HEAD" in error
    assert "Try: theta merge --allow-unrelated other" in error
    answer = model("merge", "other", "--allow-unrelated", "-s", "ties", "--json", code=1).json
    assert [(c["name"], c["kind"]) for c in answer["conflicts"]] == [("a", "add/add")]
    model("merge", "other", "--allow-unrelated", "-s", "average")
    assert model.load() == {"a": 3, "b": 2, "c": 7}
    assert model("merge", "--replay", "HEAD", "--json").json["same"]
