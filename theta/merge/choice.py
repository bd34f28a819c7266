"""A strategy as a user types it: ``NAME [name=value …]``.

Owns the spelling of parameters (numbers, one for each side, gradients over layers) and how the text
becomes a strategy. Must not know which parameters of a model it is for, nor values.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, get_args, get_origin

import msgspec

from theta.strategies import STRATEGIES, Strategy
from theta_store.errors import UsageError

GRADIENT = re.compile(r"gradient\(([^()]*)\)")
# A comma that parts sides, not the points of a gradient.
COMMA = re.compile(r",(?![^()]*\))")
HINT = "theta merge --help"


@dataclass(frozen=True)
class Site:
    """Where a choice is to hold: what the sides are called, and the depth of the parameter.

    ``labels``: ours first. ``depth`` runs from 0 at the first layer to 1 at the last.
    """

    labels: tuple[str, ...]
    depth: float = 0.0

    def side(self, label: str) -> int | None:
        """Return the number of a side; ``ours`` and ``theirs`` always name the first two."""
        places = {name: place for place, name in reversed(list(enumerate(self.labels)))}
        return (places | {"ours": 0, "theirs": 1}).get(label)


@dataclass(frozen=True)
class Choice:
    """A strategy and its parameters as text; ``origin`` says in errors where it was typed."""

    strategy: str
    parameters: tuple[tuple[str, str], ...] = ()
    origin: str = field(default="", compare=False)

    def __str__(self) -> str:
        return " ".join([self.strategy, *(f"{name}={text}" for name, text in self.parameters)])

    def settle(self, site: Site) -> Strategy:
        """Return the strategy at a site: weights in the order of the sides."""
        own = _fields(self.strategy)
        values: dict[str, object] = {}
        for name, text in self.parameters:
            if _per_side(own[name]):
                values[name] = self._weights(name, text, site)
            else:
                values[name] = _at(text, site.depth)
        return self._made(values)

    def check(self, strategy: Strategy, count: int) -> None:
        """Refuse a strategy that does not fit so many sides; the error names this choice."""
        try:
            strategy.check(count)
        except ValueError as error:
            raise self.wrong(str(error)) from None

    def examined(self) -> "Choice":
        """Refuse parameters that fit nowhere, whatever the sides are called."""
        known = _fields(self.strategy)
        for name, text in self.parameters:
            if name not in known:
                takes = ", ".join(known) or "no parameters"
                raise self.wrong(f"{self.strategy} has no {name!r}; it takes {takes}")
            for value in _samples(text, per_side=_per_side(known[name])):
                if value in {"nan", "inf", "-inf", "infinity", "-infinity"}:
                    raise self.wrong(f"{self.strategy} {name}={text} is not a finite number")
                self._made({name: [value] if _per_side(known[name]) else value})
        return self

    def _made(self, values: Mapping[str, object]) -> Strategy:
        try:
            return msgspec.convert(values, STRATEGIES.get(self.strategy), strict=False)
        except msgspec.ValidationError as error:
            raise self.wrong(_reason(error, self.strategy, dict(self.parameters))) from None

    def _weights(self, name: str, text: str, site: Site) -> list[object]:
        parts = COMMA.split(text)
        if not any(":" in part for part in parts):
            if len(parts) not in {1, len(site.labels)}:
                names = ", ".join(site.labels)
                raise self.wrong(f"{len(parts)} values of {name} for {names}")
            values = parts * len(site.labels) if len(parts) == 1 else parts
            return [_at(part, site.depth) for part in values]
        found: dict[int, object] = {}
        for part in parts:
            label, colon, value = part.rpartition(":")
            place = site.side(label)
            if not colon or place is None:
                names = ", ".join(dict.fromkeys(("ours", "theirs", *site.labels)))
                raise self.wrong(f"{name}: {label or part!r} is no side; there are {names}")
            found[place] = _at(value, site.depth)
        for place, label in enumerate(site.labels):
            if place not in found:
                raise self.wrong(f"{name} names no value for {label}")
        return [found[place] for place in sorted(found)]

    def wrong(self, message: str) -> UsageError:
        """Return an error that names where the choice was typed."""
        return UsageError(f"{self.origin}: {message}" if self.origin else message, hint=HINT)


def parse_choice(text: str, origin: str = "") -> Choice:
    """Read ``NAME [name=value …]``; what no merge could use is a `UsageError`."""
    choice = Choice("", origin=origin)
    words = text.split()
    if not words:
        raise choice.wrong("a strategy is expected")
    try:
        STRATEGIES.get(words[0])
    except UsageError as error:
        raise choice.wrong(error.message) from None
    pairs = []
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise choice.wrong(f"name=value is expected, not {word!r}")
        pairs.append((name, value))
    if len(dict(pairs)) < len(pairs):
        raise choice.wrong("a parameter is given twice")
    return Choice(words[0], tuple(pairs), origin).examined()


@cache
def _fields(strategy: str) -> dict[str, Any]:
    kind = STRATEGIES.get(strategy)
    fields = {found.encode_name: found.type for found in msgspec.structs.fields(kind)}
    shape = fields.pop("shape")
    # What settles terms of several shapes by itself takes none.
    return fields if "shape" in kind.kinds else fields | {"shape": shape}


def _per_side(kind: object) -> bool:
    """Say whether a field holds a value for each side: whether it is a tuple."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) is tuple


def _samples(text: str, *, per_side: bool) -> Iterator[object]:
    for part in COMMA.split(text) if per_side else [text]:
        value = part.rpartition(":")[2] if per_side else part
        gradient = GRADIENT.fullmatch(value)
        yield from map(_plain, gradient[1].split(",") if gradient else [value])


def _at(text: str, depth: float) -> object:
    """Return a value at a depth: of a gradient the point there, on lines between its points."""
    gradient = GRADIENT.fullmatch(text)
    if gradient is None:
        return _plain(text)
    points = [float(point) for point in gradient[1].split(",")]
    place = depth * (len(points) - 1)
    left = min(int(place), max(len(points) - 2, 0))
    right = min(left + 1, len(points) - 1)
    share = place - left
    return points[left] * (1 - share) + points[right] * share


def _plain(text: str) -> object:
    """Return a number where the text is a finite one, else the text."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text.lower()
    # Whole numbers stay text: a flag or a count may be meant.
    return text if text.isdecimal() else number


def _reason(error: msgspec.ValidationError, strategy: str, given: Mapping[str, str]) -> str:
    message, _, path = str(error).partition(" - at `$.")
    name = re.split(r"[`\[.]", path)[0]
    if name not in given:
        return f"{strategy}: {message}"
    wanted = re.sub(r", got `?\w+`?$", "", message[:1].lower() + message[1:])
    return f"{strategy} {name}={given[name]} is not allowed: {wanted.replace('`', '')}"
