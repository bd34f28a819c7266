"""Files and parameters that somebody asks about, and which commits changed them.

Owns the question, answered by ids alone: no value is read. Must not know how paths and globs are
spelled, refs, or the terminal.
"""

from collections.abc import Callable, Iterator

import msgspec

from theta.diff import FileChange, diff_params, diff_trees
from theta.params import find
from theta_store.ids import CheckpointId, TensorId, TreeId
from theta_store.records import Checkpoint, Commit, TreeEntry
from theta_store.store import Store


class Selection(msgspec.Struct, frozen=True):
    """Tests for files and for names of parameters; one that is None takes all."""

    file: Callable[[str, TreeEntry], bool] | None = None
    param: Callable[[str], bool] | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.file is None and self.param is None


def touches(store: Store, commit: Commit, selection: Selection) -> bool:
    """Say whether a commit changed what is selected: it differs there from every parent.

    A parameter that a merge took from one side as it was is not changed by it. Where the files of
    the commit or of a parent were given up, nothing is known, and the answer is no.
    """
    trees = [store.commit(parent).tree for parent in commit.parents]
    if not all(store.has(tree) for tree in (commit.tree, *trees)):
        return False
    befores: list[TreeId | None] = [*trees] or [None]
    first, *others = (_changed(store, before, commit.tree, selection) for before in befores)
    if not others:
        return any(True for _ in first)
    return bool(set(first).intersection(*others))


def _changed(
    store: Store, before: TreeId | None, after: TreeId, selection: Selection
) -> Iterator[tuple[str, str | None]]:
    """Yield the selected files that differ, or the selected parameters in them."""
    for change in diff_trees(store, before, after):
        sides = [entry for entry in (change.before, change.after) if entry is not None]
        if selection.file is not None and not any(selection.file(change.path, e) for e in sides):
            continue
        if selection.param is None:
            yield change.path, None
            continue
        for name in changed_names(store, change):
            if selection.param(name):
                yield change.path, name


def changed_names(store: Store, change: FileChange) -> Iterator[str]:
    """Yield the parameters that differ between the two sides of a file, tied names included."""
    old, new = _checkpoint(store, change.before), _checkpoint(store, change.after)
    params = [None if side is None else side.params for side in (old, new)]
    for changed in diff_params(store, params[0], params[1]):
        yield changed.name
    aliases = {alias for side in (old, new) if side is not None for alias in side.aliases}
    for alias in sorted(aliases):
        if _leaf(store, old, alias) != _leaf(store, new, alias):
            yield alias


def _checkpoint(store: Store, entry: TreeEntry | None) -> Checkpoint | None:
    if entry is None or entry.kind != "checkpoint":
        return None
    return store.checkpoint(CheckpointId(entry.id))


def _leaf(store: Store, side: Checkpoint | None, name: str) -> TensorId | None:
    return None if side is None else find(store, side.params, side.aliases.get(name, name))
