"""The results as a picture: seconds of every program, a panel for each model.

Owns how it looks. Must not measure anything. The same results give the same bytes. The ground is
transparent and every colour is readable on white and on black.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.speed.operations import Operation
from benchmarks.speed.results import Results

INK = "#808080"
STYLE = {
    "svg.hashsalt": "theta",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
COLOURS = {
    "cp + fsync": INK,
    "read": INK,
    "sha256sum": INK,
    "theta": "#2f9e62",
    "theta API": "#5cc98c",
    "git-lfs": "#4f86c6",
    "DVC": "#8a6fc0",
    "Oxen": "#c0699a",
    "hf_xet": "#d0a52c",
    "borg": "#3aa6a6",
    "restic": "#7f97ab",
    "git-theta": "#c08457",
}
MARKS = {"cp + fsync": "|", "read": "|", "sha256sum": "x", "theta": "D", "theta API": "d"}
FILE = "peers.svg"


def draw(results: Results, folder: Path) -> Path:
    """Write the picture; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        height = 0.8 + 2.3 * max(1, len(results.models))
        figure = Figure(figsize=(8.5, height), layout="constrained")
        panels = figure.subplots(max(1, len(results.models)), 1, squeeze=False, sharex=True)
        for axes, model in zip(panels[:, 0], results.models, strict=False):
            _panel(axes, results, model)
        panels[-1, 0].set_xlabel("seconds until everything is on the disk, median")
        marks, names = _legend(panels[:, 0])
        figure.legend(marks, names, loc="outside right upper", frameon=False, fontsize=8)
        told = (results.facts[fact] for fact in ("command", "date", "revision", "machine"))
        figure.supxlabel(" · ".join(told), x=0.01, ha="left", fontsize=6)
        figure.savefig(folder / FILE, metadata={"Date": None}, transparent=True)
    return folder / FILE


def _panel(axes: Axes, results: Results, model: str) -> None:
    for name in results.contenders:
        points = [
            (spread.middle, place)
            for place, operation in enumerate(Operation)
            if (spread := results.seconds(model, name, operation)) is not None
        ]
        if points:
            across, down = zip(*points, strict=True)
            style = {"color": COLOURS.get(name, INK), "marker": MARKS.get(name, "o")}
            size = 7 if name == "theta" else 5
            axes.plot(across, down, linestyle="none", markersize=size, label=name, **style)
    axes.set_xscale("log")
    axes.set_yticks(range(len(Operation)), list(Operation))
    axes.invert_yaxis()
    axes.grid(axis="both", color=INK, alpha=0.2, linewidth=0.5)
    axes.set_title(f"{model}: {results.models[model]['about']}", loc="left", fontsize=9)


def _legend(panels: list[Axes]) -> tuple[list[object], list[str]]:
    found: dict[str, object] = {}
    for axes in panels:
        marks, names = axes.get_legend_handles_labels()
        found = dict(zip(names, marks, strict=True)) | found
    return list(found.values()), list(found)
