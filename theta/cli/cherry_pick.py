"""``theta cherry-pick``."""

from typing import Annotated

import typer

from theta.cli.outcomes import print_plan
from theta.cli.picked import tell
from theta.cli.terminal import Terminal

EXAMPLES = (
    "Examples:  theta cherry-pick rte  ·  theta cherry-pick rte~2 --scale 0.5  ·  "
    "theta cherry-pick rte --rule '*.head.* ours' --dry-run"
)
NEGATIVE = "conflicts are left, or nothing would change; nothing was written"


def cherry_pick(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The commit whose change is wanted.")],
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
    """Commit the change of another commit on top of HEAD."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        if dry_run:
            plan = repo.plan_pick(revision, scale=scale, mainline=mainline)
            decided = repo.decide_merge(plan, repo.pick_method(scale, rule or ()), look=False)
            print_plan(terminal, "cherry-pick", plan, decided, json=json)
            return
        answer = repo.cherry_pick(
            revision,
            author=terminal.author(repo, author),
            scale=scale,
            message=message,
            mainline=mainline,
            rules=rule or (),
            progress=terminal.progress(),
        )
        tell(terminal, repo, "cherry-pick", revision, answer, json=json)
