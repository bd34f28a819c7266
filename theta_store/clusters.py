"""Clusters: small chunks of one dtype that are stored as one, next to each other.

Owns which chunks are small, how a cluster is guessed from the bases of its members, and the forms
of the members. Must not know tensors' records, nor sessions.

A cluster is a chunk like any other, of at most 1 MiB; no record names it. Each member's form has
no payload: it is a piece of the cluster. So what coding costs for each chunk, whatever its size, is
paid once for a hundred, and LMDB's pages are filled.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from theta_store.chunks import Chain, Chunks
from theta_store.codecs import exact
from theta_store.derivations.base import Claim
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError
from theta_store.forms import NO_VOLUME, Form, Need
from theta_store.ids import ChunkId, chunk_id
from theta_store.packing import DEPTH, pack, pack_alone
from theta_store.payloads import Payload
from theta_store.predictors import PIECES, SAME
from theta_store.scratch import Scratch

# A chunk of this size or more is stored by itself. Below it nothing is looked for but a base.
SMALL_BYTES = 1 << 16
# A cluster of fewer would cost more than it saves.
LEAST_MEMBERS = 2
# Bytes of older clusters that one is guessed from; where the bases are strewn over more, no guess.
MOST_HELD = 32 << 20


class Index(Protocol):
    """What says of a cluster whether it has to be stored, and how."""

    def claim(self, ids: Sequence[ChunkId]) -> list[bool]:
        """Say of each chunk whether the caller has to store it."""

    def mends(self, id_: ChunkId) -> bool:
        """Say of a chunk to be stored whether it takes the place of one that is damaged."""


class Member(NamedTuple):
    """A new small chunk; ``base`` is what it is guessed to be, None for no guess."""

    id: ChunkId
    plain: memoryview
    base: Need | None = None


def cluster(
    members: Sequence[Member], chunks: Chunks, index: Index, *, dtype: DType, scratch: Scratch
) -> Iterator[Payload]:
    """Yield the payload of a cluster, if it is new, then those of its members.

    All have a base, or none has.
    """
    stops = list(itertools.accumulate(len(member.plain) for member in members))
    places = list(zip(members, [0, *stops], stops, strict=False))
    plain = scratch.bytes("cluster", stops[-1])
    for member, start, stop in places:
        # Not numpy's concatenate: it gives other threads their turn after every member.
        plain[start:stop] = member.plain
    id_ = chunk_id(plain)
    (is_wanted,) = index.claim([id_])
    based = [] if index.mends(id_) else members
    whole = _whole(id_, plain, based, chunks, dtype, scratch)
    if is_wanted:
        yield whole
    for member, start, stop in places:
        yield _piece(member, Need("chunk", id_, start, stop), whole.form)


def _whole(
    id_: ChunkId,
    plain: memoryview,
    members: Sequence[Member],
    chunks: Chunks,
    dtype: DType,
    scratch: Scratch,
) -> Payload:
    claim = _guess([member.base for member in members if member.base is not None], chunks)
    if claim is not None:
        payload = pack(id_, plain, [claim], chunks, dtype=dtype, scratch=scratch)
        if payload is not None:
            return payload
    return pack_alone(id_, plain, dtype=dtype, scratch=scratch)


def _guess(bases: Sequence[Need], chunks: Chunks) -> Claim | None:
    """Return what a cluster is guessed from: older clusters or parts of them, not their members."""
    if not bases:
        return None
    try:
        chain = chunks.chain(needs=bases)
        needs = _joined(part for base in bases for part in _behind(base, chain))
        if len(needs) == 1 and needs[0].start == 0 and needs[0].stop == chain.plain_bytes(needs[0]):
            return Claim(SAME, b"", tuple(needs))
        if chain.depth(needs) >= DEPTH:
            needs = _joined(part for need in needs for part in _behind(need, chain, end=True))
    except IntegrityError:
        # A base that is damaged or gone must not keep anybody from storing what he has.
        return None
    # All of them are in memory at once.
    held = sum(chain.forms[id_].plain for id_ in {ChunkId(need.id) for need in needs})
    return Claim(PIECES, b"", tuple(needs)) if held <= MOST_HELD else None


def _behind(need: Need, chain: Chain, *, end: bool = False) -> Iterator[Need]:
    """Yield what a need reads: of a piece, its part of the cluster.

    ``end``: of a cluster too, what it was guessed from, down to what was not.
    """
    form = chain.forms[ChunkId(need.id)]
    if form.predictor != PIECES or (form.has_payload and not end):
        yield need
        return
    for part in parts_below(form, need.start, need.stop):
        if chain.forms[ChunkId(part.id)].depth >= form.depth:
            raise IntegrityError("a chunk is not deeper than what it needs")
        yield from _behind(part, chain, end=end)


def parts_below(form: Form, start: int, stop: int) -> Iterator[Need]:
    """Yield what the bytes ``start`` to ``stop`` of a chunk are guessed from, in order.

    The form's predictor is `SAME` or `PIECES`. The key of a sorted residual is not among them.
    """
    at = 0
    for need in form.needs:
        left, right = max(start, at), min(stop, at + need.stop - need.start)
        if left < right <= form.plain:
            offset = need.start - at
            yield Need("chunk", need.id, left + offset, right + offset)
        at += need.stop - need.start


def _joined(needs: Iterable[Need]) -> list[Need]:
    """Return needs in which parts that follow each other are one."""
    found: list[Need] = []
    for need in needs:
        last = found[-1] if found else None
        if last is not None and (last.id, last.stop) == (need.id, need.start):
            found[-1] = Need("chunk", need.id, last.start, need.stop)
        else:
            found.append(need)
    return found


def _piece(member: Member, need: Need, whole: Form) -> Payload:
    form = Form(
        volume=NO_VOLUME,
        predictor=PIECES,
        codec=exact.NUMBER,
        version=exact.VERSION,
        width=whole.width,
        plain=len(member.plain),
        stored=0,
        depth=whole.depth + 1,
        needs=(need,),
        born=0,
    )
    return Payload(member.id, form, b"")
