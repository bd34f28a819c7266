"""Recipes: ``merge --replay``, ``merge --recipe-from``, ``log --recipes``."""

import json

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, forked, tree
from theta.merge import read_recipe
from theta_store.errors import IntegrityError
from theta_store.ids import BlobId


@pytest.fixture
def fork(shell: Shell) -> Shell:
    """A model of three parameters, two of which were changed by main and by ``rte``."""
    rng = np.random.default_rng(7)

    def values(**changed: int) -> dict[str, np.ndarray]:
        return {
            name: rng.standard_normal((8, 6)).astype(np.float32) for name in changed or ("a", "b")
        }

    start = values()
    shell.save(**start, c=1)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", **values(), c=2)
    branch(shell, "mnli", "main", **values(), c=1)
    shell.commit("ours", **values(), c=1)
    return shell


def _recipe(shell: Shell, revision: str = "HEAD") -> dict[str, object]:
    with shell.repo() as repo:
        blob = repo.store.commit(repo.resolve(revision)).recipe
        assert blob is not None
        found: dict[str, object] = json.loads(repo.store.read_bytes(BlobId(blob)))
    return found


def test_a_recipe_spells_out_everything(fork: Shell) -> None:
    fork("merge", "rte", "-s", "ties density=0.5", "--rule", "a ours", "--seed", "3")
    recipe = _recipe(fork)
    assert recipe["version"] == 2
    assert recipe["labels"] == ["main", "rte"]
    assert (recipe["rules"], recipe["default"], recipe["seed"]) == (
        ["a ours"],
        "ties density=0.5",
        3,
    )
    assert recipe["taken"] == {"theirs": {"m.safetensors": ["c"]}}
    groups = {group["strategy"]: group for group in recipe["groups"]}  # type: ignore[attr-defined]
    assert groups.keys() == {"ours", "ties"}
    assert groups["ties"]["names"] == {"m.safetensors": ["b"]}
    assert groups["ties"]["formula"].startswith("ties/")
    assert groups["ties"]["parameters"]["density"] == 0.5
    assert groups["ties"]["parameters"]["lambda"] == 1
    assert groups["ties"]["exact"] is True


@pytest.mark.parametrize(
    "words",
    [
        ("-s", "average"),
        ("-s", "dare density=0.5", "--seed", "9"),
        ("--rule", "a linear weight=ours:0.2,rte:0.8", "-s", "theirs"),
    ],
)
def test_a_replay_gives_the_same_tree_and_writes_nothing(
    fork: Shell, words: tuple[str, ...]
) -> None:
    fork("merge", "rte", *words)
    before = fork("op", "--json").out
    answer = fork("merge", "--replay", "HEAD", "--json").json
    assert answer["same"] is True
    assert answer["expected_tree"] == answer["made_tree"] == tree(fork)
    assert "the same tree" in fork("merge", "--replay", "HEAD").out
    assert fork("op", "--json").out == before


def test_a_replay_of_a_commit_that_was_changed_differs(fork: Shell) -> None:
    fork("merge", "rte", "-s", "average")
    fork.save(a=9, b=9, c=9)
    fork("commit", "--amend", "-m", "changed")
    answer = fork("merge", "--replay", "HEAD", "--json", code=1).json
    assert answer["same"] is False
    assert "not " in fork("merge", "--replay", "HEAD", code=1).out


def test_what_was_not_merged_has_no_recipe(fork: Shell) -> None:
    assert "has no recipe" in fork("merge", "--replay", "HEAD", code=4).err
    assert "has no recipe" in fork("merge", "--recipe-from", "HEAD", "rte", code=4).err


def test_the_recipe_of_another_merge(fork: Shell) -> None:
    rules = ("--rule", "a linear weight=ours:0.2,theirs:0.8", "-s", "dare density=0.5")
    fork("merge", "rte", *rules, "--seed", "5", "-m", "one")
    fork("reset", "--hard", "HEAD~1")
    fork("merge", "mnli", *rules, "--seed", "5", "-m", "two")
    direct = tree(fork)
    fork("reset", "--hard", "HEAD~1")
    fork("merge", "--recipe-from", "HEAD@{1}", "mnli", "-m", "three")
    assert tree(fork) == direct
    assert _recipe(fork)["seed"] == 5


