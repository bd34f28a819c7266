"""Sharded models: an index file that names the shards which hold one model's tensors.

Owns reading ``*.index.json`` and putting the scans of the shards together. Must not know how the
shards are read, nor where they lie: the caller opens them.
"""

from collections.abc import Mapping

import msgspec

from theta.formats.base import Scan
from theta.formats.layout import Builder
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


def merge_scans(
    index_name: str, index: bytes, scans: Mapping[str, Scan]
) -> tuple[tuple[str, Scan], ...]:
    """Return the files of one model, the index first, then the shards by name, each with its scan.

    ``scans`` maps file names to scans; those that the index does not name are left out. A shard
    that is missing, shards of two formats, or a tensor in two shards is a `MalformedFile`.
    """
    shards = shards_of(index)
    if shards is None:
        raise MalformedFile(f"{index_name} is not the index of a sharded model")
    missing = [shard for shard in shards if shard not in scans]
    if missing:
        raise MalformedFile(f"{index_name} names {missing[0]!r}, which is missing")
    first = scans[shards[0]]
    owners: dict[str, str] = {}
    for shard in shards:
        scan = scans[shard]
        if (scan.format, scan.version) != (first.format, first.version):
            raise MalformedFile(f"{index_name} names shards of {first.format} and {scan.format}")
        for name in (*scan.tensors, *scan.aliases):
            if owners.setdefault(name, shard) != shard:
                raise MalformedFile(f"{name!r} lies in two shards: {owners[name]!r} and {shard!r}")
    builder = Builder()
    builder.literal(index)
    whole = Scan(first.format, first.version, builder.build(), {}, {}, {})
    return (index_name, whole), *((shard, scans[shard]) for shard in shards)
