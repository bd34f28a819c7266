"""Which commit gave each parameter the value that it has now.

Owns the walk down the history, by ids alone. Must not know values, recipes or the terminal.

A name goes on to the first parent that has the same tensor under the same name in the same file;
where no parent has, the commit gave it its value. What a parent holds is unknown where its files
were given up: the walk ends above it.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from theta.checkpoint import named_leaves
from theta.diff import flatten_tree
from theta.history import ancestors
from theta_store.ids import CommitId, TensorId
from theta_store.records import Commit, TreeEntry
from theta_store.store import Store


class Blame(msgspec.Struct, frozen=True):
    """A parameter, and the commit that gave it its value.

    ``at_least``: a parent's files were given up, and it may have had the value already.
    """

    name: str
    commit: CommitId
    at_least: bool = False


def blame(store: Store, tip: CommitId, path: str, names: Iterable[str]) -> Iterator[Blame]:
    """Yield whom to blame for parameters of a file, the newest commits first."""
    waiting: dict[CommitId, set[str]] = {tip: set(names)}
    for id_, commit in ancestors(store, [tip]):
        left = waiting.pop(id_, set())
        if left:
            left, at_least = _hand_down(store, id_, commit, path, left, waiting)
            yield from (Blame(name, id_, at_least) for name in sorted(left))
        if not waiting:
            return


def _hand_down(
    store: Store,
    id_: CommitId,
    commit: Commit,
    path: str,
    names: set[str],
    waiting: dict[CommitId, set[str]],
) -> tuple[set[str], bool]:
    """Give names to the parents that have the same; return the rest, and if one is unknown."""
    own = _entry(store, id_, path)
    left, unknown = set(names), False
    for parent in commit.parents:
        if not store.has(store.commit(parent).tree):
            unknown = True
            continue
        there = _entry(store, parent, path)
        same = left if there == own else _same(_leaves(store, own), _leaves(store, there), left)
        if same:
            waiting.setdefault(parent, set()).update(same)
            left = left - same
    return left, unknown


def _same(here: Mapping[str, TensorId], there: Mapping[str, TensorId], names: set[str]) -> set[str]:
    return {name for name in names if here.get(name) == there.get(name)}


def _entry(store: Store, commit: CommitId, path: str) -> TreeEntry | None:
    return dict(flatten_tree(store, store.commit(commit).tree)).get(path)


def _leaves(store: Store, entry: TreeEntry | None) -> Mapping[str, TensorId]:
    if entry is None or entry.kind != "checkpoint":
        return {}
    return named_leaves(store, entry)
