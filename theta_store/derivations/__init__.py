"""Derivations: the ways in which a tensor may follow from others, one per file.

Owns the list. Pure: must not know where bytes are kept.
"""

from theta_store.derivations.again import Again
from theta_store.derivations.base import Claim, Derivation
from theta_store.derivations.cast import Cast
from theta_store.derivations.low_rank import LowRank
from theta_store.derivations.rescale import Rescale
from theta_store.derivations.rows import Rows
from theta_store.derivations.same import Same
from theta_store.derivations.weighted_sum import WeightedSum

__all__ = [
    "Again",
    "Cast",
    "Claim",
    "Derivation",
    "LowRank",
    "Rescale",
    "Rows",
    "Same",
    "WeightedSum",
]
