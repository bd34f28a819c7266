"""The predictor ``cast``: the base converted to another dtype.

Owns formula 1: exact where the target holds the value, else rounded once, to nearest, ties to
even; what is too large becomes infinite, or NaN where the target has no infinities. A NaN keeps
its sign and the first bits of its payload and is made quiet. Must not know the store.
"""

import numpy as np

from theta_store.arithmetic import nan_places, narrow, translate_nans, widen
from theta_store.dtypes import DType
from theta_store.predictors.head import AnyHead, check, check_formula, computable, whole_elements
from theta_store.predictors.matrix import blocks
from theta_store.scratch import Bytes

FORMULA = 1


class Head(AnyHead, frozen=True):
    """The names of the dtypes of the base and of the chunk."""

    formula: int
    base: str
    dtype: str

    def __post_init__(self) -> None:
        check_formula(self.formula, (FORMULA,))
        check(computable(self.base) != computable(self.dtype), "a cast to the same dtype")


def base_range(start: int, stop: int, base_dtype: DType, dtype: DType) -> tuple[int, int]:
    """Return which bytes of the base the bytes [start, stop) of the target are made of."""
    first, last = start // dtype.nbytes, -(-stop // dtype.nbytes)
    return first * base_dtype.nbytes, last * base_dtype.nbytes


def predict(base: memoryview | Bytes, base_dtype: DType, dtype: DType) -> Bytes:
    """Return whole elements of the base as plain bytes of the other dtype."""
    codes = whole_elements(base, base_dtype).view(f"<u{base_dtype.nbytes}")
    out = np.empty(len(codes) * dtype.nbytes, np.uint8)
    made = out.view(f"<u{dtype.nbytes}")
    for block in blocks(len(codes)):
        plain = codes[block].view(np.uint8)
        made[block] = narrow(widen(plain, base_dtype), dtype).view(made.dtype)
    nans = nan_places(codes.view(np.uint8), base_dtype)
    made[nans] = translate_nans(codes[nans], base_dtype, dtype)
    return out
