"""What ``cherry-pick`` and ``revert`` print, which differ in one word.

Owns their answers. Must not know how a change is applied.
"""

import typer

from theta.cli.outcomes import (
    conflict_as_json,
    print_conflicts,
    resolution_as_json,
    spell_counts,
)
from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.repo import MergeAnswer, Repo
from theta_store.ids import hex_id


def tell(
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
        terminal.stderr.write(
            f"{plural(len(answer.conflicts), 'conflict')} left; nothing was written\n"
            f"Try: theta {verb} {revision} --rule 'GLOB ours|theirs|base'\n"
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
