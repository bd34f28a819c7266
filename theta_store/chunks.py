"""Chunks: from an id to verified plain bytes, along everything a stored form needs.

Owns the way through the index rows and the volumes, and the reading of needs. Must not know
tensors' records beyond the ranges that needs name, nor sessions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from theta_store.chunking import chunks_within, pieces_within
from theta_store.codecs import exact
from theta_store.codecs.exponents import Order, order_of
from theta_store.db import Reader
from theta_store.derivations.base import Claim
from theta_store.errors import ForeignRepository, HashMismatch, IntegrityError, MissingObject
from theta_store.forms import NO_PREDICTOR, Form, Need
from theta_store.ids import ChunkId, RecordId, chunk_id, short
from theta_store.objects import find_form, find_record
from theta_store.plain_cache import PlainCache
from theta_store.prediction import predict, read_need
from theta_store.predictors import PIECES, SAME
from theta_store.records import Tensor
from theta_store.scratch import Bytes, Scratch
from theta_store.selector import decode_chunk, decode_residual

# A hostile row must not make a read walk the whole store.
MAX_NEEDED = 1 << 16
MAX_DEPTH = 32
FEW = 3


@dataclass(frozen=True)
class Chain:
    """The forms of some chunks and of all they need, and the tensors that needs name."""

    forms: dict[ChunkId, Form] = field(default_factory=dict)
    tensors: dict[RecordId, Tensor] = field(default_factory=dict)

    def chunks_of(self, need: Need) -> Sequence[ChunkId]:
        """Return the chunks that a need stands for."""
        if need.kind == "chunk":
            return [ChunkId(need.id)]
        return chunks_within(self.tensors[RecordId(need.id)], need.start, need.stop)

    def plain_bytes(self, need: Need) -> int:
        """Return the length of a needed chunk."""
        return self.forms[ChunkId(need.id)].plain

    def depth(self, needs: Iterable[Need]) -> int:
        """Return the depth of the deepest chunk among needs."""
        found = (self.forms[id_].depth for need in needs for id_ in self.chunks_of(need))
        return max(found, default=0)

    def needs(self, needs: Iterable[Need], id_: ChunkId) -> bool:
        """Say whether decoding any of these needs takes the chunk ``id_``."""
        seen: set[ChunkId] = set()
        stack = [chunk for need in needs for chunk in self.chunks_of(need)]
        while stack:
            chunk = stack.pop()
            if chunk in seen:
                continue
            seen.add(chunk)
            stack += [c for need in self.forms[chunk].needs for c in self.chunks_of(need)]
        return id_ in seen

    def root_of(self, id_: ChunkId) -> ChunkId:
        """Return the end of a chain of deltas: by its exponents residuals are sorted."""
        while (form := self.forms[id_]).predictor == SAME:
            id_ = ChunkId(form.needs[0].id)
        return id_


class Payloads(Protocol):
    """Where payload is read."""

    def payload(self, volume: int, key: bytes) -> AbstractContextManager[memoryview | None]:
        """Lend the payload of a key; None where the volume does not hold it."""


class Copies(Protocol):
    """Chunks that lie outside the store as well, such as in a file of the workspace."""

    def fill(self, id_: ChunkId, out: memoryview) -> bool:
        """Fill ``out`` with what may be that chunk; False where there is none."""


Read = Callable[[], AbstractContextManager[Reader]]


class Chunks:
    """Reads chunks of one store; safe to use from many threads, each with its own scratch."""

    def __init__(self, read: Read, payloads: Payloads, cache_bytes: int) -> None:
        self._read = read
        self._payloads = payloads
        self._cache = PlainCache(cache_bytes)
        # Asked before the store is; what they give is verified like everything that is read.
        self.copies: Copies | None = None

    def read_into(self, id_: ChunkId, out: memoryview, scratch: Scratch) -> None:
        """Fill ``out`` with the plain bytes of a chunk of exactly that length, verified."""
        self.read_all_into([(id_, out)], scratch)

    def read_all_into(
        self,
        wanted: Sequence[tuple[ChunkId, memoryview]],
        scratch: Scratch,
        *,
        near: int | None = None,
    ) -> None:
        """Read several chunks; what they need in common is decoded once.

        The one of number ``near`` is remembered: this thread stores something on it next.

        gc and repack may move payload or change forms between the look at the index and the look
        at the volume; then the rows have changed and the read starts again.
        """
        left = [(id_, out) for id_, out in wanted if not self.copied(id_, out)]
        tried: Chain | None = None
        while True:
            chain = self.chain([id_ for id_, _ in left])
            reading = Needs(self, chain, scratch)
            # The deepest first: one that others need is then in memory when its turn comes.
            deepest = sorted(left, key=lambda pair: -chain.forms[pair[0]].depth)
            try:
                for id_, out in deepest:
                    reading.chunk_into(id_, out)
                    check_hash(id_, out)
                if near is not None:
                    _remember(*wanted[near], scratch)
                return
            except IntegrityError as error:
                if chain == tried:
                    raise error
            tried = chain

    def remember(
        self, record: Tensor, start: int, plain: Bytes | memoryview, scratch: Scratch
    ) -> None:
        """Remember verified bytes of a tensor: this thread stores something on them next.

        Where they are not one chunk, nothing is remembered.
        """
        stop = start + len(plain)
        for id_, left, right in pieces_within(record, start, stop):
            if (left, right) == (start, stop):
                _remember(id_, plain, scratch)

    def copied(self, id_: ChunkId, out: memoryview) -> bool:
        """Fill ``out`` with a chunk from outside the store, verified; False where there is none."""
        copies = self.copies
        return copies is not None and copies.fill(id_, out) and chunk_id(out) == id_

    def read_small(
        self, wanted: Sequence[tuple[ChunkId, int]], out: memoryview, scratch: Scratch
    ) -> None:
        """Fill ``out`` with chunks of these lengths, one after the other, verified.

        Their forms are looked up together; where that look has grown old the chunk is read alone.
        """
        chain = self.chain([id_ for id_, _ in wanted])
        cut = _Cut()
        at = 0
        for id_, size in wanted:
            plain = out[at : at + size]
            at += size
            try:
                piece = self._piece(id_, size, cut, chain, scratch)
                if piece is None:
                    Needs(self, chain, scratch).chunk_into(id_, plain)
                else:
                    plain[:] = piece.data
                check_hash(id_, plain)
            except IntegrityError:
                self.read_into(id_, plain, scratch)

    def _piece(
        self, id_: ChunkId, size: int, cut: "_Cut", chain: Chain, scratch: Scratch
    ) -> Bytes | None:
        """Return a piece of one cluster as it lies in memory, not verified.

        None: the chunk is something else. Neighbours lie in the cluster that was cut last.
        """
        form = chain.forms[id_]
        if len(form.needs) != 1 or form.plain != size or not _is_assembled(form):
            return None
        need = form.needs[0]
        if need.kind != "chunk":
            return None
        if need.id != cut.id:
            with _damage_named(id_):
                cut.plain = Needs(self, chain, scratch, depth=1).shared(ChunkId(need.id))
            cut.id = need.id
        whole = cut.plain
        fits = 0 <= need.start <= need.stop <= len(whole) and need.stop - need.start == size
        return whole[need.start : need.stop] if fits else None

    def chain(self, ids: Iterable[ChunkId] = (), needs: Iterable[Need] = ()) -> Chain:
        """Return the forms of chunks and of all they need, from one transaction."""
        chain = Chain()
        with self._read() as reader:
            stack = list(ids)
            for need in needs:
                stack += _enter_need(reader, need, chain)
            while stack:
                id_ = stack.pop()
                if id_ in chain.forms:
                    continue
                form = find_form(reader, id_)
                if form is None or len(chain.forms) >= MAX_NEEDED:
                    raise MissingObject(f"chunk {short(id_)} is missing", hint="theta fsck")
                chain.forms[id_] = form
                for need in form.needs:
                    stack += _enter_need(reader, need, chain)
        return chain

    def guess(self, claim: Claim, size: int, scratch: Scratch) -> tuple[Bytes, list[Bytes]]:
        """Return what a claim says of a chunk, and the verified bytes of what it needs."""
        reading = Needs(self, self.chain(needs=claim.needs), scratch, verify=True)
        plain = reading.guess(claim, size, keep=True)
        return plain, [read_need(need, reading) for need in claim.needs]

    def decode(self, id_: ChunkId, out: memoryview, reading: "Needs", scratch: Scratch) -> None:
        """Fill ``out`` with a chunk's plain bytes as its form says, not verified."""
        form = reading.chain.forms[id_]
        if form.plain != len(out):
            raise IntegrityError(
                f"chunk {short(id_)} has {form.plain} bytes where {len(out)} are named"
            )
        if not form.has_payload:
            with _damage_named(id_), reading.deeper():
                reading.assemble(form, out)
            return
        with self._payload(id_, form) as payload, _damage_named(id_):
            if form.predictor == NO_PREDICTOR:
                decode_chunk(form.codec, form.version, form.width, payload, out, scratch)
                return
            # A copy, so that no transaction is open while needs are read in others: readers have
            # slots, and a map that has to grow would be pulled away from under this one.
            kept = scratch.array(f"payload {reading.depth}", len(payload))
            kept[:] = np.frombuffer(payload, np.uint8)
        with _damage_named(id_), reading.deeper():
            decode_residual(form, kept.data, reading, out, scratch)

    @contextmanager
    def _payload(self, id_: ChunkId, form: Form) -> Iterator[memoryview]:
        with self._payloads.payload(form.volume, id_) as payload:
            if payload is None:
                raise MissingObject(f"chunk {short(id_)} is missing", hint="theta fsck")
            if len(payload) != form.stored:
                raise IntegrityError(f"chunk {short(id_)} is damaged: its payload changed length")
            yield payload

    def span(self, tensor: Tensor, start: int, stop: int, scratch: Scratch) -> Bytes:
        """Return the bytes ``start`` to ``stop`` of a tensor, not verified: to base a guess on."""
        reading = Needs(self, self.chain(chunks_within(tensor, start, stop)), scratch)
        return reading.gather(tensor, start, stop, reading.chunk)

    def cached(self, id_: ChunkId, size: int, fill: Callable[[memoryview], None]) -> Bytes:
        """Return a chunk's plain bytes from memory, or after ``fill`` has decoded them."""
        found = self._cache.get(id_)
        if found is None:
            found = np.empty(size, np.uint8)
            fill(found.data)
            check_hash(id_, found)
            self._cache.put(id_, found)
        return found

    def known(self, id_: ChunkId) -> Bytes | None:
        """Return a chunk's plain bytes if they are in memory."""
        return self._cache.get(id_)


