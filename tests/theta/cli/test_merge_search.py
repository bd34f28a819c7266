"""``theta merge --eval CMD --search …``: trials elsewhere, a table, and the best one committed."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import forked, tree

# Scores by how near the first parameter is to 5: a merge of 3 and 9 over 1 is 1 + 10 λ.
SCORE = """
import sys
from safetensors.numpy import load_file
print("read", sys.argv[1])
print(-abs(float(load_file(sys.argv[1] + "/m.safetensors")["a"][0]) - 5))
"""
SEARCH = ("merge", "rte", "-s", "task-arithmetic")


@pytest.fixture
def two(model: Shell) -> Shell:
    return forked(model, {"a": 3, "b": 2}, {"a": 9, "b": 4})


@pytest.fixture
def score(tmp_path: Path) -> str:
    script = tmp_path / "score.py"
    script.write_text(SCORE)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"


def test_the_best_trial_is_committed_and_can_be_replayed(two: Shell, score: str) -> None:
    answer = two(*SEARCH, "--search", "lambda=0.1..0.9:5", "--eval", score + " {}")
    rows = [line.split() for line in answer.out.splitlines()[:6]]
    assert rows[0] == ["lambda", "score"]
    assert [row[-2] for row in rows[1:]] == ["0.1", "0.3", "0.5", "0.7", "0.9"]
    assert [row[0] for row in rows[1:]].count("*") == 1
    assert rows[3][0] != "*"
    assert two.load() == pytest.approx({"a": 4, "b": 4})
    with two.repo() as repo:
        (group,) = repo.recipe("HEAD").groups
        assert group.parameters["lambda"] == 0.3
    assert "the same tree" in two("merge", "--replay", "HEAD").out
    two("undo")
    assert two.load() == {"a": 3, "b": 2}


def test_each_trial_is_what_a_merge_of_its_own_gives(two: Shell, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    command = (
        f'cp {{}}/m.safetensors {kept}/$(ls {kept} | wc -l); test {{}} = "$THETA_TRIAL" && echo 1'
    )
    before = two("op", "log").out
    answer = two(*SEARCH, "--search", "lambda=0.2,0.8", "--eval", command, "--json").json
    assert [trial["best"] for trial in answer["trials"]] == [True, False]
    assert [trial["values"] for trial in answer["trials"]] == [{"lambda": "0.2"}, {"lambda": "0.8"}]
    best = tree(two)
    two("undo")
    assert len(two("op", "log").out.splitlines()) == len(before.splitlines()) + 2
    for number, value in enumerate(("0.2", "0.8")):
        two("merge", "rte", "-s", f"task-arithmetic lambda={value}")
        assert (two.folder / "m.safetensors").read_bytes() == (kept / str(number)).read_bytes()
        assert (tree(two) == best) == (number == 0)
        two("undo")


def test_less_may_be_better(two: Shell, score: str) -> None:
    two(*SEARCH, "--search", "lambda=0.3,0.9", "--eval", score + ' "$THETA_TRIAL"', "--lower")
    assert two.load()["a"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo nonsense", "no number"),
        ("true", "no number"),
        ("echo nan", "no number"),
        ("echo why >&2; exit 3", "ended with 3"),
    ],
)
def test_a_command_that_does_not_score_ends_the_search(two: Shell, command: str, told: str) -> None:
    before = tree(two)
    refused = two(*SEARCH, "--search", "lambda=0.1,1", "--eval", command, code=2).err
    assert told in refused
    assert "nothing was written" in refused
    assert (tree(two), two.load()) == (before, {"a": 3, "b": 2})


@pytest.mark.parametrize(
    "words",
    [("--search", "lambda=1,2"), ("--eval", "echo 1"), ("--search", "x=1,2", "--eval", "y")],
)
def test_half_a_search_is_refused(two: Shell, words: tuple[str, ...]) -> None:
    assert "--search" in two(*SEARCH, *words, code=2).err


def test_conflicts_of_all_trials_are_listed(two: Shell) -> None:
    rules = ("--rule", "a task-arithmetic")
    answer = two(
        *("merge", "rte", *rules, "--no-exact", "--search", "lambda=1,2", "--eval", "echo 1"),
        code=0,
    )
    assert answer.out.count("conflicts") == 0
    two("undo")
    model = two
    model.commit("more", a=3, b=7)
    answer = model(
        *("merge", "rte", *rules, "--no-exact", "--search", "lambda=1,2", "--eval", "echo 1"),
        code=1,
    )
    assert answer.out.count("conflicts") == 2
    assert "m.safetensors::b" in answer.out


def test_where_nothing_is_open_the_merge_goes_on(model: Shell) -> None:
    forked(model, {"a": 3, "b": 2}, {"a": 1, "b": 4})
    told = model(*SEARCH, "--search", "lambda=1,2", "--eval", "false")
    assert "nothing to search" in told.err
    assert model.load() == {"a": 3, "b": 4}
