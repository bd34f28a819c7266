"""The reusable memory that codecs and predictors work in: one `Scratch` per thread.

Owns buffers by role and per-thread tools. Must not know what is computed in them.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
T = TypeVar("T")


class Scratch:
    """One thread's buffers and compressors, grown on demand and reused for every chunk.

    On virtual machines fresh pages, not compression, are the bottleneck; and a compressor must
    never be shared between threads.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Bytes] = {}
        self._tools: dict[str, object] = {}

    def array(self, role: str, size: int) -> Bytes:
        """Return ``size`` bytes of the buffer of this role; its last content is lost."""
        buffer = self._buffers.get(role)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[role] = np.empty(max(size, 1 << 16), np.uint8)
        return buffer[:size]

    def bytes(self, role: str, size: int) -> memoryview:
        """Return the same as `array`, as a memoryview."""
        return self.array(role, size).data

    def tool(self, role: str, make: Callable[[], T]) -> T:
        """Return this thread's tool of this role, made on first use."""
        if role not in self._tools:
            self._tools[role] = make()
        return self._tools[role]  # type: ignore[return-value]
