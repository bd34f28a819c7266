"""``diff``: any two of revisions, other repositories, files and folders.

Owns the comparison that is lent out. Must not know the terminal.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from theta.compare import FileDifference, differences
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.sides import Sides
from theta.workspace.notices import Notice, lines
from theta_store.store import HEAD


class Comparison(msgspec.Struct, frozen=True):
    """The files that differ, found as they are asked for; ``notices`` are of files on disk.

    ``threads`` may look at parameters at once, None for as many as there are cores.
    """

    files: Iterator[FileDifference]
    notices: Sequence[Notice]
    threads: int | None = None

    @property
    def warnings(self) -> list[str]:
        """What there was to say until now, a line per kind."""
        return lines(self.notices)

    def __iter__(self) -> Iterator[FileDifference]:
        return self.files

    def __next__(self) -> FileDifference:
        return next(self.files)


@contextmanager
def compared(
    repo: Opened | None,
    before: str = HEAD,
    after: str | None = None,
    *,
    cwd: Path | None = None,
    paths: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Iterator[Comparison]:
    """Lend the differences of two sides, each named as `theta.repo.sides` says.

    Without ``after`` the new side is the tracked files on disk. ``repo`` is None outside of any
    repository. ``paths`` select files. Parameters can be examined inside the ``with`` block.
    """
    with ExitStack() as stack:
        here = cwd or (Path.cwd() if repo is None else repo.root)
        sides = Sides(repo, here, stack, paths=paths, progress=progress)
        old, new = sides.pair(before, after)
        threads = None if repo is None else repo.limits.threads
        yield Comparison(differences(old, new), sides.notices, threads)


class Comparing(Opened):
    """The verbs of this file."""

    @contextmanager
    def diff(
        self,
        before: str = HEAD,
        after: str | None = None,
        *,
        cwd: Path | None = None,
        paths: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> Iterator[Comparison]:
        """Lend the differences of two sides; see `compared`."""
        with compared(self, before, after, cwd=cwd, paths=paths, progress=progress) as found:
            yield found
