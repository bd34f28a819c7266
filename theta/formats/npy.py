"""numpy's npy format: one array in a file, and the frame that the entries of an npz share.

Owns the header (NEP 1, versions 1.0 to 3.0) and the order of the bytes behind it. Must not import
a pickle module: an array of Python objects is a pickle, and it is never read.

The header is a Python literal in numpy's spelling; it is matched by a grammar of its own and never
evaluated. A lone file's one parameter is called ``array``. A void of n bytes (what numpy makes of
bfloat16 and float8) is kept as OPAQUE with a last axis of n more; one of a byte without it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from theta.formats.base import Scan, TensorSpec
from theta.formats.layout import Builder, Layout, Span
from theta.formats.order import AXES
from theta.formats.reading import FileReader, FileSource, GatheredSource, Source
from theta_store.dtypes import DType, dtype, from_numpy
from theta_store.errors import MalformedFile, OpaqueFile, UnsafePickle, UsageError

FORMAT = "npy"
VERSION = 1
NAME = "array"
MAGIC = b"\x93NUMPY"
# numpy itself reads no longer header unless it is told to.
HEADER_BYTES = 10_000
ALIGNMENT = 64

_LENGTH_BYTES = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_GROWTH_DIGITS = 21
_PICKLE = b"\x80"
_ARCHIVE = b"PK"
_ITEM = re.compile(
    r"""\s*(?P<quote>['"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*
    (?:'(?P<one>[^'"\\]*)'|"(?P<two>[^'"\\]*)"|(?P<flag>True|False)|\((?P<shape>[0-9\s,L]*)\))
    \s*(?:,|(?=\}))""",
    re.ASCII | re.VERBOSE,
)
_AXIS = re.compile(r"\s*(0|[1-9][0-9]{0,18})L?\s*", re.ASCII)
_STRUCTURED = re.compile(r"""['"]descr['"]\s*:\s*[\[(]""")
_DESCR = re.compile(r"([<>|])([biufcV])([1-9][0-9]{0,8})", re.ASCII)
# Dtypes that numpy has. OPAQUE is none of them: how many bytes made an element is not known.
_OWN = {"bool", "int", "uint"}
_OWN_FLOATS = {"F16", "F32", "F64", "C64", "C128"}


@dataclass(frozen=True, slots=True)
class Array:
    """An array in a file: its elements are bytes ``start`` to ``stop``.

    ``axes`` and ``swap`` are a span's: the order of the axes in the file, None for C order, and
    the bytes of a word that is big-endian, 0 for none.
    """

    dtype: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None
    swap: int
    start: int
    stop: int

    def source(self, file: FileReader) -> Source:
        """Return the tensor, read from the file when it is wanted."""
        if self.axes is None or self.start == self.stop:
            return FileSource(file, self.dtype, self.shape, self.start, self.swap)
        strides = [0] * len(self.shape)
        step = dtype(self.dtype).nbytes
        for axis in reversed(self.axes):
            strides[axis] = step
            step *= self.shape[axis]
        size = self.stop - self.start
        return GatheredSource(
            file, self.dtype, self.shape, self.start, size, tuple(strides), self.swap
        )

    def span(self, name: str) -> Span | None:
        """Return the segment that puts the tensor back; None if it has no bytes."""
        if self.start == self.stop:
            return None
        return Span(name, 0, self.stop - self.start, self.axes, self.swap)


class Npy:
    """Files that ``numpy.save`` writes."""

    id = FORMAT
    version = VERSION
    suffixes: tuple[str, ...] = (".npy",)

    def sniff(self, head: bytes, name: str) -> bool:
        """Say yes by content, or by name: a broken file is reported, not taken for a blob."""
        named = name.lower().endswith(self.suffixes) and not head.startswith(_ARCHIVE)
        return head.startswith(MAGIC) or named

    def scan(self, file: FileReader) -> Scan:
        """Find the array; a broken file is `MalformedFile`.

        Objects, which are a pickle, are `UnsafePickle`; text, structures, other dtypes that the
        store lacks, and a file of several arrays are `OpaqueFile`.
        """
        array = read_array(file, 0, file.size, "the array")
        builder = Builder()
        builder.literal(file.read(0, array.start))
        span = array.span(NAME)
        if span is not None:
            builder.add(span)
        return Scan(FORMAT, VERSION, builder.build(), {}, {NAME: array.source(file)}, {})

    def compose(
        self,
        tensors: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str],
        aliases: Mapping[str, str],
    ) -> Layout:
        """Return the layout of the file that numpy would write, under any name of the tensor.

        Not exactly one tensor, or a dtype that numpy lacks, is a `UsageError`.
        """
        check_plain(FORMAT, metadata, aliases)
        if len(tensors) != 1:
            raise UsageError(f"npy holds one tensor, not {len(tensors)}", hint="use npz")
        builder = Builder()
        builder.literal(own_header(tensors[0], FORMAT))
        if tensors[0].nbytes:
            builder.add(Span(tensors[0].name, 0, tensors[0].nbytes))
        return builder.build()


def check_plain(format_: str, metadata: Mapping[str, str], aliases: Mapping[str, str]) -> None:
    """Refuse with `UsageError` what numpy's files have no place for."""
    if metadata or aliases:
        raise UsageError(f"{format_} has no place for metadata and tied names")


def read_array(file: FileReader, start: int, stop: int, what: str) -> Array:
    """Return the array that bytes ``start`` to ``stop`` of a file hold; errors name it ``what``.

    A broken one is `MalformedFile`, one that is no tensor `OpaqueFile`.
    """
    text, body = _header(file, start, stop, what)
    descr, fortran, shape = _fields(file, text, what)
    row, swap, void = _kind(descr, what)
    if len(shape) + void > AXES:
        raise OpaqueFile(f"{what} has {len(shape)} axes")
    axes = _axes(shape, fortran=fortran)
    if void:
        shape = (*shape, int(descr[2:]))
        axes = None if axes is None else (*axes, len(axes))
    size = row.size_of(shape)
    if body + size > stop:
        raise MalformedFile(
            f"{file.path.name} is truncated: {what} needs {size} bytes, {stop - body} are there"
        )
    if body + size < stop:
        raise OpaqueFile(f"{stop - body - size} bytes follow {what}")
    return Array(row.name, shape, axes, swap, body, stop)


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    """Return the head of an npy file of a dtype and shape, as numpy writes it.

    A dtype that numpy lacks is written as unsigned integers of its width: the bits are exact.
    """
    row = dtype(kind)
    return _framed(row.carrier, (row.size_of(shape),) if row.block > 1 else shape)


def own_header(spec: TensorSpec, format_: str) -> bytes:
    """Return the head of a tensor as numpy writes it; a dtype that numpy lacks is `UsageError`."""
    row = dtype(spec.dtype)
    if row.kind not in _OWN and row.name not in _OWN_FLOATS:
        hint = "cast it with --dtype F32, or use safetensors" if row.is_float else None
        raise UsageError(f"{format_} cannot hold {row.name}, the dtype of {spec.name!r}", hint=hint)
    return _framed(row.carrier, spec.shape)


def _framed(descr: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    # numpy leaves room for an axis that grows, and always pads by at least one space.
    text += " " * (_GROWTH_DIGITS - len(repr(shape[0])) if shape else 0)
    frame = len(MAGIC) + 2 + 2
    padding = ALIGNMENT - (frame + len(text) + 1) % ALIGNMENT
    body = text.encode("ascii") + b" " * padding + b"\n"
    return MAGIC + b"\x01\x00" + len(body).to_bytes(2, "little") + body


def _header(file: FileReader, start: int, stop: int, what: str) -> tuple[str, int]:
    """Return the text of a header, and where the elements start."""
    head = file.read(start, min(12, stop - start))
    if head.startswith(_PICKLE):
        raise UnsafePickle(f"{what} is a bare pickle")
    size = _LENGTH_BYTES.get((head[6], head[7])) if len(head) > 7 else None
    if not head.startswith(MAGIC) or size is None or len(head) < 8 + size:
        raise MalformedFile(f"{file.path.name}: {what} does not start like one of numpy")
    length = int.from_bytes(head[8 : 8 + size], "little")
    body = start + 8 + size + length
    if body > stop:
        raise MalformedFile(f"{file.path.name} is truncated: the header of {what} is not whole")
    raw = file.read(body - length, min(length, HEADER_BYTES))
    text = raw.decode("utf-8" if head[6] == 3 else "latin-1", errors="replace")
    if _STRUCTURED.search(text):
        raise OpaqueFile(f"{what} is made of structures")
    if length > HEADER_BYTES:
        raise MalformedFile(f"{file.path.name}: {what} claims a header of {length} bytes")
    return text, body


def _fields(file: FileReader, text: str, what: str) -> tuple[str, bool, tuple[int, ...]]:
    """Return descr, fortran_order and shape of a header, each of them once."""
    items: dict[str, re.Match[str]] = {}
    rest = text.strip()
    at, end = 1, len(rest) - 1
    while rest[at:end].strip():
        item = _ITEM.match(rest, at)
        if item is None or item["key"] in items:
            raise _broken(file, what)
        items[item["key"]] = item
        at = item.end()
    if rest[:1] != "{" or rest[end:] != "}" or len(items) != 3:
        raise _broken(file, what)
    descr = items["descr"]["one"] or items["descr"]["two"]
    flag, shape = items["fortran_order"]["flag"], _shape(items["shape"]["shape"])
    if descr is None or flag is None or shape is None:
        raise _broken(file, what)
    return descr, flag == "True", shape


def _broken(file: FileReader, what: str) -> MalformedFile:
    return MalformedFile(f"{file.path.name}: the header of {what} is broken")


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not parts[-1].strip():
        parts.pop()
    elif len(parts) == 1:
        return None
    axes = [_AXIS.fullmatch(part) for part in parts]
    return tuple(int(axis[1]) for axis in axes if axis) if all(axes) else None


def _kind(descr: str, what: str) -> tuple[DType, int, bool]:
    """Return the dtype, the bytes of a word to turn round, and whether an axis of bytes is added.

    What is no tensor is an `OpaqueFile`: objects, text, dates, and numbers the store lacks.
    """
    if descr.startswith("|O"):
        raise UnsafePickle(f"{what} holds Python objects, which numpy pickles")
    found = _DESCR.fullmatch(descr)
    if found is None:
        raise OpaqueFile(f"{what} is of dtype {descr[:40]!r}")
    order, kind, size = found[1], found[2], int(found[3])
    if kind == "V" and order != ">":
        return dtype("OPAQUE"), 0, size > 1
    try:
        row = from_numpy(kind, size)
    except UsageError:
        raise OpaqueFile(f"{what} is of dtype {descr!r}") from None
    if order == "|" and size > 1:
        raise OpaqueFile(f"{what} does not tell its byte order")
    return row, row.width if order == ">" and row.width > 1 else 0, False


def _axes(shape: tuple[int, ...], *, fortran: bool) -> tuple[int, ...] | None:
    """Return the order of the axes in the file, from the outermost; None for C order."""
    if not fortran or sum(length != 1 for length in shape) < 2:
        return None
    return tuple(reversed(range(len(shape))))
