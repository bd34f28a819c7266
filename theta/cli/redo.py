"""``theta redo``."""

from typing import Annotated

import typer

from theta.cli.op import tell, tell_target
from theta.cli.terminal import Terminal
from theta.repo.undoing import Undoing

EXAMPLES = "Examples:  theta redo  ·  theta redo --dry-run  ·  theta op log"


def redo(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Bring again what the newest undo took back."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Undoing) as repo:
        if dry_run:
            tell_target(terminal, "redo", repo.redo_target(), json=json)
            return
        undone = repo.redo(progress=terminal.progress())
    tell(terminal, "redo", undone, json=json)
