"""Which elements of a tensor are its greatest: all above a cut.

Owns the exact k-th greatest magnitude of numbers that come run by run, in bounded memory, and what
happens to ties. Must not know strategies.

Of two numbers of one magnitude the one with the lower index counts as the greater: a property of
the tensor, not of the runs it is read in. Magnitudes are compared as the bits of the float without
its sign, which have the order of the numbers. A sample says about where the wanted one lies, and
one pass collects what lies there; nearly always it is among them. Where not, a first pass counts
the numbers by the upper 15 of these bits; a last pass lists those numbers, and how many of each
there are in a run, that share the upper bits of the wanted one. Between them float64 may need
passes that count by further bits. Small tensors are read once, since reading costs more than any
pass.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theta.strategies.bracket import Bracket
from theta.strategies.values import Block, Floats, Values
from theta_store.arithmetic import Codes

# Non-negative or signed numbers computed from a block, which may be overwritten; all flat.
Streams = Callable[[Block], Sequence[Floats]]

_DIGIT = 15
# What is left of a search is listed when it has no more than so many bits or elements.
_LISTED_BITS, _LISTED_ELEMENTS = 16, 1 << 16
# Magnitudes of at most so many bytes, of all streams together, are held from the first pass on.
_HELD_BYTES = 1 << 25
# A sample is of runs of so many numbers at so many places.
_PLACES, _SAMPLED = 16, 1 << 10


@dataclass(frozen=True)
class Cut:
    """The least number kept: its magnitude as bits, and its place among equal ones.

    Kept are greater magnitudes, and equal ones up to the index ``last``.
    """

    bits: int = 0
    last: int = (1 << 62) - 1

    @property
    def keeps_all(self) -> bool:
        """Whether nothing falls away, whatever the numbers are."""
        return self == Cut()

    def kept(self, values: Floats, start: int) -> NDArray[np.bool_]:
        """Say which numbers of a run are kept; ``start`` is the place of its first element."""
        # Signed, since numpy compares these faster.
        bits = magnitudes(values).view(f"i{values.itemsize}")
        least = bits.dtype.type(self.bits)
        kept = np.empty(len(bits), np.bool_)
        ties = min(max(self.last + 1 - start, 0), len(bits))
        np.greater_equal(bits[:ties], least, out=kept[:ties])
        np.greater(bits[ties:], least, out=kept[ties:])
        return kept


def magnitudes(values: Floats) -> Codes:
    """Return the bits of floats without their signs: unsigned integers in the order of size."""
    bits: Codes = values.view(f"u{values.itemsize}")
    unsigned: Codes = bits & bits.dtype.type((1 << 8 * values.itemsize - 1) - 1)
    return unsigned


def keep_only(values: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Set the others to +0, in place: exact, even where they are infinite."""
    bits = values.view(f"u{values.itemsize}")
    np.multiply(bits, kept, out=bits)
    return values


def count_of(share: float, elements: int) -> int:
    """Return how many elements a share is: rounded down, but one at least of a tensor with any."""
    return max(1, int(share * elements)) if elements else 0


def greatest(
    values: Values, streams: Streams, wanted: Sequence[tuple[int, int]]
) -> tuple[Cut, ...]:
    """Return the cut for each wanted (index of a stream, how many of its numbers are kept).

    All streams are searched at once; as many as there are, or more, need no pass. At least one
    number is kept.
    """
    cuts: list[Cut | None] = [Cut()] * len(wanted)
    open_ = {n: want for n, want in enumerate(wanted) if want[1] < values.elements}
    if open_:
        runs = _Runs(values, streams)
        cuts = _put(cuts, open_, _guessed(runs, list(open_.values())))
        open_ = {n: want for n, want in open_.items() if cuts[n] is None}
    if open_:
        cuts = _put(cuts, open_, _searched(runs, list(open_.values()), values.elements))
    return tuple(cut for cut in cuts if cut is not None)


def _put(
    cuts: Sequence[Cut | None], places: Iterable[int], found: Iterable[Cut | None]
) -> list[Cut | None]:
    return list((dict(enumerate(cuts)) | dict(zip(places, found, strict=True))).values())


