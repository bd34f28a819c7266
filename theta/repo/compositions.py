"""What a manifest means in a repository: its commits and files, and which tensors go where.

Owns the way from a manifest to a plan. Must not write anything, nor know the terminal.
"""

from typing import TYPE_CHECKING

import msgspec

from theta.repo.opened import Opened
from theta_store.errors import UsageError
from theta_store.ids import BlobId, CommitId, TensorId, hex_id
from theta_store.records import TreeEntry

if TYPE_CHECKING:
    from theta.compose import Assembly, Expert, Manifest, Part


class Composition(msgspec.Struct, frozen=True):
    """What a composition will be, by ids alone.

    ``manifest`` names commits and files in full. ``path`` is where the model goes; there is no
    ``assembly`` in mode ``smear``. ``commit`` holds ``trunk``: that model's path, and its entry.
    """

    path: str
    commit: CommitId
    manifest: "Manifest"
    trunk: tuple[str, TreeEntry]
    assembly: "Assembly | None" = None

    @property
    def manifest_path(self) -> str:
        """Where the manifest is kept."""
        from theta.compose import SUFFIX

        return self.path + SUFFIX

    @property
    def folder(self) -> str:
        """The folder of the files, with a slash at its end; empty for the root."""
        return folder_of(self.path)


class Planner(msgspec.Struct, frozen=True):
    """Plans compositions from what a repository has."""

    repo: Opened

    def plan(self, manifest: "Manifest", path: str) -> Composition:
        """Return what a composition will be; what does not fit is one `UsageError`."""
        from theta.compose import Part, assembled, check_name, is_composed

        commit = self.repo.resolve(manifest.trunk.revision)
        trunk = self._model(commit, manifest.trunk.file, "the trunk")
        whole = msgspec.structs.replace(
            manifest,
            trunk=msgspec.structs.replace(manifest.trunk, revision=hex_id(commit), file=trunk[0]),
            experts=tuple(self._in_full(expert) for expert in manifest.experts),
        )
        if manifest.mode == "smear":
            self._check_alike(whole)
            return Composition(path, commit, whole, trunk)
        check_name(path)
        part = Part("the trunk", self._leaves(trunk[1]))
        if is_composed(part.leaves):
            return self._plan_graft(path, commit, whole, trunk, part)
        if manifest.router is None:
            raise UsageError("the manifest has no router: zeros, random or given")
        parts = [self.part(expert) for expert in whole.experts]
        made = assembled(self.repo.store, part, parts)
        return Composition(path, commit, whole, trunk, made)

    def _plan_graft(
        self,
        path: str,
        commit: CommitId,
        manifest: "Manifest",
        trunk: tuple[str, TreeEntry],
        part: "Part",
    ) -> Composition:
        """Plan to replace experts of a composed model; its own manifest is carried on."""
        from theta.compose import experts_of, grafted

        if manifest.router is not None:
            raise UsageError(f"{trunk[0]} is composed already and has its router: leave it out")
        count = experts_of(part.leaves)
        old = self._own_manifest(commit, trunk[0], count)
        names = [] if old is None else [expert.name for expert in old.experts]
        places = {_place(each.name, names, count): each for each in manifest.experts}
        if len(places) < len(manifest.experts):
            raise UsageError("the manifest replaces an expert twice")
        assembly = grafted(
            self.repo.store, part, {n: self.part(each) for n, each in places.items()}
        )
        if old is not None:
            experts = list(old.experts)
            for n, each in places.items():
                experts[n] = msgspec.structs.replace(each, name=names[n])
            manifest = msgspec.structs.replace(old, experts=tuple(experts))
        return Composition(path, commit, manifest, trunk, assembly)

    def _own_manifest(self, commit: CommitId, path: str, count: int) -> "Manifest | None":
        """Return what a composed model was made from, where the commit says so."""
        from theta.compose import SUFFIX, read_manifest

        kept = self.repo.entries(commit).get(path + SUFFIX)
        if kept is None or kept.kind != "blob":
            return None
        found = read_manifest(self.repo.store.read_bytes(BlobId(kept.id)))
        return found if len(found.experts) == count else None

    def _in_full(self, expert: "Expert") -> "Expert":
        commit = self.repo.resolve(expert.revision)
        path, _ = self._model(commit, expert.file, f"expert {expert.name}")
        return msgspec.structs.replace(expert, revision=hex_id(commit), file=path)

    def _model(self, commit: CommitId, file: str | None, label: str) -> tuple[str, TreeEntry]:
        path, entry = self.repo.entry(commit, file)
        if entry.kind != "checkpoint":
            raise UsageError(f"{label}: {path} is a plain file; it has no parameters")
        return path, entry

    def part(self, expert: "Expert") -> "Part":
        """Return the parameters of an expert behind its prefix."""
        from theta.compose import part

        label = f"expert {expert.name}"
        _, entry = self._model(self.repo.resolve(expert.revision), expert.file, label)
        return part(label, self._leaves(entry), expert.prefix)

    def _leaves(self, entry: TreeEntry) -> dict[str, TensorId]:
        from theta.checkpoint import named_leaves

        return named_leaves(self.repo.store, entry)

    def _check_alike(self, manifest: "Manifest") -> None:
        """Refuse experts that have not all the same names, dtypes and shapes."""
        from theta.compose import check_alike

        check_alike(self.repo.store, [self.part(expert) for expert in manifest.experts])


def _place(name: str, names: list[str], count: int) -> int:
    """Return the number of the expert that a graft means, by its name or number."""
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < count:
        return int(name)
    known = ", ".join(names) or f"0 to {count - 1}"
    raise UsageError(f"the composed model has no expert {name}: {known}; nothing was composed")


def folder_of(path: str) -> str:
    """Return the folder of a file, with a slash at its end; empty for the root."""
    return path[: path.rfind("/") + 1]
