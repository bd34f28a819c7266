"""A tensor whose plain bytes are in memory, as a source.

Owns nothing but that. Must not know where the values come from.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta_store.scratch import Bytes


@dataclass(frozen=True)
class ArraySource:
    """A tensor to store; ``plain`` are its bytes, little-endian, C order."""

    dtype: str
    shape: tuple[int, ...]
    plain: Bytes

    @classmethod
    def of(cls, array: NDArray[np.floating[Any]]) -> "ArraySource":
        """Return a float32 or float64 array as a source; no copy where it lies as it is wanted."""
        wide = array.dtype == np.float64
        little = np.ascontiguousarray(array, "<f8" if wide else "<f4")
        return cls("F64" if wide else "F32", array.shape, little.reshape(-1).view(np.uint8))

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""
        out[:] = self.plain[start : start + len(out)].data
