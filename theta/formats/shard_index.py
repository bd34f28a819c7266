"""The index of a sharded model: which files hold its tensors.

Owns reading ``*.index.json``. Must not know shards, nor load what reads them: every look at a
folder that holds such a model comes by here.
"""

import msgspec

from theta_store.errors import InvalidName, MalformedFile
from theta_store.records import check_component


class _Index(msgspec.Struct, frozen=True):
    """The part of an index that matters here; the rest of it is kept as bytes."""

    weight_map: dict[str, str]


_INDEX = msgspec.json.Decoder(_Index)


def shards_of(index: bytes) -> tuple[str, ...] | None:
    """Return the shards' file names, sorted; None if these bytes are no index.

    A name that is not a plain file name is a `MalformedFile`: shards lie beside their index.
    """
    try:
        shards = sorted(set(_INDEX.decode(index).weight_map.values()))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    for shard in shards:
        try:
            check_component(shard)
        except InvalidName:
            raise MalformedFile(
                f"the index names the shard {shard!r}, which is no file beside it"
            ) from None
    return tuple(shards) or None
