"""The codec delta gives every bit back, whatever the guess, and refuses what is damaged."""

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
)
from theta_store.codecs import Bitmap, Delta, Guess, Planes, ResidualCodec, Sorted
from theta_store.codecs.frames import huffman
from theta_store.codecs.packed import PACKED, decode_skewed, encode_skewed
from theta_store.codecs.plane import CONSTANT, FRAME, RAW, pack_entries, unpack_entries
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError

pytestmark = pytest.mark.usefixtures("loops")

DELTA = Delta()
WIDTHS = st.sampled_from([1, 2, 4, 8])


@settings(deadline=None, max_examples=300)
@given(kind=st.sampled_from(KINDS), size=sizes(), width=WIDTHS, seed=st.integers(0, 999))
def test_decode_gives_the_plain_bytes_back(kind: str, size: int, width: int, seed: int) -> None:
    plain, guess = pair(kind, size, width, seed)
    payload = encode(DELTA, plain, guess_of(guess), of_width(width))
    assert decode(DELTA, payload, guess_of(guess), size, width) == plain


@settings(deadline=None, max_examples=100)
@given(plain=st.binary(max_size=64), data=st.data(), width=WIDTHS)
def test_any_bytes_are_a_guess(plain: bytes, data: st.DataObject, width: int) -> None:
    guess = data.draw(st.binary(min_size=len(plain), max_size=len(plain)))
    payload = encode(DELTA, plain, guess_of(guess), of_width(width))
    assert decode(DELTA, payload, guess_of(guess), len(plain), width) == plain


