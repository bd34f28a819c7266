"""One base out of several: merge bases are merged first, as their own history says.

Owns the recursion over criss-cross histories. Must not publish anything, nor know the terminal.
"""

from collections.abc import Sequence

from theta.diff import flatten_tree
from theta.history import bases_of
from theta.merge.apply import apply_merge
from theta.merge.choice import Choice
from theta.merge.decisions import Decided, Decision, decide
from theta.merge.method import Method
from theta.merge.plan import Entries, Plan, plan_merge
from theta.progress import SILENT
from theta.strategies import STRATEGIES
from theta_store.ids import CommitId
from theta_store.records import TreeEntry
from theta_store.store import Session, Store

METHOD = Method(default=Choice("average"), exact=False)


def base_entries(store: Store, session: Session | None, bases: Sequence[CommitId]) -> Entries:
    """Return the files of the base: none, those of the only one, or those of all merged.

    Several are merged two at a time in the order of their ids: by ids, then by ``average``; what
    that does not settle is as their own base has it. ``session`` takes the tensors of that; it is
    asked for only where there are several bases.
    """
    if not bases:
        return {}
    first, *rest = sorted(bases)
    entries = files_of(store, first)
    merged = [first]
    for base in rest:
        assert session is not None, "merging bases stores tensors"
        inner = bases_of(store, [merged, [base]])
        below = base_entries(store, session, inner)
        plan = Plan((first, base), ("ours", "theirs"), inner)
        plan_merge(store, plan, [entries, files_of(store, base)], below)
        decided = _all_decided(decide(store, plan, METHOD))
        entries = apply_merge(store, session, plan, decided, METHOD, SILENT).entries
        session.flush()
        merged.append(base)
    return entries


def files_of(store: Store, commit: CommitId) -> dict[str, TreeEntry]:
    """Return the files of a commit by path; `ExpiredCommit` where they were given up."""
    store.tree_of(commit)
    return dict(flatten_tree(store, store.commit(commit).tree))


def _all_decided(decided: Decided) -> Decided:
    base = STRATEGIES.get("base")()
    rest = tuple(Decision(conflict, base) for conflict in decided.left)
    return Decided((*decided.decisions, *rest), ())
