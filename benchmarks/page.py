"""The generated parts of a page, each between two markers.

Owns the markers. Must not know what stands between them.
"""

import re
from pathlib import Path


def part(text: str, name: str) -> str:
    """Return what stands between the markers of a name."""
    return _pattern(name).search(text)[2]  # type: ignore[index]


def put(page: Path, name: str, made: str) -> None:
    """Replace what stands between the markers of a name."""
    text = page.read_text()
    page.write_text(_pattern(name).sub(lambda found: f"{found[1]}{made}{found[3]}", text))


def _pattern(name: str) -> re.Pattern[str]:
    begin, end = f"<!-- {name}: ", f"<!-- end of {name} -->"
    return re.compile(rf"({re.escape(begin)}[^\n]*-->\n)(.*?)({re.escape(end)})", re.DOTALL)
