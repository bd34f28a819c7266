"""``theta revert``: the opposite of a commit's change, on top of HEAD."""

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import tree


def test_a_change_is_taken_back_and_later_ones_stay(model: Shell) -> None:
    bad = model.commit("bad", a=9, b=2)
    model.commit("good", a=9, b=5)
    answer = model("revert", bad[:10])
    assert model.load() == {"a": 1, "b": 5}
    assert 'Revert "bad"' in answer.out
    with model.repo() as repo:
        commit = repo.store.commit(repo.resolve("HEAD"))
        assert commit.message == f'Revert "bad"\n\nThis reverts commit {bad}.'
        assert len(commit.parents) == 1


def test_what_was_changed_since_loses_the_change_alone(model: Shell) -> None:
    bad = model.commit("bad", a=9, b=2)
    model.commit("good", a=10, b=2)
    model("revert", bad)
    assert model.load() == {"a": 2, "b": 2}


def test_a_part_of_a_change_is_taken_back(model: Shell) -> None:
    model.commit("bad", a=9, b=4)
    model("revert", "HEAD", "--scale", "0.25")
    assert model.load() == {"a": 7, "b": 3.5}
    model("merge", "--replay", "HEAD")


def test_reverting_twice_is_the_identity_and_a_third_time_nothing(model: Shell) -> None:
    bad = model.commit("bad", a=9, b=4)
    first = tree(model)
    model("revert", "HEAD")
    assert model.load() == {"a": 1, "b": 2}
    assert "changes nothing" in model("revert", bad, code=1).err
    model("revert", "HEAD")
    assert tree(model) == first


def test_a_merge_is_reverted_to_the_parent_that_is_named(model: Shell) -> None:
    model("switch", "-c", "rte")
    model.commit("theirs", a=7, b=2)
    model("switch", "main")
    model.commit("ours", a=1, b=5)
    model("merge", "rte")
    assert "which parent" in model("revert", "HEAD", code=2).err
    model("revert", "HEAD", "--mainline", "2")
    assert model.load() == {"a": 7, "b": 2}


def test_undo_and_json(model: Shell) -> None:
    model.commit("bad", a=9, b=4)
    answer = model("revert", "HEAD", "--json", "-m", "no").json
    assert answer["schema"] == "theta.revert/1"
    assert (answer["state"], answer["conflicts"]) == ("merged", [])
    assert model("show", "--json").json["message"] == "no"
    model("undo")
    assert model.load() == {"a": 9, "b": 4}


def test_conflicts_end_with_one(model: Shell) -> None:
    import numpy as np

    model.commit("bad", a=np.zeros(3, np.float32), b=2)
    model.commit("worse", a=np.zeros(5, np.float32), b=2)
    assert "shape" in model("revert", "HEAD~1", code=1).out
    assert "would" not in model("revert", "HEAD~1", "--dry-run").err
