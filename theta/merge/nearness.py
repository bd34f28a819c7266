"""How far two states of the same files are apart, where only numbers differ.

Owns the measure that a replay of inexact strategies is judged by. Must not know recipes.
"""

import math
from collections.abc import Iterator

import numpy as np

from theta.checkpoint import named_leaves, same_spec
from theta.merge.plan import Entries
from theta_store.arithmetic import Floats, is_computable, widen
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.records import Tensor
from theta_store.store import Store, ranges_of

# What linear algebra on another machine may change, of the largest value of a tensor.
NEAR = 2e-6


def farthest(store: Store, made: Entries, expected: Entries) -> float | None:
    """Return the largest difference of an element, over the largest value of its tensor.

    None where more differs than floating-point values: a file, a name, a shape, a dtype. Infinite
    where values are not finite, or all were zero.
    """
    if made.keys() != expected.keys():
        return None
    found = 0.0
    for path, entry in made.items():
        other = expected[path]
        if entry.id == other.id:
            continue
        if entry.kind != "checkpoint" or other.kind != "checkpoint":
            return None
        one, two = named_leaves(store, entry), named_leaves(store, other)
        if one.keys() != two.keys():
            return None
        for name, id_ in one.items():
            apart = _apart(store, id_, two[name])
            if apart is None:
                return None
            found = max(found, apart)
    return found


def _apart(store: Store, one: TensorId, two: TensorId) -> float | None:
    if one == two:
        return 0.0
    left, right = store.tensor(one), store.tensor(two)
    if not same_spec(store, one, two) or not is_computable(dtype(left.dtype)):
        return None
    step = scale = 0.0
    for a, b in _pairs(store, left, right):
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return math.inf
        with np.errstate(all="ignore"):
            step = max(step, float(np.abs(a - b).max(initial=0)))
        scale = max(scale, float(np.abs(b).max(initial=0)))
    return step / scale if scale else math.inf if step else 0.0


def _pairs(store: Store, left: Tensor, right: Tensor) -> Iterator[tuple[Floats, Floats]]:
    row = dtype(left.dtype)
    for start, stop in ranges_of(left):
        plain = [np.empty(stop - start, np.uint8) for _ in range(2)]
        for tensor, out in zip((left, right), plain, strict=True):
            store.read_range(tensor, start, out.data)
        yield widen(plain[0], row), widen(plain[1], row)
