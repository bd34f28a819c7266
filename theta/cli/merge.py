"""``theta merge``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theta.cli import trials
from theta.cli.conflicts import Quit, Score, ask
from theta.cli.importing import Imported, imported
from theta.cli.outcomes import (
    conflict_as_json,
    print_conflicts,
    resolution_as_json,
    spell_taken,
)
from theta.cli.spelling import plural, spell_bytes, spell_id
from theta.cli.terminal import Terminal
from theta.merge import (
    Alignment,
    Conflict,
    Decided,
    DtypeRule,
    Estimate,
    Method,
    Plan,
    parse_alignment,
    parse_choice,
    parse_rule,
)
from theta.repo import MergeAnswer, Repo
from theta.repo.searching import Tried, best_of
from theta_store.errors import UsageError
from theta_store.ids import hex_id

if TYPE_CHECKING:
    from theta.repo.merging import Replayed

EXAMPLES = (
    "Examples:  theta merge rte  ·  theta merge rte -s average  ·  theta merge rte anli mnli  ·  "
    "theta merge rte -s 'ties density=0.2 weight=ours:0.6,rte:0.4'  ·  "
    "theta merge rte --rule '*.head.* ours' --rule '*norm* average'  ·  "
    "theta merge rte -s task-arithmetic --search lambda=0.1..1:5 --eval 'python eval.py {}'  ·  "
    "theta merge other --allow-unrelated --align rebasin -s average  ·  "
    "theta merge --replay HEAD  ·  theta merge --recipe-from HEAD anli  ·  theta merge --abort"
)
NEGATIVE = "conflicts are left, you quit, or a replay differs; nothing was written"


def merge(
    ctx: typer.Context,
    revisions: Annotated[list[str] | None, typer.Argument(help="What to merge into HEAD.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option("-s", "--strategy", help="'NAME [name=value …]', where no rule matches."),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="'[FILE::]GLOB STRATEGY [name=value …]'; the last match wins."),
    ] = None,
    message: Annotated[str | None, typer.Option("-m", "--message", help="The message.")] = None,
    no_commit: Annotated[
        bool, typer.Option("--no-commit", help="Write the files, leave the commit to you.")
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Forget the merge that waits.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of strategies that draw random numbers; 0 if none.")
    ] = None,
    replay: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Make that merge again, and compare.")
    ] = None,
    recipe_from: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Merge as that commit was merged.")
    ] = None,
    import_mergekit: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yml", help="Take models and rules from a mergekit YAML."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=REVISION", help="Which revision a model of that YAML is."),
    ] = None,
    save_rules: Annotated[
        Path | None,
        typer.Option(help="Write the rules, your answers included, as a .thetaattributes."),
    ] = None,
    no_exact: Annotated[
        bool,
        typer.Option("--no-exact", help="Changes of different rows or elements conflict too."),
    ] = False,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Compute with NaN and infinity.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="ours, theirs or widest, where sides differ in it.")
    ] = None,
    allow_unrelated: Annotated[
        bool, typer.Option("--allow-unrelated", help="Without a common ancestor.")
    ] = False,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="rebasin[=ARCHITECTURE]",
            help="Permute the units of their models to match ours first.",
        ),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FIRST..LAST[:COUNT] or NAME=A,B: try these, commit the best."),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--eval",
            metavar="CMD",
            help="Scores the model in the folder {}; prints a number last. For --search, or for "
            "what you try at the prompt.",
        ),
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="The least score is the best.")] = False,
    author: Annotated[str | None, typer.Option(help='"Name <mail>".')] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON; never ask.")] = False,
) -> None:
    """Merge other branches, parameter by parameter."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        if abort:
            written = repo.abort_merge(progress=terminal.progress())
            terminal.talk(f"Forgot the merge; wrote {plural(len(written), 'file')} (theta undo)")
            return
        if replay is not None:
            replayed = repo.replay_merge(replay, progress=terminal.progress())
            _tell_replay(terminal, replayed, json=json)
            return
        found = _imported(terminal, repo, import_mergekit, model or (), revisions)
        if found is not None:
            revisions, rule = list(found.revisions), [*found.rules, *(rule or ())]
            strategy = strategy or found.default
        if not revisions:
            raise UsageError("what to merge was not named", hint="theta merge BRANCH")
        method = _method(repo, rule or (), strategy, seed, recipe_from)
        if dtype is not None:
            method = replace(method, dtype=_dtype(dtype))
        if no_exact:
            method = replace(method, exact=False)
        if allow_nonfinite:
            method = replace(method, nonfinite=True)
        alignment = _alignment(repo, align, recipe_from)
        plan = repo.plan_merge(*revisions, allow_unrelated=allow_unrelated, align=alignment)
        _tell_aligned(terminal, plan)
        if found is not None:
            found.check(terminal, repo, plan)
        if dry_run:
            decided = repo.decide_merge(plan, method, look=False)
            cost = repo.estimate_merge(decided)
            _print_plan(terminal, repo, plan, decided, cost, json=json)
            return
        tried: tuple[Tried, ...] = ()
        asks = terminal.interactive and not json
        # Whoever is asked has each answer that he tries scored; nobody else has use for it alone.
        if search or (evaluate is not None and not asks):
            texts = search or ()
            tried = trials.search(terminal, repo, plan, method, texts, evaluate, lower=lower)
            best = best_of(tried, lower=lower)
            method = method if best is None else best.trial.method
        score = None if evaluate is None else trials.scorer(terminal, evaluate)
        asked = _ask(terminal, repo, plan, method, score) if asks and not tried else method
        if asked is None:
            terminal.talk("Quit: everything is as it was")
            raise typer.Exit(1)
        if save_rules is not None:
            _save(terminal.cwd / save_rules, asked)
        answer = repo.merge(
            plan,
            asked,
            author=terminal.author(repo, author),
            message=message,
            wait=no_commit or asked != method,
            progress=terminal.progress(),
        )
        _tell(terminal, repo, plan, answer, trials.as_json(tried, lower=lower), json=json)


