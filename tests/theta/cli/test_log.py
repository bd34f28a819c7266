"""``theta log``: which commits are shown, counted and drawn, and metrics as columns."""

import json
import re

import pytest

from tests.theta.cli.conftest import Shell


def _subjects(shell: Shell, *words: str) -> list[str]:
    return [c["message"] for c in shell("log", "--json", *words).json["commits"]]


@pytest.fixture
def history(shell: Shell) -> Shell:
    """main: first, both, only-b, note; ``other`` from first: theirs; then a merge."""
    shell.save(enc__w=1, enc__b=1, head__w=1)
    shell("add", ".")
    shell.commit("first")
    shell("switch", "-c", "other")
    shell.commit("theirs", enc__w=1, enc__b=1, head__w=5)
    shell("switch", "main")
    shell.commit("both", enc__w=2, enc__b=2, head__w=1)
    shell.commit("only-b", enc__w=2, enc__b=3, head__w=1)
    (shell.folder / "note.txt").write_text("x")
    shell.commit("note")
    shell("merge", "other", "-m", "merged")
    return shell


def test_only_commits_that_changed_matching_parameters(history: Shell) -> None:
    assert _subjects(history, "-p", "enc.w") == ["both", "first"]
    assert _subjects(history, "-p", "enc.*") == ["only-b", "both", "first"]
    assert _subjects(history, "-p", "enc.w", "-p", "head.*") == ["both", "theirs", "first"]
    assert _subjects(history, "-p", "nope") == []


def test_a_merge_shows_only_what_it_settled_itself(history: Shell) -> None:
    assert "merged" not in _subjects(history, "-p", "*")
    history("switch", "other")
    history.commit("again", enc__w=9, enc__b=1, head__w=5)
    history("merge", "main", "-s", "average", "-m", "averaged")
    assert _subjects(history, "-p", "enc.w")[0] == "averaged"
    assert "averaged" not in _subjects(history, "-p", "enc.b")


def test_only_commits_that_changed_files(history: Shell) -> None:
    assert _subjects(history, "--", "note.txt") == ["note"]
    assert _subjects(history, "-p", "enc.w", "--", "note.txt") == []
    # The merged file is neither parent's.
    assert _subjects(history, "--", "m.*") == ["merged", "only-b", "both", "theirs", "first"]
    (history.folder / "sub").mkdir()
    history.save("sub/n.safetensors", w=1)
    history.commit("sub")
    assert _subjects(history, "--", "sub") == ["sub"]
    assert _subjects(history, "--", "never-there") == []
    history("log", "--", "../outside", code=9)


def test_count_counts_shown_commits(history: Shell) -> None:
    assert _subjects(history, "-n", "2", "-p", "enc.*") == ["only-b", "both"]
    assert _subjects(history, "-n", "2", "--", "m.safetensors") == ["merged", "only-b"]
    assert _subjects(history, "other..main", "-n", "9", "-p", "enc.w") == ["both"]
    assert _subjects(history, "-n", "0") == []


def test_a_removed_and_renamed_file_changes_its_parameters(history: Shell) -> None:
    (history.folder / "m.safetensors").rename(history.folder / "n.safetensors")
    history.commit("renamed")
    assert _subjects(history, "-p", "enc.w")[0] == "renamed"


def test_tied_names_are_found_under_each_name(shell: Shell) -> None:
    import torch

    def save(value: float) -> None:
        one = torch.full((3,), value)
        torch.save({"embed": one, "head": one}, shell.folder / "t.pt")

    save(1)
    shell("add", "t.pt")
    shell.commit("one")
    save(2)
    shell.commit("two")
    assert _subjects(shell, "-p", "head") == ["two", "one"]
    assert _subjects(shell, "-p", "embed") == ["two", "one"]


def test_commits_whose_files_were_given_up_are_passed_over(history: Shell) -> None:
    history("forget", "HEAD~3")
    history("gc", "--now")
    assert _subjects(history, "-p", "enc.*") == ["first"]
    assert len(_subjects(history)) == 6


