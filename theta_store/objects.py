"""Records and form rows in ``meta``: put and get, every record's hash verified on read.

Owns the values of the tables ``records``, ``chunks`` and ``dependants``. Must not know payload,
codecs, refs, nor who asks.

A record's value = one byte that says how it is kept (0: plain), eight bytes little-endian with
the number of the transaction that wrote it, the record's canonical bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from theta_store.db import Reader, Table, Writer
from theta_store.encoding import decode, encode, kind_of
from theta_store.errors import ForeignRepository, HashMismatch, MissingObject
from theta_store.forms import Form, decode_form, encode_form
from theta_store.ids import ChunkId, RecordId, record_id, short
from theta_store.records import Record
from theta_store.sealed import seal, unseal

_PLAIN = 0
_HEAD = 9


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record ready to be put: its id and its canonical bytes."""

    id: RecordId
    data: bytes


def encoded(record: Record) -> Encoded:
    """Return a record's id and bytes."""
    data = encode(record)
    return Encoded(record_id(record.kind, data), data)


def find_record(reader: Reader, id_: RecordId) -> Record | None:
    """Return a record, its hash verified, or None when the store does not hold it."""
    value = reader.get(Table.RECORDS, id_)
    if value is None:
        return None
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


def put_records(writer: Writer, records: Iterable[Encoded]) -> None:
    """Put records that are not there yet; children must come before parents."""
    head = bytes((_PLAIN,)) + writer.number.to_bytes(8, "little")
    for record in records:
        if writer.get(Table.RECORDS, record.id) is None:
            writer.put(Table.RECORDS, record.id, head + record.data)


def record_births(reader: Reader) -> Iterator[tuple[RecordId, int, int]]:
    """Yield every record's id, the transaction that wrote it, and its bytes in the table."""
    for key, value in reader.items(Table.RECORDS):
        yield RecordId(key), int.from_bytes(value[1:_HEAD], "little"), len(value)


def delete_record(writer: Writer, id_: RecordId) -> None:
    """Drop a record; only gc does."""
    writer.delete(Table.RECORDS, id_)


def find_form(reader: Reader, id_: ChunkId) -> Form | None:
    """Return the form of a chunk, or None when the store does not hold it."""
    row = reader.get(Table.CHUNKS, id_)
    return None if row is None else decode_form(unseal(Table.CHUNKS, id_, row))


def has_form(reader: Reader, id_: ChunkId) -> bool:
    """Say whether a chunk is in the index."""
    return reader.get(Table.CHUNKS, id_) is not None


def put_form(writer: Writer, id_: ChunkId, form: Form) -> None:
    """Set the form of a chunk and enter it as a dependant of each of its needs."""
    writer.put(Table.CHUNKS, id_, seal(Table.CHUNKS, id_, encode_form(form)))
    for need in form.needs:
        writer.put(Table.DEPENDANTS, need.id + id_, b"")


def delete_form(writer: Writer, id_: ChunkId, form: Form) -> None:
    """Drop a chunk from the index; only gc does."""
    writer.delete(Table.CHUNKS, id_)
    for need in form.needs:
        writer.delete(Table.DEPENDANTS, need.id + id_)


def forms(reader: Reader) -> Iterator[tuple[ChunkId, Form]]:
    """Yield the whole chunk index in the order of ids."""
    for key, row in reader.items(Table.CHUNKS):
        yield ChunkId(key), decode_form(unseal(Table.CHUNKS, key, row))
