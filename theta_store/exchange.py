"""New forms of chunks in the place of old ones.

Owns the queue of new payload and the transaction in which a form takes another's place. Must not
know why a chunk gets another form: whoever asks says which chunks, and makes their payload.

Publication (format.md, "Stored forms"): in one write transaction the chunk must still have the
form that was read, every need must exist, and every dependant must stay strictly deeper; else the
old form stays. So two processes that repack at once can make neither a circle nor a hole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from theta_store.chunks import Chunks
from theta_store.db import Meta, Volumes, Writer
from theta_store.derivations import Derivation
from theta_store.errors import MissingObject
from theta_store.forms import Form
from theta_store.ids import ChunkId
from theta_store.objects import dependants, depth_over, find_form, put_form
from theta_store.payloads import Payload, PayloadWriter
from theta_store.pipeline import Pool

MAX_DEPTH = 8
FLUSH_CHUNKS = 256


@dataclass(frozen=True)
class RepackReport:
    """What a repack did, or would: chunks tried and replaced, stored bytes before and after."""

    chunks: int = 0
    replaced: int = 0
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Job:
    """One chunk to try, the form it has, where it lies in its tensor, and what may follow from."""

    id: ChunkId
    form: Form
    start: int
    stop: int
    dtype: str
    derivations: Sequence[Derivation] = ()


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


@dataclass(kw_only=True)
class Exchange:
    """One run over a store; ``dry`` computes every form and keeps none."""

    meta: Meta
    volumes: Volumes
    chunks: Chunks
    pool: Pool
    capacity: int
    dry: bool = False
    _old: dict[ChunkId, Form] = field(default_factory=dict)
    _queued_bytes: int = 0
    _report: RepackReport = field(default_factory=RepackReport)

    def exchange(
        self, jobs: Iterable[Job], *, progress: Callable[[int], None] | None = None
    ) -> RepackReport:
        """Give chunks the forms that are made of them, in this order; return what it came to."""
        # A volume that holds a chunk's old payload must not take its new one under the same key.
        old = frozenset(self.volumes.numbers())
        writer = PayloadWriter(self.meta, self.volumes, volume_bytes=self.capacity, avoid=old)
        try:
            for job, payload in self.pool.map(self._work, jobs):
                self._take(writer, job, payload)
                if progress is not None:
                    progress(job.stop - job.start)
            self._publish(writer)
        finally:
            writer.close()
        return self._report

    def encoded(self, job: Job, plain: memoryview) -> Payload | None:
        """Return the payload that a chunk shall have; None: it stays as it is."""
        raise NotImplementedError

    def _work(self, job: Job) -> tuple[Job, Payload | None]:
        scratch = self.pool.scratch()
        plain = scratch.bytes("plain", job.stop - job.start)
        try:
            self.chunks.read_into(job.id, plain, scratch)
        except MissingObject:
            return job, None  # gc was faster
        return job, self.encoded(job, plain)

    def _take(self, writer: PayloadWriter, job: Job, payload: Payload | None) -> None:
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
