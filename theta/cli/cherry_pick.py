"""``theta cherry-pick``."""

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
    "Examples:  theta cherry-pick rte  ·  theta cherry-pick rte~2 --scale 0.5  ·  "
    "theta cherry-pick rte --rule '*.head.* ours' --dry-run"
)


__all__ = ["EXAMPLES", "NEGATIVE", "cherry_pick"]


def cherry_pick(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The commit whose change is wanted.")],
    scale: Scale = 1.0,
    message: Message = None,
    mainline: Mainline = None,
    rule: Rules = None,
    dry_run: DryRun = False,
    author: Who = None,
    json: Json = False,
) -> None:
    """Commit the change of another commit on top of HEAD."""
    pick(
        ctx.obj,
        "cherry-pick",
        revision,
        scale=scale,
        message=message,
        mainline=mainline,
        rules=rule,
        dry_run=dry_run,
        author=author,
        json=json,
    )
