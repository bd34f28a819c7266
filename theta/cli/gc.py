"""``theta gc``."""

from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.keep import Keep, best, every, last
from theta.repo import Collected, Repo
from theta_store.errors import UsageError
from theta_store.ids import hex_id

EXAMPLES = (
    "Examples:  theta gc --dry-run  ·  theta gc  ·  theta gc --now  ·  "
    "theta gc --keep-last 5 --keep-best val_loss:3 --keep-every 1000 --dry-run"
)
# Bases of fewer bytes are no surprise to anybody.
WORTH_TELLING = 1 << 20


def gc(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Also what undo could still bring back.")
    ] = False,
    keep_last: Annotated[
        int | None, typer.Option(metavar="N", help="Of each branch keep the newest N commits.")
    ] = None,
    keep_best: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC:N", help="Keep the N best by a metric, repeatable."),
    ] = None,
    keep_every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Keep steps that are multiples of N, or each N-th commit."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Remove what no branch, tag or recent operation needs.

    With --keep-…, first give up the files of the branches' other commits; their messages and
    metrics stay in the log. Tips, HEAD and merge bases are always kept.
    """
    terminal: Terminal = ctx.obj
    keep = _keep(keep_last, keep_best or [], keep_every)
    with terminal.open() as repo:
        done = repo.gc(keep=keep, now=now, dry_run=dry_run)
        if json:
            terminal.answer("gc", _as_json(done, dry_run=dry_run))
        else:
            _print(terminal, repo, done, dry_run=dry_run)


def _keep(newest: int | None, bests: list[str], each: int | None) -> Keep | None:
    found = [] if newest is None else [last(newest)]
    found += [_best(text) for text in bests]
    found += [] if each is None else [every(each)]
    if not found:
        return None
    keep, *others = found
    for other in others:
        keep |= other
    return keep


def _best(text: str) -> Keep:
    metric, _, count = text.rpartition(":")
    if not metric or not count.isdecimal():
        raise UsageError(f"--keep-best {text}: METRIC:N is expected, such as val_loss:3")
    return best(metric, int(count))


def _as_json(done: Collected, *, dry_run: bool) -> dict[str, object]:
    return {
        "records": done.records,
        "chunks": done.chunks,
        "stored_bytes": done.stored_bytes,
        "disk_bytes": done.disk_bytes,
        "base_bytes": done.base_bytes,
        "idle_bytes": done.idle_bytes,
        "room_bytes": done.room_bytes,
        "expired": [hex_id(commit) for commit in done.expired],
        "dry_run": dry_run,
    }


def _print(terminal: Terminal, repo: Repo, done: Collected, *, dry_run: bool) -> None:
    for commit in done.expired if dry_run or terminal.verbose else ():
        would = "would give up" if dry_run else "gave up"
        terminal.out(f"{would}  {spell_id(terminal, commit)}  {repo.store.commit(commit).subject}")
    if done.expired and not dry_run:
        terminal.talk(f"Gave up the files of {plural(len(done.expired), 'commit')} (theta log)")
        known = [kept for kept in repo.stats.list() if kept.commit in done.expired]
        if known:
            terminal.talk(f"{plural(len(known), 'statistic')} of them kept (theta stats list)")
    would = "would be removed" if dry_run else "removed"
    returns = "the disk would get back" if dry_run else "the disk got back"
    terminal.out(
        f"{plural(done.chunks, 'chunk')} and {plural(done.records, 'record')} {would}; "
        f"{returns} {spell_bytes(done.disk_bytes)}"
    )
    if done.base_bytes >= WORTH_TELLING:
        stays = "would stay" if dry_run else "stay"
        terminal.talk(
            f"{spell_bytes(done.base_bytes)} of what no kept commit reads {stays}: "
            "later checkpoints are stored as differences to it (theta repack --free)"
        )
    if done.idle_bytes:
        idle, room = spell_bytes(done.idle_bytes), spell_bytes(done.room_bytes)
        terminal.talk(
            f"{idle} inside the store's files are free for the next commits; "
            f"gc gives them back to the disk once {room} of it are free"
        )
