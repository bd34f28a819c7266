"""What is stored on bases that nobody reads stands on its own where that takes less."""

import numpy as np
import pytest

from tests.store.sources import (
    MAIN,
    BytesSource,
    commit_tensors,
    publish,
    put_checkpoint,
    put_commit,
    read_back,
)
from tests.store.updates import adapted, source, trained, weights
from theta_store.freeing import find_freeing
from theta_store.hints import Base
from theta_store.ids import CommitId, TensorId
from theta_store.records import Tree, TreeEntry
from theta_store.store import Operation, RefChange, Store


def _run(store: Store, steps: list[dict[str, BytesSource]]) -> list[CommitId]:
    """Commit steps, each stored on the one before."""
    made: list[CommitId] = []
    for number, tensors in enumerate(steps):
        made.append(commit_tensors_on(store, tensors, made[-1] if made else None, f"c{number}"))
    return made


def commit_tensors_on(
    store: Store, tensors: dict[str, BytesSource], before: CommitId | None, message: str
) -> CommitId:
    bases: dict[str, TensorId] = {}
    if before is not None:
        entry = store.tree_of(before).entries[0]
        params = store.params(store.checkpoint(entry.id).params)  # type: ignore[arg-type]
        bases = {each.component: each.tensor for each in params.entries if each.tensor}
    with store.session() as session:
        list(
            session.put_tensors(
                tensors.items(), hints=lambda name: [Base(bases[name])] if name in bases else []
            )
        )
        tree = put_checkpoint(session, tensors)
        parent = store.refs.get(MAIN)
        commit = put_commit(session, tree, [] if parent is None else [parent], message)
        publish(session, store, commit, MAIN)
    return commit


def _steps(count: int, kind: str = "F32", rows: int = 512) -> list[dict[str, BytesSource]]:
    values = weights(1, rows, 700)
    made = []
    for seed in range(count):
        made.append({"w": source(values, kind)})
        values = trained(values, seed)
    return made


def _give_up(store: Store, commits: list[CommitId]) -> None:
    with store.session() as session:
        session.publish(Operation(0, 0, "forget", "", (), expired=tuple(commits)))
    store.collector(undo_seconds=0).collect()


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_bases_of_given_up_commits_go(store: Store, kind: str) -> None:
    commits = _run(store, _steps(5, kind))
    kept = {commit: read_back(store, commit) for commit in commits[3:]}
    _give_up(store, commits[:3])
    before = store.sizes()
    told = store.collector(undo_seconds=0).forecast()
    assert told.base_bytes > 0
    dry, bases = store.free_bases(undo_seconds=0, dry=True)
    assert bases == told.base_bytes
    assert store.sizes() == before
    report, _ = store.free_bases(undo_seconds=0)
    assert report == dry
    assert report.replaced == report.chunks > 0
    assert store.check() == []
    assert {commit: read_back(store, commit) for commit in kept} == kept
    assert store.collector(undo_seconds=0).collect().chunks > 0
    assert store.collector(undo_seconds=0).forecast().base_bytes == 0
    assert store.check() == []
    assert {commit: read_back(store, commit) for commit in kept} == kept
    after = store.sizes()
    assert after.stored_bytes < before.stored_bytes - bases // 10
    assert store.free_bases(undo_seconds=0) == (type(report)(), 0)


def test_a_base_of_many_is_worth_its_bytes(store: Store) -> None:
    trunk = weights(1, 512, 700)
    first = commit_tensors_on(store, {"w": source(trunk)}, None, "trunk")
    tuned = {f"w{n}": source(trained(trunk, n)) for n in range(6)}
    entry = store.tree_of(first).entries[0]
    params = store.params(store.checkpoint(entry.id).params)  # type: ignore[arg-type]
    base = params.entries[0].tensor
    assert base is not None
    with store.session() as session:
        list(session.put_tensors(tuned.items(), hints=lambda _: [Base(base)]))
        session.flush()
        commit_tensors(store, tuned, message="tuned")
    _give_up(store, [first])
    assert store.collector(undo_seconds=0).forecast().base_bytes > 0
    assert store.free_bases(undo_seconds=0)[0].chunks == 0


def test_clusters_stand_on_their_own_too(store: Store) -> None:
    rng = np.random.default_rng(0)
    small = {f"w{n:03}": weights(n, 30, 40) for n in range(300)}
    steps = []
    for _ in range(3):
        steps.append({name: source(values) for name, values in small.items()})
        small = {name: trained(v, int(rng.integers(1 << 30))) for name, v in small.items()}
    commits = _run(store, steps)
    kept = read_back(store, commits[2])
    _give_up(store, commits[:2])
    if not store.collector(undo_seconds=0).forecast().base_bytes:
        pytest.skip("clusters were stored without bases")
    with store._meta.read() as reader:
        reached = store.collector(undo_seconds=0).reachable(reader)
        found = find_freeing(reader, reached)
    # Clusters are stored anew, not the pieces that lie in them.
    assert found.jobs
    assert all(job.form.has_payload for job in found.jobs)
    assert found.base_bytes == store.collector(undo_seconds=0).forecast().base_bytes
    report, bases = store.free_bases(undo_seconds=0)
    assert report.replaced > 0
    assert bases > 0
    store.collector(undo_seconds=0).collect()
    assert store.check() == []
    assert read_back(store, commits[2]) == kept
    assert store.collector(undo_seconds=0).forecast().base_bytes == 0


def test_what_no_commit_was_given_up_for_is_left_alone(store: Store) -> None:
    _run(store, _steps(4))
    assert store.free_bases(undo_seconds=0)[0].chunks == 0


def test_a_file_of_the_same_bytes_holds_on_to_its_bases(store: Store) -> None:
    steps = _steps(4, rows=256)  # one chunk, as the file is
    commits = _run(store, steps)
    with store.session() as session:
        blob = session.put_bytes(steps[-1]["w"].data)
        commit = put_commit(session, session.put_record(Tree((TreeEntry("f", "blob", blob),))), [])
        publish(session, store, commit, "refs/heads/files")
    with store.session() as session:
        head = RefChange(MAIN, store.refs.get(MAIN), None)
        session.publish(Operation(0, 0, "branch", "", (head,), expired=tuple(commits)))
    store.collector(undo_seconds=0).collect()
    assert store.collector(undo_seconds=0).forecast().base_bytes > 0
    assert store.free_bases(undo_seconds=0)[0].chunks == 0
    assert store.check() == []


def test_factors_are_no_bases(store: Store) -> None:
    base = weights(1, 256, 300)
    _run(store, [{"w": source(base)}, {"w": source(adapted(base, 3))}])
    assert store.collector(undo_seconds=0).forecast().base_bytes == 0
    assert store.free_bases(undo_seconds=0)[0].chunks == 0
