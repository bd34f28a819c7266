"""Records to files: the way of a checkout.

Owns the files of an entry, each written whole or not at all, and the paths that may be written.
Must not decide which files to write, nor know refs.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec

from theta.formats.layout import layout_size
from theta.formats.writing import FileWriter
from theta.params import flatten
from theta.progress import Progress
from theta.workspace.draft import Draft, Planned, begun, put_in_place
from theta.workspace.original import Original
from theta_store.errors import MalformedRecord, UnsafePath
from theta_store.ids import BlobId, CheckpointId
from theta_store.records import Blob, Checkpoint, File, TreeEntry, check_component
from theta_store.store import Store

RESERVED = ".theta"


class BlobSink(msgspec.Struct, frozen=True):
    """Writes a blob's bytes to a file as they come."""

    out: FileWriter

    def write(self, start: int, plain: memoryview) -> None:
        """Write the bytes at ``start``."""
        self.out.pwrite(start, plain)


def safe_path(root: Path, path: str) -> Path:
    """Return where a tree's path lies on disk; one that would leave the root is `UnsafePath`.

    Names come from records that strangers wrote: no step may be empty, lead up, be ``.theta`` in
    any case, or pass through a link that leads out.
    """
    steps = path.split("/")
    for step in steps:
        check_component(step)
        if step.casefold() == RESERVED:
            raise UnsafePath(f"{path!r} would overwrite the repository itself; it was not written")
    at = root
    for step in steps[:-1]:
        at = at / step
        if at.is_symlink() and not at.resolve().is_relative_to(root.resolve()):
            raise UnsafePath(f"{path!r} passes through a link that leaves {root}; not written")
    return root.joinpath(*steps)


def part_path(entry_path: str, file: File) -> str:
    """Return the path of one file of a checkpoint whose entry lies at ``entry_path``."""
    if not file.path:
        return entry_path
    return str(PurePosixPath(entry_path).parent / file.path).removeprefix("./")


def parts_of(store: Store, path: str, entry: TreeEntry) -> tuple[str, ...]:
    """Return the paths of the files that an entry stands for, its own first."""
    if entry.kind != "checkpoint":
        return (path,)
    record = store.checkpoint(CheckpointId(entry.id))
    return tuple(part_path(path, file) for file in record.files)


def part_sizes(store: Store, path: str, entry: TreeEntry) -> dict[str, int]:
    """Return the bytes of the files that an entry stands for, by path."""
    if entry.kind != "checkpoint":
        return {path: store.blob(BlobId(entry.id)).size}
    record = store.checkpoint(CheckpointId(entry.id))
    return {
        part_path(path, file): layout_size(store.read_bytes(file.layout)) for file in record.files
    }


def write_entry(
    store: Store,
    root: Path,
    path: str,
    entry: TreeEntry,
    *,
    progress: Progress,
    only: Collection[str] | None = None,
    drafts: Mapping[str, Draft] | None = None,
    original: Callable[[str], Original | None] = lambda _: None,
    placed: Callable[[str, os.stat_result | None], None] = lambda *_: None,
) -> list[str]:
    """Write the files of an entry, each atomically; return their paths.

    ``only`` restricts to some of its files; ``drafts`` are files that were begun, by path;
    ``original`` returns what is known of the file on disk; ``placed`` is told of each file as soon
    as it is in its place, with its stat as of `put_in_place`.
    """
    if only is not None and not only:
        return []
    if entry.kind == "blob":
        blob = store.blob(BlobId(entry.id))
        placed(path, _write_blob(store, safe_path(root, path), blob, entry, progress))
        return [path]
    record = store.checkpoint(CheckpointId(entry.id))
    ids = dict(flatten(store, record.params))
    tensors = dict(zip(ids, store.tensors(ids.values()), strict=True))
    written = []
    for file in record.files:
        part = part_path(path, file)
        if only is None or part in only:
            planned = Planned(file, ids, tensors, entry.executable)
            draft = (drafts or {}).get(part)
            if draft is None or not draft.becomes(planned):
                if draft is not None:
                    draft.discard()
                draft = Draft(store, safe_path(root, part), planned, original(part))
            status = _finish(store, draft, planned, progress)
            written.append(part)
            placed(part, status)
    return written


def _write_blob(
    store: Store, target: Path, blob: Blob, entry: TreeEntry, progress: Progress
) -> os.stat_result | None:
    out = begun(target, blob.size, executable=entry.executable)
    try:
        store.read_into([(blob, BlobSink(out))], progress=progress.advance)
        return put_in_place(out, target)
    except BaseException:
        out.discard()
        raise


def _finish(
    store: Store, draft: Draft, planned: Planned, progress: Progress
) -> os.stat_result | None:
    """Write what a file still misses and put it in its place."""
    missing = draft.missing(planned.ids)
    there = draft.names - missing.keys()
    progress.advance(sum(planned.tensors[name].nbytes for name in there))
    try:
        store.read_into(
            ((planned.tensors[name], sink) for name, sink in missing.items()),
            progress=progress.advance,
        )
        return draft.finish(planned.ids)
    except BaseException:
        draft.discard()
        raise


def remove_files(root: Path, paths: Iterable[str]) -> None:
    """Remove files, and the folders that become empty by it."""
    for path in paths:
        target = safe_path(root, path)
        target.unlink(missing_ok=True)
        folder = target.parent
        while folder != root and folder.is_relative_to(root) and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def check_checkpoint(record: Checkpoint) -> None:
    """Refuse a checkpoint whose file names could leave their folder."""
    for file in record.files:
        if file.path:
            try:
                for step in file.path.split("/"):
                    check_component(step)
            except ValueError as error:
                raise MalformedRecord(f"a checkpoint names {file.path!r}: {error}") from None
