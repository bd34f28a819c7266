"""A bounded pool of threads that walks work in order.

Owns the threads, the bound on work in flight and per-thread scratch. Must not know chunks.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from theta_store.clock import UNTIMED, Clock
from theta_store.limits import Limits

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from theta_store.scratch import Scratch

Job = TypeVar("Job")
Done = TypeVar("Done")


class Pool:
    """Threads with scratch of their own; made on first use, so small work starts none.

    A forked child has none of its parent's threads, and makes its own.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._executor: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._local = threading.local()

    def scratch(self) -> "Scratch":
        """Return this thread's scratch."""
        from theta_store.scratch import Scratch

        scratch: Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = Scratch()
        return scratch

    def map(
        self, function: Callable[[Job], Done], jobs: Iterable[Job], *, clock: Clock = UNTIMED
    ) -> Iterator[Done]:
        """Yield ``function(job)`` in the order of the jobs, with few jobs in flight.

        After a failure no further job starts, and those that run are waited for: their inputs
        may be closed as soon as the error is seen.
        """
        executor = self._threads()
        running: deque[Future[Done]] = deque()
        try:
            for job in jobs:
                running.append(executor.submit(function, job))
                if len(running) >= self.limits.jobs:
                    yield clock.run("wait", 0, running.popleft().result)
            while running:
                yield clock.run("wait", 0, running.popleft().result)
        finally:
            for future in running:
                future.cancel()
            for future in running:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        """Stop the threads."""
        if self._executor is not None and self._pid == os.getpid():
            self._executor.shutdown()
        self._executor = None

    def _threads(self) -> "ThreadPoolExecutor":
        if self._executor is None or self._pid != os.getpid():
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="theta")
            self._pid = os.getpid()
        return self._executor
