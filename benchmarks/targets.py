"""The rows of the design's target table beside what was measured, for the page about speed.

    python -m benchmarks.targets

Reads the results of `benchmarks.cp_ratio`, `stages`, `bench_engine`, `startup`, `merge_peers` and
`growth`; rewrites a part of docs/explanation/performance.md. Measures nothing.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import page, stages
from benchmarks.cp_ratio import LEAST_LOADED
from benchmarks.measured import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
Values = dict[str, Any]


def read(name: str) -> Values:
    """Return the values of a result."""
    found: Values = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def part() -> str:
    """Return the part of the page."""
    copies, engine, core = read("cp_ratio"), read("engine"), read("engine_one_core")
    startup, merges, profile = read("startup"), read("merge_peers"), read("stages")
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    lines += [_copy_row(step) for step in copies["steps"]]
    lines += [_cpu_row(step) for step in copies["steps"] if step["step"] == "first commit"]
    lines += [_load_row(dtype, found) for dtype, found in copies["loads"].items()]
    lines += _engine_rows(core)
    lines += _startup_rows(startup)
    elsewhere = read("merge_peers_reflinks"), read("merge_peers_shards")
    lines += _merge_rows(merges, *elsewhere)
    told = (copies, profile, core, engine, startup, merges, *elsewhere)
    dates = ", ".join(f"`{each['facts']['command']}` ({each['facts']['date']})" for each in told)
    machine = copies["facts"]["machine"]
    return "\n".join(
        [
            f"{machine}; {copies['facts']['held meanwhile']} of memory held during the copies.\n",
            *lines,
            "",
            "Where the CPU seconds of a commit go (`theta commit --timings`):\n",
            stages.table(profile),
            f"From {dates}.\n",
        ]
    )


def _row(what: str, target: str, measured: str, *, holds: bool) -> str:
    return f"| {what} | {target} | {measured} | {'holds' if holds else '**missed**'} |"


def _copy_row(step: Values) -> str:
    what = f"{step['dtype']}: {step['step']}, against `cp` and `fsync`"
    target, ratio = step["target"], step["ratio"]
    return _row(what, f"≤ {target} ×", f"{ratio:.2f} ×", holds=ratio <= target)


def _cpu_row(step: Values) -> str:
    most = {"BF16": 2.4, "F32": 3.2}[step["dtype"]]
    spent = median(step["cpu"]) / (step["bytes"] / 1e9)
    what = f"{step['dtype']}: first commit, CPU seconds per GB"
    return _row(what, f"≤ {most}", f"{spent:.2f}", holds=spent <= most)


def _load_row(dtype: str, found: list[float]) -> str:
    what = f"{dtype}: load into the memory of a new process"
    speed = median(found)
    told = f"{speed:.2f} GB/s (least {min(found):.2f})"
    return _row(what, f"≥ {LEAST_LOADED} GB/s", told, holds=speed >= LEAST_LOADED)


def _engine_rows(core: Values) -> list[str]:
    rows = []
    for kind, update, speed, _, _, _, search, least_seen in core["rows"]:
        if kind != "F32":
            continue
        least = {"dense": 250, "sparse": 400}[update]
        what = f"F32 {update} update on its base, one core"
        told = f"{speed:.0f} MB/s (least {least_seen:.0f})"
        rows.append(_row(what, f"≥ {least} MB/s", told, holds=speed >= least))
        if update == "dense":
            what = "looking for structure that is not there"
            rows.append(_row(what, "≤ 10 %", f"{search:.1%}", holds=search <= 0.1))
    return rows


def _startup_rows(startup: Values) -> list[str]:
    rows = []
    for name, most in (("theta --version", 0.06), ("theta log", 0.2)):
        least = min(startup["seconds"][name])
        what = f"`{name}`" + (" of 1,000 commits" if "log" in name else "")
        took = f"{1000 * least:.0f} ms"
        rows.append(_row(what, f"< {1000 * most:.0f} ms", took, holds=least < most))
    return rows


def _merge_rows(merges: Values, *elsewhere: Values) -> list[str]:
    rows = []
    most = {"linear": 1 / 3, "ties": 1 / 4}
    runs = {(row["strategy"], row["tool"], row["share"]): row["runs"] for row in merges["rows"]}

    def of(key: tuple[str, str, float], column: int) -> float:
        return median(run[column] for run in runs[key])

    for strategy in dict.fromkeys(row["strategy"] for row in merges["rows"]):
        ours = (strategy, "theta", 1.0)
        share = of(ours, 1) / of((strategy, "mergekit", 1.0), 1)
        what = f"`merge -s {strategy}`, CPU seconds against mergekit's"
        target = f"≤ {most[strategy]:.2f} ×"
        rows.append(_row(what, target, f"{share:.2f} ×", holds=share <= most[strategy]))
        peak = of(ours, 2) / 1e6
        rows.append(
            _row("– peak anonymous memory", "≤ 400 MB", f"{peak:.0f} MB", holds=peak <= 400)
        )
        rows += [_few_row(strategy, merges), *(_few_row(strategy, each) for each in elsewhere)]
    return rows


def _few_row(strategy: str, merges: Values) -> str:
    runs = {row["share"]: row["runs"] for row in merges["rows"] if _is_ours(row, strategy)}
    few, all_ = (median(run[0] for run in runs[share]) for share in (0.05, 1.0))
    facts = merges["facts"]
    what = f"– time where 5 % conflicts, against all ({facts['file system']}, {facts['model']})"
    return _row(what, "≤ 10 %", f"{few / all_:.0%}", holds=few / all_ <= 0.1)


def _is_ours(row: Values, strategy: str) -> bool:
    return bool(row["tool"] == "theta" and row["strategy"] == strategy)


if __name__ == "__main__":
    page.put(PAGE, "targets", part())
