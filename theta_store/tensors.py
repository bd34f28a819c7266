"""Tensors and blobs to chunks: the parallel pipeline.

Owns cutting, batching of small pieces, hashing and encoding in parallel, and the order in which
finished records come out. Must not know files, formats or commits.
"""

import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from theta_store.chunking import BATCH_BYTES, BATCH_PIECES, split, split_bytes
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
    from theta_store.forms import Need
    from theta_store.scratch import Scratch
    from theta_store.sketch import Sampler


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


class Known(Protocol):
    """What a writer tells the pipeline about chunks."""

    def claim(self, ids: Sequence[ChunkId]) -> list[bool]:
        """Say of each chunk whether the caller has to store it: nobody has, nor is about to."""

    def put(self, payload: Payload) -> None:
        """Store a payload."""


class Descent(Protocol):
    """What says what a tensor may follow from; asked from any thread, where a chunk is new."""

    def derivations(self, name: str, source: Source) -> "Sequence[Derivation]":
        """Return all that is worth a try."""

    def bases(self, tensors: Sequence[tuple[str, Source]]) -> "Sequence[Sequence[Need] | None]":
        """Return the base of each small tensor, if it has one; None: ask for `derivations`."""


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
    descent: Descent | None = None
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
        if self.descent is None:
            return []
        with self._deriving:
            if self._derivations is None:
                self._derivations = self.descent.derivations(self.name, cast("Source", self.source))
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
_Made = tuple[_Assembly, ChunkId, tuple[int, int]]
Sample = Callable[[str, tuple[int, ...]], "Sampler | None"]


