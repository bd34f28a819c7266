"""Markdown pages as data: fenced blocks and tables.

Owns the small part of Markdown that the documentation uses. Must not know what a page says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: the words after the backticks, its text, and where the text starts."""

    words: tuple[str, ...]
    text: str
    start: int

    @property
    def language(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""


def pages() -> list[Path]:
    """Return every page of the documentation, the README and the other pages at the top."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def name(page: Path) -> str:
    """Return a page's path from the root."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, *languages: str) -> Iterator[Block]:
    """Yield the fenced blocks in these languages, in order."""
    for found in _FENCE.finditer(text):
        block = Block(tuple(found[1].split()), found[2], found.start(2))
        if block.language in languages:
            yield block


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head; code marks go."""
    _, found, below = text.partition(f"\n{heading}\n")
    assert found, f"there is no heading {heading!r}"
    rows: list[list[str]] = []
    for line in below.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]
