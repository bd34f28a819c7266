"""What mergekit 0.1.5 and PEFT make of a base and its sides, with theta's random numbers.

Runs only where mergekit is installed; see ``make_golden_deltas.py`` for the values that are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from mergekit.merge_methods import merge_tensors
from peft.utils import merge_utils

from tests.theta.strategies.branches import Branches
from tests.theta.strategies.delta_cases import Case
from theta.strategies.values import Floats, philox_key, philox_uniform

METHODS = {
    "task-arithmetic": "task_arithmetic",
    "ties": "ties",
    "dare": "dare_linear",
    "dare-ties": "dare_ties",
    "della": "della",
    "della-linear": "della_linear",
    "breadcrumbs": "breadcrumbs",
    "breadcrumbs-ties": "breadcrumbs_ties",
    "sce": "sce",
    "ram": "ram",
}


def answer(case: Case, branches: Branches) -> Floats:
    """Merge by the oracle of a case."""
    if not case.peft:
        return mergekit(case.name, branches, case.parameters)
    oracle = peft_ties if case.name == "ties" else peft_dare
    return oracle(branches, case.parameters["weight"], case.parameters["density"])


def mergekit(name: str, branches: Branches, parameters: Mapping[str, Any]) -> Floats:
    """Merge by mergekit; the masks are drawn from the numbers that `merge_arrays` draws from."""
    method = METHODS[name]
    if name == "ram" and "r" in parameters:
        method = "ramplus_tl"
    given = {
        key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()
    }
    if name not in {"sce", "ram"}:
        given.setdefault("weight", [1.0] * len(branches.sides))
    if "rescale" in given:
        given["rescale"] = given["rescale"] == "l1"
    tensors = [torch.from_numpy(each.copy()) for each in (branches.base, *branches.sides)]
    with mock.patch("torch.bernoulli", side_effect=_Draws(name, branches)):
        return merge_tensors(tensors, method, base_index=0, parameters=given).numpy()


def peft_ties(branches: Branches, weights: Sequence[float], density: float) -> Floats:
    """Merge by PEFT's ``ties``."""
    deltas = [torch.from_numpy(delta) for delta in branches.deltas]
    merged = merge_utils.ties(deltas, torch.tensor(weights), density)
    return branches.base + merged.numpy()


def peft_dare(branches: Branches, weights: Sequence[float], density: float) -> Floats:
    """Merge by PEFT's ``dare_linear``, which divides by the density."""
    deltas = [torch.from_numpy(delta) for delta in branches.deltas]
    with mock.patch("torch.bernoulli", side_effect=_Draws("dare", branches)):
        merged = merge_utils.dare_linear(deltas, torch.tensor(weights), density)
    return branches.base + merged.numpy()


class _Draws:
    """``torch.bernoulli`` for one side after the other."""

    def __init__(self, name: str, branches: Branches) -> None:
        self.sides = iter(range(len(branches.sides)))
        self.name = name

    def __call__(self, chances: torch.Tensor) -> torch.Tensor:
        key = philox_key(0, self.name, "", bytes((next(self.sides),)))
        numbers = philox_uniform(key, 0, chances.numel()).reshape(tuple(chances.shape))
        return (torch.from_numpy(np.ascontiguousarray(numbers)) < chances).to(chances.dtype)