def test_the_seed_counts_where_numbers_are_drawn(fork: Shell) -> None:
    trees = {}
    for seed in ("0", "1"):
        fork("merge", "rte", "-s", "dare density=0.5", "--seed", seed)
        trees[seed] = tree(fork)
        fork("reset", "--hard", "HEAD~1")
    fork("merge", "rte", "-s", "dare density=0.5")
    assert trees["0"] != trees["1"]
    assert tree(fork) == trees["0"]


def test_random_strategies_do_not_depend_on_who_merges_whom(fork: Shell) -> None:
    fork("merge", "rte", "-s", "dare density=0.5")
    fork("switch", "rte")
    fork("merge", "main~1", "-s", "dare density=0.5")
    assert tree(fork, "rte") == tree(fork, "main")


def test_the_log_counts_what_settled_what(fork: Shell) -> None:
    fork("merge", "rte", "-s", "average", "-m", "merged")
    assert "Recipe: 2 average, 1 theirs" in fork("log", "--recipes", "-n", "1").out
    line = fork("log", "--recipes", "--oneline", "-n", "1").out
    assert line.endswith("merged (2 average, 1 theirs)\n")
    rows = fork("log", "--recipes", "--json").json["commits"]
    assert [row["recipe"] for row in rows[:2]] == [{"average": 2, "theirs": 1}, None]
    assert "Recipe" not in fork("log").out


def test_answers_of_a_waiting_merge_are_in_its_recipe(fork: Shell) -> None:
    fork("merge", "rte", "--rule", "* theirs", "--no-commit")
    fork("commit", "-m", "merged")
    assert _recipe(fork)["rules"] == ["* theirs"]
    fork("merge", "--replay", "HEAD")


def test_a_recipe_of_version_1_stays_readable() -> None:
    text = (
        '{"base":"00","default":"average","formulas":{"average":"average/1"},"outcomes":'
        '[{"how":"average","name":"a","path":"m.pt"},{"how":"theirs","name":null,"path":"x"}],'
        '"parents":["01","02"],"rules":["b ours"],"version":1}'
    )
    recipe = read_recipe(text.encode())
    assert recipe.counts() == {"average": 1, "theirs": 1}
    assert recipe.bases == ("00",)
    assert str(recipe.method.default) == "average"
    assert not recipe.method.exact
    with pytest.raises(IntegrityError, match="the recipe is damaged"):
        read_recipe(b'{"version":2}')


def test_a_merge_by_the_rules_of_version_1_replays(fork: Shell) -> None:
    """What today's theta writes as version 2, said in the words of version 1."""
    fork("merge", "rte", "-s", "average", "--rule", "a ours")
    with fork.repo() as repo:
        recipe = repo.recipe("HEAD")
    old = {
        "version": 1,
        "parents": recipe.parents,
        "base": recipe.bases[0],
        "rules": recipe.rules,
        "default": recipe.default,
        "outcomes": [],
    }
    method = read_recipe(json.dumps(old).encode()).method
    assert (method.rules, method.default) == (recipe.method.rules, recipe.method.default)


def test_forked_is_what_it_says(model: Shell) -> None:
    forked(model, {"a": 3, "b": 4}, {"a": 5, "b": 8})
    assert model.load() == {"a": 3, "b": 4}


def test_linear_algebra_may_be_a_little_apart(fork: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose linear algebra rounds in another way."""
    from theta.merge.sources import MergedSource

    fork("merge", "rte", "-s", "iso-c")
    assert fork("merge", "--replay", "HEAD", "--json").json["same"]
    read = MergedSource.read_into

    def elsewhere(factor: float) -> None:
        def read_into(self: MergedSource, start: int, out: memoryview) -> None:
            read(self, start, out)
            np.frombuffer(out, np.float32)[:] *= np.float32(factor)

        monkeypatch.setattr(MergedSource, "read_into", read_into)

    elsewhere(1 + 5e-7)
    answer = fork("merge", "--replay", "HEAD", "--json").json
    assert (answer["same"], answer["near"], answer["exact"]) == (False, True, False)
    assert "its linear algebra is apart by" in fork("merge", "--replay", "HEAD").out
    elsewhere(1 + 1e-4)
    assert not fork("merge", "--replay", "HEAD", "--json", code=1).json["near"]
