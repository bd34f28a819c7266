"""How much of a machine a store may use: threads, and bytes in flight.

Owns the two numbers, their defaults, and how the bytes are shared out. Must not know what the
shares are used for beyond their names. No share can be seen in an id or in a stored form.
"""

import os

import msgspec

MEMORY = 400_000_000
JOB_BYTES = 1 << 20
JOBS_PER_THREAD = 8
MOST_WRITERS = 2
# On 16 cores a commit took longer with 16 threads than with 8: they wait for the interpreter.
MOST_THREADS = 8


def default_threads() -> int:
    """Return the number of cores this process may use, or `MOST_THREADS` if there are more."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST_THREADS)
    return min(os.cpu_count() or 1, MOST_THREADS)


class Limits(msgspec.Struct, frozen=True):
    """``threads`` work at once; ``memory`` bytes may be in flight.

    What is left of ``memory`` beside the shares is for the threads' scratch and the interpreter.
    """

    threads: int = msgspec.field(default_factory=default_threads)
    memory: int = MEMORY

    @property
    def queued_bytes(self) -> int:
        """Encoded bytes that may wait for the disk."""
        return self.memory * 2 // 5

    @property
    def writers(self) -> int:
        """Transactions that may be on their way to the disk at once."""
        return min(self.threads, MOST_WRITERS)

    @property
    def cache_bytes(self) -> int:
        """Plain bytes of chunks that are kept because others need them."""
        return self.memory // 4

    @property
    def jobs(self) -> int:
        """Jobs that may be queued, running or done and not yet taken; each holds about a chunk."""
        room = self.memory // 8 // JOB_BYTES
        return max(self.threads, min(room, self.threads * JOBS_PER_THREAD))