def test_metrics_are_columns_with_a_heading(shell: Shell) -> None:
    shell.save(a=1)
    shell("add", "m.safetensors")
    shell.commit("one", "--metric", "loss=2.5", "--metric", "a_long_metric=1")
    shell.commit("two", "--metric", "loss=nan", a=2)
    shell.commit("three", "--metric", "loss=0.125", a=3)
    lines = shell("log", "--metric", "loss", "--metric", "a_long_metric").out.splitlines()
    assert lines[0].split() == ["commit", "loss", "a_long_metric", "subject"]
    end = lines[0].index("loss") + len("loss")
    cells = [line[:end].split()[-1] for line in lines[1:]]
    assert cells == ["0.125", "nan", "2.5"]
    assert lines[1].endswith("(HEAD -> main) three")
    assert lines[1].split()[2] == "-"
    assert "2.5" in shell("log", "--graph", "--metric", "loss").out.splitlines()[-1]


def test_the_graph_of_some_commits_joins_the_nearest(history: Shell) -> None:
    out = history("log", "--graph", "-p", "enc.w", "-p", "head.*").out
    rows = [line for line in out.splitlines() if "*" in line]
    assert [row.split()[-1] for row in rows] == ["both", "theirs", "first"]
    assert rows[0].startswith("* ")
    assert rows[1].startswith("| *")


def test_json_is_one_object(history: Shell) -> None:
    answer = json.loads(history("log", "--json", "-n", "1").out)
    assert answer["schema"] == "theta.log/1"
    assert len(answer["commits"][0]["parents"]) == 2


def test_json_has_no_nan(shell: Shell) -> None:
    shell.save(a=1)
    shell("add", "m.safetensors")
    shell.commit("one", "--metric", "loss=nan", "--metric", "acc=0.5")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for verb in ("log", "show"):
        answer = json.loads(shell(verb, "--json").out, parse_constant=refuse)
        commit = answer["commits"][0] if verb == "log" else answer
        assert commit["metrics"] == {"loss": None, "acc": 0.5}


def test_one_name_is_a_list_of_one(history: Shell) -> None:
    with history.repo() as repo:
        assert list(repo.log("main")) == list(repo.log(["main"]))
        assert list(repo.log("main", touching="enc.w")) == list(repo.log(touching=["enc.w"]))
        assert list(repo.log(paths="m.safetensors")) == list(repo.log(paths=["m.safetensors"]))


def test_all_is_every_branch_and_tag(history: Shell) -> None:
    history("switch", "-c", "aside", "HEAD~1")
    history.commit("on a branch", enc__w=9, enc__b=9, head__w=9)
    history("tag", "kept")
    history("switch", "main")
    history("branch", "-D", "aside")
    assert "on a branch" not in _subjects(history)
    assert set(_subjects(history, "--all")) == {*_subjects(history), "on a branch"}
    rows = history("log", "--all", "--graph").out.splitlines()
    assert sum("*" in row for row in rows) == 7
    assert any("(kept)" in row for row in rows)


def test_all_of_an_empty_repository_has_no_commit(shell: Shell) -> None:
    assert "no commit yet" in shell("log", "--all", code=4).err


def test_lines_to_commits_that_were_not_asked_for_go_on(history: Shell) -> None:
    def drawn(*words: str) -> list[str]:
        rows = history("log", "--graph", *words).out.splitlines()
        return [re.match(r"[*|/\\ ]*", row)[0].rstrip() for row in rows]  # type: ignore[index]

    whole = drawn()
    assert whole == ["*", "|\\", "* |", "* |", "* |", "| *", "|/", "*"]
    # As many rows as fit are the same, whatever is cut off below.
    for count, rows in ((1, 2), (2, 3), (3, 4), (4, 5), (5, 7)):
        assert drawn("-n", str(count)) == whole[:rows]
