"""Merging: the plan by ids, the values by strategies, and the merge that waits for a commit.

Owns the steps below the repository. Must not know refs, the workspace or the terminal.
"""

from theta.merge import pending
from theta.merge.apply import Decisions, Merged, apply_merge, settles
from theta.merge.pending import Pending
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
