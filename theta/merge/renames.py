"""Parameters that a side renamed: the same tensor under another name.

Owns how renames are found, and the terms with every side under the new names. Pure; must not know
values: a tensor that was renamed and changed as well is another tensor.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from theta.params import split_name
from theta.terms import Terms
from theta_store.ids import TensorId

Leaves = Mapping[str, TensorId]


def renamed(base: Leaves, side: Leaves) -> dict[str, str]:
    """Return the new names by the old ones.

    Several tensors may be equal, as scales of new layers are: such a name goes to the one that ends
    in most of the same components, and stays alone where that is not one.
    """
    gone, new = base.keys() - side.keys(), side.keys() - base.keys()
    by_id: dict[TensorId, list[str]] = {}
    for name in sorted(new):
        by_id.setdefault(side[name], []).append(name)
    best = {
        old: found
        for old in sorted(gone)
        if (found := _nearest(old, by_id.get(base[old], ()))) is not None
    }
    taken = Counter(best.values())
    return {old: name for old, name in best.items() if taken[name] == 1}


def _nearest(old: str, names: Sequence[str]) -> str | None:
    if len(names) < 2:
        return names[0] if names else None
    lengths = [_common(old, name) for name in names]
    longest = max(lengths)
    return names[lengths.index(longest)] if lengths.count(longest) == 1 else None


def _common(one: str, two: str) -> int:
    """Return how many components two names share at their ends."""
    pairs = zip(reversed(split_name(one)), reversed(split_name(two)), strict=False)
    count = 0
    for left, right in pairs:
        if left != right:
            break
        count += 1
    return count


def under_new_names(found: Terms[Leaves]) -> tuple[Terms[Leaves], dict[str, int]]:
    """Return the terms with every renamed parameter under its new name, and who renamed it.

    Where two sides gave different names, or the new name means something else on another side,
    nothing is renamed.
    """
    base = found.bases[0]
    wishes: dict[str, set[str]] = {}
    who: dict[str, int] = {}
    for place, side in enumerate(found.sides):
        for old, new in renamed(base, side).items():
            wishes.setdefault(old, set()).add(new)
            who.setdefault(new, place)
    names = {
        old: next(iter(new))
        for old, new in wishes.items()
        if len(new) == 1 and _is_free(old, next(iter(new)), base[old], found.sides)
    }

    def moved(leaves: Leaves) -> Leaves:
        return {names.get(name, name): id_ for name, id_ in leaves.items()}

    return found.map(moved), {new: who[new] for new in names.values()}


def _is_free(old: str, new: str, tensor: TensorId, sides: Iterable[Leaves]) -> bool:
    """Say whether nobody has another tensor under the new name, or both names."""
    return all(side.get(new, tensor) == tensor and not {old, new} <= side.keys() for side in sides)
