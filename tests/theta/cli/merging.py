"""Repositories with something to merge, for the tests of ``theta merge``."""

import numpy as np

from tests.theta.cli.conftest import Shell
from theta.diff import build_tree
from theta_store.ids import CommitId, TreeId
from theta_store.records import Commit
from theta_store.store import Operation, RefChange


def branch(shell: Shell, name: str, start: str, **values: float | np.ndarray) -> str:
    """Make a branch with one commit of the model, and go back to main."""
    shell("switch", "-c", name, start)
    id_ = shell.commit(name, **values)
    shell("switch", "main")
    return id_


def forked(shell: Shell, ours: dict[str, float], theirs: dict[str, float]) -> Shell:
    """Let main and ``rte`` part from the commit that is there."""
    branch(shell, "rte", "main", **theirs)
    shell.commit("ours", **ours)
    return shell


def tree(shell: Shell, revision: str = "HEAD") -> str:
    """Return the id of a commit's tree."""
    with shell.repo() as repo:
        return repo.store.commit(repo.resolve(revision)).tree.hex()


def orphan(shell: Shell, name: str, **values: float | np.ndarray) -> None:
    """Move the branch that is checked out to a commit of the model that has no parents."""
    shell.commit(name, **values)
    with shell.repo() as repo, repo.store.session() as session:
        tip = repo.head.commit
        assert tip is not None
        tree_id = build_tree(repo.entries(tip), lambda t: TreeId(session.put_record(t)))
        id_ = CommitId(session.put_record(Commit(tree_id, (), "x", 0, 0, "orphan")))
        change = RefChange(f"refs/heads/{name}", tip, id_)
        session.publish(Operation(0, 0, "commit", "orphan", (change,)), commits=[id_])
