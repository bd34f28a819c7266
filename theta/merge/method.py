"""How a merge is to be made: all that a user decides, and all that a replay needs to know.

Owns `Method`. Must not know plans nor values.
"""

from dataclasses import dataclass
from typing import Literal

from theta.merge.choice import Choice
from theta.merge.rules import Rule

# Counts the rules by which the engine finds terms, their order and their keys.
ENGINE = 1
DtypeRule = Literal["ours", "theirs", "widest"]


@dataclass(frozen=True)
class Method:
    """Rules, of which the last that matches wins, and a default under all of them.

    ``seed`` is of the random numbers. ``exact``: settle changes of different rows or elements
    without a strategy. ``nonfinite``: let strategies see NaN and infinity. ``dtype``: what the
    result gets where sides differ in it; None leaves that a conflict.
    """

    rules: tuple[Rule, ...] = ()
    default: Choice | None = None
    seed: int = 0
    exact: bool = True
    nonfinite: bool = False
    dtype: DtypeRule | None = None
