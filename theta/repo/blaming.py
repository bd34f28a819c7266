"""``blame``: who gave each parameter its value, and if that was a merge, how.

Owns what it answers. Must not write anything, nor know the terminal.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from theta.blame import blame
from theta.checkpoint import named_leaves
from theta.params import match_names
from theta.repo.looking import Looking
from theta.revision import parse_address
from theta_store.errors import UnknownFile, UnknownParameter, UnknownRevision, UsageError
from theta_store.ids import CommitId, short
from theta_store.records import Commit
from theta_store.store import HEAD

if TYPE_CHECKING:
    from theta.merge import Recipe


class Blamed(msgspec.Struct, frozen=True):
    """A parameter, and the commit that gave it its value.

    ``strategy`` is how theta merged it there, empty where it did not, with all ``parameters`` of
    it. ``at_least``: a parent's files were given up, and it may have had the value already.
    """

    file: str
    name: str
    id: CommitId
    commit: Commit
    strategy: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()
    at_least: bool = False


class Blaming(Looking):
    """The verb of this file."""

    def blame(self, what: str) -> Sequence[Blamed]:
        """Return who gave the parameters of an address their values, in the order of names.

        ``what`` is ``FILE::GLOB``, ``REV:FILE::GLOB`` or ``REV::GLOB``; no file means the only
        checkpoint, no glob all parameters. A sharded model is also named by its folder or a shard.
        """
        revision, file, glob = self._address_of(what)
        tip = self.resolve(revision)
        path, entry = self.entry(tip, file)
        if entry.kind != "checkpoint":
            raise UsageError(f"{path} is a plain file; it has no parameters")
        wanted = match_names([] if glob is None else [glob])
        names = [name for name in named_leaves(self.store, entry) if wanted(name) or name == glob]
        if not names:
            raise UnknownParameter(
                f"{path} of {short(tip)} has no parameter {glob!r}", hint=f"theta ls {revision}"
            )
        recipes: dict[CommitId, Recipe | None] = {}
        found = []
        for one in blame(self.store, tip, path, names):
            commit = self.store.commit(one.commit)
            if one.commit not in recipes:
                recipes[one.commit] = self.recipe_of(commit)
            how = _how(recipes[one.commit], path, one.name)
            found.append(Blamed(path, one.name, one.commit, commit, *how, one.at_least))
        return sorted(found, key=lambda each: each.name)

    def _address_of(self, what: str) -> tuple[str, str | None, str | None]:
        """Return revision, file and glob; what names a file of HEAD is no revision."""
        address = parse_address(what)
        if address.file is None and address.revision and self._is_file(address.revision):
            return HEAD, address.revision, address.param
        return address.revision or HEAD, address.file, address.param

    def _is_file(self, text: str) -> bool:
        """Say whether a text names a file of HEAD: a folder or a shard, where it is no revision."""
        head = self.head.commit
        if head is None or text in self.entries(head):
            return head is not None
        try:
            self.resolve(text)
        except UnknownRevision:
            return self._holds(head, text)
        return False

    def _holds(self, commit: CommitId, path: str) -> bool:
        try:
            self.entry(commit, path)
        except UnknownFile:
            return False
        return True


def _how(recipe: "Recipe | None", path: str, name: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Return the strategy that a recipe has for a name, and its parameters."""
    for group in () if recipe is None else recipe.groups:
        if name in group.names.get(path, ()):
            return group.strategy, tuple(sorted(group.parameters.items()))
    return "", ()
