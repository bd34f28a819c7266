"""The merges that are compared with mergekit and PEFT, and how closely they must agree."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tests.theta.strategies.branches import Branches, normal
from theta.strategies import STRATEGIES
from theta.strategies.arrays import merge_arrays
from theta.strategies.values import Floats

SHAPES = [(12, 8), (33,), (8, 3, 5)]
WEIGHTS = (0.3, 0.5, 0.7)
# Where a factor comes from a sum over the tensor, the last bit of that sum may differ: then
# this much of the greatest element.
LAST_BIT = 2e-7


class Case(NamedTuple):
    """One merge; ``peft``: PEFT is the oracle. ``within`` 0: bitwise."""

    name: str
    parameters: Mapping[str, Any]
    within: float = 0.0
    peft: bool = False

    @property
    def label(self) -> str:
        return " ".join((self.name, *(f"{key}={value}" for key, value in self.parameters.items())))

    def merged(self, branches: Branches) -> Floats:
        strategy = msgspec.convert(self.parameters, STRATEGIES.get(self.name), strict=False)
        return merge_arrays(strategy, branches.sides, branches.base)

    def agrees(self, merged: Floats, expected: Floats) -> bool:
        assert merged.dtype == expected.dtype
        if not self.within:
            return bool(np.array_equal(merged, expected))
        return bool(np.abs(merged - expected).max() <= self.within * np.abs(expected).max())


CASES = [
    Case("task-arithmetic", {"weight": WEIGHTS}),
    Case("task-arithmetic", {"weight": WEIGHTS, "normalize": True, "lambda": 0.4}),
    Case("ties", {"weight": WEIGHTS}),
    Case("ties", {"weight": WEIGHTS, "density": 0.2}),
    Case("ties", {"weight": WEIGHTS, "density": 0.2, "normalize": False, "lambda": 0.4}),
    Case("ties", {"weight": WEIGHTS, "density": 0.5, "variant": "peft"}, peft=True),
    Case("dare", {"weight": WEIGHTS, "density": 0.5}, LAST_BIT),
    Case("dare", {"weight": WEIGHTS, "density": 0.5, "rescale": "none"}),
    Case("dare", {"weight": WEIGHTS, "density": 0.3, "rescale": "inverse"}, peft=True),
    Case("dare-ties", {"weight": WEIGHTS, "density": 0.5}, LAST_BIT),
    Case("dare-ties", {"weight": WEIGHTS, "density": 0.5, "rescale": "none"}),
    Case("della", {"weight": WEIGHTS, "density": 0.6, "epsilon": 0.15}, LAST_BIT),
    Case("della", {"weight": WEIGHTS, "density": 0.6, "rescale": "none"}),
    Case("della-linear", {"weight": WEIGHTS, "density": 0.6}, LAST_BIT),
    Case("della-linear", {"weight": WEIGHTS, "density": 0.6, "rescale": "none"}),
    Case("breadcrumbs", {"weight": WEIGHTS, "density": 0.5, "gamma": 0.1}),
    Case("breadcrumbs", {"weight": WEIGHTS, "density": 0.95, "gamma": 0.1}),
    Case("breadcrumbs-ties", {"weight": WEIGHTS, "density": 0.5, "gamma": 0.1}),
    Case("sce", {}, LAST_BIT),
    Case("sce", {"select_topk": 0.3}, LAST_BIT),
    Case("ram", {"epsilon": 0.05}),
    Case("ram", {"epsilon": 0.05, "r": 0.1, "alpha": 0.2}),
]


def branches_of(place: int) -> Branches:
    """The base and three sides of a shape; the seed is the place of the shape."""
    return normal(SHAPES[place], 3, seed=place)


def fingerprint(branches: Branches) -> str:
    """Return the SHA-256 of the terms: another NumPy might draw other numbers from a seed."""
    digest = hashlib.sha256()
    for each in (branches.base, *branches.sides):
        digest.update(each.astype("<f4").tobytes())
    return digest.hexdigest()
