"""torch's zip format: ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` as ``torch.save`` writes them.

Owns the way from the archive and its pickle to tensors and layout. Must not import torch. A file
is taken apart so that joining gives back its very bytes: the pickle, the zip headers and padding
are literals, the checksums are computed, the serialization id is a named literal.

Views: the first view of a storage, in file order, gets the bytes it covers; the same view again is
an alias. One that overlaps bytes already given away, or itself (stride 0), is no tensor here: its
bytes are kept, as another's or as literals.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from theta.formats import container_names
from theta.formats.base import CrcCheck, Scan, TensorSpec, settle_checks, tile
from theta.formats.layout import Computed, Layout, Named, Scatter, Span
from theta.formats.reading import FileReader, FileSource, GatheredSource, Source
from theta.formats.torch_pickle import Storage, TensorNode, read_pickle
from theta.formats.zip_entries import LOCAL_MAGIC, Entry, read_entries
from theta_store.dtypes import DType, dtype
from theta_store.errors import MalformedFile, UnsafePickle, UsageError

FORMAT = "torch"
VERSION = 1
PICKLE_BYTES = 1 << 28
SERIALIZATION_ID = "serialization_id"
_STEPS_PER_BYTE = 4

Segment = Span | Scatter | Computed | Named


class TorchZip:
    """Files that ``torch.save`` writes since torch 1.6."""

    id = FORMAT
    version = VERSION
    suffixes: tuple[str, ...] = (".pt", ".pth", ".bin", ".ckpt")

    def sniff(self, head: bytes, name: str) -> bool:  # noqa: ARG002 - the content says it all
        """Say whether the first entry of a zip archive is torch's pickle."""
        size = int.from_bytes(head[26:28], "little")
        first = head[30 : 30 + size]
        folder, slash, rest = first.partition(b"/")
        return head.startswith(LOCAL_MAGIC) and bool(slash and folder) and rest == b"data.pkl"

    def scan(self, file: FileReader) -> Scan:
        """Find the tensors; a broken archive is `MalformedFile`, a pickle that is not plain data
        or a TorchScript program `UnsafePickle`."""
        archive = _Archive.read(file)
        pickle = archive.content("data.pkl", PICKLE_BYTES)
        root = read_pickle(pickle, f"{file.path.name}: data.pkl")
        placer = _Placer(file, archive)
        for name, node in _tensors(root, len(pickle), file.path.name):
            placer.place(name, node)
        literals = placer.place_bookkeeping()
        layout = tile(file, placer.segments)
        checks = settle_checks(file, layout, literals, archive.checks())
        return Scan(FORMAT, VERSION, layout, literals, placer.tensors, placer.aliases, checks)

    def compose(
        self,
        tensors: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str],  # noqa: ARG002 - the protocol's signature
        aliases: Mapping[str, str],  # noqa: ARG002
    ) -> Layout:
        """Refuse with `UsageError`: torch files are rebuilt from an existing layout only."""
        raise UsageError(
            f"a new torch file for {len(tensors)} tensors cannot be composed",
            hint="use safetensors",
        )


def _tensors(root: object, size: int, name: str) -> Iterator[tuple[str, TensorNode]]:
    limit = max(10_000, _STEPS_PER_BYTE * size)
    try:
        for path, node in container_names.walk(root, TensorNode, limit=limit):
            if isinstance(node, TensorNode):
                yield path, node
    except container_names.TooDeep:
        raise MalformedFile(f"{name}: its containers nest too deeply") from None


@dataclass(frozen=True)
class _Archive:
    """The entries of a torch file below its one folder."""

    file: FileReader
    entries: Mapping[str, Entry]
    big: bool

    @classmethod
    def read(cls, file: FileReader) -> "_Archive":
        """Read the directory; more than one folder is a `MalformedFile`."""
        entries = read_entries(file)
        folders = {entry.name.partition("/")[0] for entry in entries}
        if len(folders) != 1:
            raise MalformedFile(f"{file.path.name} holds {len(folders)} folders, not one")
        named = {entry.name.partition("/")[2]: entry for entry in entries}
        if "constants.pkl" in named or any(name.startswith("code/") for name in named):
            raise UnsafePickle("it is a TorchScript program, which holds code")
        if "data.pkl" not in named:
            raise MalformedFile(f"{file.path.name} holds no data.pkl")
        order = b"little"
        if "byteorder" in named:
            entry = named["byteorder"]
            order = file.read(entry.start, min(entry.size, 16))
        if order not in (b"little", b"big"):
            raise MalformedFile(f"{file.path.name}: byte order {order!r} is unknown")
        return cls(file, named, order == b"big")

    def content(self, name: str, limit: int) -> bytes:
        """Return a small entry's bytes."""
        entry = self.entries[name]
        if entry.size > limit:
            raise MalformedFile(f"{self.file.path.name}: {name} is too large: {entry.size} bytes")
        return self.file.read(entry.start, entry.size)

    def checks(self) -> list[CrcCheck]:
        """Return the claims of the archive; a checksum of 0 is torch's way to claim nothing."""
        return [
            CrcCheck(entry.name, entry.start, entry.stop, entry.crc)
            for entry in self.entries.values()
            if _claims(entry)
        ]


def _claims(entry: Entry) -> bool:
    # torch.serialization.set_crc32_options(False) leaves 0 in every place.
    return entry.size > 0 and entry.crc != 0


