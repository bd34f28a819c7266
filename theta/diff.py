"""What differs between two trees of records, by ids alone.

Owns the walks that never enter equal subtrees. Must not know values, files on disk or the terminal.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

import msgspec

from theta.params import ParamsReader, join
from theta_store.ids import ParamsId, RecordId, TensorId, TreeId
from theta_store.records import Params, ParamsEntry, Tensor, Tree, TreeEntry

ChangeKind = Literal["added", "removed", "dtype", "shape", "changed"]
_NOTHING = ParamsEntry("", None, None)


class TensorReader(Protocol):
    """Where tensors' records are read."""

    def tensor(self, id_: TensorId) -> Tensor:
        """Return a tensor's record."""


class TreeReader(Protocol):
    """Where folders are read."""

    def tree(self, id_: TreeId) -> Tree:
        """Return a folder."""


class Change(msgspec.Struct, frozen=True):
    """A parameter that differs; None on the side that lacks it."""

    name: str
    before: TensorId | None
    after: TensorId | None


class FileChange(msgspec.Struct, frozen=True):
    """A tree entry that differs; None on the side that lacks it."""

    path: str
    before: TreeEntry | None
    after: TreeEntry | None


def diff_params(
    reader: ParamsReader, before: ParamsId | None, after: ParamsId | None
) -> Iterator[Change]:
    """Yield the parameters that differ, in the order of their components."""
    stack: list[tuple[tuple[str, ...], ParamsId | None, ParamsId | None]] = [((), before, after)]
    while stack:
        path, left, right = stack.pop()
        if left == right:
            continue
        old, new = _entries(reader, left), _entries(reader, right)
        inner = []
        for component in sorted(old.keys() | new.keys(), key=str.encode):
            one, two = old.get(component, _NOTHING), new.get(component, _NOTHING)
            here = (*path, component)
            if one.tensor != two.tensor:
                yield Change(join(here), one.tensor, two.tensor)
            inner.append((here, one.params, two.params))
        stack += reversed(inner)


def _entries(reader: ParamsReader, id_: ParamsId | None) -> Mapping[str, ParamsEntry]:
    params = Params(()) if id_ is None else reader.params(id_)
    return {entry.component: entry for entry in params.entries}


def classify(reader: TensorReader, change: Change) -> ChangeKind:
    """Say how a parameter differs."""
    if change.before is None:
        return "added"
    if change.after is None:
        return "removed"
    before, after = reader.tensor(change.before), reader.tensor(change.after)
    if before.dtype != after.dtype:
        return "dtype"
    return "shape" if before.shape != after.shape else "changed"


def flatten_tree(reader: TreeReader, id_: TreeId) -> Iterator[tuple[str, TreeEntry]]:
    """Yield the files of a folder and of those below it, with paths from it."""
    stack = [("", id_)]
    while stack:
        prefix, folder = stack.pop()
        for entry in reader.tree(folder).entries:
            if entry.kind == "tree":
                stack.append((f"{prefix}{entry.name}/", TreeId(entry.id)))
            else:
                yield prefix + entry.name, entry


def build_tree(entries: Mapping[str, TreeEntry], put: Callable[[Tree], TreeId]) -> TreeId:
    """Put the folders that hold these files, by path, and return the outermost."""
    here: list[TreeEntry] = []
    below: dict[str, dict[str, TreeEntry]] = {}
    for path, entry in entries.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            here.append(TreeEntry(name, entry.kind, entry.id, entry.executable))
    for name, inner in below.items():
        here.append(TreeEntry(name, "tree", RecordId(build_tree(inner, put))))
    return put(Tree(tuple(sorted(here, key=lambda entry: entry.name.encode()))))


def overlaid(
    below: Mapping[str, TreeEntry], above: Mapping[str, TreeEntry]
) -> dict[str, TreeEntry]:
    """Return the files of both; where two cannot be in one folder, ``above`` wins."""
    folders = {folder for path in above for folder in _folders_of(path)}
    kept = {
        path: entry
        for path, entry in below.items()
        if path not in folders and not any(folder in above for folder in _folders_of(path))
    }
    return {**kept, **above}


def _folders_of(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[:depth]) for depth in range(1, len(steps))]


def diff_trees(
    reader: TreeReader, before: TreeId | None, after: TreeId | None
) -> Iterator[FileChange]:
    """Yield the files that differ; equal folders are never read."""
    stack = [("", before, after)]
    while stack:
        prefix, left, right = stack.pop()
        if left == right:
            continue
        old, new = _files(reader, left), _files(reader, right)
        for name in sorted(old.keys() | new.keys(), key=str.encode):
            one, two = old.get(name), new.get(name)
            if one == two:
                continue
            folders = [_folder(one), _folder(two)]
            if any(folder is not None for folder in folders):
                stack.append((f"{prefix}{name}/", folders[0], folders[1]))
            files = [e if e is not None and e.kind != "tree" else None for e in (one, two)]
            if any(file is not None for file in files):
                yield FileChange(prefix + name, files[0], files[1])


def _files(reader: TreeReader, id_: TreeId | None) -> Mapping[str, TreeEntry]:
    tree = Tree(()) if id_ is None else reader.tree(id_)
    return {entry.name: entry for entry in tree.entries}


def _folder(entry: TreeEntry | None) -> TreeId | None:
    return TreeId(entry.id) if entry is not None and entry.kind == "tree" else None
