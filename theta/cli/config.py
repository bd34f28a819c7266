"""``theta config``."""

from typing import Annotated

import typer

from theta.cli.terminal import Terminal
from theta.config import Config, Setting
from theta_store.errors import NotARepository, NotFound, UsageError

EXAMPLES = (
    "Examples:  theta config user.name 'Ada'  ·  theta config metric.val_loss min  ·  "
    "theta config list --show-origin  ·  theta config --unset merge.default"
)


def config(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(help="list, or KEY [VALUE].")] = None,
    global_: Annotated[bool, typer.Option("--global", help="For all repositories.")] = False,
    unset: Annotated[bool, typer.Option("--unset", help="Take the key out.")] = False,
    show_origin: Annotated[bool, typer.Option("--show-origin", help="Where from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Read and write settings."""
    terminal: Terminal = ctx.obj
    try:
        with terminal.look() as repo:
            settings = repo.config
    except NotARepository:
        if not global_:
            raise
        settings = Config(terminal.global_config, None)
    match words or ["list"]:
        case ["list"]:
            _list(terminal, settings.list(), show_origin=show_origin, json=json)
        case [key] if unset:
            settings.unset(key, origin="global" if global_ else "repository")
        case [key]:
            found = settings.find(key)
            if found is None:
                raise NotFound(f"{key} is not set", hint="theta config list")
            _list(terminal, [found], show_origin=show_origin, json=json, bare=True)
        case [key, value]:
            settings.set(key, value, origin="global" if global_ else "repository")
        case _:
            raise UsageError("KEY [VALUE] is expected", hint="theta config --help")


def _list(
    terminal: Terminal,
    found: list[Setting],
    *,
    show_origin: bool,
    json: bool,
    bare: bool = False,
) -> None:
    if json:
        rows = [{"key": s.key, "value": s.value, "origin": s.origin} for s in found]
        terminal.answer("config", {"settings": rows})
        return
    for setting in found:
        origin = f"{setting.origin}\t" if show_origin else ""
        text = setting.value if bare else f"{setting.key} = {setting.value}"
        terminal.out(origin + text)
