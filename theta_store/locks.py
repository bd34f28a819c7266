"""A lock that a forked child has for itself.

Owns the renewal after a fork: a thread of the parent that holds a lock at that moment is not there
in the child to give it back. Must not know what is locked.
"""

import os
import threading
from types import TracebackType
from weakref import WeakSet


class OwnLock:
    """A lock that one thread may take several times; a forked child begins with it free."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Forget who holds it; only for a process that was forked just now, with one thread."""
        self._lock = threading.RLock()


_ALL: WeakSet[OwnLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_ALL):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
