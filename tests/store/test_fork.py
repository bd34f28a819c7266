"""A store in a forked child: it works there, or says at once why not; it never hangs."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.store.sources import (
    MAIN,
    commit_tensors,
    f32,
    publish,
    put_checkpoint,
    put_commit,
    read_back,
)
from theta_store.errors import Locked, UsageError
from theta_store.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
SECONDS = 20
LOCKED, REFUSED = 11, 12


def _forked(work: Callable[[], object]) -> int:
    """Run work in a child; return its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    code = 1
    try:
        work()
        code = 0
    except Locked:
        code = LOCKED
    except UsageError:
        code = REFUSED
    finally:
        os._exit(code)


def _commit(store: Store, seed: int, branch: str = MAIN) -> None:
    tensors = {f"w{n}": f32(100 * seed + n, 60, 300) for n in range(12)}
    commit_tensors(store, tensors, branch)


def _look(store: Store, ref: str) -> None:
    commit = store.refs.get(ref)
    assert commit is not None
    assert len(read_back(store, commit)) == 12


def test_a_child_goes_on_with_the_store_of_its_parent(store: Store) -> None:
    _commit(store, 1)

    def work() -> None:
        _look(store, MAIN)
        _commit(store, 2, "refs/heads/child")

    assert _forked(work) == 0
    _commit(store, 3)
    _look(store, "refs/heads/child")
    assert _forked(lambda: _look(store, "refs/heads/child")) == 0
    assert store.check() == []


def test_a_child_that_closes_the_store(store: Store) -> None:
    _commit(store, 1)
    assert _forked(store.close) == 0
    _commit(store, 2)
    assert store.check() == []


def test_a_child_that_opens_the_store_for_itself(store: Store) -> None:
    _commit(store, 1)

    def work() -> None:
        with Store(store.folder) as own:
            _commit(own, 2, "refs/heads/child")

    assert _forked(work) == 0
    _look(store, "refs/heads/child")


def test_a_fork_while_a_thread_is_in_the_store(store: Store) -> None:
    inside, leave = threading.Event(), threading.Event()

    def reader() -> None:
        with store._meta.read():
            inside.set()
            leave.wait()

    _commit(store, 1)
    thread = threading.Thread(target=reader)
    thread.start()
    inside.wait()
    try:
        assert _forked(lambda: _look(store, MAIN)) == LOCKED
    finally:
        leave.set()
        thread.join()
    assert _forked(lambda: _look(store, MAIN)) == 0


def test_forks_while_a_thread_commits(store: Store) -> None:
    stop = threading.Event()
    _commit(store, 1)

    def writer() -> None:
        seed = 2
        while not stop.is_set():
            _commit(store, seed)
            seed += 1

    def work(number: int) -> Callable[[], None]:
        return lambda: _commit(store, 1000 + number, f"refs/heads/child{number}")

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        ends = [_forked(work(number)) for number in range(20)]
    finally:
        stop.set()
        thread.join()
    assert set(ends) <= {0, LOCKED}
    assert store.check() == []
    made = [name for name in store.refs.names() if "child" in name]
    assert len(made) == ends.count(0)


def test_a_session_stays_with_the_process_that_began_it(store: Store) -> None:
    with store.session() as session:
        session.put_bytes(b"a" * 200_000)

        def work() -> None:
            try:
                session.put_bytes(b"b" * 200_000)
            finally:
                session.close()

        assert _forked(work) == REFUSED
        (lease,) = [path for path in (store.folder / "leases").iterdir() if path.is_file()]
        store.collector().collect()
        assert lease.exists(), "the child gave up the lease of its parent"
        commit = put_commit(session, put_checkpoint(session, {"w": f32(1, 8)}))
        publish(session, store, commit)
    assert read_back(store, commit) == {"w": f32(1, 8).data}
