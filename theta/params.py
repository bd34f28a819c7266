"""Parameter names and the nested tree that keeps them.

Owns splitting and joining names, building and walking `Params`, and the globs that select names.
Must not know files, values or where records are kept.

A name is split at every ``.``; that is lossless, so ``a..b``, ``.a`` and the empty name survive.
A component may be a leaf and a prefix at once.
"""

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from theta_store.ids import ParamsId, RecordId, TensorId
from theta_store.records import Params, ParamsEntry


class ParamsPutter(Protocol):
    """Where nodes of parameter trees are kept."""

    def put_records(self, records: Sequence[Params]) -> Sequence[RecordId]:
        """Keep nodes whose children are kept; return their ids."""


class ParamsReader(Protocol):
    """Where nodes of parameter trees are read."""

    def params(self, id_: ParamsId) -> Params:
        """Return a node."""


def split_name(name: str) -> tuple[str, ...]:
    """Return the components of a name; never none."""
    return tuple(name.split("."))


def join(components: Iterable[str]) -> str:
    """Return the name that these components make."""
    return ".".join(components)


def build_params(leaves: Mapping[str, TensorId], putter: ParamsPutter) -> ParamsId:
    """Put the tree of these leaves, children before parents, and return its root."""
    nodes: dict[tuple[str, ...], dict[str, TensorId]] = {(): {}}
    for name, id_ in leaves.items():
        *above, last = split_name(name)
        path = tuple(above)
        nodes.setdefault(path, {})[last] = id_
        while path[:-1] not in nodes:
            path = path[:-1]
            nodes[path] = {}
    # The deepest first, all of one depth together; no recursion, since a name may have thousands
    # of dots.
    inner: dict[tuple[str, ...], dict[str, ParamsId]] = {}
    below = sorted(nodes.keys() - {()}, key=len, reverse=True)
    for _, level in itertools.groupby(below, key=len):
        paths = list(level)
        made = putter.put_records([_node(nodes[path], inner.pop(path, {})) for path in paths])
        for path, node in zip(paths, made, strict=True):
            inner.setdefault(path[:-1], {})[path[-1]] = ParamsId(node)
    (root,) = putter.put_records([_node(nodes[()], inner.get((), {}))])
    return ParamsId(root)


def _node(here: Mapping[str, TensorId], below: Mapping[str, ParamsId]) -> Params:
    components = sorted(here.keys() | below.keys(), key=str.encode)
    return Params(tuple(ParamsEntry(c, here.get(c), below.get(c)) for c in components))


def flatten(reader: ParamsReader, root: ParamsId) -> Iterator[tuple[str, TensorId]]:
    """Yield names and tensors below a node, a leaf before what it is a prefix of."""
    stack: list[tuple[tuple[str, ...], ParamsId | TensorId, bool]] = [((), root, False)]
    while stack:
        path, id_, leaf = stack.pop()
        if leaf:
            yield join(path), TensorId(id_)
            continue
        for entry in reversed(reader.params(ParamsId(id_)).entries):
            inner = (*path, entry.component)
            if entry.params is not None:
                stack.append((inner, entry.params, False))
            if entry.tensor is not None:
                stack.append((inner, entry.tensor, True))


def find(reader: ParamsReader, root: ParamsId, name: str) -> TensorId | None:
    """Return the tensor of a name, reading only the nodes on its way."""
    *path, last = split_name(name)
    node: ParamsId | None = root
    for component in path:
        entry = None if node is None else _entry(reader.params(node), component)
        node = None if entry is None else entry.params
    entry = None if node is None else _entry(reader.params(node), last)
    return None if entry is None else entry.tensor


def _entry(params: Params, component: str) -> ParamsEntry | None:
    return next((entry for entry in params.entries if entry.component == component), None)


_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*)\}")


def match_names(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for names that match any of these globs.

    ``*`` and ``?`` cross dots, ``[abc]`` is a set, ``{0..7}`` a range of whole numbers and
    ``{a,b}`` a choice. No glob at all matches every name.
    """
    patterns = [re.compile(_translate(pattern)) for pattern in globs]
    return lambda name: not patterns or any(pattern.match(name) for pattern in patterns)


def _translate(pattern: str) -> str:
    parts = re.split(r"(\{[^{}]*\})", pattern)
    return "".join(_braces(part) if part[:1] == "{" else _plain(part) for part in parts) + r"\Z"


def _plain(part: str) -> str:
    # fnmatch wraps its result as (?s:...)\Z; the wrapper is taken off to concatenate parts.
    return fnmatch.translate(part).removesuffix(r"\Z").removesuffix(r"\z")


def _braces(part: str) -> str:
    numbers = _RANGE.fullmatch(part)
    if numbers:
        low, high = int(numbers[1]), int(numbers[2])
        return f"(?:{'|'.join(str(n) for n in range(low, min(high, low + 100_000) + 1))})"
    choice = _CHOICE.fullmatch(part)
    inner = choice[1].split(",") if choice else [part]
    return f"(?:{'|'.join(_plain(option) for option in inner)})"
