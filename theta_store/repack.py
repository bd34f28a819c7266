"""repack: the same chunks in smaller forms.

Owns the re-encoding of tensors in the order given. Must not know names, commits or refs: whoever
asks says which tensors, and gives hints for each; nor how a form takes another's place.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from theta_store.chunking import ranges_of
from theta_store.derivations import Again, Derivation
from theta_store.dtypes import dtype
from theta_store.exchange import Exchange, Job, RepackReport
from theta_store.forms import Form
from theta_store.hints import Hint
from theta_store.ids import ChunkId, TensorId
from theta_store.lineage import Lineage, Target
from theta_store.objects import find_form
from theta_store.packing import pack
from theta_store.payloads import Payload
from theta_store.reading import read_range
from theta_store.records import Tensor
from theta_store.selector import Level

# A new form must be smaller by this share and by these bytes to be worth its transaction.
WORTH = 0.98
WORTH_BYTES = 64


@dataclass(kw_only=True)
class Repacker(Exchange):
    """One run over tensors."""

    lineage: Lineage
    level: Level = "max"
    _seen: set[ChunkId] = field(default_factory=set)

    def run(
        self,
        items: Iterable[tuple[TensorId, Sequence[Hint]]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> RepackReport:
        """Re-encode tensors, bases before what is built on them; return what it came to."""
        return self.exchange(self._jobs(items), progress=progress)

    def encoded(self, job: Job, plain: memoryview) -> Payload | None:
        """Return the payload of a chunk where one is found that is worth it."""
        claims = [d.claim(job.start, job.stop) for d in job.derivations]
        found = [claim for claim in claims if claim is not None]
        if not found:
            return None
        row, scratch = dtype(job.dtype), self.pool.scratch()
        payload = pack(
            job.id, plain, found, self.chunks, dtype=row, level=self.level, scratch=scratch
        )
        worth = payload is not None and _is_worth(payload.form.stored, job.form.stored)
        return payload if worth else None

    def _jobs(self, items: Iterable[tuple[TensorId, Sequence[Hint]]]) -> Iterator[Job]:
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

    def _chunks_of(self, tensor: Tensor, derivations: Sequence[Derivation]) -> Iterator[Job]:
        for id_, (start, stop) in zip(tensor.chunks, ranges_of(tensor), strict=True):
            if id_ in self._seen:
                continue
            self._seen.add(id_)
            with self.meta.read() as reader:
                form = find_form(reader, id_)
            if form is not None and not form.has_payload:
                yield from self._clusters_of(form, tensor.dtype)
            elif form is not None:
                yield Job(id_, form, start, stop, tensor.dtype, derivations)

    def _clusters_of(self, piece: Form, kind: str) -> Iterator[Job]:
        """Yield the clusters of a chunk without payload: they are what can become smaller."""
        for id_ in {ChunkId(need.id) for need in piece.needs} - self._seen:
            self._seen.add(id_)
            with self.meta.read() as reader:
                form = find_form(reader, id_)
            if form is not None:
                yield Job(id_, form, 0, form.plain, kind, [Again(form)])


def _is_worth(new: int, old: int) -> bool:
    return new <= WORTH * old and new + WORTH_BYTES <= old
