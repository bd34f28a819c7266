"""``theta cat``."""

import struct
from typing import Annotated

import typer

from theta.cli.terminal import Terminal
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.records import Tensor

EXAMPLES = "Examples:  theta cat HEAD:config.json  ·  theta cat main::fc1.weight > fc1.npy"


def cat(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV:FILE of a plain file, or REV:FILE::PARAM.")],
    raw: Annotated[bool, typer.Option("--raw", help="Plain bytes without npy header.")] = False,
) -> None:
    """Write a plain file, or a parameter as .npy, to stdout."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        commit, address = repo.address(what)
        if address.param is not None:
            tensor = repo.tensor(commit, address.file, address.param)
            head = b"" if raw else npy_header(tensor)
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


def npy_header(tensor: Tensor) -> bytes:
    """Return the head of an npy file (format version 1.0, numpy's NEP 1).

    A dtype that numpy lacks is written as unsigned integers of its width: the bits are exact.
    """
    row = dtype(tensor.dtype)
    carrier, shape = row.carrier, tensor.shape
    if row.block > 1:
        shape = (row.size_of(shape),)
    text = f"{{'descr': '{carrier}', 'fortran_order': False, 'shape': {shape!r}, }}"
    padding = -(len(text) + 11) % 64
    body = (text + " " * padding + "\n").encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body
