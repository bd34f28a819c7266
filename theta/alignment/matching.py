"""Weight matching: the permutations that bring one model's weights nearest to another's.

Owns the search. Must not know architectures. Needs scipy for the assignment problem.

The similarity is the sum over all compared parameters of ⟨a, permuted b⟩. Given all other
permutations, the best one is an assignment of units, solved exactly, and so on until nothing is
gained. A start from nothing takes one permutation after the other, the one first that most
elements bear witness of whose other units are settled already.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta.alignment.permutations import permuted, sizes
from theta.alignment.spec import FREE, Axis, Rule, Spec
from theta_store.errors import UsageError

SWEEPS = 100
# A sweep that gains no more than this share of the similarity is the last.
GAIN = 1e-12

Array = NDArray[Any]
Order = NDArray[np.intp]
Witness = tuple[str, int]
Assign = Callable[[NDArray[np.float64]], Order]


def align(spec: Spec, a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, Order]:
    """Return the permutations of b's units that bring it nearest to a; see `permutations.apply`.

    Both have the same names and shapes; parameters are real floating-point arrays.
    """
    if a.keys() != b.keys() or any(a[name].shape != b[name].shape for name in a):
        raise UsageError("models of different names or shapes cannot be aligned")
    search = _Search(spec.of(a), a, b, sizes(spec, a), _assignment())
    orders = search.start()
    similarity = search.similarity(orders)
    for _ in range(SWEEPS):
        turned = search.swept(orders)
        now = search.similarity(turned)
        if now - similarity <= GAIN * abs(similarity):
            break
        orders, similarity = turned, now
    return orders


@dataclass(frozen=True)
class _Search:
    rules: Mapping[str, Rule]
    a: Mapping[str, Array]
    b: Mapping[str, Array]
    units: Mapping[str, int]
    assign: Assign

    def start(self) -> dict[str, Order]:
        """Return permutations from what is settled, one after the other."""
        orders: dict[str, Order] = {}
        while len(orders) < len(self.units):
            heard = {n: self._witnesses(n, orders.keys()) for n in self.units if n not in orders}
            name = max(heard, key=lambda n: sum(self.a[each].size for each, _ in heard[n]))
            orders[name] = self._best(name, orders, heard[name])
        return {name: orders[name] for name in self.units}

    def swept(self, orders: Mapping[str, Order]) -> dict[str, Order]:
        """Return the permutations after each was made the best one, given the others."""
        now = dict(orders)
        for name in orders:
            now[name] = self._best(name, now, self._witnesses(name, orders.keys()))
        return now

    def similarity(self, orders: Mapping[str, Order]) -> float:
        """Return the sum of all products of weights that lie in the same place."""
        total = 0.0
        for parameter, rule in self.rules.items():
            if rule.compared and rule.axes:
                turned = permuted(rule, orders, self.b[parameter])
                left, right = (each.reshape(-1) for each in (self.a[parameter], turned))
                total += float(left.astype(np.float64) @ right.astype(np.float64))
        return total

    def _best(self, name: str, orders: Mapping[str, Order], heard: list[Witness]) -> Order:
        """Return the assignment of units that witnesses say; without one all stay in place."""
        if not heard:
            return np.arange(self.units[name])
        total = np.zeros((self.units[name], self.units[name]))
        for parameter, place in heard:
            axes = list(self.rules[parameter].axes)
            axis, axes[place] = axes[place], FREE
            turned = permuted(Rule(parameter, tuple(axes)), orders, self.b[parameter])
            total += _products(axis, place, self.a[parameter], turned)
        if not np.isfinite(total).all():
            raise UsageError("models with values that are not finite cannot be aligned")
        return self.assign(total)

    def _witnesses(self, name: str, settled: Set[str]) -> list[Witness]:
        """Return the axes that tell of a permutation while all others of theirs are settled."""
        return [
            (parameter, place)
            for parameter, rule in self.rules.items()
            for place, axis in enumerate(rule.axes)
            if rule.compared and axis.permutation == name and _others(rule, place) <= settled
        ]


def _others(rule: Rule, place: int) -> set[str]:
    return {axis.permutation for axis in rule.axes[:place] + rule.axes[place + 1 :]} - {""}


def _products(axis: Axis, place: int, a: Array, b: Array) -> NDArray[np.float64]:
    """Return what each unit of a (rows) and each of b (columns) have in common."""
    left, right = (_by_unit(axis, place, each.astype(np.float64)) for each in (a, b))
    return left @ right.T


def _by_unit(axis: Axis, place: int, tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a row for each unit."""
    rest = np.moveaxis(tensor, place, 0)
    units = rest.shape[0] // (axis.outer * axis.inner)
    split = rest.reshape(axis.outer, units, axis.inner, *rest.shape[1:])
    return np.moveaxis(split, 1, 0).reshape(units, -1)


def _assignment() -> Assign:
    try:
        from scipy.optimize import linear_sum_assignment
    except ModuleNotFoundError:
        raise UsageError(
            "aligning models needs scipy", hint="pip install 'theta-vcs[align]'"
        ) from None

    def assign(gain: NDArray[np.float64]) -> Order:
        return np.asarray(linear_sum_assignment(gain, maximize=True)[1], np.intp)

    return assign
