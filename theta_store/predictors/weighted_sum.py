"""The predictor ``weighted-sum``: the sum of coefficient times base, as merges compute it.

Owns formula 1: `theta_store.arithmetic.weighted_sum` of the widened bases in the order given, in
float32 or float64 for F64, then one narrowing; where that is NaN, the first base's bits. With
coefficients 1/n it is the merge strategy ``average/1``, bit for bit. Must not know the store.
"""

import math
from collections.abc import Sequence

import numpy as np

from theta_store.arithmetic import narrow, restore_nans, weighted_sum, widen
from theta_store.dtypes import DType
from theta_store.kernels import sum_bf16, sum_f32
from theta_store.predictors.head import AnyHead, check, check_formula, computable, whole_elements
from theta_store.predictors.matrix import blocks
from theta_store.scratch import Bytes

FORMULA = 1
MOST = 256
# With smaller blocks threads mostly wait for each other: every step of numpy hands the interpreter
# on. Larger ones fall out of the processor's caches.
BLOCK_ELEMENTS = 1 << 17
# What does it in one pass, where all of it is finite.
_QUICK = {"BF16": sum_bf16, "F32": sum_f32}


class Head(AnyHead, frozen=True):
    """The dtype, and one coefficient per base in the order of the needs."""

    formula: int
    dtype: str
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        check_formula(self.formula, (FORMULA,))
        computable(self.dtype)
        check(1 <= len(self.coefficients) <= MOST, f"a sum of {len(self.coefficients)} bases")
        check(all(math.isfinite(c) for c in self.coefficients), "a coefficient is not finite")


def predict(
    bases: Sequence[memoryview | Bytes], coefficients: Sequence[float], dtype: DType
) -> Bytes:
    """Return the weighted sum of the same range of every base, as plain bytes."""
    check(len(bases) == len(coefficients) > 0, "as many coefficients as bases are needed")
    sources = [whole_elements(base, dtype) for base in bases]
    check(len({len(source) for source in sources}) == 1, "bases of different lengths")
    out = np.empty(len(sources[0]), np.uint8)
    quick = _QUICK.get(dtype.name)
    if quick is not None and quick(sources, coefficients, out):
        return out
    for block in blocks(len(out), BLOCK_ELEMENTS * dtype.nbytes):
        wide = (widen(source[block], dtype) for source in sources)
        # What is narrower than float32 was widened into memory of its own.
        total = weighted_sum(wide, coefficients, in_place=dtype.nbytes < np.float32().nbytes)
        out[block] = narrow(total, dtype)
    return restore_nans(out, sources[0], dtype)


__all__ = ["FORMULA", "MOST", "Head", "predict", "weighted_sum"]
