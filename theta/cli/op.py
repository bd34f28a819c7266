"""``theta op``: the operation log."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.repo import Undone
from theta.repo.undoing import Undoing
from theta_store.errors import UsageError
from theta_store.ids import hex_id, short
from theta_store.store import Operation, RefChange

EXAMPLES = "Examples:  theta op log  ·  theta op log -n 5 --json"


def op(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="log")] = "log",
    count: Annotated[int | None, typer.Option("-n", min=0, help="At most so many.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show every change of refs, the newest first; undo walks this log."""
    terminal: Terminal = ctx.obj
    if what != "log":
        raise UsageError(f"theta op {what} is unknown", hint="theta op log")
    with terminal.open_for(Undoing) as repo:
        found: list[Operation] = []
        for operation in repo.operations():
            if len(found) == count:
                break
            found.append(operation)
    if json:
        terminal.answer("op", {"operations": [_as_json(operation) for operation in found]})
        return
    for operation in found:
        moment = datetime.fromtimestamp(operation.time / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        terminal.out(f"{operation.number:>5}  {moment}  {operation.verb}  {operation.summary}")


def _as_json(operation: Operation) -> dict[str, object]:
    return {
        "number": operation.number,
        "time": operation.time / 1e6,
        "verb": operation.verb,
        "summary": operation.summary,
        "changes": [_change(change) for change in operation.changes],
        "expired": [hex_id(commit) for commit in operation.expired],
    }


def _change(change: RefChange) -> dict[str, str | None]:
    spelled = [
        t if t is None or isinstance(t, str) else hex_id(t) for t in (change.old, change.new)
    ]
    return {"ref": change.name, "old": spelled[0], "new": spelled[1]}


def tell_target(terminal: Terminal, verb: str, target: Operation, *, json: bool) -> None:
    """Print which operation an undo or a redo would replay, without doing it."""
    if json:
        terminal.answer(verb, {"operation": _as_json(target), "dry_run": True})
        return
    would = {"undo": "take back", "redo": "bring again"}[verb]
    terminal.out(f"{verb} would {would}: {target.verb} {target.summary}")


def tell(terminal: Terminal, verb: str, undone: Undone, *, json: bool) -> None:
    """Print what an undo or a redo did."""
    head, operation = undone.head, undone.operation
    if json:
        keys = {"operation": _as_json(operation), "files": list(undone.written)}
        keys["notices"] = list(undone.notices)
        id_ = None if head.commit is None else hex_id(head.commit)
        terminal.answer(verb, {**keys, "kept": list(undone.kept), "head": id_, "dry_run": False})
        return
    done, back = {
        "undo": ("Took back", "theta redo brings it again"),
        "redo": ("Brought again", "theta undo takes it back"),
    }[verb]
    at = "no commit" if head.commit is None else short(head.commit)
    terminal.talk(
        f"{done}: {operation.verb} {operation.summary}; HEAD is at {at}; "
        f"wrote {plural(len(undone.written), 'file')} ({back})"
    )
    for path in undone.kept:
        terminal.warn(f"{path} holds unsaved changes and was left as it is")
    for notice in undone.notices:
        terminal.warn(notice)
