"""How long the command takes to start: ``theta --version``, and ``theta log`` of 1,000 commits.

    python -m benchmarks.startup [--commits 1000] [--runs 20]

Whole processes, the minimum and the median of their wall-clock times; ``python -c pass`` beside
them says what the interpreter alone takes on this machine. Targets are those of the design.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from theta.repo import Author, Details, Repo

ADA = Author("Ada <ada@example.org>")
TARGETS = {"--version": 0.060, "log": 0.200}


def make_history(folder: Path, commits: int) -> None:
    """Make a repository of so many commits in a line."""
    with Repo.init(folder) as repo:
        (folder / "config.json").write_text("{}\n")
        repo.add(["config.json"])
        for step in range(commits):
            details = Details(allow_empty=True, step=step, metrics={"val_loss": 1 / (step + 1)})
            repo.commit(f"step {step}", author=ADA, details=details)


def timed(command: list[str], folder: Path, runs: int) -> list[float]:
    """Run a command so many times after one warm-up; return the seconds of each."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main() -> None:
    """Measure and print one line per command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    theta = str(Path(sys.executable).parent / "theta")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_history(folder, arguments.commits)
        _report("python -c pass", timed([sys.executable, "-c", "pass"], folder, arguments.runs))
        for words in ("--version", "log", "log -n 5", "log --oneline", "status", "branch"):
            seconds = timed([theta, *words.split()], folder, arguments.runs)
            _report(f"theta {words}", seconds, TARGETS.get(words))


def _report(what: str, seconds: list[float], target: float | None = None) -> None:
    least, middle = min(seconds), statistics.median(seconds)
    against = "" if target is None else f"  target < {target * 1e3:.0f} ms"
    print(
        f"{what:<20} min {least * 1e3:6.1f} ms  median {middle * 1e3:6.1f} ms{against}", flush=True
    )


if __name__ == "__main__":
    main()
