"""How many bytes of terms a merge keeps in memory because it needs them more than once.

Owns the count. Must not know what is kept.
"""

import threading
from dataclasses import dataclass, field


@dataclass
class Held:
    """At most ``most`` bytes at once; used from many threads."""

    most: int
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int) -> bool:
        """Count so many bytes as kept, or say that there is no room for them."""
        with self._lock:
            if self._now + size > self.most:
                return False
            self._now += size
            return True

    def give(self, size: int) -> None:
        """Count bytes as kept no longer."""
        with self._lock:
            self._now -= size
