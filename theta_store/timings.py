"""Where the time of one piece of work went: seconds and bytes by stage.

Owns the adding up over threads and the finished table. Must not know what a stage does.

Each thread's time counts once: a stage inside another is taken out of the outer one. So the stages
of the thread that started the clock add up to the time that passed, ``wait`` (for the other
threads) and ``other`` included; those of the other threads come on top.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, TypeVar

ORDER = ("read", "hash", "predict", "encode", "put", "sync", "records", "publish", "wait", "other")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stage:
    """Seconds of wall clock and of CPU, added over threads, and the bytes that went through."""

    name: str
    wall: float = 0.0
    cpu: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds that passed, CPU seconds of all threads, and the stages in order.

    ``loops`` says which `theta_store.kernels` ran: numpy's are slower.
    """

    wall: float
    cpu: float
    stages: tuple[Stage, ...]
    loops: Literal["C", "numpy"]


@dataclass(slots=True)
class _Sums:
    wall: float = 0.0
    cpu: float = 0.0
    bytes: int = 0


@dataclass
class _Inner(threading.local):
    """Seconds that stages inside the present one took, in this thread."""

    wall: float = 0.0
    cpu: float = 0.0


@dataclass
class Stopwatch:
    """A clock that runs from when it is made; used from many threads."""

    _wall: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=time.process_time)
    _owner: int = field(default_factory=threading.get_ident)
    _owned: float = 0.0
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _inner: _Inner = field(default_factory=_Inner)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, stage: str, size: int, function: Callable[P, T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Return what the function returns; its time counts also if it fails."""
        inner = self._inner
        outer = inner.wall, inner.cpu
        inner.wall = inner.cpu = 0.0
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*args, **named)
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            self._add(stage, wall - inner.wall, cpu - inner.cpu, size)
            inner.wall, inner.cpu = outer[0] + wall, outer[1] + cpu

    def _add(self, stage: str, wall: float, cpu: float, size: int) -> None:
        with self._lock:
            sums = self._sums.setdefault(stage, _Sums())
            sums.wall += wall
            sums.cpu += cpu
            sums.bytes += size
            if threading.get_ident() == self._owner:
                self._owned += wall

    def finish(self) -> Timings:
        """Return what was measured until now; time that no stage took is ``other``."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        with self._lock:
            known = sum(sums.cpu for sums in self._sums.values())
            rest = _Sums(max(0.0, wall - self._owned), max(0.0, cpu - known))
            sums = {**self._sums, "other": rest}
        stages = (Stage(n, s.wall, s.cpu, s.bytes) for n in ORDER if (s := sums.get(n)))
        # Loops bring numpy; what is timed has loaded it by now.
        from theta_store.kernels import native

        return Timings(wall, cpu, tuple(stages), "numpy" if native is None else "C")
