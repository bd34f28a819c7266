"""How conflicts and what settled the others are told, by every verb that merges.

Owns the lines and the keys of the answers. Must not know how anything is merged.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.diff import diff_params
from theta.merge import Conflict, Decided, Plan, Resolution
from theta_store.ids import CheckpointId
from theta_store.records import TreeEntry

if TYPE_CHECKING:
    from theta.repo import Repo

# More conflicts than fit on a screen are told by module.
SHOWN = 20


def print_conflicts(terminal: Terminal, conflicts: Sequence[Conflict]) -> None:
    """Print a line for each conflict; of many, a line for a module's, unless all are asked for."""
    many = len(conflicts) > SHOWN and not terminal.verbose
    groups = Counter(
        (c.kind, c.path, module_of(c.name) if many and c.name else c.name, c.why) for c in conflicts
    )
    for (kind, path, name, why), count in groups.items():
        place = path if name is None else f"{path}::{name}"
        more = "; ".join([*([plural(count, "name")] if many else []), *([why] if why else [])])
        told = terminal.paint("dim", f"  ({more})") if more else ""
        terminal.out(f"{terminal.paint('red', f'{kind:>13}')}  {place}{told}")
    if many:
        terminal.talk("theta --verbose names them all")


def module_of(name: str) -> str:
    """Return the glob of a parameter's module, in every layer."""
    module, dot, _ = name.rpartition(".")
    return re.sub(r"(^|(?<=\.))\d+(?=\.|$)", "*", module) + dot + "*"


def print_plan(
    terminal: Terminal, repo: "Repo", verb: str, plan: Plan, decided: Decided, *, json: bool
) -> None:
    """Print what a verb would do, in numbers."""
    if json:
        chosen = [
            {"path": d.conflict.path, "name": d.conflict.name, "how": d.strategy.id}
            for d in decided.decisions
        ]
        settled = [resolution_as_json(resolution) for resolution in plan.resolved]
        conflicts = [conflict_as_json(conflict) for conflict in decided.left]
        keys = {"conflicts": conflicts, "resolved": settled + chosen}
        terminal.answer(verb, {"state": "planned", "commit": None, **keys})
        return
    terminal.out(spell_taken(repo, plan))
    for how, count in sorted(Counter(d.strategy.id for d in decided.decisions).items()):
        by = plan.label if plan.scaled else "both"
        terminal.out(f"{plural(count, 'name')} changed by {by}: {how}")
    for kind, count in sorted(Counter(conflict.kind for conflict in decided.left).items()):
        terminal.out(f"{plural(count, 'conflict')} left: {kind}")


def spell_taken(repo: "Repo", plan: Plan) -> str:
    """Spell what one side alone changed: of a model that it took as a whole, what differs in it."""
    params = files = 0
    for resolution in plan.resolved:
        count = 1
        if resolution.name is None:
            before = plan.files.sides[0].get(resolution.path)
            count = _params_changed(repo, before, plan.entries.get(resolution.path))
            files += not count
        params += count
    counts = [plural(params, "parameter")] if params or not files else []
    counts += [plural(files, "file")] if files else []
    return f"{' and '.join(counts)} changed only by {plan.label}: taken"


def _params_changed(repo: "Repo", before: TreeEntry | None, after: TreeEntry | None) -> int:
    if before is None or after is None or {before.kind, after.kind} != {"checkpoint"}:
        return 0
    sides = (repo.store.checkpoint(CheckpointId(entry.id)).params for entry in (before, after))
    return sum(1 for _ in diff_params(repo.store, *sides))


def spell_counts(resolved: Sequence[Resolution]) -> str:
    """Spell how many names were settled how."""
    counts = Counter(resolution.how for resolution in resolved)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def conflict_as_json(conflict: Conflict) -> dict[str, str | None]:
    """Return the keys that others rely on."""
    return {
        "path": conflict.path,
        "name": conflict.name,
        "kind": conflict.kind,
        "why": conflict.why or None,
    }


def resolution_as_json(resolution: Resolution) -> dict[str, str | None]:
    """Return the keys that others rely on."""
    return {"path": resolution.path, "name": resolution.name, "how": resolution.how}
