"""The new tensor is the old one times a constant.

Owns the guess of the constant from the first pair and its test on all of them. Must not know what
else is recognised.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta.pairs import Pair
from theta.recognition.base import Finding
from theta.recognition.rounding import mantissa_bits, spacing
from theta_store.arithmetic import is_computable, narrow, widen
from theta_store.dtypes import DType

LEAST_ELEMENTS = 8
MOST_ELEMENTS = 4095
DIGITS = (2, 3, 4, 6, 9)
# Where the constant is only guessed, some products round to the other side.
LEAST_ALIKE = 0.9
# Near a power of two all products may be rounded the same way, which no average takes out: then
# constants around the ratio are tried, so many to either side, in steps of a part of the spacing.
AROUND, PARTS = 64, 64


@dataclass
class Scale:
    """Watches pairs of one dtype; ``factor`` is None until values other than zero were seen."""

    row: DType
    factor: float | None = None
    alive: bool = True
    seen: int = 0
    alike: int = 0

    def __post_init__(self) -> None:
        self.alive = is_computable(self.row)

    def see(self, pair: Pair) -> None:
        """Take the next pair."""
        if not self.alive:
            return
        old, new = np.real(pair.left), np.real(pair.right)
        nonzero = int(np.count_nonzero(old))
        if self.factor is None and nonzero:
            self.factor = _factor(old, new, self.row) if nonzero >= LEAST_ELEMENTS else None
            self.alive = self.factor is not None
        if self.factor is None:
            self.alive = self.alive and not new.any()
        elif self.alive:
            self._test(old, new, self.factor)
            self.seen += nonzero

    def _test(self, old: NDArray[np.float64], new: NDArray[np.float64], factor: float) -> None:
        made = _product(old, factor, self.row)
        with np.errstate(all="ignore"):
            self.alive = bool((np.abs(made - new) <= spacing(new, self.row)).all())
        self.alike += int(np.count_nonzero((made == new) & (old != 0)))

    def finding(self) -> Finding | None:
        """Return the constant, unless rounding alone could explain the change."""
        if not self.alive or self.factor is None or self.alike < LEAST_ALIKE * self.seen:
            return None
        if abs(self.factor - 1) <= 2 * 2.0 ** -mantissa_bits(self.row):
            return None
        digits = 6 if mantissa_bits(self.row) > 16 else 4
        return Finding("scaled", f"scaled by {self.factor:.{digits}g}", self.factor)


def _product(old: NDArray[np.float64], factor: float, row: DType) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        made: NDArray[np.float64] = widen(narrow(old * factor, row).data, row).astype(np.float64)
    return made


def _factor(old: NDArray[np.float64], new: NDArray[np.float64], row: DType) -> float | None:
    """Return the likeliest constant; None where it is no finite number.

    The ratio is good to some digits. People scale by short numbers, and where a product lies
    halfway between two numbers only the very constant rounds it as it was: so shorter numbers
    near the ratio are tried on some elements.
    """
    ratio = _ratio(old, new, row)
    if not np.isfinite(ratio) or not ratio:
        return None
    some = np.flatnonzero(old)[:MOST_ELEMENTS]
    guesses = [float(f"{ratio:.{digits}g}") for digits in DIGITS] + [float(np.float32(ratio))]

    def alike(guess: float) -> int:
        return int(np.count_nonzero(_product(old[some], guess, row) == new[some]))

    best = max([*guesses, ratio], key=alike)
    apart = np.abs(_product(old[some], best, row) - new[some])
    if alike(best) >= LEAST_ALIKE * len(some) or not (apart <= spacing(new[some], row)).all():
        return best
    step = 2.0 ** -mantissa_bits(row) / PARTS
    return max((ratio * (1 + step * n) for n in range(-AROUND, AROUND + 1)), key=alike)


def _ratio(old: NDArray[np.float64], new: NDArray[np.float64], row: DType) -> float:
    """Return the ratio of two tensors.

    Least squares average the roundings of the tensor out. For float64 their own sums round as much
    as the tensor does; there the median of ratios is as good as exact.
    """
    with np.errstate(all="ignore"):
        if row.name == "F64":
            some = np.flatnonzero(old)[:MOST_ELEMENTS]
            return float(np.median(new[some] / old[some]))
        return float(np.einsum("i,i->", old, new) / np.einsum("i,i->", old, old))
