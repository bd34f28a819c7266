"""What a strategy would make of one parameter, in three numbers for each side.

Owns the preview: how long the merged change is, and where it points. Values are read run by run.
Must not know the terminal, nor store anything.

Without a base the values themselves are measured. Sums are float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theta.merge.decisions import Decision, changed, has_base
from theta.merge.method import Method
from theta.merge.plan import Plan
from theta.merge.sources import NonFinite, Side, StoredValues
from theta.merge.work import source_of
from theta.strategies.base import Strategy
from theta.strategies.pick import Pick
from theta.strategies.union_rows import UnionRows
from theta.strategies.values import Block, Floats
from theta.terms import ABSENT
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.store import Store


@dataclass(frozen=True)
class SidePreview:
    """A side: the norm of its change, and the cosine of the merged change to it."""

    label: str
    norm: float
    cosine: float


@dataclass(frozen=True)
class Preview:
    """The norm of the merged change, and each side that changed the parameter."""

    norm: float
    sides: tuple[SidePreview, ...]


def previewed(store: Store, plan: Plan, decision: Decision, method: Method) -> Preview | None:
    """Return what a decision would make; None where there are no numbers to compare."""
    conflict = decision.conflict
    leaves = conflict.leaves
    if leaves is None or conflict.kind in {"shape", "modify/delete"}:
        return None
    if isinstance(decision.strategy, UnionRows):
        # Its rows may lie elsewhere than those of the sides.
        return None
    found = changed(conflict)
    if not all(is_computable(dtype(store.tensor(id_).dtype)) for _, id_ in found):
        return None
    base = leaves.bases[0] if has_base(store, conflict) else ABSENT
    sides = tuple(Side(id_, plan.sides[place]) for place, id_ in found)
    terms = StoredValues(
        store, "", sides, None if base is ABSENT else base, (0, ""), nonfinite=True
    )
    places = [place for place, _ in found]
    try:
        merged = _merged(store, plan, decision, method, places)
        return _measured(terms, merged, [plan.labels[place] for place in places])
    except NonFinite:
        return None


def _merged(
    store: Store, plan: Plan, decision: Decision, method: Method, places: list[int]
) -> Callable[[Block], Floats]:
    strategy: Strategy = decision.strategy
    if isinstance(strategy, Pick):
        side = {"ours": 0, "theirs": 1}.get(strategy.id)
        if side in places:
            return lambda block: block.sides[places.index(side)]
        return lambda block: np.zeros_like(block.sides[0]) if block.base is None else block.base
    source = source_of(store, plan, decision, method)
    kernel = source.prepare()
    return lambda block: kernel(source.values.read(block.start, block.stop))


def _measured(terms: StoredValues, merged: Callable[[Block], Floats], labels: list[str]) -> Preview:
    own, norms, products = 0.0, np.zeros(len(labels)), np.zeros(len(labels))
    for block in terms.blocks():
        with np.errstate(all="ignore"):
            base = 0.0 if block.base is None else block.base.astype(np.float64)
            change = merged(block).astype(np.float64) - base
            own += float(np.sum(change * change))
            for place, side in enumerate(block.sides):
                delta = side.astype(np.float64) - base
                norms[place] += np.sum(delta * delta)
                products[place] += np.sum(delta * change)
    sides = (
        SidePreview(label, math.sqrt(norm), _cosine(product, norm * own))
        for label, norm, product in zip(labels, norms.tolist(), products.tolist(), strict=True)
    )
    return Preview(math.sqrt(own), tuple(sides))


def _cosine(product: float, squares: float) -> float:
    return product / math.sqrt(squares) if squares > 0 else 0.0
