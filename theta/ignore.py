"""Which files folders and globs leave out: ``.thetaignore``, with git's rules.

Owns the reading of ignore files. Must not know what is tracked. The file of a folder speaks for
what lies below it; the innermost one that has an opinion wins.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".thetaignore"
ALWAYS = frozenset({".theta", ".git"})


class Ignore:
    """The rules of one workspace; ignore files are read when their folder is first asked about."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def matches(self, path: str, *, is_dir: bool) -> bool:
        """Say whether a path (from the root, with ``/``) is left out by a rule for itself.

        A walk must not enter a folder that matches: what lies below is left out with it.
        """
        steps = path.split("/")
        if steps[-1].casefold() in ALWAYS:
            return True
        name = path + "/" if is_dir else path
        for depth in range(len(steps) - 1, -1, -1):
            folder = "/".join(steps[:depth])
            spec = self._spec(folder)
            if spec is None:
                continue
            verdict = spec.check_file(name[len(folder) + 1 if folder else 0 :])
            if verdict.include is not None:
                return verdict.include
        return False

    def _spec(self, folder: str) -> "GitIgnoreSpec | None":
        if folder not in self._specs:
            path = self._root / folder / IGNORE_FILE
            try:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                self._specs[folder] = None
            else:
                from pathspec import GitIgnoreSpec

                self._specs[folder] = GitIgnoreSpec.from_lines(lines)
        return self._specs[folder]
