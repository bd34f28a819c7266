"""The results as pictures: the talk's own history, and every history side by side.

Owns how they look. Must not measure anything. The same results give the same bytes.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.storage.histories import TALK
from benchmarks.storage.results import Results, Row

STYLE = {
    "svg.hashsalt": "theta",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLOURS = {
    "plain copy": "#c9c9c9",
    "file dedup": "#b4b4b4",
    "git-lfs": "#8c8c8c",
    "git-theta": "#c08457",
    "Xet": "#a3b3c2",
    "ZipNN": "#7f97ab",
    "BitX": "#4f6d87",
    "theta fast": "#2f9e62",
    "theta repacked": "#14663a",
    "order-0 bound": "#e0b43c",
}
# The talk's plot shows whole programs; the schemes beside them are in the table.
_TALK_LINES = ("git-lfs", "git-theta", "theta fast", "theta repacked")
_ALWAYS_WHOLE = "plain copy"
PER_LINE = 4
LABEL_GAP = 0.06
MB = 1e6


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every picture there are results for; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figures = {f"{row.name}.svg": _talk(row) for row in results.rows if row.name == TALK}
        names = [name for name in results.schemes if name != _ALWAYS_WHOLE]
        figures["histories.svg"] = _histories(results.rows, names)
        for name, figure in figures.items():
            told = (results.facts[fact] for fact in ("command", "date", "revision", "machine"))
            figure.supxlabel(" · ".join(told), x=0.01, ha="left", fontsize=6, color="#777777")
            figure.savefig(folder / name, metadata={"Date": None})
        return [folder / name for name in figures]


def _talk(row: Row) -> Figure:
    """Return cumulative megabytes after each commit, a line per program."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    lines = {
        name: [size / MB for size in accumulate(cost.total for cost in row.columns[name].costs)]
        for name in _TALK_LINES
        if name in row.columns and row.columns[name].costs
    }
    for name, sizes in lines.items():
        axes.plot(range(len(sizes)), sizes, marker="o", markersize=4, color=COLOURS[name])
    heights = _apart({name: sizes[-1] for name, sizes in lines.items()})
    for name, height in heights.items():
        place = (len(lines[name]) - 0.85, height)
        told = f"{name}, {lines[name][-1]:.0f} MB"
        axes.annotate(told, place, va="center", color=COLOURS[name], annotation_clip=False)
    labels = [commit.label.replace(", ", ",\n") for commit in row.commits]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.2, len(labels) + 1.0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("MB stored after the commit")
    axes.set_title(row.title.capitalize(), loc="left")
    return figure


def _apart(heights: dict[str, float]) -> dict[str, float]:
    """Move labels up until no two overlap."""
    gap, placed, last = LABEL_GAP * max(heights.values(), default=0), {}, float("-inf")
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        last = placed[name] = max(height, last + gap)
    return placed


def _histories(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Return a panel of bars per history: bytes per added commit in % of the plain file."""
    lines = -(-len(rows) // PER_LINE)
    figure = Figure(figsize=(3.2 * PER_LINE, 2.1 * lines), layout="constrained")
    panels = figure.subplots(lines, PER_LINE, squeeze=False).flatten()
    for axes, row in zip(panels, rows, strict=False):
        _bars(axes, row, names)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    figure.suptitle("Bytes stored per added commit, in % of the plain file", x=0.01, ha="left")
    return figure


def _bars(axes: Axes, row: Row, names: Sequence[str]) -> None:
    known = [(name, share) for name in names if (share := row.share(name)) is not None]
    places = range(len(known))
    shares = [100 * share for _, share in known]
    axes.barh(places, shares, color=[COLOURS[name] for name, _ in known], height=0.75)
    for place, share in zip(places, shares, strict=True):
        axes.text(share + 1, place, f"{share:.1f}", va="center", fontsize=7)
    axes.set_yticks(places, [name for name, _ in known], fontsize=7)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, 115)
    axes.invert_yaxis()
    axes.set_title(row.title, loc="left", fontsize=8)
