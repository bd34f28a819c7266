"""``compose``: a modular model of several commits, as its manifest says.

Owns its steps: the files of the composition, and its commit. Must not know the terminal, nor which
parameter goes where.

Experts are tensors that the store has: a composition adds records and the router. What a manifest
alone names is kept by hidden refs, so that gc leaves the experts of a ``smear`` alone.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.diff import build_tree
from theta.progress import SILENT, Progress
from theta.repo.committing import commit_record
from theta.repo.compositions import Composition, Planner, folder_of
from theta.repo.opened import Opened
from theta.repo.values import Author, Details
from theta.workspace.status import ParamReader
from theta_store.errors import NothingToCommit, ThetaError, UsageError
from theta_store.ids import BlobId, CheckpointId, CommitId, TensorId, TreeId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import HEAD, Hashing, Head, Operation, RefChange, Session

if TYPE_CHECKING:
    from theta.checkpoint import Reader
    from theta.compose import Assembly, Given, Manifest
    from theta.workspace import Entries, Present

# refs/experts/COMMIT names that commit: a manifest of a commit needs it.
EXPERTS = "refs/experts/"
CONFIG_JSON = "config.json"
# What a folder needs beside the model and its config to be loaded whole.
COMPANIONS = frozenset(
    {"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json"}
    | {"added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"}
    | {"generation_config.json"}
)


class Composed(msgspec.Struct, frozen=True):
    """A composition that was made, or would be: ``commit`` is None in a dry run.

    ``files`` are those of the commit that are new or changed, ``reused`` tensors were in the store
    already, ``router_bytes`` are the plain bytes of the gates. ``notices`` say what of the experts
    is not in it.
    """

    commit: CommitId | None
    manifest: "Manifest"
    files: tuple[str, ...]
    reused: int
    router_bytes: int
    stored_bytes: int = 0
    notices: tuple[str, ...] = ()


class _Here(msgspec.Struct, frozen=True):
    """What a composition starts from: HEAD and its files, read once; ``folder`` is the router's."""

    head: Head
    files: "Entries"
    folder: Path


