"""The grammar of ``--fail-on``: which changes of a parameter are too much.

Owns conditions and their test. Must not print, nor know where values come from.

``WORD`` or ``MEASURE OP NUMBER``, several by commas; one that holds is enough. Words: ``nan``,
``inf``, ``added``, ``removed``, ``dtype``, ``shape``. Measures: ``rel``, ``norm``, ``max_abs``,
``cosine``, ``changed``, ``rank``, ``nan``, ``inf``. Operators: ``>``, ``>=``, ``<``, ``<=``.
"""

import math
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.examination import Examined

CHANGES = frozenset({"added", "removed", "dtype", "shape"})
COUNTS = frozenset({"nan", "inf"})
MEASURES = ("rel", "norm", "max_abs", "cosine", "changed", "rank", "nan", "inf")
# Measures that say nothing good about elements that are no longer numbers.
SIZES = frozenset({"rel", "norm", "max_abs"})
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
GRAMMAR = "for example 'rel>0.1,nan,max_abs>1,changed>0.5'"

_CONDITION = re.compile(r"(?P<name>[a-z_]+)\s*(?:(?P<op>>=|<=|>|<)\s*(?P<number>\S+))?")


class Condition(msgspec.Struct, frozen=True):
    """One condition; ``op`` is empty for a word that stands alone."""

    text: str
    name: str
    op: str = ""
    number: float = 0.0

    def holds(self, change: str, examined: "Examined | None") -> bool:
        """Say whether a change of this kind, measured or not, is too much.

        Elements that are NaN or infinite, and were not before, exceed any bound on a size.
        """
        if self.name in CHANGES:
            return change == self.name
        distance = None if examined is None else examined.distance
        if examined is None or distance is None:
            return False
        if not self.op:
            return bool(getattr(distance, self.name))
        if self.name in SIZES and distance.lost and self.op in {">", ">="}:
            return True
        value = measured(self.name, examined)
        if value is None:
            return False
        return math.isnan(value) or OPERATORS[self.op](value, self.number)


def parse_conditions(text: str) -> list[Condition]:
    """Read what ``--fail-on`` was given; what is no condition is a `UsageError`."""
    return [_parse(part.strip()) for part in text.split(",")]


def _parse(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(f"--fail-on: {text!r} is no condition", hint=GRAMMAR)
    name, op, number = found["name"], found["op"], found["number"]
    if op is None:
        if name not in CHANGES | COUNTS:
            raise UsageError(
                f"--fail-on: {name!r} does not stand alone", hint=f"{name}>NUMBER, {GRAMMAR}"
            )
        return Condition(text, name)
    if name not in MEASURES:
        raise UsageError(
            f"--fail-on: there is no measure {name!r}", hint=f"measures: {', '.join(MEASURES)}"
        )
    try:
        bound = float(number)
    except ValueError:
        raise UsageError(f"--fail-on: {number!r} is no number", hint=GRAMMAR) from None
    if math.isnan(bound):
        raise UsageError(f"--fail-on: nothing compares with {number}", hint=GRAMMAR)
    return Condition(text, name, op, bound)


def measured(name: str, examined: "Examined") -> float | None:
    """Return a measure by its name; None where it is not defined."""
    distance = examined.distance
    if distance is None:
        return None
    if name == "rank":
        return next((f.amount for f in examined.findings if f.kind == "rank"), None)
    attribute = {"rel": "relative"}.get(name, name)
    value = getattr(distance, attribute)
    return None if value is None else float(value)
