"""What follows from stored tensors is stored as it was computed: once, and to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.sources import BytesSink
from tests.store.updates import source, trained, weights
from theta_store.arithmetic import is_computable, is_finite, widen
from theta_store.dtypes import DTYPES, dtype
from theta_store.hints import Adapter, Base, Hint, Sum
from theta_store.ids import TensorId
from theta_store.predictors import weighted_sum
from theta_store.store import Store

pytestmark = pytest.mark.usefixtures("loops")

SHAPE = (700, 512)


@pytest.fixture
def sides(store: Store) -> tuple[TensorId, ...]:
    base = weights(1, *SHAPE)
    tensors = [source(trained(base, seed), "F32") for seed in (2, 3)]
    with store.session() as session:
        made = tuple(
            s.id for s in session.put_tensors([(str(i), t) for i, t in enumerate(tensors)])
        )
        session.flush()
    return made


def test_who_stores_a_sum_computes_it_once(
    store: Store, sides: tuple[TensorId, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    inner = weighted_sum.predict

    def counted(*arguments: object) -> object:
        computed.append(1)
        return inner(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(weighted_sum, "predict", counted)
    hint = Sum(sides, (0.25, 0.75))
    hints: list[Hint] = [hint, Base(sides[0])]
    with store.session() as session:
        (made,) = session.put_tensors([("w", store.sum_of(hint))], hints=lambda _: hints)
        session.flush()
    record = store.tensor(made.id)
    assert len(computed) == len(record.chunks) > 1
    (kept,) = store.kept(record)
    assert kept.predictor == "weighted-sum"
    assert kept.stored < 200 * len(record.chunks)
    sink = BytesSink(record.nbytes)
    store.read_into([(record, sink)])
    parts = []
    for id_ in sides:
        side = BytesSink(record.nbytes)
        store.read_into([(store.tensor(id_), side)])
        parts.append(np.frombuffer(side.data, "<f4"))
    quarter, rest = np.float32(0.25), np.float32(0.75)
    assert bytes(sink.data) == (quarter * parts[0] + rest * parts[1]).tobytes()


def test_another_sum_of_the_same_tensors_is_not_taken_for_it(
    store: Store, sides: tuple[TensorId, ...]
) -> None:
    first, second = Sum(sides, (0.25, 0.75)), Sum(sides, (0.5, 0.5))
    with store.session() as session:
        (made,) = session.put_tensors([("w", store.sum_of(first))], hints=lambda _: [second])
        session.flush()
    record = store.tensor(made.id)
    out = bytearray(record.nbytes)
    store.read_range(record, 0, memoryview(out))
    wanted = bytearray(record.nbytes)
    source_ = store.sum_of(first)
    start = 0
    while start < len(wanted):
        stop = min(start + (1 << 20), len(wanted))
        source_.read_into(start, memoryview(wanted)[start:stop])
        start = stop
    assert out == wanted


COMPUTABLE = sorted(name for name, row in DTYPES.items() if is_computable(row))


@given(st.sampled_from(COMPUTABLE), st.binary(min_size=8, max_size=160))
def test_what_is_finite(name: str, plain: bytes) -> None:
    row = dtype(name)
    whole = plain[: len(plain) // row.nbytes * row.nbytes]
    assert is_finite(whole, row) == bool(np.isfinite(widen(whole, row)).all())


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16"])
def test_an_adapted_tensor_is_its_factors_and_nothing_else(store: Store, kind: str) -> None:
    rng = np.random.default_rng(3)
    left, right = (rng.normal(0, 0.03, s).astype(np.float32) for s in ((700, 8), (8, 512)))
    with store.session() as session:
        named = [("base", source(weights(1, *SHAPE), kind)), ("l", source(left, "F32"))]
        named.append(("r", source(right, "F32")))
        hint = Adapter(*(stored.id for stored in session.put_tensors(named)))
        session.flush()
        before = session.stored_bytes
        adapted = store.adapted(hint)
        (made,) = session.put_tensors([("new", adapted)], hints=lambda _: [hint])
        session.flush()
        stored = session.stored_bytes - before
    assert stored < 300
    sink = BytesSink(store.tensor(made.id).nbytes)
    store.read_into([(store.tensor(made.id), sink)])
    values = widen(bytes(sink.data), dtype(kind)).astype(np.float64).reshape(SHAPE)
    base = BytesSink(len(sink.data))
    store.read_into([(store.tensor(hint.base), base)])
    exact = widen(bytes(base.data), dtype(kind)).astype(np.float64).reshape(SHAPE)
    exact += left.astype(np.float64) @ right
    unit = {"F32": 2.0**-24, "BF16": 2.0**-8, "F16": 2.0**-11}[kind]
    assert np.abs(values - exact).max() <= 1.01 * unit * np.abs(exact).max()
