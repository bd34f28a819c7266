"""What reading files had to say about some of them, grouped for people.

Owns the grouping. Must not know why a file is noteworthy.
"""

from collections.abc import Iterable

import msgspec

SHOWN = 5


class Notice(msgspec.Struct, frozen=True):
    """A text about the file at ``path``; about no file alone where that is empty."""

    text: str
    path: str = ""


def lines(notices: Iterable[Notice]) -> list[str]:
    """Return a line per text, the files that it is about before it."""
    paths: dict[str, list[str]] = {}
    for notice in notices:
        paths.setdefault(notice.text, []).append(notice.path)
    return [_line(text, [path for path in found if path]) for text, found in paths.items()]


def _line(text: str, paths: list[str]) -> str:
    if not paths:
        return text
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{', '.join(paths[:SHOWN])}{more}: {text}"
