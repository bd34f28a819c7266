"""``theta add``, also called ``track``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo.tracking import Tracking
from theta_store.errors import UsageError

EXAMPLES = "Examples:  theta add model.pt  ·  theta add runs/  ·  theta add 'checkpoint-*'"


def add(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, or quoted globs.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Track files, folders or globs; what appears in them later is tracked too."""
    terminal: Terminal = ctx.obj
    wanted = terminal.paths(paths)
    if not wanted:
        raise UsageError("nothing to add was named", hint="theta add PATH…")
    with terminal.open_for(Tracking) as repo:
        found = repo.add(wanted, cwd=terminal.cwd)
    if json:
        terminal.answer("add", {"files": found})
        return
    terminal.talk(f"Tracking {plural(len(found), 'file')}: theta commit -m MESSAGE stores them")
