"""``theta stats``: what is known of the data behind a commit."""

from typing import Annotated

import msgspec
import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo import Repo
from theta.repo.statistics import Kept
from theta.revision import parse_address
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short

EXAMPLES = (
    "Examples:  theta stats add fisher fisher.safetensors rte --examples 256  ·  "
    "theta stats add gram gram.npz HEAD:model.pt  ·  theta stats list  ·  "
    "theta stats list rte --json  ·  theta stats remove gram rte"
)
WORDS = {"add": "KIND FILE [REV]", "list": "[REV]", "remove": "KIND [REV]"}
LEAST = {"add": 2, "list": 0, "remove": 1}


def stats(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="add, list or remove.")] = "list",
    words: Annotated[
        list[str] | None,
        typer.Argument(help="add KIND FILE [REV], list [REV], remove KIND [REV]."),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Over how many it was taken: its weight in a sum.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Of remove: only say it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Keep statistics of commits for merges that ask for them: fisher or gram.

    KIND is ``fisher`` (the diagonal of the Fisher information, arrays of the parameters' shapes)
    or ``gram`` (inputs × inputs of linear layers). FILE has arrays by the names of parameters,
    REV may name the model: ``REV:FILE``.
    """
    terminal: Terminal = ctx.obj
    given = terminal.paths(words)
    if what not in WORDS:
        raise UsageError(f"theta stats {what} is unknown", hint="theta stats list")
    if not LEAST[what] <= len(given) <= LEAST[what] + 1:
        raise UsageError(f"theta stats {what} takes {WORDS[what]}", hint="theta stats --help")
    with terminal.open() as repo:
        if what == "list":
            _list(terminal, repo, given[0] if given else None, json=json)
        elif what == "add":
            _add(terminal, repo, given, examples, dry_run=dry_run, json=json)
        else:
            _remove(terminal, repo, given, dry_run=dry_run, json=json)


def _add(
    terminal: Terminal, repo: Repo, given: list[str], examples: int, *, dry_run: bool, json: bool
) -> None:
    if dry_run:
        raise UsageError("--dry-run is for remove; theta undo takes an addition back")
    address = parse_address(given[2] if len(given) > 2 else "HEAD")
    kept = repo.stats.add(
        given[0],
        terminal.cwd / given[1],
        address.revision or "HEAD",
        file=address.file,
        examples=examples,
        progress=terminal.progress(),
    )
    if json:
        terminal.answer("stats", {"statistics": [_as_json(kept)], "dry_run": False})
        return
    models = plural(len(kept.account.models), "model")
    of = f"{short(kept.commit)}, of {models}"
    terminal.talk(f"Kept the {kept.kind} of {of} (theta undo takes it back)")


def _remove(terminal: Terminal, repo: Repo, given: list[str], *, dry_run: bool, json: bool) -> None:
    revision = given[1] if len(given) > 1 else "HEAD"
    kept = repo.stats.remove(given[0], revision, dry_run=dry_run)
    if json:
        terminal.answer("stats", {"statistics": [_as_json(kept)], "dry_run": dry_run})
        return
    what = f"the {kept.kind} of {short(kept.commit)}"
    terminal.done(
        f"Removed {what} (theta undo brings it back)",
        f"would remove {what}" if dry_run else None,
    )


def _list(terminal: Terminal, repo: Repo, revision: str | None, *, json: bool) -> None:
    found = repo.stats.list(revision)
    if json:
        terminal.answer("stats", {"statistics": [_as_json(kept) for kept in found]})
        return
    for kept in found:
        there = repo.store.has(kept.commit)
        subject = repo.store.commit(kept.commit).subject if there else "the commit is gone"
        for path, note in sorted(kept.account.models.items()):
            over = plural(note.examples, "example")
            labels = f", {note.labels} labels" if note.labels else ""
            terminal.out(
                f"{short(kept.commit)}  {kept.kind:<6}  {path}  {over}{labels}  "
                f"({note.source})  {subject}"
            )


def _as_json(kept: Kept) -> dict[str, object]:
    return {
        "kind": kept.kind,
        "commit": hex_id(kept.commit),
        "id": hex_id(kept.id),
        "models": {path: msgspec.to_builtins(note) for path, note in kept.account.models.items()},
        "code": kept.account.code,
    }
