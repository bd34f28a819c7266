"""Repositories with something to merge, for the tests of ``theta merge``."""

import numpy as np

from tests.theta.cli.conftest import Shell


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
