"""A table of named parts: the built-in ones, and what installed packages offer.

Owns lookup by id and lazy loading of entry points. Must not know what the parts do.
"""

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from theta_store.errors import UsageError


class Named(Protocol):
    """A part that a registry can hold."""

    @property
    def id(self) -> str:
        """The name it is found by."""


P = TypeVar("P", bound=Named)


class Registry(Generic[P]):
    """Parts of one kind by id; an entry point is imported when its id is first asked for.

    ``lazy``: built-in parts that are imported when asked for, ``module:name`` by id.
    """

    def __init__(
        self,
        kind: str,
        builtin: Iterable[P] = (),
        *,
        lazy: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> None:
        self._kind = kind
        self._group = group
        self._lazy = dict(lazy or {})
        self._parts: dict[str, P] = {}
        for part in builtin:
            self.add(part)

    def get(self, id_: str) -> P:
        """Return the part with this id; an unknown one is a `UsageError` that names the others."""
        if id_ not in self._parts:
            self._load(id_)
        try:
            return self._parts[id_]
        except KeyError:
            known = ", ".join(sorted(self.ids()))
            raise UsageError(f"unknown {self._kind} {id_!r}; there are {known}") from None

    def add(self, part: P) -> P:
        """Enter a part; an id that is taken is a `UsageError`."""
        if part.id in self._parts:
            raise UsageError(f"two {self._kind}s are called {part.id!r}")
        self._parts[part.id] = part
        return part

    def __iter__(self) -> Iterator[P]:
        return iter(self._parts.values())

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all parts that are built in or loaded, in the order of their entry."""
        return tuple(dict.fromkeys((*self._lazy, *self._parts)))

    def _load(self, id_: str) -> None:
        if id_ in self._lazy:
            self._parts[id_] = pkgutil.resolve_name(self._lazy[id_])
            return
        if self._group is None:
            return
        from importlib import metadata

        for point in metadata.entry_points(group=self._group, name=id_):
            self._parts[id_] = point.load()
