"""Tensors and blobs to chunks and back: the parallel pipeline.

Owns cutting, batching of small pieces, hashing and encoding in parallel, and the order in which
finished records come out. Must not know files, formats or commits.
"""

import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from theta_store.chunking import pieces_within, ranges_of, split, split_bytes
from theta_store.clock import UNTIMED, Clock
from theta_store.dtypes import DType, dtype
from theta_store.ids import ChunkId, chunk_id
from theta_store.payloads import Payload
from theta_store.pipeline import Pool
from theta_store.records import Blob, Tensor

if TYPE_CHECKING:
    from theta_store.chunks import Chunks
    from theta_store.derivations import Derivation
    from theta_store.derivations.base import Claim
    from theta_store.scratch import Scratch
    from theta_store.sketch import Sampler

BATCH_BYTES = 1 << 20
BATCH_PIECES = 256


class Source(Protocol):
    """Plain bytes of a tensor, little-endian, C order, read by position from any thread."""

    @property
    def dtype(self) -> str:
        """Name of the dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""


class ByteSource(Protocol):
    """The bytes of a blob, read by position from any thread."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with bytes from ``start``."""


class Sink(Protocol):
    """Takes the plain bytes of a tensor or blob in any order, from any thread, each once."""

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``; ``plain`` must not be kept."""


class Known(Protocol):
    """What a writer tells the pipeline about chunks."""

    def claim(self, id_: ChunkId) -> bool:
        """Say whether the caller has to store this chunk: nobody else has, nor is about to."""

    def put(self, payload: Payload) -> None:
        """Store a payload."""


@dataclass(frozen=True)
class Stored:
    """A tensor or blob whose chunks are stored; ``checks`` are (CRC-32, length) of each chunk."""

    name: str
    record: Tensor | Blob
    checks: tuple[tuple[int, int], ...]
    sketch: bytes | None = None


@dataclass
class _Assembly:
    """A tensor or blob on its way: chunk ids arrive piece by piece."""

    name: str
    source: Source | ByteSource
    dtype: DType | None
    ranges: list[tuple[int, int]]
    derive: "Callable[[], Sequence[Derivation]] | None" = None
    sampler: "Sampler | None" = None
    ids: list[ChunkId] = field(default_factory=list)
    checks: list[tuple[int, int]] = field(default_factory=list)
    _derivations: "Sequence[Derivation] | None" = None
    _deriving: threading.Lock = field(default_factory=threading.Lock)

    @property
    def complete(self) -> bool:
        return len(self.ids) == len(self.ranges)

    def claims(self, start: int, stop: int) -> "list[Claim]":
        """Return what is claimed of a piece; what the tensor follows from is looked for once."""
        if self.derive is None:
            return []
        with self._deriving:
            if self._derivations is None:
                self._derivations = self.derive()
        claims = (derivation.claim(start, stop) for derivation in self._derivations)
        return [claim for claim in claims if claim is not None]

    def stored(self) -> Stored:
        chunks = tuple(self.ids)
        if self.dtype is None:
            size = self.ranges[-1][1] if self.ranges else 0
            return Stored(self.name, Blob(size, chunks), tuple(self.checks))
        shape: tuple[int, ...] = tuple(self.source.shape)  # type: ignore[union-attr]
        record = Tensor(self.dtype.name, shape, chunks)
        sketch = None if self.sampler is None else self.sampler.finish()
        return Stored(self.name, record, tuple(self.checks), sketch)


_Piece = tuple[_Assembly, int, int]
Derive = Callable[[str, Source], "Callable[[], Sequence[Derivation]]"]
Sample = Callable[[str, tuple[int, ...]], "Sampler | None"]


def put_tensors(
    items: Iterable[tuple[str, Source]],
    known: Known,
    pool: Pool,
    *,
    crc: bool = False,
    derive: Derive | None = None,
    chunks: "Chunks | None" = None,
    sample: Sample | None = None,
    clock: Clock = UNTIMED,
) -> Iterator[Stored]:
    """Store tensors; yield each, in order, once all its chunks are on their way to the disk.

    ``derive`` returns what says, from any thread, what a tensor may follow from; it is asked only
    where a chunk is new. What that needs is read from ``chunks``.
    ``sample`` returns what takes the sketch of a tensor of a dtype and shape, None for no sketch.
    """
    assemblies = (
        _Assembly(
            name,
            source,
            row := dtype(source.dtype),
            split(row, tuple(source.shape)),
            None if derive is None else derive(name, source),
            None if sample is None else sample(source.dtype, tuple(source.shape)),
        )
        for name, source in items
    )
    return _put(assemblies, known, pool, crc=crc, chunks=chunks, clock=clock)


def put_here(source: Source, known: Known, scratch: "Scratch", clock: Clock) -> Tensor:
    """Store a small tensor in the calling thread, without a guess; return its record."""
    row = dtype(source.dtype)
    ranges = split(row, tuple(source.shape))
    assembly = _Assembly("", source, row, ranges)
    made = [
        _store_piece((assembly, start, stop), known, None, scratch, clock, crc=False)
        for start, stop in ranges
    ]
    return Tensor(row.name, tuple(source.shape), tuple(id_ for _, id_, _ in made))


def put_blobs(
    items: Iterable[tuple[str, ByteSource]], known: Known, pool: Pool, *, clock: Clock = UNTIMED
) -> Iterator[Stored]:
    """Store blobs; yield each, in order, once all its chunks are on their way to the disk."""
    assemblies = (_Assembly(name, source, None, split_bytes(source.size)) for name, source in items)
    return _put(assemblies, known, pool, crc=False, chunks=None, clock=clock)


def _put(
    assemblies: Iterable[_Assembly],
    known: Known,
    pool: Pool,
    *,
    crc: bool,
    chunks: "Chunks | None",
    clock: Clock,
) -> Iterator[Stored]:
    waiting: deque[_Assembly] = deque()

    def work(batch: list[_Piece]) -> list[tuple[_Assembly, ChunkId, tuple[int, int]]]:
        scratch = pool.scratch()
        return [_store_piece(piece, known, chunks, scratch, clock, crc=crc) for piece in batch]

    for results in pool.map(work, _batches(assemblies, waiting), clock=clock):
        for assembly, id_, check in results:
            assembly.ids.append(id_)
            assembly.checks.append(check)
        while waiting and waiting[0].complete:
            yield waiting.popleft().stored()
    while waiting:
        yield waiting.popleft().stored()


def _batches(assemblies: Iterable[_Assembly], waiting: deque[_Assembly]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    total = 0
    for assembly in assemblies:
        waiting.append(assembly)
        for start, stop in assembly.ranges:
            if batch and (total + stop - start > BATCH_BYTES or len(batch) >= BATCH_PIECES):
                yield batch
                batch, total = [], 0
            batch.append((assembly, start, stop))
            total += stop - start
    if batch:
        yield batch


def _store_piece(
    piece: _Piece,
    known: Known,
    chunks: "Chunks | None",
    scratch: "Scratch",
    clock: Clock,
    *,
    crc: bool,
) -> tuple[_Assembly, ChunkId, tuple[int, int]]:
    assembly, start, stop = piece
    size = stop - start
    plain = scratch.bytes("plain", size)
    clock.run("read", size, assembly.source.read_into, start, plain)
    id_ = clock.run("hash", size, chunk_id, plain)
    check = clock.run("hash", 0, zlib.crc32, plain) if crc else 0
    if assembly.sampler is not None:
        clock.run("predict", 0, assembly.sampler.feed, start, plain)
    if known.claim(id_):
        payload = clock.run("encode", size, _payload, id_, plain, piece, chunks, scratch)
        known.put(payload)
    return assembly, id_, (check, size)


def _payload(
    id_: ChunkId, plain: memoryview, piece: _Piece, chunks: "Chunks | None", scratch: "Scratch"
) -> Payload:
    # Forms bring numpy and zstandard; verbs that store no chunk do without them.
    from theta_store.packing import pack, pack_alone

    assembly, start, stop = piece
    row = assembly.dtype
    found = assembly.claims(start, stop)
    if row is not None and chunks is not None and found:
        payload = pack(id_, plain, found, chunks, dtype=row, scratch=scratch)
        if payload is not None:
            return payload
    return pack_alone(id_, plain, dtype=row, scratch=scratch)


def read_into(
    items: Iterable[tuple[Tensor | Blob, Sink]],
    chunks: "Chunks",
    pool: Pool,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Feed the verified plain bytes of each record to its sink, in parallel, in any order."""

    def work(batch: list[tuple[Sink, ChunkId, int, int]]) -> int:
        scratch = pool.scratch()
        for sink, id_, start, stop in batch:
            out = scratch.bytes("plain", stop - start)
            chunks.read_into(id_, out, scratch)
            sink.write(start, out)
        return sum(stop - start for _, _, start, stop in batch)

    for done in pool.map(work, _reads(items)):
        if progress is not None:
            progress(done)


