"""``theta restore``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo import Restored
from theta.repo.restoring import Restoring
from theta_store.errors import UsageError

EXAMPLES = (
    "Examples:  theta restore model.pt  ·  theta restore --source main~1 model.pt  ·  "
    "theta restore --source rte -p 'encoder.*' model.pt"
)


def restore(
    ctx: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Files, folders, globs.")] = None,
    source: Annotated[str, typer.Option("--source", "-s", help="The revision.")] = "HEAD",
    params: Annotated[
        list[str] | None,
        typer.Option("-p", "--params", help="Only these parameters (globs), into the files."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Write files, or single parameters into them, as a commit has them; undo takes it back."""
    terminal: Terminal = ctx.obj
    wanted = terminal.paths(paths)
    if not wanted:
        raise UsageError("nothing to restore was named", hint="theta restore PATH…")
    with terminal.open_for(Restoring) as repo:
        restored = repo.restore(
            wanted,
            source=source,
            params=params or (),
            cwd=terminal.cwd,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    tell(terminal, "restore", restored, source, dry_run=dry_run, json=json)


def tell(
    terminal: Terminal, verb: str, restored: Restored, source: str, *, dry_run: bool, json: bool
) -> None:
    """Print what was written, and how to undo it."""
    if json:
        keys = {"files": list(restored.written), "params": list(restored.params)}
        terminal.answer(verb, {**keys, "dry_run": dry_run})
        return
    if dry_run:
        for line in restored.params or restored.written:
            terminal.out(f"would restore {line}")
        return
    count = plural(len(restored.written), "file")
    undo = " (theta undo brings back what was there)" if restored.undoable else ""
    if restored.params:
        replaced = plural(len(restored.params), "parameter")
        terminal.talk(f"Put {replaced} of {source} into {count}{undo}")
    else:
        terminal.talk(f"Wrote {count} from {source}{undo}")
    for line in restored.params or restored.written:
        terminal.detail(f"  {line}")
