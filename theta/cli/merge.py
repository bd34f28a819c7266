"""``theta merge``."""

from collections import Counter
from typing import Annotated

import typer

from theta.cli.conflicts import Quit, ask
from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.merge import Conflict, Plan, Resolution, Rule, decide, parse_rule
from theta.repo import MergeAnswer, Repo
from theta.strategies import STRATEGIES
from theta_store.errors import UsageError
from theta_store.ids import hex_id

EXAMPLES = (
    "Examples:  theta merge rte  ·  theta merge rte -s average  ·  "
    "theta merge rte --rule '*.head.* ours' -s average  ·  theta merge --abort"
)
NEGATIVE = "conflicts are left, or you quit; nothing was written"


def merge(
    ctx: typer.Context,
    revision: Annotated[str | None, typer.Argument(help="What to merge into HEAD.")] = None,
    strategy: Annotated[
        str | None, typer.Option("-s", "--strategy", help="ours, theirs, base or average.")
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="'[FILE::]GLOB STRATEGY'; the last match wins.")
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="The message.")] = None,
    no_commit: Annotated[
        bool, typer.Option("--no-commit", help="Write the files, leave the commit to you.")
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Forget the merge that waits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    allow_unrelated: Annotated[bool, typer.Option(help="Without a common ancestor.")] = False,
    author: Annotated[str | None, typer.Option(help='"Name <mail>".')] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON; never ask.")] = False,
) -> None:
    """Merge another branch, parameter by parameter."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        if abort:
            written = repo.abort_merge(progress=terminal.progress())
            terminal.talk(f"Forgot the merge; wrote {plural(len(written), 'file')} (theta undo)")
            return
        if revision is None:
            raise UsageError("what to merge was not named", hint="theta merge BRANCH")
        rules = [parse_rule(line) for line in rule or ()]
        default = strategy or repo.config.text("merge.default")
        if default:
            STRATEGIES.get(default)
        plan = repo.plan_merge(revision, allow_unrelated=allow_unrelated)
        wanted = decide(rules, default)
        decisions = {
            (c.path, c.name): found for c in plan.conflicts if (found := wanted(c.path, c.name))
        }
        if dry_run:
            _print_plan(terminal, plan, decisions, json=json)
            return
        asked = _ask(terminal, plan, decisions, json=json)
        if asked is None:
            terminal.talk("Quit: everything is as it was")
            raise typer.Exit(1)
        answer = repo.merge(
            plan,
            decisions | asked,
            author=terminal.author(repo, author),
            message=message,
            rules=rules + [Rule(p, n or "*", s) for (p, n), s in asked.items()],
            default=default,
            wait=no_commit or bool(asked),
            progress=terminal.progress(),
        )
        _tell(terminal, repo, plan, answer, json=json)


def _ask(
    terminal: Terminal, plan: Plan, decisions: dict[tuple[str, str | None], str], *, json: bool
) -> dict[tuple[str, str | None], str] | None:
    """Return the answers of the user, none if nobody can be asked, None for quit."""
    left = [c for c in plan.conflicts if (c.path, c.name) not in decisions]
    if not left or json or not terminal.interactive:
        return {}
    try:
        return ask(terminal, left)
    except Quit:
        return None


def _tell(terminal: Terminal, repo: Repo, plan: Plan, answer: MergeAnswer, *, json: bool) -> None:
    if json:
        terminal.answer(
            "merge",
            {
                "state": answer.state,
                "commit": None if answer.commit is None else hex_id(answer.commit),
                "conflicts": [_conflict(conflict) for conflict in answer.conflicts],
                "resolved": [_resolution(resolution) for resolution in answer.resolved],
                "stored_bytes": answer.stored_bytes,
            },
        )
    elif answer.state == "conflicts":
        _print_conflicts(terminal, plan, answer.conflicts)
    elif answer.state == "up to date":
        terminal.out(f"Already up to date: HEAD has {plan.label}")
    else:
        _print_done(terminal, repo, plan, answer)
    if answer.conflicts:
        raise typer.Exit(1)


def _print_done(terminal: Terminal, repo: Repo, plan: Plan, answer: MergeAnswer) -> None:
    counts = Counter(resolution.how for resolution in answer.resolved)
    how = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    if answer.state == "waiting":
        terminal.talk(f"Merged {plan.label} into the files ({how}); evaluate them, then:")
        terminal.talk(f'theta commit -am "Merge {plan.label}", or theta merge --abort')
        return
    assert answer.commit is not None
    subject = repo.store.commit(answer.commit).subject
    terminal.out(f"[{answer.state} {spell_id(terminal, answer.commit)}] {subject}")
    tail = f"; {how}" if how else ""
    terminal.talk(f"stored {spell_bytes(answer.stored_bytes)}{tail} (theta undo takes it back)")


def _print_conflicts(terminal: Terminal, plan: Plan, conflicts: tuple[Conflict, ...]) -> None:
    for conflict in conflicts:
        name = f"::{conflict.name}" if conflict.name is not None else ""
        kind = terminal.paint("red", f"{conflict.kind:>13}")
        terminal.out(f"{kind}  {conflict.path}{name}")
    terminal.stderr.write(
        f"{plural(len(conflicts), 'conflict')} left; nothing was written\n"
        f"Try: theta merge {plan.label} -s average, or --rule 'GLOB ours|theirs|base|average'\n"
    )


def _print_plan(
    terminal: Terminal, plan: Plan, decisions: dict[tuple[str, str | None], str], *, json: bool
) -> None:
    left = [c for c in plan.conflicts if (c.path, c.name) not in decisions]
    if json:
        decided = [
            {"path": path, "name": name, "how": how} for (path, name), how in decisions.items()
        ]
        settled = [_resolution(resolution) for resolution in plan.resolved]
        terminal.answer(
            "merge",
            {
                "state": "planned",
                "commit": None,
                "conflicts": [_conflict(conflict) for conflict in left],
                "resolved": settled + decided,
            },
        )
        return
    terminal.out(f"{plural(len(plan.resolved), 'name')} changed only by {plan.label}: taken")
    for how, count in sorted(Counter(decisions.values()).items()):
        terminal.out(f"{plural(count, 'name')} changed by both: {how}")
    for kind, count in sorted(Counter(conflict.kind for conflict in left).items()):
        terminal.out(f"{plural(count, 'conflict')} left: {kind}")


def _conflict(conflict: Conflict) -> dict[str, str | None]:
    return {"path": conflict.path, "name": conflict.name, "kind": conflict.kind}


def _resolution(resolution: Resolution) -> dict[str, str | None]:
    return {"path": resolution.path, "name": resolution.name, "how": resolution.how}
