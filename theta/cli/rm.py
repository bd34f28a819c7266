"""``theta rm``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo.tracking import Tracking
from theta_store.errors import UsageError

EXAMPLES = "Examples:  theta rm model.pt  ·  theta rm --delete old/"


def rm(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Files, folders, globs.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files as well.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Stop tracking files from the next commit on; they stay on disk unless --delete."""
    terminal: Terminal = ctx.obj
    wanted = terminal.paths(paths)
    if not wanted:
        raise UsageError("nothing to untrack was named", hint="theta rm PATH…")
    with terminal.open_for(Tracking) as repo:
        gone = repo.remove(wanted, cwd=terminal.cwd, delete=delete, dry_run=dry_run)
    if json:
        terminal.answer("rm", {"files": gone, "deleted": delete, "dry_run": dry_run})
        return
    if dry_run:
        for path in gone:
            terminal.out(f"would {'delete and untrack' if delete else 'untrack'} {path}")
        return
    done = "Deleted and untracked" if delete else "Untracked"
    terminal.talk(f"{done} {plural(len(gone), 'file')}; theta commit records it")
