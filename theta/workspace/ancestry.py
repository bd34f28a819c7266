"""Which stored tensors a file's tensors may have come from.

Owns the search through the checkpoints of the commits before, and of the commit that is being made:
the same file first, then the files that are named alike. Must not read values: what is found are
hints.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath

from theta.params import flatten
from theta_store.hints import Base, Hint
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import TreeEntry
from theta_store.store import Store

# Older checkpoints that are looked through for a name that the file itself never had.
OTHERS = 4


class Ancestry:
    """The checkpoints of one or more commits, by path; parameters are listed when first asked."""

    def __init__(self, store: Store, commits: Sequence[Mapping[str, TreeEntry]]) -> None:
        self._store = store
        self._commits = commits
        self._leaves: dict[bytes, Mapping[str, TensorId]] = {}
        self._listing = threading.Lock()
        self._made: dict[str, TreeEntry] = {}
        self._waiting: dict[str, TreeEntry] = {}

    def add(self, entries: Mapping[str, TreeEntry]) -> None:
        """Offer the entries of the commit that is being made, once they are in the store."""
        self._waiting |= {p: e for p, e in entries.items() if e.kind == "checkpoint"}

    def settle(self, path: str, flush: Callable[[], None]) -> None:
        """Store what the file at ``path`` may build on: checkpoints of its own file name."""
        name = PurePosixPath(path).name
        if any(PurePosixPath(other).name == name for other in self._waiting):
            flush()
            self._made |= self._waiting
            self._waiting.clear()

    def hints(self, path: str) -> Callable[[str], Sequence[Hint]]:
        """Return what gives, for a parameter of the file at ``path``, the tensors to try."""
        own = [entry for entries in self._commits if (entry := entries.get(path)) is not None]
        others = self._others(path)
        if not own and not others:
            return lambda _: ()

        def of(name: str) -> Sequence[Hint]:
            for group in (own, others):
                found = (self._named(entry).get(name) for entry in group)
                ids = dict.fromkeys(id_ for id_ in found if id_ is not None)
                if ids:
                    return tuple(Base(id_) for id_ in islice(ids, max(len(own), 1)))
            return ()

        return of

    def _others(self, path: str) -> list[TreeEntry]:
        """Return the checkpoints elsewhere, those of the same file name first, the latest first."""
        name = PurePosixPath(path).name
        found = [
            (other, entry)
            for entries in (*self._commits, self._made)
            for other, entry in entries.items()
            if other != path and entry.kind == "checkpoint"
        ]
        found.sort(key=lambda item: (PurePosixPath(item[0]).name != name, -_number(item[0])))
        return [entry for _, entry in found[:OTHERS]]

    def named(self, id_: CheckpointId) -> Mapping[str, TensorId]:
        """Return a checkpoint's parameters by name."""
        found = self._leaves.get(id_)
        if found is None:
            # Asked from any thread; all but one wait instead of listing the same.
            with self._listing:
                found = self._leaves.get(id_)
                if found is None:
                    record = self._store.checkpoint(id_)
                    found = self._leaves[id_] = dict(flatten(self._store, record.params))
        return found

    def _named(self, entry: TreeEntry) -> Mapping[str, TensorId]:
        return self.named(CheckpointId(entry.id)) if entry.kind == "checkpoint" else {}


def _number(path: str) -> int:
    """Return the step in a path such as ``checkpoint-1000/model.safetensors``, else 0."""
    digits = "".join(char for char in PurePosixPath(path).parent.name if char.isdecimal())
    return int(digits or 0)
