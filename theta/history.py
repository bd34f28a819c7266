"""The graph of commits: who comes before whom.

Owns walks over parents: ancestors in order, ranges, merge bases. Must not know trees or values.
All walks are iterative and read each commit once.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Protocol

from theta_store.ids import CommitId
from theta_store.records import Commit


class CommitReader(Protocol):
    """Where commits are read."""

    def commit(self, id_: CommitId) -> Commit:
        """Return a commit's record."""


def reachable(store: CommitReader, tips: Iterable[CommitId]) -> dict[CommitId, Commit]:
    """Return the tips and all their ancestors."""
    found: dict[CommitId, Commit] = {}
    stack = list(tips)
    while stack:
        id_ = stack.pop()
        if id_ not in found:
            found[id_] = store.commit(id_)
            stack += found[id_].parents
    return found


def ancestors(
    store: CommitReader, tips: Iterable[CommitId], *, without: Iterable[CommitId] = ()
) -> Iterator[tuple[CommitId, Commit]]:
    """Yield the tips and their ancestors, children before parents, else newest first.

    ``without`` and what they descend from are left out (``A..B`` is tips B without A).
    """
    hidden = reachable(store, without)
    commits = {i: c for i, c in reachable(store, tips).items() if i not in hidden}
    waiting = dict.fromkeys(commits, 0)
    for commit in commits.values():
        for parent in commit.parents:
            if parent in waiting:
                waiting[parent] += 1
    ready = [_newest_first(i, commits[i]) for i, count in waiting.items() if not count]
    heapq.heapify(ready)
    while ready:
        *_, id_ = heapq.heappop(ready)
        yield id_, commits[id_]
        for parent in commits[id_].parents:
            if parent in waiting:
                waiting[parent] -= 1
                if not waiting[parent]:
                    heapq.heappush(ready, _newest_first(parent, commits[parent]))


def _newest_first(id_: CommitId, commit: Commit) -> tuple[int, CommitId]:
    return -commit.time, id_


def first_parents(store: CommitReader, tip: CommitId) -> Iterator[tuple[CommitId, Commit]]:
    """Yield a commit and its first parent's line, lazily."""
    current: CommitId | None = tip
    while current is not None:
        commit = store.commit(current)
        yield current, commit
        current = commit.parents[0] if commit.parents else None


def is_ancestor(store: CommitReader, old: CommitId, new: CommitId) -> bool:
    """Say whether ``old`` is ``new`` or comes before it."""
    return old in reachable(store, [new])


def merge_bases(store: CommitReader, left: CommitId, right: CommitId) -> tuple[CommitId, ...]:
    """Return the best common ancestors: those from which no other common ancestor descends."""
    ours, theirs = reachable(store, [left]), reachable(store, [right])
    common = ours.keys() & theirs.keys()
    beaten: set[CommitId] = set()
    for id_ in common:
        beaten.update(ours[id_].parents)
    return tuple(sorted(common - beaten))
