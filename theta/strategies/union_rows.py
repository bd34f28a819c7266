"""``union-rows``: three-way by rows, where the rows of the terms have been aligned before.

Owns the formula ``union-rows/1``. A row is what lies below one index of the first axis. A row that
the base has: the sides whose bits differ from it changed it. A row that the base lacks: the sides
that have it made it. A row that nobody changed is the base's; one that was changed in one way only
is as those sides have it; else it is the average of the sides that changed it, by ``average/1``.
The bits of what is taken are kept. Must not know which rows belong together, nor why.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import ConflictKind, Kernel, Needs, Strategy
from theta.strategies.values import Block, Values
from theta.strategies.vectors import Rows
from theta_store.arithmetic import Floats, weighted_sum

Marks = NDArray[np.bool_]


class RowValues(Values):
    """Terms whose rows were aligned: ``present`` says which rows each side has, sides × rows.

    ``based``: which rows the base has. What a term lacks reads as some number.
    """

    present: Marks
    based: Marks


class UnionRows(Strategy, frozen=True):
    """Keep the rows that any side has; average those that several changed."""

    id: ClassVar[str] = "union-rows"
    formula: ClassVar[str] = "union-rows/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor", least=1)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content", "shape"})

    def prepare(self, values: Values) -> Kernel:
        """Return the kernel; which rows were changed is found first, run by run."""
        count = values.shape[0] if values.shape else 1
        rows = Rows(count, values.elements // max(count, 1))
        plans = _plans(*_changes(values, rows))

        def kernel(block: Block) -> Floats:
            assert block.base is not None, "it needs a base"
            made = block.base.copy()
            number = rows.spread(plans.of_row, block.start, block.stop)
            for place, plan in enumerate(plans.ways[1:], 1):
                here = np.broadcast_to(number == place, made.shape)
                if here.any():
                    terms = [block.sides[side][here] for side in plan]
                    made[here] = weighted_sum(terms, [1 / len(terms)] * len(terms))
            return made

        return kernel


@dataclass(frozen=True)
class _Plans:
    """Ways to make a row: of which sides it is the average; the first way is the base.

    ``of_row`` is the number of each row's way.
    """

    ways: Sequence[tuple[int, ...]]
    of_row: NDArray[np.float32]


def _changes(values: Values, rows: Rows) -> tuple[Marks, Marks]:
    """Return which rows each side changed, and the first side that made the same of them.

    Sides × rows, and sides × sides × rows.
    """
    count = values.count
    changed = np.zeros((count, rows.count), bool)
    apart = np.zeros((count, count, rows.count), bool)
    for here, start, stop in rows.runs():
        block = values.read(start, stop)
        assert block.base is not None, "it needs a base"
        base, *sides = (_bits(rows.shaped(term)) for term in (block.base, *block.sides))
        for side, bits in enumerate(sides):
            changed[side, here] |= (bits != base).any(axis=1)
        for one, two in itertools.combinations(range(count), 2):
            apart[one, two, here] |= (sides[one] != sides[two]).any(axis=1)
    if isinstance(values, RowValues):
        changed = (changed | ~values.based) & values.present
    return changed, apart


def _bits(values: Floats) -> NDArray[np.unsignedinteger]:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _plans(changed: Marks, apart: Marks) -> _Plans:
    """Return the way of each row."""
    count, rows = changed.shape
    pairs = list(itertools.combinations(range(count), 2))
    several = np.zeros(rows, bool)
    for one, two in pairs:
        several |= changed[one] & changed[two] & apart[one, two]
    # Equal changes count once: their average could differ from them in the last bit.
    first = np.where(changed.any(axis=0), changed.argmax(axis=0), -1)
    codes = np.where(several, changed.T @ (1 << np.arange(count)), 0)
    codes = np.where(several | (first < 0), codes, 1 << np.maximum(first, 0))
    found = [code for code in np.unique(codes).tolist() if code]
    ways = [tuple(side for side in range(count) if code >> side & 1) for code in found]
    of_row = (np.searchsorted(found, codes) + 1) * (codes > 0) if found else np.zeros(rows)
    return _Plans([(), *ways], of_row.astype(np.float32))
