"""``theta gc``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal

EXAMPLES = "Examples:  theta gc --dry-run  ·  theta gc  ·  theta gc --now"


def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Also what undo could still bring back.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Remove what no branch, tag or recent operation needs."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        report = repo.gc(now=now, dry_run=dry_run)
    if json:
        keys = {"records": report.records, "chunks": report.chunks}
        sizes = {"stored_bytes": report.stored_bytes, "disk_bytes": report.disk_bytes}
        terminal.answer("gc", {**keys, **sizes, "dry_run": dry_run})
        return
    would = "would be removed" if dry_run else "removed"
    returns = "the disk would get back" if dry_run else "the disk got back"
    terminal.out(
        f"{plural(report.chunks, 'chunk')} and {plural(report.records, 'record')} {would}; "
        f"{returns} {spell_bytes(report.disk_bytes)}"
    )
