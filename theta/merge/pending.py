"""A merge that waits for the next commit.

Owns its file in ``.theta``. Must not know how merges are made.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from theta_store.errors import IntegrityError
from theta_store.ids import CommitId, RecordId, hex_id

VERSION = 2


class Pending(msgspec.Struct, frozen=True):
    """Commits as hex; ``recipe`` is the text of the recipe.

    ``others`` are the commits being merged; version 1 had one, ``theirs``.
    """

    ours: str
    label: str
    recipe: str
    others: tuple[str, ...] = ()
    theirs: str = ""
    version: int = VERSION

    @property
    def parents(self) -> tuple[CommitId, ...]:
        """The commits being merged."""
        return tuple(map(_commit, self.others or (self.theirs,)))

    @property
    def head(self) -> CommitId:
        """Where HEAD was when the merge began."""
        return _commit(self.ours)


def _commit(text: str) -> CommitId:
    return CommitId(RecordId(bytes.fromhex(text)))


def pending(ours: CommitId, others: Sequence[CommitId], label: str, recipe: str) -> Pending:
    """Return the note of a merge."""
    return Pending(hex_id(ours), label, recipe, tuple(map(hex_id, others)))


def load(path: Path) -> Pending | None:
    """Return the merge that waits, if one does."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pending)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"{path} is damaged: {error}", hint="theta merge --abort") from None


def save(path: Path, waiting: Pending) -> None:
    """Write the note atomically."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(waiting)))
    temporary.replace(path)


def drop(path: Path) -> None:
    """Forget the merge."""
    path.unlink(missing_ok=True)
