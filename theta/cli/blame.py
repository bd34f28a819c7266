"""``theta blame``."""

from typing import Annotated

import typer

from theta.cli.spelling import spell_id
from theta.cli.terminal import Terminal
from theta.repo.blaming import Blamed, Blaming
from theta_store.ids import hex_id

EXAMPLES = (
    "Examples:  theta blame  ·  theta blame model.pt::fc1.weight  ·  "
    "theta blame 'main~2:model.pt::encoder.*'  ·  theta blame 'HEAD::*.bias' --json"
)


def blame(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(help="FILE::GLOB, REV:FILE::GLOB or REV::GLOB; globs may be left out.")
    ] = "HEAD",
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Say of each parameter which commit gave it its value, and how if that was a merge."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Blaming) as repo:
        found = repo.blame(what)
    if json:
        terminal.answer("blame", {"params": [_as_json(each) for each in found]})
        return
    width = max(len(each.name) for each in found)
    for each in found:
        mark = "^" if each.at_least else " "
        tail = f"  ({_spell(each)})" if each.strategy else ""
        terminal.out(
            f"{mark}{spell_id(terminal, each.id)}  {each.name:<{width}}  "
            f"{each.commit.subject}{tail}"
        )


def _spell(each: Blamed) -> str:
    """Return the strategy with the parameters that were set, as a rule would say it."""
    given = [(name, value) for name, value in each.parameters if value not in (None, "", [])]
    return " ".join([each.strategy, *(f"{name}={_text(value)}" for name, value in given)])


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_json(each: Blamed) -> dict[str, object]:
    return {
        "file": each.file,
        "name": each.name,
        "commit": hex_id(each.id),
        "subject": each.commit.subject,
        "strategy": each.strategy or None,
        "parameters": dict(each.parameters),
        "at_least": each.at_least,
    }