@dataclass
class _Cut:
    """The cluster that small chunks were cut from last."""

    id: bytes = b""
    plain: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))


@dataclass
class _LastGuess:
    """What a thread computed last: who computes a tensor from others stores it next."""

    claim: Claim | None = None
    plain: Bytes | None = None


@dataclass
class Needs:
    """One read: what its chain names, decoded once each, in scratch until the read is over.

    ``verify`` checks what is asked for directly: nothing may be built on a damaged base. A reader
    checks the chunk it is after instead.
    """

    chunks: Chunks
    chain: Chain
    scratch: Scratch
    verify: bool = False
    depth: int = 0
    _memo: dict[ChunkId, Bytes] = field(default_factory=dict)
    _orders: dict[tuple[ChunkId, int], Order] = field(default_factory=dict)

    def chunk(self, id_: ChunkId) -> Bytes:
        """Return the plain bytes of a needed chunk."""
        found = self._memo.get(id_)
        if found is None:
            found = self.chunks.known(id_)
        if found is None:
            found = _recent(self.scratch).get(id_)
        if found is None:
            role = f"need {len(self._memo)}"
            found = self.scratch.array(role, self.chain.forms[id_].plain)
            # Entered before it is filled, so that no need below it takes its place in scratch.
            self._memo[id_] = found
            if self.chunks.copied(id_, found.data):
                return found
            self.chunks.decode(id_, found.data, self, self.scratch)
            if self.verify and not self.depth:
                check_hash(id_, found)
        return found

    def chunk_into(self, id_: ChunkId, out: memoryview) -> None:
        """Fill ``out`` with the plain bytes of a chunk, not verified."""
        found = self._memo.get(id_)
        if found is None or len(found) != len(out):
            self.chunks.decode(id_, out, self, self.scratch)
        else:
            out[:] = found.data

    def order(self, id_: ChunkId, code: int, width: int) -> Order:
        """Return the order of a needed chunk's exponents; a chain is sorted by one key."""
        found = self._orders.get((id_, code))
        if found is None:
            found = order_of(self.chunk(id_), code, width, self.scratch)
            self._orders[id_, code] = found
        return found

    def assemble(self, form: Form, out: memoryview) -> None:
        """Fill ``out`` with the pieces of clusters that a form without payload consists of."""
        if not _is_assembled(form):
            raise ForeignRepository(
                f"a chunk without payload is kept by predictor {form.predictor}, codec "
                f"{form.codec}: a newer theta is needed",
                hint="pip install --upgrade theta-vcs",
            )
        # Its neighbours lie in the same clusters and are likely to be read next.
        for need in form.needs:
            if need.kind != "chunk":
                raise IntegrityError("pieces are of chunks")
            self.shared(ChunkId(need.id))
        guess = predict(form.predictor, b"", form.needs, len(out), self)
        out[:] = guess.data

    def guess(self, claim: Claim, size: int, *, keep: bool = False) -> Bytes:
        """Return what a claim says of a chunk; ``keep`` it for whoever asks this thread next."""
        last = self.scratch.tool("last guess", _LastGuess)
        if last.plain is not None and last.claim == claim and len(last.plain) == size:
            return last.plain
        plain = predict(claim.predictor, claim.params, claim.needs, size, self)
        if keep:
            last.claim, last.plain = claim, plain
        return plain

    def shared(self, id_: ChunkId) -> Bytes:
        """Return the plain bytes of a chunk that other reads are likely to need as well."""

        def fill(out: memoryview) -> None:
            self.chunks.decode(id_, out, self, self.scratch)

        return self.chunks.cached(id_, self.chain.forms[id_].plain, fill)

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Count a step down the chain; a chain that does not end is an `IntegrityError`."""
        if self.depth >= MAX_DEPTH:
            raise IntegrityError("a chain of needs does not end")
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def span(self, tensor: RecordId, start: int, stop: int) -> Bytes:
        """Return the bytes ``start`` to ``stop`` of a needed tensor."""
        record = self.chain.tensors[tensor]
        # Rows strewn over a tensor, and small tensors such as factors, are needed again and again.
        once = len(chunks_within(record, start, stop)) <= FEW < len(record.chunks)
        return self.gather(record, start, stop, self.chunk if once else self.shared)

    def gather(
        self, tensor: Tensor, start: int, stop: int, get: Callable[[ChunkId], Bytes]
    ) -> Bytes:
        """Return the bytes ``start`` to ``stop`` of a tensor whose chunks the chain has."""
        out = np.empty(stop - start, np.uint8)
        for id_, left, right in pieces_within(tensor, start, stop):
            low, high = max(left, start), min(right, stop)
            out[low - start : high - start] = get(id_)[low - left : high - left]
        return out


def _recent(scratch: Scratch) -> dict[ChunkId, Bytes]:
    """Return the chunk that this thread remembers, verified, if there is one."""
    return scratch.tool("recent", dict[ChunkId, Bytes])


def _remember(id_: ChunkId, plain: Bytes | memoryview, scratch: Scratch) -> None:
    recent = _recent(scratch)
    recent.clear()
    kept = scratch.array("recent", len(plain))
    kept[:] = np.frombuffer(plain, np.uint8)
    recent[id_] = kept


def _is_assembled(form: Form) -> bool:
    """Say whether a chunk consists of pieces of clusters, and nothing else."""
    kept = form.predictor, form.codec, form.version
    return kept == (PIECES, exact.NUMBER, exact.VERSION) and not form.has_payload


def check_hash(id_: ChunkId, plain: Bytes | memoryview) -> None:
    """Refuse bytes that are not the chunk's."""
    if chunk_id(plain if isinstance(plain, memoryview) else plain.data) != id_:
        raise HashMismatch(f"chunk {short(id_)} is damaged", hint="theta fsck")


def _enter_need(reader: Reader, need: Need, chain: Chain) -> Sequence[ChunkId]:
    if need.kind == "tensor" and RecordId(need.id) not in chain.tensors:
        record = find_record(reader, RecordId(need.id))
        if not isinstance(record, Tensor):
            raise MissingObject(f"tensor {short(need.id)} is missing", hint="theta fsck")
        chain.tensors[RecordId(need.id)] = record
    return chain.chunks_of(need)


@contextmanager
def _damage_named(id_: ChunkId) -> Iterator[None]:
    try:
        yield
    except (HashMismatch, MissingObject):
        raise
    except IntegrityError as error:
        message = f"chunk {short(id_)} is damaged: {error}"
        raise HashMismatch(message, hint="theta fsck") from None
