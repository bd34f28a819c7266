"""Verbs that move refs or bring files back: branch, tag, switch, reset, restore.

Owns their steps. Must not know the terminal. Every move is one operation, which undo takes back.
"""

from collections.abc import Sequence
from pathlib import Path

from theta.history import ancestors
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Moved
from theta.revision import (
    check_ref_name,
)
from theta.workspace import Entries, Present
from theta.workspace import tracking as tracked
from theta_store.errors import (
    InvalidName,
    UnknownFile,
    UnknownRevision,
    UnsavedChanges,
    UsageError,
)
from theta_store.ids import CommitId, short
from theta_store.store import (
    BRANCHES,
    HEAD,
    TAGS,
    Operation,
    RefChange,
    Session,
)


class Moving(Opened):
    """The verbs of this file."""

    def branches(self) -> dict[str, CommitId]:
        """Return the branches by their short names."""
        found = self.store.refs.all(BRANCHES)
        return {name.removeprefix(BRANCHES): commit for name, commit in found.items()}

    def tags(self) -> dict[str, CommitId]:
        """Return the tags by their short names."""
        found = self.store.refs.all(TAGS)
        return {name.removeprefix(TAGS): commit for name, commit in found.items()}

    def create_branch(self, name: str, start: str = HEAD, *, force: bool = False) -> CommitId:
        """Make a branch at a revision; with ``force``, move an existing one."""
        return self._set_ref(BRANCHES, "branch", name, start, force=force)

    def create_tag(self, name: str, start: str = HEAD, *, force: bool = False) -> CommitId:
        """Make a tag at a revision; with ``force``, move an existing one."""
        return self._set_ref(TAGS, "tag", name, start, force=force)

    def _set_ref(self, prefix: str, what: str, name: str, start: str, *, force: bool) -> CommitId:
        check_ref_name(name)
        commit = self.resolve(start)
        old = self.store.refs.get(prefix + name)
        if old is not None and not force:
            raise InvalidName(f"the {what} {name!r} exists; nothing was changed")
        if force and self.head.branch == prefix + name:
            raise UsageError(f"HEAD is on {name}", hint="theta reset moves it")
        self._publish(what, f"{name} at {short(commit)}", RefChange(prefix + name, old, commit))
        return commit

    def delete_branch(self, name: str, *, force: bool = False) -> CommitId:
        """Delete a branch; its commits stay for a week, and undo brings it back.

        One that HEAD does not contain needs ``force``.
        """
        if self.head.branch == BRANCHES + name:
            raise UsageError(f"HEAD is on {name}; nothing was changed", hint="theta switch first")
        commit = self._existing(BRANCHES, "branch", name)
        head = self.head.commit
        merged = head is not None and any(i == commit for i, _ in ancestors(self.store, [head]))
        if not merged and not force:
            raise UnsavedChanges(
                f"{name} holds commits that HEAD lacks; nothing was changed",
                hint=f"theta branch -D {name}",
            )
        self._publish("branch -d", name, RefChange(BRANCHES + name, commit, None))
        return commit

    def delete_tag(self, name: str) -> CommitId:
        """Delete a tag."""
        commit = self._existing(TAGS, "tag", name)
        self._publish("tag -d", name, RefChange(TAGS + name, commit, None))
        return commit

    def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name; HEAD follows."""
        check_ref_name(new)
        commit = self._existing(BRANCHES, "branch", old)
        if self.store.refs.get(BRANCHES + new) is not None:
            raise InvalidName(f"the branch {new!r} exists; nothing was changed")
        changes = [
            RefChange(BRANCHES + old, commit, None),
            RefChange(BRANCHES + new, None, commit),
        ]
        if self.head.branch == BRANCHES + old:
            changes.append(RefChange(HEAD, BRANCHES + old, BRANCHES + new))
        self._publish("branch -m", f"{old} to {new}", *changes)

    def _existing(self, prefix: str, what: str, name: str) -> CommitId:
        commit = self.store.refs.get(prefix + name)
        if commit is None:
            raise UnknownRevision(f"there is no {what} {name!r}", hint=f"theta {what}")
        return commit

    def switch(
        self,
        target: str,
        *,
        create: bool = False,
        start: str = HEAD,
        detach: bool = False,
        force: bool = False,
        progress: Progress = SILENT,
    ) -> Moved:
        """Put HEAD on a branch, or on a commit with ``detach``, and its files in the workspace.

        Files that no commit holds are never overwritten (`UnsavedChanges`), unless ``force``, which
        stores them first, so that undo brings them back.
        """
        head = self.head
        old = head.branch or head.commit
        changes: list[RefChange] = []
        if create:
            check_ref_name(target)
            if self.store.refs.get(BRANCHES + target) is not None:
                raise InvalidName(f"the branch {target!r} exists; nothing was changed")
            if head.commit is None and start == HEAD:
                self._publish("switch -c", target, RefChange(HEAD, old, BRANCHES + target))
                return Moved(self.head, ())
            commit = self.resolve(start)
            changes.append(RefChange(BRANCHES + target, None, commit))
        elif detach:
            commit = self.resolve(target)
        else:
            commit = self._existing(BRANCHES, "branch", target)
        new: CommitId | str = commit if detach else BRANCHES + target
        if new != old:
            changes.append(RefChange(HEAD, old, new))
        verb = "switch -c" if create else "switch"
        summary = short(commit) if detach else target
        return self._move(verb, summary, commit, changes, force=force, progress=progress)

    def reset(self, revision: str, *, hard: bool = False, progress: Progress = SILENT) -> Moved:
        """Move HEAD's branch to a commit; ``hard`` makes the files follow, storing them first."""
        commit = self.resolve(revision)
        head = self.head
        change = RefChange(head.branch or HEAD, head.commit, commit)
        if not hard:
            self._publish("reset", short(commit), change)
            return Moved(self.head, ())
        return self._move(
            "reset --hard", short(commit), commit, [change], force=True, progress=progress
        )

    def _move(
        self,
        verb: str,
        summary: str,
        commit: CommitId,
        changes: Sequence[RefChange],
        *,
        force: bool,
        progress: Progress,
    ) -> Moved:
        head = self.entries(self.head.commit)
        target = self.entries(commit)

        def work(session: Session) -> tuple[str, ...]:
            present = self.workspace.present(
                head, session if force else self.store.hashing(), storing=force, progress=progress
            )
            saved = self._save_overwritten(session, head, present, target) if force else None
            written = self.workspace.move(head, present, target, force=force, progress=progress)
            operation = Operation(0, 0, verb, summary, tuple(changes), saved=saved, wrote=True)
            if changes or saved:
                session.publish(operation, commits=[saved] if saved else ())
            return tuple(written)

        self._check_not_merging()
        written = self._retried(work)
        return Moved(self.head, written)

    def _save_overwritten(
        self, session: Session, head: Entries, present: Present, target: Entries
    ) -> CommitId | None:
        """Store what force is about to overwrite, files in the way included; None if nothing is."""
        extra = self.workspace.take(self.workspace.in_the_way(present, target), session)
        if present.entries == head and not extra.entries:
            return None
        return self._save(session, {**present.entries, **extra.entries})

    def restore(
        self,
        paths: Sequence[str],
        *,
        source: str = HEAD,
        cwd: Path | None = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Write files as a commit has them; what they overwrite is stored first, for undo."""
        commit = self.resolve(source)
        wanted = [self.workspace.relative(cwd or self.root, path) for path in paths]
        entries = self.entries(commit)
        chosen = {
            path: entry
            for path, entry in entries.items()
            if any(tracked.covers(w, p) for w in wanted for p in self.workspace.parts(path, entry))
        }
        if not chosen:
            raise UnknownFile(
                f"{short(commit)} holds no file {', '.join(wanted)}", hint=f"theta ls {source}"
            )

        def work(session: Session) -> list[str]:
            head = self.entries(self.head.commit)
            present = self.workspace.present(head, session, storing=True, progress=progress)
            now = {p: present.entries.get(p) for p in chosen}
            lost = {p: e for p, e in now.items() if e is not None and e != chosen[p]}
            unsaved = {p: e for p, e in lost.items() if head.get(p) != e}
            self._check_untracked(chosen, present)
            saved = self._save(session, present.entries) if unsaved else None
            todo = {p: e for p, e in chosen.items() if now[p] != e}
            written = self.workspace.write(todo, progress=progress)
            if saved is not None:
                operation = Operation(
                    0, 0, "restore", " ".join(wanted), (), saved=saved, wrote=True
                )
                session.publish(operation, commits=[saved])
            return written

        written = self._retried(work)
        tracking = self.workspace.tracking
        self.workspace.set_tracking(tracked.returned(tracking, chosen))
        return written

    def _check_untracked(self, chosen: Entries, present: Present) -> None:
        blocked = self.workspace.in_the_way(present, chosen)
        if blocked:
            raise UnsavedChanges(
                f"{blocked[0]} is not tracked and would be overwritten; nothing was changed",
                hint=f"theta add {blocked[0]}, or move it away",
            )
