"""numpy's npz format: a zip archive of npy entries, one per array.

Owns the way from entries to tensors. An array's name is its entry's without ``.npy``; entries with
another ending are kept as they are, like all other bytes of the archive. Checksums are computed.

An archive that ``numpy.savez_compressed`` wrote holds no tensor bytes as they are: it is kept byte
for byte as a blob.
"""

from collections.abc import Mapping, Sequence

from theta.formats.base import CrcCheck, Placed, Scan, TensorSpec, settle_checks, tile
from theta.formats.layout import Computed, Layout, Span
from theta.formats.npy import check_plain, own_header, read_array
from theta.formats.reading import FileReader, Source
from theta.formats.zip_entries import LOCAL_MAGIC, Entry, read_entries
from theta.formats.zip_writing import NewEntry, compose_zip
from theta_store.errors import UsageError

FORMAT = "npz"
VERSION = 1
SUFFIX = ".npy"


class Npz:
    """Files that ``numpy.savez`` writes."""

    id = FORMAT
    version = VERSION
    suffixes: tuple[str, ...] = (".npz",)

    def sniff(self, head: bytes, name: str) -> bool:
        """Say whether the first entry of a zip archive is an array; no archive goes by name."""
        if not head.startswith(LOCAL_MAGIC):
            return name.lower().endswith(self.suffixes)
        size = int.from_bytes(head[26:28], "little")
        return head[30 : 30 + size].endswith(SUFFIX.encode())

    def scan(self, file: FileReader) -> Scan:
        """Find the arrays; a broken archive or array is `MalformedFile`.

        Compressed entries, and one array that is no tensor (`Npy.scan`), are `OpaqueFile`.
        """
        entries = read_entries(file)
        tensors: dict[str, Source] = {}
        segments: list[tuple[int, Placed]] = []
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                _place(file, entry, tensors, segments)
        layout = tile(file, segments)
        claims = [CrcCheck(e.name, e.start, e.stop, e.crc) for e in entries]
        checks = settle_checks(file, layout, {}, claims)
        return Scan(FORMAT, VERSION, layout, {}, tensors, {}, checks)

    def compose(
        self,
        tensors: Sequence[TensorSpec],
        *,
        metadata: Mapping[str, str],
        aliases: Mapping[str, str],
    ) -> Layout:
        """Return the layout of the file that ``numpy.savez`` would write.

        A dtype or a name that numpy or zip lacks is a `UsageError`.
        """
        check_plain(FORMAT, metadata, aliases)
        if len({spec.name for spec in tensors}) < len(tensors):
            raise UsageError("npz cannot hold two arrays of one name")
        return compose_zip(_entry(spec) for spec in tensors)


def _place(
    file: FileReader,
    entry: Entry,
    tensors: dict[str, Source],
    segments: list[tuple[int, Placed]],
) -> None:
    name = entry.name.removesuffix(SUFFIX)
    array = read_array(file, entry.start, entry.stop, f"the array {name[:80]!r}")
    tensors[name] = array.source(file)
    computed = Computed("crc32", entry.start, entry.stop)
    segments += [(at, computed) for at in entry.crc_at]
    span = array.span(name)
    if span is not None:
        segments.append((array.start, span))


def _entry(spec: TensorSpec) -> NewEntry:
    spans = (Span(spec.name, 0, spec.nbytes),) if spec.nbytes else ()
    return NewEntry(spec.name + SUFFIX, (own_header(spec, FORMAT), *spans))
