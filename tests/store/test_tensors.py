"""Laws 1 and 4 at the level of tensors: every dtype and shape comes back bit for bit."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.sources import BytesSink, BytesSource, commit_tensors, f32, noise, read_back
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError, MalformedRecord, MissingObject
from theta_store.ids import ParamsId, RecordId, TensorId
from theta_store.limits import Limits
from theta_store.records import Tensor
from theta_store.store import Store

SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1.17549421e-38, 3.4028235e38], "<f4"
).tobytes()
NAN_PAYLOADS = np.array([0x7FC00001, 0xFFC12345, 0x7F800001, 0xFF80DEAD], "<u4").tobytes()


def _source(name: str, shape: tuple[int, ...], seed: int) -> BytesSource:
    row = DTYPES[name]
    shape = (*shape, row.block) if row.block > 1 else shape
    return BytesSource(name, shape, noise(seed, row.size_of(shape)))


def test_every_dtype_and_odd_shape_comes_back(store: Store) -> None:
    shapes = [(), (0,), (1,), (3, 0, 2), (7, 5), (2, 3, 4, 5), (70_001,)]
    tensors = {
        f"{name} {shape}": _source(name, shape, seed)
        for seed, (name, shape) in enumerate((n, s) for n in DTYPES for s in shapes)
    }
    commit = commit_tensors(store, {k.replace(".", "_"): v for k, v in tensors.items()})
    assert read_back(store, commit) == {k.replace(".", "_"): v.data for k, v in tensors.items()}


def test_signed_zeros_subnormals_and_nan_payloads_are_bits(store: Store) -> None:
    tensors = {
        "special": BytesSource("F32", (8,), SPECIAL),
        "nan": BytesSource("F32", (4,), NAN_PAYLOADS),
    }
    assert read_back(store, commit_tensors(store, tensors)) == {
        "special": SPECIAL,
        "nan": NAN_PAYLOADS,
    }


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 40), max_size=3)),
        max_size=5,
    ),
    st.integers(0, 2**32),
)
def test_round_trip_and_identity(items: list[tuple[str, list[int]]], seed: int) -> None:
    tensors = {
        str(i): _source(name, tuple(shape), seed + i) for i, (name, shape) in enumerate(items)
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.create(Path(folder) / "s", head="refs/heads/main") as store,
    ):
        first = commit_tensors(store, tensors)
        assert read_back(store, first) == {k: v.data for k, v in tensors.items()}
        with store.session() as session:
            again = list(session.put_tensors(tensors.items()))
            assert session.stored_bytes == 0
        assert all(store.has(item.id) for item in again)


def test_order_and_checks_survive_many_threads(tmp_path: Path) -> None:
    import zlib

    tensors = {f"{i:03}": f32(i, 1 + i * 37 % 900, 300) for i in range(120)}
    Store.create(tmp_path / "s", head="refs/heads/main").close()
    with Store(tmp_path / "s", limits=Limits(threads=8)) as store, store.session() as session:
        stored = list(session.put_tensors(tensors.items(), crc=True))
        assert [item.name for item in stored] == list(tensors)
        small = stored[0]
        assert small.checks == ((zlib.crc32(tensors["000"].data), len(tensors["000"].data)),)


def test_a_failing_source_publishes_nothing_and_names_itself(store: Store) -> None:
    class Broken(BytesSource):
        def read_into(self, start: int, out: memoryview) -> None:
            raise OSError("the disk went away")

    items = [("good", f32(1, 64, 64)), ("bad", Broken("F32", (4,), b""))]
    with pytest.raises(OSError, match="went away"), store.session() as session:
        list(session.put_tensors(items))
    assert store.refs.head().commit is None
    assert store.check() == []


def test_blobs_and_ranges(store: Store) -> None:
    data = noise(3, (2 << 20) + 17)
    with store.session() as session:
        id_ = session.put_bytes(data)
        session.flush()
    assert store.read_bytes(id_) == data
    out = bytearray(1000)
    store.read_range(store.blob(id_), (1 << 20) - 500, memoryview(out))
    assert out == data[(1 << 20) - 500 : (1 << 20) + 500]


def test_a_record_with_another_number_of_chunks_is_refused(store: Store) -> None:
    with store.session() as session:
        item = next(iter(session.put_tensors([("w", f32(1, 8))])))
        record = Tensor("F32", (8,), store_chunks := ())
        lying = TensorId(session.put_record(record))
        session.flush()
    assert store_chunks == ()
    assert store.tensor(item.id).chunks
    with pytest.raises(IntegrityError, match="names 0 chunks"):
        store.read_into([(store.tensor(lying), BytesSink(32))])


class _File:
    """Bytes that are read and written by position; ``done`` are the places and lengths."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.done: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read_into(self, start: int, out: memoryview) -> None:
        self.done.append((start, len(out)))
        out[:] = memoryview(self.data)[start : start + len(out)]

    def pwrite(self, start: int, data: memoryview) -> None:
        self.done.append((start, len(data)))
        self.data[start : start + len(data)] = data


