"""The safetensors format: a strict reader and a canonical writer.

Owns the file's frame (8 bytes of header length, JSON header, tensor bytes) and what makes it
sound. Must not know torch, the store, or what tensors mean.

Sound: the header starts with ``{``, is UTF-8, names no key twice, and the tensors fill the rest of
the file without gap or overlap. Any string is a legal name.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from theta.escapes import escaped
from theta.formats.base import Scan, TensorSpec
from theta.formats.layout import Builder, Layout, Literal, Span
from theta.formats.reading import FileReader, FileSource
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile, MalformedRecord, UsageError

FORMAT = "safetensors"
VERSION = 1
HEADER_BYTES = 100_000_000
LENGTH_BYTES = 8
ALIGNMENT = 8
METADATA = "__metadata__"

# What safetensors 0.8 knows, in its own order: a file holds the widest first.
NAMES = (
    *("BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8"),
    *("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    *("I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"),
)
_RANK = {name: rank for rank, name in enumerate(NAMES)}

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Shape = Annotated[tuple[_Natural, ...], msgspec.Meta(max_length=64)]
_LFS_POINTER = b"version https://git-lfs"


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What the header says of one tensor."""

    dtype: str
    shape: _Shape
    data_offsets: tuple[_Natural, _Natural]


_HEADER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY = msgspec.json.Decoder(_Entry)
_ENTRIES = msgspec.json.Decoder(list[_Entry])
_STRINGS = msgspec.json.Decoder(dict[str, str] | None)


