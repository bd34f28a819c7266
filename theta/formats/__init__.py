"""The formats that theta reads: which one a file is, and which one a record names.

Owns the list of formats, which are imported when a file is first looked at. Must not know what a
file holds.
"""

from typing import TYPE_CHECKING

from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.formats.base import Format

HEAD_BYTES = 4096


def builtin_formats() -> "tuple[Format, ...]":
    """Return the formats that come with theta."""
    from theta.formats.npy import Npy
    from theta.formats.npz import Npz
    from theta.formats.safetensors import Safetensors
    from theta.formats.torch_zip import TorchZip

    return (Safetensors(), TorchZip(), Npz(), Npy())


def recognise(head: bytes, name: str) -> "Format | None":
    """Return the format of a file by its first 4 KiB and its name; None for a plain blob.

    The content decides; where several formats would take the file, its suffix does.
    """
    able = [format_ for format_ in builtin_formats() if format_.sniff(head, name)]
    by_suffix = [format_ for format_ in able if name.lower().endswith(format_.suffixes)]
    return next(iter(by_suffix or able), None)


def format_by_id(id_: str) -> "Format":
    """Return the format that a record names; one that theta lacks is a `UsageError`."""
    for format_ in builtin_formats():
        if format_.id == id_:
            return format_
    raise UsageError(f"format {id_!r} is not known to this theta")