def _searched(runs: "_Runs", wanted: Sequence[tuple[int, int]], elements: int) -> list[Cut]:
    """Return the cuts by counting bits, pass by pass."""
    searches = [_Search(_Range(stream, runs.width), kept, elements) for stream, kept in wanted]
    while not all(search.is_listable for search in searches):
        searches = _narrowed(runs, searches)
    return _located(runs, searches)


def _guessed(runs: "_Runs", wanted: Sequence[tuple[int, int]]) -> list[Cut | None]:
    """Return the cuts that one pass finds from a guess, None for the others."""
    samples = runs.sample()
    elements = runs.elements
    brackets = [Bracket.around(samples[stream], kept, elements) for stream, kept in wanted]
    bounds = []
    for run in runs:
        bounds.append((run.start, run.stop))
        for (stream, _), bracket in zip(wanted, brackets, strict=True):
            bracket.add(run.bits[stream])
    cuts: list[Cut | None] = []
    for (stream, _), bracket in zip(wanted, brackets, strict=True):
        found = bracket.found()
        if found is None or found.rank == found.equal:
            cuts.append(None if found is None else Cut(found.bits))
            continue
        start, stop = bounds[found.run]
        cuts.append(Cut(found.bits, runs.place(start, stop, stream, found.bits, found.there)))
    return cuts


@dataclass(frozen=True)
class _Run:
    """The magnitudes of every stream in a run of elements."""

    start: int
    stop: int
    bits: Sequence[Codes]


