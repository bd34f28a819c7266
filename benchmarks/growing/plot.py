"""The growth as a picture: a log-log panel for each axis.

Owns how it looks. Must not measure anything. The same points give the same bytes.
"""

from itertools import cycle
from pathlib import Path

import matplotlib as mpl

from benchmarks.growing.points import Curve, Growth
from benchmarks.speed.plot import INK, STYLE

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#2f9e62", "#4f86c6", "#c08457", "#8a6fc0", "#d0a52c", "#3aa6a6")
MARKS = "osD^v*"
FILE = "growth.svg"


def draw(growth: Growth, folder: Path) -> Path:
    """Write the picture; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 8), layout="constrained")
        panels = figure.subplots(2, 2).flatten()
        curves = list(growth.curves())
        for axes, name in zip(panels, growth.axes, strict=False):
            _panel(axes, [c for c in curves if c.axis == name], growth.axes[name])
        for axes in panels[len(growth.axes) :]:
            axes.set_visible(False)
        told = (growth.facts[fact] for fact in ("command", "date", "revision", "machine"))
        figure.supxlabel(" · ".join(told), x=0.01, ha="left", fontsize=6)
        figure.savefig(folder / FILE, metadata={"Date": None}, transparent=True)
    return folder / FILE


def _panel(axes: Axes, curves: list[Curve], counts: str) -> None:
    for curve, colour, mark in zip(curves, cycle(COLOURS), cycle(MARKS), strict=False):
        across = [point.place for point in curve.points]
        down = [point.seconds for point in curve.points]
        told = f"{curve.operation}: slope {curve.slope:.2f}"
        axes.loglog(across, down, color=colour, marker=mark, markersize=4, label=told)
    axes.set_xlabel(counts)
    axes.set_ylabel("seconds")
    axes.grid(color=INK, alpha=0.2, linewidth=0.5)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2}
    axes.legend(fontsize=7, frameon=False, **below)
