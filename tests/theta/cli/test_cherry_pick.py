"""``theta cherry-pick``: the change of one commit, on top of HEAD, in any size."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, tree


def _words(scale: float) -> tuple[str, ...]:
    return ("--scale", str(scale)) if scale != 1 else ()


def test_what_ids_settle_is_taken_exactly(model: Shell) -> None:
    branch(model, "rte", "main", a=7, b=2)
    ours = model.commit("ours", a=1, b=5)
    answer = model("cherry-pick", "rte")
    assert model.load() == {"a": 7, "b": 5}
    assert "theta undo" in answer.err
    with model.repo() as repo:
        commit = repo.store.commit(repo.resolve("HEAD"))
        theirs = repo.resolve("rte").hex()
        assert [parent.hex() for parent in commit.parents] == [ours]
        assert commit.message == f"rte\n\n(cherry picked from commit {theirs})"
    model("undo")
    assert model.load() == {"a": 1, "b": 5}


@pytest.mark.parametrize("scale", [1, 0.5, -2])
def test_what_both_changed_is_added_in_the_size_that_was_asked_for(
    model: Shell, scale: float
) -> None:
    branch(model, "rte", "main", a=9, b=2)
    model.commit("ours", a=3, b=2)
    model("cherry-pick", "rte", *_words(scale))
    assert model.load() == {"a": 3 + scale * 8, "b": 2}
    with model.repo() as repo:
        (group,) = repo.recipe("HEAD").groups
        assert group.formula == "task-arithmetic/1"
        assert group.parameters["weight"] == [1, scale]


def test_a_scale_holds_for_what_only_the_commit_changed(model: Shell) -> None:
    branch(model, "rte", "main", a=9, b=4)
    model.commit("ours", a=1, b=3)
    model("cherry-pick", "rte", "--scale", "0.25")
    assert model.load() == {"a": 3, "b": 3.5}
    model("merge", "--replay", "HEAD")


def test_a_change_that_is_there_already_is_added_again_only_by_a_scale(model: Shell) -> None:
    branch(model, "rte", "main", a=9, b=2)
    model.commit("ours", a=9, b=2)
    assert "changes nothing" in model("cherry-pick", "rte", code=1).err
    model("cherry-pick", "rte", "--scale", "0.5")
    assert model.load() == {"a": 13, "b": 2}


@pytest.mark.parametrize(("scale", "how"), [(1, "rows"), (0.5, "task-arithmetic")])
def test_rows_of_a_change_in_its_own_size_are_taken_exactly(
    model: Shell, scale: float, how: str
) -> None:
    base = np.zeros((4, 2), np.float32)
    theirs, ours = base.copy(), base.copy()
    theirs[1], ours[2] = 0.1, 3
    model.commit("base", embed__weight=base)
    branch(model, "rte", "main", embed__weight=theirs)
    model.commit("ours", embed__weight=ours)
    model("cherry-pick", "rte", *_words(scale))
    merged = load_file(model.folder / "m.safetensors")["embed.weight"]
    assert merged[:, 0] == pytest.approx([0, 0.1 * scale, 3, 0])
    with model.repo() as repo:
        (group,) = repo.recipe("HEAD").groups
        assert group.strategy == how


def test_a_scale_leaves_whole_what_has_no_size(model: Shell) -> None:
    model("switch", "-c", "rte")
    model.save(a=9, b=2, n=np.arange(3))
    model.commit("theirs")
    model("switch", "main")
    answer = model("cherry-pick", "rte", "--scale", "0.5")
    assert model.load() == {"a": 5, "b": 2, "n": 0}
    assert "1 of its changes cannot be scaled" in answer.err


@pytest.mark.parametrize("scale", [1, 0.5])
@pytest.mark.parametrize(
    ("theirs", "ours", "kind"),
    [
        (np.ones(3, np.float32), np.zeros(5, np.float32), "shape"),
        (np.ones(4, np.float16), np.zeros(4, np.float64), "dtype"),
        (np.ones(4, np.int32), np.zeros(4, np.int32), "non-float"),
    ],
)
def test_conflicts_are_listed_and_nothing_is_written(
    model: Shell, theirs: np.ndarray, ours: np.ndarray, kind: str, scale: float
) -> None:
    branch(model, "rte", "main", a=theirs, b=3)
    model.commit("ours", a=ours, b=2)
    before = model("log", "--json").json, model.load()
    answer = model("cherry-pick", "rte", *_words(scale), code=1)
    assert f"{kind}  m.safetensors::a" in answer.out
    assert "nothing was written" in answer.err
    found = model("cherry-pick", "rte", *_words(scale), "--json", code=1).json
    assert [c["kind"] for c in found["conflicts"]] == [kind]
    assert (model("log", "--json").json, model.load()) == before
    model("cherry-pick", "rte", *_words(scale), "--rule", "a ours")
    assert model.load() == {"a": float(ours[0]), "b": 2 + scale}


def test_a_merge_needs_to_know_the_parent_that_it_is_a_change_of(model: Shell) -> None:
    branch(model, "rte", "main", a=7, b=2)
    model.commit("ours", a=1, b=5)
    branch(model, "other", "HEAD~1", a=1, b=2, c=8)
    model("merge", "rte")
    model("switch", "other")
    refused = model("cherry-pick", "main", code=2)
    assert "which parent" in refused.err
    assert "theta cherry-pick --mainline=1 main" in refused.err
    assert "has 2 parents" in model("cherry-pick", "main", "--mainline", "3", code=2).err
    model("cherry-pick", "main", "--mainline", "1")
    assert model.load() == {"a": 7, "b": 2, "c": 8}


@pytest.mark.parametrize("scale", ["0", "nan", "inf"])
def test_a_scale_is_a_number_that_changes_something(model: Shell, scale: str) -> None:
    assert "--scale" in model("cherry-pick", "HEAD", "--scale", scale, code=2).err


def test_a_first_commit_is_a_change_of_nothing(model: Shell) -> None:
    assert "first commit" in model("cherry-pick", "HEAD", code=2).err


def test_rules_of_merges_do_not_hold(model: Shell) -> None:
    branch(model, "rte", "main", a=9, b=2)
    model.commit("ours", a=3, b=2)
    (model.folder / ".thetaattributes").write_text("* ours\n")
    model("cherry-pick", "rte")
    assert model.load() == {"a": 11, "b": 2}


def test_a_dry_run_changes_nothing(model: Shell) -> None:
    branch(model, "rte", "main", a=9, b=3)
    model.commit("ours", a=3, b=2)
    answer = model("cherry-pick", "rte", "--dry-run")
    assert "1 parameter changed only by rte: taken" in answer.out
    assert "1 name changed by both: task-arithmetic" in answer.out
    scaled = model("cherry-pick", "rte", "--dry-run", "--scale", "2", "--json").json
    assert [r["name"] for r in scaled["resolved"]] == ["a", "b"]
    assert model.load() == {"a": 3, "b": 2}


def test_unsaved_changes_are_never_overwritten(model: Shell) -> None:
    branch(model, "rte", "main", a=9, b=3)
    model.save(a=100, b=100)
    model("cherry-pick", "rte", code=9)
    assert model.load() == {"a": 100, "b": 100}


numbers = st.floats(-4, 4, width=16)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(base=numbers, theirs=numbers, ours=numbers, scale=st.sampled_from([1, 0.5, -1.25]))
def test_revert_after_cherry_pick_is_the_identity(
    model: Shell, base: float, theirs: float, ours: float, scale: float
) -> None:
    start = model.commit("base", "--allow-empty", a=base, b=base)
    model("switch", "--detach", start)
    model.commit("theirs", "--allow-empty", a=theirs, b=theirs, c=1)
    with model.repo() as repo:
        picked = repo.resolve("HEAD").hex()
    model("switch", "main")
    model.commit("ours", "--allow-empty", a=ours, b=base)
    before, values = tree(model), load_file(model.folder / "m.safetensors")
    model("cherry-pick", picked, *_words(scale))
    assert tree(model) != before
    model("revert", "HEAD")
    assert tree(model) == before
    after = load_file(model.folder / "m.safetensors")
    assert {n: v.tobytes() for n, v in after.items()} == {n: v.tobytes() for n, v in values.items()}
