"""Records and form rows in ``meta``: put and get, every record's hash verified on read.

Owns the values of the tables ``records``, ``chunks`` and ``dependants``. Must not know payload,
codecs, refs, nor who asks.

A record's value = one byte that says how it is kept (0: plain), eight bytes little-endian with
the number of the transaction that wrote it, the record's canonical bytes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from theta_store.chunking import chunks_within
from theta_store.db import Reader, Table, Writer
from theta_store.encoding import decode, encode, kind_of
from theta_store.errors import ForeignRepository, HashMismatch, IntegrityError, MissingObject
from theta_store.forms import Form, Need, decode_form, encode_form
from theta_store.ids import ChunkId, RecordId, record_id, short
from theta_store.records import Record, Tensor
from theta_store.sealed import seal, unseal

_PLAIN = 0
_HEAD = 9

Id = TypeVar("Id", RecordId, ChunkId)
T = TypeVar("T")

# Says of a volume's number whether that volume is there.
Held = Callable[[int], bool]


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A record ready to be put: its id and its canonical bytes."""

    id: RecordId
    data: bytes


def encoded(record: Record) -> Encoded:
    """Return a record's id and bytes."""
    data = encode(record)
    return Encoded(record_id(record.kind, data), data)


def find_record(reader: Reader, id_: RecordId) -> Record | None:
    """Return a record, its hash verified, or None when the store does not hold it."""
    return _remembered(reader, Table.RECORDS, id_, _read_record)


def _remembered(reader: Reader, table: Table, id_: Id, read: Callable[[Reader, Id], T]) -> T:
    """Return what a row means, from the reader's memo if it has one and that knows."""
    if reader.memo is None:
        return read(reader, id_)
    found: T | None = reader.memo.get((table, id_))
    if found is not None:
        return found
    made = reader.memo[table, id_] = read(reader, id_)
    return made


def _read_record(reader: Reader, id_: RecordId) -> Record | None:
    value = reader.get(Table.RECORDS, id_)
    if value is None:
        return None
    if len(value) <= _HEAD:
        raise HashMismatch(f"record {short(id_)} is damaged", hint="theta fsck")
    if value[0] != _PLAIN:
        raise ForeignRepository(f"record {short(id_)} is kept in a way that needs a newer theta")
    data = bytes(value[_HEAD:])
    if record_id(kind_of(data).kind, data) != id_:
        raise HashMismatch(f"record {short(id_)} is damaged", hint="theta fsck")
    return decode(data)


def get_record(reader: Reader, id_: RecordId) -> Record:
    """Return a record; one that is not there is a `MissingObject`."""
    record = find_record(reader, id_)
    if record is None:
        raise MissingObject(f"record {short(id_)} is missing", hint="theta fsck")
    return record


def has_record(reader: Reader, id_: RecordId) -> bool:
    """Say whether a record is there, without reading it."""
    return reader.get(Table.RECORDS, id_) is not None


def put_records(
    writer: Writer, records: Iterable[Encoded], *, damaged: Collection[RecordId] = ()
) -> None:
    """Put records that are not there yet, or damaged; their children are there, or among them."""
    head = bytes((_PLAIN,)) + writer.number.to_bytes(8, "little")
    new = []
    for record in records:
        if record.id in damaged:
            writer.put(Table.RECORDS, record.id, head + record.data)
        else:
            new.append((record.id, head + record.data))
    writer.add_all(Table.RECORDS, new)


def lacking_records(reader: Reader, ids: Iterable[RecordId]) -> set[RecordId]:
    """Return those of some records that are not there."""
    return reader.lacking(Table.RECORDS, ids)


def record_births(reader: Reader) -> Iterator[tuple[RecordId, int, int]]:
    """Yield every record's id, the transaction that wrote it, and its bytes in the table."""
    for key, value in reader.items(Table.RECORDS):
        yield RecordId(key), int.from_bytes(value[1:_HEAD], "little"), len(value)


def record_birth(reader: Reader, id_: RecordId) -> int:
    """Return the transaction that wrote a record; 0 where there is none."""
    value = reader.get(Table.RECORDS, id_)
    return 0 if value is None else int.from_bytes(value[1:_HEAD], "little")


def delete_record(writer: Writer, id_: RecordId) -> None:
    """Drop a record; only gc does."""
    writer.delete(Table.RECORDS, id_)


def find_form(reader: Reader, id_: ChunkId) -> Form | None:
    """Return the form of a chunk, or None when the store does not hold it."""
    return _remembered(reader, Table.CHUNKS, id_, _read_form)


