"""Layout and tensor bytes back to the file: the way of a checkout.

Owns the sinks that tensors are fed to and the checksums of what they wrote. Must not know any
format, nor where tensors come from: bytes may arrive in any order, from any thread, each once.
"""

import itertools
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import msgspec
import numpy as np

from theta.formats import order
from theta.formats.base import TensorSpec
from theta.formats.checksum import LayoutChecksums, crc32_combine
from theta.formats.layout import CRC_BYTES, Computed, Layout, Literal, Named, Scatter, Span
from theta.formats.writing import FileWriter
from theta_store.dtypes import dtype
from theta_store.errors import MalformedRecord


class Sink(Protocol):
    """Takes the plain bytes of a tensor."""

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``; ``plain`` is not kept."""


class _Part(msgspec.Struct, frozen=True, gc=False):
    """A segment of one tensor: where it lies in the file, and whether a checksum covers it."""

    number: int
    offset: int
    segment: Span | Scatter
    covered: bool


# Bytes that have arrived: start, stop, CRC-32.
_Arrival = tuple[int, int, int]


def _tile(pieces: list[_Arrival], size: int) -> bool:
    """Put pieces in order; say whether they are ``size`` bytes from 0 on, each once."""
    if len(pieces) == 1:
        return pieces[0][:2] == (0, size)
    pieces.sort()
    edges = [0, *itertools.chain(*(piece[:2] for piece in pieces)), size]
    return all(left == right for left, right in zip(edges[::2], edges[1::2], strict=True))


class _TensorSink:
    """What all sinks share: a tensor, and the proof that all of it arrived."""

    __slots__ = ("out", "size", "spec")

    def __init__(self, spec: TensorSpec, out: FileWriter) -> None:
        self.spec = spec
        self.size = spec.nbytes
        self.out = out

    def check(self, start: int, stop: int) -> None:
        """Refuse bytes that the tensor does not have."""
        if not 0 <= start <= stop <= self.size:
            raise MalformedRecord(f"bytes {start} to {stop} lie outside tensor {self.spec.name!r}")

    def incomplete(self) -> MalformedRecord:
        """Return the error of a tensor whose bytes are missing or came twice."""
        return MalformedRecord(
            f"the bytes of tensor {self.spec.name!r} did not arrive once each; "
            f"{self.out.path} is not complete"
        )


class _RunSink(_TensorSink):
    """Bytes go to one run of the file as they come; neighbours are written in one go."""

    __slots__ = ("arrived", "part")

    def __init__(self, spec: TensorSpec, part: _Part, out: FileWriter) -> None:
        super().__init__(spec, out)
        self.part = part
        # Threads append, and nobody looks before all are done.
        self.arrived: list[_Arrival] = []

    @property
    def run(self) -> tuple[FileWriter, int]:
        """The file, and where in it the tensor begins."""
        return self.out, self.part.offset

    def note(self, start: int, plain: memoryview) -> None:
        """Take notice of bytes that are written to the run next."""
        stop = start + plain.nbytes
        self.check(start, stop)
        self.arrived.append((start, stop, zlib.crc32(plain) if self.part.covered else 0))

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``."""
        self.note(start, plain)
        self.out.pwrite(self.part.offset + start, plain)

    def finish(self) -> Mapping[int, int]:
        """Return the CRC-32 of the part if a checksum covers it."""
        if not _tile(self.arrived, self.size):
            raise self.incomplete()
        return {self.part.number: _joined(self.arrived)} if self.part.covered else {}


