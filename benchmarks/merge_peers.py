"""Merging two fine-tunes of a model, beside mergekit: time, CPU time and memory.

    python -m benchmarks.merge_peers [--rounds 3] [--strategies linear ties] [--layers 16]
                                     [--shards 1] [--hold GIB] [--folder DIR] [--alone]
                                     [--keep-as NAME] [--dry]

Makes a Llama of 271 M parameters (542 MB in bf16) and two fine-tunes of it. In one, every tensor
conflicts; in another pair, tensors of 5 % of the bytes do. A round merges by theta (``theta merge``
in a repository that has the three models, to the commit and the written file) and by mergekit
(``mergekit-yaml``, to the written file), one after the other; theta's merge is taken back by
``theta undo`` and ``theta gc --now``, so that the next one has all to do. Whole processes. mergekit
0.1.5 is installed from PyPI on first use, in an environment of its own. ``--hold`` keeps that much
memory occupied, for both: see `benchmarks.held_memory`. Needs 6 GB of disk. Linux only.

Where few tensors conflict, theta writes only what does on a file system with reflinks (``--folder``
on XFS or Btrfs), and on any other the shards that hold it (``--shards``); ``--alone`` leaves
mergekit out where only that is asked, ``--keep-as`` names the result.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.held_memory import held_memory
from benchmarks.measured import THETA, about, load, report
from benchmarks.merging.llama import Llama
from benchmarks.speed.programs import Programs
from benchmarks.speed.surroundings import surroundings
from benchmarks.watched import Watched, watch

PEERS = Path(".benchmarks/peers")
MERGEKIT = ("torch==2.13.0", "mergekit==0.1.5")
FEW = 0.05
THETA_STRATEGIES = {"linear": "linear", "ties": "ties density=0.2"}
# The most of mergekit's CPU seconds that the issue allows.
MOST_CPU = {"linear": 1 / 3, "ties": 1 / 4}
MOST_MEMORY = 400e6
FLAGS = ("--no-write-model-card", "--copy-tokenizer", "--allow-crimes")


@dataclass
class Row:
    """One merge in every round."""

    strategy: str
    tool: str
    share: float
    runs: list[Watched] = field(default_factory=list)

    def of(self, name: str) -> float:
        """Return the median of a column."""
        return median(getattr(run, name) for run in self.runs)

    def line(self) -> str:
        """Return the line of the table."""
        walls = [run.wall for run in self.runs]
        return (
            f"| {self.strategy} | {self.share:.0%} | {self.tool} | {self.of('wall'):.2f} "
            f"({min(walls):.2f} – {max(walls):.2f}) | {self.of('cpu'):.2f} "
            f"| {self.of('anonymous') / 1e6:.0f} |"
        )


class Bench:
    """The models, a repository for each share, and what to run."""

    def __init__(self, root: Path, mergekit: Path, model: Llama) -> None:
        self.root, self.mergekit = root, mergekit
        model.write(root / "base")
        for name, share in (("all", 1.0), ("few", FEW)):
            for side in (1, 2):
                model.write(root / f"{name}{side}", side, share)
            self._repository(name)

    def _repository(self, name: str) -> None:
        work = self.root / f"repository-{name}"
        work.mkdir()
        self._put("base", work)
        self._theta(work, "init")
        self._theta(work, "add", *sorted(file.name for file in work.iterdir() if file.is_file()))
        self._theta(work, "commit", "-m", "base")
        self._theta(work, "switch", "-c", "theirs")
        self._put(f"{name}2", work)
        self._theta(work, "commit", "-am", "theirs")
        self._theta(work, "switch", "main")
        self._put(f"{name}1", work)
        self._theta(work, "commit", "-am", "ours")

    def _put(self, model: str, work: Path) -> None:
        for file in (self.root / model).iterdir():
            shutil.copyfile(file, work / file.name)

    def _theta(self, work: Path, *arguments: str) -> None:
        subprocess.run([THETA, "-q", *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL)

    def theta(self, strategy: str, name: str) -> Watched:
        """Merge by theta, and take it back, with all that it stored."""
        work = self.root / f"repository-{name}"
        chosen = THETA_STRATEGIES[strategy]
        taken = watch([THETA, "-q", "merge", "theirs", "-s", chosen, "-m", "merged"], work)
        self._theta(work, "undo")
        self._theta(work, "gc", "--now")
        return taken

    def peer(self, strategy: str, name: str) -> Watched:
        """Merge by mergekit, and remove what it wrote."""
        recipe, out = self.root / "recipe.yml", self.root / "merged"
        recipe.write_text(json.dumps(self._recipe(strategy, name)))
        taken = watch([str(self.mergekit), str(recipe), str(out), *FLAGS], self.root)
        shutil.rmtree(out)
        return taken

    def _recipe(self, strategy: str, name: str) -> dict[str, Any]:
        parameters = {"weight": 0.5} | ({"density": 0.2} if strategy == "ties" else {})
        models = [
            {"model": str(self.root / f"{name}{side}"), "parameters": parameters} for side in (1, 2)
        ]
        recipe = {"merge_method": strategy, "models": models, "dtype": "bfloat16"}
        return recipe | ({"base_model": str(self.root / "base")} if strategy == "ties" else {})


def run(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Measure; return the report as Markdown and as values."""
    chosen = _parser().parse_args(arguments)
    told = surroundings("benchmarks.merge_peers", arguments, chosen.folder or Path("/tmp"))
    mergekit = Programs(PEERS.resolve()).python("mergekit", *MERGEKIT) / "mergekit-yaml"
    rows = [
        Row(strategy, tool, share)
        for strategy in chosen.strategies
        for tool, share in (("theta", 1.0), ("mergekit", 1.0), ("theta", FEW))
        if tool == "theta" or not chosen.alone
    ]
    with (
        held_memory(chosen.hold),
        tempfile.TemporaryDirectory(dir=chosen.folder, prefix="theta-merge-") as name,
    ):
        bench = Bench(Path(name), mergekit, Llama(layers=chosen.layers, shards=chosen.shards))
        files = list((Path(name) / "base").glob("*.safetensors"))
        size = sum(file.stat().st_size for file in files)
        for _ in range(chosen.rounds):
            for row in rows:
                tool = bench.theta if row.tool == "theta" else bench.peer
                row.runs.append(tool(row.strategy, "all" if row.share == 1.0 else "few"))
                print(row.line(), file=sys.stderr, flush=True)
    shards = f" in {chosen.shards} shards" if chosen.shards > 1 else ""
    told["model"] = f"{size / 1e6:,.0f} MB of bf16{shards}"
    told |= {"load at end": load(), "rounds": str(chosen.rounds), "peer": MERGEKIT[-1]}
    told["held meanwhile"] = f"{chosen.hold:g} GiB"
    return _report(told, rows), {"facts": told, "rows": [_values(row) for row in rows]}


