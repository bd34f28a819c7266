"""``theta du``: the whole store, and who takes how much of it."""

from typing import Any

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell

SIZE = 40_000


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, SIZE // 4, np.uint32)


def _du(shell: Shell, *words: str) -> Any:
    answer = shell("du", "--json", *words).json
    assert answer["schema"] == "theta.du/1"
    return answer


def _rows(shell: Shell, *words: str, key: str) -> dict[str | None, tuple[int, int]]:
    """Return exclusive and shared bytes in units of a whole tensor."""
    rows = _du(shell, *words)["rows"]
    return {
        row[key]: (round(row["exclusive_bytes"] / SIZE), round(row["shared_bytes"] / SIZE))
        for row in rows
    }


@pytest.fixture
def history(shell: Shell) -> Shell:
    """main: first, second; side: a third on first. ``a`` changes each time, ``b`` never."""
    shell.save(a=_noise(0), b=_noise(9))
    shell("add", "m.safetensors")
    shell.commit("first")
    shell("branch", "side")
    shell.commit("second", a=_noise(1), b=_noise(9))
    shell("switch", "side")
    shell.commit("third", a=_noise(2), b=_noise(9))
    shell("switch", "main")
    return shell


def _commits(shell: Shell) -> dict[str, str]:
    commits = shell("log", "main", "side", "--json").json["commits"]
    return {commit["message"]: commit["commit"] for commit in commits}


def test_the_whole_repository(model: Shell) -> None:
    answer = _du(model)
    assert set(answer) == {
        *("schema", "stored_bytes", "logical_bytes", "disk_bytes", "chunks", "records")
    }
    assert answer["disk_bytes"] >= answer["stored_bytes"] > 0
    lines = model("du").out.splitlines()
    assert [line.strip().split("  ", 1)[1] for line in lines] == [
        "stored (forms and records)",
        "3 distinct chunks, plain",
        "on disk",
    ]


def test_by_commit(history: Shell) -> None:
    names = _commits(history)
    found = _rows(history, "--by", "commit", key="commit")
    assert found == {names[name]: (1, 1) for name in ("first", "second", "third")}
    assert set(_rows(history, "--by", "commit", "main", key="commit")) == {
        names["first"],
        names["second"],
    }
    assert set(_rows(history, "--by", "commit", "main..side", key="commit")) == {names["third"]}
    out = history("du", "--by", "commit").out.splitlines()
    assert out[0].split() == ["exclusive", "shared", "commit"]
    assert any("(HEAD -> main) second" in line for line in out)


def test_by_branch(history: Shell) -> None:
    assert _rows(history, "--by", "branch", key="branch") == {"main": (1, 2), "side": (1, 2)}
    out = history("du").out
    assert "stored (forms and records)" in out
    assert [line.split()[-1] for line in out.splitlines()[-2:]] == ["main", "side"]
    history("tag", "v1", "main")
    history("branch", "-D", "side")
    history("reset", "main~1")
    found = _rows(history, "--by", "branch", key="branch")
    assert found == {"main": (0, 2), None: (1, 2)}, "the tag alone reaches the second commit"


def test_by_file_and_by_parameter(history: Shell) -> None:
    history.save("extra.safetensors", b=_noise(9), c=_noise(5))
    history("add", "extra.safetensors")
    history("commit", "-m", "extra")
    assert _rows(history, "--by", "file", key="path") == {
        "m.safetensors": (3, 1),
        "extra.safetensors": (1, 1),
        None: (0, 0),
    }
    rows = _du(history, "--by", "param")["rows"]
    found = {
        (row["path"], row["name"]): (
            round(row["exclusive_bytes"] / SIZE),
            round(row["shared_bytes"] / SIZE),
        )
        for row in rows
    }
    assert found == {
        ("m.safetensors", "a"): (3, 0),
        ("m.safetensors", "b"): (0, 1),
        ("m.safetensors", None): (0, 0),
        ("extra.safetensors", "b"): (0, 1),
        ("extra.safetensors", "c"): (1, 0),
        ("extra.safetensors", None): (0, 0),
        (None, None): (0, 0),
    }
    assert rows[0]["name"] == "a", "the largest comes first"


def test_of_one_revision_what_others_have_is_shared(history: Shell) -> None:
    assert _rows(history, "--by", "param", "main", key="name") == {
        "a": (1, 0),
        "b": (0, 1),
        None: (0, 0),
    }
    assert _rows(history, "--by", "file", "main~1", key="path") == {
        "m.safetensors": (1, 1),
        None: (0, 0),
    }


def test_rows_are_selected(history: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    history.save("sub/extra.safetensors", c=_noise(5))
    history("add", "sub")
    history("commit", "-m", "extra")
    assert set(_rows(history, "--by", "param", "-p", "[bc]", key="name")) == {"b", "c"}
    assert set(_rows(history, "--by", "file", "--", "sub", key="path")) == {"sub/extra.safetensors"}
    monkeypatch.chdir(history.folder / "sub")
    assert set(_rows(history, "--by", "file", "--", "extra.safetensors", key="path")) == {
        "sub/extra.safetensors"
    }


def test_sums_add_up_to_what_refs_reach(history: Shell) -> None:
    history("gc", "--now")
    stored = _du(history)["stored_bytes"]
    for by in ("branch", "commit", "file", "param"):
        answer = _du(history, "--by", by)
        exclusive = sum(row["exclusive_bytes"] for row in answer["rows"])
        assert exclusive + answer["shared_bytes"] == answer["reachable_bytes"] == stored


def test_an_expired_commit_is_no_owner(history: Shell) -> None:
    history("forget", "main~1")
    names = _commits(history)
    found = _rows(history, "--by", "commit", key="commit")
    assert found == {names["second"]: (1, 1), names["third"]: (1, 1)}
    assert "given up" in history("du", "--by", "file", "main~1", code=4).err


def test_deleting_a_branch_frees_its_exclusive_bytes(history: Shell) -> None:
    before = _du(history)["stored_bytes"]
    rows = {row["branch"]: row["exclusive_bytes"] for row in _du(history, "--by", "branch")["rows"]}
    history("branch", "-D", "side")
    history("gc", "--now")
    assert before - _du(history)["stored_bytes"] == rows["side"]


@pytest.mark.parametrize(
    "words",
    [
        ("HEAD",),
        ("-p", "a"),
        ("--by", "shape"),
        ("--by", "branch", "main"),
        ("--by", "commit", "-p", "a"),
        ("--by", "file", "-p", "a"),
        ("--", "m.safetensors"),
        ("--by", "branch", "--", "m.safetensors"),
    ],
)
def test_questions_that_make_no_sense(model: Shell, words: tuple[str, ...]) -> None:
    model("du", *words, code=2)


def test_an_empty_repository(shell: Shell) -> None:
    assert _du(shell)["stored_bytes"] == 0
    assert _du(shell, "--by", "commit")["rows"] == []
    assert shell("du").code == 0