@dataclass
class _Placer:
    """Gives the bytes of storages to tensors, in the order in which these come."""

    file: FileReader
    archive: _Archive
    segments: list[tuple[int, Segment]] = field(default_factory=list)
    tensors: dict[str, Source] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    _seen: dict[object, str] = field(default_factory=dict)
    _given: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def place(self, name: str, node: TensorNode) -> None:
        """Give a view its bytes, or make it an alias, or nothing when they are taken."""
        row = dtype(node.dtype)
        start = self._storage(node.storage, row)
        key = (node.storage.key, node.dtype, node.offset, node.shape, node.strides)
        if key in self._seen:
            self.aliases[name] = self._seen[key]
            return
        if math.prod(node.shape) == 0:
            self._enter(name, key, FileSource(self.file, node.dtype, node.shape, 0))
            return
        swap = row.width if self.archive.big and row.width > 1 else 0
        extent = _extent(node, row)
        begin = start + node.offset * row.nbytes
        if begin + extent > start + self._entry(node.storage).size:
            raise MalformedFile(
                f"{self.file.path.name}: tensor {name!r} reaches beyond its storage"
            )
        if _overlaps_itself(node) or not self._free(node.storage.key, begin, begin + extent):
            return
        self._given.setdefault(node.storage.key, []).append((begin, begin + extent))
        source, segment = self._view(name, node, row, begin, extent, swap)
        self.segments.append((begin, segment))
        self._enter(name, key, source)

    def place_bookkeeping(self) -> dict[str, bytes]:
        """Add the checksums and the serialization id; return the named literals."""
        literals = {}
        for entry in self.archive.entries.values():
            if _claims(entry):
                computed = Computed("crc32", entry.start, entry.stop)
                self.segments += [(at, computed) for at in entry.crc_at]
        found = self.archive.entries.get(".data/serialization_id")
        if found is not None and 0 < found.size <= 4096:
            literals[SERIALIZATION_ID] = self.file.read(found.start, found.size)
            self.segments.append((found.start, Named(SERIALIZATION_ID, found.size)))
        return literals

    def _enter(self, name: str, key: object, source: Source) -> None:
        self._seen[key] = name
        self.tensors[name] = source

    def _entry(self, storage: Storage) -> Entry:
        entry = self.archive.entries.get(f"data/{storage.key}")
        if entry is None:
            raise MalformedFile(f"{self.file.path.name}: storage {storage.key!r} is missing")
        return entry

    def _storage(self, storage: Storage, row: DType) -> int:
        entry = self._entry(storage)
        unit = dtype(storage.dtype).nbytes if storage.dtype else 1
        if storage.count * unit != entry.size:
            raise MalformedFile(
                f"{self.file.path.name}: storage {storage.key!r} has {entry.size} bytes, "
                f"its pickle says {storage.count * unit}"
            )
        if storage.dtype is not None and dtype(storage.dtype).nbytes != row.nbytes:
            raise MalformedFile(f"{self.file.path.name}: storage {storage.key!r} has two dtypes")
        return entry.start

    def _free(self, key: str, begin: int, end: int) -> bool:
        return all(end <= left or right <= begin for left, right in self._given.get(key, ()))

    def _view(
        self, name: str, node: TensorNode, row: DType, begin: int, extent: int, swap: int
    ) -> tuple[Source, Segment]:
        shape, size = node.shape, row.size_of(node.shape)
        axes = _dense_order(node)
        if axes == tuple(range(len(shape))):
            plain = FileSource(self.file, node.dtype, shape, begin, swap)
            return plain, Span(name, 0, size, None, swap)
        strides = tuple(stride * row.nbytes for stride in node.strides)
        # The stride of an axis of length 1 is never used, but may point outside.
        strides = tuple(s if n > 1 else 0 for s, n in zip(strides, shape, strict=True))
        source = GatheredSource(self.file, node.dtype, shape, begin, extent, strides, swap)
        if axes is not None:
            return source, Span(name, 0, size, axes, swap)
        background = _background(self.file.read(begin, extent), row, shape, strides)
        return source, Scatter(name, strides, 0, swap, background)


def _extent(node: TensorNode, row: DType) -> int:
    last = sum((n - 1) * s for n, s in zip(node.shape, node.strides, strict=True))
    return (last + 1) * row.nbytes


def _overlaps_itself(node: TensorNode) -> bool:
    """Say whether two indices could share an element (sufficient for what torch makes)."""
    axes = sorted((s, n) for n, s in zip(node.shape, node.strides, strict=True) if n > 1)
    reach = 0
    for stride, length in axes:
        if stride <= reach:
            return True
        reach += (length - 1) * stride
    return False


def _dense_order(node: TensorNode) -> tuple[int, ...] | None:
    """Return the axes from the outermost in memory to the innermost, if there are no gaps."""
    axes = sorted(
        range(len(node.shape)),
        key=lambda axis: (-node.strides[axis] if node.shape[axis] > 1 else -math.inf, axis),
    )
    wide = [axis for axis in range(len(node.shape)) if node.shape[axis] > 1]
    expected = 1
    for axis in reversed([axis for axis in axes if node.shape[axis] > 1]):
        if node.strides[axis] != expected:
            return None
        expected *= node.shape[axis]
    ordered = [axis for axis in axes if node.shape[axis] > 1]
    return tuple(range(len(node.shape))) if ordered == wide else tuple(axes)


def _background(
    region: bytes, row: DType, shape: tuple[int, ...], strides: tuple[int, ...]
) -> bytes:
    """Return the region with zeros where elements lie."""
    data = bytearray(region)
    words = np.ndarray((*shape, row.nbytes), np.uint8, data, strides=(*strides, 1))
    words[...] = 0
    return bytes(data)
