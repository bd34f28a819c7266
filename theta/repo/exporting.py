"""``export``: a commit's files, byte for byte or converted, to another place.

Owns its steps: what is copied and what is made anew, and that nothing is overwritten. Must not
know the terminal, nor how a new file is laid out.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from theta.conversion import (
    AS_IT_IS,
    Conversion,
    Model,
    NewFile,
    casting,
    format_of,
    plan_files,
    renamed,
)
from theta.formats import format_by_id
from theta.formats.layout import decode_layout
from theta.params import flatten
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.workspace import Workspace
from theta.workspace.checkout import part_path
from theta.workspace.draft import Draft, Planned, replacing
from theta_store.errors import UnsavedChanges, UsageError
from theta_store.ids import CheckpointId
from theta_store.records import Checkpoint, Tensor, TreeEntry

if TYPE_CHECKING:
    from theta.formats.base import Format
    from theta.formats.writing import FileWriter


class Exporting(Opened):
    """The verb of this file."""

    def export(
        self,
        revision: str,
        target: Path,
        *,
        path: str | None = None,
        folder: bool = False,
        conversion: Conversion = AS_IT_IS,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Write a commit's files, or one of them, to another place; return their paths there.

        One file goes into ``target`` if that is a folder, or ``folder`` says that it shall be one;
        the path of a shard is one file, the index of a sharded model, or its folder, all of it.
        They are written byte for byte; one checkpoint is made anew if a conversion is asked for or
        the target's ending names another format. A file that exists is `UnsavedChanges`; what the
        new format cannot hold is `UsageError`. Nothing is written in either case.
        """
        commit = self.resolve(revision)
        if path is None:
            if conversion.wanted:
                raise UsageError(
                    "one checkpoint is converted at a time", hint=f"theta export {revision}:FILE"
                )
            _check_empty(target)
            outside = Workspace(target, self.private, self.store)
            return outside.export(self.entries(commit), progress=progress)
        name, entry = self.entry(commit, path)
        if target.exists() and not target.is_dir():
            raise _in_the_way(target)
        into = folder or target.is_dir()
        if path != name and path in self.workspace.parts(name, entry):
            _check_shard(path, name, None if into else target.name, conversion)
            return self._copy_shard(entry, name, path, target, progress, into=into)
        format_ = self._new_format(name, entry, None if into else target.name, conversion)
        if format_ is None:
            return self._copy(name, entry, target, progress, into=into)
        new = renamed(Path(name).name, format_) if into else target.name
        place = (target if into else target.parent) / new
        return self._convert(entry, place, format_, conversion, progress)

    def _new_format(
        self, name: str, entry: TreeEntry, new: str | None, conversion: Conversion
    ) -> "Format | None":
        """Return the format of the file to make; None for a copy. ``new`` is its name, if given."""
        if entry.kind != "checkpoint":
            if conversion.wanted:
                raise UsageError(f"{name} is a plain file; it cannot be converted")
            return None
        record = self.store.checkpoint(CheckpointId(entry.id))
        if conversion.format is not None:
            return format_by_id(conversion.format)
        asked = None if new is None else format_of(new)
        if conversion.wanted:
            return asked or format_by_id(record.format)
        return None if asked is None or _is_copy(record, asked) else asked

    def _copy(
        self, name: str, entry: TreeEntry, target: Path, progress: Progress, *, into: bool
    ) -> list[str]:
        folder, new = target, Path(name).name
        if not into and len(self.workspace.parts(name, entry)) == 1:
            folder, new = target.parent, target.name
        outside = Workspace(folder, self.private, self.store)
        moved = TreeEntry(new, entry.kind, entry.id, entry.executable)
        _check_free(folder, outside.parts(new, moved))
        return outside.export({new: moved}, progress=progress)

    def _copy_shard(
        self,
        entry: TreeEntry,
        name: str,
        path: str,
        target: Path,
        progress: Progress,
        *,
        into: bool,
    ) -> list[str]:
        """Write one file of a sharded model, byte for byte."""
        folder, new = (target, Path(path).name) if into else (target.parent, target.name)
        _check_free(folder, [new])
        record = self.store.checkpoint(CheckpointId(entry.id))
        (file,) = (file for file in record.files if part_path(name, file) == path)
        ids = dict(flatten(self.store, record.params))
        tensors = dict(zip(ids, self.store.tensors(ids.values()), strict=True))
        draft = Draft(self.store, folder / new, Planned(file, ids, tensors, entry.executable))
        try:
            missing = draft.missing(ids)
            progress.begin("writing", sum(tensors[each].nbytes for each in missing))
            self.store.read_into(
                ((tensors[each], sink) for each, sink in missing.items()),
                progress=progress.advance,
            )
            draft.finish(ids)
        except BaseException:
            draft.discard()
            raise
        return [new]

    def _convert(
        self,
        entry: TreeEntry,
        target: Path,
        format_: "Format",
        conversion: Conversion,
        progress: Progress,
    ) -> list[str]:
        record = self.store.checkpoint(CheckpointId(entry.id))
        ids = dict(flatten(self.store, record.params))
        tensors = dict(zip(ids, self.store.tensors(ids.values()), strict=True))
        folder = target.parent
        files = plan_files(self._model(record, tensors), format_, target.name, conversion)
        _check_free(folder, (file.name for file in files))
        progress.begin("exporting", sum(_bytes_read(file, tensors) for file in files))
        with ExitStack() as stack:
            # The first file, the index, is the last to take its place.
            for file in files:
                size = file.layout.size
                out = stack.enter_context(replacing(folder / file.name, size, executable=False))
                self._fill(out, file, tensors, progress)
        return [file.name for file in files]

    def _model(self, record: Checkpoint, tensors: Mapping[str, Tensor]) -> Model:
        from theta.formats import safetensors
        from theta.formats.base import TensorSpec

        notes: dict[str, str] = {}
        if record.format == safetensors.FORMAT:
            # A sharded model's first file is its index.
            for file in record.files[1:] or record.files:
                notes |= safetensors.metadata_of(decode_layout(self.store.read_bytes(file.layout)))
        notes = {key: value for key, value in notes.items() if key not in record.aliases}
        specs = {name: TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()}
        return Model(specs, record.aliases, notes)

    def _fill(
        self, out: "FileWriter", file: NewFile, tensors: Mapping[str, Tensor], progress: Progress
    ) -> None:
        from theta.formats.joining import plan_join

        plan = plan_join(file.layout, {}, out, file.tensors)
        pairs = ((tensors[file.origins[n]], n, sink) for n, sink in plan.sinks.items())
        self.store.read_into(
            ((t, casting(sink, t.dtype, file.tensors[n].dtype)) for t, n, sink in pairs),
            progress=progress.advance,
        )
        plan.finish()
        out.sync()


def _check_shard(path: str, name: str, new: str | None, conversion: Conversion) -> None:
    """Refuse to make anything but a copy of one shard."""
    formats = [None if each is None else format_of(each) for each in (Path(path).name, new)]
    ids = {each.id for each in formats if each is not None}
    if conversion.wanted or len(ids) > 1:
        raise UsageError(
            f"{path} is one shard of a model; it can only be copied",
            hint=f"name the model, {name}, to convert it",
        )


def _is_copy(record: Checkpoint, asked: "Format") -> bool:
    """Say whether one file of this format is what the checkpoint is already."""
    return asked.id == record.format and len(record.files) == 1


def _bytes_read(file: NewFile, tensors: Mapping[str, Tensor]) -> int:
    return sum(tensors[origin].nbytes for origin in file.origins.values())


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnsavedChanges(f"{target} is not an empty folder; nothing was written")


def _check_free(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise _in_the_way(folder / name)


def _in_the_way(target: Path) -> UnsavedChanges:
    return UnsavedChanges(
        f"{target} exists; nothing was written", hint="choose another name, or move it away"
    )
