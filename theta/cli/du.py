"""``theta du``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal

EXAMPLES = "Examples:  theta du  ·  theta du --json"


def du(
    ctx: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show what the repository takes."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        sizes = repo.sizes()
    if json:
        keys = {"stored_bytes": sizes.stored_bytes, "logical_bytes": sizes.logical_bytes}
        counts = {"chunks": sizes.chunks, "records": sizes.records}
        terminal.answer("du", {**keys, "disk_bytes": sizes.disk_bytes, **counts})
        return
    terminal.out(f"{spell_bytes(sizes.stored_bytes):>10}  stored (forms and records)")
    plain = f"{plural(sizes.chunks, 'distinct chunk')}, plain"
    terminal.out(f"{spell_bytes(sizes.logical_bytes):>10}  {plain}")
    terminal.out(f"{spell_bytes(sizes.disk_bytes):>10}  on disk")