def _reads(
    items: Iterable[tuple[Tensor | Blob, Sink]],
) -> Iterator[list[tuple[Sink, ChunkId, int, int]]]:
    batch: list[tuple[Sink, ChunkId, int, int]] = []
    total = 0
    for record, sink in items:
        for id_, (start, stop) in zip(record.chunks, ranges_of(record), strict=True):
            if batch and (total + stop - start > BATCH_BYTES or len(batch) >= BATCH_PIECES):
                yield batch
                batch, total = [], 0
            batch.append((sink, id_, start, stop))
            total += stop - start
    if batch:
        yield batch


def read_ranges(
    records: Sequence[Tensor],
    start: int,
    outs: Sequence[memoryview],
    chunks: "Chunks",
    scratch: "Scratch",
) -> None:
    """Fill each of ``outs`` with plain bytes of its tensor, all the same range of like tensors.

    They have one dtype and shape, so they are cut alike. Whole chunks that lie at one place are
    read together: what they need in common is decoded once.
    """
    stop = start + len(outs[0])
    for pieces in zip(*(pieces_within(record, start, stop) for record in records), strict=True):
        _, left, right = pieces[0]
        if left < start or right > stop:
            for record, out in zip(records, outs, strict=True):
                low, high = max(left, start), min(right, stop)
                read_range(record, low, out[low - start : high - start], chunks, scratch)
            continue
        places = slice(left - start, right - start)
        wanted = [(piece[0], out[places]) for piece, out in zip(pieces, outs, strict=True)]
        chunks.read_all_into(wanted, scratch)


def read_range(
    record: Tensor | Blob, start: int, out: memoryview, chunks: "Chunks", scratch: "Scratch"
) -> None:
    """Fill ``out`` with plain bytes from ``start``; whole chunks decode in place."""
    stop = start + len(out)
    for id_, left, right in pieces_within(record, start, stop):
        low, high = max(left, start), min(right, stop)
        if (low, high) == (left, right):
            chunks.read_into(id_, out[low - start : high - start], scratch)
            continue
        plain = scratch.bytes("range", right - left)
        chunks.read_into(id_, plain, scratch)
        out[low - start : high - start] = plain[low - left : high - left]
