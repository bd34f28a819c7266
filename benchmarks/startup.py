"""How long the command takes to start: ``theta --version``, and ``theta log`` of 1,000 commits.

    python -m benchmarks.startup [--commits 1000] [--runs 20] [--dry]

Whole processes, the minimum and the median of their wall-clock times; ``python -c pass`` beside
them says what the interpreter alone takes on this machine. Targets are those of the design. Written
to benchmarks/results, unless ``--dry``.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measured import THETA, about, facts_of, load, save
from theta.repo import Author, Details, Repo

ADA = Author("Ada <ada@example.org>")
TARGETS = {"--version": 0.060, "log": 0.200}
# It finds nothing to commit, and ends with 1.
UNCHANGED = "commit -m same"
COMMANDS = ("--version", "log", "log -n 5", "log --oneline", "status", "branch", "show", UNCHANGED)


def make_history(folder: Path, commits: int) -> None:
    """Make a repository of so many commits in a line."""
    with Repo.init(folder) as repo:
        (folder / "config.json").write_text("{}\n")
        repo.add(["config.json"])
        for step in range(commits):
            details = Details(allow_empty=True, step=step, metrics={"val_loss": 1 / (step + 1)})
            repo.commit(f"step {step}", author=ADA, details=details)


def timed(command: list[str], folder: Path, runs: int, *, code: int = 0) -> list[float]:
    """Run a command that ends with ``code`` so many times after one warm-up; return the seconds."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True)
        seconds.append(time.perf_counter() - start)
        if done.returncode != code:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return seconds[1:]


def main() -> None:
    """Measure, print one line per command, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--dry", action="store_true", help="print only, keep no result")
    arguments = parser.parse_args()
    told = facts_of("benchmarks.startup", sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_history(folder, arguments.commits)
        seconds = {"python -c pass": timed([sys.executable, "-c", "pass"], folder, arguments.runs)}
        for words in COMMANDS:
            code = 1 if words == UNCHANGED else 0
            command = [THETA, *words.split()]
            seconds[f"theta {words}"] = timed(command, folder, arguments.runs, code=code)
    told |= {"load at end": load(), "commits": str(arguments.commits), "runs": str(arguments.runs)}
    text = _report(told, seconds)
    print(text)
    if not arguments.dry:
        save("startup", text, {"facts": told, "seconds": seconds})


def _report(told: dict[str, str], seconds: dict[str, list[float]]) -> str:
    lines = [
        about("How long the command takes to start", told),
        "| command | minimum, ms | median, ms | target for the minimum |",
        "| --- | --- | --- | --- |",
    ]
    for name, values in seconds.items():
        target = TARGETS.get(name.removeprefix("theta "))
        against = "" if target is None else f"< {target * 1e3:.0f} ms"
        least, middle = min(values) * 1e3, statistics.median(values) * 1e3
        lines.append(f"| `{name}` | {least:.1f} | {middle:.1f} | {against} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
