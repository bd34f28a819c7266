"""Every command that a page names exists, with its options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import blocks, name, pages, prose
from theta.cli import build

GROUP = build()
EVERYWHERE = {"-h", "--help", "--color"}
_SPAN = re.compile(r"`((?:\$ )?theta [^`]+)`")


def _named(text: str) -> Iterator[str]:
    """Yield the theta commands of a page: in code spans, in consoles, in plain blocks."""
    for block in blocks(text, "", "console"):
        for line in block.text.replace("\\\n> ", " ").splitlines():
            if re.match(r"(?:\$ |>\s+)?theta ", line):
                yield re.sub(r"^(?:\$|>)\s+", "", line)
    yield from _SPAN.findall(prose(text))


def _words(command: str) -> list[str]:
    """Return verb and arguments; options before the verb, comments, pipes and the rest go."""
    words = shlex.split(re.split(r"\s[|>#;]|  #|…", command)[0])[1:]
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in {"-C", "--color"} else words[1:]
    return words[: words.index("--")] if "--" in words else words


def _options(word: str) -> set[str]:
    if word.startswith("--"):
        return {word.partition("=")[0]}
    return {f"-{letter}" for letter in word[1:] if letter.isalpha()}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_the_commands_of_the_page_exist(page: Path) -> None:
    for command in _named(page.read_text()):
        words = _words(command)
        if not words or words[0].isupper() or not words[0].isalpha():
            continue
        assert words[0] in GROUP.commands, f"{name(page)}: {command}"
        params = GROUP.commands[words[0]].params
        known = {opt for param in params for opt in (*param.opts, *param.secondary_opts)}
        for word in words[1:]:
            if re.match(r"--?[A-Za-z]", word):
                assert _options(word) <= known | EVERYWHERE, f"{name(page)}: {command}"