class Safetensors:
    """Files that the safetensors library writes."""

    id = FORMAT
    version = VERSION
    suffixes: tuple[str, ...] = (".safetensors",)

    def sniff(self, head: bytes, name: str) -> bool:
        """Say yes by content, or by name: a broken file is reported, not taken for a blob."""
        length = int.from_bytes(head[:LENGTH_BYTES], "little")
        content = 2 <= length <= HEADER_BYTES and head[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{"
        return content or name.lower().endswith(self.suffixes)

    def scan(self, file: FileReader) -> Scan:
        """Find the tensors; anything unsound is a `MalformedFile`."""
        header = _read_header(file)
        raw = _decode(file, header)
        noted = bytes(raw.pop(METADATA, b""))
        metadata = _typed(file, _STRINGS, noted or b"null", METADATA)
        entries = _entries(file, raw)
        once = _names_once(header, noted, entries.values())
        _check_keys(file, (noted or b"{}") if once else header)
        start = LENGTH_BYTES + len(header)
        builder = Builder()
        builder.literal(len(header).to_bytes(LENGTH_BYTES, "little") + header)
        tensors = {}
        for name, entry in _in_file_order(file, entries, file.size - start):
            begin, end = entry.data_offsets
            tensors[name] = FileSource(file, entry.dtype, entry.shape, start + begin)
            if begin < end:
                builder.add(Span(name, 0, end - begin))
        aliases = _aliases(metadata or {}, tensors)
        return Scan(FORMAT, VERSION, builder.build(), {}, tensors, aliases)

    def compose(
        self,
        tensors: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str],
        aliases: Mapping[str, str],
    ) -> Layout:
        """Return the layout of the file that the safetensors library would write.

        An alias becomes a metadata entry, as ``safetensors.torch.save_model`` spells it. A dtype
        or a name that the format lacks is a `UsageError`.
        """
        _check_specs(tensors)
        ordered = sorted(tensors, key=lambda spec: (-_RANK[spec.dtype], spec.name.encode()))
        notes = dict(metadata) | dict(aliases)
        header: dict[str, object] = {METADATA: dict(sorted(notes.items()))} if notes else {}
        builder, offset = Builder(), 0
        for spec in ordered:
            offsets = [offset, offset + spec.nbytes]
            header[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": offsets}
            offset += spec.nbytes
        builder.literal(_frame(msgspec.json.encode(header)))
        for spec in ordered:
            if spec.nbytes:
                builder.add(Span(spec.name, 0, spec.nbytes))
        return builder.build()


def metadata_of(layout: Layout) -> dict[str, str]:
    """Return the metadata of the file that a layout of this format describes, aliases included."""
    first = layout.segments[0] if layout.segments else None
    try:
        header = first.data[LENGTH_BYTES:] if isinstance(first, Literal) else b""
        return _STRINGS.decode(_HEADER.decode(header).get(METADATA, msgspec.Raw(b"null"))) or {}
    except msgspec.MsgspecError as error:
        raise MalformedRecord(f"a layout holds no safetensors header: {error}") from None


def _frame(encoded: bytes) -> bytes:
    padded = encoded + b" " * (-len(encoded) % ALIGNMENT)
    if len(padded) > HEADER_BYTES:
        raise UsageError(f"a safetensors header has at most {HEADER_BYTES} bytes")
    return len(padded).to_bytes(LENGTH_BYTES, "little") + padded


def _check_specs(tensors: Sequence[TensorSpec]) -> None:
    seen = set()
    for spec in tensors:
        if spec.dtype not in _RANK:
            raise UsageError(f"safetensors cannot hold {spec.dtype}, the dtype of {spec.name!r}")
        if spec.name == METADATA or spec.name in seen:
            raise UsageError(f"safetensors cannot hold {spec.name!r}: the name is taken")
        seen.add(spec.name)


def _read_header(file: FileReader) -> bytes:
    name = file.path.name
    if file.size < LENGTH_BYTES:
        raise MalformedFile(f"{name} is truncated: {file.size} bytes are no safetensors file")
    length = int.from_bytes(file.read(0, LENGTH_BYTES), "little")
    if length > HEADER_BYTES:
        raise _too_long(file, length)
    if LENGTH_BYTES + length > file.size:
        raise MalformedFile(
            f"{name} is truncated: its header needs {LENGTH_BYTES + length} bytes, "
            f"the file has {file.size}"
        )
    header = file.read(LENGTH_BYTES, length)
    if not header.startswith(b"{"):
        raise MalformedFile(f"{name} has a header that is not a JSON object")
    return header


def _too_long(file: FileReader, length: int) -> MalformedFile:
    head = file.read(0, min(file.size, len(_LFS_POINTER)))
    if head == _LFS_POINTER:
        return MalformedFile(
            f"{file.path.name} is a Git LFS pointer, not the file itself", hint="git lfs pull"
        )
    return MalformedFile(
        f"{file.path.name} claims a header of {length} bytes; at most {HEADER_BYTES} are allowed"
    )


def _decode(file: FileReader, header: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _HEADER.decode(header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFile(f"{file.path.name} has a header that is not JSON: {error}") from None


def _typed(file: FileReader, decoder: Any, raw: msgspec.Raw | bytes, name: str) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFile(
            f"{file.path.name} has a broken header entry {_shown(name)}: {error}"
        ) from None


def _entries(file: FileReader, raw: Mapping[str, msgspec.Raw]) -> dict[str, _Entry]:
    try:
        found = _ENTRIES.decode(b"[" + b",".join(raw.values()) + b"]")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # One by one, to say which is broken.
        return {name: _typed(file, _ENTRY, value, name) for name, value in raw.items()}
    return dict(zip(raw, found, strict=True))


def _names_once(header: bytes, metadata: bytes, entries: Collection[_Entry]) -> bool:
    """Say whether it is plain that a header names no key twice, those of the metadata aside.

    What was read of it takes so many commas; a key that is named again takes one more. A comma in
    a name hides nothing: then the header has too many.
    """
    members = len(entries) + bool(metadata)
    commas = max(members - 1, 0) + metadata.count(b",")
    # Three fields, two offsets, and the axes.
    commas += sum(2 + 1 + max(len(entry.shape) - 1, 0) for entry in entries)
    return header.count(b",") == commas


def _check_keys(file: FileReader, header: bytes) -> None:
    # Only after the typed pass: it bounds what this one may build.
    def pairs(items: list[tuple[str, object]]) -> None:
        if len(dict(items)) == len(items):
            return
        seen = set()
        for key, _ in items:
            if key in seen:
                raise MalformedFile(f"{file.path.name} names {_shown(key)} twice in its header")
            seen.add(key)

    json.loads(header, object_pairs_hook=pairs)


def _in_file_order(
    file: FileReader, entries: Mapping[str, _Entry], size: int
) -> Iterator[tuple[str, _Entry]]:
    """Yield the tensors by offset; they must fill ``size`` bytes without gap or overlap."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != at:
            how = "leaves a gap before" if begin > at else "overlaps another tensor with"
            raise MalformedFile(f"{file.path.name} {how} {_shown(name)}: bytes {begin} to {end}")
        needed = _nbytes(file, name, entry)
        if needed != end - begin:
            raise MalformedFile(
                f"{file.path.name} gives {_shown(name)} {end - begin} bytes; {entry.dtype} of "
                f"shape {list(entry.shape)} needs {needed}"
            )
        at = end
        yield name, entry
    if at != size:
        what = "is truncated" if at > size else "has bytes that belong to no tensor"
        raise MalformedFile(
            f"{file.path.name} {what}: {at} tensor bytes are expected, {size} are there"
        )


def _nbytes(file: FileReader, name: str, entry: _Entry) -> int:
    size = _size(entry.dtype, entry.shape)
    if size is not None:
        return size
    if entry.dtype not in _RANK:
        raise MalformedFile(
            f"{file.path.name} gives {_shown(name)} the unknown dtype {_shown(entry.dtype)}"
        )
    raise MalformedFile(
        f"{file.path.name} has {_shown(name)} of {entry.dtype} and shape {list(entry.shape)}, "
        f"which does not fill whole bytes"
    )


@lru_cache(maxsize=1024)
def _size(kind: str, shape: tuple[int, ...]) -> int | None:
    """Return the bytes of a tensor; None where there can be no such tensor."""
    if kind not in _RANK:
        return None
    row = dtype(kind)
    return None if math.prod(shape) % row.block else row.size_of(shape)


def _aliases(metadata: Mapping[str, str], tensors: Mapping[str, object]) -> dict[str, str]:
    """Return the tied names that ``safetensors.torch.save_model`` leaves in the metadata."""
    return {
        alias: name for alias, name in metadata.items() if name in tensors and alias not in tensors
    }


def _shown(name: str) -> str:
    # A hostile name must not flood the terminal.
    return f"'{escaped(name, 80)}'"