def _values(row: Row) -> dict[str, Any]:
    runs = [[run.wall, run.cpu, run.anonymous] for run in row.runs]
    return {"strategy": row.strategy, "tool": row.tool, "share": row.share, "runs": runs}


def _report(told: dict[str, str], rows: Sequence[Row]) -> str:
    lines = [
        about("Merging beside mergekit", told),
        "Medians (least – greatest) of whole processes.\n",
        "| strategy | conflicts | by | wall, s | CPU, s | peak anonymous, MB |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row.line() for row in rows),
        "",
    ]
    for strategy in dict.fromkeys(row.strategy for row in rows):
        ours, *theirs, few = (row for row in rows if row.strategy == strategy)
        cpu = "".join(
            f"{ours.of('cpu') / peer.of('cpu'):.3f} of mergekit's CPU seconds "
            f"(at most {MOST_CPU[strategy]:.3f} wanted); "
            for peer in theirs
        )
        lines.append(
            f"- {strategy}: {cpu}{ours.of('anonymous') / 1e6:.0f} MB "
            f"(at most {MOST_MEMORY / 1e6:.0f}); where {FEW:.0%} conflicts "
            f"{few.of('wall') / ours.of('wall'):.3f} of the time of all (at most 0.1)"
        )
    return "\n".join([*lines, ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16, help="16 make 542 MB")
    parser.add_argument("--shards", type=int, default=1, help="files of the model")
    parser.add_argument("--strategies", nargs="+", default=["linear", "ties"])
    parser.add_argument("--hold", type=float, default=0, help="GiB of memory to occupy")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    parser.add_argument("--alone", action="store_true", help="without mergekit")
    parser.add_argument("--keep-as", default="merge_peers", help="name of the result")
    parser.add_argument("--dry", action="store_true", help="print only, keep no result")
    return parser


if __name__ == "__main__":
    report(_parser().parse_args().keep_as, run)
