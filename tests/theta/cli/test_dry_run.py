"""``--dry-run`` on everything that deletes or moves refs, and the way back that each one names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.theta.cli.conftest import Shell
from theta.cli import build


@pytest.fixture
def two(model: Shell) -> Shell:
    """Branches main (a = 1) and other (a = 10, and a note); HEAD is on main."""
    model("switch", "-c", "other")
    (model.folder / "note.txt").write_text("x")
    model("add", "note.txt")
    model.commit("theirs", a=10, b=2)
    model("switch", "main")
    model("tag", "v1")
    return model


def _state(shell: Shell) -> tuple[object, ...]:
    with shell.repo() as repo:
        files = {p: p.read_bytes() for p in shell.folder.iterdir() if p.is_file()}
        tracking = (shell.folder / ".theta" / "workspace.json").read_text()
        operations = len(list(repo.operations()))
        return repo.head, repo.store.refs.all(), files, tracking, operations, repo.sizes()


MOVES = [
    ("branch new", "would put new at"),
    ("branch -f other main", "would put other at"),
    ("branch -D other", "would delete other"),
    ("branch -m other better", "would call other better"),
    ("tag v2", "would put v2 at"),
    ("tag -f v1 other", "would put v1 at"),
    ("tag -d v1", "would delete v1"),
    ("switch other", "would write m.safetensors\nwould write note.txt\n"),
    ("switch -c third", "would be on third at"),
    ("switch --detach other", "would be on detached at"),
    ("checkout other", "would be on other at"),
    ("checkout -b third", "would be on third at"),
    ("reset other", "would be on main at"),
    ("reset --hard other", "would write m.safetensors\n"),
    ("cherry-pick other", "1 parameter and 1 file changed only by other: taken"),
]
OTHERS = [
    ("rm m.safetensors", "would untrack m.safetensors\n"),
    ("rm --delete m.safetensors", "would delete and untrack m.safetensors\n"),
    ("restore --source other m.safetensors", "would restore m.safetensors\n"),
    ("gc --now", "would be removed"),
    ("undo", "undo would take back"),
]


@pytest.mark.parametrize(("line", "told"), [*MOVES, *OTHERS])
def test_a_dry_run_says_it_and_changes_nothing(two: Shell, line: str, told: str) -> None:
    before = _state(two)
    answer = two(*line.split(), "--dry-run")
    assert told in answer.out
    assert answer.err == ""
    assert _state(two) == before


@pytest.mark.parametrize(("line", "_"), MOVES)
def test_what_moves_a_ref_says_how_to_undo_it(two: Shell, line: str, _: str) -> None:
    before = _state(two)
    told = two(*line.split()).err
    assert "theta undo" in told
    assert "theta redo" in two("undo").err
    assert _state(two)[:3] == before[:3]
    assert "theta undo" in two("redo").err


def test_a_dry_run_fails_where_the_real_one_would(two: Shell) -> None:
    for line, code in [
        ("branch other", 2),
        ("branch -d other", 9),
        ("branch -d nope", 4),
        ("branch -d main", 2),
        ("tag v1", 2),
        ("tag -d nope", 4),
        ("switch nope", 4),
        ("switch -c bad..name", 2),
        ("rm nope", 4),
        ("reset nope", 4),
        ("forget other", 9),
        ("redo", 4),
    ]:
        two(*line.split(), "--dry-run", code=code)
    two.save(a=5, b=5)
    assert "would be overwritten" in two("switch", "other", "--dry-run", code=9).err
    out = two("switch", "-f", "other", "--dry-run").out
    assert "would write m.safetensors" in out
    two("rm", "--delete", "m.safetensors", "--dry-run", code=9)
    assert two.load() == {"a": 5, "b": 5}


def test_undo_redo_and_forget_answer_in_json(two: Shell) -> None:
    before = _state(two)
    first = two("log", "--json").json["commits"][-1]["commit"]
    assert two("forget", "HEAD", "--dry-run", "--json", code=9).json["kind"] == "unsaved-changes"
    would = two("undo", "--dry-run", "--json").json
    assert would["schema"] == "theta.undo/1"
    assert would["dry_run"]
    assert would["operation"]["verb"] == "tag"
    assert _state(two) == before
    done = two("undo", "--json").json
    assert done["operation"] == would["operation"]
    assert not done["dry_run"]
    would = two("redo", "--dry-run", "--json").json
    assert would["dry_run"]
    two("redo")
    two.commit("more", a=3, b=4)
    two("branch", "-D", "other")
    two("tag", "-d", "v1")
    before = _state(two)
    assert two("forget", first, "--dry-run").out.startswith(first[:10])
    assert _state(two) == before
    would = two("forget", first, "--dry-run", "--json").json
    assert would == {"schema": "theta.forget/1", "commits": [first], "dry_run": True}
    assert two("forget", first, "--json").json == {**would, "dry_run": False}


def test_switching_back_would_remove_files(two: Shell) -> None:
    two("switch", "other")
    assert "would remove note.txt" in two("switch", "main", "--dry-run").out
    answer = two("switch", "main", "--dry-run", "--json").json
    assert answer["dry_run"]
    assert answer["branch"] == "main"
    assert answer["files"] == ["m.safetensors"]


def test_every_verb_that_moves_or_deletes_has_the_option() -> None:
    for verb in ("branch", "tag", "switch", "checkout", "reset", "restore", "rm", "gc", "forget"):
        names = {word for param in build(verb).commands[verb].params for word in param.opts}
        assert "--dry-run" in names, verb


def test_reset_hard_brings_back_changed_and_deleted_files(two: Shell) -> None:
    two.save(a=7, b=7)
    out = two("reset", "--hard", "--dry-run").out
    assert "would write m.safetensors" in out
    two("reset", "--hard")
    assert two.load() == {"a": 1, "b": 2}
    two("undo")
    assert two.load() == {"a": 7, "b": 7}
    (two.folder / "m.safetensors").unlink()
    two("reset", "--hard")
    assert two.load() == {"a": 1, "b": 2}


def test_reset_hard_leaves_what_was_never_checked_out(two: Shell) -> None:
    two.save("ck/w.safetensors", w=1)
    two("commit", "ck", "--as", "model", "-m", "as")
    two("reset", "--hard")
    assert not (two.folder / "model").exists()
    assert two("status", "--json").json["clean"]


@pytest.fixture
def sharded(model: Shell) -> Callable[[float], None]:
    def save(value: float) -> None:
        model.save("big/s1.safetensors", a=value)
        model.save("big/s2.safetensors", b=value)

    index = '{"metadata": {}, "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}'
    save(1)
    (model.folder / "big" / "m.safetensors.index.json").write_text(index)
    model("add", "big")
    model.commit("sharded")
    return save


def test_rm_delete_spares_a_changed_shard(model: Shell, sharded: Callable[[float], None]) -> None:
    sharded(2)
    model("rm", "--delete", "big/s1.safetensors", code=9)
    assert model.load("big/s1.safetensors") == {"a": 2}
    sharded(1)
    model("rm", "--delete", "big")
    assert not Path("big").exists() or not list(Path("big").iterdir())


def test_rm_delete_spares_a_file_that_was_untracked_and_changed(model: Shell) -> None:
    model("rm", "m.safetensors")
    model.save(a=9, b=9)
    model("rm", "--delete", "m.safetensors", code=9)
    assert model.load() == {"a": 9, "b": 9}


def test_a_dry_run_counts_the_parameters_of_a_model_taken_whole(model: Shell) -> None:
    model("switch", "-c", "other")
    model.commit("theirs", a=5, b=6)
    (model.folder / "note.txt").write_text("x")
    model("add", "note.txt")
    model.commit("a note")
    model("switch", "main")
    (model.folder / "own.txt").write_text("x")
    model("add", "own.txt")
    model.commit("ours")
    told = "2 parameters and 1 file changed only by other: taken\n"
    assert model("merge", "other", "--dry-run").out == told
    model("switch", "other")
    told = model("revert", "HEAD~1", "--dry-run").out
    assert told.startswith("2 parameters changed only by ")