class _Runs:
    """A tensor, run by run, as often as it is asked for; a small one is read once and held."""

    def __init__(self, values: Values, streams: Streams) -> None:
        self._values = values
        self._streams = streams
        reading = self._read()
        first = next(reading)
        self.width = 8 * first.bits[0].itemsize - 1
        size = values.elements * sum(bits.itemsize for bits in first.bits)
        held = size <= _HELD_BYTES and not values.is_cheap
        self._held = [first, *reading] if held else None

    def __iter__(self) -> Iterator[_Run]:
        return self._read() if self._held is None else iter(self._held)

    @property
    def elements(self) -> int:
        """Number of elements of the tensor."""
        return self._values.elements

    def sample(self) -> list[Codes]:
        """Return magnitudes of every stream from places all over the tensor; of a small one all."""
        if self.elements <= _PLACES * _SAMPLED:
            found = list(self)
        elif self._held is not None:
            step = -(-self.elements // (_PLACES * _SAMPLED))
            found = [_Run(r.start, r.stop, [bits[::step] for bits in r.bits]) for r in self]
        else:
            starts = np.linspace(0, self.elements - _SAMPLED, _PLACES).astype(int).tolist()
            found = [self._run(self._values.read(at, at + _SAMPLED)) for at in starts]
        return [np.concatenate(parts) for parts in zip(*(r.bits for r in found), strict=True)]

    def place(self, start: int, stop: int, stream: int, bits: int, rank: int) -> int:
        """Return where the rank-th, from 1, of the numbers of this magnitude in a run lies."""
        found = self.at(start, stop).bits[stream]
        return start + int(np.flatnonzero(found == found.dtype.type(bits))[rank - 1])

    def at(self, start: int, stop: int) -> _Run:
        """Return one of the runs again."""
        for run in self._held or ():
            if run.start == start:
                return run
        return self._run(self._values.read(start, stop))

    def _read(self) -> Iterator[_Run]:
        return map(self._run, self._values.blocks())

    def _run(self, block: Block) -> _Run:
        start, stop = block.start, block.stop
        return _Run(start, stop, [magnitudes(stream) for stream in self._streams(block)])


@dataclass(frozen=True)
class _Range:
    """The magnitudes of a stream whose bits above the lowest ``shift`` are ``prefix``."""

    stream: int
    shift: int
    prefix: int = 0

    def of(self, bits: Codes) -> Codes:
        """Return the magnitudes in this range."""
        number = bits.dtype.type
        if self.shift == 8 * bits.itemsize - 1:
            return bits
        # Faster than picking by the truth values themselves where many are true.
        places = np.flatnonzero(bits >> number(self.shift) == number(self.prefix))
        return bits.take(places)

    @property
    def digit(self) -> int:
        """The number of bits that the next pass counts by."""
        return min(_DIGIT, self.shift)

    def counted(self, bits: Codes) -> NDArray[np.intp]:
        """Return how many magnitudes of the range there are by their next bits."""
        number = bits.dtype.type
        digits = self.of(bits) >> number(self.shift - self.digit)
        if self.shift < 8 * bits.itemsize - 1:
            digits &= number((1 << self.digit) - 1)
        return np.bincount(digits.astype(np.uint32, copy=False), minlength=1 << self.digit)

    def listed(self, bits: Codes) -> tuple[Codes, NDArray[np.intp]]:
        """Return the different magnitudes of the range, in order, and how many of each."""
        inside = self.of(bits)
        if self.shift > _LISTED_BITS:
            return np.unique(inside, return_counts=True)
        number = bits.dtype.type
        low = inside & number((1 << self.shift) - 1)
        counts = np.bincount(low.astype(np.uint32, copy=False))
        found = np.flatnonzero(counts)
        return found.astype(number) + number(self.prefix << self.shift), counts[found]


@dataclass(frozen=True)
class _Search:
    """The wanted number is the ``rank``-th greatest, from 1, of the ``count`` in the range."""

    range: _Range
    rank: int
    count: int

    @property
    def is_listable(self) -> bool:
        """Whether the rest can be listed in bounded memory."""
        return self.range.shift <= _LISTED_BITS or self.count <= _LISTED_ELEMENTS

    def narrowed(self, tally: NDArray[np.int64]) -> "_Search":
        """Return the search in the part of the range that has the wanted number."""
        digit, rank = _from_top(tally, self.rank)
        old = self.range
        prefix = (old.prefix << old.digit) + digit
        range_ = replace(old, shift=old.shift - old.digit, prefix=prefix)
        return _Search(range_, rank, int(tally[digit]))


def _from_top(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Return where the rank-th element from the top lies, and its rank there."""
    above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(above, rank))
    there = len(counts) - 1 - place
    return there, rank - int(above[place] - counts[there])


def _narrowed(runs: _Runs, searches: Sequence[_Search]) -> list[_Search]:
    tallies = {
        search.range: np.zeros(1 << search.range.digit, np.int64)
        for search in searches
        if not search.is_listable
    }
    for run in runs:
        for range_, tally in tallies.items():
            tally += range_.counted(run.bits[range_.stream])
    return [s if s.is_listable else s.narrowed(tallies[s.range]) for s in searches]


@dataclass(frozen=True)
class _Listed:
    """The different magnitudes of a range in one run, and how many of each."""

    start: int
    stop: int
    numbers: Codes
    counts: NDArray[np.intp]


class _Listing:
    """The magnitudes of a range, run by run."""

    def __init__(self) -> None:
        self._runs: list[_Listed] = []

    def add(self, run: _Run, numbers: Codes, counts: NDArray[np.intp]) -> None:
        self._runs.append(_Listed(run.start, run.stop, numbers, counts))

    def find(self, rank: int) -> tuple[int, int, int]:
        """Return the magnitude of this rank, its rank among equal ones, and their number."""
        every = np.concatenate([run.numbers for run in self._runs])
        numbers, places = np.unique(every, return_inverse=True)
        counts = np.zeros(len(numbers), np.int64)
        np.add.at(counts, places, np.concatenate([run.counts for run in self._runs]))
        place, rest = _from_top(counts, rank)
        return int(numbers[place]), rest, int(counts[place])

    def run_of(self, bits: int, rank: int) -> tuple[_Listed, int]:
        """Return which run has the rank-th of equal numbers, and its rank there."""
        for run in self._runs:
            equal = run.numbers == run.numbers.dtype.type(bits)
            here = int(run.counts[equal].sum())
            if rank <= here:
                return run, rank
            rank -= here
        raise AssertionError("the listing holds every number of its range")


def _located(runs: _Runs, searches: Sequence[_Search]) -> list[Cut]:
    listings = {search.range: _Listing() for search in searches}
    for run in runs:
        for range_, listing in listings.items():
            listing.add(run, *range_.listed(run.bits[range_.stream]))
    return [_cut(runs, search, listings[search.range]) for search in searches]


def _cut(runs: _Runs, search: _Search, listing: _Listing) -> Cut:
    bits, rank, equal = listing.find(search.rank)
    if rank == equal:
        return Cut(bits)
    where, rest = listing.run_of(bits, rank)
    last = runs.place(where.start, where.stop, search.range.stream, bits, rest)
    return Cut(bits, last)
