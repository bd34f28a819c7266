"""What ``cherry-pick`` and ``revert`` share: they differ in the direction of the change.

Owns their options, the dry run and their answers. Must not know how a change is applied.
"""

from typing import Annotated, Literal

import typer

from theta.cli.outcomes import (
    conflict_as_json,
    print_conflicts,
    print_plan,
    resolution_as_json,
    spell_counts,
)
from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.repo import MergeAnswer, Repo
from theta_store.ids import hex_id

NEGATIVE = "conflicts are left, or nothing would change; nothing was written"
Scale = Annotated[
    float, typer.Option(help="So many times the change; other than 1, no name is exact.")
]
Message = Annotated[str | None, typer.Option("-m", "--message", help="The message.")]
Mainline = Annotated[
    int | None, typer.Option(help="Of a merge: the parent, from 1, it is a change of.")
]
Rules = Annotated[
    list[str] | None,
    typer.Option("--rule", help="'[FILE::]GLOB STRATEGY [name=value …]', for what is left."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
Who = Annotated[str | None, typer.Option(help='"Name <mail>".')]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def pick(
    terminal: Terminal,
    verb: Literal["cherry-pick", "revert"],
    revision: str,
    *,
    scale: float,
    message: str | None,
    mainline: int | None,
    rules: list[str] | None,
    dry_run: bool,
    author: str | None,
    json: bool,
) -> None:
    """Apply a commit's change, or its opposite, and print what came of it."""
    given = rules or ()
    with terminal.open() as repo:
        if dry_run:
            back = verb == "revert"
            plan = repo.plan_pick(revision, back=back, scale=scale, mainline=mainline)
            decided = repo.decide_merge(plan, repo.pick_method(scale, given), look=False)
            print_plan(terminal, repo, verb, plan, decided, json=json)
            return
        apply = repo.cherry_pick if verb == "cherry-pick" else repo.revert
        answer = apply(
            revision,
            author=terminal.author(repo, author),
            scale=scale,
            message=message,
            mainline=mainline,
            rules=given,
            progress=terminal.progress(),
        )
        _tell(terminal, repo, verb, revision, answer, json=json)


def _tell(
    terminal: Terminal, repo: Repo, verb: str, revision: str, answer: MergeAnswer, *, json: bool
) -> None:
    """Print the new commit, or the conflicts that are left: those end with 1."""
    if json:
        terminal.answer(
            verb,
            {
                "state": answer.state,
                "commit": None if answer.commit is None else hex_id(answer.commit),
                "conflicts": [conflict_as_json(conflict) for conflict in answer.conflicts],
                "resolved": [resolution_as_json(resolution) for resolution in answer.resolved],
                "stored_bytes": answer.stored_bytes,
                "notices": list(answer.notices),
            },
        )
    elif answer.commit is None:
        print_conflicts(terminal, answer.conflicts)
        terminal.say(
            f"{plural(len(answer.conflicts), 'conflict')} left; nothing was written",
            f"Try: theta {verb} {revision} --rule 'GLOB ours|theirs|base'",
        )
    else:
        for notice in answer.notices:
            terminal.warn(notice)
        subject = repo.store.commit(answer.commit).subject
        terminal.out(f"[{verb} {spell_id(terminal, answer.commit)}] {subject}")
        how = spell_counts(answer.resolved)
        tail = f"; {how}" if how else ""
        terminal.talk(f"stored {spell_bytes(answer.stored_bytes)}{tail} (theta undo takes it back)")
    if answer.conflicts:
        raise typer.Exit(1)
