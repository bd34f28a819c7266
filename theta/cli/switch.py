"""``theta switch``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo import Moved
from theta.repo.moving import Moving
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short

EXAMPLES = "Examples:  theta switch main  ·  theta switch -c rte  ·  theta switch --detach HEAD~2"


def switch(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="BRANCH [START]; - is the one before.")
    ] = None,
    create: Annotated[bool, typer.Option("-c", "--create", help="Make the branch.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go to a commit.")] = False,
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Overwrite changes; undo brings them back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Go to another branch: HEAD and the files move."""
    terminal: Terminal = ctx.obj
    if not names or len(names) > (2 if create else 1):
        raise UsageError("one branch is needed", hint="theta switch BRANCH")
    with terminal.open_for(Moving) as repo:
        moved = repo.switch(
            names[0],
            create=create,
            start=names[1] if len(names) > 1 else "HEAD",
            detach=detach,
            force=force,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    tell(terminal, "switch", moved, dry_run=dry_run, json=json)


def tell(terminal: Terminal, verb: str, moved: Moved, *, dry_run: bool, json: bool) -> None:
    """Print where HEAD is now, or would be, and how to undo it."""
    head = moved.head
    branch = None if head.branch is None else head.branch.removeprefix("refs/heads/")
    if json:
        id_ = None if head.commit is None else hex_id(head.commit)
        keys = {"branch": branch, "head": id_, "files": list(moved.written)}
        terminal.answer(verb, {**keys, "dry_run": dry_run})
        return
    place = branch or (f"detached at {short(head.commit)}" if head.commit else "nowhere")
    if dry_run:
        at = "no commit" if head.commit is None else short(head.commit)
        terminal.out(f"would be on {place} at {at}")
        for path in moved.written:
            terminal.out(f"would write {path}")
        for path in moved.removed:
            terminal.out(f"would remove {path}")
        return
    count = plural(len(moved.written), "file")
    terminal.talk(f"On {place}; wrote {count} (theta undo takes it back)")
    for path in moved.written:
        terminal.detail(f"  {path}")
