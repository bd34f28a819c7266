"""Pairs of a chunk and its guess, and the laws that every residual codec keeps."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from theta_store.codecs import Guess, ResidualCodec
from theta_store.dtypes import DTYPES, DType
from theta_store.errors import IntegrityError
from theta_store.scratch import Scratch

GOLDEN = Path(__file__).parents[2] / "golden" / "codecs"
SCRATCH = Scratch()
KINDS = ("random", "near", "identical", "ones", "nan", "sparse", "runs", "skewed")
# Floating-point bit patterns that arithmetic would not keep, by the bytes of a word.
STRANGE = {
    1: (0x7F, 0xFF, 0x80, 0x7C, 0xFD, 0x01),
    2: (0x7F80, 0xFF80, 0x7FC1, 0xFFA5, 0x8000, 0x0001),
    4: (0x7F800000, 0xFF800000, 0x7FC00001, 0xFFA00005, 0x80000000, 0x00000001),
    8: (0x7FF0 << 48, 0xFFF0 << 48, (0x7FF8 << 48) + 1, (0xFFF4 << 48) + 5, 1 << 63, 1),
}

Pair = tuple[bytes, bytes]


def weights(count: int, width: int, seed: int = 5) -> bytes:
    """Return ``count`` words with the bits of normally distributed floats, cut to ``width``."""
    values = (np.random.default_rng(seed).standard_normal(count) * 0.02).astype("<f4")
    if width == 8:
        return values.astype("<f8").tobytes()
    return (values.view("<u4") >> (32 - 8 * width)).astype(f"<u{width}").tobytes()


def pair(kind: str, size: int, width: int, seed: int) -> Pair:
    """Return ``size`` bytes of a chunk and of a guess that stand to each other as ``kind`` says."""
    random = np.random.default_rng(seed)
    words = -(-size // width)
    guess = np.frombuffer(weights(words, width, seed), f"<u{width}")
    plain = guess.copy()
    if kind == "random":
        plain = np.frombuffer(random.bytes(words * width), plain.dtype)
    elif kind == "near":
        plain += random.integers(0, 100, words).astype(plain.dtype)
        plain -= plain.dtype.type(50)
    elif kind == "ones":
        plain[:] = np.iinfo(plain.dtype).max
        guess = guess[::-1]
    elif kind == "nan":
        plain = random.choice(np.array(STRANGE[width], plain.dtype), words)
        guess = random.choice(np.array(STRANGE[width], plain.dtype), words)
    elif kind == "sparse":
        plain[random.random(words) < 0.01] += plain.dtype.type(random.integers(1, 200))
    elif kind == "runs":
        plain[words // 3 : words // 2] ^= plain.dtype.type(1)
    elif kind == "skewed":
        step = random.integers(0, 2, words)
        step[random.random(words) < 0.05] = 100
        plain += step.astype(plain.dtype)
    return plain.tobytes()[:size], guess.tobytes()[:size]


def sizes() -> st.SearchStrategy[int]:
    """Return lengths of chunks, with empty ones, single words, odd tails and large ones."""
    return st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(0, 70_000))


def encode(codec: ResidualCodec, plain: bytes, guess: Guess, dtype: DType) -> bytes:
    """Return a payload that lives on its own."""
    return bytes(codec.encode(memoryview(plain), guess, dtype=dtype, scratch=SCRATCH))


def decode(codec: ResidualCodec, payload: bytes, guess: Guess, size: int, width: int) -> bytes:
    """Return the plain bytes of a payload."""
    out = bytearray(b"\xa5" * size)
    codec.decode(memoryview(payload), guess, memoryview(out), width=width, scratch=SCRATCH)
    return bytes(out)


def guess_of(plain: bytes, key: bytes | None = None) -> Guess:
    """Return a guess of bytes."""
    return Guess(
        np.frombuffer(plain, np.uint8), None if key is None else np.frombuffer(key, np.uint8)
    )


def damaged(payload: bytes) -> list[bytes]:
    """Return a payload with each byte flipped in two ways, cut at each place, and made longer."""
    bad = [payload[:stop] for stop in range(len(payload))] + [payload + b"\0", payload * 2]
    for place, mask in ((p, m) for p in range(len(payload)) for m in (0x01, 0xFF)):
        bad.append(payload[:place] + bytes([payload[place] ^ mask]) + payload[place + 1 :])
    return bad


def count_refused(codec: ResidualCodec, payload: bytes, guess: Guess, dtype: DType) -> int:
    """Decode every damaged payload; return how many were refused. Anything else is a failure."""
    refused = 0
    for bad in damaged(payload):
        try:
            decode(codec, bad, guess, len(guess.plain), dtype.width)
        except IntegrityError:
            refused += 1
    return refused


def golden(name: str) -> bytes:
    """Return a payload that was written once and is read forever."""
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def golden_pair(count: int, width: int, spread: int, every: int, tail: int = 0) -> Pair:
    """Return a chunk and a guess made of integers alone, the same on every machine forever.

    ``count`` words with various exponents; one in ``every`` differs, by less than ``spread``.
    """
    place = np.arange(count, dtype=np.uint64)
    mixed = place * np.uint64(0x9E3779B97F4A7C15) ^ place >> np.uint64(3)
    exponent = np.uint64(100) + mixed % np.uint64(20)
    bits = exponent << np.uint64(55) | mixed >> np.uint64(10)
    guess = (bits >> np.uint64(64 - 8 * width)).astype(f"<u{width}")
    step = (mixed >> np.uint64(40)) % np.uint64(spread) + np.uint64(1)
    step[(mixed >> np.uint64(20)) % np.uint64(every) != 0] = 0
    plain = guess + step.astype(guess.dtype) - guess.dtype.type(spread // 2) * (step != 0)
    return plain.astype(guess.dtype).tobytes() + b"\x07" * tail, guess.tobytes() + b"\x09" * tail


def of_width(width: int) -> DType:
    """Return a dtype whose words have this width and exponents."""
    return DTYPES[{1: "F8_E4M3", 2: "BF16", 4: "F32", 8: "F64"}[width]]
