"""Merge strategies, one family per file.

Owns their registry; other packages add strategies by the entry point group ``theta.strategies``.
"""

from typing import TypeGuard

from theta.strategies.average import Average
from theta.strategies.base import ConflictKind, Elementwise, Picking
from theta.strategies.pick import BASE, OURS, THEIRS
from theta_store.registry import Registry

Strategy = Picking | Elementwise
STRATEGIES: Registry[Strategy] = Registry(
    "strategy", (OURS, THEIRS, BASE, Average()), group="theta.strategies"
)


def is_elementwise(strategy: Strategy) -> TypeGuard[Elementwise]:
    """Say whether a strategy computes; the others pick."""
    return hasattr(strategy, "compute")


__all__ = ["STRATEGIES", "ConflictKind", "Elementwise", "Picking", "Strategy", "is_elementwise"]
