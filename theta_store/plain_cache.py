"""Plain bytes of chunks that several others are decoded from: a small, bounded memory.

Owns the bound and the order of eviction. What lies here helps to compute a guess; a read that
is answered by it is verified like any other. Must not know how chunks are decoded.
"""

from collections import OrderedDict

from theta_store.ids import ChunkId
from theta_store.locks import OwnLock
from theta_store.scratch import Bytes


class PlainCache:
    """Least recently used chunks go first; safe to use from many threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chunks: OrderedDict[ChunkId, Bytes] = OrderedDict()
        self._bytes = 0
        self._lock = OwnLock()

    def get(self, id_: ChunkId) -> Bytes | None:
        """Return a chunk's bytes, which must not be changed, or None."""
        with self._lock:
            found = self._chunks.get(id_)
            if found is not None:
                self._chunks.move_to_end(id_)
            return found

    def put(self, id_: ChunkId, plain: Bytes) -> None:
        """Keep a chunk's bytes; the caller gives them away."""
        with self._lock:
            if id_ in self._chunks or len(plain) > self._capacity:
                return
            self._chunks[id_] = plain
            self._bytes += len(plain)
            while self._bytes > self._capacity:
                _, gone = self._chunks.popitem(last=False)
                self._bytes -= len(gone)
