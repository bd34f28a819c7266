"""Two states of files, side by side: commits, files on disk, or folders.

Owns what a side is and the walk over what differs. Must not know refs or the terminal. Values are
read only for what differs, and only when asked.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from theta.diff import ChangeKind
from theta.formats import HEAD_BYTES, recognise
from theta.formats.reading import FileReader, Source
from theta.measure import Distance, distance
from theta_store.dtypes import dtype
from theta_store.errors import UnsafePickle, UsageError
from theta_store.records import Tensor
from theta_store.store import Hashing


@dataclass(frozen=True)
class Leaf:
    """One parameter of a side: what it is, and how its bytes are read."""

    id: bytes
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[int, memoryview], None]

    @property
    def nbytes(self) -> int:
        """Plain bytes."""
        return dtype(self.dtype).size_of(self.shape)


@dataclass(frozen=True)
class ParamDifference:
    """One parameter that differs; a side that lacks it is None."""

    name: str
    change: ChangeKind
    before: Leaf | None
    after: Leaf | None

    def measure(self) -> Distance | None:
        """Return how far the values are apart; None when they cannot be compared."""
        if self.before is None or self.after is None or self.change != "changed":
            return None
        try:
            return distance(
                self.before.dtype, self.before.nbytes, self.before.read, self.after.read
            )
        except UsageError:
            return None


@dataclass(frozen=True)
class FileDifference:
    """One file that differs: ``change`` is added, removed or changed."""

    path: str
    change: str
    params: tuple[ParamDifference, ...] = ()


@dataclass
class SideFile:
    """A file of a side: an id that says whether it differs, and its parameters when asked."""

    id: bytes
    leaves: Callable[[], Mapping[str, Leaf]] = field(default=dict)


Side = Mapping[str, SideFile]


def differences(before: Side, after: Side) -> Iterator[FileDifference]:
    """Yield the files that differ, by path."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and old.id == new.id:
            continue
        if old is None or new is None:
            change = "added" if old is None else "removed"
            yield FileDifference(path, change)
            continue
        yield FileDifference(path, "changed", tuple(_params(old.leaves(), new.leaves())))


def _params(old: Mapping[str, Leaf], new: Mapping[str, Leaf]) -> Iterator[ParamDifference]:
    for name in sorted(old.keys() | new.keys()):
        left, right = old.get(name), new.get(name)
        if left is not None and right is not None and left.id == right.id:
            continue
        yield ParamDifference(name, _change(left, right), left, right)


def _change(left: Leaf | None, right: Leaf | None) -> ChangeKind:
    if left is None:
        return "added"
    if right is None:
        return "removed"
    if left.dtype != right.dtype:
        return "dtype"
    return "shape" if left.shape != right.shape else "changed"


def side_of_file(stack: ExitStack, hashing: Hashing, path: Path) -> SideFile:
    """Return a file on disk as a side's file; it stays open until the stack is closed."""
    reader = stack.enter_context(FileReader(path))
    found = recognise(reader.read(0, min(HEAD_BYTES, reader.size)), path.name)
    try:
        sources = {} if found is None else found.scan(reader).tensors
    except UnsafePickle:
        sources = {}
    if not sources:
        ((_, blob),) = hashing.put_blobs([(path.name, reader)])
        return SideFile(blob)
    leaves = {
        stored.name: leaf_of_source(stored.id, sources[stored.name])
        for stored in hashing.put_tensors(sources.items())
    }
    mark = b"".join(name.encode() + leaf.id for name, leaf in sorted(leaves.items()))
    return SideFile(mark, lambda: leaves)


def leaf_of_source(id_: bytes, source: Source) -> Leaf:
    """Return a parameter that lies in an open file."""
    return Leaf(id_, source.dtype, tuple(source.shape), source.read_into)


def leaf_of_tensor(
    id_: bytes, tensor: Tensor, read: Callable[[Tensor, int, memoryview], None]
) -> Leaf:
    """Return a parameter that lies in the store."""
    return Leaf(id_, tensor.dtype, tensor.shape, lambda start, out: read(tensor, start, out))