@pytest.mark.parametrize("name", sorted(DTYPES))
@pytest.mark.parametrize("size", [0, 1, 3, 8, 31, 4096, 100_003])
def test_what_is_known_to_be_exact_has_the_same_payload(name: str, size: int) -> None:
    row, plain = DTYPES[name], np.random.default_rng(size).bytes(size)
    guess = Guess(np.frombuffer(plain, np.uint8))
    found = DELTA.encode_exact(memoryview(plain), dtype=row, head=b"head")
    view = memoryview(plain)
    assert found == DELTA.encode(view, guess, dtype=row, scratch=SCRATCH, head=b"head")


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_and_a_megabyte(name: str) -> None:
    row = DTYPES[name]
    plain, guess = pair("near", (1 << 20) // row.nbytes * row.nbytes, row.width, 3)
    payload = encode(DELTA, plain, guess_of(guess), row)
    assert len(payload) < len(plain)
    assert decode(DELTA, payload, guess_of(guess), len(plain), row.width) == plain


def test_memory_at_odd_addresses() -> None:
    plain, guess = pair("near", 4001, 4, 1)
    shifted = np.frombuffer(b"\0" + guess, np.uint8)[1:]
    payload = encode(DELTA, plain, guess_of(guess), DTYPES["F32"])
    out = memoryview(bytearray(4002))[1:]
    DELTA.decode(memoryview(payload), Guess(shifted), out, width=4, scratch=SCRATCH)
    assert out == plain
    assert encode(DELTA, (b"\0" + plain)[1:], guess_of(guess), DTYPES["F32"]) == payload


def test_planes_above_the_largest_residual_cost_nothing() -> None:
    plain, guess = pair("near", 1 << 16, 8, 2)
    payload = encode(DELTA, plain, guess_of(guess), DTYPES["F64"])
    assert len(payload) < (1 << 13) + 100
    same = encode(DELTA, plain, guess_of(plain), DTYPES["F64"])
    assert same == bytes(1) + pack_entries([(CONSTANT, b"\0")] * 8) + bytes(8)


def test_a_step_of_an_optimiser_is_smaller_than_the_chunk_alone() -> None:
    base = np.frombuffer(golden_pair(1 << 18, 4, 3, 1)[1], "<f4")
    plain = (base + np.float32(1e-9)).tobytes()
    alone = Planes().encode(memoryview(plain), width=4, scratch=SCRATCH)
    guess = guess_of(base.tobytes())
    assert len(encode(DELTA, plain, guess, DTYPES["F32"])) < 0.7 * len(alone)


@settings(deadline=None, max_examples=150)
@given(
    size=st.integers(0, 20_000),
    share=st.sampled_from([0.0, 0.001, 0.05, 0.19, 0.6]),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(1, 19_999), max_size=5),
)
def test_planes_of_small_bytes_come_back_whole(
    size: int, share: float, seed: int, cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    plane = random.integers(0, 3, size).astype(np.uint8)
    large = random.random(size) < share
    plane[large] = random.integers(3, 256, int(large.sum()))
    bounds = [*sorted({cut for cut in cuts if cut < size}), size]
    kind, data = encode_skewed(plane, SCRATCH, bounds)
    back = decode_skewed(kind, memoryview(bytes(data)), size, SCRATCH, "test")
    assert np.array_equal(np.broadcast_to(np.asarray(back, np.uint8), size), plane)


def test_packing_goes_below_one_bit_a_byte() -> None:
    random = np.random.default_rng(1)
    plane = (random.random(1 << 16) < 0.2).astype(np.uint8)
    kind, data = encode_skewed(plane, SCRATCH)
    entropy = -(0.2 * np.log2(0.2) + 0.8 * np.log2(0.8)) / 8
    assert kind == PACKED
    assert len(data) < 1.05 * entropy * len(plane) < 0.8 * len(huffman(plane.data, SCRATCH))


def test_a_packed_plane_that_does_not_shrink_further_is_kept_as_it_is() -> None:
    shares = [0.27, 0.27, 0.27, 0.19]
    plane = np.random.default_rng(2).choice(4, 1 << 16, p=shares).astype(np.uint8)
    kind, data = encode_skewed(plane, SCRATCH)
    first, second = unpack_entries(memoryview(bytes(data)), 8, 2)[0]
    assert (kind, first[0], second[0]) == (PACKED, CONSTANT, RAW)
    assert np.array_equal(
        decode_skewed(kind, memoryview(bytes(data)), len(plane), SCRATCH, "test"), plane
    )


@pytest.mark.parametrize("codec", [Delta(), Bitmap(), Sorted()], ids=lambda codec: codec.id)
def test_a_head_goes_in_front_and_changes_nothing_else(codec: ResidualCodec) -> None:
    plain, guess = golden_pair(3000, 4, 300, 2, tail=3)
    guessed, head = guess_of(guess, guess), b"a head"
    made = codec.encode(memoryview(plain), guessed, dtype=DTYPES["F32"], scratch=SCRATCH, head=head)
    assert made == head + encode(codec, plain, guessed, DTYPES["F32"])


def test_every_damaged_payload_is_refused_or_gives_other_bytes() -> None:
    for count, width, spread, every in ((60, 4, 300, 1), (1500, 2, 3, 9), (5, 8, 3, 2)):
        plain, guess = golden_pair(count, width, spread, every, tail=1)
        payload = encode(DELTA, plain, guess_of(guess), of_width(width))
        # Whatever is cut off or added shows in the lengths.
        assert count_refused(DELTA, payload, guess_of(guess), of_width(width)) > len(payload)


def test_a_guess_of_another_length_is_refused() -> None:
    payload = encode(DELTA, bytes(8), guess_of(bytes(8)), DTYPES["F32"])
    with pytest.raises(IntegrityError, match="guess"):
        decode(DELTA, payload, guess_of(bytes(12)), 8, 4)
    with pytest.raises(IntegrityError, match="guess"):
        encode(DELTA, bytes(8), guess_of(bytes(4)), DTYPES["F32"])


def test_a_frame_that_declares_more_than_its_plane_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    payload = bytes(1) + pack_entries([(FRAME, bomb)]) + bomb
    with pytest.raises(IntegrityError, match="declares"):
        decode(DELTA, payload, guess_of(bytes(10)), 10, 1)


@pytest.mark.parametrize(("split", "escapes"), [(0, 11), (11, 0), (2**32 - 1, 2**32 - 1), (0, 1)])
def test_a_packed_plane_that_lies_about_its_length_is_refused(split: int, escapes: int) -> None:
    planes = [(RAW, bytes(escapes % 100)), (RAW, bytes(3))]
    head = split.to_bytes(4, "little") + escapes.to_bytes(4, "little") + pack_entries(planes)
    data = head + b"".join(data for _, data in planes)
    payload = bytes(1) + pack_entries([(PACKED, data)]) + data
    with pytest.raises(IntegrityError):
        decode(DELTA, payload, guess_of(bytes(10)), 10, 1)


def test_a_packed_plane_never_asks_for_more_memory_than_its_chunk() -> None:
    planes = [(CONSTANT, b"a"), (RAW, b"")]
    data = b"\xff" * 4 + bytes(4) + pack_entries(planes) + b"a"
    payload = bytes(1) + pack_entries([(PACKED, data)]) + data
    with pytest.raises(IntegrityError, match="length"):
        decode(DELTA, payload, guess_of(bytes(10)), 10, 1)


def test_a_plane_that_says_it_is_longer_than_the_payload_is_refused() -> None:
    payload = bytes(1) + pack_entries([(RAW, bytes(11))]) + bytes(10)
    with pytest.raises(IntegrityError, match="cut off"):
        decode(DELTA, payload, guess_of(bytes(10)), 10, 1)


def golden_cases() -> dict[str, tuple[int, tuple[bytes, bytes]]]:
    """Return width, plain bytes and guess of each golden payload."""
    return {
        "delta-1": (1, golden_pair(300, 1, 6, 2)),
        "delta-2-packed": (2, golden_pair(3000, 2, 5, 7)),
        "delta-4": (4, golden_pair(200, 4, 4000, 1, tail=3)),
        "delta-8-identical": (8, (golden_pair(40, 8, 2, 1)[1],) * 2),
    }


@pytest.mark.parametrize("name", golden_cases())
def test_golden_payloads_are_read_forever(name: str) -> None:
    width, (plain, guess) = golden_cases()[name]
    assert decode(DELTA, golden(name), guess_of(guess), len(plain), width) == plain
