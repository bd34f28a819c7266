"""Permutations of a model's units, and the model that they make.

Owns applying them, a parameter or a model at a time. Must not know how they were found.

A permutation p puts unit p[i] at place i.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta.alignment.spec import Axis, Rule, Spec
from theta_store.errors import UsageError

Array = NDArray[Any]
Permutations = Mapping[str, NDArray[np.intp]]


def apply(spec: Spec, permutations: Permutations, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the model with its units reordered; the arrays may be of any dtype."""
    return {name: permuted(spec.rule(name), permutations, each) for name, each in tensors.items()}


def permuted(rule: Rule, permutations: Permutations, tensor: Array) -> Array:
    """Return one parameter with its units reordered; units without a permutation stay."""
    for place, axis in enumerate(rule.axes):
        if axis.permutation in permutations:
            units = unit_count(rule, place, tensor.shape)
            wanted = permutations[axis.permutation]
            if len(wanted) != units:
                raise UsageError(f"{rule.pattern}: {len(wanted)} places for {units} units")
            tensor = np.take(tensor, elements(axis, wanted), axis=place)
    return tensor


def elements(axis: Axis, wanted: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the order of the axis's elements that a permutation of its units means."""
    grid = np.arange(axis.outer * len(wanted) * axis.inner).reshape(axis.outer, -1, axis.inner)
    return grid[:, wanted].reshape(-1)


def sizes(spec: Spec, tensors: Mapping[str, Array]) -> dict[str, int]:
    """Return how many units each permutation reorders, in the order of the parameters.

    Parameters that disagree, or that a rule does not fit, are a `UsageError`.
    """
    found: dict[str, int] = {}
    for name, rule in spec.of(tensors).items():
        for place, axis in enumerate(rule.axes):
            if not axis.permutation:
                continue
            units = unit_count(rule, place, tensors[name].shape)
            if found.setdefault(axis.permutation, units) != units:
                raise UsageError(
                    f"{name} has {units} units of {axis.permutation}, "
                    f"others have {found[axis.permutation]}"
                )
    return found


def unit_count(rule: Rule, place: int, shape: tuple[int, ...]) -> int:
    """Return the number of units along an axis."""
    axis = rule.axes[place]
    grain = axis.outer * axis.inner
    if place >= len(shape) or shape[place] % grain:
        raise UsageError(f"{rule.pattern}: shape {shape} has no axis {place} of units of {grain}")
    return shape[place] // grain
