"""Tensors and blobs to chunks: the parallel pipeline.

Owns cutting, batching of small pieces, hashing and encoding in parallel, and the order in which
finished records come out. Must not know files, formats or commits.
"""

import itertools
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

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
    """What a writer tells the pipeline about chunks, and where payloads go."""

    def claim(self, ids: Sequence[ChunkId]) -> list[bool]:
        """Say of each chunk whether the caller has to store it: nobody has, nor is about to."""

    def mends(self, id_: ChunkId) -> bool:
        """Say of a chunk to be stored whether it takes the place of one that is damaged.

        Others may need that one: what takes its place must need nothing.
        """

    def put(self, payloads: Sequence[Payload]) -> None:
        """Store payloads, in their order."""


class Descent(Protocol):
    """What says what a tensor may follow from; asked from any thread, where a chunk is new."""

    def derivations(self, name: str, source: Source) -> "Sequence[Derivation]":
        """Return all that is worth a try."""

    def bases(self, tensors: Sequence[tuple[str, Source]]) -> "Sequence[Sequence[Need] | None]":
        """Return the base of each small tensor, if it has one; None: ask for `derivations`."""


class Stored(NamedTuple):
    """A tensor or blob whose chunks are stored.

    ``checks`` are (CRC-32, length) of each chunk, where these were asked for.
    """

    name: str
    record: Tensor | Blob
    checks: tuple[tuple[int, int], ...]
    sketch: bytes | None = None


# A file, and where in it the plain bytes of a tensor begin, all of which follow.
Run = tuple[ByteSource, int]


class _Assembly(msgspec.Struct):
    """A tensor or blob on its way: chunk ids arrive piece by piece."""

    name: str
    source: Source | ByteSource
    dtype: DType | None
    ranges: list[tuple[int, int]]
    run: Run | None = None
    descent: Descent | None = None
    sampler: "Sampler | None" = None
    ids: list[ChunkId] = msgspec.field(default_factory=list)
    checks: list[tuple[int, int]] = msgspec.field(default_factory=list)
    _derivations: "Sequence[Derivation] | None" = None
    _deriving: threading.Lock = msgspec.field(default_factory=threading.Lock)

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
# Pieces, the id of each, and (CRC-32, length) of each where these were asked for.
_Made = tuple[Sequence[_Piece], list[ChunkId], list[tuple[int, int]]]
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

    def assembly(name: str, source: Source) -> _Assembly:
        kind, shape = source.dtype, tuple(source.shape)
        ranges = split(kind, shape)
        sampler = None if sample is None else sample(kind, shape)
        return _Assembly(name, source, dtype(kind), ranges, run_of(source), descent, sampler)

    assemblies = (assembly(name, source) for name, source in items)
    return _put(assemblies, known, pool, crc=crc, chunks=chunks, clock=clock)


def run_of(source: Source) -> Run | None:
    """Return where a tensor lies in one run of a file, by the source's attribute ``run``.

    None: it does not, or the source has no such attribute. Neighbours are read together.
    """
    found: Run | None = getattr(source, "run", None)
    return found


def put_here(source: Source, known: Known, scratch: "Scratch", clock: Clock) -> Tensor:
    """Store a small tensor in the calling thread, without a guess; return its record."""
    shape = tuple(source.shape)
    ranges = split(source.dtype, shape)
    assembly = _Assembly("", source, dtype(source.dtype), ranges)
    pieces = ((assembly, start, stop) for start, stop in ranges)
    made = (_store([piece], known, None, scratch, clock, crc=False) for piece in pieces)
    return Tensor(source.dtype, shape, tuple(id_ for _, ids, _ in made for id_ in ids))


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

    def work(batch: list[_Piece]) -> _Made:
        return _store(batch, known, chunks, pool.scratch(), clock, crc=crc)

    for batch, ids, checks in pool.map(work, _batches(assemblies, waiting), clock=clock):
        for (assembly, _, _), id_ in zip(batch, ids, strict=True):
            assembly.ids.append(id_)
        for (assembly, _, _), check in zip(batch, checks, strict=False):
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
    batch: Sequence[_Piece],
    known: Known,
    chunks: "Chunks | None",
    scratch: "Scratch",
    clock: Clock,
    *,
    crc: bool,
) -> _Made:
    """Store pieces, of no more than 1 MiB in all; the small ones of several as clusters."""
    made, new = _look(batch, known, scratch, clock, crc=crc)
    if new:
        size = sum(len(placed.plain) for placed in new)
        known.put(clock.run("encode", size, _payloads, new, known, chunks, scratch))
    return made