def _imported(
    terminal: Terminal,
    repo: Repo,
    path: Path | None,
    models: Sequence[str],
    revisions: Sequence[str] | None,
) -> Imported | None:
    """Return what a configuration of mergekit asks for; None where there is none."""
    if path is None:
        if models:
            raise UsageError("--model names a model of --import-mergekit FILE.yml")
        return None
    if revisions:
        raise UsageError("the models of the YAML are merged; no others can be named")
    return imported(repo, terminal.cwd, path, models)


def _method(
    repo: Repo,
    rules: Sequence[str],
    default: str | None,
    seed: int | None,
    recipe_from: str | None,
) -> Method:
    """Return how to merge: as the options say, over what a recipe said."""
    if recipe_from is None:
        return repo.merge_method(rules, default, seed=seed or 0)
    old = repo.recipe(recipe_from).method
    return replace(
        old,
        rules=(*old.rules, *map(parse_rule, rules)),
        default=parse_choice(default, f"-s {default!r}") if default else old.default,
        seed=old.seed if seed is None else seed,
    )


def _alignment(repo: Repo, align: str | None, recipe_from: str | None) -> Alignment | None:
    """Return how models are aligned first: as the option says, else as a recipe said."""
    if align is not None:
        return parse_alignment(align)
    return None if recipe_from is None else repo.recipe(recipe_from).alignment


def _save(path: Path, method: Method) -> None:
    """Write rules that say the same without a terminal; a default stays an option."""
    default = [] if method.default is None else [f"# merged with -s '{method.default}'"]
    path.write_text("".join(f"{line}\n" for line in [*default, *map(str, method.rules)]))


def _dtype(text: str) -> DtypeRule:
    rules: dict[str, DtypeRule] = {"ours": "ours", "theirs": "theirs", "widest": "widest"}
    if text not in rules:
        raise UsageError(f"--dtype {text}: ours, theirs or widest is expected")
    return rules[text]


def _ask(
    terminal: Terminal, repo: Repo, plan: Plan, method: Method, score: Score | None
) -> Method | None:
    """Return the method with the answers of the user as rules; None for quit."""
    try:
        return ask(terminal, repo, plan, method, score)
    except Quit:
        return None


def _tell_replay(terminal: Terminal, replayed: "Replayed", *, json: bool) -> None:
    made = None if replayed.made is None else hex_id(replayed.made)
    if json:
        terminal.answer(
            "merge",
            {
                "state": "replayed",
                "commit": hex_id(replayed.commit),
                "conflicts": [conflict_as_json(conflict) for conflict in replayed.conflicts],
                "resolved": [],
                "same": replayed.same,
                "expected_tree": hex_id(replayed.expected),
                "made_tree": made,
                "exact": replayed.exact,
                "near": replayed.same or replayed.near,
            },
        )
    elif replayed.same:
        terminal.out(f"{spell_id(terminal, replayed.commit)} replayed: the same tree")
    elif made is None:
        print_conflicts(terminal, replayed.conflicts)
        terminal.out(f"{spell_id(terminal, replayed.commit)} replayed: conflicts are left")
    else:
        terminal.out(
            f"{spell_id(terminal, replayed.commit)} replayed: tree {made[:10]}, "
            f"not {hex_id(replayed.expected)[:10]}"
        )
        if replayed.apart is not None:
            terminal.out(
                f"its linear algebra is apart by {replayed.apart:.2g} of the largest value"
            )
    if not (replayed.same or replayed.near):
        raise typer.Exit(1)