def put_tensors(
    items: Iterable[tuple[str, Source]],
    known: Known,
    pool: Pool,
    *,
    crc: bool = False,
    descent: Descent | None = None,
    chunks: "Chunks | None" = None,
    sample: Sample | None = None,
    clock: Clock = UNTIMED,
) -> Iterator[list[Stored]]:
    """Store tensors; yield them, in order, once all their chunks are on their way to the disk.

    What ``descent`` names is read from ``chunks``.
    ``sample`` returns what takes the sketch of a tensor of a dtype and shape, None for no sketch.
    """
    assemblies = (
        _Assembly(
            name,
            source,
            row := dtype(source.dtype),
            split(row, tuple(source.shape)),
            descent,
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
    pieces = ((assembly, start, stop) for start, stop in ranges)
    made = [_store(piece, known, None, scratch, clock, crc=False) for piece in pieces]
    return Tensor(row.name, tuple(source.shape), tuple(id_ for _, id_, _ in made))


def put_blobs(
    items: Iterable[tuple[str, ByteSource]], known: Known, pool: Pool, *, clock: Clock = UNTIMED
) -> Iterator[list[Stored]]:
    """Store blobs; yield them, in order, once all their chunks are on their way to the disk."""
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
) -> Iterator[list[Stored]]:
    waiting: deque[_Assembly] = deque()

    def work(batch: list[_Piece]) -> list[_Made]:
        scratch = pool.scratch()
        if len(batch) == 1 or chunks is None:
            return [_store(piece, known, chunks, scratch, clock, crc=crc) for piece in batch]
        return _store_together(batch, known, chunks, scratch, clock, crc=crc)

    for results in pool.map(work, _batches(assemblies, waiting), clock=clock):
        for assembly, id_, check in results:
            assembly.ids.append(id_)
            assembly.checks.append(check)
        yield _complete(waiting)
    # Empty tensors have no chunk that would bring them here.
    yield _complete(waiting)


def _complete(waiting: deque[_Assembly]) -> list[Stored]:
    """Take from the front what is complete."""
    done = []
    while waiting and waiting[0].complete:
        done.append(waiting.popleft().stored())
    return done


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


def _store(
    piece: _Piece,
    known: Known,
    chunks: "Chunks | None",
    scratch: "Scratch",
    clock: Clock,
    *,
    crc: bool,
) -> _Made:
    """Store one piece."""
    (made,), new = _look([piece], known, scratch, clock, crc=crc)
    for placed in new:
        size = len(placed.plain)
        known.put(clock.run("encode", size, _payload, placed, chunks, scratch))
    return made


def _store_together(
    batch: Sequence[_Piece],
    known: Known,
    chunks: "Chunks",
    scratch: "Scratch",
    clock: Clock,
    *,
    crc: bool,
) -> list[_Made]:
    """Store many pieces, of no more than 1 MiB in all; the small ones among them as clusters."""
    made, new = _look(batch, known, scratch, clock, crc=crc)
    size = sum(len(placed.plain) for placed in new)
    for payload in clock.run("encode", size, _payloads, new, known, chunks, scratch):
        known.put(payload)
    return made


class _Placed(NamedTuple):
    """A piece in memory."""

    piece: _Piece
    plain: memoryview
    id: ChunkId


def _look(
    batch: Sequence[_Piece], known: Known, scratch: "Scratch", clock: Clock, *, crc: bool
) -> tuple[list[_Made], list[_Placed]]:
    """Read pieces into one buffer and hash them; return all of them, and what is to be stored."""
    total = sum(stop - start for _, start, stop in batch)
    whole = scratch.bytes("plain", total)
    plains = []
    at = 0
    for _, start, stop in batch:
        plains.append(whole[at : at + stop - start])
        at += stop - start
    clock.run("read", total, _read, batch, plains)
    ids = clock.run("hash", total, _hash, plains)
    crcs = clock.run("hash", 0, _checks, plains) if crc else [0] * len(batch)
    clock.run("predict", 0, _sample, batch, plains)
    made = [
        (assembly, id_, (check, len(plain)))
        for (assembly, _, _), id_, check, plain in zip(batch, ids, crcs, plains, strict=True)
    ]
    placed = map(_Placed, batch, plains, ids)
    return made, [one for one, is_new in zip(placed, known.claim(ids), strict=True) if is_new]


def _read(batch: Iterable[_Piece], plains: Iterable[memoryview]) -> None:
    for (assembly, start, _), plain in zip(batch, plains, strict=True):
        assembly.source.read_into(start, plain)


def _hash(plains: Iterable[memoryview]) -> list[ChunkId]:
    return [chunk_id(plain) for plain in plains]


def _checks(plains: Iterable[memoryview]) -> list[int]:
    return [zlib.crc32(plain) for plain in plains]


def _sample(batch: Iterable[_Piece], plains: Iterable[memoryview]) -> None:
    for (assembly, start, _), plain in zip(batch, plains, strict=True):
        if assembly.sampler is not None:
            assembly.sampler.feed(start, plain)


def _payloads(
    new: Iterable[_Placed], known: Known, chunks: "Chunks", scratch: "Scratch"
) -> list[Payload]:
    from theta_store.clusters import LEAST_MEMBERS, Member, cluster

    small, alone = _sorted_out(new)
    groups: dict[tuple[DType, bool], list[tuple[_Placed, Member]]] = {}
    for placed, bases in zip(small, _bases(small), strict=True):
        row = placed.piece[0].dtype
        if bases is None or row is None:
            alone.append(placed)
            continue
        member = Member(placed.id, placed.plain, bases[0] if bases else None)
        groups.setdefault((row, bool(bases)), []).append((placed, member))
    made: list[Payload] = []
    for (row, _), group in groups.items():
        if len(group) < LEAST_MEMBERS:
            alone += [placed for placed, _ in group]
            continue
        whole, *pieces = cluster([m for _, m in group], chunks, dtype=row, scratch=scratch)
        made += [*([whole] if known.claim([whole.id])[0] else []), *pieces]
    return [*made, *(_payload(placed, chunks, scratch) for placed in alone)]


def _sorted_out(new: Iterable[_Placed]) -> tuple[list[_Placed], list[_Placed]]:
    """Return the tensors that are small chunks, and everything else."""
    from theta_store.clusters import SMALL_BYTES

    small: list[_Placed] = []
    rest: list[_Placed] = []
    for placed in new:
        assembly = placed.piece[0]
        whole = assembly.dtype is not None and len(assembly.ranges) == 1
        (small if whole and len(placed.plain) < SMALL_BYTES else rest).append(placed)
    return small, rest


def _bases(small: Sequence[_Placed]) -> "Sequence[Sequence[Need] | None]":
    """Return the base of each small tensor, if it has one; None for what goes by itself."""
    descent = small[0].piece[0].descent if small else None
    if descent is None:
        return [()] * len(small)
    tensors = (assembly for (assembly, _, _), _, _ in small)
    return descent.bases([(a.name, cast("Source", a.source)) for a in tensors])


def _payload(placed: _Placed, chunks: "Chunks | None", scratch: "Scratch") -> Payload:
    # Forms bring numpy and zstandard; verbs that store no chunk do without them.
    from theta_store.packing import pack, pack_alone

    (assembly, start, stop), plain, id_ = placed
    row = assembly.dtype
    found = assembly.claims(start, stop)
    if row is not None and chunks is not None and found:
        payload = pack(id_, plain, found, chunks, dtype=row, scratch=scratch)
        if payload is not None:
            return payload
    return pack_alone(id_, plain, dtype=row, scratch=scratch)
