"""How theta's cost grows with the model's size, the history, the tensors and the branches.

    python -m benchmarks.growth [--quick] [--axes NAME…] [--redraw] [--folder DIR]

Calls of the Python API, each on a repository opened for it. Writes benchmarks/results/growth.json
and .md, the log-log plot, and the table of docs/explanation/performance.md. ``--quick`` uses small
places: its numbers mean nothing; that and a run of some axes write below .benchmarks/ only.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.growing import branches, histories, sizes, tensors
from benchmarks.growing.plot import draw
from benchmarks.growing.points import Growth
from benchmarks.growing.table import page_part, report
from benchmarks.page import put
from benchmarks.peers import CACHE, PAGE, PLOTS, ROOT
from benchmarks.speed.surroundings import surroundings

FILE = "growth.json"
AXES = {
    sizes: sizes.SHARDS,
    histories: histories.COMMITS,
    tensors: tensors.TENSORS,
    branches: branches.BRANCHES,
}


def run(arguments: Sequence[str], cache: Path = CACHE) -> Growth:
    """Measure, and write the files; return the points."""
    chosen = _parser().parse_args(arguments)
    partial = chosen.quick or chosen.axes
    out = cache / "results" if partial else ROOT / "benchmarks/results"
    if chosen.redraw:
        growth = Growth.load(out / FILE)
    else:
        growth = _measured(arguments, chosen, cache)
        growth.save(out / FILE)
    (out / FILE).with_suffix(".md").write_text(report(growth))
    draw(growth, out if partial else PLOTS)
    if not partial:
        put(PAGE, "growth", page_part(growth))
    return growth


def _measured(arguments: Sequence[str], chosen: argparse.Namespace, cache: Path) -> Growth:
    cache.mkdir(parents=True, exist_ok=True)
    place = chosen.folder or cache
    growth = Growth(surroundings("benchmarks.growth", arguments, place))
    _warm_up(place)
    for axis, places in AXES.items():
        if chosen.axes and axis.AXIS not in chosen.axes:
            continue
        growth.axes[axis.AXIS] = axis.COUNTS
        with tempfile.TemporaryDirectory(dir=place, prefix="growth-") as name:
            for point in axis.measure(Path(name), axis.QUICK if chosen.quick else places):
                growth.points.append(point)
                told = f"{point.axis} {point.place:,.0f}, {point.operation}: {point.seconds:.3f} s"
                print(told, file=sys.stderr, flush=True)
    return growth


def _warm_up(place: Path) -> None:
    """Import everything that a first call imports."""
    with tempfile.TemporaryDirectory(dir=place, prefix="growth-") as name:
        list(tensors.measure(Path(name), tensors.QUICK))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small places, for tests")
    names = [axis.AXIS for axis in AXES]
    parser.add_argument("--axes", nargs="*", default=[], choices=names, help="only these")
    parser.add_argument("--redraw", action="store_true", help="only report the last run again")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    return parser


if __name__ == "__main__":
    print(report(run(sys.argv[1:])))
