"""Write the list of methods in ``docs/reference/python.md``: ``python docs/generate_python.py``.

The names come from `theta.repo.Repo`, the texts from the first lines of the docstrings.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

from theta.repo import Repo

PAGE = Path(__file__).parent / "reference" / "python.md"
MARK = "<!-- Below this line: made by docs/generate_python.py (make docs). -->\n"


def page() -> str:
    """Return the page with a fresh list below the mark."""
    above, mark, _ = PAGE.read_text().partition(MARK)
    assert mark, f"{PAGE} lacks its mark"
    lines = [f"| `{name}` | {text} |" for name, text in dict(methods()).items()]
    return above + "\n".join([mark, "| method | what it does |", "|---|---|", *lines, ""])


def methods() -> Iterator[tuple[str, str]]:
    """Yield the public methods and properties in the order of the verbs' files."""
    for kind in (Repo, *Repo.__mro__):
        for name, found in vars(kind).items():
            if not name.startswith("_") and getattr(Repo, name, None) is not None:
                text = (inspect.getdoc(found) or "").partition("\n")[0]
                yield name, text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
