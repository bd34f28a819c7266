"""``theta compose``."""

from typing import Annotated

import msgspec
import typer

from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.repo.composing import Composed, Composing
from theta_store.errors import UnknownFile
from theta_store.ids import hex_id

EXAMPLES = (
    "Examples:  theta compose moe.toml -o moe/model.safetensors  ·  "
    "theta compose moe.toml -o moe/model.safetensors --dry-run  ·  "
    'theta compose graft.toml -o moe/model.safetensors -m "A newer coder"'
)
NEGATIVE = "HEAD has the model and its manifest already"


def compose(
    ctx: typer.Context,
    manifest: Annotated[str, typer.Argument(help="A TOML or JSON file, see above.")],
    out: Annotated[
        str, typer.Option("-o", "--out", help="The model's new file, .safetensors for moe.")
    ],
    message: Annotated[str | None, typer.Option("-m", "--message", help="The message.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    author: Annotated[str | None, typer.Option(help='"Name <mail>".')] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Put a model together from a trunk, experts of several commits, and a router; commit it.

    The manifest has ``mode`` (``moe`` or ``smear``), ``trunk`` (``revision``, ``file``),
    ``experts`` (``name``, ``revision``, ``file``, ``prefix``), ``experts_per_token`` and
    ``router``: ``kind`` is ``zeros``, ``random`` with a ``seed``, or ``given`` with a ``file``. It
    is kept as FILE.compose.json.

    ``moe`` makes a Mixtral of Llama-like models: only the router is new. Where the trunk is such a
    model, the experts named (by name or number) replace its own, and there is no ``router``.
    ``smear`` makes no model: theta.nn.SoftMergedExperts loads the experts.
    """
    from theta.compose import parse_manifest

    terminal: Terminal = ctx.obj
    path = terminal.cwd / manifest
    if not path.is_file():
        raise UnknownFile(f"{manifest} does not exist; nothing was composed")
    parsed = parse_manifest(path.read_bytes(), path.name)
    with terminal.open_for(Composing) as repo:
        done = repo.compose(
            parsed,
            out,
            author=terminal.author(repo, author),
            base=path.parent,
            cwd=terminal.cwd,
            message=message,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
        subject = "" if done.commit is None else repo.store.commit(done.commit).subject
    if json:
        terminal.answer("compose", _as_json(done))
    else:
        _print(terminal, done, subject)


def _print(terminal: Terminal, done: Composed, subject: str) -> None:
    for notice in done.notices:
        terminal.warn(notice)
    if done.commit is None:
        for path in done.files:
            terminal.out(f"would write {path}")
        terminal.out(
            f"{plural(done.reused, 'tensor')} of {plural(len(done.manifest.experts), 'expert')} "
            f"and the trunk are there already; the router is {spell_bytes(done.router_bytes)}"
        )
        return
    terminal.out(f"[compose {spell_id(terminal, done.commit)}] {subject}")
    terminal.talk(
        f"stored {spell_bytes(done.stored_bytes)}; {plural(done.reused, 'tensor')} reused "
        "(theta undo takes it back)"
    )


def _as_json(done: Composed) -> dict[str, object]:
    return {
        "commit": None if done.commit is None else hex_id(done.commit),
        "files": list(done.files),
        "reused": done.reused,
        "router_bytes": done.router_bytes,
        "stored_bytes": done.stored_bytes,
        "manifest": msgspec.to_builtins(done.manifest),
        "notices": list(done.notices),
        "dry_run": done.commit is None,
    }
