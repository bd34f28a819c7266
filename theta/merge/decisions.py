"""Which strategy, with which parameters, each open name of a plan gets.

Owns the step from a method to one decision for each conflict, and what a strategy cannot settle: a
rule, else an exact merge, else the default. Values are read only to find exact merges.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from theta.merge.casting import Cast, can_cast, is_cast, widest
from theta.merge.choice import Choice, Site
from theta.merge.documents import NOTES
from theta.merge.exact import Elements, Rows, elements_differ, rows_differ
from theta.merge.exact import Terms as UnionTerms
from theta.merge.method import Method
from theta.merge.plan import Conflict, Plan
from theta.merge.row_map import RowMap
from theta.merge.rules import find_rule
from theta.merge.shapes import BY_PLACE, aligned, can_unite, folder_of, unfit
from theta.merge.tokenizers import is_vocabulary
from theta.merge.vocabulary_size import is_size
from theta.params import split_name
from theta.strategies import Strategy
from theta.strategies.pick import Ours, Pick
from theta.strategies.union_rows import UnionRows
from theta.terms import ABSENT
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.store import Store

EMBEDDING = re.compile(r"embed|(^|\.)(wte|wpe)(\.|$)")
# Files that trainers write beside a model, and the part of a checkpoint that holds such state.
TRAINING = re.compile(
    r"((optimizer|scheduler|rng_state\w*|scaler)\.(pt|pth|bin|safetensors)"
    r"|training_args\.bin|trainer_state\.json)$"
)
OPTIMIZER = ("optimizer.", "optimizer_state_dict.", "optimizer_states.", "lr_scheduler")
DTYPES = "--dtype ours|theirs|widest says which, where all are real numbers"
SHAPES = "shape=pad or shape=truncate before it does"
ROWS = f"union-rows does, and {SHAPES}"
HEAD = re.compile(r"(lm_head|score|classifier)(\.|$)")


@dataclass(frozen=True)
class Decision:
    """A strategy for one conflict: per-side parameters in the order of the plan's sides.

    ``notice`` tells the user what nobody asked for.
    """

    conflict: Conflict
    strategy: Strategy
    notice: str = ""


@dataclass(frozen=True)
class Decided:
    """The decisions of a plan, and the conflicts that no strategy was found for."""

    decisions: tuple[Decision, ...]
    left: tuple[Conflict, ...]


def decide(store: Store, plan: Plan, method: Method, *, look: bool = True) -> Decided:
    """Return what a method makes of the conflicts; a bad parameter is a `UsageError`.

    Without ``look`` no value is read, so that no exact merge is found.
    """
    depths = {part.path: Depths(tuple(part.names)) for part in plan.checkpoints}
    decisions: list[Decision] = []
    left: list[Conflict] = []
    for conflict in plan.conflicts:
        rule = find_rule(method.rules, conflict.path, *conflict.names)
        choice = method.default if rule is None else rule.choice
        found = (
            (_cast(store, conflict, method) if look else None)
            or (_unasked(store, conflict, method, look=look) if rule is None else None)
            or _decision(store, plan, conflict, choice, method, depths)
        )
        if isinstance(found, Conflict):
            left.append(found)
        else:
            decisions.append(found)
    decisions, left = _vocabularies(store, plan, decisions, left)
    return Decided(tuple(decisions), tuple(left))


def _vocabularies(
    store: Store, plan: Plan, decisions: list[Decision], left: list[Conflict]
) -> tuple[list[Decision], list[Conflict]]:
    """Let vocabularies go with the rows: united where rows beside them are, by token.

    The number of tokens that a configuration notes is settled with any rows beside it.
    """
    united: dict[str, bool] = {}
    for decision in decisions:
        if isinstance(decision.strategy, UnionRows) and decision.conflict.leaves is not None:
            folder = folder_of(decision.conflict.path)
            by_token = rows_of(store, plan, decision.conflict)[1]
            united[folder] = united.get(folder, False) or by_token
    kept: list[Decision] = []
    open_: list[Conflict] = []
    every: list[Decision | Conflict] = [*decisions, *left]
    for each in every:
        conflict = each if isinstance(each, Conflict) else each.conflict
        folder = folder_of(conflict.path)
        beside = is_vocabulary(*conflict.key) and united.get(folder, False)
        if beside and isinstance(each, Decision) and not isinstance(each.strategy, UnionRows):
            open_.append(conflict.because("rows beside it are merged by union-rows"))
        elif isinstance(each, Decision):
            kept.append(each)
        elif (beside and can_unite(plan, conflict.path)) or (
            folder in united and is_size(*conflict.key)
        ):
            kept.append(Decision(conflict, UnionRows()))
        else:
            open_.append(each)
    return kept, open_


def _cast(store: Store, conflict: Conflict, method: Method) -> Decision | None:
    """Return what settles a change of dtype alone, on every side but one at most.

    A side that only cast the base has not changed its values, and gives way as everywhere.
    """
    leaves = conflict.leaves
    if conflict.kind != "dtype" or leaves is None or leaves.bases[0] is ABSENT:
        return None
    name = target_dtype(store, conflict, method)
    if name is None or not has_base(store, conflict):
        return None
    base = store.tensor(leaves.bases[0])
    sides = [(place, store.tensor(id_)) for place, id_ in changed(conflict)]
    moved = [(place, side) for place, side in sides if not is_cast(store, base, side)]
    if len(moved) > 1:
        return None
    # Where nobody moved, the side that lost least says what the values are.
    place, _ = max(moved or sides, key=lambda each: dtype(each[1].dtype).nbytes)
    return Decision(conflict, Cast(side=place, dtype=name))


def target_dtype(store: Store, conflict: Conflict, method: Method) -> str | None:
    """Return the dtype of the result: that of the sides, else what the method says.

    None where the method does not say, or where a side is no real floating-point number.
    """
    leaves = conflict.leaves
    assert leaves is not None
    sides = [store.tensor(side) for side in leaves.sides if side is not ABSENT]
    names = {store.tensor(id_).dtype for _, id_ in changed(conflict)}
    if len(names) == 1:
        return names.pop()
    if method.dtype is None or not can_cast(sides):
        return None
    if method.dtype == "widest":
        return widest(names)
    place = 0 if method.dtype == "ours" else 1
    return sides[place].dtype if len(sides) == len(leaves.sides) else None


def _unasked(store: Store, conflict: Conflict, method: Method, *, look: bool) -> Decision | None:
    """Return what settles a conflict that no rule is for, before the default does."""
    if is_optimizer(conflict.path, conflict.name):
        return Decision(conflict, Ours(), "the state of training is ours")
    if conflict.values is not None and split_name(conflict.name or "")[-1] in NOTES:
        return Decision(conflict, Ours(), f"{conflict.name} is ours")
    if not look or not method.exact or conflict.kind != "content" or conflict.name is None:
        return None
    terms = union_terms(store, conflict)
    if terms is None:
        return None
    names = [name for name in conflict.names if name is not None]
    if any(is_embedding(name) or is_head(name) for name in names) and rows_differ(terms):
        return Decision(conflict, Rows())
    # A default is meant for changes all over a tensor: whether these are few is not looked at.
    if method.default is None and elements_differ(terms):
        return Decision(conflict, Elements())
    return None


def union_terms(store: Store, conflict: Conflict) -> UnionTerms | None:
    """Return the terms of an exact merge, where the base has the shape and dtype of the sides."""
    leaves = conflict.leaves
    if leaves is None or leaves.bases[0] is ABSENT:
        return None
    sides = tuple(id_ for _, id_ in changed(conflict))
    terms = UnionTerms(store, sides, leaves.bases[0])
    return terms if terms.fit else None


def _decision(
    store: Store,
    plan: Plan,
    conflict: Conflict,
    choice: Choice | None,
    method: Method,
    depths: Mapping[str, "Depths"],
) -> Decision | Conflict:
    if choice is None:
        return conflict
    depth = depths[conflict.path].of(conflict.name) if conflict.path in depths else 0.0
    strategy = choice.settle(Site(plan.labels, depth))
    why = unsettled(store, strategy, conflict, method)
    if why:
        return conflict.because(why)
    if isinstance(strategy, Pick):
        return Decision(conflict, strategy)
    choice.check(strategy, len(plan.sides))
    aligns = isinstance(strategy, UnionRows) and conflict.leaves is not None
    if aligns and not rows_of(store, plan, conflict)[1]:
        return Decision(conflict, strategy, BY_PLACE)
    return Decision(conflict, strategy)


def unsettled(store: Store, strategy: Strategy, conflict: Conflict, method: Method) -> str:
    """Say why a strategy cannot settle a conflict; empty where it can."""
    if isinstance(strategy, Pick):
        alone = strategy.needs.base and conflict.terms.bases[0] is ABSENT
        return f"{strategy.id} takes the base, and there is none" if alone else ""
    if is_vocabulary(*conflict.key) and isinstance(strategy, UnionRows):
        return ""
    if conflict.leaves is None:
        what = "files" if conflict.values is None else "keys of a file"
        return conflict.why or f"{strategy.id} does not settle {what}"
    kind = conflict.kind
    if reshapes(strategy, conflict):
        return _unfit(store, strategy, conflict, method)
    if kind == "dtype":
        if target_dtype(store, conflict, method) is None:
            return DTYPES
        kind = "add/add" if conflict.leaves.bases[0] is ABSENT else "content"
    if strategy.needs.base and kind in {"content", "add/add"} and not has_base(store, conflict):
        return f"{strategy.id} needs a base, and there is none of this shape"
    if kind not in strategy.kinds:
        born = any(base is not ABSENT for base in conflict.leaves.bases)
        other = f": {ROWS if born else SHAPES}" if kind == "shape" else ""
        return f"{strategy.id} does not settle {kind}{other}"
    return ""


def reshapes(strategy: Strategy, conflict: Conflict) -> bool:
    """Say whether the terms of a conflict get one shape before the strategy sees them."""
    if conflict.leaves is None:
        return False
    return isinstance(strategy, UnionRows) or (
        conflict.kind == "shape" and strategy.shape is not None
    )


def _unfit(store: Store, strategy: Strategy, conflict: Conflict, method: Method) -> str:
    assert conflict.leaves is not None
    if any(side is ABSENT for side in conflict.leaves.sides):
        return f"{strategy.id} does not settle {conflict.kind}"
    if target_dtype(store, conflict, method) is None:
        return DTYPES
    base = conflict.leaves.bases[0]
    sides = [store.tensor(id_) for _, id_ in changed(conflict)]
    return unfit(strategy, sides, None if base is ABSENT else store.tensor(base))


def rows_of(store: Store, plan: Plan, conflict: Conflict) -> tuple[RowMap, bool]:
    """Return which rows of the changed sides belong together, and whether by token."""
    assert conflict.leaves is not None
    base = conflict.leaves.bases[0]
    assert base is not ABSENT, "rows are aligned with those of a base"
    sides = [(place, store.tensor(id_).shape[0]) for place, id_ in changed(conflict)]
    rows = store.tensor(base).shape[0]
    return aligned(store, plan, conflict.path, conflict.name or "", sides, rows)


def has_base(store: Store, conflict: Conflict) -> bool:
    """Say whether the base of a conflict has the shape of the sides."""
    leaves = conflict.leaves
    if leaves is None or leaves.bases[0] is ABSENT:
        return False
    return store.tensor(leaves.bases[0]).shape == store.tensor(changed(conflict)[0][1]).shape


def changed(conflict: Conflict) -> list[tuple[int, TensorId]]:
    """Return the sides that changed the tensor, in the order of the plan, with what they made.

    A side that has what the base has gives way, as everywhere.
    """
    leaves = conflict.leaves
    assert leaves is not None
    return [
        (place, side)
        for place, side in enumerate(leaves.sides)
        if side is not ABSENT and side != leaves.bases[0]
    ]


@dataclass(frozen=True)
class Depths:
    """Where the parameters of one model lie between its first layer and its last.

    The layer is the first component of a name that is all digits; its range is that of all names
    with the same components before it: an encoder and a decoder have ranges of their own. What has
    no layer lies at 0, a head too: so it is in mergekit, whose files are read here.
    """

    names: Sequence[str]

    @cached_property
    def _ranges(self) -> dict[tuple[str, ...], tuple[int, int]]:
        found: dict[tuple[str, ...], tuple[int, int]] = {}
        for place, layer in filter(None, map(_layer, self.names)):
            low, high = found.get(place, (layer, layer))
            found[place] = min(low, layer), max(high, layer)
        return found

    def of(self, name: str | None) -> float:
        """Return the depth of a parameter, from 0 to 1; of a model's only layer it is 1."""
        at = None if name is None else _layer(name)
        if at is None:
            return 0.0
        low, high = self._ranges[at[0]]
        return (at[1] - low) / (high - low) if high > low else 1.0


def _layer(name: str) -> tuple[tuple[str, ...], int] | None:
    components = split_name(name)
    for place, component in enumerate(components):
        if component.isdecimal() and component.isascii():
            return components[:place], int(component)
    return None


def is_embedding(name: str) -> bool:
    """Say whether a name is that of an embedding: its rows belong to tokens or places."""
    return EMBEDDING.search(name) is not None


def is_head(name: str) -> bool:
    """Say whether a name is that of a head: its rows belong to tokens or classes."""
    return HEAD.search(name) is not None


def is_optimizer(path: str, name: str | None) -> bool:
    """Say whether a file or a parameter is the state of training, not of the model."""
    file = path.rpartition("/")[2]
    return TRAINING.match(file) is not None or (name or "").startswith(OPTIMIZER)
