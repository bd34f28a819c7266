"""The k greatest of a stream are those that a stable sort finds, however the stream is read."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, kept_by_sorting, lattices
from theta.strategies import bracket, trimming
from theta.strategies.arrays import ArrayValues
from theta.strategies.bracket import Bracket
from theta.strategies.trimming import Cut, count_of, greatest, keep_only
from theta.strategies.values import BLOCK_ELEMENTS, Block, Floats


def _values(*streams: Floats) -> ArrayValues:
    return ArrayValues("w", streams, None, ())


def _streams(block: Block) -> tuple[Floats, ...]:
    return block.sides


def _kept(stream: Floats, count: int) -> Floats:
    (cut,) = greatest(_values(stream), _streams, [(0, count)])
    return keep_only(stream.copy(), cut.kept(stream, 0))


def _expected(stream: Floats, count: int) -> Floats:
    order = np.argsort(-np.abs(stream), kind="stable")[:count]
    out = np.zeros_like(stream)
    out[order] = stream[order]
    return out


@given(lattices(1, 1), st.data())
def test_a_small_stream_is_cut_as_by_sorting(branches: Branches, data: st.DataObject) -> None:
    stream = branches.sides[0]
    count = data.draw(st.integers(1, max(len(stream), 1)))
    assert np.array_equal(_kept(stream, count), kept_by_sorting(stream, count))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=30),
    st.sampled_from([np.float32, np.float64]),
    st.data(),
)
def test_any_numbers_are_cut(numbers: list[float], kind: type, data: st.DataObject) -> None:
    with np.errstate(over="ignore"):
        stream = np.array(numbers).astype(kind)
    count = data.draw(st.integers(1, len(numbers)))
    assert np.array_equal(_kept(stream, count), _expected(stream, count))


LARGE = BLOCK_ELEMENTS * 2 + 12345


@pytest.fixture(params=[0, 1 << 25], ids=["read again", "held"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "_HELD_BYTES", request.param)


@pytest.fixture(params=["right", "wrong", "too wide", "not made"], autouse=True)
def guess(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sample says must not matter."""
    if request.param == "wrong":
        wrong = classmethod(lambda cls, _sample, kept, _elements: cls(7, 9, kept))
        monkeypatch.setattr(Bracket, "around", wrong)
    elif request.param == "too wide":
        monkeypatch.setattr(bracket, "_MOST", 10)
    elif request.param == "not made":
        monkeypatch.setattr(Bracket, "found", lambda _: None)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("share", [1e-6, 0.2, 0.7])
@pytest.mark.parametrize(
    ("kind", "levels"), [("f4", None), ("f4", 3), ("f8", None), ("f8", 3)], ids=str
)
def test_a_large_stream_is_cut_in_passes(kind: str, levels: int | None, share: float) -> None:
    random = np.random.Generator(np.random.PCG64(7))
    stream = random.standard_normal(LARGE).astype(kind)
    if levels:
        stream = (np.round(stream * levels) / levels).astype(kind)
    count = count_of(share, LARGE)
    assert np.array_equal(_kept(stream, count), _expected(stream, count))


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_numbers_that_differ_in_their_last_bits_are_told_apart(kind: str) -> None:
    random = np.random.Generator(np.random.PCG64(8))
    unsigned = np.dtype(kind).str.replace("f", "u")
    stream = np.full(LARGE, 1.5, kind)
    stream.view(unsigned)[:] += random.integers(0, 3, LARGE).astype(unsigned)
    assert np.array_equal(_kept(stream, LARGE // 2), _expected(stream, LARGE // 2))


@pytest.mark.usefixtures("held")
def test_of_equal_numbers_the_first_are_kept() -> None:
    count = BLOCK_ELEMENTS + 5
    (cut,) = greatest(_values(np.full(LARGE, -2.0, "f4")), _streams, [(0, count)])
    assert cut == Cut(int(np.float32(2).view("u4")), count - 1)


class _Chunks(ArrayValues):
    """Read in chunks of uneven sizes, as a store does."""

    def blocks(self, elements: int = 0) -> Iterator[Block]:
        assert not elements
        bounds = [0, 1, 70_000, 70_003, 150_000, self.elements]
        for start, stop in pairwise(bounds):
            yield self.read(start, stop)


@pytest.mark.usefixtures("held")
def test_the_runs_may_be_of_any_size() -> None:
    random = np.random.Generator(np.random.PCG64(10))
    stream = random.integers(-9, 9, 200_000).astype("f4")
    for count in range(1, 200_000, 9_999):
        (cut,) = greatest(_Chunks("w", [stream], None, ()), _streams, [(0, count)])
        assert np.array_equal(
            keep_only(stream.copy(), cut.kept(stream, 0)), _expected(stream, count)
        )


@pytest.mark.usefixtures("held")
def test_several_streams_are_cut_at_once() -> None:
    random = np.random.Generator(np.random.PCG64(9))
    streams = [random.standard_normal(100_000).astype("f4") for _ in range(2)]
    wanted = [(1, 10), (0, 60_000), (0, 60_001), (1, 100_000)]
    cuts = greatest(_values(*streams), _streams, wanted)
    for (which, count), cut in zip(wanted, cuts, strict=True):
        stream = streams[which]
        assert np.array_equal(
            keep_only(stream.copy(), cut.kept(stream, 0)), _expected(stream, count)
        )
    assert cuts[3].keeps_all


def test_keeping_all_reads_nothing() -> None:
    def fail(block: Block) -> tuple[Floats, ...]:
        raise AssertionError("no pass is needed")

    assert greatest(_values(np.ones(5, "f4")), fail, [(0, 5), (0, 9)]) == (Cut(), Cut())


@given(lattices(1, 1), st.integers(1, 9), st.data())
def test_a_cut_does_not_see_runs(branches: Branches, step: int, data: st.DataObject) -> None:
    stream = branches.sides[0]
    count = data.draw(st.integers(1, max(len(stream), 1)))
    (cut,) = greatest(_values(stream), _streams, [(0, count)])
    runs = [cut.kept(stream[at : at + step], at) for at in range(0, len(stream), step)]
    assert np.array_equal(np.concatenate([*runs, np.empty(0, bool)]), cut.kept(stream, 0))


def test_what_is_dropped_becomes_zero_even_if_infinite() -> None:
    stream = np.array([np.inf, -np.inf, -3], "f4")
    out = keep_only(stream, np.array([False, False, True]))
    assert out.tobytes() == np.array([0, 0, -3], "f4").tobytes()


@pytest.mark.parametrize(
    ("share", "elements", "count"), [(0.2, 10, 2), (0.2, 4, 1), (1.0, 7, 7), (0.5, 0, 0)]
)
def test_a_share_is_rounded_down_but_never_to_nothing(
    share: float, elements: int, count: int
) -> None:
    assert count_of(share, elements) == count


def test_a_small_tensor_is_read_once() -> None:
    reads = []

    class Counted(ArrayValues):
        def read(self, start: int, stop: int) -> Block:
            reads.append((start, stop))
            return super().read(start, stop)

    stream = np.tile(np.array([1, -2, 3], "f4"), 200_000)
    greatest(Counted("w", [stream], None, ()), _streams, [(0, 1), (0, 300_000)])
    assert reads == [(0, BLOCK_ELEMENTS), (BLOCK_ELEMENTS, 600_000)]
