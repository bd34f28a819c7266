"""The scores as pictures: every rule, and what λ does.

Owns how they look. Must not measure anything. The same scores give the same bytes. The ground is
transparent and every colour is readable on white and on black.
"""

from pathlib import Path
from statistics import mean

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.speed.plot import INK, STYLE
from benchmarks.toys.scores import AVERAGE, BRANCHES, SHIFT, SPLIT, Scores

TITLES = {SPLIT: "Split classes", SHIFT: "Shifted inputs"}
BAR, DOT, STATISTICS = "#7f97ab", "#c08457", "#2f9e62"
COLOURS = ("#4f86c6", "#c08457")
# The rules that are told something of the data.
INFORMED = ("fisher", "regmean", "mats")


def draw(scores: Scores, folder: Path) -> list[Path]:
    """Write the pictures; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figures = {"rules.svg": _rules(scores), "lambda.svg": _lambdas(scores)}
        for name, figure in figures.items():
            told = (scores.facts[fact] for fact in ("command", "date", "revision", "machine"))
            figure.supxlabel(" · ".join(told), x=0.01, ha="left", fontsize=6)
            figure.savefig(folder / name, metadata={"Date": None}, transparent=True)
        return [folder / name for name in figures]


def _rules(scores: Scores) -> Figure:
    """Return a panel of bars per scenario: the mean over the seeds, and a dot for each."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, scenario in zip(panels, TITLES, strict=True):
        _bars(axes, scores, scenario)
    return figure


def _bars(axes: Axes, scores: Scores, scenario: str) -> None:
    found = {name: scores.merges[scenario][name] for name in (*BRANCHES, *scores.rules)}
    colours = [_colour(name) for name in found]
    axes.barh(range(len(found)), [mean(each) for each in found.values()], color=colours)
    for place, each in enumerate(found.values()):
        axes.plot(each, [place] * len(each), "o", markersize=2.5, color=DOT)
    axes.axvline(mean(found[AVERAGE]), color=INK, linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %")
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_title(TITLES[scenario], loc="left")


def _colour(name: str) -> str:
    if name in BRANCHES:
        return INK
    return STATISTICS if name in INFORMED else BAR


def _lambdas(scores: Scores) -> Figure:
    """Return a panel of lines per scenario: accuracy against λ."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, scenario in zip(figure.subplots(1, 2), TITLES, strict=True):
        for colour, (rule, found) in zip(COLOURS, scores.sweeps[scenario].items(), strict=False):
            heights = [mean(each) for each in found.values()]
            axes.plot([float(each) for each in found], heights, "o-", color=colour, label=rule)
        average = mean(scores.merges[scenario][AVERAGE])
        axes.axhline(average, color=INK, linewidth=0.7, linestyle=":", label=AVERAGE)
        axes.set_xlabel("λ")
        axes.set_ylabel("accuracy, %")
        axes.set_title(TITLES[scenario], loc="left")
        axes.legend(fontsize=7, frameon=False)
    return figure
