"""The graph of commits beside the log, drawn in columns as git does.

Owns the drawing. Must not know what stands beside it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

C = TypeVar("C")

Paint = Callable[[int, str], str]


def draw(
    commits: Iterable[tuple[C, tuple[C, ...]]], paint: Paint
) -> Iterator[tuple[C | None, str]]:
    """Yield rows, each with the commit it belongs to or None for a row of edges.

    Commits come children before parents. ``paint`` colours a piece by its column.
    """
    lanes: list[C] = []
    for commit, parents in commits:
        if commit not in lanes:
            lanes.append(commit)
        at = lanes.index(commit)
        yield commit, _row(len(lanes), paint, {at: "*"})
        if not parents:
            lanes.pop(at)
            if at < len(lanes):
                yield None, _shift(at, len(lanes), paint)
            continue
        lanes[at] = parents[0]
        for extra in parents[1:]:
            if extra in lanes:
                yield None, _join(at, lanes.index(extra), len(lanes), paint)
            else:
                lanes.insert(at + 1, extra)
                yield None, _fork(at, len(lanes), paint)
        twins = [index for index, lane in enumerate(lanes) if lane == parents[0]]
        if len(twins) > 1:
            yield None, _join(twins[0], twins[1], len(lanes), paint)
            lanes.pop(twins[1])


def _row(count: int, paint: Paint, special: dict[int, str]) -> str:
    return " ".join(paint(lane, special.get(lane, "|")) for lane in range(count))


def _fork(at: int, count: int, paint: Paint) -> str:
    """Draw a lane that opens to the right of ``at``."""
    left = "".join(paint(lane, "|") + " " for lane in range(at))
    right = "".join(" " + paint(lane, "\\") for lane in range(at + 2, count))
    return left + paint(at, "|") + paint(at + 1, "\\") + right


def _join(left: int, right: int, count: int, paint: Paint) -> str:
    """Draw lane ``right`` running into lane ``left`` (or the other way round)."""
    low, high = min(left, right), max(left, right)
    head = "".join(paint(lane, "|") + " " for lane in range(low))
    middle = "".join(paint(high, "_") + paint(lane, "|") for lane in range(low + 1, high))
    tail = "".join(" " + paint(lane, "/") for lane in range(high + 1, count))
    return head + paint(low, "|") + middle + paint(high, "/") + tail


def _shift(at: int, count: int, paint: Paint) -> str:
    """Draw the lanes from ``at`` on moving one place to the left."""
    head = "".join(paint(lane, "|") + " " for lane in range(at))
    return (head + " ".join(" " + paint(lane, "/") for lane in range(at, count))).rstrip()
