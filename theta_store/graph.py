"""What a record reaches: the closure that gc marks, publication checks and fsck walks.

Owns the walk over records, chunks and the needs of forms. Must not know refs nor operations.

The closure of a commit = its tree and recipe unless the commit is expired, its parents, every
chunk below, and what the forms of those chunks need.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec

from theta_store.db import Reader
from theta_store.forms import Form
from theta_store.ids import ChunkId, CommitId, RecordId
from theta_store.objects import find_form, find_record, forms, need_chunks
from theta_store.records import Blob, Commit, Record, Tensor, references


class Reached(msgspec.Struct):
    """What a walk has met so far; ``missing`` holds ids that are named but not in the store.

    ``kept`` are tensors' records that a form needs a part of: they stay, and what is below them was
    not walked. ``named`` are the chunks that records name, those included; what else is there is a
    base of their forms, or a cluster.
    """

    records: set[RecordId] = msgspec.field(default_factory=set)
    kept: set[RecordId] = msgspec.field(default_factory=set)
    chunks: set[ChunkId] = msgspec.field(default_factory=set)
    named: set[ChunkId] = msgspec.field(default_factory=set)
    missing: set[bytes] = msgspec.field(default_factory=set)


def reach(
    reader: Reader,
    roots: Iterable[RecordId],
    *,
    expired: AbstractSet[CommitId] = frozenset(),
    into: Reached | None = None,
) -> Reached:
    """Walk everything below ``roots`` that ``into`` has not met; damage is raised, not skipped."""
    reached = into if into is not None else Reached()
    stack = list(roots)
    while stack:
        id_ = stack.pop()
        if id_ in reached.records:
            continue
        record = find_record(reader, id_)
        if record is None:
            reached.missing.add(id_)
            continue
        reached.records.add(id_)
        stack += children(id_, record, expired)
        if isinstance(record, Tensor | Blob):
            reached.named.update(record.chunks)
            reach_chunks(reader, record.chunks, reached)
    return reached


def children(
    id_: RecordId, record: Record, expired: AbstractSet[CommitId] = frozenset()
) -> list[RecordId]:
    """Return the records below a record; an expired commit keeps only its parents."""
    if isinstance(record, Commit) and id_ in expired:
        return list(record.parents)
    return references(record)


def missing_below(reader: Reader, commits: Iterable[CommitId]) -> set[bytes]:
    """Return what is named below new commits and not there; parents need only exist themselves."""
    reached = Reached()
    for id_ in commits:
        commit = find_record(reader, id_)
        if not isinstance(commit, Commit):
            reached.missing.add(id_)
            continue
        for parent in commit.parents:
            if find_record(reader, parent) is None:
                reached.missing.add(parent)
        reach(reader, set(references(commit)) - set(commit.parents), into=reached)
    return reached.missing


def reach_chunks(reader: Reader, chunks: Iterable[ChunkId], reached: Reached) -> None:
    """Walk chunks and what their forms need."""
    stack = list(chunks)
    while stack:
        id_ = stack.pop()
        if id_ in reached.chunks:
            continue
        form = find_form(reader, id_)
        if form is None:
            reached.missing.add(id_)
            continue
        reached.chunks.add(id_)
        stack += _needed(reader, form, reached)


def reach_needs(reader: Reader, reached: Reached, horizon: int) -> None:
    """Walk what the forms need that chunks have by now, and the forms born since ``horizon``.

    A repack may have given a chunk that was walked before another form, with other needs.
    """
    for id_, form in forms(reader):
        if form.needs and (id_ in reached.chunks or form.born >= horizon):
            reach_chunks(reader, _needed(reader, form, reached), reached)


def _needed(reader: Reader, form: Form, reached: Reached) -> list[ChunkId]:
    chunks: list[ChunkId] = []
    for need in form.needs:
        found = need_chunks(reader, need)
        if need.kind == "tensor":
            reached.kept.add(RecordId(need.id))
            reached.named.update(found)
        chunks += found
    return chunks


def bases_in(reader: Reader, reached: Reached) -> dict[ChunkId, Form]:
    """Return the chunks that are there only because forms need them, with their forms.

    Not clusters: the chunks that lie in them are named.
    """
    unread = reached.chunks - reached.named
    if not unread:
        return {}
    found: dict[ChunkId, Form] = {}
    clusters: set[ChunkId] = set()
    for id_, form in forms(reader):
        if id_ in unread:
            found[id_] = form
        elif id_ in reached.named and not form.has_payload:
            clusters.update(ChunkId(need.id) for need in form.needs)
    return {id_: form for id_, form in found.items() if id_ not in clusters}
