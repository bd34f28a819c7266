"""The immutable records of the Merkle DAG.

Owns the shape of every content-addressed record and the rules that make one valid on
construction. Must not know how records are spelled as bytes (encoding) nor where they are kept.

A field, once released, keeps its place and meaning forever; a change is a new version.
"""

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from theta_store.dtypes import dtype
from theta_store.errors import InvalidName, MalformedRecord
from theta_store.ids import (
    ID_BYTES,
    BlobId,
    CheckpointId,
    ChunkId,
    CommitId,
    ParamsId,
    RecordId,
    TensorId,
    TreeId,
)

NAME_BYTES = 4096


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What all records share: immutability and array-shaped MessagePack.

    They refer to nothing that could refer to them, so Python need not look for cycles through them.
    """


class Tensor(_Record, frozen=True):
    """A tensor's identity: dtype, shape, and the ids of its chunks in order."""

    kind: ClassVar[str] = "tensor"
    version: ClassVar[int] = 1

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[ChunkId, ...]

    def __post_init__(self) -> None:
        dtype(self.dtype)
        if self.shape and min(self.shape) < 0:
            raise MalformedRecord(f"a tensor of shape {self.shape} cannot exist")
        check_ids(self.chunks)

    @property
    def nbytes(self) -> int:
        """Plain bytes of the whole tensor."""
        return dtype(self.dtype).size_of(self.shape)

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class ParamsEntry(_Record, frozen=True):
    """One component of a parameter name: a leaf, a prefix, or both."""

    component: str
    tensor: TensorId | None
    params: ParamsId | None


class Params(_Record, frozen=True):
    """The parameter tree, nested on ``.``; entries sorted by the bytes of their component."""

    kind: ClassVar[str] = "params"
    version: ClassVar[int] = 1

    entries: tuple[ParamsEntry, ...]

    def __post_init__(self) -> None:
        check_sorted([entry.component for entry in self.entries], "parameters")
        for entry in self.entries:
            component, tensor, params = entry.component, entry.tensor, entry.params
            if "." in component or (tensor is None and params is None):
                raise MalformedRecord(f"bad parameter component {component!r}")
            if tensor is not None:
                check_ids((tensor,))
            if params is not None:
                check_ids((params,))


class File(_Record, frozen=True):
    """One file of a checkpoint: its layout, and the values of the layout's named literals.

    ``path`` is relative to the folder that holds the checkpoint's tree entry; empty means the
    entry's own name. ``literals`` keeps small bytes that change with every save (a zip's
    serialization id) out of the layout, so that the layout stays the same blob.
    """

    path: str
    layout: BlobId
    literals: dict[str, bytes]


class Checkpoint(_Record, frozen=True):
    """A model file, or the index and shards of one model."""

    kind: ClassVar[str] = "checkpoint"
    version: ClassVar[int] = 1

    format: str
    format_version: int
    files: tuple[File, ...]
    params: ParamsId
    aliases: dict[str, str]

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if not paths or len(set(paths)) != len(paths):
            raise MalformedRecord("a checkpoint needs files of different paths")
        check_ids([self.params, *(file.layout for file in self.files)])


class Blob(_Record, frozen=True):
    """A run of plain bytes: size and chunk ids."""

    kind: ClassVar[str] = "blob"
    version: ClassVar[int] = 1

    size: int
    chunks: tuple[ChunkId, ...]

    def __post_init__(self) -> None:
        if self.size < 0:
            raise MalformedRecord("a blob of negative size")
        check_ids(self.chunks)


class TreeEntry(_Record, frozen=True):
    """One name in a folder."""

    name: str
    kind: Literal["blob", "checkpoint", "tree"]
    id: RecordId
    executable: bool = False


class Tree(_Record, frozen=True):
    """A folder: entries sorted by the bytes of their name."""

    kind: ClassVar[str] = "tree"
    version: ClassVar[int] = 1

    entries: tuple[TreeEntry, ...]

    def __post_init__(self) -> None:
        check_sorted([entry.name for entry in self.entries], "files")
        for entry in self.entries:
            check_component(entry.name)
            check_ids([entry.id])


class Commit(_Record, frozen=True):
    """A version of the whole workspace: what, from what, by whom, when, why.

    ``time`` is microseconds since 1970 in UTC, ``zone`` the author's offset in minutes.
    ``recipe`` is a blob that says how a merge was made. ``extensions`` holds named bytes of
    programs newer than this one; they are preserved.
    """

    kind: ClassVar[str] = "commit"
    version: ClassVar[int] = 1

    tree: TreeId
    parents: tuple[CommitId, ...]
    author: str
    time: int
    zone: int
    message: str
    step: int | None = None
    metrics: dict[str, float] = {}
    meta: dict[str, str] = {}
    recipe: BlobId | None = None
    extensions: dict[str, bytes] = {}

    def __post_init__(self) -> None:
        check_ids([self.tree, *self.parents])
        if self.recipe is not None:
            check_ids([self.recipe])
        if not all(isinstance(value, float) for value in self.metrics.values()):
            raise MalformedRecord("metrics are float64")

    @property
    def subject(self) -> str:
        """First line of the message."""
        return self.message.partition("\n")[0]


Record = Tensor | Params | Checkpoint | Blob | Tree | Commit

__all__ = [
    "NAME_BYTES",
    "Blob",
    "Checkpoint",
    "CheckpointId",
    "Commit",
    "File",
    "Params",
    "ParamsEntry",
    "Record",
    "Tensor",
    "Tree",
    "TreeEntry",
    "check_component",
    "references",
]


def check_ids(ids: Iterable[object]) -> None:
    """Refuse anything that is not 32 bytes long."""
    for id_ in ids:
        if not isinstance(id_, bytes) or len(id_) != ID_BYTES:
            raise MalformedRecord("an id is 32 bytes")


def check_sorted(names: list[str], what: str) -> None:
    """Refuse names that are out of order or doubled, by their UTF-8 bytes."""
    try:
        keys = [name.encode() for name in names]
    except UnicodeEncodeError:
        raise InvalidName(f"{what} need names that are valid UTF-8") from None
    if len(keys) > 1 and sorted(set(keys)) != keys:
        raise MalformedRecord(f"{what} must be sorted and unique")
    if keys and max(map(len, keys)) > NAME_BYTES:
        raise InvalidName(f"{what} need names of at most {NAME_BYTES} bytes")


def check_component(name: str) -> None:
    """Refuse a file name that could leave its folder or that no system can write."""
    if name in {"", ".", ".."} or any(char in name for char in "/\\\0"):
        raise InvalidName(f"{name!r} is not a file name")
    if len(name.encode(errors="surrogatepass")) > 255:
        raise InvalidName(f"file name of {len(name)} characters: at most 255 bytes are allowed")


def references(record: Record) -> list[RecordId]:
    """Return the ids of the records that this record names (chunks are not records)."""
    match record:
        case Tensor() | Blob():
            return []
        case Params(entries):
            return [id_ for e in entries for id_ in (e.tensor, e.params) if id_ is not None]
        case Checkpoint():
            return [record.params, *(file.layout for file in record.files)]
        case Tree(tree_entries):
            return [entry.id for entry in tree_entries]
        case Commit():
            recipe = [record.recipe] if record.recipe is not None else []
            return [record.tree, *recipe, *record.parents]
