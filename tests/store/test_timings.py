"""Timings: what is nested counts once, and the owner's stages add up to the time that passed."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.sources import commit_tensors, f32, publish, put_checkpoint, put_commit
from theta_store.clock import UNTIMED
from theta_store.store import Store
from theta_store.timings import ORDER, Stopwatch, Timings


def _busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _walls(timings: Timings) -> dict[str, float]:
    return {stage.name: stage.wall for stage in timings.stages}


def test_a_stage_inside_another_counts_once() -> None:
    watch = Stopwatch()

    def outer() -> str:
        _busy(0.02)
        watch.run("hash", 7, _busy, 0.04)
        watch.run("hash", 5, _busy, 0.01)
        return "done"

    assert watch.run("predict", 3, outer) == "done"
    timings = watch.finish()
    walls = _walls(timings)
    assert walls["predict"] >= 0.02
    assert walls["hash"] >= 0.05
    assert sum(walls.values()) == pytest.approx(timings.wall, abs=1e-6)
    assert [(s.name, s.bytes) for s in timings.stages] == [
        ("hash", 12),
        ("predict", 3),
        ("other", 0),
    ]


trees = st.recursive(
    st.just([]), lambda inner: st.lists(st.tuples(st.sampled_from(ORDER[:-1]), inner), max_size=3)
)


@given(trees)
def test_stages_of_one_thread_add_up_to_the_time_that_passed(tree: list) -> None:
    watch = Stopwatch()

    def walk(nodes: list) -> None:
        for name, inner in nodes:
            watch.run(name, 1, walk, inner)

    walk(tree)
    timings = watch.finish()
    assert sum(_walls(timings).values()) == pytest.approx(timings.wall, abs=1e-6)
    assert [name for name in ORDER if name in _walls(timings)] == list(_walls(timings))
    assert all(stage.wall >= -1e-9 for stage in timings.stages)


def test_other_threads_come_on_top() -> None:
    watch = Stopwatch()
    thread = threading.Thread(target=watch.run, args=("encode", 0, _busy, 0.05))
    thread.start()
    watch.run("wait", 0, thread.join)
    timings = watch.finish()
    walls = _walls(timings)
    assert walls["encode"] >= 0.05
    assert walls["wait"] + walls["other"] == pytest.approx(timings.wall, abs=1e-6)
    assert sum(walls.values()) > timings.wall


def test_a_failure_counts_and_is_passed_on() -> None:
    watch = Stopwatch()

    def fail() -> None:
        _busy(0.01)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        watch.run("read", 0, fail)
    assert _walls(watch.finish())["read"] >= 0.01
    assert UNTIMED.run("read", 0, max, 2, 3) == 3


def test_a_session_counts_each_byte_where_it_went(store: Store) -> None:
    tensors = {"a": f32(1, 700, 1024), "b": f32(2, 30, 40)}
    total = sum(len(tensor.data) for tensor in tensors.values())
    watch = Stopwatch()
    with store.session(clock=watch) as session:
        commit = put_commit(session, put_checkpoint(session, tensors))
        stored = session.stored_bytes
        publish(session, store, commit)
    sizes = {stage.name: stage.bytes for stage in watch.finish().stages}
    assert sizes["read"] == sizes["hash"] == sizes["encode"] == total
    assert sizes["put"] == stored
    assert {"records", "publish", "wait", "predict", "other"} < sizes.keys()


def test_what_is_stored_is_not_encoded_again(store: Store) -> None:
    tensors = {"a": f32(1, 700, 1024)}
    commit_tensors(store, tensors)
    watch = Stopwatch()
    with store.session(clock=watch) as session:
        list(session.put_tensors(tensors.items()))
    sizes = {stage.name: stage.bytes for stage in watch.finish().stages}
    assert "encode" not in sizes
    assert sizes["hash"] == len(tensors["a"].data)
