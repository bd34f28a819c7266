"""Several tensors read together are what each is by itself, however they lie on one another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.sources import MAIN
from tests.store.updates import source, trained, weights
from theta_store.chunking import ranges_of
from theta_store.chunks import Chunks, Needs
from theta_store.errors import IntegrityError
from theta_store.hints import Base
from theta_store.ids import ChunkId, TensorId
from theta_store.objects import encoded
from theta_store.records import Tensor
from theta_store.scratch import Scratch
from theta_store.store import Store

SHAPE = (700, 1000)
SIZE = 700 * 1000 * 4


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Tensor]]]:
    base = weights(1, *SHAPE)
    first, second = trained(base, 2), trained(base, 3)
    folder: Path = tmp_path_factory.mktemp("store") / "s"
    with Store.create(folder, head=MAIN) as store:
        ids: list[TensorId] = []
        for values in (base, first, second, trained(first, 4), weights(9, *SHAPE)):
            with store.session() as session:
                hints = [Base(id_) for id_ in ids[:1]]
                named = [("w", source(values))]
                (stored,) = session.put_tensors(named, hints=lambda _, hints=hints: hints)
                session.flush()
            ids.append(stored.id)
        records = [store.tensor(id_) for id_ in ids]
        assert [store.kept(r)[0].predictor for r in records[:3]] == ["none", "same", "same"]
        yield store, records


def alone(store: Store, record: Tensor, start: int, stop: int) -> bytes:
    out = bytearray(stop - start)
    store.read_range(record, start, memoryview(out))
    return bytes(out)


@settings(deadline=None, max_examples=30)
@given(
    chosen=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    ends=st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted),
)
def test_it_gives_what_each_gives_alone(
    kept: tuple[Store, list[Tensor]], chosen: list[int], ends: list[int]
) -> None:
    store, records = kept
    start, stop = ends
    outs = [bytearray(stop - start) for _ in chosen]
    store.read_ranges([records[i] for i in chosen], start, [memoryview(out) for out in outs])
    for number, out in zip(chosen, outs, strict=True):
        assert bytes(out) == alone(store, records[number], start, stop)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[ChunkId]:
    """Which chunks were decoded."""
    found: list[ChunkId] = []
    decode = Chunks.decode

    def counted(chunks: Chunks, id_: ChunkId, *rest: Any) -> None:
        found.append(id_)
        decode(chunks, id_, *rest)

    monkeypatch.setattr(Chunks, "decode", counted)
    return found


def test_a_common_base_is_decoded_once(
    kept: tuple[Store, list[Tensor]], decoded: list[ChunkId]
) -> None:
    store, records = kept
    outs = [bytearray(SIZE) for _ in range(3)]
    store.read_ranges(records[:3], 0, [memoryview(out) for out in outs])
    assert sorted(decoded) == sorted({id_ for record in records[:3] for id_ in record.chunks})


@dataclass(frozen=True)
class Nearby:
    """A tensor, but for every so-manieth sign, read so that it is remembered, or not."""

    store: Store
    records: Sequence[Tensor]
    whole: bytes | None
    near: int | None
    step: int
    dtype: str = "F32"
    shape: tuple[int, ...] = SHAPE

    def read_into(self, start: int, out: memoryview) -> None:
        stop = start + len(out)
        if self.whole is None:
            rest = [memoryview(bytearray(len(out))) for _ in self.records[1:]]
            self.store.read_ranges(self.records, start, [out, *rest], near=self.near)
        else:
            out[:] = memoryview(self.whole)[start:stop]
            self.store.remember(self.records[0], start, memoryview(self.whole)[start:stop])
        np.frombuffer(out, "<u4")[:: self.step] ^= 1 << 31


@pytest.mark.parametrize(("held", "near", "times"), [(0, 0, 1), (0, 1, 2), (1, None, 0)])
def test_what_is_near_is_not_decoded_again_for_what_is_stored_on_it(
    kept: tuple[Store, list[Tensor]],
    decoded: list[ChunkId],
    held: bool,
    near: int | None,
    times: int,
) -> None:
    store, records = kept
    base = records[4]
    whole = alone(store, base, 0, SIZE)
    decoded.clear()
    nearby = Nearby(store, [base, records[0]], whole if held else None, near, 1000 + times)
    hints = [Base(TensorId(encoded(base).id), discover=False)]
    with store.session() as session:
        (made,) = session.put_tensors([("w", nearby)], hints=lambda _: hints)
        session.flush()
    assert [decoded.count(id_) for id_ in base.chunks] == [times] * len(base.chunks)
    record = store.tensor(made.id)
    assert store.kept(record)[0].predictor == "same"
    wanted = np.frombuffer(whole, "<f4").copy()
    for start, stop in ranges_of(record):
        wanted[start // 4 : stop // 4 : nearby.step] *= -1
    assert alone(store, record, 0, SIZE) == wanted.tobytes()


def test_what_is_no_whole_chunk_is_not_remembered(
    kept: tuple[Store, list[Tensor]], decoded: list[ChunkId]
) -> None:
    store, records = kept
    base = records[4]
    (_, stop), *_ = ranges_of(base)
    whole = alone(store, base, 0, SIZE)
    scratch = Scratch()
    store._chunks.remember(base, 4, memoryview(whole)[4:stop], scratch)
    store._chunks.remember(base, 0, memoryview(whole)[: stop + 4], scratch)
    decoded.clear()
    chain = store._chunks.chain(base.chunks[:1])
    assert Needs(store._chunks, chain, scratch).chunk(base.chunks[0]).tobytes() == whole[:stop]
    assert decoded == [base.chunks[0]]


def test_a_damaged_one_is_named(kept: tuple[Store, list[Tensor]]) -> None:
    store, records = kept
    gone = Tensor(
        "F32", SHAPE, tuple(ChunkId(np.full(32, i, np.uint8).tobytes()) for i in range(3))
    )
    outs = [bytearray(SIZE) for _ in range(2)]
    with pytest.raises(IntegrityError, match="is missing"):
        store.read_ranges([records[0], gone], 0, [memoryview(out) for out in outs])
