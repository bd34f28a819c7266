"""The points of a growth curve, and its slope.

Owns these values, their JSON and the fit. Must not measure anything.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Point:
    """The least seconds of some runs of an operation at a place of an axis.

    ``anonymous`` is the peak of RssAnon in bytes, where it was sampled.
    """

    axis: str
    place: float
    operation: str
    seconds: float
    anonymous: int | None = None


@dataclass(frozen=True)
class Curve:
    """The points of one operation on one axis, from the least place to the greatest."""

    axis: str
    operation: str
    points: tuple[Point, ...]

    @property
    def slope(self) -> float:
        """The exponent p of seconds ~ place^p, by least squares on the logarithms."""
        places, seconds = ([p.place for p in self.points], [p.seconds for p in self.points])
        return float(np.polyfit(np.log(places), np.log(seconds), 1)[0])

    @property
    def last_slope(self) -> float:
        """The same of the last two points alone, where fixed costs matter least."""
        (before, after) = self.points[-2:]
        rise = np.log(after.seconds / before.seconds)
        return float(rise / np.log(after.place / before.place))


@dataclass
class Growth:
    """A whole run. ``axes`` tells what a place of each axis counts, in order."""

    facts: dict[str, str]
    axes: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def curves(self) -> Iterator[Curve]:
        """Yield every curve of at least two points, in the order of measuring."""
        names = dict.fromkeys((point.axis, point.operation) for point in self.points)
        for axis, operation in names:
            mine = [p for p in self.points if (p.axis, p.operation) == (axis, operation)]
            if len(mine) > 1:
                yield Curve(axis, operation, tuple(sorted(mine, key=lambda point: point.place)))

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Growth":
        """Read what `save` wrote."""
        found = json.loads(path.read_text())
        points = [Point(**point) for point in found["points"]]
        return cls(found["facts"], found["axes"], points)
