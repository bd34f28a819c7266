"""``theta du``."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes, spell_id, spell_refs
from theta.cli.storing import kept_as_json
from theta.cli.terminal import Terminal
from theta.params import match_names
from theta.repo import Repo
from theta.workspace.tracking import covers
from theta_store.errors import UsageError
from theta_store.ids import hex_id
from theta_store.store import By as Owners
from theta_store.store import Owner, Sizes, Usage, Use

EXAMPLES = (
    "Examples:  theta du  ·  theta du --by commit main..rte  ·  theta du --by file HEAD  ·  "
    "theta du --by param -p '*.embed*' --json"
)


class By(StrEnum):
    """Whose bytes are told apart."""

    BRANCH = "branch"
    COMMIT = "commit"
    FILE = "file"
    PARAM = "param"
    FORM = "form"


OWNERS: Mapping[By, Owners] = {
    By.BRANCH: "branch",
    By.COMMIT: "commit",
    By.FILE: "file",
    By.PARAM: "param",
}


def du(
    ctx: typer.Context,
    revision: Annotated[
        str | None,
        typer.Argument(help="REV: its files or parameters; with --by commit, its history."),
    ] = None,
    by: Annotated[
        By | None, typer.Option(help="Exclusive and shared bytes of each of these.")
    ] = None,
    params: Annotated[
        list[str] | None, typer.Option("-p", "--params", help="Only these parameters (globs).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show what the repository takes, and who in it takes how much.

    Exclusive bytes are reached by one alone: what its end would free. Shared bytes are reached by
    others too. Bytes that only the operation log reaches are nobody's; gc takes them in time.
    """
    terminal: Terminal = ctx.obj
    if by in {None, By.FORM} and (revision is not None or params or terminal.after):
        raise UsageError("only a table can be restricted", hint="theta du --by file REV -- PATH")
    with terminal.open() as repo:
        sizes = repo.sizes()
        if by is None:
            if json:
                terminal.answer("du", _totals(sizes))
                return
            _print_totals(terminal, sizes)
            if len(repo.branches()) > 1:
                terminal.out()
                _print(terminal, repo, By.BRANCH, repo.usage("branch"))
            return
        if by is By.FORM:
            _forms(terminal, repo, json=json)
            return
        usage = repo.usage(OWNERS[by], revision)
        usage = replace(usage, rows=_selected(terminal, repo, usage, by, params or []))
        if json:
            terminal.answer("du", {**_totals(sizes), **_as_json(by, usage)})
            return
        _print(terminal, repo, by, usage)


def _forms(terminal: Terminal, repo: Repo, *, json: bool) -> None:
    kept = repo.store.kept()
    if json:
        rows = [kept_as_json(part) for part in kept]
        terminal.answer("du", {**_totals(repo.sizes()), "by": By.FORM.value, "rows": rows})
        return
    terminal.out(f"{'stored':>10}  {'plain':>10}  {'chunks':>7}  form")
    for part in kept:
        sizes = f"{spell_bytes(part.stored):>10}  {spell_bytes(part.plain):>10}"
        terminal.out(f"{sizes}  {part.chunks:>7}  {part.predictor} × {part.codec}")


def _totals(sizes: Sizes) -> dict[str, object]:
    return {
        "stored_bytes": sizes.stored_bytes,
        "logical_bytes": sizes.logical_bytes,
        "disk_bytes": sizes.disk_bytes,
        "chunks": sizes.chunks,
        "records": sizes.records,
    }


def _print_totals(terminal: Terminal, sizes: Sizes) -> None:
    terminal.out(f"{spell_bytes(sizes.stored_bytes):>10}  stored (forms and records)")
    plain = f"{plural(sizes.chunks, 'distinct chunk')}, plain"
    terminal.out(f"{spell_bytes(sizes.logical_bytes):>10}  {plain}")
    terminal.out(f"{spell_bytes(sizes.disk_bytes):>10}  on disk")


def _selected(
    terminal: Terminal, repo: Repo, usage: Usage, by: By, globs: list[str]
) -> tuple[Use, ...]:
    """Return the rows that -p and the paths after -- leave; of files and parameters, by size."""
    if by in {By.BRANCH, By.COMMIT}:
        if globs or terminal.after:
            raise UsageError("-p and paths select files and parameters", hint="theta du --by param")
        return usage.rows
    if globs and by is By.FILE:
        raise UsageError("-p selects parameters", hint="theta du --by param -p GLOB")
    rows = list(usage.rows)
    if globs:
        matches = match_names(globs)
        rows = [row for row in rows if row.owner.name is not None and matches(row.owner.name)]
    if terminal.after:
        wanted = [repo.workspace.relative(terminal.cwd, path) for path in terminal.after]
        rows = [r for r in rows if r.owner.path and any(covers(w, r.owner.path) for w in wanted)]
    return tuple(sorted(rows, key=lambda row: (-row.exclusive, -row.shared)))


def _as_json(by: By, usage: Usage) -> dict[str, object]:
    return {
        "by": by.value,
        "rows": [_row(by, row) for row in usage.rows],
        "reachable_bytes": usage.reachable,
        "shared_bytes": usage.shared,
    }


def _row(by: By, row: Use) -> dict[str, object]:
    owner = row.owner
    keys: dict[str, object] = {"exclusive_bytes": row.exclusive, "shared_bytes": row.shared}
    match by:
        case By.BRANCH:
            return {"branch": owner.branch, **keys}
        case By.COMMIT:
            return {"commit": None if owner.commit is None else hex_id(owner.commit), **keys}
        case By.FILE:
            return {"path": owner.path, **keys}
    return {"path": owner.path, "name": owner.name, **keys}


def _print(terminal: Terminal, repo: Repo, by: By, usage: Usage) -> None:
    terminal.out(f"{'exclusive':>10}  {'shared':>10}  {by.value}")
    names = repo.names() if by is By.COMMIT else {}
    for row in usage.rows:
        sizes = f"{spell_bytes(row.exclusive):>10}  {spell_bytes(row.shared):>10}"
        commit = row.owner.commit
        if commit is None:
            terminal.out(f"{sizes}  {_spell(by, row.owner)}")
            continue
        refs = spell_refs(terminal, repo.head, commit, names.get(commit, []))
        subject = repo.store.commit(commit).subject
        terminal.out(f"{sizes}  {spell_id(terminal, commit)}{refs} {subject}")
    shared = spell_bytes(usage.shared)
    terminal.talk(
        f"{spell_bytes(usage.reachable)} in all, {shared} of it reached by more than one {by.value}"
    )


def _spell(by: By, owner: Owner) -> str:
    if owner.name is not None:
        return f"{owner.path}::{owner.name}"
    if owner.path is not None:
        return owner.path if by is By.FILE else f"{owner.path} (what is no parameter)"
    if owner.branch is not None:
        return owner.branch
    return "(reached by tags or HEAD alone)" if by is By.BRANCH else "(commits and folders)"
