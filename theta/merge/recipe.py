"""How a merge was made, kept with its commit so that it can be made again.

Owns the recipe's text: canonical JSON. Must not know how merges run.
"""

import json
from collections.abc import Sequence

from theta.merge.apply import Merged
from theta.merge.plan import Plan
from theta.merge.rules import Rule
from theta.strategies import STRATEGIES
from theta_store.ids import hex_id

VERSION = 1


def write_recipe(plan: Plan, merged: Merged, rules: Sequence[Rule], default: str | None) -> str:
    """Return parents, base, rules, formulas and the outcome of every name that was settled."""
    used = {resolution.how for resolution in merged.resolved}
    formulas = {id_: STRATEGIES.get(id_).formula for id_ in used - {"ours", "theirs", "base"}}
    return json.dumps(
        {
            "version": VERSION,
            "parents": [hex_id(plan.ours), hex_id(plan.theirs)],
            "base": None if plan.base is None else hex_id(plan.base),
            "rules": [str(rule) for rule in rules],
            "default": default,
            "formulas": formulas,
            "outcomes": [{"path": r.path, "name": r.name, "how": r.how} for r in merged.resolved],
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
