"""Hints: what starts with ``theta`` is a command line that one can type."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from theta.cli import VERBS

ROOT = Path(__file__).parents[3]
# A word of a command line: an option, a placeholder, a value, or a part that is filled in.
WORD = re.compile(
    r"""-{1,2}(\w[\w-]*(=\S+)?)?|[A-Z][A-Z:.…]*|\S*\{\}\S*|'[^']+'|"[^"]+"|>|\S*[|=:.~]\S*"""
)
SUBCOMMANDS = {"op": {"log"}, "config": {"list"}, "du": {"file", "param", "commit"}}
SUBCOMMANDS |= {"stats": {"add", "list", "remove"}, "merge": {"average", "task-arithmetic"}}


def hints() -> Iterator[tuple[str, str]]:
    """Yield where a hint is given in the source, and its text with {} where values go."""
    for package in ("theta", "theta_store"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "hint":
                    for text in _texts(node.value):
                        yield f"{path.relative_to(ROOT)}:{node.value.lineno}", text


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)


def is_command(text: str) -> bool:
    """Say whether the first of some alternatives is a command, and others are introduced so."""
    first = text.partition(", or ")[0]
    for command in first.split(", "):
        program, _, rest = command.partition(" ")
        verb, _, rest = rest.partition(" ")
        known = SUBCOMMANDS.get(verb, set())
        words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", rest)
        if program != "theta" or not (verb in VERBS or verb == "{}"):
            return False
        if not all(WORD.fullmatch(word) or word in known for word in words):
            return False
    return True


def test_the_judge_can_tell() -> None:
    for good in ("theta fsck", "theta op log", "theta commit -m TEXT, or theta merge --abort"):
        assert is_command(good), good
    for bad in (
        "theta commit first",
        "theta log shows it",
        "theta clone it",
        "theta reset moves it",
    ):
        assert not is_command(bad), bad


def test_what_starts_with_theta_can_be_typed() -> None:
    found = [(place, text) for place, text in hints() if text.startswith("theta")]
    assert len(found) > 50
    assert [pair for pair in found if not is_command(pair[1])] == []
