"""What was measured: bytes per commit by history and scheme, and the figures made of them.

Owns running schemes over histories, the shape of the JSON file, and ratios. Must not know how a
table or a plot looks.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.storage.contents import is_embedding, read_contents
from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Scheme, Unavailable

PARTS = ("total", "embedding", "rest")


@dataclass(frozen=True)
class Commit:
    """A commit of a history: plain bytes of its file, of its embedding, of what changed."""

    label: str
    plain_bytes: int
    embedding_bytes: int
    changed_bytes: int


@dataclass(frozen=True)
class Column:
    """What a scheme needs for the commits of one history; ``failure`` says why there are none."""

    costs: tuple[Cost, ...] = ()
    note: str = ""
    failure: str = ""

    def sizes(self, part: str) -> tuple[int, ...] | None:
        """Return the bytes per commit of a part, None where the scheme does not know it."""
        found = [getattr(cost, part) for cost in self.costs]
        return None if not found or None in found else tuple(found)


@dataclass(frozen=True)
class Row:
    """A history with everything that was measured on it, by the name of the scheme."""

    name: str
    title: str
    commits: tuple[Commit, ...]
    columns: dict[str, Column] = field(default_factory=dict)

    def plain(self, part: str) -> list[int]:
        """Return the plain bytes per commit of a part."""
        embedding = [commit.embedding_bytes for commit in self.commits]
        whole = [commit.plain_bytes for commit in self.commits]
        rest = [all_ - part_ for all_, part_ in zip(whole, embedding, strict=True)]
        return {"total": whole, "embedding": embedding, "rest": rest}[part]

    def share(self, scheme: str, part: str = "total") -> float | None:
        """Return stored bytes over plain bytes of the commits that follow the first.

        Of a history of one commit, of that one. None where the scheme has no such figure.
        """
        column = self.columns.get(scheme)
        sizes = None if column is None else column.sizes(part)
        if sizes is None or len(sizes) < len(self.commits):
            return None
        first = 0 if len(self.commits) == 1 else 1
        return sum(sizes[first:]) / sum(self.plain(part)[first:])

    def ratio(self, scheme: str, other: str, part: str = "total") -> float | None:
        """Return the share of one scheme over that of another."""
        one, two = self.share(scheme, part), self.share(other, part)
        return None if one is None or not two else one / two

    def of_changed(self, scheme: str) -> float | None:
        """Return stored bytes over plain bytes of the tensors that changed after the first."""
        share = self.share(scheme)
        changed = sum(commit.changed_bytes for commit in self.commits[1:])
        if share is None or not changed:
            return None
        return share * sum(self.plain("total")[1:]) / changed


@dataclass(frozen=True)
class Results:
    """One run: facts, the model, schemes and rows."""

    facts: dict[str, str]
    model: dict[str, Any]
    schemes: dict[str, dict[str, str]]
    rows: tuple[Row, ...]

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read the JSON file."""
        found = json.loads(path.read_text())
        rows = tuple(_row(row) for row in found["rows"])
        return cls(found["facts"], found["model"], found["schemes"], rows)


def measure(
    histories: Iterable[History], schemes: Sequence[Scheme], tell: Callable[[str], None]
) -> tuple[Row, ...]:
    """Run every scheme over every history; what fails is kept with its message."""
    rows = []
    for history in histories:
        row = Row(history.name, history.title, _commits(history))
        for scheme in schemes:
            if scheme.only in {None, history.name}:
                begun = time.monotonic()
                row.columns[scheme.name] = _column(scheme, history)
                tell(f"{history.name}: {scheme.name} in {time.monotonic() - begun:.1f} s")
        rows.append(row)
    return tuple(rows)


def _column(scheme: Scheme, history: History) -> Column:
    try:
        measured = scheme.measure(history)
    except Unavailable as failure:
        return Column(failure=str(failure))
    return Column(measured.costs, measured.note)


def _commits(history: History) -> tuple[Commit, ...]:
    return tuple(_commit(step.label, step.path, history.parent(step)) for step in history.steps)


def _commit(label: str, path: Path, parent: Path | None) -> Commit:
    tensors = read_contents(path).tensors
    bases = {} if parent is None else read_contents(parent).tensors
    embedding = changed = 0
    for name, array in tensors.items():
        embedding += array.plain.size if is_embedding(name) else 0
        base = bases.get(name)
        same = base is not None and array.fits(base) and (array.plain == base.plain).all()
        changed += 0 if same else array.plain.size
    return Commit(label, path.stat().st_size, embedding, changed)


def _row(found: dict[str, Any]) -> Row:
    columns = {
        name: Column(
            tuple(Cost(**cost) for cost in column["costs"]), column["note"], column["failure"]
        )
        for name, column in found["columns"].items()
    }
    commits = tuple(Commit(**commit) for commit in found["commits"])
    return Row(found["name"], found["title"], commits, columns)
