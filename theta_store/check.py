"""fsck: is every law of the store true, and if not, whom does it hurt?

Owns the verification of pages, seals, records, chunks, closure and refs, and the way back from a
damaged id to the parameters and commits that need it. Must not repair anything.

What LMDB maps is looked at before LMDB may follow it; a file whose pages are damaged is read
around LMDB, as far as it goes.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from theta_store import expiries, oplog
from theta_store.chunking import CHUNK_BYTES
from theta_store.db import Meta, Reader, Salvage, Table, Volumes, salvage
from theta_store.errors import IntegrityError, MissingObject, ThetaError
from theta_store.forms import decode_form
from theta_store.graph import children
from theta_store.ids import ChunkId, CommitId, RecordId, hex_id, short
from theta_store.need_graph import breaches
from theta_store.objects import find_form, find_record
from theta_store.pipeline import Pool
from theta_store.records import Blob, Checkpoint, Commit, Params, Record, Tensor, Tree
from theta_store.refs import HEAD, decode_target
from theta_store.sealed import unseal
from theta_store.settings import check_format

if TYPE_CHECKING:
    from theta_store.chunks import Chunks
    from theta_store.scratch import Scratch

SEALED = (
    Table.SETTINGS,
    Table.OPERATIONS,
    Table.EXPIRIES,
    Table.LEASES,
    Table.NOTES,
    Table.SKETCHES,
)

Read = Callable[[], AbstractContextManager[Reader]]


@dataclass(frozen=True)
class Hurt:
    """A parameter or file of a commit that cannot be read any more.

    ``name`` None: the file, and if ``path`` is empty as well, the commit; a ``name`` that ends with
    ``.*``: all parameters of a module.
    """

    commit: CommitId
    path: str
    name: str | None


@dataclass(frozen=True)
class Problem:
    """One broken law; ``id`` is the hex id or the name of what is broken."""

    kind: Literal["damaged", "missing", "dangling"]
    what: Literal["file", "record", "chunk", "ref", "entry"]
    id: str
    message: str
    hurts: tuple[Hurt, ...] = ()


@dataclass
class _State:
    """What the passes have found: the reason of each bad id, and what has no id."""

    bad: dict[bytes, Problem] = field(default_factory=dict)
    others: list[Problem] = field(default_factory=list)


def check(
    meta: Meta,
    volumes: Volumes,
    pool: Pool,
    *,
    begin: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Problem]:
    """Verify the whole store and return what is wrong, each with what it hurts.

    ``begin`` is told the plain bytes to verify, ``progress`` those verified.
    """
    state = _State()
    with ExitStack() as stack:
        read = _reading(meta, stack, state)
        payloads = _Payloads(volumes, stack, state)
        with read() as reader:
            state.others += _format(reader)
            state.others += _entries(reader)
            _records(reader, state)
            ids, total = _rows(reader, payloads, state)
        if begin is not None:
            begin(total)
        for id_, size, error in pool.map(_verifier(read, payloads, pool), ids):
            if progress is not None:
                progress(size)
            if error is not None:
                state.bad[id_] = Problem("damaged", "chunk", hex_id(id_), error)
        with read() as reader:
            _closure(reader, state)
            _needs(reader, state)
            state.others += _refs(reader)
            hurts = _hurts(reader, state)
    return state.others + [_with_hurts(id_, state.bad[id_], hurts) for id_ in sorted(state.bad)]


def _with_hurts(id_: bytes, problem: Problem, hurts: dict[bytes, list[Hurt]]) -> Problem:
    found = tuple(dict.fromkeys(hurts.get(id_, ())))
    return Problem(problem.kind, problem.what, problem.id, problem.message, found)


# Files -------------------------------------------------------------------------------------


def _reading(meta: Meta, stack: ExitStack, state: _State) -> Read:
    """Return how ``meta`` is read: through LMDB, or around it where its pages are damaged."""
    flaws = meta.flaws()
    if not flaws:
        return meta.read
    state.others += _flawed("meta", flaws)
    reader = stack.enter_context(salvage(meta.folder))
    return lambda: nullcontext(reader)


def _flawed(file: str, flaws: Iterable[str]) -> Iterator[Problem]:
    for flaw in flaws:
        yield Problem("damaged", "file", file, f"{file}: {flaw}")


class _Payloads:
    """The payload of each chunk, through LMDB or around it."""

    def __init__(self, volumes: Volumes, stack: ExitStack, state: _State) -> None:
        self._volumes = volumes
        self._salvaged: dict[int, Salvage] = {}
        self.numbers = frozenset(volumes.numbers())
        for number in self.numbers:
            try:
                flaws = volumes.get(number).flaws()
            except MissingObject:  # gc has unlinked it meanwhile
                continue
            except ThetaError as error:
                flaws = [str(error)]
            state.others += _flawed(volume_name(number), flaws)
            if flaws:
                with suppress(IntegrityError):  # its head is broken: nothing can be reached
                    self._salvaged[number] = stack.enter_context(salvage(volumes.path(number)))

    @contextmanager
    def payload(self, volume: int, key: bytes) -> Iterator[memoryview | None]:
        """Lend the payload of a key; None where the volume does not hold it."""
        salvaged = self._salvaged.get(volume)
        if salvaged is not None:
            yield salvaged.get("", key)
            return
        with self._volumes.payload(volume, key) as found:
            yield found


def volume_name(number: int) -> str:
    """Spell a volume as its folder is called."""
    return f"volumes/{number:08x}"


# Entries, records and chunks ----------------------------------------------------------------


def _format(reader: Reader) -> Iterator[Problem]:
    try:
        check_format(reader, writing=False)
    except IntegrityError as error:
        yield Problem("damaged", "entry", f"{Table.SETTINGS} format", str(error))


def _entries(reader: Reader) -> Iterator[Problem]:
    for table in SEALED:
        for key, row in reader.items(table):
            try:
                unseal(table, key, row)
            except IntegrityError as error:
                yield Problem("damaged", "entry", f"{table} {key.hex()}", str(error))
    before = 0
    for number in _operations(reader):
        if number != before + 1:
            message = f"the log lacks what stands between its operations {before} and {number}"
            yield Problem("missing", "entry", f"{Table.OPERATIONS} {before + 1:016x}", message)
        before = number


def _operations(reader: Reader) -> Iterator[int]:
    """Yield the numbers of the operations; keys of another length were spoiled."""
    for key in reader.keys(Table.OPERATIONS):
        if len(key) == oplog.KEY_BYTES:
            yield int.from_bytes(key, "big")


def _records(reader: Reader, state: _State) -> None:
    for key in reader.keys(Table.RECORDS):
        try:
            find_record(reader, RecordId(key))
        except ThetaError as error:
            state.bad[key] = Problem("damaged", "record", hex_id(key), str(error))


def _rows(reader: Reader, payloads: _Payloads, state: _State) -> tuple[list[ChunkId], int]:
    """Return the chunks of the index and their plain bytes; note volumes that are not there."""
    found: list[tuple[bytes, ChunkId]] = []
    named: set[int] = set()
    total = 0
    for key, row in reader.items(Table.CHUNKS):
        try:
            form = decode_form(unseal(Table.CHUNKS, key, row))
        except ThetaError:
            found.append((key, ChunkId(key)))
            continue
        group = key
        if form.has_payload:
            named.add(form.volume)
        elif form.needs:
            # The pieces of a cluster are verified together: it is decoded once.
            group = form.needs[0].id
        found.append((group, ChunkId(key)))
        total += form.plain
    ids = [id_ for _, id_ in sorted(found)]
    for number in sorted(named - payloads.numbers):
        name = volume_name(number)
        state.others.append(Problem("missing", "file", name, f"{name} is missing"))
    return ids, total


def _verifier(
    read: Read, payloads: _Payloads, pool: Pool
) -> Callable[[ChunkId], tuple[ChunkId, int, str | None]]:
    from theta_store.chunks import Chunks

    chunks = Chunks(read, payloads, pool.limits.cache_bytes)

    def verify(id_: ChunkId) -> tuple[ChunkId, int, str | None]:
        try:
            return id_, _verify(id_, read, chunks, pool.scratch()), None
        except ThetaError as error:
            return id_, 0, str(error)

    return verify


def _verify(id_: ChunkId, read: Read, chunks: "Chunks", scratch: "Scratch") -> int:
    """Return the plain bytes of a chunk that is sound; none where gc took it meanwhile."""
    with read() as reader:
        form = find_form(reader, id_)
    if form is None:
        return 0
    if form.plain > CHUNK_BYTES:
        raise IntegrityError(f"chunk {short(id_)} is said to have {form.plain} bytes")
    try:
        chunks.read_into(id_, scratch.bytes("plain", form.plain), scratch)
    except MissingObject:
        with read() as reader:
            if find_form(reader, id_) is None:
                return 0
        raise
    return form.plain


# Refs and closure ---------------------------------------------------------------------------


def _refs(reader: Reader) -> Iterator[Problem]:
    for key, row in reader.items(Table.REFS):
        name = key.decode(errors="replace")
        try:
            target = decode_target(unseal(Table.REFS, key, row))
            if isinstance(target, str):
                continue
            found = _find(reader, RecordId(target))
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
    for key, row in reader.items(Table.REFS):
        try:
            target = decode_target(unseal(Table.REFS, key, row))
        except ThetaError:
            continue
        if isinstance(target, bytes):
            tips.add(target)
    for number in _operations(reader):
        try:
            operation = oplog.find_operation(reader, number)
        except ThetaError:
            continue
        if operation is None:
            continue
        if operation.saved is not None:
            tips.add(operation.saved)
        for change in operation.changes:
            tips.update(RecordId(i) for i in (change.old, change.new) if isinstance(i, bytes))
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
    seen: set[RecordId] = set()
    stack = [tip for tip in _tips(reader) if reader.get(Table.RECORDS, tip) is not None]
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
        if id_ in state.bad:
            continue
        form = find_form(reader, id_)
        if form is None:
            _note_missing(state, id_, "chunk")
            continue
        for need in form.needs:
            if reader.get(Table.CHUNKS if need.kind == "chunk" else Table.RECORDS, need.id) is None:
                _note_missing(state, need.id, "chunk" if need.kind == "chunk" else "record")


def _needs(reader: Reader, state: _State) -> None:
    """Note the chunks whose needs break a law of the need graph."""
    for id_, message in breaches(reader):
        if id_ not in state.bad:
            state.bad[id_] = Problem("damaged", "chunk", hex_id(id_), message)


def _note_missing(state: _State, id_: bytes, what: Literal["record", "chunk"]) -> None:
    if id_ not in state.bad:
        state.bad[id_] = Problem("missing", what, hex_id(id_), f"{what} {hex_id(id_)} is missing")


# Whom it hurts ------------------------------------------------------------------------------


class _Trace(NamedTuple):
    """A bad id below a record, and what of that record it spoils, in the words of `Hurt`."""

    bad: bytes
    path: str
    name: str | None


def _hurts(reader: Reader, state: _State) -> dict[bytes, list[Hurt]]:
    """Return, for each bad id, the parameters and files of the commits that need it, newest first.

    Commits that cannot be read come first.
    """
    times: dict[CommitId, int] = {}
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
        times[CommitId(id_)] = commit.time
        stack += commit.parents
        for child in children(id_, commit, given_up):
            if child not in commit.parents:
                for bad, path, name in below.of(child):
                    hurts[bad].append(Hurt(CommitId(id_), path, name))
    for found in hurts.values():
        found.sort(key=lambda hurt: times.get(hurt.commit, math.inf), reverse=True)
    return hurts


class _Below:
    """Which bad ids lie below a record, under which path and name; each record walked once."""

    def __init__(self, reader: Reader, bad: dict[bytes, Problem]) -> None:
        self._reader = reader
        self._bad = bad
        self._known: dict[bytes, list[_Trace]] = {}

    def of(self, root: RecordId) -> list[_Trace]:
        """Return the traces below a record; no recursion, since names may be thousands deep."""
        stack = [root]
        while stack:
            id_ = stack[-1]
            record = None if id_ in self._known or id_ in self._bad else _find(self._reader, id_)
            todo = [] if record is None else children(id_, record)
            todo = [child for child in todo if child not in self._known]
            stack += todo
            if todo:
                continue
            stack.pop()
            if id_ not in self._known:
                own = [_Trace(id_, "", None)] if record is None else self._walk(record)
                self._known[id_] = list(dict.fromkeys(own))
        return self._known[root]

    def _walk(self, record: Record) -> Iterable[_Trace]:
        match record:
            case Tensor() | Blob():
                return (_Trace(bad, "", None) for bad in self._bad_chunks(record.chunks))
            case Params():
                return self._in_params(record)
            case Checkpoint():
                return self._in_checkpoint(record)
            case Tree():
                return self._in_tree(record)
            case Commit():
                return ()

    def _in_params(self, record: Params) -> Iterator[_Trace]:
        for entry in record.entries:
            if entry.tensor is not None:
                for bad, _, _ in self._known[entry.tensor]:
                    yield _Trace(bad, "", entry.component)
            if entry.params is not None:
                for bad, _, name in self._known[entry.params]:
                    yield _Trace(bad, "", f"{entry.component}.{'*' if name is None else name}")

    def _in_checkpoint(self, record: Checkpoint) -> Iterator[_Trace]:
        yield from self._known[record.params]
        for file in record.files:
            yield from (_Trace(bad, file.path, None) for bad, _, _ in self._known[file.layout])

    def _in_tree(self, record: Tree) -> Iterator[_Trace]:
        for entry in record.entries:
            for bad, path, name in self._known[entry.id]:
                # The files of a model lie beside its entry, those of a folder below it.
                inside = f"{entry.name}/{path}" if entry.kind == "tree" and path else path
                yield _Trace(bad, inside or entry.name, name)

    def _bad_chunks(self, chunks: Iterable[ChunkId]) -> Iterator[bytes]:
        """Yield the bad ids among chunks and all that their forms need."""
        seen: set[bytes] = set()
        stack: list[bytes] = list(chunks)
        while stack:
            id_ = stack.pop()
            if id_ in seen:
                continue
            seen.add(id_)
            if id_ in self._bad:
                yield id_
                continue
            stack += self._needed(id_)

    def _needed(self, id_: bytes) -> Iterable[bytes]:
        form = find_form(self._reader, ChunkId(id_))
        if form is not None:
            return [need.id for need in form.needs]
        record = _find(self._reader, RecordId(id_))
        return record.chunks if isinstance(record, Tensor) else ()
