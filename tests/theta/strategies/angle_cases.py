"""The merges by angles and by nearness that are compared with mergekit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tests.theta.strategies.branches import Branches, normal
from theta.strategies import STRATEGIES
from theta.strategies.arrays import merge_arrays
from theta.strategies.values import Floats

SHAPES = [(16, 12), (33,), (8, 3, 5)]
WEIGHTS = (0.3, 0.5, 0.7)
# Of the greatest element. Coefficients are rounded once, mergekit rounds all along: it is asked in
# float64, so that what is left is our own rounding.
WITHIN = 2e-7


class Case(NamedTuple):
    """One merge; ``theirs``: mergekit's method and parameters; ``base``: mergekit is given one."""

    name: str
    parameters: Mapping[str, Any]
    method: str
    theirs: Mapping[str, Any]
    count: int = 3
    base: bool = False

    @property
    def label(self) -> str:
        return " ".join((self.name, *(f"{key}={value}" for key, value in self.parameters.items())))

    def merged(self, branches: Branches) -> Floats:
        strategy = msgspec.convert(self.parameters, STRATEGIES.get(self.name), strict=False)
        base = branches.base if self.base else None
        return merge_arrays(strategy, branches.sides[: self.count], base)


TWO = {"weight": WEIGHTS[:2]}
THREE = {"weight": WEIGHTS}
CASES = [
    Case("average", {}, "linear", {"weight": (1, 1, 1)}),
    Case("linear", THREE, "linear", THREE),
    Case("linear", {**THREE, "normalize": False}, "linear", {**THREE, "normalize": False}),
    Case("slerp", {"t": 0.3}, "slerp", {"t": 0.3}, 2),
    Case("nuslerp", TWO, "nuslerp", TWO, 2),
    Case("nuslerp", TWO, "nuslerp", TWO, 2, base=True),
    Case("nuslerp", {**TWO, "vectors": "rows"}, "nuslerp", {**TWO, "nuslerp_flatten": False}, 2),
    Case(
        "nuslerp",
        {**TWO, "vectors": "columns"},
        "nuslerp",
        {**TWO, "nuslerp_flatten": False, "nuslerp_row_wise": True},
        2,
        base=True,
    ),
    Case("multislerp", THREE, "multislerp", THREE),
    Case("multislerp", THREE, "multislerp", THREE, base=True),
    Case(
        "multislerp",
        {**THREE, "normalize": False},
        "multislerp",
        {**THREE, "normalize_weights": False},
        base=True,
    ),
    Case("karcher", {}, "karcher", {}),
    Case("karcher", {"max_iter": 2}, "karcher", {"max_iter": 2}),
    Case("model-stock", {}, "model_stock", {}, base=True),
    Case("model-stock", {"filter_wise": True}, "model_stock", {"filter_wise": True}, base=True),
    Case("arcee-fusion", {}, "arcee_fusion", {}, 2),
    Case("nearswap", {"t": 0.05}, "nearswap", {"t": 0.05}, 2),
    Case("passthrough", {"take": (1, 0), "scale": 0.7}, "passthrough", {"scale": 0.7}, 2),
]


def branches_of(place: int) -> Branches:
    """The base and three sides of a shape, whose changes agree in part: no cosine is below 0."""
    made = normal(SHAPES[place], 3, seed=place, spread=0.4)
    common = np.random.Generator(np.random.PCG64(100 + place)).standard_normal(SHAPES[place])
    return Branches(made.base, [side + common.astype(np.float32) for side in made.sides])
