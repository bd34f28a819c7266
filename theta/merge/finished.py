"""What an interrupted merge has finished, so that the next try need not compute it again.

Owns the note in ``.theta``: one line for each merged tensor that is durable in the store, the key
of its inputs and its id. Must not know strategies. A note is believed only while the store has the
whole tensor; gc may take it any time before a commit names it.
"""

import re
from pathlib import Path

from theta_store.ids import RecordId, TensorId
from theta_store.store import Session, Store

# So many bytes are merged between two times that all becomes durable.
EVERY = 128 << 20
LINE = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{64})\n")


class Finished:
    """The note, in memory and on disk; without a path nothing is remembered."""

    def __init__(self, store: Store, path: Path | None) -> None:
        self._store = store
        self._path = path
        text = path.read_text(errors="replace") if path is not None and path.exists() else ""
        # A last line that was cut off does not match.
        self._known = dict(LINE.findall(text))
        self._waiting: list[str] = []
        self._bytes = 0

    @property
    def goes_on(self) -> bool:
        """Whether there was a try that did not come to its end."""
        return self._path is not None and self._path.exists()

    def find(self, key: str) -> TensorId | None:
        """Return the tensor that was made of these inputs, if the store still has it."""
        text = self._known.get(key)
        if text is None:
            return None
        id_ = TensorId(RecordId(bytes.fromhex(text)))
        return id_ if self._store.whole([id_]) else None

    def add(self, session: Session, key: str, tensor: TensorId, size: int) -> None:
        """Note a tensor; now and then all noted ones become durable, and so does the note."""
        if self._path is None:
            return
        self._waiting.append(f"{key} {tensor.hex()}\n")
        self._bytes += size
        if self._bytes >= EVERY:
            self._settle(session, self._path)

    def settle(self, session: Session) -> None:
        """Make everything durable: nothing is computed any more. The note is there from now on."""
        if self._path is not None:
            self._settle(session, self._path)

    def _settle(self, session: Session, path: Path) -> None:
        session.flush()
        with path.open("a") as file:
            file.writelines(self._waiting)
        self._waiting, self._bytes = [], 0

    def forget(self) -> None:
        """Drop the note: the merge is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
