"""Terms of several shapes: whether they can be merged, and which of their rows belong together.

Owns the test whether a strategy takes them, and the search for a tokenizer beside a model. Must not
know rules, nor how elements are computed.
"""

import json
import re
from collections.abc import Sequence

from theta.merge.plan import Plan
from theta.merge.row_map import RowMap, by_place, by_token, fit
from theta.merge.tokenizers import TokenizerPlan
from theta.merge.vocabulary import TOKENIZERS, Vocabulary, read_vocabulary
from theta.strategies import Strategy
from theta.strategies.union_rows import UnionRows
from theta.terms import ABSENT, Absent, Terms
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.ids import BlobId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Store

# Tables whose rows are of places in the text, however many they are.
POSITIONS = re.compile(r"(^|\.)wpe(\.|$)|position")
BY_PLACE = "no tokenizer says which row is of which token: rows that ours added come first"


def unfit(strategy: Strategy, sides: Sequence[Tensor], base: Tensor | None) -> str:
    """Say why a strategy cannot take terms of these shapes; empty where it can."""
    how = strategy.id if isinstance(strategy, UnionRows) else f"shape={strategy.shape}"
    if base is None:
        return f"{how} needs a base"
    terms = [*sides, base]
    if not all(is_computable(dtype(term.dtype)) for term in terms):
        return f"{how} computes with real numbers only"
    if isinstance(strategy, UnionRows):
        if not base.shape or len({term.shape[1:] for term in terms}) > 1:
            return "union-rows: the terms differ in more than the number of their rows"
    elif len({len(term.shape) for term in terms}) > 1:
        return f"{how}: the terms have other numbers of axes"
    elif strategy.needs.statistics:
        return f"{how}: {strategy.id} has statistics of one shape only"
    return ""


def aligned(
    store: Store, plan: Plan, path: str, name: str, sides: Sequence[tuple[int, int]], base: int
) -> tuple[RowMap, bool]:
    """Return the alignment of the rows of a parameter, and whether it is by token.

    ``sides`` are numbers of sides, in the order of the plan, and of their rows.
    """
    counts = [rows for _, rows in sides]
    found = None if POSITIONS.search(name) else vocabularies(store, plan, path)
    if found is None:
        return by_place(counts, base), False
    terms = Terms(tuple(found.sides[side] for side, _ in sides), found.bases)
    pairs = [*zip(terms.sides, counts, strict=True), (terms.bases[0], base)]
    if not all(fit(vocabulary, rows) for vocabulary, rows in pairs):
        return by_place(counts, base), False
    return by_token(terms, counts, base), True


def vocabularies(store: Store, plan: Plan, path: str) -> Terms[Vocabulary] | None:
    """Return the vocabularies in a model's folder, None where a side has none; read once."""
    folder = folder_of(path)
    if folder not in plan.vocabularies:
        plan.vocabularies[folder] = _read(store, plan, folder)
    return plan.vocabularies[folder]


def can_unite(plan: Plan, path: str) -> bool:
    """Say whether the vocabularies of a tokenizer file have a common one."""
    documents = (document for document in plan.documents if document.path == path)
    return any(isinstance(each, TokenizerPlan) and each.terms.can_unite for each in documents)


def folder_of(path: str) -> str:
    """Return the folder of a file, with its slash; empty for the root."""
    return "".join(path.rpartition("/")[:2])


def _read(store: Store, plan: Plan, folder: str) -> Terms[Vocabulary] | None:
    for name in TOKENIZERS:
        files = plan.file(folder + name)
        try:
            found = files.map(lambda file: _vocabulary(store, file))
        except ValueError:
            return None
        if all(found.sides) and all(found.bases):
            return found
    return None


def _vocabulary(store: Store, file: TreeEntry | Absent) -> Vocabulary:
    if file is ABSENT or file.kind != "blob":
        return {}
    return read_vocabulary(json.loads(store.read_bytes(BlobId(file.id))))
