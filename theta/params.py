"""Parameter names and the nested tree that keeps them.

Owns splitting and joining names, building and walking `Params`, and the globs that select names.
Must not know files, values or where records are kept.

A name is split at every ``.``; that is lossless, so ``a..b``, ``.a`` and the empty name survive.
A component may be a leaf and a prefix at once.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from theta_store.ids import ParamsId, RecordId, TensorId
from theta_store.records import Params, ParamsEntry

# Where a node lies: its components, joined; None for the root, since a component may be empty.
_Path = str | None


class ParamsPutter(Protocol):
    """Where nodes of parameter trees are kept."""

    def put_records(self, records: Sequence[Params]) -> Sequence[RecordId]:
        """Keep nodes whose children are kept; return their ids."""


class ParamsReader(Protocol):
    """Where nodes of parameter trees are read."""

    def params(self, id_: ParamsId) -> Params:
        """Return a node."""


class NodesReader(Protocol):
    """Where nodes of parameter trees are read, many together."""

    def nodes(self, ids: Sequence[ParamsId]) -> Sequence[Params]:
        """Return these nodes."""


def split_name(name: str) -> tuple[str, ...]:
    """Return the components of a name; never none."""
    return tuple(name.split("."))


def join(components: Iterable[str]) -> str:
    """Return the name that these components make."""
    return ".".join(components)


def build_params(leaves: Mapping[str, TensorId], putter: ParamsPutter) -> ParamsId:
    """Put the tree of these leaves, children before parents, and return its root."""
    nodes: dict[_Path, dict[str, TensorId]] = {None: {}}
    for name, id_ in leaves.items():
        path, last = _cut(name)
        node = nodes.get(path)
        if node is None:
            node = nodes[path] = {}
            _enter_above(path, nodes)
        node[last] = id_
    # The deepest first, all of one depth together; no recursion, since a name may have thousands
    # of dots.
    inner: dict[_Path, dict[str, ParamsId]] = {}
    by_depth: dict[int, list[str]] = {}
    for path in nodes:
        if path is not None:
            by_depth.setdefault(path.count("."), []).append(path)
    for depth in sorted(by_depth, reverse=True):
        paths = by_depth[depth]
        made = putter.put_records([_node(nodes[path], inner.pop(path, {})) for path in paths])
        for path, made_id in zip(paths, made, strict=True):
            above, last = _cut(path)
            inner.setdefault(above, {})[last] = ParamsId(made_id)
    (root,) = putter.put_records([_node(nodes[None], inner.get(None, {}))])
    return ParamsId(root)


def _cut(name: str) -> tuple[_Path, str]:
    """Return the path of a name's node and the name's last component."""
    above, dot, last = name.rpartition(".")
    return (above if dot else None), last


def _enter_above(path: _Path, nodes: dict[_Path, dict[str, TensorId]]) -> None:
    """Make the nodes above one that is new."""
    while path is not None:
        path, _ = _cut(path)
        if path in nodes:
            return
        nodes[path] = {}


def _node(here: Mapping[str, TensorId], below: Mapping[str, ParamsId]) -> Params:
    # The order of code points is that of UTF-8 bytes.
    components = sorted(here.keys() | below.keys()) if below else sorted(here)
    return Params(tuple([ParamsEntry(c, here.get(c), below.get(c)) for c in components]))


def flatten(reader: NodesReader, root: ParamsId) -> Iterator[tuple[str, TensorId]]:
    """Yield names and tensors below a node, a leaf before what it is a prefix of."""
    nodes = _nodes_below(reader, root)
    # No recursion, since a name may have thousands of dots.
    stack = [("", iter(nodes[root].entries))]
    while stack:
        prefix, entries = stack[-1]
        for entry in entries:
            name = prefix + entry.component
            if entry.tensor is not None:
                yield name, entry.tensor
            if entry.params is not None:
                stack.append((f"{name}.", iter(nodes[entry.params].entries)))
                break
        else:
            stack.pop()


def _nodes_below(reader: NodesReader, root: ParamsId) -> dict[ParamsId, Params]:
    """Return a node and all below it; those of one depth are read together, each once."""
    found: dict[ParamsId, Params] = {}
    level = [root]
    while level:
        made = reader.nodes(level)
        found.update(zip(level, made, strict=True))
        below = (entry.params for node in made for entry in node.entries)
        level = [id_ for id_ in dict.fromkeys(below) if id_ is not None and id_ not in found]
    return found


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
