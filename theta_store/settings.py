"""What a repository is: its format version, feature flags and counters.

Owns the table ``settings``. Must not know what the features do.

A program must know every flag in ``read`` to open a repository and every flag in ``write`` to
change it; unknown ones are refused by name.
"""

import msgspec

from theta_store.db import Reader, Table, Writer
from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.sealed import seal, unseal

FORMAT_VERSION = 1
LIB_VERSION = 0
READ_FEATURES: frozenset[str] = frozenset()
WRITE_FEATURES: frozenset[str] = frozenset()
_FORMAT = b"format"
_EPOCH = b"gc_epoch"
_VOLUME = b"next_volume"


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The declaration at the door; newer programs may add fields."""

    version: int
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    lib_version: int = LIB_VERSION


def write_format(writer: Writer, declared: Format) -> None:
    """Declare what the repository needs of a program."""
    data = msgspec.msgpack.encode(declared, order="deterministic")
    writer.put(Table.SETTINGS, _FORMAT, seal(Table.SETTINGS, _FORMAT, data))


def has_format(reader: Reader) -> bool:
    """Say whether the repository has been declared: its creation was not cut short."""
    return reader.get(Table.SETTINGS, _FORMAT) is not None


def check_format(reader: Reader, *, writing: bool) -> Format:
    """Refuse a repository whose version or features this program does not know."""
    row = reader.get(Table.SETTINGS, _FORMAT)
    if row is None:
        raise IntegrityError("the store has no format declaration: its creation was cut short")
    declared = msgspec.msgpack.decode(unseal(Table.SETTINGS, _FORMAT, row), type=Format)
    unknown = set(declared.read) - READ_FEATURES
    if writing:
        unknown |= set(declared.write) - WRITE_FEATURES
    if declared.version > FORMAT_VERSION or unknown:
        what = f"format version {declared.version}"
        if unknown:
            what = "the features " + ", ".join(sorted(unknown))
        raise ForeignRepository(
            f"the repository needs {what}, which this theta does not know; nothing was changed",
            hint="pip install --upgrade theta-vcs",
        )
    return declared


def gc_epoch(reader: Reader) -> int:
    """Return how many sweeps the store has seen."""
    return _number(reader, _EPOCH)


def advance_epoch(writer: Writer) -> None:
    """Count a sweep."""
    _set_number(writer, _EPOCH, _number(writer, _EPOCH) + 1)


def next_volume(writer: Writer) -> int:
    """Return a volume number that was never used."""
    number = _number(writer, _VOLUME) + 1
    _set_number(writer, _VOLUME, number)
    return number


def _number(reader: Reader, key: bytes) -> int:
    row = reader.get(Table.SETTINGS, key)
    return 0 if row is None else int.from_bytes(unseal(Table.SETTINGS, key, row), "little")


def _set_number(writer: Writer, key: bytes, number: int) -> None:
    writer.put(Table.SETTINGS, key, seal(Table.SETTINGS, key, number.to_bytes(8, "little")))
