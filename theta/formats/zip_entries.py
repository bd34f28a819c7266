"""The entries of a zip archive, read strictly: where each one's bytes and checksums lie.

Owns the structure of zip files as far as checkpoints use it (APPNOTE 6.3: stored entries, zip64,
data descriptors). Must not know what entries hold.

Anything two programs could read differently is refused: several disks, names or sizes on which the
local and the central header differ, names with NUL, overlapping or doubled entries. An archive with
compressed or encrypted entries is an `OpaqueFile`.
"""

import struct
from dataclasses import dataclass

from theta.formats.reading import FileReader
from theta_store.errors import MalformedFile, OpaqueFile

LOCAL_MAGIC = b"PK\x03\x04"
_CENTRAL_MAGIC = b"PK\x01\x02"
_END_MAGIC = b"PK\x05\x06"
_END64_MAGIC = b"PK\x06\x06"
_LOCATOR_MAGIC = b"PK\x06\x07"
_DESCRIPTOR_MAGIC = b"PK\x07\x08"
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR = 0x1, 0x8
_ZIP64 = 1
_LOCAL_CRC, _CENTRAL_CRC = 14, 16
MAX_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored entry: its bytes are ``start`` to ``stop`` of the file.

    ``crc`` is the CRC-32 the archive claims, ``crc_at`` every place where it does.
    """

    name: str
    start: int
    stop: int
    crc: int
    crc_at: tuple[int, ...]

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class _Central:
    name: bytes
    flags: int
    crc: int
    size: int
    header: int
    crc_at: int


def read_entries(file: FileReader) -> list[Entry]:
    """Return the entries in the order of their bytes; a broken archive is a `MalformedFile`.

    One with compressed or encrypted entries is an `OpaqueFile`.
    """
    start, count, size = _directory(file)
    if count > MAX_ENTRIES:
        raise MalformedFile(f"{file.path.name} claims {count} entries")
    entries = [_entry(file, central) for central in _centrals(file, start, size, count)]
    entries.sort(key=lambda entry: entry.start)
    names: set[str] = set()
    end = 0
    for entry in entries:
        if entry.name in names:
            raise MalformedFile(f"{file.path.name} holds two entries named {entry.name!r}")
        if entry.start < end or entry.stop > start:
            raise MalformedFile(f"{file.path.name}: entry {entry.name!r} overlaps another")
        names.add(entry.name)
        end = entry.stop
    return entries


def _directory(file: FileReader) -> tuple[int, int, int]:
    """Return offset, number of entries and length of the central directory."""
    at = file.size - _END.size
    if at < 0:
        raise MalformedFile(f"{file.path.name} is too short for a zip archive")
    end = _END.unpack(file.read(at, _END.size))
    if end[0] != _END_MAGIC or end[7] != 0:
        raise MalformedFile(
            f"{file.path.name} does not end like a zip archive: it is truncated or damaged"
        )
    if end[1] or end[2] or end[3] != end[4]:
        raise MalformedFile(f"{file.path.name} is one part of a divided archive")
    count, size, start = end[4], end[5], end[6]
    if _MAX16 in (count,) or _MAX32 in (size, start) or _has_locator(file, at):
        start, count, size, at = _directory64(file, at)
    if start + size != at:
        raise MalformedFile(f"{file.path.name}: the zip directory is not where the file says")
    return start, count, size


def _has_locator(file: FileReader, at: int) -> bool:
    return at >= _LOCATOR.size and file.read(at - _LOCATOR.size, 4) == _LOCATOR_MAGIC


def _directory64(file: FileReader, at: int) -> tuple[int, int, int, int]:
    at -= _LOCATOR.size
    if at < 0:
        raise MalformedFile(f"{file.path.name}: the zip64 directory is missing")
    magic, disk, where, disks = _LOCATOR.unpack(file.read(at, _LOCATOR.size))
    if magic != _LOCATOR_MAGIC or disk != 0 or disks != 1 or where + _END64.size != at:
        raise MalformedFile(f"{file.path.name}: the zip64 directory is damaged")
    end = _END64.unpack(file.read(where, _END64.size))
    if end[0] != _END64_MAGIC or end[4] or end[5] or end[6] != end[7]:
        raise MalformedFile(f"{file.path.name}: the zip64 directory is damaged")
    return end[9], end[7], end[8], where


def _centrals(file: FileReader, start: int, size: int, count: int) -> list[_Central]:
    data = file.read(start, size)
    found = []
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > size:
            raise MalformedFile(f"{file.path.name}: the zip directory is too short")
        head = _CENTRAL.unpack_from(data, at)
        name_size, extra_size, comment_size = head[10], head[11], head[12]
        body = at + _CENTRAL.size
        stop = body + name_size + extra_size + comment_size
        if head[0] != _CENTRAL_MAGIC or stop > size:
            raise MalformedFile(f"{file.path.name}: the zip directory is damaged")
        name = data[body : body + name_size]
        extra = data[body + name_size : body + name_size + extra_size]
        found.append(_central(file, head, name, extra, start + at + _CENTRAL_CRC))
        at = stop
    if at != size:
        raise MalformedFile(f"{file.path.name}: the zip directory holds more than it counts")
    return found


def _central(
    file: FileReader, head: tuple[int, ...], name: bytes, extra: bytes, crc_at: int
) -> _Central:
    flags, method, crc, packed, size = head[3], head[4], head[7], head[8], head[9]
    disk, header = head[13], head[16]
    wide = iter(_zip64(extra))
    try:
        size = next(wide) if size == _MAX32 else size
        packed = next(wide) if packed == _MAX32 else packed
        header = next(wide) if header == _MAX32 else header
    except StopIteration:
        raise MalformedFile(f"{file.path.name}: a zip64 size is missing") from None
    if flags & _ENCRYPTED or method != 0:
        how = "encrypted" if flags & _ENCRYPTED else "compressed"
        raise OpaqueFile(f"its entry {_shown(name)} is {how}")
    if packed != size or disk != 0 or b"\0" in name:
        raise MalformedFile(f"{file.path.name}: the directory lies about entry {_shown(name)}")
    return _Central(name, flags, crc, size, header, crc_at)


def _zip64(extra: bytes) -> list[int]:
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == _ZIP64:
            body = extra[at + 4 : at + 4 + size]
            return list(struct.unpack_from(f"<{len(body) // 8}Q", body))
        at += 4 + size
    return []


def _entry(file: FileReader, central: _Central) -> Entry:
    head = _LOCAL.unpack(file.read(central.header, _LOCAL.size))
    name_at = central.header + _LOCAL.size
    name_size, extra_size = head[9], head[10]
    same = file.read(name_at, name_size) == central.name and head[2] == central.flags
    if head[0] != LOCAL_MAGIC or head[3] != 0 or not same:
        raise MalformedFile(f"{file.path.name}: the two headers of {central.name!r} differ")
    start = name_at + name_size + extra_size
    stop = start + central.size
    crc_at = [central.crc_at]
    if central.flags & _DESCRIPTOR:
        crc_at.append(_descriptor(file, central, stop))
        if head[6] not in (0, central.crc):
            raise MalformedFile(f"{file.path.name}: the checksums of {central.name!r} differ")
    else:
        if head[6] != central.crc or _local_sizes(file, head, start) != (central.size,) * 2:
            raise MalformedFile(f"{file.path.name}: the two headers of {central.name!r} differ")
        crc_at.append(central.header + _LOCAL_CRC)
    try:
        name = central.name.decode()
    except UnicodeDecodeError:
        raise MalformedFile(f"{file.path.name}: {central.name!r} is not valid UTF-8") from None
    return Entry(name, start, stop, central.crc, tuple(sorted(crc_at)))


def _local_sizes(file: FileReader, head: tuple[int, ...], start: int) -> tuple[int, ...]:
    """Return the two sizes of a local header whose entry starts at ``start``."""
    sizes = head[8], head[7]
    if _MAX32 not in sizes:
        return sizes
    # A local header gives both sizes or neither (APPNOTE 4.5.3).
    wide = _zip64(file.read(start - head[10], head[10]))
    return tuple(wide[:2])


def _shown(name: bytes) -> str:
    text = name.decode(errors="replace")
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _descriptor(file: FileReader, central: _Central, at: int) -> int:
    """Return where the checksum of a data descriptor lies, which repeats crc and sizes."""
    length = min(24, file.size - at)
    data = file.read(at, max(length, 0))
    narrow = struct.pack("<I", central.crc) + struct.pack("<I", central.size & _MAX32) * 2
    wide = struct.pack("<I", central.crc) + struct.pack("<Q", central.size) * 2
    if data[:4] != _DESCRIPTOR_MAGIC or not data[4:].startswith((narrow, wide)):
        raise MalformedFile(f"{file.path.name}: {central.name!r} disagrees about size or checksum")
    return at + 4