@dataclass(frozen=True)
class _Run:
    """A tensor of ``shape`` bytes that is one run of a file."""

    run: tuple[_File, int] | None
    shape: tuple[int, ...] = (16,)
    dtype: str = "U8"

    def read_into(self, start: int, out: memoryview) -> None:
        raise AssertionError("a run is read with its neighbours")


class _RunSink(BytesSink):
    """A sink in a file; it takes bytes itself where it has no run."""

    def __init__(self, run: tuple[_File, int] | None) -> None:
        super().__init__(16)
        self.run = run

    def note(self, start: int, plain: memoryview) -> None:
        assert self.run is not None
        self.seen[start : start + len(plain)] += 1


ONE, OTHER = noise(1, 128), noise(2, 64)
# The first two are neighbours, a gap follows, then another file, something else, the rest.
PLACES: Sequence[tuple[int, int] | None] = ((0, 0), (0, 16), (0, 40), (1, 0), None, (1, 16), (0, 0))
TOGETHER = [[(0, 32), (40, 16), (0, 16)], [(0, 16), (16, 16)]]


def _runs(files: Sequence[_File]) -> list[tuple[_File, int] | None]:
    return [None if place is None else (files[place[0]], place[1]) for place in PLACES]


def _lone() -> BytesSource:
    return BytesSource("U8", (16,), noise(3, 16))


def test_neighbours_in_a_file_are_read_in_one_go(store: Store) -> None:
    files = [_File(ONE), _File(OTHER)]
    sources = [_lone() if run is None else _Run(run) for run in _runs(files)]
    with store.session() as session:
        made = list(session.put_tensors((str(n), source) for n, source in enumerate(sources)))
        session.flush()
    assert [file.done for file in files] == TOGETHER
    starts = [None if place is None else ((ONE, OTHER)[place[0]], place[1]) for place in PLACES]
    for item, at in zip(made, starts, strict=True):
        out = bytearray(16)
        store.read_range(store.tensor(item.id), 0, memoryview(out))
        assert out == (noise(3, 16) if at is None else at[0][at[1] : at[1] + 16])


def test_neighbours_in_a_file_are_written_in_one_go(store: Store) -> None:
    files = [_File(bytes(128)), _File(bytes(64))]
    plain = [noise(10 + n, 16) for n in range(len(PLACES))]
    sources = ((str(n), BytesSource("U8", (16,), data)) for n, data in enumerate(plain))
    with store.session() as session:
        ids = [item.id for item in session.put_tensors(sources)]
        session.flush()
    sinks = [_RunSink(run) for run in _runs(files)]
    store.read_into(zip(store.tensors(ids), sinks, strict=True))
    assert [file.done for file in files] == TOGETHER
    assert all((sink.seen == 1).all() for sink in sinks)
    lone = PLACES.index(None)
    assert sinks[lone].data == plain[lone]
    # The last one was written over the first.
    assert files[0].data == plain[6] + plain[1] + bytes(8) + plain[2] + bytes(72)
    assert files[1].data == plain[3] + plain[5] + bytes(32)


def test_records_that_are_read_together_are_of_the_kind_that_was_asked_for(store: Store) -> None:
    with store.session() as session:
        (item,) = session.put_tensors([("w", f32(1, 8))])
        session.flush()
    assert store.tensors([item.id, item.id]) == [store.tensor(item.id)] * 2
    with pytest.raises(MalformedRecord, match="is a tensor, not a params"):
        store.nodes([ParamsId(item.id)])
    with pytest.raises(MissingObject):
        store.tensors([item.id, TensorId(RecordId(bytes(32)))])
