"""``theta forget``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short

EXAMPLES = "Examples:  theta forget main~3  ·  theta forget step:1000 step:2000  ·  theta gc"


def forget(
    ctx: typer.Context,
    revisions: Annotated[list[str] | None, typer.Argument(help="Commits to give up.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Give up the files of commits; message and metrics stay in the log."""
    terminal: Terminal = ctx.obj
    if not revisions:
        raise UsageError("no commit was named", hint="theta forget REV")
    with terminal.open() as repo:
        gone = repo.forget(revisions, dry_run=dry_run)
        subjects = [repo.store.commit(id_).subject for id_ in gone]
        known = [kept for kept in repo.stats.list() if kept.commit in gone]
    if json:
        keys = {"commits": [hex_id(commit) for commit in gone], "dry_run": dry_run}
        terminal.answer("forget", keys)
        return
    if not gone:
        terminal.talk("Their files were given up before")
        return
    if dry_run:
        for id_, subject in zip(gone, subjects, strict=True):
            terminal.out(f"{short(id_)} {subject}")
        return
    terminal.talk(
        f"Gave up the files of {plural(len(gone), 'commit')}; "
        "theta gc frees the space, until then theta undo revives them"
    )
    for kept in known:
        at = short(kept.commit)
        terminal.talk(f"The {kept.kind} of {at} is kept: theta stats remove {kept.kind} {at}")
