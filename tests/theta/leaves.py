"""Leaves over bytes in memory, and bytes of the dtypes that numpy lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theta.examination import Leaf
from theta_store.arithmetic import narrow
from theta_store.dtypes import dtype
from theta_store.records import Tensor
from theta_store.store import Hashing


@dataclass(frozen=True)
class _Source:
    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def read_into(self, start: int, out: memoryview) -> None:
        out[:] = self.data[start : start + len(out)]


def leaf(kind: str, shape: Sequence[int], data: bytes) -> Leaf:
    source = _Source(kind, tuple(shape), data)
    hashing = Hashing.alone()
    (stored,) = hashing.put_tensors([("x", source)])
    record = hashing.record(stored.id)
    assert isinstance(record, Tensor)
    return Leaf(record, source.read_into)


def floats(values: np.ndarray, kind: str = "F32") -> Leaf:
    """Return numbers as a leaf of a floating-point dtype, rounded to nearest."""
    with np.errstate(all="ignore"):
        plain = narrow(np.ascontiguousarray(values).ravel(), dtype(kind))
    return leaf(kind, values.shape, plain.tobytes())
