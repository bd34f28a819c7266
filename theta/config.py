"""Configuration: TOML in two places, one global and one of the repository.

Owns the known keys, their types and where a value came from. Must not read the environment: paths
are arguments.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from theta_store.errors import UsageError
from theta_store.limits import Limits

Origin = Literal["repository", "global", "default"]


class Setting(msgspec.Struct, frozen=True):
    """A value and where it was found."""

    key: str
    value: str
    origin: Origin


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.ASCII | re.IGNORECASE)


def _size(text: str) -> str:
    found = _SIZE.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        raise ValueError("a size such as 400MB")
    return text


def _duration(text: str) -> str:
    if not re.fullmatch(r"\d+[smhdw]", text):
        raise ValueError("a duration such as 7d")
    return text


def _whole(text: str) -> str:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("a whole number above 0")
    return text


def _flag(text: str) -> str:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text


def _direction(text: str) -> str:
    if text not in {"min", "max"}:
        raise ValueError("min or max")
    return text


KNOWN: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "user.name": ("", str),
    "user.email": ("", str),
    "core.threads": ("", _whole),
    "core.memory": ("400MB", _size),
    "gc.undo": ("7d", _duration),
    "merge.default": ("", str),
    "merge.exact": ("true", _flag),
}


class Config:
    """The values of both files; unknown keys are kept."""

    def __init__(self, global_path: Path | None, repo_path: Path | None) -> None:
        self._paths: dict[Origin, Path | None] = {"global": global_path, "repository": repo_path}
        self._values = {origin: _load(path) for origin, path in self._paths.items()}

    def find(self, key: str) -> Setting | None:
        """Return a value: the repository's, else the global one, else the default."""
        for origin in ("repository", "global"):
            values = self._values[origin]
            if key in values:
                return Setting(key, _checked(key, values[key], self._paths[origin]), origin)
        default = KNOWN[key][0] if key in KNOWN else ""
        return Setting(key, default, "default") if default else None

    def text(self, key: str) -> str | None:
        """Return a value, or None."""
        setting = self.find(key)
        return None if setting is None else setting.value

    def list(self) -> list[Setting]:
        """Return every value that is set or has a default."""
        keys = {*self._values["global"], *self._values["repository"], *KNOWN}
        return [setting for key in sorted(keys) if (setting := self.find(key)) is not None]

    def directions(self) -> dict[str, Literal["min", "max"]]:
        """Return which way each configured metric is better."""
        return {
            s.key.removeprefix("metric."): "min" if s.value == "min" else "max"
            for s in self.list()
            if s.key.startswith("metric.")
        }

    def limits(self) -> Limits:
        """Return the threads and the memory that are configured."""
        threads, memory = self.text("core.threads"), size(self.text("core.memory") or "")
        return Limits(int(threads), memory) if threads else Limits(memory=memory)

    def set(self, key: str, value: str, *, origin: Origin = "repository") -> None:
        """Write a value, keeping the file's comments; a bad one is a `UsageError`.

        So is a key that no theta reads. Files may hold such keys, of a newer one.
        """
        _check_known(key)
        _checked(key, value, None)
        self._edit(origin, lambda document: _assign(document, key, value))

    def unset(self, key: str, *, origin: Origin = "repository") -> None:
        """Take a value out; one that is not set is a `UsageError`."""
        if key not in self._values[origin]:
            raise UsageError(f"{key} is not set in the {origin} configuration")
        self._edit(origin, lambda document: _assign(document, key, None))

    def _edit(self, origin: Origin, change: Callable[[Any], None]) -> None:
        import tomlkit

        path = self._paths[origin]
        if path is None:
            raise UsageError(f"there is no {origin} configuration here")
        document = tomlkit.parse(path.read_text() if path.exists() else "")
        change(document)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(tomlkit.dumps(document))
        temporary.replace(path)
        self._values[origin] = _load(path)


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``7d``."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[_duration(text)[-1]]
    return float(int(text[:-1]) * unit)


def size(text: str) -> int:
    """Return the bytes of a size such as ``5GB`` (decimal) or ``5GiB``; else a `ValueError`."""
    found = _SIZE.fullmatch(_size(text))
    assert found is not None
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def _assign(document: Any, key: str, value: str | None) -> None:
    *path, last = key.split(".", 1)
    table = document
    for step in path:
        table = table.setdefault(step, {})
    if value is None:
        del table[last]
    else:
        table[last] = value


def _load(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    # Who has no configuration needs no parser; every command asks here, twice.
    import tomllib

    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", hint=f"edit {path}") from None
    return dict(_flat("", data))


def _flat(prefix: str, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{key}.", value)
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            found.append((prefix + key, text))
    return found


def _check_known(key: str) -> None:
    if key in KNOWN or re.fullmatch(r"metric\..+", key):
        return
    import difflib

    close = difflib.get_close_matches(key, KNOWN, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KNOWN)}, metric.NAME"
    raise UsageError(f"{key!r} is no setting of theta; nothing was changed", hint=hint)


def _checked(key: str, value: str, path: Path | None) -> str:
    check = _direction if key.startswith("metric.") else KNOWN.get(key, ("", str))[1]
    try:
        return check(value)
    except ValueError as error:
        where = f" in {path}" if path else ""
        raise UsageError(f"{key} = {value!r}{where}: {error} is expected") from None
