"""Two states of files, side by side: commits, files on disk, or folders.

Owns what a side is and the walk over what differs, by ids alone. Must not know refs, where files
lie nor the terminal. Values are read only when a difference is examined.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from theta.diff import ChangeKind, diff_params
from theta.examination import Examined, Leaf, examine, measure
from theta.params import find, match_names
from theta.progress import SILENT, Progress
from theta_store.errors import MissingObject
from theta_store.ids import ParamsId, RecordId, TensorId
from theta_store.limits import default_threads
from theta_store.records import Checkpoint, Params, Record, Tensor, TreeEntry

if TYPE_CHECKING:
    from theta.measure import Distance

INDEX_SUFFIX = ".index.json"
GLOB = "*?[{"

T = TypeVar("T")
Read = Callable[[str, Tensor, int, memoryview], None]


class Records(Protocol):
    """Where records are read: a store, or a dry run over it."""

    def record(self, id_: RecordId) -> Record:
        """Return a record; one that is not there is a `MissingObject`."""


class SideFile(msgspec.Struct, frozen=True):
    """A file of a side: what it is, where its records are, and how a parameter's bytes are read.

    ``only``, if not None, is the one parameter that counts, or a glob for those that do.
    """

    entry: TreeEntry
    records: Records
    read: Read
    only: str | None = None


class Side(msgspec.Struct, frozen=True):
    """Files by path; ``single`` is one file, compared with another whatever that is called."""

    files: Mapping[str, SideFile]
    single: bool = False


class ParamDifference(msgspec.Struct, frozen=True):
    """One parameter that differs; a side that lacks it is None."""

    name: str
    change: ChangeKind
    before: Leaf | None
    after: Leaf | None

    def measure(self) -> "Distance | None":
        """Return how far the values are apart; None when they cannot be compared."""
        if self.before is None or self.after is None:
            return None
        return measure(self.before, self.after)

    def examine(self, *, rank: bool = False) -> Examined:
        """Measure the change and name what is recognised in it; see `theta.examination`."""
        if self.before is None or self.after is None:
            return Examined(None)
        return examine(self.before, self.after, rank=rank)


class FileDifference(msgspec.Struct, frozen=True):
    """One file that differs: ``change`` is added, removed or changed.

    ``before`` is the old path where that is another one; ``note`` says what changed beside
    parameters, for files that were changed.
    """

    path: str
    change: str
    params: tuple[ParamDifference, ...] = ()
    before: str | None = None
    note: str | None = None


def look_at(
    params: Sequence[ParamDifference],
    look: Callable[[ParamDifference], T],
    progress: Progress = SILENT,
    *,
    threads: int | None = None,
) -> list[T]:
    """Call ``look`` for each parameter, several at a time; return the answers in order.

    Without ``threads`` as many work as there are cores.
    """
    from concurrent.futures import ThreadPoolExecutor

    progress.begin("comparing", sum(map(_size, params)))
    answers: list[T] = []
    most = default_threads() if threads is None else threads
    with ThreadPoolExecutor(most, thread_name_prefix="theta-compare") as pool:
        for param, answer in zip(params, pool.map(look, params), strict=True):
            answers.append(answer)
            progress.advance(_size(param))
    return answers


def _size(param: ParamDifference) -> int:
    return sum(leaf.tensor.nbytes for leaf in (param.before, param.after) if leaf is not None)


def differences(before: Side, after: Side) -> Iterator[FileDifference]:
    """Yield the files that differ, by path."""
    for old_path, new_path in _pairs(before, after):
        old = None if old_path is None else before.files[old_path]
        new = None if new_path is None else after.files[new_path]
        path = new_path or old_path or ""
        if old is None or new is None:
            yield FileDifference(path, "added" if old is None else "removed")
            continue
        found = _compared(path, old, new)
        if found is not None:
            renamed = None if old_path == path else old_path
            yield FileDifference(path, "changed", found.params, renamed, found.note)


def _pairs(before: Side, after: Side) -> Iterator[tuple[str | None, str | None]]:
    """Yield which path of one side belongs to which of the other."""
    if before.single and after.single:
        yield from zip(before.files, after.files, strict=True)
        return
    here, there = _by_model(before, after), _by_model(after, before)
    for key in sorted(here.keys() | there.keys()):
        yield here.get(key), there.get(key)


def _by_model(side: Side, other: Side) -> dict[str, str]:
    """Return a side's paths by the path to compare at.

    A model in one file and the same model with an index and shards belong together.
    """
    found: dict[str, str] = {}
    for path, file in side.files.items():
        plain = path.removesuffix(INDEX_SUFFIX)
        sharded = plain != path and file.entry.kind == "checkpoint"
        alone = path not in other.files and plain not in side.files
        found[plain if sharded and alone else path] = path
    return found


def _compared(path: str, old: SideFile, new: SideFile) -> FileDifference | None:
    """Return how one file became the other; None if it is the same."""
    if old.entry.kind != new.entry.kind:
        readable = new.entry.kind == "checkpoint"
        note = f"its parameters {'can be read now' if readable else 'cannot be read any more'}"
        return FileDifference(path, "changed", note=note)
    if old.only is not None or new.only is not None:
        params = tuple(_chosen(old, new))
        return FileDifference(path, "changed", params) if params else None
    if old.entry.id == new.entry.id:
        return None
    if old.entry.kind != "checkpoint":
        return FileDifference(path, "changed")
    params = tuple(_params(old, new))
    layout = None if params else "the same parameters; the rest of the file differs"
    return FileDifference(path, "changed", params, note=layout)


class _Both(msgspec.Struct, frozen=True):
    """Typed reads of records that are in either of two places."""

    places: tuple[Records, ...]

    def record(self, id_: RecordId) -> Record:
        for place in self.places[:-1]:
            try:
                return place.record(id_)
            except MissingObject:
                continue
        return self.places[-1].record(id_)

    def tensor(self, id_: TensorId) -> Tensor:
        record = self.record(id_)
        assert isinstance(record, Tensor)
        return record

    def params(self, id_: ParamsId) -> Params:
        record = self.record(id_)
        assert isinstance(record, Params)
        return record

    def checkpoint(self, id_: RecordId) -> Checkpoint:
        record = self.record(id_)
        assert isinstance(record, Checkpoint)
        return record


def _params(old: SideFile, new: SideFile) -> Iterator[ParamDifference]:
    """Yield the parameters that differ, by name; equal subtrees are not entered."""
    reader = _Both((old.records, new.records))
    one, two = reader.checkpoint(old.entry.id), reader.checkpoint(new.entry.id)
    found = {c.name: (c.before, c.after) for c in diff_params(reader, one.params, two.params)}
    # A tied name may have become a parameter of its own, or the other way round.
    for name in one.aliases.keys() | two.aliases.keys():
        found[name] = _tensor(reader, one, name), _tensor(reader, two, name)
    for name in sorted(found, key=_by_number):
        before, after = found[name]
        if before != after:
            left, right = _leaf(reader, old, name, before), _leaf(reader, new, name, after)
            yield _difference(name, left, right)


def _by_number(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Return what sorts names with their numbers as numbers: layer 2 before layer 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts], name


def _chosen(old: SideFile, new: SideFile) -> Iterator[ParamDifference]:
    """Yield what differs among the parameters that a side asks for.

    Two names that are no globs are compared with each other, even if they are different names.
    """
    names = [file.only or old.only or new.only or "" for file in (old, new)]
    reader = _Both((old.records, new.records))
    ids = [
        _tensor(reader, reader.checkpoint(file.entry.id), name)
        for file, name in zip((old, new), names, strict=True)
    ]
    globs = [id_ is None and _is_glob(name) for id_, name in zip(ids, names, strict=True)]
    if ids == [None, None] or any(globs):
        matches = [match_names([name]) for name in names]
        yield from (p for p in _params(old, new) if all(test(p.name) for test in matches))
    elif ids[0] != ids[1]:
        before, after = (
            _leaf(reader, file, name, id_)
            for file, name, id_ in zip((old, new), names, ids, strict=True)
        )
        yield _difference(" → ".join(dict.fromkeys(names)), before, after)


def _is_glob(name: str) -> bool:
    return any(char in name for char in GLOB)


def _tensor(reader: _Both, checkpoint: Checkpoint, name: str) -> TensorId | None:
    return find(reader, checkpoint.params, checkpoint.aliases.get(name, name))


def _leaf(reader: _Both, file: SideFile, name: str, id_: TensorId | None) -> Leaf | None:
    if id_ is None:
        return None
    tensor = reader.tensor(id_)
    return Leaf(tensor, lambda start, out: file.read(name, tensor, start, out))


def _difference(name: str, before: Leaf | None, after: Leaf | None) -> ParamDifference:
    return ParamDifference(name, _change(before, after), before, after)


def _change(left: Leaf | None, right: Leaf | None) -> ChangeKind:
    if left is None:
        return "added"
    if right is None:
        return "removed"
    if left.dtype != right.dtype:
        return "dtype"
    return "shape" if left.shape != right.shape else "changed"
