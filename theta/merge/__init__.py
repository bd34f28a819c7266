"""Merging: the plan by ids, the values by strategies, and the merge that waits for a commit.

Owns the steps below the repository; they are imported when first used, since every verb asks
whether a merge waits. Must not know refs, the workspace or the terminal.
"""

import importlib
from typing import TYPE_CHECKING, Any

from theta.merge import pending
from theta.merge.pending import Pending

if TYPE_CHECKING:
    from theta.merge.alignment import Alignment, parse_alignment
    from theta.merge.apply import Merged, apply_merge
    from theta.merge.choice import Choice, parse_choice
    from theta.merge.decisions import Decided, Decision, decide, unsettled
    from theta.merge.estimate import Estimate, estimate_of
    from theta.merge.evidence import Account, Note, account_of
    from theta.merge.finished import Finished
    from theta.merge.method import DtypeRule, Method
    from theta.merge.nearness import NEAR, farthest
    from theta.merge.plan import Conflict, Plan, Resolution, plan_merge
    from theta.merge.preview import Preview, previewed
    from theta.merge.rebasin import aligned_sides
    from theta.merge.recipe import Recipe, read_recipe, write_recipe
    from theta.merge.rules import (
        ATTRIBUTES_FILE,
        Rule,
        find_rule,
        parse_attributes,
        parse_rule,
        rule_for,
    )
    from theta.merge.scaled import open_changes
    from theta.merge.search import Axis, Trial, parse_axis, trials_of
    from theta.merge.statistic import entry_of, norm_of, put_statistic, summed
    from theta.merge.virtual import base_entries

__all__ = [
    "ATTRIBUTES_FILE",
    "NEAR",
    "Account",
    "Alignment",
    "Axis",
    "Choice",
    "Conflict",
    "Decided",
    "Decision",
    "DtypeRule",
    "Estimate",
    "Finished",
    "Merged",
    "Method",
    "Note",
    "Pending",
    "Plan",
    "Preview",
    "Recipe",
    "Resolution",
    "Rule",
    "Trial",
    "account_of",
    "aligned_sides",
    "apply_merge",
    "base_entries",
    "decide",
    "entry_of",
    "estimate_of",
    "farthest",
    "find_rule",
    "norm_of",
    "open_changes",
    "parse_alignment",
    "parse_attributes",
    "parse_axis",
    "parse_choice",
    "parse_rule",
    "pending",
    "plan_merge",
    "previewed",
    "put_statistic",
    "read_recipe",
    "rule_for",
    "summed",
    "trials_of",
    "unsettled",
    "write_recipe",
]

_HOMES = {
    "alignment": ("Alignment", "parse_alignment"),
    "apply": ("Merged", "apply_merge"),
    "choice": ("Choice", "parse_choice"),
    "decisions": ("Decided", "Decision", "decide", "unsettled"),
    "estimate": ("Estimate", "estimate_of"),
    "evidence": ("Account", "Note", "account_of"),
    "finished": ("Finished",),
    "method": ("DtypeRule", "Method"),
    "nearness": ("NEAR", "farthest"),
    "plan": ("Conflict", "Plan", "Resolution", "plan_merge"),
    "preview": ("Preview", "previewed"),
    "rebasin": ("aligned_sides",),
    "recipe": ("Recipe", "read_recipe", "write_recipe"),
    "rules": ("ATTRIBUTES_FILE", "Rule", "find_rule", "parse_attributes", "parse_rule", "rule_for"),
    "scaled": ("open_changes",),
    "search": ("Axis", "Trial", "parse_axis", "trials_of"),
    "statistic": ("entry_of", "norm_of", "put_statistic", "summed"),
    "virtual": ("base_entries",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"theta.merge.{home}"), name)
    raise AttributeError(f"module 'theta.merge' has no attribute {name!r}")
