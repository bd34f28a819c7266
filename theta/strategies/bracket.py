"""A guess at the k-th greatest number, and the one pass that proves it or says that it was wrong.

Owns the guess from a sample, the numbers that lie around it, and the exact one among them. Must not
know where numbers come from. What the sample was decides about speed alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from theta_store.arithmetic import Codes

# How far around the guess numbers are collected: in standard deviations of the rank in a random
# sample, and as a share of all numbers, since neighbours in a tensor are alike.
_DEVIATIONS = 4
_SHARE = 0.01
# So many numbers are collected at most.
_MOST = 1 << 22
# A sample is counted in fine steps, all of whose numbers are collected.
_STEP_BITS, _SAMPLE_BITS = 12, 16


@dataclass(frozen=True)
class Found:
    """The k-th greatest number, its rank among the ``equal`` ones, and where that one lies.

    ``run`` is the number of the run that has it, ``there`` its rank among those of the run.
    """

    bits: int
    rank: int
    equal: int
    run: int
    there: int


@dataclass
class Bracket:
    """Between ``low`` and ``high``, both included, the ``kept``-th greatest number is expected."""

    low: int
    high: int
    kept: int
    _above: int = 0
    _count: int = 0
    _inside: list[Codes] = field(default_factory=list)

    @classmethod
    def around(cls, sample: Codes, kept: int, elements: int) -> "Bracket":
        """Return the bracket that a sample of all numbers suggests; it may be all of them."""
        top = int(np.iinfo(sample.dtype).max)
        size = len(sample)
        if size >= elements:
            return cls(0, top, kept)
        share = kept / elements
        deviation = math.sqrt(size * share * (1 - share))
        margin = math.ceil(max(_DEVIATIONS * deviation, _SHARE * size))
        rank = round(share * size)
        steps = _Steps([sample], 0, top, _SAMPLE_BITS)
        low = steps.around(rank + margin)[0] if rank + margin <= size else 0
        high = steps.around(rank - margin)[1] if rank - margin >= 1 else top
        return cls(low, high, kept)

    def add(self, bits: Codes) -> None:
        """Take the next run of numbers."""
        number = bits.dtype.type
        # Smaller numbers wrap around and are greater than any difference.
        places = np.flatnonzero(bits - number(self.low) <= number(self.high - self.low))
        self._above += int(np.count_nonzero(bits > number(self.high)))
        self._count += len(places)
        if self._count <= _MOST:
            self._inside.append(bits.take(places))

    def found(self) -> Found | None:
        """Return the number; None where it lies outside, or too many lie inside."""
        rank = self.kept - self._above
        if not 1 <= rank <= self._count <= _MOST:
            return None
        bits = _greatest(self._inside, rank, self.low, self.high)
        rank -= sum(int(np.count_nonzero(run > bits)) for run in self._inside)
        counts = [int(np.count_nonzero(run == bits)) for run in self._inside]
        run, there = _located(counts, rank)
        return Found(int(bits), rank, sum(counts), run, there)


class _Steps:
    """Numbers between two bounds, counted in 2^bits steps: quicker than sorting them."""

    def __init__(self, runs: Sequence[Codes], low: int, high: int, bits: int) -> None:
        self._low, self._high = low, high
        self._shift = max(0, (high - low).bit_length() - bits)
        counts = np.zeros(((high - low) >> self._shift) + 1, np.int64)
        for run in runs:
            digits = run - run.dtype.type(low) >> run.dtype.type(self._shift)
            counts += np.bincount(digits.astype(np.intp), minlength=len(counts))
        self._from_top = np.cumsum(counts[::-1])

    def around(self, rank: int) -> tuple[int, int]:
        """Return the bounds, both included, of the step that has the rank-th greatest, from 1."""
        place = int(np.searchsorted(self._from_top, rank))
        low = self._low + (len(self._from_top) - 1 - place << self._shift)
        return low, min(low + (1 << self._shift) - 1, self._high)


def _greatest(runs: Sequence[Codes], rank: int, low: int, high: int) -> np.unsignedinteger:
    """Return the rank-th greatest, from 1, of numbers that lie between two bounds."""
    number = runs[0].dtype.type
    least, most = map(number, _Steps(runs, low, high, _STEP_BITS).around(rank))
    rank -= sum(int(np.count_nonzero(run > most)) for run in runs)
    near = np.concatenate([run[(run >= least) & (run <= most)] for run in runs])
    found: np.unsignedinteger = np.sort(near)[len(near) - rank]
    return found


def _located(counts: Sequence[int], rank: int) -> tuple[int, int]:
    """Return which run has the rank-th, from 1, and its rank there."""
    for number, count in enumerate(counts):
        if rank <= count:
            return number, rank
        rank -= count
    raise AssertionError("there are as many as the rank says")
