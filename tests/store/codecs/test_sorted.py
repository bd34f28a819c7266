"""The codec sorted gives every bit back for any key, composes along chains, and refuses damage."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.codecs.residuals import (
    KINDS,
    SCRATCH,
    count_refused,
    decode,
    encode,
    golden,
    golden_pair,
    guess_of,
    of_width,
    pair,
    sizes,
    weights,
)
from theta_store.codecs import Delta, Guess, Sorted
from theta_store.codecs.exponents import exponent_code, order_of
from theta_store.codecs.frames import expand, huffman_groups
from theta_store.codecs.plane import FRAME, unpack_entries
from theta_store.codecs.sorted import code_of, differences, encode_in_order, place
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError, UsageError

pytestmark = pytest.mark.usefixtures("loops")

SORTED = Sorted()
WIDTHS = st.sampled_from([1, 2, 4, 8])
SORTABLE = [name for name in sorted(DTYPES) if exponent_code(DTYPES[name]) is not None]


def adam(base: bytes, steps: int, seed: int) -> bytes:
    """Return BF16 weights after some steps of equal size and random sign, rounded each time."""
    random = np.random.default_rng(seed)
    bits = np.frombuffer(base, "<u2")
    for _ in range(steps):
        values = (bits.astype("<u4") << 16).view("<f4")
        values = values + np.float32(1e-5) * random.choice([-1, 1], len(bits)).astype("f4")
        bits = ((values.view("<u4") + 0x8000) >> 16).astype("<u2")
    return bits.tobytes()


@settings(deadline=None, max_examples=300)
@given(
    kind=st.sampled_from(KINDS),
    size=sizes(),
    width=WIDTHS,
    seed=st.integers(0, 999),
    key=st.sampled_from(["guess", "random", "zeros"]),
)
def test_decode_gives_the_plain_bytes_back(
    kind: str, size: int, width: int, seed: int, key: str
) -> None:
    plain, guess = pair(kind, size, width, seed)
    keys = {"guess": guess, "random": np.random.default_rng(seed).bytes(size), "zeros": bytes(size)}
    sorting = guess_of(guess, keys[key])
    payload = encode(SORTED, plain, sorting, of_width(width))
    assert decode(SORTED, payload, sorting, size, width) == plain


@pytest.mark.parametrize("name", SORTABLE)
def test_every_dtype_with_exponents_and_a_megabyte(name: str) -> None:
    row = DTYPES[name]
    plain, guess = pair("near", 1 << 20, row.width, 3)
    sorting = guess_of(guess, guess)
    payload = encode(SORTED, plain, sorting, row)
    assert len(payload) < len(plain)
    assert decode(SORTED, payload, sorting, len(plain), row.width) == plain


@pytest.mark.parametrize("name", sorted(set(DTYPES) - set(SORTABLE)))
def test_a_dtype_without_exponents_is_not_sorted(name: str) -> None:
    assert not DTYPES[name].is_float or name == "F8_E8M0"
    with pytest.raises(UsageError, match="exponents"):
        encode(SORTED, b"", guess_of(b"", b""), DTYPES[name])


def test_without_a_key_nothing_is_sorted() -> None:
    with pytest.raises(UsageError):
        encode(SORTED, bytes(8), guess_of(bytes(8)), DTYPES["F32"])
    payload = encode(SORTED, bytes(8), guess_of(bytes(8), bytes(8)), DTYPES["F32"])
    with pytest.raises(IntegrityError, match="key"):
        decode(SORTED, payload, guess_of(bytes(8)), 8, 4)
    with pytest.raises(IntegrityError, match="guess"):
        decode(SORTED, payload, guess_of(bytes(8), bytes(4)), 8, 4)


def test_equal_steps_of_all_weights_get_much_smaller_when_sorted() -> None:
    base = weights(1 << 17, 2)
    plain = adam(base, 4, 1)
    sorting = guess_of(base, base)
    payload = encode(SORTED, plain, sorting, DTYPES["BF16"])
    delta = encode(Delta(), plain, Guess(sorting.plain), DTYPES["BF16"])
    assert len(payload) < 0.7 * len(delta)


def test_a_table_for_each_group_pays() -> None:
    base = np.frombuffer(weights(1 << 17, 4), "<f4")
    signs = np.random.default_rng(1).choice([-1, 1], len(base)).astype(np.float32)
    plain = memoryview((base + np.float32(1e-5) * signs).tobytes())
    guess = guess_of(base.tobytes())
    order = order_of(guess.plain, 1, 4, SCRATCH)
    grouped = len(encode_in_order(plain, guess, order, SCRATCH))
    assert grouped < 0.96 * len(encode_in_order(plain, guess, replace(order, bounds=()), SCRATCH))


def test_a_chain_is_decoded_with_one_order() -> None:
    history = [weights(30_001, 2) + b"\1"]
    for seed in range(3):
        history.append(adam(history[-1][:-1], 3, seed) + bytes([seed]))
    key = history[0]
    order = order_of(guess_of(key).plain, 1, 2, SCRATCH)
    total = np.zeros(30_001, "<u2")
    for before, after in pairwise(history):
        payload = bytes(encode_in_order(memoryview(after), guess_of(before), order, SCRATCH))
        assert payload == encode(SORTED, after, guess_of(before, key), DTYPES["BF16"])
        total += differences(memoryview(payload), order, len(after), SCRATCH)
    out = bytearray(len(key))
    place(total, order, guess_of(history[0]), memoryview(out), SCRATCH)
    assert out[:-1] == history[-1][:-1]


def test_an_order_of_another_key_is_refused() -> None:
    plain, guess = pair("near", 400, 4, 1)
    payload = memoryview(encode(SORTED, plain, guess_of(guess, guess), DTYPES["F32"]))
    order = order_of(guess_of(guess[:200]).plain, 1, 4, SCRATCH)
    with pytest.raises(IntegrityError, match="order"):
        differences(payload, order, 400, SCRATCH)
    halves = order_of(guess_of(guess).plain, 2, 2, SCRATCH)
    with pytest.raises(IntegrityError, match="order"):
        differences(payload, halves, 400, SCRATCH)
    with pytest.raises(UsageError, match="order"):
        encode_in_order(memoryview(plain), guess_of(guess), order, SCRATCH)


def test_frames_are_ordinary_ones() -> None:
    base = weights(1 << 17, 2)
    payload = memoryview(encode(SORTED, adam(base, 9, 2), guess_of(base, base), DTYPES["BF16"]))
    coded, _ = unpack_entries(payload, 2, 2)
    assert code_of(payload) == 1
    for kind, data in coded:
        if kind == FRAME:
            assert len(zstandard.ZstdDecompressor().decompress(bytes(data))) == 1 << 17
    plane = np.random.default_rng(1).integers(0, 9, 20_000).astype(np.uint8)
    frame = huffman_groups(plane.data, [5000, 5000, 12_000, 20_000], SCRATCH)
    assert expand(memoryview(frame), 20_000, SCRATCH) == plane.tobytes()


def test_every_damaged_payload_is_refused_or_gives_other_bytes() -> None:
    for count, width, spread, every in ((60, 4, 300, 1), (1500, 2, 3, 9), (5, 8, 3, 2)):
        plain, guess = golden_pair(count, width, spread, every, tail=width > 1)
        sorting = guess_of(guess, guess)
        payload = encode(SORTED, plain, sorting, of_width(width))
        # Whatever is cut off or added shows in the lengths.
        assert count_refused(SORTED, payload, sorting, of_width(width)) > len(payload)


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5, 6, 255])
def test_an_exponent_that_these_words_do_not_have_is_refused(code: int) -> None:
    payload = bytearray(encode(SORTED, bytes(8), guess_of(bytes(8), bytes(8)), DTYPES["F32"]))
    payload[1] = code
    with pytest.raises(IntegrityError, match="exponents"):
        decode(SORTED, bytes(payload), guess_of(bytes(8), bytes(8)), 8, 4)


def golden_cases() -> dict[str, tuple[int, tuple[bytes, bytes]]]:
    """Return width, plain bytes and guess (which is the key, too) of each golden payload."""
    return {
        "sorted-1": (1, golden_pair(700, 1, 6, 2)),
        "sorted-2-groups": (2, golden_pair(13_000, 2, 5, 3)),
        "sorted-4": (4, golden_pair(200, 4, 4000, 1, tail=3)),
        "sorted-8": (8, golden_pair(60, 8, 300, 2)),
    }


@pytest.mark.parametrize("name", golden_cases())
def test_golden_payloads_are_read_forever(name: str) -> None:
    width, (plain, guess) = golden_cases()[name]
    assert decode(SORTED, golden(name), guess_of(guess, guess), len(plain), width) == plain
