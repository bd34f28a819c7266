"""The volumes that one writer has claimed, and which of them takes the next payload.

Owns the choice of a volume, and the claims that keep gc off one while its newest payload has no
index rows yet. Must not know how payload is batched, nor codecs or records.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from theta_store.db import Meta, Reader, Volume, Volumes
from theta_store.db.volumes import HEADROOM
from theta_store.errors import IntegrityError
from theta_store.ids import ChunkId
from theta_store.objects import find_form
from theta_store.settings import next_volume

if TYPE_CHECKING:
    from filelock import FileLock


class Claims:
    """Claims on volumes, of one writer; used from several threads, each with a volume of its own.

    They are kept until `release`, so gc never sees payload whose row is still on its way.
    """

    def __init__(
        self, meta: Meta, volumes: Volumes, *, capacity: int, avoid: frozenset[int] = frozenset()
    ) -> None:
        self._meta = meta
        self._volumes = volumes
        self._capacity = capacity
        self._avoid = set(avoid)
        self._made: set[int] = set()
        self._claims: list[FileLock] = []

    def writable(self, volume: Volume | None, ids: Sequence[ChunkId], size: int) -> Volume:
        """Return the volume that takes so many bytes of payload: that one, where it can."""
        if volume is None or not self._has_room(volume, size):
            volume = self._existing(size) or self._new()
        # Rows of a volume enter only while its claim is held, so what is seen now is all.
        return self._new() if self._holds_live(volume, ids) else volume

    def give_up_if_damaged(self, volume: Volume) -> bool:
        """Give no more payload to a volume that refused some, if it is damaged; say whether it is.

        A new one that refuses tells of a disk on which no other would be better. Looked for only
        here: in a full volume it takes seconds.
        """
        if volume.number in self._made or self._volumes.is_sound(volume.number):
            return False
        self._avoid.add(volume.number)
        return True

    def release(self) -> None:
        """Give all claims up."""
        for claim in self._claims:
            claim.release()
        self._claims = []

    def _holds_live(self, volume: Volume, ids: Sequence[ChunkId]) -> bool:
        """Say whether a row points at a payload of this volume that would be overwritten."""
        with self._meta.read() as reader:
            return any(_may_lie(reader, id_, volume.number) for id_ in ids)

    def _has_room(self, volume: Volume, size: int) -> bool:
        return volume.used_bytes + size + HEADROOM <= self._capacity

    def _existing(self, size: int) -> Volume | None:
        for number in self._volumes.numbers():
            claim = None if number in self._avoid else self._volumes.claim(number)
            if claim is None:
                continue
            volume = self._opened(number)
            if volume is not None and self._has_room(volume, size):
                self._claims.append(claim)
                return volume
            claim.release()
        return None

    def _opened(self, number: int) -> Volume | None:
        try:
            return self._volumes.get(number)
        except IntegrityError:
            # A volume that is cut short must not keep anybody from storing what he has.
            return None

    def _new(self) -> Volume:
        with self._meta.write() as writer:
            number = next_volume(writer)
        volume, claim = self._volumes.create(number)
        self._claims.append(claim)
        self._made.add(number)
        return volume


def _may_lie(reader: Reader, id_: ChunkId, volume: int) -> bool:
    """Say whether a volume may hold the payload of a chunk; a damaged row does not tell."""
    try:
        form = find_form(reader, id_)
    except IntegrityError:
        return True
    return form is not None and form.volume == volume
