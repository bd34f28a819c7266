"""``theta cat``."""

from typing import Annotated

import typer

from theta.cli.terminal import Terminal
from theta_store.errors import UsageError

EXAMPLES = "Examples:  theta cat HEAD:config.json  ·  theta cat main::fc1.weight > fc1.npy"


def cat(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV:FILE of a plain file, or REV:FILE::PARAM.")],
    raw: Annotated[bool, typer.Option("--raw", help="Plain bytes without npy header.")] = False,
) -> None:
    """Write a plain file, or a parameter as .npy, to stdout."""
    terminal: Terminal = ctx.obj
    with terminal.look() as repo:
        commit, address = repo.address(what)
        if address.param is not None:
            from theta.formats.npy import npy_header

            tensor = repo.tensor(commit, address.file, address.param)
            head = b"" if raw else npy_header(tensor.dtype, tensor.shape)
            data = repo.read_tensor(tensor)
        elif address.file is not None:
            head, data = b"", repo.read_file(commit, address.file)
        else:
            raise UsageError(f"{what} names a commit", hint=f"theta cat {what}:FILE")
    if terminal.stdout.isatty() and (head or b"\0" in data[:4096]):
        raise UsageError(
            "binary data is not written to a terminal", hint=f"theta cat {what} > FILE"
        )
    terminal.stdout.flush()
    terminal.stdout.buffer.write(head)
    terminal.stdout.buffer.write(data)
    terminal.stdout.buffer.flush()
