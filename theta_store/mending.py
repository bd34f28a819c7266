"""Mending: what a store does not give back, and clusters that are put together from their pieces.

Owns the proof of chunks and records by reading them from the disk, and which clusters are damaged.
Must not put anything, nor know sessions: who has the plain bytes stores them again.

No record names a cluster, so nobody comes with its bytes; but its pieces come, and what was guessed
from it becomes readable when it is there again.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from theta_store.chunking import CHUNK_BYTES
from theta_store.chunks import Chunks
from theta_store.db import Meta, Reader, Volumes
from theta_store.errors import IntegrityError
from theta_store.forms import Form, Need
from theta_store.ids import ChunkId, RecordId, chunk_id
from theta_store.objects import dependants, find_record, readable_form
from theta_store.packing import pack_alone
from theta_store.payloads import Payload
from theta_store.pipeline import Pool
from theta_store.scratch import Scratch


@dataclass(frozen=True)
class _Sound:
    """The volumes whose pages are sound; of the others nothing is read: LMDB could be killed."""

    volumes: Volumes
    broken: frozenset[int]

    def payload(self, volume: int, key: bytes) -> AbstractContextManager[memoryview | None]:
        """Lend the payload of a key; None where the volume does not hold it."""
        if volume in self.broken:
            return nullcontext(None)
        return self.volumes.payload(volume, key)


@dataclass
class Mending:
    """What is known of the damage of one store; safe to use from many threads.

    An index whose pages are damaged is an `IntegrityError`: nothing may be written to it.
    """

    meta: Meta
    volumes: Volumes
    pool: Pool
    broken: frozenset[int] = frozenset()
    chunks: Chunks = field(init=False)
    _clusters: dict[ChunkId, tuple[int, list[tuple[ChunkId, Need]]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        flaws = self.meta.flaws()
        if flaws:
            raise IntegrityError(
                f"the index of the store is damaged: {flaws[0]}; nothing was stored",
                hint="restore .theta/store from a backup, then run theta fsck",
            )
        self.broken = frozenset(n for n in self.volumes.numbers() if not self.volumes.is_sound(n))
        sound = _Sound(self.volumes, self.broken)
        # A memory of its own, without copies of files: what it gives was on the disk just now.
        self.chunks = Chunks(self.meta.read, sound, self.pool.limits.cache_bytes)

    def damaged(self, ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Return those of some chunks of the index that do not read back."""
        scratch = self.pool.scratch().tool("mending", Scratch)
        with self.meta.read() as reader:
            forms = {id_: readable_form(reader, id_) for id_ in ids}
        sizes = {id_: form.plain for id_, form in forms.items() if form is not None}
        found = {id_ for id_ in ids if sizes.get(id_, CHUNK_BYTES + 1) > CHUNK_BYTES}
        left = [id_ for id_ in ids if id_ not in found]
        if not self._reads_back(left, sizes, scratch):
            found |= {id_ for id_ in left if not self._reads_back([id_], sizes, scratch)}
        return found

    def is_damaged(self, reader: Reader, id_: RecordId) -> bool:
        """Say whether a record that is there does not read back."""
        try:
            return find_record(reader, id_) is None
        except IntegrityError:
            return True

    def note_clusters(self, ids: Sequence[ChunkId]) -> None:
        """Remember the damaged clusters of chunks that are not readable, and all their pieces."""
        with self.meta.read() as reader:
            forms = [readable_form(reader, id_) for id_ in ids]
        for form in forms:
            if form is None or form.has_payload:
                continue
            for id_ in {ChunkId(need.id) for need in form.needs}:
                with self._lock:
                    if id_ not in self._clusters and self.damaged([id_]):
                        with self.meta.read() as reader:
                            self._clusters[id_] = _pieces(reader, id_)

    def clusters(self) -> Iterator[Payload]:
        """Yield the damaged clusters all of whose pieces can be read by now, to be put again.

        Each is yielded once: who goes on to the next has put it.
        """
        scratch = self.pool.scratch().tool("mending", Scratch)
        for id_, (size, pieces) in list(self._clusters.items()):
            plain = scratch.bytes("cluster", size)
            if self._assemble(pieces, plain, scratch) and chunk_id(plain) == id_:
                yield pack_alone(id_, plain, dtype=None, scratch=scratch)
                del self._clusters[id_]

    def _assemble(
        self, pieces: Sequence[tuple[ChunkId, Need]], plain: memoryview, scratch: Scratch
    ) -> bool:
        # Left from before, so a cluster with a gap would be right by chance.
        plain[:] = bytes(len(plain))
        wanted = [(id_, plain[need.start : need.stop]) for id_, need in pieces]
        try:
            self.chunks.read_all_into(wanted, scratch)
        except IntegrityError:
            return False
        return True

    def _reads_back(
        self, ids: Sequence[ChunkId], sizes: dict[ChunkId, int], scratch: Scratch
    ) -> bool:
        whole = scratch.bytes("read back", sum(sizes[id_] for id_ in ids))
        wanted = []
        at = 0
        for id_ in ids:
            wanted.append((id_, whole[at : at + sizes[id_]]))
            at += sizes[id_]
        try:
            self.chunks.read_all_into(wanted, scratch)
        except IntegrityError:
            return False
        return True


def _pieces(reader: Reader, id_: ChunkId) -> tuple[int, list[tuple[ChunkId, Need]]]:
    """Return the length of a cluster, and its pieces with their places in it."""
    form = readable_form(reader, id_)
    found = []
    for piece in dependants(reader, id_):
        above = readable_form(reader, piece)
        if above is not None and _is_piece(above, id_):
            found.append((piece, above.needs[0]))
    size = 0 if form is None else form.plain
    stops = max((need.stop for _, need in found), default=0)
    return (size or stops, found) if stops <= (size or CHUNK_BYTES) else (0, [])


def _is_piece(form: Form, cluster: ChunkId) -> bool:
    if form.has_payload or len(form.needs) != 1:
        return False
    need = form.needs[0]
    return need.kind == "chunk" and need.id == cluster and need.stop - need.start == form.plain
