"""repack: the same chunks in smaller forms.

Owns the re-encoding of tensors in the order given, and the transaction in which a form takes
another's place. Must not know names, commits or refs: whoever asks says which tensors, and gives
hints for each.

Publication (format.md, "Stored forms"): in one write transaction the chunk must still have the
form that was read, every need must exist, and every dependant must stay strictly deeper; else the
old form stays. So two processes that repack at once can make neither a circle nor a hole.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from theta_store.chunking import ranges_of
from theta_store.chunks import Chunks
from theta_store.db import Meta, Volumes, Writer
from theta_store.derivations import Again, Derivation
from theta_store.dtypes import dtype
from theta_store.errors import MissingObject
from theta_store.forms import Form
from theta_store.hints import Hint
from theta_store.ids import ChunkId, TensorId
from theta_store.lineage import Lineage, Target
from theta_store.objects import dependants, depth_over, find_form, put_form
from theta_store.packing import pack
from theta_store.payloads import Payload, PayloadWriter
from theta_store.pipeline import Pool
from theta_store.reading import read_range
from theta_store.records import Tensor
from theta_store.selector import Level

MAX_DEPTH = 8
# A new form must be smaller by this share and by these bytes to be worth its transaction.
WORTH = 0.98
WORTH_BYTES = 64
FLUSH_CHUNKS = 256


@dataclass(frozen=True)
class RepackReport:
    """What a repack did, or would: chunks tried and replaced, stored bytes before and after."""

    chunks: int = 0
    replaced: int = 0
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class _Job:
    """One chunk to try, and the form it has."""

    id: ChunkId
    form: Form
    start: int
    stop: int
    dtype: str
    derivations: Sequence[Derivation]


def needs_hold(writer: Writer, id_: ChunkId, form: Form) -> Form | None:
    """Return the form with the depth it has as of this transaction, or None if it may not be.

    A test switches this off to prove that it is needed.
    """
    depth = depth_over(writer, form.needs, {})
    if depth is None or depth > MAX_DEPTH:
        return None
    for dependant in dependants(writer, id_):
        above = find_form(writer, dependant)
        if above is not None and above.depth <= depth:
            return None
    return msgspec.structs.replace(form, depth=depth)


@dataclass
class Repacker:
    """One run over a store; ``dry`` computes every form and keeps none."""

    meta: Meta
    volumes: Volumes
    chunks: Chunks
    pool: Pool
    lineage: Lineage
    capacity: int
    level: Level = "max"
    dry: bool = False
    _seen: set[ChunkId] = field(default_factory=set)
    _old: dict[ChunkId, Form] = field(default_factory=dict)
    _queued_bytes: int = 0
    _report: RepackReport = field(default_factory=RepackReport)

    def run(
        self,
        items: Iterable[tuple[TensorId, Sequence[Hint]]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> RepackReport:
        """Re-encode tensors, bases before what is built on them; return what it came to."""
        # A volume that holds a chunk's old payload must not take its new one under the same key.
        old = frozenset(self.volumes.numbers())
        writer = PayloadWriter(self.meta, self.volumes, volume_bytes=self.capacity, avoid=old)
        try:
            for job, payload in self.pool.map(self._work, self._jobs(items)):
                self._take(writer, job, payload)
                if progress is not None:
                    progress(job.stop - job.start)
            self._publish(writer)
        finally:
            writer.close()
        return self._report

    def _jobs(self, items: Iterable[tuple[TensorId, Sequence[Hint]]]) -> Iterator[_Job]:
        for id_, hints in items:
            tensor = self.lineage.find_tensor(id_)
            if tensor is None:
                continue
            target = Target(tensor.dtype, tensor.shape, self._reader(tensor))
            derivations = self.lineage.of_stored(id_, target, hints)
            if not derivations:
                continue
            yield from self._chunks_of(tensor, derivations)

    def _reader(self, tensor: Tensor) -> Callable[[int, memoryview], None]:
        def read_into(start: int, out: memoryview) -> None:
            read_range(tensor, start, out, self.chunks, self.pool.scratch())

        return read_into

    def _chunks_of(self, tensor: Tensor, derivations: Sequence[Derivation]) -> Iterator[_Job]:
        for id_, (start, stop) in zip(tensor.chunks, ranges_of(tensor), strict=True):
            if id_ in self._seen:
                continue
            self._seen.add(id_)
            with self.meta.read() as reader:
                form = find_form(reader, id_)
            if form is not None and not form.has_payload:
                yield from self._clusters_of(form, tensor.dtype)
            elif form is not None:
                yield _Job(id_, form, start, stop, tensor.dtype, derivations)

    def _clusters_of(self, piece: Form, kind: str) -> Iterator[_Job]:
        """Yield the clusters of a chunk without payload: they are what can become smaller."""
        for id_ in {ChunkId(need.id) for need in piece.needs} - self._seen:
            self._seen.add(id_)
            with self.meta.read() as reader:
                form = find_form(reader, id_)
            if form is not None:
                yield _Job(id_, form, 0, form.plain, kind, [Again(form)])

    def _work(self, job: _Job) -> tuple[_Job, Payload | None]:
        scratch = self.pool.scratch()
        plain = scratch.bytes("plain", job.stop - job.start)
        try:
            self.chunks.read_into(job.id, plain, scratch)
        except MissingObject:
            return job, None  # gc was faster
        claims = [d.claim(job.start, job.stop) for d in job.derivations]
        found = [claim for claim in claims if claim is not None]
        if not found:
            return job, None
        row = dtype(job.dtype)
        payload = pack(
            job.id, plain, found, self.chunks, dtype=row, level=self.level, scratch=scratch
        )
        worth = payload is not None and _is_worth(payload.form.stored, job.form.stored)
        return job, payload if worth else None

    def _take(self, writer: PayloadWriter, job: _Job, payload: Payload | None) -> None:
        stored = job.form.stored if payload is None else payload.form.stored
        self._report = RepackReport(
            self._report.chunks + 1,
            self._report.replaced + (payload is not None),
            self._report.before + job.form.stored,
            self._report.after + stored,
        )
        if payload is None or self.dry:
            return
        self._old[job.id] = job.form
        writer.put([payload])
        self._queued_bytes += payload.form.stored
        full = self._queued_bytes >= self.pool.limits.queued_bytes
        if full or len(self._old) >= FLUSH_CHUNKS:
            self._publish(writer)

    def _publish(self, writer: PayloadWriter) -> None:
        rows = writer.flush()
        with self.meta.write() as transaction:
            for id_, form in rows:
                if find_form(transaction, id_) != self._old[id_]:
                    continue
                settled = needs_hold(transaction, id_, form)
                if settled is not None:
                    born = self._old[id_].born
                    put_form(transaction, id_, msgspec.structs.replace(settled, born=born))
        self._old.clear()
        self._queued_bytes = 0


def _is_worth(new: int, old: int) -> bool:
    return new <= WORTH * old and new + WORTH_BYTES <= old
