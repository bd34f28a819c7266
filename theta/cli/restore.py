"""``theta restore``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta_store.errors import UsageError

EXAMPLES = "Examples:  theta restore model.pt  ·  theta restore --source main~1 model.pt"


def restore(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Files, folders, globs.")] = None,
    source: Annotated[str, typer.Option("--source", "-s", help="The revision.")] = "HEAD",
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Write files as a commit has them; what they overwrite is kept for undo."""
    terminal: Terminal = ctx.obj
    wanted = terminal.paths(paths)
    if not wanted:
        raise UsageError("nothing to restore was named", hint="theta restore PATH…")
    with terminal.open() as repo:
        written = repo.restore(
            wanted, source=source, cwd=terminal.cwd, progress=terminal.progress()
        )
    if json:
        terminal.answer("restore", {"files": written})
        return
    terminal.talk(f"Wrote {plural(len(written), 'file')} from {source}")
