"""Bases that nobody reads: what is stored as a difference to them stands on its own again.

Owns the choice: chunks that only forms need are worth their bytes or not, together with those that
follow from them. Must not know roots, nor how a form takes another's place.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from theta_store.chunking import ranges_of
from theta_store.db import Reader
from theta_store.dtypes import dtype
from theta_store.exchange import Exchange, Job
from theta_store.forms import Form
from theta_store.graph import Reached, bases_in
from theta_store.ids import ChunkId
from theta_store.objects import find_record, forms, need_chunks
from theta_store.packing import pack_alone
from theta_store.payloads import Payload
from theta_store.records import Tensor

# What is estimated to be won must be this much more than what it costs, and no trifle.
MARGIN = 1.25
LEAST_BYTES = 1 << 16


@dataclass(frozen=True)
class Freeing:
    """Chunks that shall stand on their own, the shallowest first, and the bytes of their bases."""

    jobs: tuple[Job, ...]
    base_bytes: int


@dataclass(kw_only=True)
class Freer(Exchange):
    """One run over the chunks that a `Freeing` names."""

    def encoded(self, job: Job, plain: memoryview) -> Payload | None:
        """Return the chunk's payload without a guess."""
        return pack_alone(job.id, plain, dtype=dtype(job.dtype), scratch=self.pool.scratch())


def find_freeing(reader: Reader, reached: Reached) -> Freeing:
    """Return what to store anew, so that gc can take what is only there for it."""
    unread = bases_in(reader, reached).keys()
    if not unread:
        return Freeing((), 0)
    kept = {id_: form for id_, form in forms(reader) if id_ in reached.chunks}
    groups = _groups(reader, kept, unread)
    worth = [group for group in groups if _is_worth(group, kept, unread)]
    heads = {id_ for group in worth for id_ in group - unread}
    made = {job.id: job for job in _jobs(reader, reached, kept, heads)}
    # A head that is no tensor's, such as a file's of the same bytes, would hold on to all bases.
    chosen = [group for group in worth if group - unread <= made.keys()]
    jobs = [made[id_] for group in chosen for id_ in group - unread]
    bases = sum(kept[id_].stored for group in chosen for id_ in group & unread)
    return Freeing(tuple(sorted(jobs, key=lambda job: job.form.depth)), bases)


def _groups(
    reader: Reader, kept: Mapping[ChunkId, Form], unread: Set[ChunkId]
) -> list[set[ChunkId]]:
    """Return the unread chunks that hang together, each group with the read ones that need it."""
    joined: dict[ChunkId, ChunkId] = {}

    def top(id_: ChunkId) -> ChunkId:
        while (above := joined.setdefault(id_, id_)) != id_:
            joined[id_] = joined.setdefault(above, above)
            id_ = above
        return id_

    for id_, form in kept.items():
        for need in form.needs:
            for base in need_chunks(reader, need):
                if base in unread:
                    joined[top(id_)] = top(base)
    groups: dict[ChunkId, set[ChunkId]] = defaultdict(set)
    for id_ in list(joined):
        groups[top(id_)].add(id_)
    return list(groups.values())


def _is_worth(group: set[ChunkId], kept: Mapping[ChunkId, Form], unread: Set[ChunkId]) -> bool:
    """Say whether the bases take more than the others will; a base without needs tells how much."""
    bases = [kept[id_] for id_ in group & unread]
    heads = [kept[id_] for id_ in group - unread]
    alone = [form.stored / form.plain for form in bases if form.plain and not form.needs]
    share = max(alone, default=1.0)
    cost = sum(share * form.plain - form.stored for form in heads)
    return sum(form.stored for form in bases) >= max(MARGIN * cost, LEAST_BYTES)


def _jobs(
    reader: Reader, reached: Reached, kept: Mapping[ChunkId, Form], heads: set[ChunkId]
) -> Iterator[Job]:
    """Yield a job for each of these chunks; the records say of which dtype they are."""
    left = set(heads)
    for id_ in reached.records:
        record = find_record(reader, id_) if left else None
        if not isinstance(record, Tensor):
            continue
        for chunk, (start, stop) in zip(record.chunks, ranges_of(record), strict=True):
            form = kept.get(chunk)
            if form is None:
                continue  # of a session that gc was faster than
            if chunk in left:
                left.discard(chunk)
                yield Job(chunk, form, start, stop, record.dtype)
            elif not form.has_payload:
                for cluster in {ChunkId(need.id) for need in form.needs} & left:
                    left.discard(cluster)
                    yield Job(cluster, kept[cluster], 0, kept[cluster].plain, record.dtype)
