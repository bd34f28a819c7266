"""``theta revert``."""

from typing import Annotated

import typer

from theta.cli.picked import (
    NEGATIVE,
    DryRun,
    Json,
    Mainline,
    Message,
    Rules,
    Scale,
    Who,
    pick,
)

EXAMPLES = (
    "Examples:  theta revert HEAD  ·  theta revert main~3 --scale 0.5  ·  "
    "theta revert HEAD --mainline 1 --dry-run"
)


__all__ = ["EXAMPLES", "NEGATIVE", "revert"]


def revert(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The commit whose change is to go.")],
    scale: Scale = 1.0,
    message: Message = None,
    mainline: Mainline = None,
    rule: Rules = None,
    dry_run: DryRun = False,
    author: Who = None,
    json: Json = False,
) -> None:
    """Commit the opposite of a commit's change on top of HEAD."""
    pick(
        ctx.obj,
        "revert",
        revision,
        scale=scale,
        message=message,
        mainline=mainline,
        rules=rule,
        dry_run=dry_run,
        author=author,
        json=json,
    )