class Composing(Opened):
    """The verbs of this file."""

    def compose(
        self,
        manifest: "Manifest",
        out: str,
        *,
        author: Author,
        base: Path | None = None,
        cwd: Path | None = None,
        message: str | None = None,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> Composed:
        """Make the file ``out`` of a trunk, experts and a router, write it and commit it.

        The manifest is kept beside it, commits and files in full. ``base`` is the folder that the
        file of a given router is relative to. Experts that do not fit are one `UsageError`; nothing
        is written then.
        """
        self._check_not_merging()
        path = self.workspace.relative(cwd or self.root, out)
        head = self.head
        here = _Here(head, self.entries(head.commit), base or self.root)
        _check_place(path, here.files)
        plan = Planner(self).plan(manifest, path)
        if dry_run:
            hashing = self.store.hashing()
            made = self._put_composition(hashing, plan, here, progress)
            self._check_move(here.files, made)
            return _composed(plan, made, None, 0)

        def work(session: Session) -> Composed:
            made = self._put_composition(session, plan, here, progress)
            session.flush()
            text = message or f"Compose {path}"
            id_ = self._commit_composition(session, plan, here, made, text, author, progress)
            return _composed(plan, made, id_, session.stored_bytes)

        return self._retried(work)

    def expert_tensors(self, manifest: "Manifest") -> dict[str, dict[str, Tensor]]:
        """Return the parameters of each expert of a manifest, by name, without its prefix."""
        planner = Planner(self)
        return {
            expert.name: {
                n: self.store.tensor(id_) for n, id_ in planner.part(expert).leaves.items()
            }
            for expert in manifest.experts
        }

    # Making -------------------------------------------------------------------------------

    def _put_composition(
        self,
        putter: Session | Hashing,
        plan: Composition,
        here: _Here,
        progress: Progress,
    ) -> dict[str, TreeEntry]:
        """Put what the composition adds and return its files by path."""
        from theta.compose import write_manifest

        kept = putter.put_bytes(write_manifest(plan.manifest))
        name = plan.manifest_path.rpartition("/")[2]
        made = {plan.manifest_path: TreeEntry(name, "blob", kept)}
        if plan.assembly is None:
            return _new(plan, here.files, made)
        made |= self._put_companions(putter, plan, here.files)
        gates = self._put_gates(putter, plan, here.folder, progress)
        putter.flush()
        made[plan.path] = self._put_model(putter, plan, {**plan.assembly.leaves, **gates})
        return _new(plan, here.files, made)

    def _put_model(
        self, putter: Session | Hashing, plan: Composition, leaves: Mapping[str, TensorId]
    ) -> TreeEntry:
        from theta.compose import entry_of

        ties = self.store.checkpoint(CheckpointId(plan.trunk[1].id)).aliases
        return entry_of(self._reader_over(putter), putter, plan.path, leaves, ties)

    def _put_gates(
        self, putter: Session | Hashing, plan: Composition, base: Path, progress: Progress
    ) -> dict[str, TensorId]:
        from theta.compose import Given, NewGate

        router = plan.manifest.router
        assert plan.assembly is not None
        if not plan.assembly.gates or router is None:
            return {}
        if isinstance(router, Given):
            return self._take_router(putter, plan.assembly, router, base, progress)
        sources = [(gate.name, NewGate(gate, router)) for gate in plan.assembly.gates]
        return {stored.name: stored.id for stored in putter.put_tensors(sources)}

    def _take_router(
        self,
        putter: Session | Hashing,
        assembly: "Assembly",
        router: "Given",
        base: Path,
        progress: Progress,
    ) -> dict[str, TensorId]:
        """Read a router's file; gates that it lacks, or that do not fit, are a `UsageError`."""
        from theta.checkpoint import named_leaves
        from theta.compose import fitting

        source = base / router.file
        if not source.is_file():
            raise UsageError(f"the router's file {source} does not exist; nothing was composed")
        taken = self.workspace.take_as(source, source.name, putter, {}, progress)
        entry = taken.entries[source.name]
        if entry.kind != "checkpoint":
            raise UsageError(f"{source.name} holds no arrays with names; nothing was composed")
        putter.flush()
        reader = self._reader_over(putter)
        return fitting(reader, assembly.gates, named_leaves(reader, entry), source.name)

    def _reader_over(self, putter: Session | Hashing) -> "Reader":
        """Return what reads the records that were put as well."""
        return ParamReader(putter) if isinstance(putter, Hashing) else self.store

    def _put_companions(
        self, putter: Session | Hashing, plan: Composition, before: "Entries"
    ) -> dict[str, TreeEntry]:
        """Return the config of the new model, and the trunk's tokenizer, where the trunk has them.

        A config that another model in the same folder goes by is not overwritten.
        """
        trunk = self.entries(plan.commit)
        source = folder_of(plan.trunk[0])
        config = trunk.get(source + CONFIG_JSON)
        if config is None or config.kind != "blob":
            return {}
        text = self._config_of(plan, self.store.read_bytes(BlobId(config.id)))
        target = plan.folder + CONFIG_JSON
        made = {target: TreeEntry(CONFIG_JSON, "blob", putter.put_bytes(text))}
        others = [p for p in _models(before, plan.folder) if p != plan.path]
        if others and before.get(target) not in {None, made[target]}:
            raise UsageError(
                f"{target} is the config of {others[0]}: give {plan.path} a folder of its own; "
                "nothing was composed"
            )
        names = (name for name in COMPANIONS if source + name in trunk)
        kept = {plan.folder + name: trunk[source + name] for name in names}
        return made | {path: entry for path, entry in kept.items() if path not in before}

    def _config_of(self, plan: Composition, text: bytes) -> bytes:
        from theta.compose import mixtral_config

        assert plan.assembly is not None
        if not plan.assembly.gates:
            return text
        manifest = plan.manifest
        experts, asked = len(manifest.experts), manifest.experts_per_token
        return mixtral_config(text, experts=experts, per_token=asked)

    # Committing ---------------------------------------------------------------------------

    def _commit_composition(
        self,
        session: Session,
        plan: Composition,
        here: _Here,
        made: Mapping[str, TreeEntry],
        message: str,
        author: Author,
        progress: Progress,
    ) -> CommitId:
        after = {**here.files, **made}
        tree = build_tree(after, lambda tree: TreeId(session.put_record(tree)))
        parents = () if here.head.commit is None else (here.head.commit,)
        id_ = CommitId(
            session.put_record(commit_record(tree, parents, message, author, Details(), None))
        )
        present = self._present_with(here.files, made)
        self.workspace.move(here.files, present, after, progress=progress)
        change = RefChange(here.head.branch or HEAD, here.head.commit, id_)
        changes = (change, *self._holding(plan))
        operation = Operation(0, 0, "compose", plan.path, changes, wrote=True)
        try:
            session.publish(operation, commits=[id_])
        except ThetaError:
            self._put_back(here.files, after)
            raise
        return id_

    def _put_back(self, before: "Entries", after: "Entries") -> None:
        """Take back what was written for a commit that did not come to be."""
        present = self.workspace.present(after, self.store.hashing(), storing=False)
        self.workspace.move(after, present, before)

    def _check_move(self, before: "Entries", made: "Entries") -> None:
        """Refuse what could not be written, though the store has no record of what is made."""
        present = self._present_with(before, made)
        present.entries = _as_files(present.entries, made)
        head = _as_files(before, made)
        self.workspace.plan_move(head, present, {**head, **_as_files(made, made)})

    def _present_with(self, before: "Entries", made: Iterable[str]) -> "Present":
        """Return the tracked files, and those that an interrupted try may have written."""
        hashing = self.store.hashing()
        present = self.workspace.present(before, hashing, storing=False)
        left = [p for p in made if p not in present.files and (self.root / p).is_file()]
        present.entries |= self.workspace.take(left, hashing).entries
        present.files |= frozenset(left)
        return present

    def _holding(self, plan: Composition) -> Iterator[RefChange]:
        """Yield the hidden refs of commits that nothing but the manifest may name."""
        if plan.assembly is not None:
            return
        for revision in sorted({expert.revision for expert in plan.manifest.experts}):
            ref = EXPERTS + revision
            if self.store.refs.get(ref) is None:
                yield RefChange(ref, None, self.resolve(revision))


def _new(
    plan: Composition, before: "Entries", made: Mapping[str, TreeEntry]
) -> dict[str, TreeEntry]:
    """Return the files that HEAD has not; none at all is `NothingToCommit`."""
    found = {path: entry for path, entry in made.items() if before.get(path) != entry}
    if not found:
        raise NothingToCommit(f"nothing to commit: {plan.path} is composed so already")
    return found


def _as_files(entries: "Entries", paths: Container[str]) -> dict[str, TreeEntry]:
    """Return entries of which those of ``paths`` are said to be plain files: each is one file."""
    return {
        path: msgspec.structs.replace(entry, kind="blob") if path in paths else entry
        for path, entry in entries.items()
    }


def _composed(
    plan: Composition,
    made: Mapping[str, TreeEntry],
    commit: CommitId | None,
    stored: int,
) -> Composed:
    files = tuple(sorted(made))
    parts = plan.assembly
    if parts is None:
        return Composed(commit, plan.manifest, files, 0, 0, stored)
    size = sum(gate.nbytes for gate in parts.gates)
    reused = len(parts.leaves)
    return Composed(commit, plan.manifest, files, reused, size, stored, parts.notices)


def _check_place(path: str, before: "Entries") -> None:
    above = [p for p in before if path.startswith(p + "/")]
    below = [p for p in before if p.startswith(path + "/")]
    if above:
        raise UsageError(f"{above[0]} is a file: {path} cannot lie in it")
    if below:
        raise UsageError(f"{path} is a folder: a file is needed")


def _models(entries: "Entries", folder: str) -> list[str]:
    """Return the checkpoints that lie in a folder itself."""
    return [p for p, e in entries.items() if e.kind == "checkpoint" and folder_of(p) == folder]
