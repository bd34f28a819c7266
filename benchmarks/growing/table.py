"""The growth as Markdown.

Owns the wording and the columns. Must not measure anything.
"""

from benchmarks.growing.points import Curve, Growth
from benchmarks.measured import about
from benchmarks.speed.table import number, warning

MIB = 1 << 20


def page_part(growth: Growth) -> str:
    """Return what stands on the page: facts and a line per curve."""
    names = ("date", "machine", "memory", "kernel", "file system", "revision", "command")
    facts = "\n".join(f"- {name}: {growth.facts[name]}" for name in names)
    parts = (warning(growth.facts), facts, _slopes(growth))
    return "\n\n".join(part for part in parts if part) + "\n"


def report(growth: Growth) -> str:
    """Return the page's table and every point."""
    lines = ["| axis | place | operation | seconds | peak RssAnon, MiB |", "|" + " --- |" * 5]
    for point in growth.points:
        peak = "–" if point.anonymous is None else f"{point.anonymous / MIB:.0f}"
        cells = [point.axis, f"{point.place:,.0f}", point.operation, f"{point.seconds:.4f}", peak]
        lines.append(f"| {' | '.join(cells)} |")
    points = "\n".join(lines)
    return f"{about('How the cost grows', growth.facts)}\n{_slopes(growth)}\n\n{points}\n"


def _slopes(growth: Growth) -> str:
    head = [
        "axis",
        "from",
        "to",
        "operation",
        "seconds, first",
        "seconds, last",
        "slope",
        "last slope",
        "peak RssAnon, MiB",
    ]
    rows = [head, ["---"] * len(head), *(_row(curve) for curve in growth.curves())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _row(curve: Curve) -> list[str]:
    first, last = curve.points[0], curve.points[-1]
    peaks = [point.anonymous for point in curve.points if point.anonymous is not None]
    return [
        curve.axis,
        _place(first.place),
        _place(last.place),
        curve.operation,
        _seconds(first.seconds),
        _seconds(last.seconds),
        f"{curve.slope:.2f}",
        f"{curve.last_slope:.2f}",
        f"{peaks[0] / MIB:.0f} to {peaks[-1] / MIB:.0f}" if peaks else "–",
    ]


def _place(place: float) -> str:
    return f"{place / 1e9:.2f} GB" if place > 1e7 else f"{place:,.0f}"


def _seconds(value: float) -> str:
    return number(value) if value >= 1 else f"{value:.3f}"
