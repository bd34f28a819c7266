"""Where the time of a commit goes, by stage: what ``theta commit --timings`` says of two models.

    python -m benchmarks.stages [--rounds 5] [--mib 512] [--hold GIB] [--dry]

The models of `benchmarks.cp_ratio`: a first commit, then a full fine-tune. Of the rounds the one of
the median time is kept. Written to benchmarks/results, unless ``--dry``. Linux only.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fixed_model import make_model, make_tuned
from benchmarks.held_memory import held_memory
from benchmarks.measured import THETA, about, facts_of, load, report
from benchmarks.options import options

STEPS = ("first commit", "full fine-tune")
Timings = dict[str, Any]


def _commit(folder: Path) -> Timings:
    command = [THETA, "commit", "-am", "step", "--timings", "--json"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    timings: Timings = json.loads(done.stdout)["timings"]
    return timings


def _round(root: Path, models: Sequence[Path]) -> list[Timings]:
    work = root / "work"
    work.mkdir()
    model = work / "model.safetensors"
    subprocess.run([THETA, "-q", "init"], cwd=work, check=True)
    found = []
    for source in models:
        model.unlink(missing_ok=True)
        os.link(source, model)
        subprocess.run([THETA, "-q", "add", model.name], cwd=work, check=True)
        os.sync()
        found.append(_commit(work))
    shutil.rmtree(work)
    return found


def run(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Measure; return the report as Markdown and as values."""
    chosen = options(__doc__, rounds=5).parse_args(arguments)
    told = facts_of("benchmarks.stages", arguments)
    kept: dict[str, Timings] = {}
    for dtype in ("BF16", "F32"):
        with held_memory(chosen.hold), tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            root = Path(name)
            models = [root / "first.safetensors", root / "tuned.safetensors"]
            make_model(models[0], dtype, chosen.mib)
            make_tuned(models[0], models[1], dtype)
            rounds = [_round(root, models) for _ in range(chosen.rounds)]
        for number, step in enumerate(STEPS):
            ordered = sorted((each[number] for each in rounds), key=lambda t: t["wall"])
            kept[f"{dtype}, {step}"] = ordered[len(ordered) // 2]
    told |= {"load at end": load(), "rounds": str(chosen.rounds), "model": f"{chosen.mib} MiB"}
    told["held meanwhile"] = f"{chosen.hold:g} GiB"
    values = {"facts": told, "timings": kept}
    return about("Stages of a commit", told) + "\n" + table(values), values


def table(values: dict[str, Any]) -> str:
    """Return CPU seconds by stage as Markdown, and what passed on the wall."""
    timings: dict[str, Timings] = values["timings"]
    names = list(dict.fromkeys(s["stage"] for each in timings.values() for s in each["stages"]))
    lines = [
        f"| stage | {' | '.join(timings)} |",
        "| --- " * (len(timings) + 1) + "|",
    ]
    for name in names:
        cells = []
        for each in timings.values():
            stages = {stage["stage"]: stage for stage in each["stages"]}
            cells.append(f"{stages[name]['cpu']:.2f}" if name in stages else "–")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, key in (("CPU in all", "cpu"), ("wall clock", "wall")):
        cells = [f"{each[key]:.2f}" for each in timings.values()]
        lines.append(f"| **{name}** | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    report("stages", run)
