"""``theta commit``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from theta.cli.spelling import spell_bytes, spell_id
from theta.cli.status import describe
from theta.cli.terminal import Terminal
from theta.cli.timing import print_timings, timings_as_json
from theta.repo import Committed, Details
from theta.repo.committing import Committing
from theta_store.errors import UsageError
from theta_store.ids import hex_id
from theta_store.store import BRANCHES

EXAMPLES = (
    'Examples:  theta commit -am "Fine-tune on RTE"  ·  '
    'theta commit -m "step 1000" --step 1000 --metric val_loss=2.31  ·  '
    'theta commit -m "only this" model.pt  ·  '
    'theta commit checkpoint-1000 --as model --branch run-a -m "step 1000"  ·  '
    'theta commit -am "Epoch 3" --guard finite'
)
NEGATIVE = "nothing has changed since HEAD"


def commit(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Commit only these tracked files; with --as, a file or folder."),
    ] = None,
    message: Annotated[
        list[str] | None, typer.Option("-m", "--message", help="May be given several times.")
    ] = None,
    all_: Annotated[  # noqa: ARG001 - git's habit means nothing more here
        bool, typer.Option("-a", "--all", help="Accepted as in git; it is always so.")
    ] = False,
    branch: Annotated[
        str | None, typer.Option("--branch", help="Make or advance it; HEAD stays.")
    ] = None,
    as_name: Annotated[
        str | None, typer.Option("--as", help="Commit the file or folder under this name.")
    ] = None,
    guard: Annotated[
        list[str] | None, typer.Option(help="finite: refuse new values with NaN or infinity.")
    ] = None,
    amend: Annotated[
        bool,
        typer.Option("--amend", help="Replace HEAD's commit; keeps its step, metrics and meta."),
    ] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Even if equal.")] = False,
    step: Annotated[int | None, typer.Option(help="The training step.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, repeatable.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="KEY=TEXT, repeatable.")] = None,
    author: Annotated[str | None, typer.Option(help='"Name <mail>".')] = None,
    rehash: Annotated[
        bool,
        typer.Option(
            "--rehash",
            help="Read every file, whatever its times say, and mend what is damaged in the store.",
        ),
    ] = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Say where the time went, stage by stage.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Commit the tracked files as they are."""
    terminal: Terminal = ctx.obj
    with terminal.open_for(Committing) as repo:
        before = _message(repo, branch) if amend else ""
        text = "\n\n".join(message) if message else before or _edited(terminal)
        details = Details(
            amend=amend,
            allow_empty=allow_empty,
            rehash=rehash,
            step=step,
            metrics=_metrics(metric),
            meta=dict(_pair(item, "--meta") for item in meta or ()),
            branch=branch,
            as_name=as_name,
            guards=tuple(guard or ()),
        )
        done = repo.commit(
            text,
            author=terminal.author(repo, author),
            paths=terminal.paths(paths),
            cwd=terminal.cwd,
            details=details,
            progress=terminal.progress(),
            timings=timings,
        )
    for warning in done.warnings:
        terminal.warn(warning)
    _print(terminal, done, json=json)
    if not terminal.verbose:
        return
    with terminal.look() as committed:
        files = committed.changed_files(done.id)
    for line in (line for file in files for line in describe(terminal, file)):
        terminal.detail(line)


def _message(repo: Committing, branch: str | None) -> str:
    """Return the message of the commit that an amendment replaces."""
    tip = repo.head.commit if branch is None else repo.store.refs.get(BRANCHES + branch)
    return "" if tip is None else repo.store.commit(tip).message


def _print(terminal: Terminal, done: Committed, *, json: bool) -> None:
    if json:
        answer: dict[str, Any] = {
            "commit": hex_id(done.id),
            "branch": done.branch and done.branch.removeprefix("refs/heads/"),
            "parents": [hex_id(parent) for parent in done.commit.parents],
            "stored_bytes": done.stored_bytes,
            "logical_bytes": done.logical_bytes,
            "warnings": list(done.warnings),
        }
        if done.timings is not None:
            answer["timings"] = timings_as_json(done.timings)
        terminal.answer("commit", answer)
        return
    branch = "HEAD" if done.branch is None else done.branch.removeprefix("refs/heads/")
    terminal.out(f"[{branch} {spell_id(terminal, done.id)}] {done.commit.subject}")
    terminal.talk(
        f"stored {spell_bytes(done.stored_bytes)} for {spell_bytes(done.logical_bytes)} of files "
        "(theta undo takes it back)"
    )
    if done.timings is not None:
        print_timings(terminal, done.timings)


def _metrics(items: list[str] | None) -> dict[str, float]:
    found = {}
    for item in items or ():
        name, text = _pair(item, "--metric")
        try:
            found[name] = float(text)
        except ValueError:
            raise UsageError(f"--metric {item}: {text!r} is no number") from None
    return found


def _pair(item: str, option: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {item}: NAME=VALUE is expected")
    return name, value


def _edited(terminal: Terminal) -> str:
    """Ask for the message in an editor; without a terminal it has to be given."""
    import subprocess
    import tempfile

    if not terminal.interactive:
        raise UsageError("a message is needed", hint='theta commit -m "MESSAGE"')
    editor = terminal.env.get("THETA_EDITOR") or terminal.env.get("VISUAL")
    editor = editor or terminal.env.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "COMMIT_MESSAGE"
        path.write_text("\n# The first line is the subject. Lines with # are left out.\n")
        done = subprocess.run(f'{editor} "{path}"', shell=True, check=False, cwd=os.getcwd())  # noqa: S602, PTH109 - the user's own editor
        if done.returncode:
            raise UsageError(
                f"the editor {editor!r} ended with {done.returncode}; nothing was committed",
                hint='THETA_EDITOR names another one; or theta commit -m "MESSAGE"',
            )
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).strip()
    if not text:
        raise UsageError("the message is empty; nothing was committed")
    return text
