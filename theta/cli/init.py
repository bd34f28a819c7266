"""``theta init``."""

from pathlib import Path
from typing import Annotated

import typer

from theta.cli.terminal import Terminal

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
    from theta.repo import Repo

    terminal: Terminal = ctx.obj
    root = terminal.cwd / folder
    existed = (root / ".theta").is_dir()
    place = None if store is None else terminal.cwd / store
    with Repo.init(root, store=place, force_network=force_network) as repo:
        if json:
            terminal.answer("init", {"root": str(repo.root), "existed": existed})
            return
        what = "There is a repository already in" if existed else "Made an empty repository in"
        terminal.talk(f"{what} {repo.private}")
