"""``theta repack``."""

from typing import TYPE_CHECKING, Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal
from theta.repo.repacking import Repacking
from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta_store.store import RepackReport

EXAMPLES = (
    "Examples:  theta repack  ·  theta repack --dry-run  ·  theta repack --since v1 --json  ·  "
    "theta repack --free  ·  theta repack --free --dry-run"
)


def repack(
    ctx: typer.Context,
    level: Annotated[str, typer.Option("--level", help="fast or max.")] = "max",
    since: Annotated[str | None, typer.Option(help="Only commits after this revision.")] = None,
    free: Annotated[
        bool,
        typer.Option(
            "--free", help="Store kept commits without the given-up ones that they follow from."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would save.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Keep the history in smaller forms; contents and ids stay as they are."""
    terminal: Terminal = ctx.obj
    if level not in {"fast", "max"}:
        raise UsageError(f"--level {level}: fast or max is expected")
    if free:
        if since is not None:
            raise UsageError("--free looks at all that is kept: --since does not go with it")
        _free(terminal, json=json, dry_run=dry_run)
        return
    with terminal.open_for(Repacking) as repo:
        report = repo.repack(
            level="fast" if level == "fast" else "max",
            since=since,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    if json:
        terminal.answer("repack", {**_as_json(report), "dry_run": dry_run})
        return
    would = "would take" if dry_run else "take"
    terminal.out(
        f"{plural(report.replaced, 'chunk')} of {report.chunks} {would} less: "
        f"{spell_bytes(report.before)} became {spell_bytes(report.after)}"
    )
    if report.replaced and not dry_run:
        terminal.talk("theta gc gives the old forms' space back to the disk")


def _as_json(report: "RepackReport") -> dict[str, object]:
    return {
        "chunks": report.chunks,
        "replaced": report.replaced,
        "before_bytes": report.before,
        "after_bytes": report.after,
    }


def _free(terminal: Terminal, *, json: bool, dry_run: bool) -> None:
    with terminal.open_for(Repacking) as repo:
        report, bases = repo.free_bases(dry_run=dry_run, progress=terminal.progress())
    if json:
        answer = {**_as_json(report), "base_bytes": bases, "dry_run": dry_run}
        terminal.answer("repack", answer)
        return
    if not report.replaced:
        terminal.out("Nothing is kept only for what follows from it, or it is worth its bytes")
        return
    stand, became, can = (
        ("would stand", "would become", "could") if dry_run else ("stand", "became", "can")
    )
    terminal.out(
        f"{plural(report.replaced, 'chunk')} {stand} on their own: {spell_bytes(report.before)} "
        f"{became} {spell_bytes(report.after)}, and {spell_bytes(bases)} of what they followed "
        f"from {can} go"
    )
    if not dry_run:
        terminal.talk("theta gc gives that back to the disk")
