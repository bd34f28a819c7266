"""``theta branch``."""

from fnmatch import fnmatchcase
from typing import Annotated

import typer

from theta.cli.spelling import spell_id
from theta.cli.terminal import Terminal
from theta.repo.moving import Moving
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short

EXAMPLES = "Examples:  theta branch  ·  theta branch rte main~1  ·  theta branch -d rte"


def branch(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="NAME [START]; with -m OLD NEW; with -d NAME…")
    ] = None,
    delete: Annotated[bool, typer.Option("-d", "--delete", help="Delete branches.")] = False,
    force_delete: Annotated[bool, typer.Option("-D", help="Delete unmerged ones too.")] = False,
    move: Annotated[bool, typer.Option("-m", "--move", help="Rename a branch.")] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="Move an existing one.")] = False,
    list_: Annotated[
        bool,
        typer.Option("-l", "--list", "-a", "--all", help="List all, or those that match globs."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List branches, or make, rename or delete them."""
    terminal: Terminal = ctx.obj
    given = terminal.paths(names)
    with terminal.open_for(Moving) as repo:
        if delete or force_delete:
            _delete(terminal, repo, given, force=force_delete, dry_run=dry_run)
        elif move:
            _rename(terminal, repo, given, dry_run=dry_run)
        elif given and not list_:
            if len(given) > 2:
                raise UsageError("a branch has one name and one start")
            at = repo.create_branch(given[0], *given[1:], force=force, dry_run=dry_run)
            terminal.done(
                f"{given[0]} is at {short(at)} (theta undo takes it back)",
                f"would put {given[0]} at {short(at)}" if dry_run else None,
            )
        if json or list_ or not given:
            _list(terminal, repo, given if list_ else [], json=json)


def _list(terminal: Terminal, repo: Moving, globs: list[str], *, json: bool) -> None:
    current = (repo.head.branch or "").removeprefix("refs/heads/")
    found = {
        name: commit
        for name, commit in repo.branches().items()
        if not globs or any(fnmatchcase(name, glob) for glob in globs)
    }
    if json:
        rows = [{"name": n, "commit": hex_id(c), "head": n == current} for n, c in found.items()]
        terminal.answer("branch", {"branches": rows})
        return
    if not globs and not repo.head.branch and repo.head.commit:
        terminal.out(f"* (detached at {spell_id(terminal, repo.head.commit)})")
    for name, commit in found.items():
        mark = "* " if name == current else "  "
        shown = terminal.paint("green", name) if name == current else name
        subject = repo.store.commit(commit).subject
        terminal.out(f"{mark}{shown}  {spell_id(terminal, commit)}  {subject}")


def _delete(
    terminal: Terminal, repo: Moving, names: list[str], *, force: bool, dry_run: bool
) -> None:
    if not names:
        raise UsageError("no branch was named", hint="theta branch -d NAME")
    for name in names:
        was = repo.delete_branch(name, force=force, dry_run=dry_run)
        terminal.done(
            f"Deleted {name} (was {short(was)}; theta undo brings it back)",
            f"would delete {name} (at {short(was)})" if dry_run else None,
        )


def _rename(terminal: Terminal, repo: Moving, names: list[str], *, dry_run: bool) -> None:
    if len(names) != 2:
        raise UsageError("two names are needed", hint="theta branch -m OLD NEW")
    repo.rename_branch(*names, dry_run=dry_run)
    terminal.done(
        f"{names[0]} is called {names[1]} now (theta undo takes it back)",
        f"would call {names[0]} {names[1]}" if dry_run else None,
    )
