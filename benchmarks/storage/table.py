"""The results as Markdown.

Owns the wording and the columns of the tables. Must not measure anything.
"""

from collections.abc import Iterable, Sequence

from benchmarks.storage.histories import TALK
from benchmarks.storage.results import Results, Row

MB = 1e6
ABSENT = "–"
BITX, FAST, REPACKED = "BitX", "theta fast", "theta repacked"
_KINDS = {
    "real": "the real program",
    "re-implementation": "re-implemented here",
    "arithmetic": "sizes of files",
    "bound": "a bound, no program",
}


def markdown(results: Results) -> str:
    """Return the whole report."""
    parts = [
        "# Stored size per commit",
        _facts(results),
        _schemes(results),
        *(_talk(results, row) for row in results.rows if row.name == TALK),
        _shares(results),
        _parts(results),
        _targets(results),
        _notes(results),
        _checkpoints(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(results: Results) -> str:
    told = results.facts | {
        name: str(value)
        for name, value in results.model.items()
        if isinstance(value, str | int | float)
    }
    return "\n".join(f"- {name}: {value}" for name, value in told.items())


def _schemes(results: Results) -> str:
    rows = [
        [name, _KINDS[scheme["kind"]], scheme["about"]] for name, scheme in results.schemes.items()
    ]
    return _table(["column", "what it is", "what is counted"], rows)


def _talk(results: Results, row: Row) -> str:
    """Return cumulative megabytes after each commit of the talk's own history."""
    names = _measured(results, row)
    lines = []
    for i, commit in enumerate(row.commits):
        cells = []
        for name in names:
            costs = row.columns[name].costs[: i + 1]
            whole = len(costs) == i + 1
            cells.append(f"{sum(cost.total for cost in costs) / MB:.2f}" if whole else ABSENT)
        lines.append([commit.label, *cells])
    head = f"## {row.title.capitalize()}: cumulative MB after each commit"
    return f"{head}\n\n{_table(['commit', *names], lines)}"


def _shares(results: Results) -> str:
    names = [name for name in results.schemes if any(_known(row, name) for row in results.rows)]
    lines = [[row.title, *(_percent(row.share(name)) for name in names)] for row in results.rows]
    head = "## Bytes per added commit, in % of the plain file"
    about = "The first commit is not counted, except in histories of one commit."
    return f"{head}\n\n{about}\n\n{_table(['history', *names], lines)}"


def _parts(results: Results) -> str:
    """Return the same apart for embedding and rest, where a scheme knows tensors."""
    names = [
        name
        for name in results.schemes
        if any(row.share(name, "embedding") is not None for row in results.rows)
    ]
    lines = [
        [row.title, part, *(_percent(row.share(name, part)) for name in names)]
        for row in results.rows
        for part in ("embedding", "rest")
    ]
    head = "## The same, embedding and rest apart"
    return f"{head}\n\n{_table(['history', 'part', *names], lines)}" if names else ""


def _targets(results: Results) -> str:
    """Return theta against BitX, and against the plain bytes of the tensors that changed."""
    lines = [
        [
            row.title,
            *(_ratio(row.ratio(name, BITX)) for name in (FAST, REPACKED)),
            *(_ratio(row.ratio(name, BITX, "rest")) for name in (FAST, REPACKED)),
            *(_percent(row.of_changed(name)) for name in (FAST, REPACKED)),
        ]
        for row in results.rows
    ]
    head = [
        "history",
        "fast / BitX",
        "repacked / BitX",
        "fast / BitX, rest",
        "repacked / BitX, rest",
        "fast, % of changed tensors",
        "repacked, % of changed tensors",
    ]
    return f"## theta against BitX\n\n{_table(head, lines)}"


def _notes(results: Results) -> str:
    told: dict[str, None] = {}
    for row in results.rows:
        for name, column in row.columns.items():
            if column.failure:
                told[f"- {name}: {column.failure}"] = None
            elif column.note:
                told[f"- {name}, {row.title}: {column.note}"] = None
    return "## Notes\n\n" + "\n".join(told) if told else ""


def _checkpoints(results: Results) -> str:
    """Return every trained checkpoint with its hash, and what its training did to the loss."""
    losses = results.model["nats per token"]
    lines = []
    for name, digest in results.model["sha256 of tensors"].items():
        loss = losses.get(name.split("-")[0], {})
        told = f"{loss['before']:.3f} to {loss['after']:.3f}" if loss else ABSENT
        lines.append([name, digest, told])
    head = ["checkpoint", "sha256 of its tensors", "its training: nats per token"]
    return f"## Trained checkpoints\n\n{_table(head, lines)}"


def _measured(results: Results, row: Row) -> list[str]:
    return [name for name in results.schemes if _known(row, name)]


def _known(row: Row, name: str) -> bool:
    return name in row.columns and bool(row.columns[name].costs)


def _percent(share: float | None) -> str:
    if share is None:
        return ABSENT
    return f"{100 * share:.2f}" if share < 0.1 else f"{100 * share:.1f}"


def _ratio(ratio: float | None) -> str:
    return ABSENT if ratio is None else f"{ratio:.3f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
