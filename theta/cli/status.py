"""``theta status``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_id
from theta.cli.terminal import Terminal
from theta.repo import Repo, Status
from theta.workspace import FileState
from theta_store.ids import hex_id

EXAMPLES = "Examples:  theta status  ·  theta status --json  ·  theta status --rehash"
SHOWN = 8
STYLE = {"added": "green", "changed": "yellow", "deleted": "red", "not checked out": "dim"}


def status(
    ctx: typer.Context,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read every file, whatever its times say.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show which files and parameters differ from HEAD."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        found = repo.status(rehash=rehash, progress=terminal.progress())
        if json:
            terminal.answer("status", _as_json(found))
        else:
            _print(terminal, repo, found)


def _as_json(found: Status) -> dict[str, object]:
    branch = found.head.branch
    return {
        "branch": None if branch is None else branch.removeprefix("refs/heads/"),
        "head": None if found.head.commit is None else hex_id(found.head.commit),
        "clean": found.clean,
        "merging": found.merging,
        "files": [
            {
                "path": file.path,
                "state": file.state,
                "params": [{"name": p.name, "change": p.change} for p in file.params],
            }
            for file in found.files
        ],
        "untracked": list(found.untracked),
        "warnings": list(found.warnings),
    }


def _print(terminal: Terminal, repo: Repo, found: Status) -> None:
    head = found.head
    if head.branch is not None:
        terminal.out(f"On branch {head.branch.removeprefix('refs/heads/')}")
    elif head.commit is not None:
        terminal.out(f"HEAD detached at {spell_id(terminal, head.commit)}")
    if head.commit is None:
        terminal.out("No commit yet")
    if found.merging is not None:
        terminal.out(f"Merging {found.merging}: theta commit -m MESSAGE, or theta merge --abort")
    for warning in found.warnings:
        terminal.warn(warning)
    for file in found.files:
        _print_file(terminal, file)
    if found.untracked:
        terminal.out("Not tracked (theta add PATH):")
        for path in found.untracked[:SHOWN]:
            terminal.out(f"  {path}")
        _print_rest(terminal, len(found.untracked))
    if found.clean and head.commit is not None:
        subject = repo.store.commit(head.commit).subject
        terminal.out(f"Nothing changed since {spell_id(terminal, head.commit)} {subject}")
    elif not found.clean:
        terminal.talk('theta commit -am "MESSAGE" stores the changes')


def _print_file(terminal: Terminal, file: FileState) -> None:
    head = terminal.paint(STYLE[file.state], f"{file.state:>9}")
    tail = f"  ({plural(len(file.params), 'parameter')})" if file.params else ""
    terminal.out(f"{head}  {file.path}{tail}")
    for param in file.params[:SHOWN]:
        terminal.out(f"             {param.change:>8}  {param.name}")
    _print_rest(terminal, len(file.params))


def _print_rest(terminal: Terminal, count: int) -> None:
    if count > SHOWN:
        terminal.out(f"             … and {count - SHOWN} more (theta status --json)")
