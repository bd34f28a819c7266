"""Undo brings back refs and, where they were clean, files, after every verb that moves a ref."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import force_setattr
from safetensors.numpy import save_file

from theta.repo import Author, Details, Repo
from theta_store.db import Table
from theta_store.errors import NotFound, ThetaError, UnsavedChanges
from theta_store.store import HEAD

ADA = Author("Ada")
STEPS = ["commit", "branch", "tag", "switch -c", "switch", "reset", "reset --hard", "merge"]
STEPS += ["branch -d", "branch -m", "forget", "restore", "restore -p", "commit --branch"]
STEPS += ["commit --as", "commit --amend"]


def _write(repo: Repo, value: int) -> None:
    tensors = {"w": np.full(4, value, np.float32), "b": np.zeros(2, np.float32)}
    save_file(tensors, repo.root / "m.safetensors")


def _state(repo: Repo) -> tuple[object, ...]:
    head = repo.head
    return head, repo.store.refs.all(), (repo.root / "m.safetensors").read_bytes()


def _do(repo: Repo, step: str, number: int) -> None:
    """Carry one verb out; those that make no sense now change nothing."""
    others = sorted(set(repo.branches()) - {str(repo.head.branch).removeprefix("refs/heads/")})
    if step == "commit":
        _write(repo, number)
        repo.commit(f"c{number}", author=ADA)
    elif step == "branch":
        repo.create_branch(f"b{number}")
    elif step == "tag":
        repo.create_tag(f"t{number}")
    elif step == "switch -c":
        repo.switch(f"s{number}", create=True)
    elif step == "switch" and others:
        repo.switch(others[number % len(others)])
    elif step == "reset":
        repo.reset("HEAD~1")
    elif step == "reset --hard":
        repo.reset("HEAD~1", hard=True)
    elif step == "branch -d" and others:
        repo.delete_branch(others[number % len(others)], force=True)
    elif step == "branch -m" and others:
        repo.rename_branch(others[number % len(others)], f"m{number}")
    elif step == "forget":
        repo.forget(["HEAD~1"])
    elif step == "restore":
        repo.restore(["m.safetensors"], source="HEAD~1")
    elif step == "restore -p":
        repo.restore(["m.safetensors"], source="HEAD~1", params=["w"])
    elif step == "commit --branch":
        details = Details(branch=f"k{number}", allow_empty=True)
        repo.commit(f"c{number}", author=ADA, details=details)
    elif step == "commit --as":
        details = Details(as_name=f"as{number}")
        repo.commit(f"c{number}", author=ADA, paths=["m.safetensors"], details=details)
    elif step == "commit --amend":
        repo.commit(f"c{number}", author=ADA, details=Details(amend=True))
    elif step == "merge" and others:
        plan = repo.plan_merge(others[number % len(others)])
        repo.merge(plan, repo.merge_method(default="average"), author=ADA)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=7), st.integers(1, 50))
def test_undo_and_redo_after_every_verb(steps: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Repo.init(Path(folder)) as repo:
        _write(repo, 0)
        repo.add(["m.safetensors"])
        repo.commit("first", author=ADA)
        for number, step in enumerate(steps, seed):
            _check(repo, step, number)


def _check(repo: Repo, step: str, number: int) -> None:
    count = len(list(repo.operations()))
    before = _state(repo)
    clean = repo.status(untracked=False).clean
    if step == "commit":
        # The file is changed before the commit; undo goes back to that moment.
        _write(repo, number)
        before = _state(repo)
        clean = True
    try:
        _do(repo, step, number)
    except ThetaError:
        return
    after = _state(repo)
    if len(list(repo.operations())) == count:
        return
    repo.undo()
    assert _state(repo)[:2] == before[:2], step
    if clean:
        assert _state(repo)[2] == before[2], step
    repo.redo()
    assert _state(repo)[:2] == after[:2], step
    if clean:
        assert repo.store.refs.get(HEAD) == after[0].commit  # type: ignore[attr-defined]
        assert _state(repo)[2] == after[2], step
        repo.undo()
        assert _state(repo)[2] == before[2], step
        repo.redo()


def test_operations_say_what_they_did() -> None:
    with tempfile.TemporaryDirectory() as folder, Repo.init(Path(folder)) as repo:
        _write(repo, 0)
        repo.add(["m.safetensors"])
        repo.commit("first", author=ADA)
        repo.create_tag("v1")
        repo.undo()
        verbs = [operation.verb for operation in repo.operations()]
    assert verbs == ["undo", "tag", "commit"]


def _two_branches(repo: Repo) -> None:
    """``main`` and ``o`` changed both parameters; HEAD is on ``main``."""
    _write(repo, 0)
    repo.add(["m.safetensors"])
    repo.commit("first", author=ADA)
    for branch, value in (("o", 2), ("main", 3)):
        repo.switch(branch, create=branch == "o")
        _write(repo, value)
        repo.commit(branch, author=ADA)


def _merge(repo: Repo, *, wait: bool) -> None:
    repo.merge(repo.plan_merge("o"), repo.merge_method(default="average"), author=ADA, wait=wait)


@pytest.mark.parametrize("step", ["branch -d", "tag -d", "commit --amend", "reset --hard"])
def test_undo_never_names_a_commit_that_gc_took(repo: Repo, step: str) -> None:
    _two_branches(repo)
    if step == "branch -d":
        repo.delete_branch("o", force=True)
    elif step == "tag -d":
        repo.create_tag("t", "o")
        repo.delete_branch("o", force=True)
        repo.delete_tag("t")
    elif step == "commit --amend":
        repo.commit("again", author=ADA, details=Details(amend=True))
    else:
        repo.reset("HEAD~1", hard=True)
    repo.gc(now=True)
    before = _state(repo), len(list(repo.operations()))
    for ask in (repo.undo, repo.undo_target):
        with pytest.raises(NotFound, match=r"gc has taken .* can no longer be taken back"):
            ask()
    assert (_state(repo), len(list(repo.operations()))) == before
    assert repo.fsck() == []
    repo.gc(now=True)


def test_redo_never_names_a_commit_that_gc_took(repo: Repo) -> None:
    _two_branches(repo)
    repo.undo()
    repo.gc(now=True)
    before = _state(repo)
    for ask in (repo.redo, repo.redo_target):
        with pytest.raises(NotFound, match=r"gc has taken .* can no longer be brought again"):
            ask()
    assert _state(repo) == before
    assert repo.fsck() == []


def test_nothing_moves_head_while_a_merge_waits(repo: Repo) -> None:
    _two_branches(repo)
    repo.reset("HEAD~1")
    repo.undo()
    _merge(repo, wait=True)
    before = _state(repo)
    moves: list[Callable[[], object]] = [repo.undo, repo.redo, repo.undo_target, repo.redo_target]
    for move in (*moves, partial(repo.reset, "HEAD~1"), partial(repo.switch, "o")):
        with pytest.raises(UnsavedChanges, match="the merge of o waits for its commit"):
            move()
        assert _state(repo) == before
    assert repo.commit("merged", author=ADA).commit.parents == (
        repo.resolve("HEAD~1"),
        repo.resolve("o"),
    )


def test_a_merge_that_waited_says_that_it_waits_no_more(repo: Repo) -> None:
    _two_branches(repo)
    _merge(repo, wait=True)
    merged = repo.commit("merged", author=ADA).commit
    (told,) = repo.undo().notices
    assert "the merge of o is no longer pending" in told
    repo.redo()
    better = repo.commit("better", author=ADA, details=Details(amend=True)).commit
    assert (better.parents, better.recipe) == (merged.parents, merged.recipe)
    for again in (True, False):
        assert repo.undo().notices == (), "an amendment taken back is a merge still"
        if again:
            repo.redo()
    assert repo.undo().notices == (told,)
    repo.restore(["m.safetensors"])
    _merge(repo, wait=False)
    assert repo.undo().notices == (), "its files went back as well"


def test_abort_leaves_what_the_merge_did_not_bring(repo: Repo) -> None:
    _write(repo, 0)
    repo.add(["."])
    repo.commit("first", author=ADA)
    repo.switch("o", create=True)
    (repo.root / "theirs.txt").write_text("theirs")
    _write(repo, 2)
    repo.commit("o", author=ADA)
    repo.switch("main")
    _write(repo, 3)
    repo.commit("main", author=ADA)
    before = _state(repo)
    _merge(repo, wait=True)
    assert (repo.root / "theirs.txt").exists()
    (repo.root / "results.json").write_text("{}")
    repo.abort_merge()
    assert _state(repo) == before
    assert (repo.root / "results.json").read_text() == "{}"
    assert not (repo.root / "theirs.txt").exists()
    repo.undo()
    assert (repo.root / "theirs.txt").exists(), "undo brings back what abort removed"
    assert (repo.root / "results.json").exists()


def _rot(repo: Repo, id_: bytes) -> None:
    with repo.store._meta.write() as writer:
        old = bytes(writer.get(Table.RECORDS, id_) or b"")
        writer.put(Table.RECORDS, id_, old[:-1] + bytes([old[-1] ^ 1]))


@pytest.fixture
def begun(repo: Repo) -> Repo:
    _write(repo, 1)
    repo.add(["m.safetensors"])
    repo.commit("first", author=ADA)
    return repo


def test_undo_leads_off_a_damaged_commit_once(begun: Repo) -> None:
    repo, first = begun, begun.head.commit
    _write(repo, 2)
    _rot(repo, repo.commit("second", author=ADA).id)
    repo.undo()
    assert repo.head.commit == first


def test_reset_hard_leads_off_a_damaged_commit_or_model(begun: Repo) -> None:
    repo, first = begun, begun.head.commit
    assert first is not None
    _write(repo, 2)
    second = repo.commit("second", author=ADA).id
    entry = repo.entries(second)["m.safetensors"]
    for broken in (entry.id, second):
        repo.reset(second.hex())
        _rot(repo, broken)
        repo.reset(first.hex(), hard=True)
        assert repo.head.commit == first
        _rot(repo, broken)


def test_a_commit_with_a_metric_of_old_can_be_amended(begun: Repo) -> None:
    repo = begun
    force_setattr(details := Details(metrics={"loss": 1.0}), "metrics", {"loss": float("inf")})
    _write(repo, 2)
    repo.commit("second", author=ADA, details=details)
    amended = repo.commit("better words", author=ADA, details=Details(amend=True))
    assert amended.commit.metrics == {"loss": float("inf")}
