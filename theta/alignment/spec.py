"""What may be permuted in an architecture: which axis of which parameter, by which permutation.

Owns the frozen values `Axis`, `Rule` and `Spec`. Must not know any architecture, nor values.

Units that share a permutation move together wherever they appear: the rows that make them and the
columns that read them. If every such axis has a rule, the function of the model stays the same.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from theta_store.errors import UsageError


@dataclass(frozen=True)
class Axis:
    """An axis of length outer · n · inner, whose n units the permutation reorders.

    ``inner``: elements that move as one, such as the features of a head; ``outer``: how often the
    units follow each other, such as 3 for query, key and value in one matrix. ``permutation``: its
    name, "" for none; ``{0}`` stands for the first ``{}`` of the rule, and so on.
    """

    permutation: str
    inner: int = 1
    outer: int = 1


FREE = Axis("")


@dataclass(frozen=True)
class Rule:
    """The axes of the parameters whose names match ``pattern``, the first axis first.

    ``{}`` in the pattern stands for a whole number, ``*`` for anything. Axes behind the last one
    given, and all of a scalar, are not permuted. ``compared``: whether values say which units
    match; statistics of batches follow along.
    """

    pattern: str
    axes: tuple[Axis, ...] = ()
    compared: bool = True

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        escaped = re.escape(self.pattern)
        return re.compile(escaped.replace(r"\{\}", "([0-9]+)").replace(r"\*", ".*"))

    def find(self, name: str) -> "Rule | None":
        """Return the rule with the numbers of this name filled in; None if it does not match."""
        found = self._matcher.fullmatch(name)
        if found is None:
            return None
        numbers = found.groups()
        axes = (Axis(a.permutation.format(*numbers), a.inner, a.outer) for a in self.axes)
        return Rule(name, tuple(axes), self.compared)


@dataclass(frozen=True)
class Spec:
    """All rules of an architecture; the first one that matches a name counts."""

    rules: tuple[Rule, ...]

    def __add__(self, other: "Spec") -> "Spec":
        return Spec(self.rules + other.rules)

    def rule(self, name: str) -> Rule:
        """Return a parameter's rule; one without a rule is a `UsageError`: it may depend on all."""
        for rule in self.rules:
            found = rule.find(name)
            if found is not None:
                return found
        raise UsageError(f"the specification has no rule for {name}")

    def of(self, names: Iterable[str]) -> Mapping[str, Rule]:
        """Return the rule of each name."""
        return {name: self.rule(name) for name in names}
