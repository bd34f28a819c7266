"""A new zip archive as a layout: stored entries, as Python's ``zipfile`` writes them.

Owns the headers of an archive whose sizes are known before its bytes are (APPNOTE 6.3; zip64 in
every local header, as numpy asks for). Must not know what entries hold.

Everything that could differ between two writings is fixed: the date is 1980-01-01, the system Unix,
the permissions rw-------.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from theta.formats.layout import Builder, Computed, Layout, Span
from theta_store.errors import UsageError

_VERSION, _VERSION64, _UNIX = 20, 45, 3
_DATE = 1 << 5 | 1
_MODE = 0o600 << 16
_UTF8 = 0x800
_ZIP64 = 1
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
# zipfile counts sizes as signed: from here on it writes zip64.
_LIMIT = (1 << 31) - 1
_CRC = 4
_LOCAL_BYTES = 30
_FIELD_BYTES = 4


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to write: its name, and its bytes as literals and whole spans in order.

    They start at a multiple of ``alignment``.
    """

    name: str
    parts: tuple[bytes | Span, ...]
    alignment: int = 1

    @property
    def size(self) -> int:
        """Length in bytes."""
        return sum(part.size if isinstance(part, Span) else len(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An entry that was written: where its header and its bytes lie."""

    name: bytes
    flags: int
    header: int
    start: int
    stop: int


def compose_zip(entries: Iterable[NewEntry]) -> Layout:
    """Return the layout of an archive; a name that zip cannot hold is a `UsageError`."""
    builder = Builder()
    placed = [_write_entry(builder, entry) for entry in entries]
    start = builder.size
    for entry in placed:
        _write_central(builder, entry)
    _write_end(builder, start, len(placed))
    return builder.build()


def _write_entry(builder: Builder, entry: NewEntry) -> _Placed:
    name = entry.name.encode()
    if b"\0" in name or len(name) > _MAX16:
        raise UsageError(f"a zip archive cannot hold an entry named {entry.name[:80]!r}")
    flags = 0 if entry.name.isascii() else _UTF8
    header, size = builder.size, entry.size
    extra = struct.pack("<HHQQ", _ZIP64, 16, size, size)
    extra += _padding(header + _LOCAL_BYTES + len(name) + len(extra), entry.alignment)
    head = struct.pack("<4s5H", b"PK\x03\x04", _VERSION64, flags, 0, 0, _DATE)
    tail = struct.pack("<2I2H", _MAX32, _MAX32, len(name), len(extra)) + name + extra
    start = header + _LOCAL_BYTES + len(name) + len(extra)
    placed = _Placed(name, flags, header, start, start + size)
    builder.literal(head)
    _write_crc(builder, placed)
    builder.literal(tail)
    for part in entry.parts:
        if isinstance(part, Span):
            builder.add(part)
        else:
            builder.literal(part)
    return placed


def _padding(at: int, alignment: int) -> bytes:
    """Return an extra field, torch's own for this, after which the bytes are aligned."""
    size = -at % alignment
    if 0 < size < _FIELD_BYTES:
        size += alignment
    return struct.pack("<2sH", b"FB", size - _FIELD_BYTES).ljust(size, b"\0") if size else b""


def _write_crc(builder: Builder, entry: _Placed) -> None:
    if entry.start == entry.stop:
        builder.literal(bytes(_CRC))
    else:
        builder.add(Computed("crc32", entry.start, entry.stop))


def _write_central(builder: Builder, entry: _Placed) -> None:
    size = entry.stop - entry.start
    wide: list[int] = []
    if size > _LIMIT:
        wide += [size, size]
    if entry.header > _LIMIT:
        wide.append(entry.header)
    extra = struct.pack(f"<HH{len(wide)}Q", _ZIP64, 8 * len(wide), *wide) if wide else b""
    shown = _MAX32 if size > _LIMIT else size
    at = _MAX32 if entry.header > _LIMIT else entry.header
    made = _UNIX << 8 | _VERSION64
    builder.literal(struct.pack("<4s6H", b"PK\x01\x02", made, _VERSION64, entry.flags, 0, 0, _DATE))
    _write_crc(builder, entry)
    # No comment, the first disk, no internal attributes.
    sizes = (shown, shown, len(entry.name), len(extra), 0, 0, 0)
    builder.literal(struct.pack("<2I5H2I", *sizes, _MODE, at) + entry.name + extra)


def _write_end(builder: Builder, start: int, count: int) -> None:
    end = builder.size
    size = end - start
    if count > _MAX16 or start > _LIMIT or size > _LIMIT:
        version = (_VERSION64, _VERSION64)
        builder.literal(
            struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, *version, 0, 0, count, count, size, start)
        )
        builder.literal(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
    counts = (min(count, _MAX16),) * 2
    where = min(size, _MAX32), min(start, _MAX32)
    builder.literal(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, *counts, *where, 0))
