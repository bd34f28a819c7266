"""What native.c makes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.unsignedinteger[Any]]
_Plain = bytes | memoryview | _Array

def join(
    planes: tuple[_Plain | int, ...], width: int, guess: _Array | None, out: _Array, /
) -> None: ...
def unpack(packed: _Plain, escapes: _Plain, out: _Array, /) -> bool: ...
def weighted_sum(
    terms: tuple[_Plain, ...], factors: tuple[float, ...], width: int, out: _Array, /
) -> bool: ...
def has_all_ones(plain: _Plain, width: int, exponent: int, /) -> bool: ...
def is_same(left: _Plain, right: _Plain, /) -> bool: ...