class _PiecewiseSink(_TensorSink):
    """Bytes go to several parts of the file as they come."""

    def __init__(self, spec: TensorSpec, parts: list[_Part], out: FileWriter) -> None:
        super().__init__(spec, out)
        self.parts = parts
        # Of each part; threads append, and nobody looks before all are done.
        self.arrived: list[list[_Arrival]] = [[] for _ in parts]

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``."""
        self.check(start, start + plain.nbytes)
        plain = plain.cast("B")
        for part, arrived in zip(self.parts, self.arrived, strict=True):
            first = part.segment.start if isinstance(part.segment, Span) else 0
            low, high = max(start, first), min(start + len(plain), first + part.segment.size)
            if low >= high:
                continue
            piece = plain[low - start : high - start]
            self.out.pwrite(part.offset + low - first, piece)
            crc = zlib.crc32(piece) if part.covered else 0
            arrived.append((low - first, high - first, crc))

    def finish(self) -> Mapping[int, int]:
        """Return the CRC-32 of each part that a checksum covers."""
        crcs = {}
        for part, arrived in zip(self.parts, self.arrived, strict=True):
            if not _tile(arrived, part.segment.size):
                raise self.incomplete()
            if part.covered:
                crcs[part.number] = _joined(arrived)
        return crcs


def _joined(pieces: list[_Arrival]) -> int:
    """Return the CRC-32 of pieces that follow each other."""
    crc = 0
    for start, stop, piece in pieces:
        crc = crc32_combine(crc, piece, stop - start)
    return crc


class _CollectingSink(_TensorSink):
    """The whole tensor is held from its first byte to its last, then put in order and written."""

    def __init__(self, spec: TensorSpec, parts: list[_Part], out: FileWriter) -> None:
        super().__init__(spec, out)
        self.parts = parts
        self.lock = threading.Lock()
        self.arrived: list[_Arrival] = []
        self.missing = self.size
        self.plain: bytearray | None = None
        self.crcs: dict[int, int] = {}

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``; the last ones write the tensor."""
        stop = start + plain.nbytes
        self.check(start, stop)
        with self.lock:
            if self.plain is None:
                self.plain = bytearray(self.size)
            self.plain[start:stop] = plain.cast("B")
            self.arrived.append((start, stop, 0))
            self.missing -= stop - start
            if not self.missing:
                self._release(self.plain)
                self.plain = None

    def finish(self) -> Mapping[int, int]:
        """Return the CRC-32 of each part that a checksum covers."""
        if not _tile(self.arrived, self.size):
            raise self.incomplete()
        return self.crcs

    def _release(self, plain: bytearray) -> None:
        for part in self.parts:
            if isinstance(part.segment, Span):
                ordered = _in_source_order(self.spec, part.segment, plain)
            else:
                ordered = _scattered(self.spec, part.segment, plain)
            self.out.pwrite(part.offset, ordered)
            self.crcs[part.number] = zlib.crc32(ordered) if part.covered else 0


_TensorSinks = _RunSink | _PiecewiseSink | _CollectingSink


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """A file whose literals are written and whose tensors are awaited.

    ``sinks`` has every tensor that the layout names, and those that have no bytes. Feed each its
    plain bytes, then `finish`; the file is whole only after that.
    """

    sinks: Mapping[str, Sink]
    _tensors: Mapping[str, _TensorSinks]
    _out: FileWriter
    _layout: Layout
    _fixed: Callable[[int], int]

    def finish(self, standing: Collection[str] = ()) -> None:
        """Check that every byte arrived, once, and write the checksums; else `MalformedRecord`.

        Tensors that are ``standing`` were in the file before; no checksum may cover them.
        """
        crcs: dict[int, int] = {}
        for name, sink in self._tensors.items():
            if name not in standing:
                crcs.update(sink.finish())
        if not any(isinstance(segment, Computed) for segment in self._layout.segments):
            return
        checksums = LayoutChecksums(
            self._layout, lambda index: crcs[index] if index in crcs else self._fixed(index)
        )
        known: dict[tuple[int, int], int] = {}
        for offset, segment in self._layout.placed():
            if isinstance(segment, Computed):
                key = segment.start, segment.stop
                if key not in known:
                    known[key] = checksums.of(*key)
                self._out.pwrite(offset, known[key].to_bytes(CRC_BYTES, "little"))


