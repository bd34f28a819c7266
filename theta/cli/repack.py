"""``theta repack``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal
from theta.repo.repacking import Repacking
from theta_store.errors import UsageError

EXAMPLES = "Examples:  theta repack  ·  theta repack --dry-run  ·  theta repack --since v1 --json"


def repack(
    ctx: typer.Context,
    level: Annotated[str, typer.Option("--level", help="fast or max.")] = "max",
    since: Annotated[str | None, typer.Option(help="Only commits after this revision.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would save.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Keep the history in smaller forms; contents and ids stay as they are."""
    terminal: Terminal = ctx.obj
    if level not in {"fast", "max"}:
        raise UsageError(f"--level {level}: fast or max is expected")
    with terminal.open_for(Repacking) as repo:
        report = repo.repack(
            level="fast" if level == "fast" else "max",
            since=since,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    if json:
        keys = {"chunks": report.chunks, "replaced": report.replaced}
        sizes = {"before_bytes": report.before, "after_bytes": report.after}
        terminal.answer("repack", {**keys, **sizes, "dry_run": dry_run})
        return
    would = "would take" if dry_run else "take"
    terminal.out(
        f"{plural(report.replaced, 'chunk')} of {report.chunks} {would} less: "
        f"{spell_bytes(report.before)} became {spell_bytes(report.after)}"
    )
    if report.replaced and not dry_run:
        terminal.talk("theta gc gives the old forms' space back to the disk")
