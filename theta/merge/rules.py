"""Which strategy settles which name: one line of text each.

Owns the grammar ``[FILE::]GLOB STRATEGY [name=value …]`` and the order: the last match wins. Must
not know values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from theta.params import match_names
from theta.strategies import STRATEGIES
from theta_store.errors import UsageError


@dataclass(frozen=True)
class Rule:
    """One line; ``file`` None means every file."""

    file: str | None
    glob: str
    strategy: str

    def matches(self, path: str, name: str | None) -> bool:
        """Say whether the rule is for this parameter; a whole file is matched as ``*``."""
        if self.file is not None and not match_names([self.file])(path):
            return False
        return match_names([self.glob])(name) if name is not None else self.glob in {"*", ""}

    def __str__(self) -> str:
        where = self.glob if self.file is None else f"{self.file}::{self.glob}"
        return f"{where} {self.strategy}"


def parse_rule(line: str) -> Rule:
    """Read one line; anything else is a `UsageError`."""
    words = line.split()
    if len(words) < 2:
        raise UsageError(f"rule {line!r}: GLOB STRATEGY is expected", hint="theta merge --help")
    where, strategy, *parameters = words
    STRATEGIES.get(strategy)
    if parameters:
        raise UsageError(f"rule {line!r}: {strategy} takes no {parameters[0]!r}")
    file, double, glob = where.rpartition("::")
    return Rule(file if double else None, glob, strategy)


def decide(rules: Sequence[Rule], default: str | None) -> Callable[[str, str | None], str | None]:
    """Return which strategy a parameter gets: the last rule that matches, else the default."""

    def wanted(path: str, name: str | None) -> str | None:
        for rule in reversed(rules):
            if rule.matches(path, name):
                return rule.strategy
        return default

    return wanted
