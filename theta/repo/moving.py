"""Verbs that move refs: branch, tag, switch, reset.

Owns their steps. Must not know the terminal. Every move is one operation, which undo takes back.
"""

from typing import TYPE_CHECKING

import msgspec

from theta.history import ancestors
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Moved
from theta.revision import (
    check_ref_name,
)
from theta_store.errors import (
    IntegrityError,
    InvalidName,
    UnknownRevision,
    UnsavedChanges,
    UsageError,
)
from theta_store.ids import CommitId, RecordId, hex_id, short
from theta_store.store import (
    BRANCHES,
    HEAD,
    TAGS,
    Head,
    Operation,
    RefChange,
)

if TYPE_CHECKING:
    from theta.workspace import Entries, Present
    from theta_store.store import Session


# As a target, where HEAD was before.
BEFORE = "-"


class _Step(msgspec.Struct, frozen=True):
    """A move of HEAD: what the operation log says, where HEAD will be, and the refs that change."""

    verb: str
    summary: str
    to: Head
    changes: tuple[RefChange, ...]


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

    def create_branch(
        self, name: str, start: str = HEAD, *, force: bool = False, dry_run: bool = False
    ) -> CommitId:
        """Make a branch at a revision; with ``force``, move an existing one."""
        return self._set_ref(BRANCHES, "branch", name, start, force=force, dry_run=dry_run)

    def create_tag(
        self, name: str, start: str = HEAD, *, force: bool = False, dry_run: bool = False
    ) -> CommitId:
        """Make a tag at a revision; with ``force``, move an existing one."""
        return self._set_ref(TAGS, "tag", name, start, force=force, dry_run=dry_run)

    def _set_ref(
        self, prefix: str, what: str, name: str, start: str, *, force: bool, dry_run: bool
    ) -> CommitId:
        check_ref_name(name)
        commit = self.resolve(start)
        old = self.store.refs.get(prefix + name)
        if old is not None and not force:
            raise InvalidName(f"the {what} {name!r} exists; nothing was changed")
        if force and self.head.branch == prefix + name:
            raise UsageError(f"HEAD is on {name}", hint=f"theta reset {start}")
        change = RefChange(prefix + name, old, commit)
        self._publish(what, f"{name} at {short(commit)}", change, dry_run=dry_run)
        return commit

    def delete_branch(self, name: str, *, force: bool = False, dry_run: bool = False) -> CommitId:
        """Delete a branch; its commits stay for a week, and undo brings it back.

        One that HEAD does not contain needs ``force``.
        """
        if self.head.branch == BRANCHES + name:
            raise UsageError(f"HEAD is on {name}; nothing was changed", hint="theta switch BRANCH")
        commit = self._existing(BRANCHES, "branch", name)
        head = self.head.commit
        merged = head is not None and any(i == commit for i, _ in ancestors(self.store, [head]))
        if not merged and not force:
            raise UnsavedChanges(
                f"{name} holds commits that HEAD lacks; nothing was changed",
                hint=f"theta branch -D {name}",
            )
        change = RefChange(BRANCHES + name, commit, None)
        self._publish("branch -d", name, change, dry_run=dry_run)
        return commit

    def delete_tag(self, name: str, *, dry_run: bool = False) -> CommitId:
        """Delete a tag."""
        commit = self._existing(TAGS, "tag", name)
        self._publish("tag -d", name, RefChange(TAGS + name, commit, None), dry_run=dry_run)
        return commit

    def rename_branch(self, old: str, new: str, *, dry_run: bool = False) -> None:
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
        self._publish("branch -m", f"{old} to {new}", *changes, dry_run=dry_run)

    def _existing(self, prefix: str, what: str, name: str) -> CommitId:
        commit = self.store.refs.get(prefix + name)
        if commit is None:
            import difflib

            known = [ref.removeprefix(prefix) for ref in self.store.refs.names(prefix)]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"theta {what}"
            raise UnknownRevision(f"there is no {what} {name!r}", hint=hint)
        return commit

    def switch(
        self,
        target: str,
        *,
        create: bool = False,
        start: str = HEAD,
        detach: bool = False,
        force: bool = False,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> Moved:
        """Put HEAD on a branch, or on a commit with ``detach``, and its files in the workspace.

        Files that no commit holds are never overwritten (`UnsavedChanges`), unless ``force``, which
        stores them first, so that undo brings them back. ``-`` is where HEAD was before.
        """
        if target == BEFORE and not create:
            target, detach = self._before()
        head = self.head
        old = head.branch or head.commit
        changes: list[RefChange] = []
        if create:
            check_ref_name(target)
            if self.store.refs.get(BRANCHES + target) is not None:
                raise InvalidName(f"the branch {target!r} exists; nothing was changed")
            if head.commit is None and start == HEAD:
                change = RefChange(HEAD, old, BRANCHES + target)
                self._publish("switch -c", target, change, dry_run=dry_run)
                return Moved(Head(BRANCHES + target, None), ())
            commit = self.resolve(start)
            changes.append(RefChange(BRANCHES + target, None, commit))
        elif detach:
            commit = self.resolve(target)
        else:
            commit = self._existing(BRANCHES, "branch", target)
        new: CommitId | str = commit if detach else BRANCHES + target
        if new != old:
            changes.append(RefChange(HEAD, old, new))
        step = _Step(
            "switch -c" if create else "switch",
            short(commit) if detach else target,
            Head(None if detach else BRANCHES + target, commit),
            tuple(changes),
        )
        return self._move(step, force=force, dry_run=dry_run, progress=progress)

    def _before(self) -> tuple[str, bool]:
        """Return where HEAD was before it came here, a branch or a commit, and if it is detached.

        Branches that are gone or called otherwise now, and commits that gc took, are passed over.
        """
        now = self.head.branch or self.head.commit
        for operation in self.store.operations():
            for change in operation.changes:
                if change.name != HEAD or change.old in {None, now}:
                    continue
                if operation.verb != "switch" and {type(change.old), type(change.new)} == {bytes}:
                    # A commit, or an undo of one, where HEAD is on no branch.
                    continue
                if isinstance(change.old, bytes) and not self.store.has(RecordId(change.old)):
                    continue
                if not isinstance(change.old, str):
                    return hex_id(CommitId(change.old)), True
                if self.store.refs.get(change.old) is not None:
                    return change.old.removeprefix(BRANCHES), False
        raise UnknownRevision("HEAD was nowhere else before", hint="theta branch")

    def reset(
        self,
        revision: str,
        *,
        hard: bool = False,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> Moved:
        """Move HEAD's branch to a commit; ``hard`` makes the files follow, storing them first."""
        self._check_not_merging()
        commit = self.resolve(revision)
        head = self.head
        change = RefChange(head.branch or HEAD, head.commit, commit)
        to = Head(head.branch, commit)
        if not hard:
            self._publish("reset", short(commit), change, dry_run=dry_run)
            return Moved(to, ())
        step = _Step("reset --hard", short(commit), to, (change,))
        return self._move(step, force=True, dry_run=dry_run, progress=progress)

    def _move(self, step: _Step, *, force: bool, dry_run: bool, progress: Progress) -> Moved:
        self._check_not_merging()
        head = self._left(force=force)
        target = self.entries(step.to.commit)
        if dry_run:
            present = self.workspace.present(head, self.store.hashing(), storing=False)
            plan = self.workspace.plan_move(head, present, target, force=force)
            return Moved(step.to, self._parts(plan.writes), plan.removes)

        def work(session: "Session") -> tuple[str, ...]:
            present = self.workspace.present(
                head, session if force else self.store.hashing(), storing=force, progress=progress
            )
            saved = self._save_overwritten(session, head, present, target) if force else None
            written = self.workspace.move(head, present, target, force=force, progress=progress)
            operation = Operation(
                0, 0, step.verb, step.summary, step.changes, saved=saved, wrote=True
            )
            if step.changes or saved:
                session.publish(operation, commits=[saved] if saved else ())
            return tuple(written)

        return Moved(step.to, self._retried(work, discards=force))

    def _left(self, *, force: bool) -> "Entries":
        """Return the files that HEAD leaves.

        A commit that cannot be read has none under ``force``, so that HEAD can be moved off it.
        """
        try:
            entries = self.entries(self.head.commit)
            self._parts(entries)
        except IntegrityError:
            if not force:
                raise
            return {}
        return entries

    def _save_overwritten(
        self, session: "Session", head: "Entries", present: "Present", target: "Entries"
    ) -> CommitId | None:
        """Store what force is about to overwrite, files in the way included; None if nothing is."""
        extra = self.workspace.take(self.workspace.in_the_way(present, target), session)
        if present.entries == head and not extra.entries:
            return None
        return self._save(session, {**present.entries, **extra.entries})
