"""Where merged tensors go while they are computed, beside the store.

Owns the protocol, the source that gives its bytes to both, and the layout that a merged model is
expected to get. Must not know files.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from theta.params import flatten
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import TreeEntry
from theta_store.store import Sink, Source, Store

Spec = tuple[str, tuple[int, ...]]


class Outlet(Protocol):
    """Takes the bytes of merged tensors before it is known that the merge will succeed."""

    def begin(
        self, layouts: Mapping[str, TreeEntry], awaited: Mapping[str, Collection[str]]
    ) -> None:
        """Prepare for tensors of these names, by path, in models laid out like these entries."""

    def sink(self, path: str, names: Collection[str]) -> Sink | None:
        """Return where the bytes of one tensor go, which gets these names."""

    def settle(self, path: str, names: Collection[str], tensor: TensorId) -> None:
        """Say what the bytes were, once all came."""


@dataclass
class Teed:
    """A source whose bytes a sink gets as well.

    It must be read once for each of ``ranges`` by whoever stores it; other reads are not given on.
    """

    source: Source
    sink: Sink
    ranges: Sequence[tuple[int, int]]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._left = set(self.ranges)

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.source.shape

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``, and give them on."""
        self.source.read_into(start, out)
        range_ = (start, start + len(out))
        with self._lock:
            is_first = range_ in self._left
            self._left.discard(range_)
        if is_first:
            self.sink.write(start, out)


def expected_layout(
    store: Store,
    entries: Sequence[TreeEntry],
    names: Collection[str],
    made: Mapping[str, Spec],
) -> TreeEntry | None:
    """Return the first entry whose files hold these names and those ``made``, which are like that.

    A guess: what the others are like is not looked at.
    """
    wanted = {*names, *made}
    for entry in entries:
        record = store.checkpoint(CheckpointId(entry.id))
        own = dict(flatten(store, record.params))
        alike = (_spec(store, own[name]) == spec for name, spec in made.items() if name in own)
        if own.keys() | record.aliases.keys() == wanted and all(alike):
            return entry
    return None


def _spec(store: Store, id_: TensorId) -> Spec:
    record = store.tensor(id_)
    return record.dtype, record.shape