def _read_form(reader: Reader, id_: ChunkId) -> Form | None:
    row = reader.get(Table.CHUNKS, id_)
    return None if row is None else decode_form(unseal(Table.CHUNKS, id_, row))


def readable_form(reader: Reader, id_: ChunkId) -> Form | None:
    """Return the form of a chunk; None where there is none, or its row is damaged."""
    try:
        return find_form(reader, id_)
    except IntegrityError:
        return None


def form_row(reader: Reader, id_: ChunkId) -> bytes | None:
    """Return the row of a chunk as it lies in the index, readable or not."""
    row = reader.get(Table.CHUNKS, id_)
    return None if row is None else bytes(row)


def lacking_forms(reader: Reader, ids: Iterable[ChunkId]) -> set[ChunkId]:
    """Return those of some chunks that have no row, readable or not."""
    return reader.lacking(Table.CHUNKS, ids)


def put_form(writer: Writer, id_: ChunkId, form: Form) -> None:
    """Set the form of a chunk and enter it as a dependant of every chunk it needs."""
    row = seal(Table.CHUNKS, id_, encode_form(form))
    if not writer.add(Table.CHUNKS, id_, row):
        old = readable_form(writer, id_)
        # What a damaged row needed is not known; it is known as a dependant for longer than it is.
        if old is not None:
            _leave(writer, id_, old)
        writer.put(Table.CHUNKS, id_, row)
    for need in form.needs:
        for chunk in need_chunks(writer, need):
            writer.put(Table.DEPENDANTS, chunk + id_, b"")


def delete_form(writer: Writer, id_: ChunkId, form: Form) -> None:
    """Drop a chunk from the index; only gc does, and before the records that its needs name."""
    writer.delete(Table.CHUNKS, id_)
    _leave(writer, id_, form)


def _leave(writer: Writer, id_: ChunkId, form: Form) -> None:
    for need in form.needs:
        # Where the record of a needed tensor is damaged, it is not known which chunks these were.
        with suppress(IntegrityError):
            for chunk in need_chunks(writer, need):
                writer.delete(Table.DEPENDANTS, chunk + id_)


def need_chunks(reader: Reader, need: Need) -> Sequence[ChunkId]:
    """Return the chunks that a need stands for; a tensor whose record is gone stands for itself.

    Its id is then no chunk's, so whoever looks for it finds that it is missing.
    """
    if need.kind == "chunk":
        return [ChunkId(need.id)]
    record = find_record(reader, RecordId(need.id))
    if not isinstance(record, Tensor):
        return [ChunkId(need.id)]
    return chunks_within(record, need.start, need.stop)


def depth_over(reader: Reader, needs: Iterable[Need], known: dict[ChunkId, int]) -> int | None:
    """Return the least depth of a form with these needs; None when one of them is missing.

    ``known`` are depths that were looked up before in this transaction; it is added to.
    """
    depth = 0
    for need in needs:
        for chunk in need_chunks(reader, need):
            if chunk not in known:
                form = find_form(reader, chunk)
                if form is None:
                    return None
                known[chunk] = form.depth
            depth = max(depth, known[chunk] + 1)
    return depth


def are_whole(reader: Reader, ids: Iterable[ChunkId], held: Held) -> list[bool]:
    """Say of each chunk whether it is in the index and its volume there, and all that it needs.

    What several need is looked for once.
    """
    there: dict[ChunkId, bool] = {}
    return [_is_whole(reader, id_, held, there) for id_ in ids]


def _is_whole(reader: Reader, id_: ChunkId, held: Held, there: dict[ChunkId, bool]) -> bool:
    if id_ not in there:
        # Until more is known: what needs itself is not whole.
        there[id_] = False
        try:
            there[id_] = _has_whole_form(reader, id_, held, there)
        except IntegrityError:
            return False
    return there[id_]


def _has_whole_form(reader: Reader, id_: ChunkId, held: Held, there: dict[ChunkId, bool]) -> bool:
    form = find_form(reader, id_)
    if form is None or (form.has_payload and not held(form.volume)):
        return False
    return all(
        _is_whole(reader, chunk, held, there)
        for need in form.needs
        for chunk in need_chunks(reader, need)
    )


def dependants(reader: Reader, id_: ChunkId) -> Iterator[ChunkId]:
    """Yield the chunks whose forms need this one."""
    for key in reader.keys(Table.DEPENDANTS, id_):
        if not key.startswith(id_):
            return
        yield ChunkId(key[len(id_) :])


def forms(reader: Reader) -> Iterator[tuple[ChunkId, Form]]:
    """Yield the whole chunk index in the order of ids."""
    for key, row in reader.items(Table.CHUNKS):
        yield ChunkId(key), decode_form(unseal(Table.CHUNKS, key, row))