def plan_join(
    layout: Layout,
    literals: Mapping[str, bytes],
    out: FileWriter,
    specs: Mapping[str, TensorSpec],
) -> JoinPlan:
    """Write what is no tensor's and return the plan for the rest.

    ``specs`` describes the tensors by name; those that the layout does not name are another
    file's. A layout that does not fit them, the literals or the file is a `MalformedRecord`.
    """
    if out.size != layout.size:
        raise MalformedRecord(f"a file of {out.size} bytes for a layout of {layout.size}")
    parts = _parts_by_tensor(layout)
    sinks: dict[str, _TensorSinks] = {}
    # In the order of the file: neighbours were stored together, and are written in one go.
    empty = (name for name, spec in specs.items() if not spec.nbytes)
    for name in dict.fromkeys((*parts, *empty)):
        if name not in specs:
            raise MalformedRecord(f"the layout needs tensor {name!r}, which the checkpoint lacks")
        sinks[name] = _sink(specs[name], parts.get(name, []), out)
    fixed = dict(_write_fixed(layout, literals, out))
    return JoinPlan(MappingProxyType(sinks), sinks, out, layout, fixed.__getitem__)


def _parts_by_tensor(layout: Layout) -> dict[str, list[_Part]]:
    covered = _covered(layout)
    parts: dict[str, list[_Part]] = {}
    for index, (offset, segment) in enumerate(layout.placed()):
        if isinstance(segment, Span | Scatter):
            part = _Part(index, offset, segment, covered=index in covered)
            parts.setdefault(segment.name, []).append(part)
    return parts


def _covered(layout: Layout) -> set[int]:
    ranges = {(s.start, s.stop) for s in layout.segments if isinstance(s, Computed)}
    if not ranges:
        return set()
    checksums = LayoutChecksums(layout, lambda _: 0)
    return {index for start, stop in ranges for index in checksums.segments(start, stop)}


def _sink(spec: TensorSpec, parts: list[_Part], out: FileWriter) -> _TensorSinks:
    segments = [part.segment for part in parts]
    only = segments[0] if len(segments) == 1 else None
    if isinstance(only, Span) and only.plain and (only.start, only.stop) == (0, spec.nbytes):
        return _RunSink(spec, parts[0], out)
    spans = sorted((s.start, s.stop) for s in segments if isinstance(s, Span))
    scatters = len(parts) - len(spans)
    edges = [0, *itertools.chain(*spans), spec.nbytes]
    whole = all(left == right for left, right in zip(edges[::2], edges[1::2], strict=True))
    if not (scatters == 1 and not spans if scatters else whole):
        raise MalformedRecord(f"the layout does not hold tensor {spec.name!r} exactly once")
    plain = all(isinstance(segment, Span) and segment.plain for segment in segments)
    return _PiecewiseSink(spec, parts, out) if plain else _CollectingSink(spec, parts, out)


def _write_fixed(
    layout: Layout, literals: Mapping[str, bytes], out: FileWriter
) -> Iterable[tuple[int, int]]:
    for index, (offset, segment) in enumerate(layout.placed()):
        if isinstance(segment, Literal):
            data = segment.data
        elif isinstance(segment, Named):
            data = _named(segment, literals)
        else:
            continue
        out.pwrite(offset, data)
        yield index, zlib.crc32(data)


def _named(segment: Named, literals: Mapping[str, bytes]) -> bytes:
    data = literals.get(segment.label)
    if data is None or len(data) != segment.size:
        raise MalformedRecord(
            f"the layout needs {segment.size} bytes named {segment.label!r}, which are not there"
        )
    return data


def _in_source_order(spec: TensorSpec, span: Span, plain: bytearray) -> memoryview:
    ordered = np.frombuffer(plain, np.uint8)
    if span.axes is not None:
        ordered = order.permute(plain, dtype(spec.dtype), spec.shape, span.axes)
    return order.swapped(ordered, span.swap).data[span.start : span.stop]


def _scattered(spec: TensorSpec, scatter: Scatter, plain: bytearray) -> memoryview:
    region = bytearray(scatter.background)
    turned = order.swapped(np.frombuffer(plain, np.uint8), scatter.swap).data
    window = memoryview(region)[scatter.offset :]
    order.scatter(turned, window, dtype(spec.dtype), spec.shape, scatter.strides)
    return memoryview(region)
