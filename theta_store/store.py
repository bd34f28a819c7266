"""The facade: everything that `theta` sees of a store.

Owns the folder of a store (``meta``, ``volumes``, ``leases``), its creation and opening, and typed
reads. Must not know files, formats or the workspace.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from theta_store import expiries, oplog
from theta_store.chunking import ranges_of
from theta_store.clock import UNTIMED, Clock
from theta_store.db import (
    DATA_FILE,
    HEAD_BYTES,
    VOLUME_BYTES,
    Meta,
    Reader,
    Table,
    Volumes,
    alone_in,
    check_local,
)
from theta_store.encoding import KIND_BYTES
from theta_store.errors import (
    ExpiredCommit,
    ForeignRepository,
    IntegrityError,
    MalformedRecord,
    MissingObject,
    NotARepository,
    ThetaError,
)
from theta_store.graph import missing_below, reach
from theta_store.hints import Adapter, Hint, Sum
from theta_store.ids import (
    BlobId,
    CheckpointId,
    CommitId,
    ParamsId,
    RecordId,
    TensorId,
    TreeId,
    short,
)
from theta_store.limits import Limits
from theta_store.objects import find_record, forms, get_record, has_record, record_births
from theta_store.oplog import Operation, append_redo, append_undo
from theta_store.pipeline import Pool
from theta_store.reading import Sink, read_into, read_range, read_ranges
from theta_store.records import Blob, Checkpoint, Commit, Params, Record, Tensor, Tree
from theta_store.refs import (
    BRANCHES,
    HEAD,
    TAGS,
    Head,
    RefChange,
    Target,
    move_refs,
    read_head,
    read_ref,
    read_refs,
)
from theta_store.settings import Format, check_format, gc_epoch, has_format, write_format

if TYPE_CHECKING:
    from theta_store.check import Hurt, Problem
    from theta_store.chunks import Chunks, Copies
    from theta_store.derived_source import DerivedSource as DerivedSource
    from theta_store.exchange import RepackReport as RepackReport
    from theta_store.gc import Collector, GcReport
    from theta_store.hashing import Hashing, Putter
    from theta_store.kept import Kept as Kept
    from theta_store.mending import Mending
    from theta_store.selector import Level as Level
    from theta_store.session import CollectedMeanwhile, Hints, Session, StoredTensor
    from theta_store.tensors import ByteSource, Source
    from theta_store.usage import By, Owner, Usage, Use

__all__ = [
    "BRANCHES",
    "HEAD",
    "TAGS",
    "By",
    "ByteSource",
    "CollectedMeanwhile",
    "GcReport",
    "Hashing",
    "Head",
    "Hints",
    "Hurt",
    "Operation",
    "Owner",
    "Problem",
    "Putter",
    "RefChange",
    "Refs",
    "Session",
    "Sink",
    "Sizes",
    "Source",
    "Store",
    "StoredTensor",
    "Usage",
    "Use",
    "append_redo",
    "append_undo",
    "is_unfinished",
    "ranges_of",
]

META = "meta"
VOLUMES = "volumes"
LEASES = "leases"
GC_LOCK = "gc.lock"
KEPT_UNDO_SECONDS = 7 * 86400.0
# What only those need who write, or few verbs, is imported when it is first asked for.
_LATER = {
    "check": ("Hurt", "Problem"),
    "gc": ("GcReport",),
    "hashing": ("Hashing", "Putter"),
    "session": ("CollectedMeanwhile", "Hints", "Session", "StoredTensor"),
    "tensors": ("ByteSource", "Source"),
    "usage": ("By", "Owner", "Usage", "Use"),
}

R = TypeVar("R", Tensor, Params, Checkpoint, Blob, Tree, Commit)


class Sizes(msgspec.Struct, frozen=True):
    """Bytes of a store: of forms and records, of the plain chunks, and of the files on disk."""

    stored_bytes: int
    logical_bytes: int
    disk_bytes: int
    chunks: int
    records: int


class Refs(msgspec.Struct, frozen=True):
    """Read access to branches, tags and HEAD."""

    _meta: Meta

    def get(self, name: str) -> CommitId | None:
        """Return the commit that a ref names, following HEAD to its branch."""
        with self._meta.read() as reader:
            if name == HEAD:
                return read_head(reader).commit
            target = read_ref(reader, name)
            return target if isinstance(target, bytes) else None

    def names(self, prefix: str = "refs/") -> list[str]:
        """Return the full names of the refs below a prefix, sorted."""
        with self._meta.read() as reader:
            return list(read_refs(reader, prefix))

    def all(self, prefix: str = "refs/") -> dict[str, CommitId]:
        """Return the refs below a prefix with their commits."""
        with self._meta.read() as reader:
            return read_refs(reader, prefix)

    def head(self) -> Head:
        """Return where HEAD is."""
        with self._meta.read() as reader:
            return read_head(reader)


class Store:
    """An open store; use it as a context manager or call `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits | None = None,
        volume_bytes: int = VOLUME_BYTES,
        readonly: bool = False,
    ) -> None:
        if not (folder / META).is_dir():
            raise NotARepository(f"{folder} is not a theta store", hint="theta init")
        self.folder = folder
        self.readonly = readonly or not os.access(folder / META, os.W_OK)
        self._capacity = volume_bytes
        self._meta = self._opened(folder)
        self._volumes = Volumes(folder / VOLUMES, readonly=self.readonly)
        self._pool = Pool(limits)
        self.refs = Refs(self._meta)

    def _opened(self, folder: Path) -> Meta:
        try:
            meta = Meta(folder / META, readonly=self.readonly)
            try:
                with meta.read() as reader:
                    check_format(reader, writing=False)
            except BaseException:
                meta.close()
                raise
        except IntegrityError:
            if is_unfinished(folder):
                raise NotARepository(
                    f"{folder} was never finished; nothing was committed there", hint="theta init"
                ) from None
            raise
        return meta

    @cached_property
    def _chunks(self) -> "Chunks":
        # Forms bring numpy and zstandard; verbs that touch no chunk do without them.
        from theta_store.chunks import Chunks

        read = partial(self._meta.read, remember=True)
        return Chunks(read, self._volumes, self._pool.limits.cache_bytes)

    @classmethod
    def create(cls, folder: Path, *, head: str, force_network: bool = False) -> "Store":
        """Make a store whose HEAD is on the unborn branch ``head`` (a full name), and open it.

        One whose making was cut short is finished.
        """
        if not force_network:
            check_local(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes may make the same store at once.
        with alone_in(folder):
            for name in (META, VOLUMES, LEASES):
                (folder / name).mkdir(exist_ok=True)
            if _is_stump(folder):
                (folder / META / DATA_FILE).unlink()
            meta = Meta(folder / META, create=True)
            try:
                with meta.write() as writer:
                    if not has_format(writer):
                        write_format(writer, Format(version=1))
                        move_refs(writer, [RefChange(HEAD, None, head)])
            finally:
                meta.close()
        return cls(folder)

    @property
    def limits(self) -> Limits:
        """The threads and the memory that this store uses."""
        return self._pool.limits

    def close(self) -> None:
        """Close threads and environments."""
        self._pool.close()
        self._volumes.close()
        self._meta.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    # Reading ------------------------------------------------------------------------------

    def record(self, id_: RecordId) -> Record:
        """Return any record, its hash verified."""
        with self._meta.read() as reader:
            return get_record(reader, id_)

    def tensor(self, id_: TensorId) -> Tensor:
        """Return a tensor's record."""
        return self._typed(id_, Tensor)

    def params(self, id_: ParamsId) -> Params:
        """Return a node of a parameter tree."""
        return self._typed(id_, Params)

    def tensors(self, ids: Iterable[TensorId]) -> list[Tensor]:
        """Return the records of tensors, read together."""
        return self._all_typed(ids, Tensor)

    def nodes(self, ids: Iterable[ParamsId]) -> list[Params]:
        """Return nodes of parameter trees, read together."""
        return self._all_typed(ids, Params)

    def checkpoint(self, id_: CheckpointId) -> Checkpoint:
        """Return a checkpoint's record."""
        return self._typed(id_, Checkpoint)

    def blob(self, id_: BlobId) -> Blob:
        """Return a blob's record."""
        return self._typed(id_, Blob)

    def tree(self, id_: TreeId) -> Tree:
        """Return a folder's record."""
        return self._typed(id_, Tree)

    def commit(self, id_: CommitId) -> Commit:
        """Return a commit's record."""
        return self._typed(id_, Commit)

    def tree_of(self, id_: CommitId) -> Tree:
        """Return a commit's tree; `ExpiredCommit` names what to do when it was given up."""
        commit = self.commit(id_)
        with self._meta.read() as reader:
            if expiries.is_expired(reader, id_) and not has_record(reader, commit.tree):
                raise ExpiredCommit(
                    f"the files of {short(id_)} were given up by forget or gc --keep",
                    hint="theta log",
                )
        return self.tree(commit.tree)

    def has(self, id_: RecordId) -> bool:
        """Say whether a record is there."""
        with self._meta.read() as reader:
            return has_record(reader, id_)

    def commits_with_prefix(self, prefix: str) -> list[CommitId]:
        """Return the commits whose hex id starts with ``prefix``, at most 20."""
        found: list[CommitId] = []
        even = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        commit = bytes((KIND_BYTES[Commit],))
        with self._meta.read() as reader:
            for key, value in reader.items(Table.RECORDS, even):
                if not key.startswith(even) or len(found) == 20:
                    break
                if key.hex().startswith(prefix) and value[9:10] == commit:
                    found.append(CommitId(RecordId(key)))
        return found

    def is_expired(self, id_: CommitId) -> bool:
        """Say whether a commit's files were given up."""
        with self._meta.read() as reader:
            return expiries.is_expired(reader, id_)

    def expired(self) -> set[CommitId]:
        """Return the commits whose files were given up."""
        with self._meta.read() as reader:
            return expiries.expired(reader)

    def complete(self, commits: Iterable[CommitId]) -> bool:
        """Say whether everything below these commits is there."""
        with self._meta.read() as reader:
            return not missing_below(reader, commits)

    def whole(self, records: Iterable[RecordId]) -> bool:
        """Say whether these records and everything below them are there."""
        wanted = set(records)
        with self._meta.read() as reader:
            return not wanted or not reach(reader, wanted).missing

    def read_bytes(self, id_: BlobId) -> bytes:
        """Return a small blob's bytes."""
        record = self.blob(id_)
        out = bytearray(record.size)
        read_range(record, 0, memoryview(out), self._chunks, self._pool.scratch())
        return bytes(out)

    def read_range(self, record: Tensor | Blob, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes of a tensor or blob from ``start``."""
        read_range(record, start, out, self._chunks, self._pool.scratch())

    def read_ranges(
        self,
        records: Sequence[Tensor],
        start: int,
        outs: Sequence[memoryview],
        *,
        near: int | None = None,
    ) -> None:
        """Fill each of ``outs`` with the same range of tensors of one dtype and shape.

        Tensors that were stored on one another are read faster together. ``near`` is the number of
        the one that this thread stores something on next, a chunk like this: it is remembered.
        """
        read_ranges(records, start, outs, self._chunks, self._pool.scratch(), near=near)

    def remember(self, record: Tensor, start: int, plain: memoryview) -> None:
        """Remember a chunk, read before from ``start``: this thread stores something on it next."""
        self._chunks.remember(record, start, plain, self._pool.scratch())

    def read_into(
        self,
        items: Iterable[tuple[Tensor | Blob, Sink]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Feed tensors and blobs to their sinks in parallel."""
        read_into(items, self._chunks, self._pool, progress=progress)

    def sum_of(self, hint: Sum) -> "DerivedSource":
        """Return the weighted sum of tensors of one dtype and shape, read chunk by chunk.

        It is computed as the form is by which it will be kept, and once for both.
        """
        from theta_store.derived_source import DerivedSource

        terms = tuple(map(self.tensor, hint.tensors))
        return DerivedSource.sum_of(terms, hint.coefficients, self._chunks, self._pool.scratch)

    def adapted(self, hint: Adapter) -> "DerivedSource":
        """Return base + left · right, read chunk by chunk; the factors must fit the base.

        It is computed as the form is by which it will be kept.
        """
        from theta_store.derived_source import DerivedSource

        base, rank = self.tensor(hint.base), self.tensor(hint.right).shape[0]
        return DerivedSource.adapted(base, hint, rank, self._chunks, self._pool.scratch)

    @contextmanager
    def beside(self, copies: "Copies") -> Iterator[None]:
        """Ask ``copies`` for a chunk before the store is read; what it gives is verified."""
        before, self._chunks.copies = self._chunks.copies, copies
        try:
            yield
        finally:
            self._chunks.copies = before

    # Writing ------------------------------------------------------------------------------

    @contextmanager
    def session(
        self,
        *,
        reading: Iterable[CommitId] = (),
        clock: Clock = UNTIMED,
        verify: bool = False,
    ) -> "Iterator[Session]":
        """Open a writer; ``reading`` are commits that gc must leave alone meanwhile.

        With ``verify`` what is put is read back where it is there already, and stored again where
        it is damaged or missing.
        """
        from theta_store.leases import take
        from theta_store.session import Session

        self.check_writable()
        mending = self._mending() if verify else None
        with self._meta.write() as writer:
            lease = take(writer, self.folder / LEASES, reading)
            epoch = gc_epoch(writer)
        with Session(
            self._meta,
            self._volumes,
            # A session that stores no tensor does without what they bring.
            lambda: self._chunks if mending is None else mending.chunks,
            self._pool,
            lease,
            epoch,
            capacity=self._capacity,
            clock=clock,
            mending=mending,
        ) as session:
            yield session

    def _mending(self) -> "Mending":
        from theta_store.mending import Mending

        return Mending(self._meta, self._volumes, self._pool)

    def hashing(self) -> "Hashing":
        """Return the dry twin of a session: ids without storing."""
        from theta_store.hashing import Hashing

        return Hashing(self._pool, self.record)

    def check_writable(self) -> None:
        """Refuse to write to a store that this user or this program may only read."""
        if self.readonly:
            raise ForeignRepository(
                f"{self.folder} may only be read by this user; nothing was written",
                hint="copy the repository to a place of your own and write there",
            )
        with self._meta.read() as reader:
            check_format(reader, writing=True)

    # Operations ---------------------------------------------------------------------------

    def operations(self) -> Iterator[Operation]:
        """Yield operations from the newest to the oldest, a page at a time."""
        number: int | None = None
        while True:
            with self._meta.read() as reader:
                page = _page(reader, number)
            yield from page
            if not page or page[-1].number <= 1:
                return
            number = page[-1].number - 1

    def undo_target(self) -> Operation:
        """Return the operation that an undo takes back."""
        with self._meta.read() as reader:
            return oplog.plan_undo(reader)

    def redo_target(self) -> Operation:
        """Return the operation that a redo brings again."""
        with self._meta.read() as reader:
            return oplog.plan_redo(reader)

    def positions(self, ref: str) -> Sequence[CommitId]:
        """Return the commits a ref has been at, newest first; HEAD is followed to its branches."""
        head = self.refs.head()
        now: dict[str, Target | None] = {**self.refs.all(), HEAD: head.branch or head.commit}
        return list(_positions(self.operations(), now, ref))

    # Care ---------------------------------------------------------------------------------

    def collector(self, *, undo_seconds: float = KEPT_UNDO_SECONDS) -> "Collector":
        """Return the garbage collector; ``undo_seconds`` of the operation log are kept."""
        from theta_store.gc import Collector

        return Collector(
            self._meta,
            self._volumes,
            self.folder / LEASES,
            self.folder / GC_LOCK,
            undo_seconds,
            self._capacity,
        )

    def repack(
        self,
        items: Iterable[tuple[TensorId, Sequence[Hint]]],
        *,
        level: "Level" = "max",
        dry: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> "RepackReport":
        """Keep tensors in smaller forms, given with hints and bases first; no id changes."""
        from theta_store.lineage import Lineage
        from theta_store.repack import Repacker

        with self.session() as session:
            keep = None if dry else session.keep
            lineage = Lineage(self._chunks, self._pool.scratch, session.find_tensor, keep)
            repacker = Repacker(
                meta=self._meta,
                volumes=self._volumes,
                chunks=self._chunks,
                pool=self._pool,
                capacity=self._capacity,
                dry=dry,
                lineage=lineage,
                level=level,
            )
            return repacker.run(items, progress=progress)

    def free_bases(
        self,
        *,
        undo_seconds: float = KEPT_UNDO_SECONDS,
        dry: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> "tuple[RepackReport, int]":
        """Store what follows from chunks that nobody reads on its own, where that takes less.

        Return what it came to, and the bytes of those chunks, which gc can take then.
        """
        from theta_store.freeing import Freer, find_freeing

        with self._meta.read() as reader:
            reached = self.collector(undo_seconds=undo_seconds).reachable(reader)
            found = find_freeing(reader, reached)
        with self.session():
            freer = Freer(
                meta=self._meta,
                volumes=self._volumes,
                chunks=self._chunks,
                pool=self._pool,
                capacity=self._capacity,
                dry=dry,
            )
            return freer.exchange(found.jobs, progress=progress), found.base_bytes

    def check(
        self,
        *,
        begin: Callable[[int], None] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "list[Problem]":
        """Verify everything and return what is wrong.

        ``begin`` is told the plain bytes to verify, ``progress`` those verified.
        """
        from theta_store.check import check

        return check(self._meta, self._volumes, self._pool, begin=begin, progress=progress)

    def sizes(self) -> Sizes:
        """Return the bytes of forms and records, of plain chunks, and of files."""
        stored = logical = chunks = records = 0
        with self._meta.read() as reader:
            # Clusters hold the bytes of other chunks, which count for themselves.
            pieces = (form for _, form in forms(reader) if not form.has_payload)
            clusters = {need.id for form in pieces for need in form.needs}
            for id_, form in forms(reader):
                stored += form.stored
                if id_ not in clusters:
                    logical, chunks = logical + form.plain, chunks + 1
            for _, _, size in record_births(reader):
                stored, records = stored + size, records + 1
        return Sizes(stored, logical, disk_bytes(self.folder), chunks, records)

    def kept(self, tensor: Tensor | Blob | None = None) -> "tuple[Kept, ...]":
        """Return how a tensor or blob, or everything, is kept: which forms, and their bytes."""
        from theta_store.kept import kept_chunks, kept_in_all

        with self._meta.read() as reader:
            if tensor is None:
                return kept_in_all(reader)
            return kept_chunks(reader, self._volumes, tensor.chunks)

    def usage(self, by: "By", commit: CommitId | None = None) -> "Usage":
        """Return who takes the stored bytes that refs reach; see `theta_store.usage`."""
        from theta_store.usage import usage

        with self._meta.read() as reader:
            return usage(reader, by, commit)

    def _typed(self, id_: RecordId, kind: type[R]) -> R:
        (record,) = self._all_typed([id_], kind)
        return record

    def _all_typed(self, ids: Iterable[RecordId], kind: type[R]) -> list[R]:
        with self._meta.read(remember=True) as reader:
            return [_typed(reader, id_, kind) for id_ in ids]


def __getattr__(name: str) -> Any:
    for home, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"theta_store.{home}"), name)
    raise AttributeError(f"module 'theta_store.store' has no attribute {name!r}")


def is_unfinished(folder: Path) -> bool:
    """Say whether the making of a store was cut short there, before anything could be put in."""
    volumes = folder / VOLUMES
    if volumes.is_dir() and any(volumes.iterdir()):
        return False
    if not (folder / META / DATA_FILE).exists() or _is_stump(folder):
        return True
    try:
        meta = Meta(folder / META)
    except ThetaError:
        return False
    try:
        with meta.read() as reader:
            return not has_format(reader) and not reader.count(Table.RECORDS)
    finally:
        meta.close()


def _is_stump(folder: Path) -> bool:
    """Say whether the data file ends before LMDB has finished making it."""
    file = folder / META / DATA_FILE
    return file.exists() and file.stat().st_size < HEAD_BYTES


def _typed(reader: Reader, id_: RecordId, kind: type[R]) -> R:
    record = find_record(reader, id_)
    if record is None:
        raise MissingObject(f"{kind.kind} {short(id_)} is missing", hint="theta fsck")
    if not isinstance(record, kind):
        raise MalformedRecord(f"{short(id_)} is a {record.kind}, not a {kind.kind}")
    return record


def disk_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def _page(reader: Reader, number: int | None) -> list[Operation]:
    if number is None:
        last = oplog.last_operation(reader)
        number = 0 if last is None else last.number
    found: list[Operation] = []
    while number > 0 and len(found) < 256:
        operation = oplog.find_operation(reader, number)
        if operation is None:
            break
        found.append(operation)
        number -= 1
    return found


def _positions(
    operations: Iterable[Operation], at: dict[str, Target | None], ref: str
) -> Iterator[CommitId]:
    """Roll the log back from where all refs are, yielding each other commit that a ref names."""
    last = _followed(at, ref)
    if last is not None:
        yield last
    for operation in operations:
        for change in reversed(operation.changes):
            at[change.name] = change.old
        before = _followed(at, ref)
        if before is not None and before != last:
            yield before
            last = before


def _followed(at: Mapping[str, Target | None], ref: str) -> CommitId | None:
    target = at.get(ref)
    if isinstance(target, str):
        target = at.get(target)
    return None if target is None or isinstance(target, str) else target