class _Placed(NamedTuple):
    """A piece in memory."""

    piece: _Piece
    plain: memoryview
    id: ChunkId
    mends: bool


def _look(
    batch: Sequence[_Piece], known: Known, scratch: "Scratch", clock: Clock, *, crc: bool
) -> tuple[_Made, list[_Placed]]:
    """Read pieces into one buffer and hash them; return all of them, and what is to be stored."""
    stops = list(itertools.accumulate(stop - start for _, start, stop in batch))
    whole = scratch.bytes("plain", stops[-1])
    plains = [whole[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    clock.run("read", len(whole), _read, batch, whole)
    ids = clock.run("hash", len(whole), _hash, plains)
    checks = clock.run("hash", 0, _checks, plains) if crc else []
    clock.run("predict", 0, _sample, batch, plains)
    placed = zip(batch, plains, ids, known.claim(ids), strict=True)
    new = [
        _Placed(piece, plain, id_, known.mends(id_))
        for piece, plain, id_, is_new in placed
        if is_new
    ]
    return (batch, ids, checks), new


def _read(batch: Iterable[_Piece], whole: memoryview) -> None:
    """Fill a buffer with pieces, one after the other; those that follow in a file in one go."""
    file: ByteSource | None = None
    # The piece that is looked at, and the run before it that is still to be read: in the buffer
    # from ``first``, in the file from ``place``.
    at = first = place = 0
    for assembly, start, stop in batch:
        run = assembly.run
        if run is None or run[0] is not file or run[1] + start != place + at - first:
            if file is not None:
                file.read_into(place, whole[first:at])
            file = None
            if run is None:
                assembly.source.read_into(start, whole[at : at + stop - start])
            else:
                file, first, place = run[0], at, run[1] + start
        at += stop - start
    if file is not None:
        file.read_into(place, whole[first:at])


def _hash(plains: Iterable[memoryview]) -> list[ChunkId]:
    return [chunk_id(plain) for plain in plains]


def _checks(plains: Iterable[memoryview]) -> list[tuple[int, int]]:
    return [(zlib.crc32(plain), len(plain)) for plain in plains]


def _sample(batch: Iterable[_Piece], plains: Iterable[memoryview]) -> None:
    for (assembly, start, _), plain in zip(batch, plains, strict=True):
        if assembly.sampler is not None:
            assembly.sampler.feed(start, plain)


def _payloads(
    new: Sequence[_Placed], known: Known, chunks: "Chunks | None", scratch: "Scratch"
) -> list[Payload]:
    if len(new) == 1 or chunks is None:
        return [_payload(placed, chunks, scratch) for placed in new]
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
        members = [member for _, member in group]
        made += cluster(members, chunks, known, dtype=row, scratch=scratch)
    return [*made, *(_payload(placed, chunks, scratch) for placed in alone)]


def _sorted_out(new: Iterable[_Placed]) -> tuple[list[_Placed], list[_Placed]]:
    """Return the tensors that are small chunks, and everything else."""
    from theta_store.clusters import SMALL_BYTES

    small: list[_Placed] = []
    rest: list[_Placed] = []
    for placed in new:
        assembly = placed.piece[0]
        whole = assembly.dtype is not None and len(assembly.ranges) == 1 and not placed.mends
        (small if whole and len(placed.plain) < SMALL_BYTES else rest).append(placed)
    return small, rest


def _bases(small: Sequence[_Placed]) -> "Sequence[Sequence[Need] | None]":
    """Return the base of each small tensor, if it has one; None for what goes by itself."""
    descent = small[0].piece[0].descent if small else None
    if descent is None:
        return [()] * len(small)
    tensors = (placed.piece[0] for placed in small)
    return descent.bases([(a.name, cast("Source", a.source)) for a in tensors])


def _payload(placed: _Placed, chunks: "Chunks | None", scratch: "Scratch") -> Payload:
    # Forms bring numpy and zstandard; verbs that store no chunk do without them.
    from theta_store.packing import pack, pack_alone

    (assembly, start, stop), plain, id_, mends = placed
    row = assembly.dtype
    found = [] if mends else assembly.claims(start, stop)
    if row is not None and chunks is not None and found:
        payload = pack(id_, plain, found, chunks, dtype=row, scratch=scratch)
        if payload is not None:
            return payload
    return pack_alone(id_, plain, dtype=row, scratch=scratch)
