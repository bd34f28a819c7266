"""Sharded models: an index file that names the shards which hold one model's tensors.

Owns putting the scans of the shards together. Must not know how the shards are read, nor where they
lie: the caller opens them.
"""

from collections.abc import Mapping

from theta.formats.base import Scan
from theta.formats.layout import Builder
from theta.formats.shard_index import shards_of
from theta_store.errors import MalformedFile


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
