"""``theta export``."""

from pathlib import Path
from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.revision import parse_address

EXAMPLES = "Examples:  theta export v1 /tmp/v1  ·  theta export HEAD:model.pt old.pt"


def export(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV, or REV:FILE.")],
    target: Annotated[Path, typer.Argument(help="A new folder; for a file, its new path.")],
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Write a commit's files, or one of them, byte for byte to another place."""
    terminal: Terminal = ctx.obj
    address = parse_address(what)
    with terminal.open() as repo:
        written = repo.export(
            address.revision or "HEAD",
            terminal.cwd / target,
            path=address.file,
            progress=terminal.progress(),
        )
    if json:
        terminal.answer("export", {"files": written})
        return
    terminal.talk(f"Wrote {plural(len(written), 'file')} to {target}")
