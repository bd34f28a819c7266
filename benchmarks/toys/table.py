"""The scores as Markdown.

Owns the wording and the columns. Must not measure anything.
"""

from statistics import mean

from benchmarks.measured import about
from benchmarks.toys.scores import BRANCHES, SHIFT, SPLIT, Scores, spelled

FACTS = ("command", "date", "machine", "revision", "packages")


def page_part(scores: Scores) -> str:
    """Return what stands on the page: a line for each rule, and what was run."""
    facts = "\n".join(f"- {name}: {scores.facts[name]}" for name in FACTS)
    return f"{_merges(scores)}\n\n{_sweeps(scores)}\n\n{facts}\n"


def report(scores: Scores) -> str:
    """Return every table."""
    parts = (_merges(scores), _sweeps(scores), _experts(scores))
    return "\n\n".join([about("Toy merges", scores.facts).rstrip(), *parts]) + "\n"


def _merges(scores: Scores) -> str:
    head = ["rule", "split classes", "over average", "shifted inputs", "over average"]
    alone = ["one branch alone (mean)"]
    for scenario in (SPLIT, SHIFT):
        pairs = zip(*(scores.merges[scenario][name] for name in BRANCHES), strict=True)
        alone += [spelled([mean(pair) for pair in pairs]), "–"]
    return _table([head, alone, *(_row(scores, rule) for rule in scores.rules)])


def _row(scores: Scores, rule: str) -> list[str]:
    cells = [f"`{rule}`"]
    for scenario in (SPLIT, SHIFT):
        found = scores.merges[scenario][rule]
        seeds = f"{scores.better(scenario, rule)} of {len(found)}"
        cells += [spelled(found), "–" if rule == "average" else seeds]
    return cells


def _sweeps(scores: Scores) -> str:
    rows = [["rule", "split, best λ", "", "shifted, best λ", ""]]
    for rule in scores.sweeps[SPLIT]:
        cells = [f"`{rule}`"]
        for scenario in (SPLIT, SHIFT):
            found = scores.sweeps[scenario][rule]
            best = max(found, key=lambda each: mean(found[each]))
            cells += [best, spelled(found[best])]
        rows.append(cells)
    return _table(rows)


def _experts(scores: Scores) -> str:
    rows = [["four kinds of images", "accuracy"]]
    return _table([*rows, *([name, spelled(each)] for name, each in scores.experts.items())])


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rest])
