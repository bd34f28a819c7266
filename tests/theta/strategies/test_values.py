"""Terms as numbers, and random numbers that depend on the key and the place alone."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta.strategies.arrays import ArrayValues
from theta.strategies.values import Block, philox_key, philox_uniform
from theta_store.errors import UsageError

KEY = 0x0123456789ABCDEF0FEDCBA987654321
# 24-bit numbers of the stream of KEY, from its start and from far inside. Never to change.
FIRST = [
    6023587,
    2899901,
    9166468,
    13801558,
    2353703,
    11403772,
    16507708,
    2143914,
    2133373,
    7053821,
    9056302,
    8799046,
]
FAR = [14367124, 7917009, 11095111, 5387733]
WORD = 2**-24


def _values(shape: tuple[int, ...], *, base: bool = True) -> ArrayValues:
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return ArrayValues("w", [numbers + 1, numbers * 3], numbers if base else None, [1, 2])


def test_the_key_is_a_digest_of_all_parts() -> None:
    assert philox_key(7, "dare", "layers.0.w", b"\x01\x02") == 0xA074AB9D0D5DAFA3E8FA1C4DA4250897
    parts = [b"7", b"dare", b"layers.0.w", b"\x01\x02"]
    text = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    expected = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
    assert philox_key(7, "dare", "layers.0.w", b"\x01\x02") == expected


@pytest.mark.parametrize(
    "other",
    [
        (8, "dare", "w", b"p"),
        (7, "della", "w", b"p"),
        (7, "dare", "v", b"p"),
        (7, "dare", "w", b"q"),
    ],
)
def test_every_part_changes_the_key(other: tuple[int, str, str, bytes]) -> None:
    assert philox_key(7, "dare", "w", b"p") != philox_key(*other)


def test_parts_do_not_run_into_each_other() -> None:
    assert philox_key(1, "a", "bc", b"") != philox_key(1, "ab", "c", b"")
    assert philox_key(1, "a", "b", b"") != philox_key(1, "a", "", b"b")


def test_the_numbers_of_a_key_are_golden() -> None:
    assert (philox_uniform(KEY, 0, 12) / WORD).astype(int).tolist() == FIRST
    far = (philox_uniform(KEY, 2**40 + 3, 2**40 + 7) / WORD).astype(int)
    assert far.tolist() == FAR


def test_the_numbers_are_those_of_philox_4x64_10() -> None:
    """The first block of the published test vectors (Random123: kat_vectors), key and counter 0."""
    # numpy adds one to the counter before the first block.
    published = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    words = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
    assert words.tolist() == published


@settings(deadline=None)
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**34), st.lists(st.integers(0, 40), max_size=8))
def test_cuts_of_the_stream_cannot_be_seen(key: int, start: int, sizes: list[int]) -> None:
    places = np.cumsum([start, *sizes]).tolist()
    pieces = [philox_uniform(key, *cut) for cut in itertools.pairwise(places)]
    whole = philox_uniform(key, start, places[-1])
    assert np.array_equal(np.concatenate([*pieces, whole[:0]]), whole)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**30))
def test_the_numbers_are_even_in_zero_to_one(key: int, start: int) -> None:
    numbers = philox_uniform(key, start, start + 4096)
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.array_equal(numbers / WORD, np.rint(numbers / WORD))
    # Ten standard errors of a mean of 4,096.
    assert abs(float(numbers.mean()) - 0.5) < 10 * 12**-0.5 / 64


@pytest.mark.parametrize("shape", [(7,), (), (0,), (3, 0), (2, 3, 4)])
@pytest.mark.parametrize("elements", [1, 5, 1 << 19])
def test_blocks_cover_the_tensor_in_order(shape: tuple[int, ...], elements: int) -> None:
    values = _values(shape)
    blocks = list(values.blocks(elements))
    places = [place for block in blocks for place in range(block.start, block.stop)]
    assert places == list(range(values.elements))
    joined = np.concatenate([np.empty(0, np.float32), *(block.sides[1] for block in blocks)])
    assert np.array_equal(joined, values.whole().sides[1])


def test_a_block_is_a_copy() -> None:
    values = _values((4,))
    block = values.read(1, 3)
    for term in (*block.sides, block.base):
        assert term is not None
        term.fill(9)
    assert np.array_equal(values.read(1, 3).sides[0], [2, 3])
    assert values.base is not None
    assert np.array_equal(values.base, [0, 1, 2, 3])


def test_deltas_are_sides_minus_base_and_made_once() -> None:
    block = _values((4,)).whole()
    assert [delta.tolist() for delta in block.deltas] == [[1, 1, 1, 1], [0, 2, 4, 6]]
    assert block.deltas is block.deltas


def test_deltas_that_overflow_do_not_warn() -> None:
    top = np.full(1, np.finfo(np.float32).max)
    assert np.isinf(Block(0, (top,), -top).deltas[0]).all()


def test_a_statistic_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="w: no fisher"):
        _values((2,)).statistic("fisher")
