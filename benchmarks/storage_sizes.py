"""Stored size per commit of theta and its peers, on models really trained here.

    python -m benchmarks.storage_sizes [--quick] [--redraw] [--histories NAME…] [--schemes NAME…]

Trains a small transformer on source files of installed packages (kept under .benchmarks/, so that
a second run is quick), makes the histories of `benchmarks/storage/histories.py`, measures every
scheme of `benchmarks/storage/schemes/` on them, prints a Markdown report, and writes it with the
JSON beside it and the plots. ``--quick`` uses a tiny model: its numbers mean nothing; that and a
run of a part write below .benchmarks/ only.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.storage.checkpoints import QUICK, Checkpoints, Settings
from benchmarks.storage.columns import all_schemes
from benchmarks.storage.histories import build_histories
from benchmarks.storage.machine import facts
from benchmarks.storage.plot import draw
from benchmarks.storage.results import Results, measure
from benchmarks.storage.table import markdown
from benchmarks.storage.transformer import embedding_share, parameter_count

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".benchmarks"
FILE = "storage_sizes.json"
MAX_EMBEDDING = 0.25


def run(arguments: Sequence[str], cache: Path = CACHE) -> Results:
    """Train what is missing, measure, and write the files; return the results."""
    chosen = _parser().parse_args(arguments)
    partial = chosen.quick or chosen.histories or chosen.schemes
    out: Path = chosen.out or (cache / "results" if partial else ROOT / "benchmarks/results")
    plots: Path = chosen.plots or (out if partial else ROOT / "docs/explanation/storage")
    if chosen.redraw:
        results = Results.load(out / FILE)
    else:
        results = _measured(arguments, chosen, cache)
        results.save(out / FILE)
    (out / FILE).with_suffix(".md").write_text(markdown(results))
    _talk(f"wrote {out / FILE}, .md and {len(draw(results, plots))} plots")
    return results


def _measured(arguments: Sequence[str], chosen: argparse.Namespace, cache: Path) -> Results:
    begun = facts(list(arguments))
    at = Checkpoints.open(QUICK if chosen.quick else Settings(), cache / "storage")
    model = _model(at)
    schemes = [s for s in all_schemes(cache) if not chosen.schemes or s.name in chosen.schemes]
    histories = (
        history
        for history in build_histories(at)
        if not chosen.histories or history.name in chosen.histories
    )
    rows = measure(histories, schemes, _talk)
    about = {s.name: {"kind": s.kind, "about": s.about} for s in schemes}
    return Results(begun, model | _trained(at), about, rows)


def _model(at: Checkpoints) -> dict[str, object]:
    """Return the sizes of the model; too large an embedding ends the run."""
    base = at.model("base")
    share = embedding_share(base)
    if share > MAX_EMBEDDING:
        raise SystemExit(f"embedding and head are {share:.0%} of the parameters, too many")
    return {
        "parameters": parameter_count(base),
        "embedding and head": f"{share:.1%} of the parameters",
        "settings": repr(at.settings),
        "text": at.corpus.digest,
    }


def _trained(at: Checkpoints) -> dict[str, object]:
    """Return the losses and hashes of every training."""
    return {"nats per token": at.losses(), "sha256 of tensors": at.digests()}


def _talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tiny model, for tests")
    parser.add_argument("--histories", nargs="*", default=[], help="only these")
    parser.add_argument("--schemes", nargs="*", default=[], help="only these")
    parser.add_argument("--redraw", action="store_true", help="only report the last run again")
    parser.add_argument("--out", type=Path, help="where JSON and Markdown go")
    parser.add_argument("--plots", type=Path, help="where the plots go")
    return parser


if __name__ == "__main__":
    print(markdown(run(sys.argv[1:])))
