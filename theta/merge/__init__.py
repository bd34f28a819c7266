"""Merging: the plan by ids, the values by strategies, and the merge that waits for a commit.

Owns the steps below the repository; they are imported when first used, since every verb asks
whether a merge waits. Must not know refs, the workspace or the terminal.
"""

import importlib
from typing import TYPE_CHECKING, Any

from theta.merge import pending
from theta.merge.pending import Pending

if TYPE_CHECKING:
    from theta.merge.apply import Decisions, Merged, apply_merge, settles
    from theta.merge.plan import Conflict, Plan, Resolution, plan_merge
    from theta.merge.recipe import write_recipe
    from theta.merge.rules import Rule, decide, parse_rule

__all__ = [
    "Conflict",
    "Decisions",
    "Merged",
    "Pending",
    "Plan",
    "Resolution",
    "Rule",
    "apply_merge",
    "decide",
    "parse_rule",
    "pending",
    "plan_merge",
    "settles",
    "write_recipe",
]

_HOMES = {
    "apply": ("Decisions", "Merged", "apply_merge", "settles"),
    "plan": ("Conflict", "Plan", "Resolution", "plan_merge"),
    "recipe": ("write_recipe",),
    "rules": ("Rule", "decide", "parse_rule"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"theta.merge.{home}"), name)
    raise AttributeError(f"module 'theta.merge' has no attribute {name!r}")
