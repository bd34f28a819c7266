"""Every codec gives the plain bytes back, keeps its bytes on disk forever, and survives damage."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store.codecs import BUILTIN, Codec
from theta_store.dtypes import DTYPES
from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.scratch import Scratch
from theta_store.selector import decode_chunk, encode_alone

pytestmark = pytest.mark.usefixtures("loops")

GOLDEN = Path(__file__).parents[2] / "golden" / "codecs"
SCRATCH = Scratch()


def _weights(count: int, width: int) -> bytes:
    values = (np.random.default_rng(5).standard_normal(count) * 0.02).astype("<f4")
    if width == 2:
        return (values.view("<u4") >> 16).astype("<u2").tobytes()
    return values.tobytes()


plains = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda b, n: b * n, st.binary(min_size=1, max_size=9), st.integers(0, 8000)),
    st.builds(
        lambda s, n: np.random.default_rng(s).bytes(n), st.integers(0, 9), st.integers(0, 70_000)
    ),
    st.builds(lambda n, w: _weights(n, w), st.integers(0, 17_000), st.sampled_from([2, 4])),
)


@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("codec", BUILTIN, ids=lambda codec: codec.id)
@given(plain=plains, width=st.sampled_from([1, 2, 4, 8]))
def test_decode_gives_the_plain_bytes_back(codec: Codec, plain: bytes, width: int) -> None:
    payload = bytes(codec.encode(memoryview(plain), width=width, scratch=SCRATCH))
    out = bytearray(len(plain))
    codec.decode(memoryview(payload), memoryview(out), width=width, scratch=SCRATCH)
    assert out == plain


@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("codec", BUILTIN, ids=lambda codec: codec.id)
@given(plain=plains, cut=st.integers(1, 40), flip=st.integers(0, 10**6))
def test_damage_never_does_worse_than_other_bytes(
    codec: Codec, plain: bytes, cut: int, flip: int
) -> None:
    payload = bytearray(codec.encode(memoryview(plain), width=2, scratch=SCRATCH))
    bad = [bytes(payload[: max(0, len(payload) - cut)])]
    if payload:
        payload[flip % len(payload)] ^= 1 << flip % 8
        bad.append(bytes(payload))
    for damaged in bad:
        out = bytearray(len(plain))
        try:
            codec.decode(memoryview(damaged), memoryview(out), width=2, scratch=SCRATCH)
        except IntegrityError:
            continue


def test_a_frame_that_declares_more_than_is_wanted_is_refused_before_it_is_decoded() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    with pytest.raises(IntegrityError, match="declares"):
        BUILTIN[1].decode(memoryview(bomb), memoryview(bytearray(10)), width=1, scratch=SCRATCH)


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_the_selector_keeps_every_dtype(name: str) -> None:
    row = DTYPES[name]
    for plain in (b"", _weights(4096, 4)[: 4096 // row.nbytes * row.nbytes], bytes(8 * row.nbytes)):
        made = encode_alone(memoryview(plain), dtype=row, scratch=SCRATCH)
        payload, out = bytes(made.payload), bytearray(len(plain))
        decode_chunk(
            made.codec, made.version, made.width, memoryview(payload), memoryview(out), SCRATCH
        )
        assert out == plain


def test_a_codec_of_the_future_is_newer_not_corrupt() -> None:
    with pytest.raises(ForeignRepository, match="newer"):
        decode_chunk(9, 1, 1, memoryview(b""), memoryview(bytearray(0)), SCRATCH)


@pytest.mark.parametrize(("kind", "most"), [("bf16", 0.68), ("f32", 0.84)])
def test_weights_shrink_as_the_targets_say(kind: str, most: float) -> None:
    width = 2 if kind == "bf16" else 4
    plain = _weights((1 << 20) // width, width)
    made = encode_alone(
        memoryview(plain), dtype=DTYPES["BF16" if width == 2 else "F32"], scratch=SCRATCH
    )
    assert len(made.payload) <= most * len(plain)


def golden_cases() -> dict[str, tuple[int, int, bytes]]:
    """Return number, width and plain bytes of each golden payload."""
    text = b"the quick brown fox " * 20
    return {
        "raw": (0, 1, bytes(range(40))),
        "zstd": (1, 1, text),
        "planes-2": (2, 2, _weights(300, 2) + b"\x01"),
        "planes-4": (2, 4, _weights(200, 4)),
        "planes-constant": (2, 8, bytes(64)),
    }


@pytest.mark.parametrize("name", golden_cases())
def test_golden_payloads_are_read_forever(name: str) -> None:
    number, width, plain = golden_cases()[name]
    payload = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    out = bytearray(len(plain))
    decode_chunk(number, 1, width, memoryview(payload), memoryview(out), SCRATCH)
    assert hashlib.sha256(out).digest() == hashlib.sha256(plain).digest()
