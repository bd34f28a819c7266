"""Several tensors read together are what each is by itself, however they lie on one another."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.sources import MAIN
from tests.store.updates import source, trained, weights
from theta_store.errors import IntegrityError
from theta_store.hints import Base
from theta_store.ids import ChunkId, TensorId
from theta_store.records import Tensor
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


def test_a_common_base_is_decoded_once(
    kept: tuple[Store, list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, records = kept
    decoded: list[ChunkId] = []
    decode = type(store._chunks).decode

    def counted(chunks: object, id_: ChunkId, *rest: object) -> None:
        decoded.append(id_)
        decode(chunks, id_, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store._chunks), "decode", counted)
    outs = [bytearray(SIZE) for _ in range(3)]
    store.read_ranges(records[:3], 0, [memoryview(out) for out in outs])
    assert sorted(decoded) == sorted({id_ for record in records[:3] for id_ in record.chunks})


def test_a_damaged_one_is_named(kept: tuple[Store, list[Tensor]]) -> None:
    store, records = kept
    gone = Tensor(
        "F32", SHAPE, tuple(ChunkId(np.full(32, i, np.uint8).tobytes()) for i in range(3))
    )
    outs = [bytearray(SIZE) for _ in range(2)]
    with pytest.raises(IntegrityError, match="is missing"):
        store.read_ranges([records[0], gone], 0, [memoryview(out) for out in outs])
