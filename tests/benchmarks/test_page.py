"""What stands between the markers of a page, and nothing else, is replaced."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.page import part, put

TEXT = (
    "# T\n\n<!-- a: made by x -->\nold\n<!-- end of a -->\nkept\n<!-- b: y -->\n<!-- end of b -->\n"
)


@given(st.text("ab\\1 |\n", max_size=30))
def test_what_is_put_is_there(made: str) -> None:
    changed = _changed("a", made)
    assert part(changed, "a") == made
    assert part(changed, "b") == ""
    assert changed.replace(f"\n{made}<!-- end of a", "\nold\n<!-- end of a", 1) == TEXT


def _changed(name: str, made: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.md"
        page.write_text(TEXT)
        put(page, name, made)
        return page.read_text()
