"""Commits of statistics, as they are made: of a file's arrays, or as the sum of others.

Owns their records, the sum that a merge gets, and which values a statistic may have. Must not know
refs, nor where arrays come from.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from theta.checkpoint import named_leaves
from theta.diff import build_tree, flatten_tree
from theta.formats import format_by_id
from theta.formats.base import TensorSpec
from theta.formats.layout import encode_layout
from theta.merge.evidence import Account, Note, account_of
from theta.merge.sources import MergedSource, Side, StoredValues
from theta.params import build_params
from theta.strategies.linear import LinearSum
from theta_store.arithmetic import is_computable, widen
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.hints import Base, Sum
from theta_store.ids import CheckpointId, CommitId, TensorId, TreeId, hex_id
from theta_store.records import Checkpoint, Commit, File, Tensor, TreeEntry
from theta_store.store import Session, Store, ranges_of

Leaves = Mapping[str, TensorId]


def put_statistic(
    session: Session, kind: str, entries: Mapping[str, TreeEntry], models: Mapping[str, Note]
) -> CommitId:
    """Put a commit of statistics, not yet named by a ref."""

    tree = build_tree(entries, lambda tree: TreeId(session.put_record(tree)))
    text = Account(kind, dict(models)).text()
    record = Commit(tree, (), "theta", time.time_ns() // 1000, 0, text)
    return CommitId(session.put_record(record))


def summed(
    store: Store, session: Session, kind: str, commits: Sequence[CommitId | None]
) -> CommitId | None:
    """Put the sum of the statistics of a merge's sides, as it gets it; None where one has none.

    Means are weighed by how many examples they were taken over. A parameter that one side's
    statistic lacks has none.
    """

    if not commits or None in commits:
        return None
    ids = [id_ for id_ in commits if id_ is not None]
    accounts = [account_of(store.commit(id_)) for id_ in ids]
    entries, notes = {}, {}
    for path in sorted(set.intersection(*(set(account.models) for account in accounts))):
        old = [account.models[path] for account in accounts]
        made = _sum_of(store, session, ids, path, [note.examples for note in old])
        session.flush()
        entries[path] = entry_of(store, session, path, made)
        session.flush()
        examples = sum(note.examples for note in old)
        labels = {note.labels for note in old}
        source = "sum of " + ", ".join(sorted(hex_id(id_) for id_ in ids))
        norm = norm_of(store, entries[path], kind)
        notes[path] = Note(examples, norm, source, labels.pop() if len(labels) == 1 else None)
    return put_statistic(session, kind, entries, notes) if entries else None


def _sum_of(
    store: Store, session: Session, ids: Sequence[CommitId], path: str, examples: Sequence[int]
) -> Leaves:
    """Return the means over all examples, in float32, of the parameters that all sides have."""

    folders = [dict(flatten_tree(store, store.commit(id_).tree)) for id_ in ids]
    leaves = [named_leaves(store, files[path]) for files in folders]
    sources, hints = {}, {}
    for name in sorted(set(leaves[0]).intersection(*leaves)):
        if len({store.tensor(each[name]).shape for each in leaves}) > 1:
            continue
        # The order of a merge's sides: by id, so that merging a into b gives the same bits.
        terms = sorted(
            (each[name], id_, float(count))
            for each, id_, count in zip(leaves, ids, examples, strict=True)
        )
        sides = tuple(Side(tensor, id_) for tensor, id_, _ in terms)
        strategy = LinearSum(weight=tuple(count for *_, count in terms))
        values = StoredValues(store, name, sides, None, (0, ""), nonfinite=True)
        sources[name] = MergedSource(values, strategy, "F32")
        own = tuple(side.tensor for side in sides)
        floats = {store.tensor(id_).dtype for id_ in own} == {"F32"}
        total = Sum(own, strategy.coefficients(len(own)))
        hints[name] = (total, Base(own[0])) if floats else (Base(own[0]),)
    stored = session.put_tensors(sources.items(), hints=hints.__getitem__)
    return {each.name: each.id for each in stored}


def entry_of(store: Store, session: Session, path: str, leaves: Leaves) -> TreeEntry:
    """Return the entry of a new file of these tensors, which may still be on their way."""

    session.flush()
    tensors = {name: store.tensor(id_) for name, id_ in leaves.items()}
    specs = [TensorSpec(name, t.dtype, t.shape) for name, t in sorted(tensors.items())]
    format_ = format_by_id("safetensors")
    layout = format_.compose(specs, metadata={}, aliases={})
    file = File("", session.put_bytes(encode_layout(layout)), {})
    params = build_params(leaves, session)
    made = Checkpoint(format_.id, format_.version, (file,), params, {})
    id_ = CheckpointId(session.put_record(made))
    return TreeEntry(path.rpartition("/")[2], "checkpoint", id_)


def norm_of(store: Store, entry: TreeEntry, kind: str) -> float:
    """Return the L2 norm over all parameters, in float64.

    What is no floating-point number, not finite, or in a Fisher information below 0, is a
    `UsageError`.
    """

    leaves = named_leaves(store, entry)
    if not leaves:
        raise UsageError(f"the {kind} is of no parameter")
    total = math.fsum(
        part
        for name, id_ in sorted(leaves.items())
        for part in _squares(store, store.tensor(id_), kind, name)
    )
    return math.sqrt(total)


def _squares(store: Store, record: Tensor, kind: str, name: str) -> Iterator[float]:

    row = dtype(record.dtype)
    if not is_computable(row):
        raise UsageError(f"the {kind} of {name} is {record.dtype}: floating-point numbers are due")
    for start, stop in ranges_of(record):
        plain = bytearray(stop - start)
        store.read_range(record, start, memoryview(plain))
        values = widen(memoryview(plain), row)
        if not np.isfinite(values).all() or (kind == "fisher" and (values < 0).any()):
            raise UsageError(f"the {kind} of {name} has values that no {kind} has")
        yield float(np.sum(np.square(values, dtype=np.float64)))
