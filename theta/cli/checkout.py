"""``theta checkout``: git's old word for ``switch`` and ``restore``."""

from typing import Annotated

import typer

from theta.cli.restore import tell as tell_files
from theta.cli.switch import tell
from theta.cli.terminal import Terminal
from theta_store.errors import UsageError

EXAMPLES = (
    "Examples:  theta checkout -b rte  ·  theta checkout main  ·  theta checkout HEAD~1 -- a.pt"
)


def checkout(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="BRANCH or REV.")] = None,
    create: Annotated[bool, typer.Option("-b", help="Make the branch.")] = False,
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Overwrite changes; undo brings them back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Go to a branch or commit, or with ``-- PATH`` restore files."""
    terminal: Terminal = ctx.obj
    given = names or []
    if terminal.after:
        _files(terminal, given, dry_run=dry_run, json=json)
        return
    if not given or len(given) > (2 if create else 1):
        raise UsageError("one branch or revision is needed", hint="theta checkout BRANCH")
    with terminal.open() as repo:
        moved = repo.switch(
            given[0],
            create=create,
            start=given[1] if len(given) > 1 else "HEAD",
            detach=not create and given[0] not in repo.branches(),
            force=force,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    tell(terminal, "checkout", moved, dry_run=dry_run, json=json)


def _files(terminal: Terminal, names: list[str], *, dry_run: bool, json: bool) -> None:
    source = names[0] if names else "HEAD"
    with terminal.open() as repo:
        restored = repo.restore(
            terminal.after,
            source=source,
            cwd=terminal.cwd,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    tell_files(terminal, "checkout", restored, source, dry_run=dry_run, json=json)
