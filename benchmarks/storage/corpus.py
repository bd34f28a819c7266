"""Real text to train on: the source files of installed packages, as token pairs.

Owns the choice and order of files and the vocabulary. Must not know the model. The same versions of
Python and of the packages give the same tokens; their digest is part of every checkpoint's key.
"""

import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]

# The base learns the standard library; each task is another package that torch or the tests need.
BASE = "stdlib"
TASKS = {"cb": "sympy", "rte": "networkx", "anli": "sklearn", "loop": "scipy", "rest": "jinja2"}
BYTES = 256


@dataclass(frozen=True)
class Vocabulary:
    """The 256 bytes, then the most frequent pairs of bytes of a text; ties go to the lower pair."""

    pairs: tuple[int, ...]

    @classmethod
    def of(cls, text: bytes, size: int) -> "Vocabulary":
        """Return the ``size`` tokens that suit a text."""
        data = np.frombuffer(text, np.uint8).astype(np.int64)
        counts = np.bincount(data[:-1] * BYTES + data[1:], minlength=BYTES * BYTES)
        order = np.argsort(-counts, kind="stable")[: size - BYTES]
        return cls(tuple(int(pair) for pair in order))

    @property
    def size(self) -> int:
        """The number of tokens."""
        return BYTES + len(self.pairs)

    @cached_property
    def _token_of(self) -> dict[int, int]:
        return {pair: BYTES + i for i, pair in enumerate(self.pairs)}

    def encode(self, text: bytes) -> Tokens:
        """Return the tokens of a text, read from the left, a pair wherever there is one."""
        tokens: list[int] = []
        at, end, token_of = 0, len(text), self._token_of
        while at < end:
            pair = token_of.get(text[at] * BYTES + text[at + 1]) if at + 1 < end else None
            tokens.append(text[at] if pair is None else pair)
            at += 1 if pair is None else 2
        return np.array(tokens, np.int64)


@dataclass(frozen=True)
class Corpus:
    """The tokens of the base text and of every task."""

    vocabulary: Vocabulary
    tokens: dict[str, Tokens]

    @property
    def digest(self) -> str:
        """A hash of all tokens."""
        found = hashlib.sha256()
        for name, tokens in sorted(self.tokens.items()):
            found.update(name.encode() + tokens.tobytes())
        return found.hexdigest()[:16]


def load_corpus(vocabulary: int, text_bytes: int) -> Corpus:
    """Read ``text_bytes`` of the standard library and half as many of each task's package."""
    base = _text(Path(sysconfig.get_path("stdlib")), text_bytes, recursive=False)
    words = Vocabulary.of(base, vocabulary)
    texts = {BASE: base} | {
        task: _text(_folder(package), text_bytes // 2, recursive=True)
        for task, package in TASKS.items()
    }
    return Corpus(words, {name: words.encode(text) for name, text in texts.items()})


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed. Try: make bench-storage")
    return Path(spec.submodule_search_locations[0])


def _text(folder: Path, size: int, *, recursive: bool) -> bytes:
    parts, length = [], 0
    for path in _sources(folder, recursive=recursive):
        parts.append(path.read_bytes())
        length += len(parts[-1])
        if length >= size:
            break
    return b"".join(parts)[:size]


def _sources(folder: Path, *, recursive: bool) -> Iterator[Path]:
    found = folder.rglob("*.py") if recursive else folder.glob("*.py")
    return iter(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))
