"""Names for the tensors of nested containers.

Owns the spelling of paths through dicts and lists as parameter names, and its one law: no two
tensors of a file get the same name. Pure; must not know pickles or files.

- Components are joined by ``.``.
- A string key that leads to a tensor keeps its dots, so ``{"model": {"fc.weight": T}}`` is
  ``model.fc.weight``; unless its first dotted part is also the key of a container beside it, then
  its dots are escaped (``\\.``), as they always are in keys that lead to containers.
- A backslash is doubled, and a leading ``[`` is escaped: ``[0]`` is an index or a number key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Key = str | int | float | bool | bytes | None
MAX_DEPTH = 1000


@dataclass(eq=False, slots=True)
class Mapping:
    """A dict, its keys in order; a key that is no scalar is spelled by its place."""

    items: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Items:
    """A list, tuple or set."""

    items: list[object] = field(default_factory=list)


class TooDeep(ValueError):
    """Containers nest too deeply, or are shared so often that their walk would not end."""


def walk(root: object, leaf: type, *, limit: int) -> Iterator[tuple[str, object]]:
    """Yield name and leaf of every leaf below ``root``, in order.

    ``limit`` bounds the steps of the walk: shared containers are met once per path.
    """
    holding = _holding(root, leaf)
    stack: list[tuple[tuple[str, ...], object]] = [((), root)]
    steps = 0
    while stack:
        path, node = stack.pop()
        steps += 1
        if steps > limit or len(path) > MAX_DEPTH:
            raise TooDeep
        if isinstance(node, leaf):
            yield ".".join(path), node
        elif id(node) in holding:
            stack += [
                ((*path, part), child) for part, child in reversed(_parts(node, leaf, holding))
            ]


def _parts(node: object, leaf: type, holding: set[int]) -> list[tuple[str, object]]:
    """Return the children that hold leaves, each with its component."""
    if isinstance(node, Items):
        found: Sequence[tuple[object, object]] = list(enumerate(node.items))
        return [(f"[{i}]", c) for i, c in found if isinstance(c, leaf) or id(c) in holding]
    if not isinstance(node, Mapping):
        return []
    inner = [(k, c) for k, c in _unique(node) if isinstance(c, leaf) or id(c) in holding]
    taken = {component(k, index) for index, (k, c) in enumerate(inner) if not isinstance(c, leaf)}
    return [
        (leaf_component(k, taken, index) if isinstance(c, leaf) else component(k, index), c)
        for index, (k, c) in enumerate(inner)
    ]


def _unique(node: Mapping) -> list[tuple[object, object]]:
    """Return the items as a dict would hold them: the last value of a key wins."""
    last: dict[object, tuple[object, object]] = {}
    for index, (key, child) in enumerate(node.items):
        mark = (type(key), key) if _is_scalar(key) else (index,)
        last[mark] = (key, child)
    return list(last.values())


def _is_scalar(key: object) -> bool:
    return key is None or isinstance(key, str | int | float | bytes)


def component(key: object, index: int) -> str:
    """Spell a key that leads to a container: it has no bare dot."""
    return _escaped(key, index).replace(".", "\\.")


def leaf_component(key: object, taken: set[str], index: int) -> str:
    """Spell a key that leads to a tensor; ``taken`` are the components of containers beside it."""
    text = _escaped(key, index)
    if isinstance(key, str) and text.partition(".")[0] not in taken:
        return text
    return text.replace(".", "\\.")


def _escaped(key: object, index: int) -> str:
    if isinstance(key, str):
        text = key.replace("\\", "\\\\")
        return "\\" + text if text.startswith("[") else text
    if _is_scalar(key):
        return "[" + repr(key).replace("\\", "\\\\") + "]"
    # Two such keys cannot be told apart by spelling, so their place among the keys is their name.
    return f"[key {index}]"


def _holding(root: object, leaf: type) -> set[int]:
    """Return the ids of the containers that hold a leaf, directly or below."""
    parents: dict[int, list[int]] = {}
    seen: set[int] = set()
    full: list[int] = []
    stack: list[object] = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen or not isinstance(node, Mapping | Items):
            continue
        seen.add(id(node))
        children = [c for _, c in node.items] if isinstance(node, Mapping) else node.items
        for child in children:
            if isinstance(child, leaf):
                full.append(id(node))
            elif isinstance(child, Mapping | Items):
                parents.setdefault(id(child), []).append(id(node))
                stack.append(child)
    holding: set[int] = set()
    while full:
        node_id = full.pop()
        if node_id not in holding:
            holding.add(node_id)
            full += parents.get(node_id, [])
    return holding
