"""Files to records: the way of a commit.

Owns the reading of one item through its format, the checks of what the file claims, and the
records that stand for it. Must not know which files are tracked, nor whether anything is stored:
the putter may be a session or its dry twin.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from theta.formats import HEAD_BYTES, recognise
from theta.formats.base import Scan, verify_checks
from theta.formats.checksum import crc32_combine
from theta.formats.layout import encode_layout
from theta.formats.reading import FileReader, Source
from theta.formats.sharded import merge_scans
from theta.params import build_params
from theta.progress import Progress
from theta.workspace.items import Item
from theta.workspace.notices import Notice
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile, OpaqueFile, ResourceError
from theta_store.ids import BlobId, CheckpointId, RecordId, TensorId
from theta_store.records import Checkpoint, File, TreeEntry
from theta_store.store import Hints, Putter, StoredTensor


class Taken(msgspec.Struct):
    """The entries that an item became, by path, with what was seen on the way.

    ``unread`` are files whose tensors were known, ``broken`` those that no format could read though
    they look like its files. ``strict``: these are refused; else they are taken as plain files.
    """

    entries: dict[str, TreeEntry] = msgspec.field(default_factory=dict)
    stats: dict[str, os.stat_result] = msgspec.field(default_factory=dict)
    notices: list[Notice] = msgspec.field(default_factory=list)
    plain_bytes: int = 0
    unread: set[str] = msgspec.field(default_factory=set)
    broken: set[str] = msgspec.field(default_factory=set)
    strict: bool = True


# Progress is told no more often than for so much.
TOLD_BYTES = 1 << 20

HintsOf = Callable[[str], Hints]
# The tensors of a file with this stat, by name; none where it has to be read.
Known = Callable[[str, os.stat_result], Mapping[str, TensorId]]


def take(
    putter: Putter,
    root: Path,
    item: Item,
    progress: Progress,
    hints: HintsOf | None = None,
    known: Known | None = None,
    *,
    strict: bool = True,
) -> Taken:
    """Read an item and return its entries; a file that changes meanwhile is a `ResourceError`.

    A damaged file is a `MalformedFile`, or, unless ``strict``, a plain file that is told of.

    ``hints`` says of an entry's path where its parameters may have come from. Of a sharded model,
    shards that ``known`` has the tensors of are not read.
    """
    taken = Taken(strict=strict)
    with ExitStack() as stack:
        readers = {part: stack.enter_context(FileReader(root / part)) for part in item.parts}
        if len(item.parts) > 1 and _take_model(
            putter, item, readers, taken, progress, hints, known
        ):
            pass
        else:
            for part, reader in readers.items():
                taken.entries[part] = _take_file(putter, part, reader, taken, progress, hints)
        for part, reader in readers.items():
            _check_unchanged(part, reader)
            taken.stats[part] = reader.stat
            taken.plain_bytes += reader.size
    return taken


def _check_unchanged(part: str, reader: FileReader) -> None:
    if not reader.unchanged():
        raise ResourceError(
            f"{part} changed while it was read; nothing was committed",
            hint="wait until the program that writes it is done, then retry",
        )


def _take_file(
    putter: Putter,
    path: str,
    reader: FileReader,
    taken: Taken,
    progress: Progress,
    hints: HintsOf | None,
) -> TreeEntry:
    scan = _scan(path, reader, taken)
    if scan is None:
        return _take_blob(putter, path, reader, progress)
    try:
        stored = _put(putter, path, scan, progress, None if hints is None else hints(path))
        leaves = {item.name: item.id for item in stored}
    except MalformedFile as error:
        _break(path, error, taken)
        return _take_blob(putter, path, reader, progress)
    return _entry(path, "checkpoint", _checkpoint(putter, scan, (("", scan),), leaves), reader)


def _take_model(
    putter: Putter,
    item: Item,
    readers: Mapping[str, FileReader],
    taken: Taken,
    progress: Progress,
    hints: HintsOf | None,
    known: Known | None,
) -> bool:
    """Take an index and its shards as one checkpoint; False when they do not make one."""
    index = readers[item.path].read(0, readers[item.path].size)
    scans: dict[str, Scan] = {}
    for part in item.parts[1:]:
        scan = _scan(part, readers[part], taken)
        if scan is None:
            return False
        scans[Path(part).name] = scan
    try:
        files = merge_scans(Path(item.path).name, index, scans)
    except MalformedFile as error:
        taken.notices.append(Notice(f"{error}; its files are kept one by one"))
        return False
    leaves: dict[str, TensorId] = {}
    given = None if hints is None else hints(item.path)
    for part in item.parts[1:]:
        scan = scans[Path(part).name]
        ids = {} if known is None else known(part, readers[part].stat)
        if scan.tensors.keys() <= ids.keys():
            leaves |= {name: ids[name] for name in scan.tensors}
            taken.unread.add(part)
            progress.advance(sum(map(_nbytes, scan.tensors.values())))
            continue
        found = _put(putter, part, scan, progress, given)
        try:
            leaves |= {stored.name: stored.id for stored in found}
        except MalformedFile as error:
            _break(part, error, taken)
            return False
    named = (("", files[0][1]), *files[1:])
    record = _checkpoint(putter, files[1][1], named, leaves)
    taken.entries[item.path] = _entry(item.path, "checkpoint", record, readers[item.path])
    return True


def _scan(path: str, reader: FileReader, taken: Taken) -> Scan | None:
    """Return what a format finds; None for a plain file and for an opaque one."""
    head = reader.read(0, min(HEAD_BYTES, reader.size))
    found = recognise(head, Path(path).name)
    if found is None:
        return None
    try:
        return found.scan(reader)
    except OpaqueFile as error:
        taken.notices.append(_about(path, error, "kept byte for byte, without parameters"))
        return None
    except MalformedFile as error:
        _break(path, error, taken)
        return None


def _break(path: str, error: MalformedFile, taken: Taken) -> None:
    """Refuse a file that its format cannot read, or tell of it."""
    if taken.strict:
        notice = _about(path, error, "nothing was committed")
        raise MalformedFile(
            f"{notice.path}: {notice.text}" if notice.path else notice.text,
            hint=error.hint
            or f"theta restore {path} brings back HEAD's, theta rm {path} leaves it out",
        ) from None
    taken.broken.add(path)
    taken.notices.append(_about(path, error, "it cannot be committed as it is"))


def _about(path: str, error: Exception, more: str) -> Notice:
    """Return what is said about a file, which an error may name itself."""
    name = path.rpartition("/")[2]
    text = str(error).removeprefix(f"{name}: ")
    return Notice(f"{text}; {more}", "" if name in text else path)


def _put(
    putter: Putter, path: str, scan: Scan, progress: Progress, hints: Hints | None
) -> Iterator[StoredTensor]:
    crcs: dict[str, int] = {}
    done = 0
    for stored in putter.put_tensors(scan.tensors.items(), crc=bool(scan.checks), hints=hints):
        done += _nbytes(scan.tensors[stored.name])
        if done >= TOLD_BYTES:
            progress.advance(done)
            done = 0
        if scan.checks:
            crcs[stored.name] = _combined(stored.checks)
        yield stored
    progress.advance(done)
    verify_checks(scan, crcs, name=path)


def _nbytes(source: Source) -> int:
    return dtype(source.dtype).size_of(tuple(source.shape))


def _combined(checks: tuple[tuple[int, int], ...]) -> int:
    crc = 0
    for piece, length in checks:
        crc = crc32_combine(crc, piece, length)
    return crc


def _checkpoint(
    putter: Putter,
    first: Scan,
    files: tuple[tuple[str, Scan], ...],
    leaves: Mapping[str, TensorId],
) -> CheckpointId:
    record = Checkpoint(
        first.format,
        first.version,
        tuple(
            File(name, putter.put_bytes(encode_layout(scan.layout)), dict(scan.literals))
            for name, scan in files
        ),
        build_params(leaves, putter),
        {alias: name for _, scan in files for alias, name in scan.aliases.items()},
    )
    return CheckpointId(putter.put_record(record))


def _take_blob(putter: Putter, path: str, reader: FileReader, progress: Progress) -> TreeEntry:
    ((_, id_),) = putter.put_blobs([(path, reader)])
    progress.advance(reader.size)
    return _entry(path, "blob", BlobId(id_), reader)


def _entry(path: str, kind: str, id_: RecordId, reader: FileReader) -> TreeEntry:
    executable = os.name != "nt" and bool(reader.stat.st_mode & 0o100)
    if kind == "blob":
        return TreeEntry(Path(path).name, "blob", id_, executable)
    return TreeEntry(Path(path).name, "checkpoint", id_, executable)
