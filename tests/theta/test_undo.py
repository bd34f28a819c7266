"""Undo brings back refs and, where they were clean, files, after every verb that moves a ref."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from theta.repo import Author, Details, Repo
from theta_store.errors import ThetaError
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
