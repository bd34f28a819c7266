"""What all merges by angles and by nearness share: cuts, order of sides, small shapes, overflow."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.strategies.branches import normal, swap
from theta.strategies import STRATEGIES
from theta.strategies.arrays import ArrayValues, merge_arrays
from theta.strategies.base import Strategy
from theta.strategies.span import cosine, length
from theta.strategies.values import Floats


def _made(name: str, **parameters: object) -> Strategy:
    return msgspec.convert(parameters, STRATEGIES.get(name), strict=False)


PAIRS = [
    _made("slerp", t=0.3),
    _made("nuslerp", weight=[1, 3]),
    _made("nuslerp", weight=[1, 3], vectors="rows"),
    _made("nuslerp", weight=[1, 3], vectors="columns"),
    _made("arcee-fusion"),
    _made("nearswap", t=0.05),
    _made("passthrough", take=[0, 1], scale=0.5),
]
ANY = [
    _made("multislerp"),
    _made("karcher"),
    _made("model-stock"),
    _made("model-stock", filter_wise=True),
]


def _label(strategy: Strategy) -> str:
    return f"{strategy.id} {msgspec.json.encode(strategy).decode()}"


each = pytest.mark.parametrize("strategy", PAIRS + ANY, ids=_label)


@each
@pytest.mark.parametrize("cut", [1, 7, 50])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_cuts_cannot_be_seen(strategy: Strategy, cut: int, kind: type[np.floating]) -> None:
    branches = normal((6, 8), kind=kind)
    whole = merge_arrays(strategy, branches.sides, branches.base)
    assert whole.dtype == kind
    assert np.array_equal(merge_arrays(strategy, branches.sides, branches.base, cut=cut), whole)


@each
def test_the_kernel_may_be_called_from_many_threads(strategy: Strategy) -> None:
    branches = normal((64, 32))
    values = ArrayValues("w", branches.sides, branches.base, [0, 0])
    kernel = strategy.prepare(values)
    starts = list(range(0, 2048, 64))[::-1]
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda start: kernel(values.read(start, start + 64)), starts))
    merged = merge_arrays(strategy, branches.sides, branches.base)
    assert np.array_equal(np.concatenate(runs[::-1]).reshape(64, 32), merged)


@pytest.mark.parametrize("strategy", PAIRS, ids=_label)
def test_two_sides_may_be_swapped(strategy: Strategy) -> None:
    branches = normal((6, 8))
    swapped, other = swap(strategy, branches, (1, 0))
    merged = merge_arrays(strategy, branches.sides, branches.base)
    # Two products are added: their order cannot be seen.
    assert np.array_equal(merge_arrays(swapped, other.sides, other.base), merged)


@pytest.mark.parametrize("strategy", ANY, ids=_label)
@given(order=st.permutations(range(3)))
@settings(max_examples=6)
def test_many_sides_may_be_reordered(strategy: Strategy, order: list[int]) -> None:
    branches = normal((6, 8), 3)
    other = branches.swapped(order)
    merged = merge_arrays(strategy, branches.sides, branches.base)
    again = merge_arrays(strategy, other.sides, other.base)
    # The engine fixes the order; that of the additions is in the last bit.
    assert np.abs(again - merged).max() <= 1e-6


@each
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (0, 3), (4, 1), (1, 4), (2, 1, 3)])
def test_small_shapes(strategy: Strategy, shape: tuple[int, ...]) -> None:
    branches = normal(shape)
    merged = merge_arrays(strategy, branches.sides, branches.base)
    assert merged.shape == shape
    assert merged.dtype == np.float32
    assert np.isfinite(merged).all()


@each
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_constant_tensors(strategy: Strategy, value: float) -> None:
    """All terms are equal, and so all deltas are zero."""
    terms = [np.full((3, 4), value, np.float32) for _ in range(3)]
    merged = merge_arrays(strategy, terms[:2], terms[2])
    expected = value * (0.5 if strategy.id == "passthrough" else 1)
    assert np.abs(merged - expected).max() <= 1e-6


@each
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_overflow_neither_raises_nor_warns(strategy: Strategy, kind: type[np.floating]) -> None:
    top = np.full((3, 4), np.finfo(kind).max, kind)
    mixed = top * np.array([1, -1, 0.5, 0.25], kind)
    assert merge_arrays(strategy, [top, mixed], -top).shape == (3, 4)
    assert merge_arrays(strategy, [mixed, -top], top).shape == (3, 4)


@given(st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6))
def test_lengths_and_cosines_are_those_of_the_vectors(numbers: list[float]) -> None:
    terms: Floats = np.array(numbers).reshape(2, 3)
    gram = (terms @ terms.T).tolist()
    total = np.linalg.norm(terms[0] * 2 - terms[1])
    scale = 1 + np.abs(terms).max()
    assert abs(length((2.0, -1.0), gram) - total) <= 1e-6 * scale
    assert -1 <= cosine(gram, 0, 1) <= 1
    sizes = np.linalg.norm(terms, axis=1)
    assert abs(cosine(gram, 0, 1) * sizes.prod() - gram[0][1]) <= 1e-9 * scale**2
