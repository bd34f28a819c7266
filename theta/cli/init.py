"""``theta init``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theta.cli.terminal import Terminal
from theta_store.ids import CommitId, short
from theta_store.store import BRANCHES

if TYPE_CHECKING:
    from theta.repo.opened import Opened

EXAMPLES = "Examples:  theta init  ·  theta init runs/a  ·  theta init --store /data/theta-a"


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The workspace.")] = Path(),
    store: Annotated[
        Path | None, typer.Option(help="Keep the store there; a pointer stays in .theta.")
    ] = None,
    force_network: Annotated[
        bool, typer.Option(help="Allow a network file system: one host at a time.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Make a repository: a folder .theta in the workspace."""
    from theta.repo.opened import Opened, is_repository, is_store

    terminal: Terminal = ctx.obj
    root = terminal.cwd / folder
    place = None if store is None else Path(os.path.normpath(terminal.cwd / store))
    existed = is_repository(root)
    shared = not existed and place is not None and is_store(place)
    with Opened.init(root, store=place, force_network=force_network) as repo:
        if json:
            answer = {"root": str(repo.root), "existed": existed, "shared": shared}
            terminal.answer("init", answer)
        elif existed:
            terminal.talk(f"There is a repository already in {repo.private}")
        elif shared:
            _tell_shared(terminal, repo)
        else:
            terminal.talk(f"Made an empty repository in {repo.private}")


def _tell_shared(terminal: Terminal, repo: "Opened") -> None:
    """Say that the store was there, what HEAD is, and that its files are not here."""
    head = repo.head
    at = "no commit yet" if head.commit is None else short(head.commit)
    where = f"{(head.branch or 'detached').removeprefix(BRANCHES)}, {at}"
    terminal.talk(
        f"Made a repository in {repo.private} on the store {repo.store.folder}, which was there: "
        f"branches, tags, HEAD ({where}) and the operation log are shared with its other workspaces"
    )
    if head.commit is not None:
        terminal.talk(_told_of_files(repo, head.commit))


def _told_of_files(repo: "Opened", commit: CommitId) -> str:
    """Return which of HEAD's files are here, as far as their names tell."""
    paths = [p for path, e in repo.entries(commit).items() for p in repo.workspace.parts(path, e)]
    here = sum((repo.root / path).exists() for path in paths)
    if not here:
        return "None of the files of HEAD are here: theta restore . writes them"
    return (
        f"{here} of the {len(paths)} files of HEAD have a name that is here: theta status says if "
        "they are the same, theta restore PATH writes HEAD's"
    )
