"""``compose``: a modular model of several commits, as its manifest says.

Owns its steps: the files of the composition, and its commit. Must not know the terminal, nor which
parameter goes where.

Experts are tensors that the store has: a composition adds records and the router. What a manifest
alone names is kept by hidden refs, so that gc leaves the experts of a ``smear`` alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from theta_store.errors import NothingToCommit, UsageError
from theta_store.ids import BlobId, CheckpointId, CommitId, TensorId, TreeId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import HEAD, Hashing, Operation, RefChange, Session

if TYPE_CHECKING:
    from theta.checkpoint import Reader
    from theta.compose import Assembly, Given, Manifest
    from theta.workspace import Entries

# refs/experts/COMMIT names that commit: a manifest of a commit needs it.
EXPERTS = "refs/experts/"
CONFIG_JSON = "config.json"
# What a folder needs beside the model and its config to be loaded whole.
COMPANIONS = frozenset(
    {"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json"}
    | {"added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"}
    | {"generation_config.json"}
)


@dataclass(frozen=True)
class Composed:
    """A composition that was made, or would be: ``commit`` is None in a dry run.

    ``files`` are those of the commit that are new or changed, ``reused`` tensors were in the store
    already, ``router_bytes`` are the plain bytes of the gates.
    """

    commit: CommitId | None
    manifest: "Manifest"
    files: tuple[str, ...]
    reused: int
    router_bytes: int
    stored_bytes: int = 0


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
        before = self.entries(self.head.commit)
        _check_place(path, before)
        plan = Planner(self).plan(manifest, path)
        folder = base or self.root
        if dry_run:
            hashing = self.store.hashing()
            made = self._put_composition(hashing, plan, before, folder, progress)
            present = self.workspace.present(before, hashing, storing=False)
            # No record of these is in the store; each is one file, as a blob is.
            alike = {p: msgspec.structs.replace(entry, kind="blob") for p, entry in made.items()}
            self.workspace.plan_move(before, present, {**before, **alike})
            return _composed(plan, made, None, 0)

        def work(session: Session) -> Composed:
            made = self._put_composition(session, plan, before, folder, progress)
            session.flush()
            text = message or f"Compose {path}"
            id_ = self._commit_composition(session, plan, before, made, text, author, progress)
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
        before: "Entries",
        base: Path,
        progress: Progress,
    ) -> dict[str, TreeEntry]:
        """Put what the composition adds and return its files by path."""
        from theta.compose import write_manifest

        kept = putter.put_bytes(write_manifest(plan.manifest))
        name = plan.manifest_path.rpartition("/")[2]
        made = {plan.manifest_path: TreeEntry(name, "blob", kept)}
        if plan.assembly is None:
            return _new(plan, before, made)
        made |= self._put_companions(putter, plan, before)
        gates = self._put_gates(putter, plan, base, progress)
        putter.flush()
        made[plan.path] = self._put_model(putter, plan, {**plan.assembly.leaves, **gates})
        return _new(plan, before, made)

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
        before: "Entries",
        made: Mapping[str, TreeEntry],
        message: str,
        author: Author,
        progress: Progress,
    ) -> CommitId:
        head = self.head
        after = {**before, **made}
        tree = build_tree(after, lambda tree: TreeId(session.put_record(tree)))
        parents = () if head.commit is None else (head.commit,)
        id_ = CommitId(
            session.put_record(commit_record(tree, parents, message, author, Details(), None))
        )
        present = self.workspace.present(before, self.store.hashing(), storing=False)
        self.workspace.move(before, present, after, progress=progress)
        change = RefChange(head.branch or HEAD, head.commit, id_)
        changes = (change, *self._holding(plan))
        operation = Operation(0, 0, "compose", plan.path, changes, wrote=True)
        session.publish(operation, commits=[id_])
        return id_

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


def _composed(
    plan: Composition,
    made: Mapping[str, TreeEntry],
    commit: CommitId | None,
    stored: int,
) -> Composed:
    gates = () if plan.assembly is None else plan.assembly.gates
    reused = 0 if plan.assembly is None else len(plan.assembly.leaves)
    size = sum(gate.nbytes for gate in gates)
    return Composed(commit, plan.manifest, tuple(sorted(made)), reused, size, stored)


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
