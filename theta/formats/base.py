"""What a format is: it finds the tensors in a file, and composes a new file for given tensors.

Owns the protocol and the values that pass through it. Must not know any one format.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from theta.formats.checksum import (
    LayoutChecksums,
    by_tensor,
    crc_of_file,
    is_whole,
    span_bytes,
)
from theta.formats.layout import Builder, Computed, Layout, Named, Scatter, Span
from theta.formats.reading import FileReader, Source
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile

Placed = Span | Scatter | Computed | Named


class TensorSpec(msgspec.Struct, frozen=True, gc=False):
    """A tensor without its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Plain bytes of the tensor."""
        return dtype(self.dtype).size_of(self.shape)


@dataclass(frozen=True, slots=True)
class CrcCheck:
    """Bytes ``start`` to ``stop`` of the file, of which the file says that their CRC-32 is this."""

    entry: str
    start: int
    stop: int
    expected: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a format found in one file; tensors stay in the file until their source is read.

    ``tensors`` is in file order; each name's spans in the layout cover it exactly once, and a
    tensor without bytes has none. ``aliases`` maps a tied tensor's further names to the first.
    ``checks`` are the claims that the scan itself did not verify.
    """

    format: str
    version: int
    layout: Layout
    literals: Mapping[str, bytes]
    tensors: Mapping[str, Source]
    aliases: Mapping[str, str]
    checks: tuple[CrcCheck, ...] = ()


class Format(Protocol):
    """One kind of checkpoint file."""

    @property
    def id(self) -> str:
        """Name of the format, as records keep it."""

    @property
    def version(self) -> int:
        """Version of the rules that turn a file into tensors and names."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings, with the dot, in lower case."""

    def sniff(self, head: bytes, name: str) -> bool:
        """Say whether a file with these first 4 KiB and this name is one of this format."""

    def scan(self, file: FileReader) -> Scan:
        """Find the tensors; a broken file is `MalformedFile`, one without any `OpaqueFile`."""

    def compose(
        self,
        tensors: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str],
        aliases: Mapping[str, str],
    ) -> Layout:
        """Return the layout of a canonical new file; what the format lacks is a `UsageError`."""


def tile(file: FileReader, placed: Iterable[tuple[int, Placed]]) -> Layout:
    """Return the layout of a file: these segments, each with its offset, and literals between.

    Segments that overlap are a `MalformedFile`.
    """
    builder = Builder()
    for start, segment in sorted(placed, key=lambda item: item[0]):
        if start < builder.size:
            raise MalformedFile(f"{file.path.name}: two parts of the archive overlap")
        builder.literal(file.read(builder.size, start - builder.size))
        builder.add(segment)
    builder.literal(file.read(builder.size, file.size - builder.size))
    return builder.build()


def settle_checks(
    file: FileReader, layout: Layout, literals: Mapping[str, bytes], checks: Iterable[CrcCheck]
) -> tuple[CrcCheck, ...]:
    """Verify what the tensors' own checksums cannot settle later; return the other checks.

    Kept for `verify_checks` are ranges that hold a whole tensor in plain order; any other range is
    read here. A claim that fails is a `MalformedFile`.
    """
    sizes = span_bytes(layout)
    checksums = LayoutChecksums(layout, by_tensor(layout, literals, {}))
    later = []
    for check in checks:
        parts = [layout.segments[i] for i in checksums.segments(check.start, check.stop)]
        spans = [part for part in parts if isinstance(part, Span | Scatter)]
        ready = all(isinstance(span, Span) and is_whole(span, sizes) for span in spans)
        fixed = not any(isinstance(part, Computed) for part in parts)
        if spans and ready and fixed:
            later.append(check)
        elif crc_of_file(file, check.start, check.stop) != check.expected:
            raise _damaged(file.path.name, check)
    return tuple(later)


def verify_checks(scan: Scan, crcs: Mapping[str, int], *, name: str = "the file") -> None:
    """Compare the file's claims with the CRC-32 of each tensor's plain bytes.

    ``name`` is the file's, for the message. A claim that fails is a `MalformedFile`.
    """
    if not scan.checks:
        return
    checksums = LayoutChecksums(scan.layout, by_tensor(scan.layout, scan.literals, crcs))
    for check in scan.checks:
        if checksums.of(check.start, check.stop) != check.expected:
            raise _damaged(name, check)


def _damaged(name: str, check: CrcCheck) -> MalformedFile:
    return MalformedFile(f"{name} is damaged: entry {check.entry} fails its CRC-32")
