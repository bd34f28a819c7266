"""How a merge was made, kept with its commit so that it can be made again.

Owns the recipe's shape and its text, canonical JSON, in both versions that exist. Must not know how
merges run.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from theta.merge.alignment import Alignment, parse_alignment
from theta.merge.choice import parse_choice
from theta.merge.decisions import Decision
from theta.merge.method import ENGINE, DtypeRule, Method
from theta.merge.plan import Plan
from theta.merge.rules import parse_rule
from theta_store.errors import IntegrityError
from theta_store.ids import CommitId, RecordId, hex_id

if TYPE_CHECKING:
    from theta.merge.apply import Merged

VERSION = 2
# Names by file; a file that was settled as a whole has no names.
Names = dict[str, list[str]]


class Group(msgspec.Struct, frozen=True):
    """Names that were settled by one strategy with one set of parameters, all of them spelled out.

    Parameters with a value for each side follow ``labels``; strategies take the sides that changed
    a tensor, in the order of tensor id, then commit id. ``exact``: the bits are the same on every
    machine. ``statistics`` are the commits of statistics that were read, by kind, one for each of
    ``labels``; empty where a side had none.
    """

    strategy: str
    formula: str
    parameters: dict[str, Any]
    names: Names
    exact: bool = True
    statistics: dict[str, list[str]] = {}


class Recipe(msgspec.Struct, frozen=True):
    """All that a replay needs, and what came of it. Commits are hex; rules are text.

    ``align`` is text, ``aligned`` the architecture of each model that was aligned, by path.
    """

    parents: tuple[str, ...]
    bases: tuple[str, ...]
    labels: tuple[str, ...]
    rules: tuple[str, ...]
    default: str | None
    groups: tuple[Group, ...]
    taken: dict[str, Names]
    seed: int = 0
    exact: bool = True
    nonfinite: bool = False
    dtype: DtypeRule | None = None
    scaled: bool = False
    align: str | None = None
    aligned: dict[str, str] = {}
    engine: int = ENGINE
    version: int = VERSION

    @property
    def method(self) -> Method:
        """How to merge in the same way; a strategy that is gone is a `UsageError`."""
        return Method(
            tuple(parse_rule(rule) for rule in self.rules),
            None if self.default is None else parse_choice(self.default),
            self.seed,
            self.exact,
            self.nonfinite,
            self.dtype,
        )

    @property
    def alignment(self) -> Alignment | None:
        """How models were aligned before; None where none was."""
        return None if self.align is None else parse_alignment(self.align)

    @property
    def statistics(self) -> dict[str, tuple[CommitId | None, ...]]:
        """The commits of statistics that were read, by kind: one for each side."""
        found = {kind: ids for group in self.groups for kind, ids in group.statistics.items()}
        return {
            kind: tuple(CommitId(RecordId(bytes.fromhex(id_))) if id_ else None for id_ in ids)
            for kind, ids in found.items()
        }

    def counts(self) -> dict[str, int]:
        """Return how many names each strategy, or side, settled."""
        found: dict[str, int] = {}
        named = [(how, names) for how, names in self.taken.items()]
        for how, names in [*named, *((group.strategy, group.names) for group in self.groups)]:
            count = sum(len(each) or 1 for each in names.values())
            found[how] = found.get(how, 0) + count
        return found


class _First(msgspec.Struct, frozen=True):
    """Version 1: two parents, rules without parameters, an outcome for each name."""

    parents: tuple[str, ...]
    base: str | None
    rules: tuple[str, ...]
    default: str | None
    outcomes: tuple[dict[str, str | None], ...]
    formulas: dict[str, str] = {}


def write_recipe(plan: Plan, merged: "Merged", method: Method) -> str:
    """Return the recipe of a merge as canonical JSON: sorted keys, no spaces."""
    computed = {decision.conflict.key for decision in merged.decisions}
    taken: dict[str, Names] = {}
    for resolution in merged.resolved:
        if (resolution.path, resolution.name) not in computed:
            _enter(taken.setdefault(resolution.how, {}), resolution.path, resolution.name)
    recipe = Recipe(
        tuple(map(hex_id, plan.sides)),
        tuple(map(hex_id, plan.bases)),
        plan.labels,
        tuple(map(str, method.rules)),
        None if method.default is None else str(method.default),
        _groups(plan, merged.decisions),
        taken,
        method.seed,
        method.exact,
        method.nonfinite,
        method.dtype,
        plan.scaled,
        None if plan.align is None else str(plan.align),
        plan.aligned,
    )
    return json.dumps(
        msgspec.to_builtins(recipe), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def read_recipe(text: bytes) -> Recipe:
    """Read a recipe of either version; anything else is an `IntegrityError`."""
    try:
        data = msgspec.json.decode(text, type=dict[str, Any])
        if data.get("version") == 1:
            return _second(msgspec.convert(data, _First))
        return msgspec.convert(data, Recipe)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"the recipe is damaged: {error}", hint="theta fsck") from None


def _second(first: _First) -> Recipe:
    """Return a recipe of version 1 as one of today; both sides are called by their place."""
    taken: dict[str, Names] = {}
    for outcome in first.outcomes:
        how, path = outcome["how"], outcome["path"]
        assert how is not None
        assert path is not None
        _enter(taken.setdefault(how, {}), path, outcome["name"])
    bases = () if first.base is None else (first.base,)
    labels = ("ours", "theirs")
    # Version 1 knew no merge without a strategy.
    return Recipe(
        first.parents, bases, labels, first.rules, first.default, (), taken, exact=False, version=1
    )


def _enter(names: Names, path: str, name: str | None) -> None:
    found = names.setdefault(path, [])
    if name is not None:
        found.append(name)


def _statistics(plan: Plan, kinds: Sequence[str]) -> dict[str, list[str]]:
    return {
        kind: [hex_id(id_) if id_ else "" for id_ in plan.statistics.get(kind, ())]
        for kind in kinds
    }


def _groups(plan: Plan, decisions: Sequence[Decision]) -> tuple[Group, ...]:
    groups: dict[str, Group] = {}
    for decision in decisions:
        strategy = decision.strategy
        parameters: Mapping[str, Any] = msgspec.to_builtins(strategy)
        key = json.dumps([strategy.id, parameters], sort_keys=True)
        group = groups.setdefault(
            key,
            Group(
                strategy.id,
                strategy.formula,
                dict(parameters),
                {},
                exact=strategy.needs.exact,
                statistics=_statistics(plan, strategy.needs.statistics),
            ),
        )
        _enter(group.names, decision.conflict.path, decision.conflict.name)
        for name in decision.conflict.ties:
            _enter(group.names, decision.conflict.path, name)
    return tuple(groups[key] for key in sorted(groups))
