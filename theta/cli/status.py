"""``theta status``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from theta.cli.spelling import plural, spell_id
from theta.cli.terminal import Terminal
from theta.workspace import FileState
from theta_store.ids import hex_id

if TYPE_CHECKING:
    from theta.repo import Looking, Status

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
    with terminal.look() as repo:
        found = repo.status(rehash=rehash, progress=terminal.progress())
        if json:
            terminal.answer("status", _as_json(found))
        else:
            _print(terminal, repo, found)


def _as_json(found: "Status") -> dict[str, object]:
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


def _print(terminal: Terminal, repo: "Looking", found: "Status") -> None:
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
    here = [file for file in found.files if file.state != "not checked out"]
    for line in (line for file in here for line in describe(terminal, file)):
        terminal.out(line)
    _print_paths(
        terminal,
        "Not checked out (theta restore PATH):",
        [file.path for file in found.files if file.state == "not checked out"],
    )
    _print_paths(terminal, "Not tracked (theta add PATH):", found.untracked)
    if found.clean and head.commit is not None:
        subject = repo.store.commit(head.commit).subject
        terminal.out(f"Nothing changed since {spell_id(terminal, head.commit)} {subject}")
    elif not found.clean:
        terminal.talk('theta commit -am "MESSAGE" stores the changes')


def _print_paths(terminal: Terminal, heading: str, paths: Sequence[str]) -> None:
    if paths:
        terminal.out(heading)
        shown = len(paths) if terminal.verbose else SHOWN
        for path in paths[:shown]:
            terminal.out(f"  {path}")
        for line in _rest(len(paths) - shown):
            terminal.out(line)


def describe(terminal: Terminal, file: FileState) -> Iterator[str]:
    """Yield the lines about a file: its state, and the parameters that differ."""
    head = terminal.paint(STYLE[file.state], f"{file.state:>9}")
    tail = f"  ({plural(len(file.params), 'parameter')})" if file.params else ""
    yield f"{head}  {file.path}{tail}"
    shown = len(file.params) if terminal.verbose else SHOWN
    for param in file.params[:shown]:
        yield f"             {param.change:>8}  {param.name}"
    yield from _rest(len(file.params) - shown)


def _rest(count: int) -> Iterator[str]:
    if count > 0:
        yield f"             … and {count} more (theta -v status)"