def _tell_aligned(terminal: Terminal, plan: Plan) -> None:
    for path, architecture in plan.aligned.items():
        terminal.talk(f"Aligned {path} with ours as {architecture}")


def _tell_notices(terminal: Terminal, answer: MergeAnswer) -> None:
    for notice in answer.notices:
        terminal.warn(notice)


def _tell(
    terminal: Terminal,
    repo: Repo,
    plan: Plan,
    answer: MergeAnswer,
    tried: list[dict[str, object]],
    *,
    json: bool,
) -> None:
    if json:
        terminal.answer(
            "merge",
            {
                "state": answer.state,
                "commit": None if answer.commit is None else hex_id(answer.commit),
                "conflicts": [conflict_as_json(conflict) for conflict in answer.conflicts],
                "resolved": [resolution_as_json(resolution) for resolution in answer.resolved],
                "stored_bytes": answer.stored_bytes,
                "notices": list(answer.notices),
                "reused": answer.reused,
                "trials": tried,
            },
        )
    elif answer.state == "conflicts":
        print_conflicts(terminal, answer.conflicts)
        _print_ways(terminal, plan, answer.conflicts)
    elif answer.state == "up to date":
        terminal.out(f"Already up to date: HEAD has {plan.label}")
    else:
        _tell_notices(terminal, answer)
        if answer.reused:
            terminal.talk(f"Took {plural(answer.reused, 'tensor')} from a try that was interrupted")
        _print_done(terminal, repo, plan, answer)
    if answer.conflicts:
        raise typer.Exit(1)


def _print_done(terminal: Terminal, repo: Repo, plan: Plan, answer: MergeAnswer) -> None:
    counts = Counter(resolution.how for resolution in answer.resolved)
    how = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    if answer.state == "waiting":
        terminal.talk(f"Merged {plan.label} into the files ({how}); evaluate them, then:")
        terminal.talk(f'theta commit -am "Merge {plan.label}", or theta merge --abort')
        return
    assert answer.commit is not None
    subject = repo.store.commit(answer.commit).subject
    terminal.out(f"[{answer.state} {spell_id(terminal, answer.commit)}] {subject}")
    tail = f"; {how}" if how else ""
    terminal.talk(f"stored {spell_bytes(answer.stored_bytes)}{tail} (theta undo takes it back)")


def _print_ways(terminal: Terminal, plan: Plan, conflicts: Sequence[Conflict]) -> None:
    names = " ".join(plan.labels[1:])
    terminal.say(
        f"{plural(len(conflicts), 'conflict')} left; nothing was written",
        f"Try: theta merge {names} -s average, or --rule 'GLOB ours|theirs|base|average'",
    )


def _print_plan(
    terminal: Terminal, repo: Repo, plan: Plan, decided: Decided, cost: Estimate, *, json: bool
) -> None:
    if json:
        chosen = [
            {"path": d.conflict.path, "name": d.conflict.name, "how": d.strategy.id}
            for d in decided.decisions
        ]
        settled = [resolution_as_json(resolution) for resolution in plan.resolved]
        terminal.answer(
            "merge",
            {
                "state": "planned",
                "commit": None,
                "conflicts": [conflict_as_json(conflict) for conflict in decided.left],
                "resolved": settled + chosen,
                "read_bytes": cost.read_bytes,
                "computed_bytes": cost.computed_bytes,
                "matrix_bytes": cost.matrix_bytes,
                "statistics": list(cost.statistics),
            },
        )
        return
    if plan.is_fast_forward or not plan.others:
        what = (
            f"would move to {plan.label}" if plan.others else f"would stay: HEAD has {plan.label}"
        )
        terminal.out(f"{what}; nothing is merged")
        return
    terminal.out(spell_taken(repo, plan))
    counts = Counter(decision.strategy.id for decision in decided.decisions)
    for how, count in sorted(counts.items()):
        terminal.out(f"{plural(count, 'name')} changed by both: {how}")
    for kind, count in sorted(Counter(conflict.kind for conflict in decided.left).items()):
        terminal.out(f"{plural(count, 'conflict')} left: {kind}")
    _print_cost(terminal, cost)


def _print_cost(terminal: Terminal, cost: Estimate) -> None:
    if cost.tensors:
        terminal.out(
            f"reads {spell_bytes(cost.read_bytes)}, computes {spell_bytes(cost.computed_bytes)}"
        )
    if cost.matrix_bytes:
        terminal.out(f"holds {spell_bytes(cost.matrix_bytes)} of one parameter in memory")
    if cost.statistics:
        terminal.out(f"needs {' and '.join(cost.statistics)} of every side")
