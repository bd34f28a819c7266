"""fsck: is every law of the store true, and if not, whom does it hurt?

Owns the verification of seals, records, chunks, closure and refs, and the way back from a damaged
id to the parameters and commits that need it. Must not repair anything.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from theta_store import expiries, oplog
from theta_store.chunks import Chunks
from theta_store.db import Meta, Reader, Table
from theta_store.errors import IntegrityError, ThetaError
from theta_store.forms import decode_form
from theta_store.graph import children
from theta_store.ids import ChunkId, CommitId, RecordId, TensorId, hex_id
from theta_store.objects import find_record
from theta_store.pipeline import Pool
from theta_store.records import Blob, Checkpoint, Commit, Params, Record, Tensor, Tree
from theta_store.refs import HEAD, read_ref
from theta_store.sealed import unseal
from theta_store.settings import check_format

SEALED = (Table.SETTINGS, Table.OPERATIONS, Table.EXPIRIES, Table.LEASES, Table.NOTES)


@dataclass(frozen=True)
class Hurt:
    """A parameter or file of a commit that cannot be read any more; ``name`` None: the file."""

    commit: CommitId
    path: str
    name: str | None


@dataclass(frozen=True)
class Problem:
    """One broken law; ``id`` is the hex id or the name of what is broken."""

    kind: Literal["damaged", "missing", "dangling"]
    what: Literal["record", "chunk", "ref", "entry"]
    id: str
    message: str
    hurts: tuple[Hurt, ...] = ()


@dataclass
class _State:
    """What the passes have found: the reason of each bad id, and the good records."""

    bad: dict[bytes, Problem] = field(default_factory=dict)
    entries: list[Problem] = field(default_factory=list)


def check(
    meta: Meta, chunks: Chunks, pool: Pool, *, progress: Callable[[int], None] | None = None
) -> list[Problem]:
    """Verify the whole store and return what is wrong, each with what it hurts.

    ``progress`` is told the plain bytes verified.
    """
    state = _State()
    with meta.read() as reader:
        check_format(reader, writing=False)
        state.entries += _entries(reader)
        _records(reader, state)
    _chunks(meta, chunks, pool, state, progress)
    with meta.read() as reader:
        _closure(reader, state)
        state.entries += _refs(reader)
        hurts = _hurts(reader, state)
    return state.entries + [_with_hurts(id_, state.bad[id_], hurts) for id_ in sorted(state.bad)]


def _with_hurts(id_: bytes, problem: Problem, hurts: dict[bytes, list[Hurt]]) -> Problem:
    found = tuple(dict.fromkeys(hurts.get(id_, ())))
    return Problem(problem.kind, problem.what, problem.id, problem.message, found)


def _entries(reader: Reader) -> Iterator[Problem]:
    for table in SEALED:
        for key, row in reader.items(table):
            try:
                unseal(table, key, row)
            except IntegrityError as error:
                yield Problem("damaged", "entry", f"{table} {key.hex()}", str(error))


def _records(reader: Reader, state: _State) -> None:
    for key in reader.keys(Table.RECORDS):
        try:
            find_record(reader, RecordId(key))
        except ThetaError as error:
            state.bad[key] = Problem("damaged", "record", hex_id(key), str(error))


def _chunks(
    meta: Meta,
    chunks: Chunks,
    pool: Pool,
    state: _State,
    progress: Callable[[int], None] | None,
) -> None:
    def work(id_: bytes) -> tuple[bytes, int, str | None]:
        try:
            with meta.read() as reader:
                row = reader.get(Table.CHUNKS, id_)
                if row is None:
                    return id_, 0, None
                form = decode_form(unseal(Table.CHUNKS, id_, row))
            scratch = pool.scratch()
            chunks.read_into(ChunkId(id_), scratch.bytes("plain", form.plain), scratch)
        except ThetaError as error:
            return id_, 0, str(error)
        return id_, form.plain, None

    with meta.read() as reader:
        ids = list(reader.keys(Table.CHUNKS))
    for id_, size, error in pool.map(work, ids):
        if progress is not None:
            progress(size)
        if error is not None:
            state.bad[id_] = Problem("damaged", "chunk", hex_id(id_), error)


def _refs(reader: Reader) -> Iterator[Problem]:
    for key in reader.keys(Table.REFS):
        name = key.decode(errors="replace")
        try:
            target = read_ref(reader, name)
            if isinstance(target, str):
                continue
            found = None if target is None else _find(reader, RecordId(target))
        except ThetaError as error:
            yield Problem("damaged", "ref", name, str(error))
            continue
        if not isinstance(found, Commit):
            yield Problem("dangling", "ref", name, f"{name} names no readable commit")
    if reader.get(Table.REFS, HEAD.encode()) is None:
        yield Problem("missing", "ref", HEAD, "HEAD is missing")


def _tips(reader: Reader) -> set[RecordId]:
    """Return what refs and the operation log name, as far as they can be read."""
    tips: set[RecordId] = set()
    for key in reader.keys(Table.REFS):
        try:
            target = read_ref(reader, key.decode(errors="replace"))
        except ThetaError:
            continue
        if isinstance(target, bytes):
            tips.add(target)
    try:
        for operation in oplog.operations(reader):
            if operation.saved is not None:
                tips.add(operation.saved)
            for change in operation.changes:
                tips.update(RecordId(i) for i in (change.old, change.new) if isinstance(i, bytes))
    except ThetaError:
        pass
    return tips


def _given_up(reader: Reader) -> set[CommitId]:
    try:
        return expiries.expired(reader)
    except IntegrityError:
        return set()


def _find(reader: Reader, id_: RecordId) -> Record | None:
    try:
        return find_record(reader, id_)
    except ThetaError:
        return None


def _closure(reader: Reader, state: _State) -> None:
    """Note what is named below the refs and not there."""
    given_up = _given_up(reader)
    refs = {t for t in _tips(reader) if reader.get(Table.RECORDS, t) is not None}
    seen: set[RecordId] = set()
    stack = list(refs)
    while stack:
        id_ = stack.pop()
        if id_ in seen:
            continue
        seen.add(id_)
        record = _find(reader, id_)
        if record is None:
            _note_missing(state, id_, "record")
            continue
        stack += children(id_, record, given_up)
        if isinstance(record, Tensor | Blob):
            _check_chunks(reader, record.chunks, state)


def _check_chunks(reader: Reader, chunks: Iterable[ChunkId], state: _State) -> None:
    for id_ in chunks:
        row = reader.get(Table.CHUNKS, id_)
        if row is None:
            _note_missing(state, id_, "chunk")
            continue
        if id_ in state.bad:
            continue
        for need in decode_form(unseal(Table.CHUNKS, id_, row)).needs:
            if reader.get(Table.CHUNKS if need.kind == "chunk" else Table.RECORDS, need.id) is None:
                _note_missing(state, need.id, "chunk" if need.kind == "chunk" else "record")


def _note_missing(state: _State, id_: bytes, what: Literal["record", "chunk"]) -> None:
    if id_ not in state.bad:
        state.bad[id_] = Problem("missing", what, hex_id(id_), f"{what} {hex_id(id_)} is missing")


def _hurts(reader: Reader, state: _State) -> dict[bytes, list[Hurt]]:
    """Return, for each bad id, the parameters and files of the commits that need it."""
    hurts: dict[bytes, list[Hurt]] = defaultdict(list)
    if not state.bad:
        return hurts
    given_up = _given_up(reader)
    below = _Below(reader, state.bad)
    seen: set[RecordId] = set()
    stack = sorted(_tips(reader))
    while stack:
        id_ = stack.pop()
        if id_ in seen:
            continue
        seen.add(id_)
        commit = _find(reader, id_)
        if not isinstance(commit, Commit):
            hurts[id_].append(Hurt(CommitId(id_), "", None))
            continue
        stack += commit.parents
        if id_ not in given_up:
            for bad, path, name in below.of(commit.tree):
                hurts[bad].append(Hurt(CommitId(id_), path, name))
    return hurts


class _Below:
    """Which bad ids lie below a record, under which path and name; each record walked once."""

    def __init__(self, reader: Reader, bad: dict[bytes, Problem]) -> None:
        self._reader = reader
        self._bad = bad
        self._known: dict[bytes, list[tuple[bytes, str, str | None]]] = {}

    def of(self, id_: RecordId) -> list[tuple[bytes, str, str | None]]:
        if id_ not in self._known:
            self._known[id_] = list(dict.fromkeys(self._walk(id_)))
        return self._known[id_]

    def _walk(self, id_: RecordId) -> Iterator[tuple[bytes, str, str | None]]:
        record = None if id_ in self._bad else _find(self._reader, id_)
        match record:
            case None:
                yield id_, "", None
            case Tensor() | Blob():
                for chunk in record.chunks:
                    yield from ((bad, "", None) for bad in self._bad_needs(chunk))
            case Tree():
                for entry in record.entries:
                    for bad, path, name in self.of(entry.id):
                        yield bad, f"{entry.name}/{path}" if path else entry.name, name
            case Checkpoint():
                for bad, _, name in self.of(record.params):
                    yield bad, "", name or ""
                for file in record.files:
                    yield from ((bad, file.path, None) for bad, _, _ in self.of(file.layout))
            case Params():
                yield from self._walk_params(record)
            case Commit():
                return

    def _walk_params(self, record: Params) -> Iterator[tuple[bytes, str, str | None]]:
        for entry in record.entries:
            if entry.tensor is not None:
                for bad, _, _ in self.of(TensorId(entry.tensor)):
                    yield bad, "", entry.component
            if entry.params is not None:
                for bad, _, name in self.of(entry.params):
                    yield bad, "", f"{entry.component}.{name}" if name else entry.component

    def _bad_needs(self, chunk: ChunkId) -> Iterator[bytes]:
        if chunk in self._bad:
            yield chunk
            return
        row = self._reader.get(Table.CHUNKS, chunk)
        if row is None:
            return
        for need in decode_form(unseal(Table.CHUNKS, chunk, row)).needs:
            if need.kind == "chunk":
                yield from self._bad_needs(ChunkId(need.id))
            else:
                yield from (bad for bad, _, _ in self.of(RecordId(need.id)))
