"""``theta export``."""

import os
from typing import Annotated

import typer

from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.config import size
from theta.repo import Conversion
from theta.repo.exporting import Exporting
from theta.revision import parse_address
from theta_store.errors import UsageError

EXAMPLES = (
    "Examples:  theta export v1 /tmp/v1  ·  theta export HEAD:model.pt model.safetensors  ·  "
    "theta export main:model.safetensors out/ --dtype BF16 --shard-size 5GB"
)


def export(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV, or REV:FILE.")],
    target: Annotated[
        str, typer.Argument(help="A new folder; for a file, its new path, or a folder: out/.")
    ],
    format_: Annotated[
        str | None, typer.Option("--format", help="safetensors, torch, npz or npy.")
    ] = None,
    shard_size: Annotated[
        str | None, typer.Option("--shard-size", help="Most bytes of one file, such as 5GB.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="F32, BF16 or F16: cast the real numbers.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Write a commit's files, or one of them, byte for byte to another place.

    One checkpoint is converted by options, or by a target whose ending names another format. The
    new file holds tensors only; what else the old one has (an epoch, the nesting) is not in it. A
    shard is copied alone; the model it belongs to is named by its index or its folder.
    """
    terminal: Terminal = ctx.obj
    address = parse_address(what)
    if address.param is not None:
        raise UsageError("export writes whole files", hint=f"theta cat {what} > FILE.npy")
    most = None if shard_size is None else _bytes(shard_size)
    conversion = Conversion(format_, most, dtype.upper() if dtype else None)
    with terminal.open_for(Exporting) as repo:
        written = repo.export(
            address.revision or "HEAD",
            terminal.cwd / target,
            path=address.file,
            folder=target.endswith(("/", os.sep)),
            conversion=conversion,
            progress=terminal.progress(),
        )
    if json:
        terminal.answer("export", {"files": written})
        return
    terminal.talk(f"Wrote {plural(len(written), 'file')} to {target}")


def _bytes(text: str) -> int:
    """Return the bytes of a size such as ``5GB`` (decimal) or ``5GiB``."""
    try:
        return size(text)
    except ValueError:
        raise UsageError(f"{text!r} is no size", hint="--shard-size 5GB, or 512MiB") from None
