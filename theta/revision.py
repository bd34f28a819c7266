"""What a user types to mean a commit, a file of it, or a parameter in it.

Owns the grammar of revisions and addresses and the rules for ref names. Must not know the
workspace. Grammar: a name, ``HEAD``, ``@`` or at least four hex digits of an id, ``step:N``,
``best:METRIC``; then any of ``~n``, ``^n``, ``@{n}``. ``REV:FILE``, ``REV:FILE::PARAM`` and
``REV::PARAM`` are addresses.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from theta.history import ancestors
from theta_store.errors import InvalidName, UnknownRevision
from theta_store.ids import CommitId, short
from theta_store.records import Commit
from theta_store.store import BRANCHES, HEAD, TAGS

Direction = Literal["min", "max"]
_History: TypeAlias = Iterator[tuple[CommitId, Commit]]
MIN_HEX = 4
REF_BYTES = 200
SHOWN = 5


class RefReader(Protocol):
    """Where refs are read."""

    def get(self, name: str) -> CommitId | None:
        """Return the commit a ref names."""

    def names(self, prefix: str = "refs/") -> list[str]:
        """Return the full names below a prefix."""


class Resolver(Protocol):
    """What resolving asks of a store."""

    @property
    def refs(self) -> RefReader:
        """Branches, tags and HEAD."""

    def commit(self, id_: CommitId) -> Commit:
        """Return a commit."""

    def commits_with_prefix(self, prefix: str) -> list[CommitId]:
        """Return commits by the first digits of their id."""

    def positions(self, ref: str) -> Sequence[CommitId]:
        """Return where a ref has been, newest first."""


class Address(msgspec.Struct, frozen=True):
    """The parts of what a user typed; None where a part was not named."""

    revision: str | None
    file: str | None = None
    param: str | None = None


_SUFFIX = re.compile(r"(?:~\d*|\^\d*|@\{\d+\})$")
_KEYED = re.compile(r"(?:step|best):")


def parse_address(text: str) -> Address:
    """Split ``REV``, ``REV:FILE``, ``REV:FILE::PARAM`` or ``REV::PARAM``."""
    left, double, param = text.partition("::")
    keyed = _KEYED.match(left)
    start = keyed.end() if keyed else 0
    colon = left.find(":", start)
    revision, file = (left, None) if colon < 0 else (left[:colon], left[colon + 1 :])
    return Address(revision or None, file or None, param if double else None)


def resolve_revision(
    store: Resolver, text: str, *, directions: Mapping[str, Direction] | None = None
) -> CommitId:
    """Return the commit that a revision names; none or several are `UnknownRevision`."""
    base, steps = _split(text)
    if steps and steps[0].startswith("@{"):
        current = _position(store, base or HEAD, int(steps[0][2:-1]), text)
        steps = steps[1:]
    else:
        current = _base(store, base, text, directions or {})
    for step in steps:
        current = _walk(store, current, step, text)
    return current


def _split(text: str) -> tuple[str, list[str]]:
    steps: list[str] = []
    while (found := _SUFFIX.search(text)) is not None:
        steps.insert(0, found.group())
        text = text[: found.start()]
    return text, steps


def _base(store: Resolver, base: str, text: str, directions: Mapping[str, Direction]) -> CommitId:
    if base in {"@", HEAD}:
        head = store.refs.get(HEAD)
        if head is None:
            raise UnknownRevision("there is no commit yet", hint="theta commit -am MESSAGE")
        return head
    if base.startswith("step:"):
        return _by_step(store, base[5:], text)
    if base.startswith("best:"):
        return _best(store, base[5:], directions)
    for name in _full_names(base):
        found = store.refs.get(name)
        if found is not None:
            return found
    return _by_prefix(store, base, text)


def _full_names(name: str) -> tuple[str, ...]:
    return (name,) if name.startswith("refs/") else (TAGS + name, BRANCHES + name)


def _by_prefix(store: Resolver, base: str, text: str) -> CommitId:
    if re.fullmatch(rf"[0-9a-f]{{{MIN_HEX},64}}", base):
        found = store.commits_with_prefix(base)
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(short(id_) for id_ in found[:5])
            raise UnknownRevision(f"{base} is ambiguous: {some}", hint="type more digits")
    import difflib

    names = [name.removeprefix(p) for p in (TAGS, BRANCHES) for name in store.refs.names(p)]
    close = difflib.get_close_matches(base, [*names, HEAD], n=1)
    hint = f"did you mean {close[0]}?" if close else "theta log, or theta branch"
    raise UnknownRevision(f"{text!r} names no commit", hint=hint)


def _position(store: Resolver, base: str, number: int, text: str) -> CommitId:
    names = (HEAD,) if base in {"@", HEAD} else _full_names(base)
    for name in names:
        positions = store.positions(name)
        if number < len(positions):
            return positions[number]
    raise UnknownRevision(f"{text!r} lies before the first position of {base}", hint="theta op log")


def _walk(store: Resolver, current: CommitId, step: str, text: str) -> CommitId:
    count = int(step[1:] or 1)
    if step[0] == "^":
        parents = store.commit(current).parents
        if count == 0:
            return current
        if count > len(parents):
            raise UnknownRevision(f"{text!r}: {short(current)} has {len(parents)} parents")
        return parents[count - 1]
    for _ in range(count):
        parents = store.commit(current).parents
        if not parents:
            raise UnknownRevision(f"{text!r} lies before the first commit")
        current = parents[0]
    return current


def _by_step(store: Resolver, step: str, text: str) -> CommitId:
    if not step.isdecimal():
        raise UnknownRevision(f"{text!r}: a step is a whole number")

    def newest(history: _History) -> CommitId | None:
        return next((id_ for id_, commit in history if commit.step == int(step)), None)

    found = _searched(store, f"step:{step}", newest)
    if found is None:
        raise UnknownRevision(
            f"no commit of step {step} is in HEAD's history or another branch's", hint="theta log"
        )
    return found


def _best(store: Resolver, metric: str, directions: Mapping[str, Direction]) -> CommitId:
    pick = min if direction_of(metric, directions) == "min" else max

    def best(history: _History) -> CommitId | None:
        scored = [(c.metrics[metric], i) for i, c in history if metric in c.metrics]
        numbers = [(value, id_) for value, id_ in scored if value == value]
        return pick(numbers, key=lambda pair: pair[0])[1] if numbers else None

    found = _searched(store, f"best:{metric}", best)
    if found is None:
        raise UnknownRevision(
            f"no commit of HEAD's history or another branch's has the metric {metric!r}",
            hint="theta log",
        )
    return found


def _searched(
    store: Resolver, what: str, search: Callable[[_History], CommitId | None]
) -> CommitId | None:
    """Return what a search finds in HEAD's history, else in the branches', which must agree."""
    head = store.refs.get(HEAD)
    found = None if head is None else search(ancestors(store, [head]))
    if found is not None:
        return found
    tips = {name: store.refs.get(name) for name in store.refs.names(BRANCHES)}
    known = [tip for tip in tips.values() if tip is not None]
    # Most searches that come here find nothing anywhere: that takes one walk.
    if search(ancestors(store, known)) is None:
        return None
    each = {name: search(ancestors(store, [tip])) for name, tip in tips.items() if tip is not None}
    hits = {name: id_ for name, id_ in each.items() if id_ is not None}
    if len(set(hits.values())) == 1:
        return next(iter(hits.values()))
    shown = [f"{name.removeprefix(BRANCHES)} ({short(id_)})" for name, id_ in hits.items()]
    some = ", ".join(shown[:SHOWN]) + (" …" if len(shown) > SHOWN else "")
    raise UnknownRevision(
        f"{what} is another commit in each of several branches: {some}", hint="name one by its id"
    )


def direction_of(metric: str, directions: Mapping[str, Direction]) -> Direction:
    """Say whether less or more is better; config decides, else losses and errors go down."""
    guess: Direction = "min" if re.search("loss|error", metric) else "max"
    return directions.get(metric, guess)


_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")


def check_ref_name(name: str) -> None:
    """Refuse a branch or tag name that git would refuse, or that reads as another revision."""
    steps = name.split("/")
    bad = (
        not name
        or _FORBIDDEN.search(name)
        or name in {HEAD, "@"}
        or name.startswith(("-", "refs/"))
        or name.endswith((".", "/"))
        or any(step == "" or step.startswith(".") or step.endswith(".lock") for step in steps)
        or len(name.encode(errors="replace")) > REF_BYTES
    )
    if bad:
        raise InvalidName(
            f"{name!r} cannot name a branch or tag",
            hint="use letters, digits and - _ . / without spaces",
        )
