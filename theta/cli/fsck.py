"""``theta fsck``."""

from collections.abc import Sequence
from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal
from theta.repo.care import Care
from theta_store.ids import hex_id, short
from theta_store.store import Problem

EXAMPLES = "Examples:  theta fsck  ·  theta fsck --json"
NEGATIVE = "something is damaged or missing"
SHOWN = 20


def fsck(
    ctx: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Verify every hash and law of the store; name the parameters and commits that are hurt."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Care) as repo:
        problems = repo.fsck(progress=terminal.progress())
        sizes = repo.sizes() if not problems else None
    if json:
        terminal.answer("fsck", {"ok": not problems, "problems": [_as_json(p) for p in problems]})
    elif sizes is not None:
        terminal.out(
            f"ok: {plural(sizes.chunks, 'chunk')} of {spell_bytes(sizes.logical_bytes)} and "
            f"{plural(sizes.records, 'record')} verified"
        )
    else:
        for problem in problems:
            _print(terminal, problem)
        _tell_cure(terminal, problems)
    if problems:
        raise typer.Exit(1)


def _tell_cure(terminal: Terminal, problems: Sequence[Problem]) -> None:
    """Say what helps: a backup where the index itself is damaged, the files for all the rest."""
    own = {"ref", "entry"}
    if any(problem.what in own or problem.id == "meta" for problem in problems):
        terminal.talk("Hint: restore .theta/store from a backup")
    if any(problem.what not in own and problem.id != "meta" for problem in problems):
        terminal.talk("Try: theta commit --rehash -m MESSAGE")
        terminal.talk(
            "Hint: that stores again what the files here have of it; with copies of other files, "
            "theta commit --rehash COPY --as NAME --branch rescue -m MESSAGE does"
        )


def _as_json(problem: Problem) -> dict[str, object]:
    return {
        "kind": problem.kind,
        "what": problem.what,
        "id": problem.id,
        "message": problem.message,
        "hurts": [
            {"commit": hex_id(hurt.commit), "path": hurt.path, "param": hurt.name}
            for hurt in problem.hurts
        ],
    }


def _print(terminal: Terminal, problem: Problem) -> None:
    terminal.out(terminal.paint("red", problem.kind) + f" {problem.what}: {problem.message}")
    for hurt in problem.hurts[:SHOWN]:
        name = f"::{hurt.name}" if hurt.name is not None else ""
        terminal.out(f"  hurts {short(hurt.commit)}:{hurt.path}{name}")
    if len(problem.hurts) > SHOWN:
        terminal.out(f"  … and {len(problem.hurts) - SHOWN} more (theta fsck --json)")
