"""``theta revert``."""

from typing import Annotated

import typer

from theta.cli.outcomes import print_plan
from theta.cli.picked import tell
from theta.cli.terminal import Terminal

EXAMPLES = (
    "Examples:  theta revert HEAD  ·  theta revert main~3 --scale 0.5  ·  "
    "theta revert HEAD --mainline 1 --dry-run"
)
NEGATIVE = "conflicts are left, or nothing would change; nothing was written"


def revert(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The commit whose change is to go.")],
    scale: Annotated[
        float, typer.Option(help="So many times the change; other than 1, no name is exact.")
    ] = 1.0,
    message: Annotated[str | None, typer.Option("-m", "--message", help="The message.")] = None,
    mainline: Annotated[
        int | None, typer.Option(help="Of a merge: the parent, from 1, it is a change of.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="'[FILE::]GLOB STRATEGY [name=value …]', for what is left."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    author: Annotated[str | None, typer.Option(help='"Name <mail>".')] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Commit the opposite of a commit's change on top of HEAD."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        if dry_run:
            plan = repo.plan_pick(revision, back=True, scale=scale, mainline=mainline)
            decided = repo.decide_merge(plan, repo.pick_method(scale, rule or ()), look=False)
            print_plan(terminal, "revert", plan, decided, json=json)
            return
        answer = repo.revert(
            revision,
            author=terminal.author(repo, author),
            scale=scale,
            message=message,
            mainline=mainline,
            rules=rule or (),
            progress=terminal.progress(),
        )
        tell(terminal, repo, "revert", revision, answer, json=json)
