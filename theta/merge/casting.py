"""Sides that differ in dtype: what they have in common, and a tensor in another dtype.

Owns the dtype of the result, the test whether a side only cast its base, and the cast tensor. Must
not know plans, nor who decides. A cast is exact, or one rounding, as `theta_store.arithmetic.cast`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from theta.strategies.base import Strategy
from theta_store.arithmetic import cast, is_computable
from theta_store.dtypes import dtype
from theta_store.records import Tensor
from theta_store.store import Store, ranges_of

# The smallest dtype that holds all of these sizes, where no one of them does.
ABOVE = {1: "BF16", 2: "F32"}


class Cast(Strategy, frozen=True):
    """One side as it is, in another dtype; the engine does it, `CastSource`."""

    id: ClassVar[str] = "cast"
    formula: ClassVar[str] = "cast/1"
    side: int
    dtype: str


def widest(names: Iterable[str]) -> str:
    """Return the smallest dtype that holds the values of all of these, which are computable."""
    rows = {name: dtype(name).nbytes for name in names}
    size = max(rows.values())
    largest = {name for name, nbytes in rows.items() if nbytes == size}
    return largest.pop() if len(largest) == 1 else ABOVE[size]


def can_cast(tensors: Iterable[Tensor]) -> bool:
    """Say whether all tensors are real floating-point numbers."""
    return all(is_computable(dtype(tensor.dtype)) for tensor in tensors)


def is_cast(store: Store, before: Tensor, after: Tensor) -> bool:
    """Say whether a tensor has the values of another, cast to its dtype; the shapes are equal."""
    source, target = dtype(before.dtype), dtype(after.dtype)
    for start, stop in ranges_of(after):
        low, high = start // target.nbytes, stop // target.nbytes
        old = _read(store, before, low, high)
        if cast(old, source, target).tobytes() != _read(store, after, low, high).tobytes():
            return False
    return True


def _read(
    store: Store, tensor: Tensor, start: int, stop: int
) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    size = dtype(tensor.dtype).nbytes
    plain = np.empty((stop - start) * size, np.uint8)
    store.read_range(tensor, start * size, plain.data)
    return plain


@dataclass(frozen=True)
class CastSource:
    """A tensor in another dtype, cast range by range."""

    store: Store
    tensor: Tensor
    dtype: str
    finite: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.tensor.shape

    @property
    def ahead(self) -> int:
        """Nothing is to be prepared."""
        return 0

    def prepare(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Forget what was prepared: nothing."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with cast bytes from ``start``."""
        row = dtype(self.dtype)
        low, high = start // row.nbytes, (start + len(out)) // row.nbytes
        plain = _read(self.store, self.tensor, low, high)
        out[:] = cast(plain, dtype(self.tensor.dtype), row).data
