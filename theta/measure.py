"""How far two tensors are apart.

Owns the measures and their streaming over chunks. Must not know where tensors come from. Sums are
float64 per chunk, added in the order of chunks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta.arithmetic import is_computable, widen
from theta_store.dtypes import DType, dtype
from theta_store.errors import UsageError

CHUNK_BYTES = 1 << 20

Read = Callable[[int, memoryview], None]


@dataclass(frozen=True)
class Distance:
    """Measures of the step from one tensor to another of the same dtype and shape.

    ``relative`` is the Frobenius norm of the difference over that of the old tensor, ``norm`` the
    former alone; ``changed`` the fraction of elements whose bits differ; ``cosine`` that of the
    two tensors as vectors; None where it is not defined.
    """

    norm: float
    relative: float | None
    max_abs: float
    cosine: float | None
    changed: float
    nan: int
    inf: int


def distance(kind: str, size: int, old: Read, new: Read) -> Distance:
    """Measure two tensors of ``size`` plain bytes, read by position, a chunk at a time."""
    row = dtype(kind)
    sums = np.zeros(6)
    changed = nan = inf = 0
    step = CHUNK_BYTES // row.nbytes * row.nbytes or row.nbytes
    for start in range(0, size, step):
        length = min(step, size - start)
        a, b = bytearray(length), bytearray(length)
        old(start, memoryview(a))
        new(start, memoryview(b))
        changed += _changed(a, b, row)
        left, right = _numbers(a, row), _numbers(b, row)
        nan += int(np.isnan(right).sum())
        inf += int(np.isinf(right).sum())
        sums = _added(sums, left, right)
    return _distance(sums, changed / max(size // row.nbytes, 1), nan, inf)


def _changed(a: bytearray, b: bytearray, row: DType) -> int:
    left = np.frombuffer(a, np.uint8).reshape(-1, row.nbytes)
    right = np.frombuffer(b, np.uint8).reshape(-1, row.nbytes)
    return int((left != right).any(axis=1).sum())


def _numbers(plain: bytearray, row: DType) -> NDArray[np.float64]:
    if is_computable(row):
        return widen(memoryview(plain), row).astype(np.float64)
    if row.kind in {"int", "uint", "bool"}:
        return np.frombuffer(plain, row.carrier).astype(np.float64)
    if row.kind == "complex" and row.carrier[1] == "c":
        return np.frombuffer(plain, f"<f{row.width}").astype(np.float64)
    raise UsageError(f"values of {row.name} cannot be measured")


def _added(
    sums: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        step = right - left
        found = np.array(
            [
                np.dot(step, step),
                np.dot(left, left),
                np.dot(right, right),
                np.dot(left, right),
                np.abs(step).max(initial=0.0),
                0.0,
            ]
        )
        total: NDArray[np.float64] = sums + found
        total[4] = max(sums[4], found[4])
    return total


def _distance(sums: NDArray[np.float64], changed: float, nan: int, inf: int) -> Distance:
    norm, old, new = (math.sqrt(value) if value >= 0 else math.nan for value in sums[:3])
    return Distance(
        norm=norm,
        relative=norm / old if old > 0 else None,
        max_abs=float(sums[4]),
        cosine=float(sums[3]) / (old * new) if old > 0 and new > 0 else None,
        changed=changed,
        nan=nan,
        inf=inf,
    )
