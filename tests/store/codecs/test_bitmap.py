"""The codec bitmap gives every bit back, keeps sparse changes small, and refuses damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.codecs.residuals import (
    KINDS,
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
from theta_store.codecs import Bitmap, Delta
from theta_store.codecs.bitmap import GAPS, MAP
from theta_store.codecs.plane import CONSTANT, RAW, pack_entries
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError

pytestmark = pytest.mark.usefixtures("loops")

BITMAP = Bitmap()
WIDTHS = st.sampled_from([1, 2, 4, 8])


@settings(deadline=None, max_examples=300)
@given(kind=st.sampled_from(KINDS), size=sizes(), width=WIDTHS, seed=st.integers(0, 999))
def test_decode_gives_the_plain_bytes_back(kind: str, size: int, width: int, seed: int) -> None:
    plain, guess = pair(kind, size, width, seed)
    payload = encode(BITMAP, plain, guess_of(guess), of_width(width))
    assert decode(BITMAP, payload, guess_of(guess), size, width) == plain


@settings(deadline=None, max_examples=200)
@given(
    words=st.integers(1, 40_000),
    changed=st.sets(st.integers(0, 39_999), max_size=40),
    width=WIDTHS,
    step=st.integers(1, 255),
)
def test_few_changes_anywhere(words: int, changed: set[int], width: int, step: int) -> None:
    guess = np.arange(words).astype(f"<u{width}")
    plain = guess.copy()
    plain[[place for place in changed if place < words]] += guess.dtype.type(step)
    payload = encode(BITMAP, plain.tobytes(), guess_of(guess.tobytes()), of_width(width))
    back = decode(BITMAP, payload, guess_of(guess.tobytes()), words * width, width)
    assert back == plain.tobytes()


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_and_a_megabyte(name: str) -> None:
    row = DTYPES[name]
    plain, guess = pair("sparse", (1 << 20) // row.nbytes * row.nbytes, row.width, 3)
    payload = encode(BITMAP, plain, guess_of(guess), row)
    assert len(payload) < 0.03 * len(plain)
    assert decode(BITMAP, payload, guess_of(guess), len(plain), row.width) == plain


@pytest.mark.parametrize(("share", "mode"), [(0.001, GAPS), (0.005, GAPS), (0.2, MAP)])
def test_places_cost_about_their_entropy(share: float, mode: int) -> None:
    random = np.random.default_rng(4)
    guess = random.integers(0, 1 << 15, 1 << 18).astype("<u2")
    plain = guess + (random.random(len(guess)) < share).astype("<u2")
    payload = encode(BITMAP, plain.tobytes(), guess_of(guess.tobytes()), DTYPES["BF16"])
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8 * len(guess)
    assert payload[0] == mode
    assert len(payload) < 1.15 * entropy + 100
    delta = encode(Delta(), plain.tobytes(), guess_of(guess.tobytes()), DTYPES["BF16"])
    assert len(payload) < 0.9 * len(delta) or share > 0.1


def test_every_damaged_payload_is_refused_or_gives_other_bytes() -> None:
    for count, width, spread, every in ((60, 4, 300, 2), (3000, 2, 4, 50), (16, 8, 3, 1)):
        plain, guess = golden_pair(count, width, spread, every, tail=1)
        payload = encode(BITMAP, plain, guess_of(guess), of_width(width))
        # Whatever is cut off or added shows in the lengths.
        assert count_refused(BITMAP, payload, guess_of(guess), of_width(width)) > len(payload)


def lies() -> dict[str, tuple[int, int, list[tuple[int, bytes]]]]:
    """Return mode, count and planes of payloads for ten words of one byte that cannot be."""
    gap = [(RAW, bytes([5, 5])), *[(CONSTANT, b"\0")] * 3, (RAW, b"ab")]
    far = [*[(CONSTANT, b"\xff")] * 4, (CONSTANT, b"a")]
    return {
        "mode": (2, 0, [(RAW, bytes(2)), (RAW, b"")]),
        "count": (MAP, 11, [(RAW, bytes(2)), (RAW, bytes(11))]),
        "huge count": (GAPS, 2**32 - 1, far),
        "map": (MAP, 2, [(RAW, b"\x07\x00"), (RAW, b"ab")]),
        "gap": (GAPS, 2, gap),
        "far gaps": (GAPS, 10, far),
    }


@pytest.mark.parametrize("name", lies())
def test_lies_are_refused(name: str) -> None:
    mode, count, planes = lies()[name]
    payload = bytes([mode]) + count.to_bytes(4, "little") + pack_entries(planes)
    payload += b"".join(data for _, data in planes)
    with pytest.raises(IntegrityError, match="bitmap"):
        decode(BITMAP, payload, guess_of(bytes(10)), 10, 1)


def golden_cases() -> dict[str, tuple[int, tuple[bytes, bytes]]]:
    """Return width, plain bytes and guess of each golden payload."""
    return {
        "bitmap-map": (2, golden_pair(900, 2, 9, 3, tail=1)),
        "bitmap-gaps": (4, golden_pair(20_000, 4, 500, 400)),
        "bitmap-1": (1, golden_pair(333, 1, 4, 5)),
        "bitmap-8-identical": (8, (golden_pair(40, 8, 2, 1)[1],) * 2),
    }


@pytest.mark.parametrize("name", golden_cases())
def test_golden_payloads_are_read_forever(name: str) -> None:
    width, (plain, guess) = golden_cases()[name]
    assert decode(BITMAP, golden(name), guess_of(guess), len(plain), width) == plain


def test_golden_payloads_cover_both_modes() -> None:
    assert golden("bitmap-map")[0] == MAP
    assert golden("bitmap-gaps")[0] == GAPS
