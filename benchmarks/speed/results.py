"""What was measured, and what follows from it: medians, ratios, spread.

Owns these values and their JSON. Must not measure anything.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.operations import Operation

LIMIT = "cp + fsync"


@dataclass(frozen=True)
class Sample:
    """One operation in one round: seconds until the command returned, and until all was synced.

    ``stored`` is what the disk holds for the store after it, None for programs that keep nothing.
    """

    model: str
    contender: str
    operation: str
    round: int
    wall: float
    durable: float
    cpu: float
    stored: int | None


@dataclass(frozen=True)
class Failure:
    """What went wrong, in the program's own words.

    Model and operation are empty where the program could not be installed. After a last failure
    the program was asked nothing more.
    """

    model: str
    contender: str
    operation: str
    message: str
    is_last: bool = False

    def empties(self, operation: Operation) -> bool:
        """Say whether an operation has no figure because of this."""
        order = list(Operation)
        if not self.operation:
            return True
        place, mine = order.index(operation), order.index(Operation(self.operation))
        return place == mine or (self.is_last and place > mine)


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, the least and the greatest."""

    middle: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of some values, at least one."""
        return cls(median(values), min(values), max(values))


@dataclass
class Results:
    """A whole run. ``models`` and ``contenders`` tell what the names stand for, in order."""

    facts: dict[str, str]
    models: dict[str, dict[str, Any]]
    contenders: dict[str, dict[str, Any]]
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def of(self, model: str, contender: str, operation: str) -> list[Sample]:
        """Return the samples of a cell, in the order of rounds."""
        return [
            sample
            for sample in self.samples
            if (sample.model, sample.contender, sample.operation) == (model, contender, operation)
        ]

    def seconds(self, model: str, contender: str, operation: str) -> Spread | None:
        """Return the seconds until everything was on the disk."""
        found = self.of(model, contender, operation)
        return Spread.of([sample.durable for sample in found]) if found else None

    def ratio(self, model: str, contender: str, other: str, operation: str) -> Spread | None:
        """Return how many times as long one takes as another: of medians, and of each round."""
        mine, base = (self.of(model, name, operation) for name in (contender, other))
        rounds = {sample.round: sample.durable for sample in base}
        shared = [s.durable / rounds[s.round] for s in mine if s.round in rounds]
        if not shared:
            return None
        middle = median(s.durable for s in mine) / median(rounds.values())
        return Spread(middle, min(shared), max(shared))

    def fastest_peer(self, model: str, operation: str, clock: str) -> str | None:
        """Return the peer with the least median, of those that are timed in one way."""
        peers = [
            name
            for name, told in self.contenders.items()
            if (told["kind"], told["clock"]) == ("peer", clock)
        ]
        found = [
            (spread.middle, name)
            for name in peers
            if (spread := self.seconds(model, name, operation)) is not None
        ]
        return min(found)[1] if found else None

    def stored(self, model: str, contender: str, operation: Operation) -> int | None:
        """Return the bytes of the store after a commit, the median of the rounds."""
        sizes = [s.stored for s in self.of(model, contender, operation) if s.stored is not None]
        return round(median(sizes)) if sizes else None

    def failed(self, model: str, contender: str, operation: Operation) -> bool:
        """Say whether a cell is empty because the program failed."""
        return any(
            failure.contender == contender
            and failure.model in ("", model)
            and failure.empties(operation)
            for failure in self.failures
        )

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        found = json.loads(path.read_text())
        return cls(
            found["facts"],
            found["models"],
            found["contenders"],
            [Sample(**sample) for sample in found["samples"]],
            [Failure(**failure) for failure in found["failures"]],
        )
