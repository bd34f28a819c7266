"""Which strategy settles which name: one line of text each.

Owns the grammar ``[FILE::]GLOB STRATEGY [name=value …]``, the text of ``.thetaattributes`` made of
such lines, and the order: the last match wins. Must not know values, nor where the file lies.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from theta.merge.choice import HINT, Choice, parse_choice
from theta.params import match_names
from theta_store.errors import UsageError

ATTRIBUTES_FILE = ".thetaattributes"


@dataclass(frozen=True)
class Rule:
    """One line; ``file`` None means every file."""

    file: str | None
    glob: str
    choice: Choice

    @cached_property
    def _of_file(self) -> Callable[[str], bool]:
        return match_names([] if self.file is None else [self.file])

    @cached_property
    def _of_name(self) -> Callable[[str], bool]:
        return match_names([self.glob])

    def matches(self, path: str, name: str | None) -> bool:
        """Say whether the rule is for this parameter; a whole file is matched as ``*``."""
        if not self._of_file(path):
            return False
        return self.glob in {"*", ""} if name is None else self._of_name(name)

    def __str__(self) -> str:
        where = self.glob if self.file is None else f"{self.file}::{self.glob}"
        return f"{where} {self.choice}"


def parse_rule(line: str, origin: str = "") -> Rule:
    """Read one line; anything else is a `UsageError` that names ``origin``, else the line."""
    origin = origin or f"rule {line!r}"
    words = line.split(maxsplit=1)
    if len(words) < 2:
        raise UsageError(f"{origin}: GLOB STRATEGY is expected", hint=HINT)
    file, double, glob = words[0].rpartition("::")
    return Rule(file if double else None, glob, parse_choice(words[1], origin))


def parse_attributes(text: str) -> tuple[Rule, ...]:
    """Read the lines of a ``.thetaattributes``; ``#`` begins a comment, blank lines are nothing."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        rule = re.sub(r"(^|\s)#.*", "", line).strip()
        if rule:
            found.append(parse_rule(rule, f"{ATTRIBUTES_FILE} line {number}"))
    return tuple(found)


def rule_for(path: str, name: str | None, choice: Choice) -> Rule:
    """Return the rule that settles this name and hardly another: globs have no spaces."""
    return Rule(_escaped(path), "*" if name is None else _escaped(name), choice)


def _escaped(text: str) -> str:
    return re.sub(r"[*?\[]", r"[\g<0>]", re.sub(r"[{}\s]", "?", text)).replace("[?]", "?")


def find_rule(rules: Sequence[Rule], path: str, *names: str | None) -> Rule | None:
    """Return the last rule that matches any of the names of one thing."""
    return next(
        (rule for rule in reversed(rules) if any(rule.matches(path, name) for name in names)), None
    )
