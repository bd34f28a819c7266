"""``theta reset``."""

from typing import Annotated

import typer

from theta.cli.switch import tell
from theta.cli.terminal import Terminal
from theta.repo.moving import Moving

EXAMPLES = "Examples:  theta reset HEAD~1  ·  theta reset --hard main~2"


def reset(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="Where the branch goes.")] = "HEAD",
    hard: Annotated[
        bool, typer.Option("--hard", help="The files follow; what they held is kept for undo.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Move HEAD's branch to another commit."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Moving) as repo:
        moved = repo.reset(revision, hard=hard, dry_run=dry_run, progress=terminal.progress())
    tell(terminal, "reset", moved, dry_run=dry_run, json=json)
