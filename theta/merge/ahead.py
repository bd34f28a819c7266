"""Strategies that look at a whole tensor first are prepared before their tensor's turn.

Owns the threads that prepare, and how far ahead they run. Must not know what is prepared.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar


class Prepared(Protocol):
    """What can be prepared: by whoever comes first, once."""

    @property
    def ahead(self) -> int:
        """How many of its like may be prepared at once: 0 where there is nothing to do."""

    def prepare(self) -> object:
        """Do it."""


S = TypeVar("S", bound=Prepared)


def prepared_ahead(sources: Sequence[S], threads: int) -> Iterator[S]:
    """Yield sources in order; those that come next are prepared meanwhile.

    An error shows up again where the source is used, which prepares it once more.
    """
    if not any(source.ahead for source in sources):
        yield from sources
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="theta-prepare") as pool:
        asked = 0
        for number, source in enumerate(sources):
            asked = max(asked, number)
            while asked < len(sources) and asked - number < min(threads, sources[asked].ahead):
                pool.submit(sources[asked].prepare)
                asked += 1
            yield source
