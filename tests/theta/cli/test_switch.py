"""``theta switch``, ``branch`` and ``show``: what they take for a name, and what they say."""

import json

import pytest

from tests.theta.cli.conftest import Shell


def _at(shell: Shell) -> str | None:
    branch: str | None = shell("status", "--json").json["branch"]
    return branch


@pytest.mark.parametrize("verb", ["switch", "checkout"])
def test_a_dash_is_the_branch_before(model: Shell, verb: str) -> None:
    model("switch", "-c", "rte")
    model.commit("more", a=3)
    model(verb, "-")
    assert (_at(model), model.load()["a"]) == ("main", 1)
    model(verb, "-")
    assert (_at(model), model.load()["a"]) == ("rte", 3)


def test_a_dash_is_the_commit_before_where_there_was_no_branch(model: Shell) -> None:
    model.commit("second", a=2)
    model("switch", "--detach", "HEAD~1")
    model.commit("aside", a=9)
    model("switch", "-")
    assert _at(model) == "main"
    model("switch", "-")
    assert (_at(model), model.load()["a"]) == (None, 9)


def test_a_dash_passes_over_branches_that_are_gone(model: Shell) -> None:
    for name in ("rte", "cb"):
        model("switch", "-c", name)
    model("switch", "main")
    model("branch", "-D", "cb")
    model("switch", "-")
    assert _at(model) == "rte"


def test_a_dash_in_a_fresh_repository_is_nowhere(model: Shell) -> None:
    assert "nowhere else" in model("switch", "-", code=4).err


def test_a_slip_in_a_branch_is_answered_with_a_guess(model: Shell) -> None:
    assert "did you mean main?" in model("switch", "mian", code=4).err
    assert "did you mean main?" in model("branch", "-d", "mian", code=4).err


def test_branches_are_listed_as_in_git(model: Shell) -> None:
    model("branch", "rte")
    listed = model("branch").out
    for option in ("-a", "--all", "--list", "-l"):
        assert model("branch", option).out == listed
    assert [b["name"] for b in model("branch", "--list", "r*", "--json").json["branches"]] == [
        "rte"
    ]
    assert len(model("branch").out.splitlines()) == 2


def test_show_says_what_log_says(model: Shell) -> None:
    options = ("--step", "7", "--metric", "loss=2.5", "--meta", "run=x")
    model.commit("second", *options, a=3, b=4)
    out = model("show").out
    for line in ("Step:   7", "Metric: loss = 2.5", "Meta:   run = x"):
        assert line in out.splitlines()
        assert line in model("log").out.splitlines()
    assert out.splitlines()[-1] == "  changed  m.safetensors  (2 parameters)"


def test_show_names_the_parents_of_a_merge(model: Shell) -> None:
    model("switch", "-c", "rte")
    theirs = model.commit("theirs", a=3, b=2)
    model("switch", "main")
    ours = model.commit("ours", a=1, b=5)
    model("merge", "rte", "-m", "merged")
    assert f"Merge:  {ours[:10]} {theirs[:10]}" in model("show").out


def test_show_counts_parameters_and_values(model: Shell) -> None:
    assert "  2 parameters of 8 values" in model("show", "HEAD:m.safetensors").out
    answer = model("show", "HEAD:m.safetensors", "--json").json
    assert (answer["params"], answer["values"]) == (2, 8)
    (model.folder / "a.json").write_text(json.dumps({}))
    model("add", "a.json")
    model.commit("plain")
    answer = model("show", "HEAD:a.json", "--json").json
    assert (answer["params"], answer["values"]) == (None, None)
    assert "parameter" not in model("show", "HEAD:a.json").out
