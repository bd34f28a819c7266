"""``theta undo``."""

from typing import Annotated

import typer

from theta.cli.op import tell, tell_target
from theta.cli.terminal import Terminal
from theta.repo.undoing import Undoing

EXAMPLES = "Examples:  theta undo  ·  theta undo --dry-run  ·  theta op log"


def undo(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Take the newest operation back: refs, and files that hold nothing unsaved."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Undoing) as repo:
        if dry_run:
            tell_target(terminal, "undo", repo.undo_target(), json=json)
            return
        undone = repo.undo(progress=terminal.progress())
    tell(terminal, "undo", undone, json=json)
