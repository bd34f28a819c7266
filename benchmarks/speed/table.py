"""The results as Markdown: a short form for the page, a long one beside the JSON.

Owns the wording and the columns of the tables. Must not measure anything.
"""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.measured import about
from benchmarks.speed.operations import Operation
from benchmarks.speed.results import LIMIT, Results, Spread

ABSENT, FAILED = "–", "failed"
READ = "read"
# A program is compared with those that are timed as it is.
OURS = {"theta": "process", "theta API": "call"}
CLOCKS = {"process": "a program", "call": "an API"}


def page_part(results: Results) -> str:
    """Return what stands on the page: facts, seconds per model, theta beside the fastest peer."""
    parts = [
        warning(results.facts),
        _facts(results),
        *(_seconds(results, model) for model in results.models),
        _against(results),
        _stored(results),
        _failures(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def report(results: Results) -> str:
    """Return everything: the page's tables, the programs, and the spread of every cell."""
    programs = _table(
        ["program", "version", "what it is"],
        (
            [name, told["version"] or ABSENT, told["about"]]
            for name, told in results.contenders.items()
        ),
    )
    parts = [
        about("Seconds of theta and its peers", results.facts),
        programs,
        *(_seconds(results, model) for model in results.models),
        _against(results),
        _stored(results),
        _failures(results),
        *(_spread(results, model) for model in results.models),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def warning(facts: Mapping[str, str]) -> str:
    """Return what a reader must know of a run that was only a trial."""
    return "**A trial run: these figures mean nothing.**" if "--quick" in facts["command"] else ""


def rounds(results: Results) -> str:
    """Return how many rounds there were, as a reader wants it."""
    counts = {sample.round for sample in results.samples}
    return f"{len(counts)} round{'s' if len(counts) != 1 else ''}"


def _facts(results: Results) -> str:
    told = results.facts
    versions = ", ".join(
        f"{name} {about['version']}"
        for name, about in results.contenders.items()
        if about["version"]
    )
    names = ("date", "machine", "memory", "kernel", "file system", "revision", "command")
    lines = [f"- {name}: {told[name]}" for name in names]
    return "\n".join([*lines, f"- programs: {versions}", f"- {rounds(results)}"])


def _seconds(results: Results, model: str) -> str:
    told = results.models[model]
    lines = [
        [name, *(_cell(results, model, name, operation) for operation in Operation)]
        for name in results.contenders
    ]
    head = f"### {model}: {told['about']}, {told['bytes'] / 1e6:,.1f} MB"
    say = "Median seconds until everything is on the disk; less is better."
    return f"{head}\n\n{say}\n\n{_table(['program', *Operation], lines)}"


def _cell(results: Results, model: str, name: str, operation: Operation) -> str:
    spread = results.seconds(model, name, operation)
    if spread is not None:
        return number(spread.middle)
    is_asked = operation not in results.contenders[name]["lacks"]
    return FAILED if is_asked and results.failed(model, name, operation) else ABSENT


def _against(results: Results) -> str:
    lines = []
    for model in results.models:
        for operation in Operation:
            cells = _ratios(results, model, operation)
            if any(cell != ABSENT for cell in cells):
                lines.append([model, operation.value, *cells])
    head = ["model", "operation"]
    for ours, clock in OURS.items():
        head += [f"{ours}, of the limit", f"{ours}, of the fastest peer ({CLOCKS[clock]})"]
    say = (
        "How many times as long theta takes: the ratio of medians, and in brackets the least and "
        f"the greatest of the rounds. The limit is `{LIMIT}` of the files, for load a plain read."
    )
    title = "### theta beside the limit and the fastest peer"
    return f"{title}\n\n{say}\n\n{_table(head, lines)}" if lines else ""


def _ratios(results: Results, model: str, operation: Operation) -> list[str]:
    limit = READ if operation is Operation.LOAD else LIMIT
    cells = []
    for ours, clock in OURS.items():
        cells.append(_times(results.ratio(model, ours, limit, operation)))
        peer = results.fastest_peer(model, operation, clock)
        ratio = None if peer is None else results.ratio(model, ours, peer, operation)
        cells.append(ABSENT if ratio is None else f"{peer} {_times(ratio)}")
    return cells


def _stored(results: Results) -> str:
    commits = (Operation.FIRST, Operation.LAYER, Operation.TUNED)
    lines = []
    for model, told in results.models.items():
        for name in results.contenders:
            sizes = [results.stored(model, name, operation) for operation in commits]
            if sizes[0] is not None:
                whole = told["bytes"]
                lines.append([model, name, *(_percent(size, whole) for size in sizes)])
    head = ["model", "program", *(f"after {operation}" for operation in commits)]
    say = "Disk space of the whole repository, in % of the model."
    return f"### Stored\n\n{say}\n\n{_table(head, lines)}" if lines else ""


def _failures(results: Results) -> str:
    told = [
        f"- {failure.contender}"
        + (f", {failure.model}, {failure.operation}" if failure.model else "")
        + f": `{failure.message}`"
        for failure in results.failures
    ]
    return "### What failed\n\n" + "\n".join(dict.fromkeys(told)) if told else ""


def _spread(results: Results, model: str) -> str:
    lines = [
        [
            name,
            operation.value,
            _range(results.seconds(model, name, operation)),
            _range(Spread.of([sample.wall for sample in found])),
            number(Spread.of([sample.cpu for sample in found]).middle),
            _times(results.ratio(model, name, LIMIT, operation)),
            str(len(found)),
        ]
        for operation in Operation
        for name in results.contenders
        if (found := results.of(model, name, operation))
    ]
    head = ["program", "operation", "s, on the disk", "s, returned", "CPU s", f"of {LIMIT}", "n"]
    return f"## {model}, every cell\n\nMedian (least – greatest).\n\n{_table(head, lines)}"


def number(value: float) -> str:
    """Return seconds with about two digits that mean something."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 5 else f"{value:.2f}"


def _times(spread: Spread | None) -> str:
    if spread is None:
        return ABSENT
    return f"**{spread.middle:.2f}** ({spread.least:.2f} – {spread.greatest:.2f})"


def _range(spread: Spread | None) -> str:
    if spread is None:
        return ABSENT
    return f"{spread.middle:.3f} ({spread.least:.3f} – {spread.greatest:.3f})"


def _percent(size: int | None, whole: int) -> str:
    return ABSENT if size is None else f"{100 * size / whole:.1f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
