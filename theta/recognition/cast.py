"""One side is the other converted to its dtype, rounded to nearest, ties to even.

Owns the test of both directions over pairs. Must not know what else is recognised.
"""

from dataclasses import dataclass, field

import numpy as np

from theta.pairs import Pair
from theta.recognition.base import Finding
from theta_store.arithmetic import is_computable, narrow, widen
from theta_store.dtypes import DType


@dataclass
class Cast:
    """Watches pairs of two dtypes; a direction that fails once is given up."""

    old_row: DType
    new_row: DType
    forward: bool = field(init=False)
    backward: bool = field(init=False)

    def __post_init__(self) -> None:
        self.forward = _can(self.old_row, self.new_row)
        self.backward = _can(self.new_row, self.old_row)

    def see(self, pair: Pair) -> None:
        """Take the next pair."""
        if self.forward:
            self.forward = _is_cast(pair.old, self.old_row, pair.new, self.new_row)
        if self.backward:
            self.backward = _is_cast(pair.new, self.new_row, pair.old, self.old_row)

    def finding(self) -> Finding | None:
        """Return what all pairs have in common."""
        if self.forward:
            return Finding("cast", f"exact {self.new_row.name.lower()} cast")
        if self.backward:
            return Finding("cast back", f"old is the exact {self.old_row.name.lower()} cast of new")
        return None


def _can(source: DType, target: DType) -> bool:
    # `narrow` takes float64 to bfloat16 by way of float32: two roundings, so no exact cast.
    twice = source.name == "F64" and target.name == "BF16"
    return source != target and is_computable(source) and is_computable(target) and not twice


def _is_cast(
    plain: bytes | bytearray, source: DType, other: bytes | bytearray, target: DType
) -> bool:
    with np.errstate(all="ignore"):
        values = widen(memoryview(plain), source)
        made = narrow(values, target)
    wanted = np.frombuffer(other, np.uint8)
    if np.array_equal(made, wanted):
        return True
    # Machines differ in the bits of a NaN that was converted.
    words = f"<u{target.nbytes}"
    with np.errstate(all="ignore"):
        there = np.isnan(widen(memoryview(other), target))
    alike = made.view(words) == wanted.view(words)
    return bool((alike | (np.isnan(values) & there)).all())
