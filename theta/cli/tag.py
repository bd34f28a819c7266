"""``theta tag``."""

from typing import Annotated

import typer

from theta.cli.spelling import spell_id
from theta.cli.terminal import Terminal
from theta.repo.moving import Moving
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short
from theta_store.store import BRANCHES

EXAMPLES = "Examples:  theta tag  ·  theta tag v1  ·  theta tag best main~3  ·  theta tag -d v1"


def tag(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="NAME [REV]; with -d NAME…")] = None,
    delete: Annotated[bool, typer.Option("-d", "--delete", help="Delete tags.")] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="Move an existing one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List tags, or make or delete them."""
    terminal: Terminal = ctx.obj
    given = terminal.paths(names)
    with terminal.open_for(Moving) as repo:
        if delete:
            if not given:
                raise UsageError("no tag was named", hint="theta tag -d NAME")
            for name in given:
                was = repo.delete_tag(name, dry_run=dry_run)
                terminal.done(
                    f"Deleted {name} (was {short(was)}; theta undo brings it back)",
                    f"would delete {name} (at {short(was)})" if dry_run else None,
                )
        elif given:
            if len(given) > 2:
                raise UsageError("a tag has one name and one revision")
            at = repo.create_tag(given[0], *given[1:], force=force, dry_run=dry_run)
            terminal.done(
                f"{given[0]} is at {short(at)} (theta undo takes it back)",
                f"would put {given[0]} at {short(at)}" if dry_run else None,
            )
            if given[0] in repo.branches():
                terminal.warn(
                    f"there is a branch {given[0]} as well: {given[0]} means the tag from now on, "
                    f"{BRANCHES}{given[0]} the branch"
                )
        if json:
            rows = [{"name": name, "commit": hex_id(c)} for name, c in repo.tags().items()]
            terminal.answer("tag", {"tags": rows})
        elif not given:
            for name, commit in repo.tags().items():
                subject = repo.store.commit(commit).subject
                terminal.out(f"{name}  {spell_id(terminal, commit)}  {subject}")
