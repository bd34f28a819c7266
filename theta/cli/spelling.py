"""How values are spelled for people: bytes, times, ids with their refs.

Owns wording that more than one verb uses. Must not print.
"""

from datetime import datetime, timedelta, timezone

from theta.cli.terminal import Terminal
from theta_store.ids import CommitId, short
from theta_store.records import Commit
from theta_store.store import Head


def spell_bytes(count: int) -> str:
    """Spell bytes in binary units, three digits at most before the unit changes."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def spell_time(commit: Commit) -> str:
    """Spell a commit's time in its author's zone."""
    zone = timezone(timedelta(minutes=commit.zone))
    moment = datetime.fromtimestamp(commit.time / 1e6, zone)
    return moment.strftime("%Y-%m-%d %H:%M:%S %z")


def spell_refs(terminal: Terminal, head: Head, id_: CommitId, names: list[str]) -> str:
    """Spell the refs at a commit, HEAD first, as git does; empty where there are none."""
    branch = None if head.branch is None else head.branch.split("/", 2)[2]
    parts = []
    if head.commit == id_:
        at = terminal.paint("cyan", "HEAD")
        if branch in names:
            at += terminal.paint("cyan", " -> ") + terminal.paint("green", str(branch))
        parts.append(at)
    parts += [terminal.paint("green", n) for n in names if head.commit != id_ or n != branch]
    return f" ({', '.join(parts)})" if parts else ""


def spell_id(terminal: Terminal, id_: CommitId) -> str:
    """Spell a commit's short id."""
    return terminal.paint("yellow", short(id_))


def plural(count: int, noun: str) -> str:
    """Spell a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
