"""A search over parameters of strategies: which values are tried, and the method of each trial.

Owns the grammar ``NAME=FIRST..LAST[:COUNT]`` (evenly spaced, both ends included) and
``NAME=A,B,…``, and the grid that several make. Pure; must not know what a trial scores.

A value is put where the name is a parameter of a strategy: of the default, and of every rule. It is
text there, as a user would have typed it, so that the recipe of the trial can be replayed.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from theta.merge.choice import Choice
from theta.merge.method import Method
from theta.strategies import STRATEGIES
from theta_store.errors import UsageError

COUNT = 5
MOST = 1000
HINT = "theta merge --help"


@dataclass(frozen=True)
class Axis:
    """A parameter, and the values of it that are tried, as text."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """One point of the grid, and the method that merges so."""

    values: Mapping[str, str]
    method: Method


def parse_axis(text: str) -> Axis:
    """Read one ``--search``; anything else is a `UsageError`."""
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise _wrong(text, "NAME=FIRST..LAST[:COUNT] or NAME=A,B is expected")
    first, dots, rest = values.partition("..")
    if not dots:
        found = tuple(values.split(","))
        if not all(found):
            raise _wrong(text, "a value is empty")
        return Axis(name, tuple(dict.fromkeys(found)))
    last, _, count = rest.partition(":")
    return Axis(name, tuple(_spaced(text, first, last, count or str(COUNT))))


def _spaced(text: str, first: str, last: str, number: str) -> Iterator[str]:
    try:
        low, high, count = float(first), float(last), int(number)
    except ValueError:
        raise _wrong(text, "FIRST..LAST[:COUNT] are numbers") from None
    if not (math.isfinite(low) and math.isfinite(high)) or not 2 <= count <= MOST:
        raise _wrong(text, f"the ends are finite, and there are 2 to {MOST} values")
    for place in range(count):
        share = place / (count - 1)
        # Twelve digits, so that 0.1..1 has no 0.30000000000000004 in it.
        yield f"{low * (1 - share) + high * share:.12g}"


def trials_of(method: Method, axes: Sequence[Axis]) -> tuple[Trial, ...]:
    """Return the grid, the last axis fastest; a name that no strategy takes is a `UsageError`."""
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise UsageError("--search: a parameter is searched twice", hint=HINT)
    for name in names:
        if not any(_takes(choice, name) for choice in _choices(method)):
            raise UsageError(f"--search {name}: no strategy of this merge takes it", hint=HINT)
    if math.prod(len(axis.values) for axis in axes) > MOST:
        raise UsageError(f"--search: more than {MOST} trials", hint=HINT)
    points = itertools.product(*(axis.values for axis in axes))
    found = (dict(zip(names, point, strict=True)) for point in points)
    return tuple(Trial(values, _with(method, values)) for values in found)


def _with(method: Method, values: Mapping[str, str]) -> Method:
    rules = tuple(replace(rule, choice=_set(rule.choice, values)) for rule in method.rules)
    default = None if method.default is None else _set(method.default, values)
    return replace(method, rules=rules, default=default)


def _set(choice: Choice, values: Mapping[str, str]) -> Choice:
    """Return a choice with these values in the place of its own."""
    own = {name: text for name, text in values.items() if _takes(choice, name)}
    if not own:
        return choice
    parameters = {**dict(choice.parameters), **own}
    return replace(choice, parameters=tuple(parameters.items())).examined()


def _choices(method: Method) -> list[Choice]:
    default = [] if method.default is None else [method.default]
    return [*default, *(rule.choice for rule in method.rules)]


def _takes(choice: Choice, name: str) -> bool:
    fields = msgspec.structs.fields(STRATEGIES.get(choice.strategy))
    return name in {field.encode_name for field in fields}


def _wrong(text: str, message: str) -> UsageError:
    return UsageError(f"--search {text}: {message}", hint=HINT)
