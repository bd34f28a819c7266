"""The graph of commits: who comes before whom.

Owns walks over parents: ancestors in order, ranges, merge bases. Must not know trees or values.
All walks are iterative and read each commit once.
"""

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

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

    ``without`` and what they descend from are left out (``A..B`` is tips B without A). Where all
    lines come together in one commit, what lies below it is read only once the walk gets there.
    """
    hidden = reachable(store, without)
    front = _Front(store, set(hidden))
    front.meet(tips)
    while front.heap:
        yield from _in_order(_stretch(front, hidden.keys()))


class _Front(msgspec.Struct):
    """Commits that were met and not yet taken, the newest on top; each is read once."""

    store: CommitReader
    seen: set[CommitId]
    heap: list[tuple[int, CommitId, Commit]] = msgspec.field(default_factory=list)

    def meet(self, ids: Iterable[CommitId]) -> None:
        for id_ in ids:
            if id_ not in self.seen:
                self.seen.add(id_)
                commit = self.store.commit(id_)
                heapq.heappush(self.heap, (-commit.time, id_, commit))

    def take(self) -> tuple[CommitId, Commit]:
        _, id_, commit = heapq.heappop(self.heap)
        return id_, commit


def _stretch(front: _Front, hidden: AbstractSet[CommitId]) -> dict[CommitId, Commit]:
    """Take all that lies above the next commit from which every taken one descends.

    When one commit is left and no line has ended, every line runs into it. Where a line has ended,
    nothing proves that, whatever the clocks say, and everything is taken.
    """
    taken: dict[CommitId, Commit] = {}
    ended = False
    while front.heap and (ended or not taken or len(front.heap) > 1):
        id_, commit = front.take()
        taken[id_] = commit
        front.meet(commit.parents)
        ended = ended or all(parent in hidden for parent in commit.parents)
    return taken


def _in_order(commits: Mapping[CommitId, Commit]) -> Iterable[tuple[CommitId, Commit]]:
    return commits.items() if len(commits) == 1 else _sorted(commits)


def _sorted(commits: Mapping[CommitId, Commit]) -> Iterator[tuple[CommitId, Commit]]:
    waiting = dict.fromkeys(commits, 0)
    for commit in commits.values():
        for parent in commit.parents:
            if parent in waiting:
                waiting[parent] += 1
    ready = [(-commits[id_].time, id_) for id_, count in waiting.items() if not count]
    heapq.heapify(ready)
    while ready:
        _, id_ = heapq.heappop(ready)
        yield id_, commits[id_]
        for parent in commits[id_].parents:
            if parent in waiting:
                waiting[parent] -= 1
                if not waiting[parent]:
                    heapq.heappush(ready, (-commits[parent].time, parent))


def nearest(store: CommitReader, id_: CommitId, among: Container[CommitId]) -> tuple[CommitId, ...]:
    """Return the closest ancestors of a commit that are ``among`` the given ones, in order."""
    found: list[CommitId] = []
    seen: set[CommitId] = set()
    stack = list(reversed(store.commit(id_).parents))
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in among:
            found.append(current)
        else:
            stack += reversed(store.commit(current).parents)
    return tuple(found)


def first_parents(store: CommitReader, tip: CommitId) -> Iterator[tuple[CommitId, Commit]]:
    """Yield a commit and its first parent's line, lazily."""
    current: CommitId | None = tip
    while current is not None:
        commit = store.commit(current)
        yield current, commit
        current = commit.parents[0] if commit.parents else None


def is_ancestor(store: CommitReader, old: CommitId, new: CommitId) -> bool:
    """Say whether ``old`` is ``new`` or comes before it."""
    return any(id_ == old for id_, _ in ancestors(store, [new]))


def merge_bases_among(
    ordered: Sequence[tuple[CommitId, Commit]], tips: Iterable[CommitId]
) -> set[CommitId]:
    """Return the merge bases of every two of these tips.

    ``ordered`` holds the tips and all their ancestors, children before parents.
    """
    # Bit i of a commit says that the i-th tip descends from it; a base of two tips is a commit that
    # both descend from while no child of it has both.
    descends = {id_: 0 for id_, _ in ordered}
    for number, tip in enumerate(dict.fromkeys(tips)):
        descends[tip] |= 1 << number
    children: dict[CommitId, list[int]] = {}
    found: set[CommitId] = set()
    for id_, commit in ordered:
        if _parts_two(descends[id_], children.pop(id_, [])):
            found.add(id_)
        for parent in commit.parents:
            descends[parent] |= descends[id_]
            children.setdefault(parent, []).append(descends[id_])
    return found


def _parts_two(tips: int, children: Iterable[int]) -> bool:
    """Say whether two of these tips are together in no child."""
    below = list(children)
    left = tips
    while left:
        tip = left & -left
        left ^= tip
        together = tip
        for child in below:
            if child & tip:
                together |= child
        if together != tips:
            return True
    return False


def merge_bases(store: CommitReader, left: CommitId, right: CommitId) -> tuple[CommitId, ...]:
    """Return the best common ancestors: those from which no other common ancestor descends."""
    return bases_of(store, [[left], [right]])


def bases_of(store: CommitReader, groups: Iterable[Iterable[CommitId]]) -> tuple[CommitId, ...]:
    """Return the best ancestors that all groups of commits share, in the order of their ids.

    A group has the ancestors of any commit of it, as if these had been merged.
    """
    first, *rest = (reachable(store, tips) for tips in groups)
    common = set(first).intersection(*rest)
    beaten: set[CommitId] = set()
    for id_ in common:
        beaten.update(first[id_].parents)
    return tuple(sorted(common - beaten))
