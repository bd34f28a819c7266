"""The C loops give the bytes of those in numpy, at any length and address, and refuse what lies."""

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store.arithmetic import is_finite, narrow, weighted_sum, widen
from theta_store.dtypes import DTYPES
from theta_store.kernels import portable
from theta_store.scratch import Bytes, Scratch

native = pytest.importorskip(
    "theta_store.kernels.native", reason="theta was installed without a C compiler"
)
SCRATCH = Scratch()
# Around the ends of blocks (2,048) and vectors.
COUNTS = st.one_of(st.integers(0, 70), st.sampled_from([2047, 2048, 2049, 4096, 6151, 40_000]))
SEEDS = st.integers(0, 999)
ROWS = np.zeros((2, 4), np.uint16)


def bytes_of(size: int, seed: int, shift: int = 0, below: int = 256) -> Bytes:
    """Return random bytes that begin ``shift`` bytes into their memory."""
    return np.random.default_rng(seed).integers(0, below, shift + size, np.uint8)[shift:]


@settings(deadline=None, max_examples=200)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    count=COUNTS,
    seed=SEEDS,
    constants=st.lists(st.none() | st.integers(0, 255), min_size=8, max_size=8),
    shift=st.integers(0, 3),
    guessed=st.booleans(),
)
def test_words_are_joined(
    width: int,
    count: int,
    seed: int,
    constants: list[int | None],
    shift: int,
    guessed: bool,
) -> None:
    planes = tuple(
        bytes_of(count, seed + place, shift) if constants[place] is None else constants[place]
        for place in range(width)
    )
    word = f"<u{width}"
    guess = bytes_of(count * width, seed, shift).view(word) if guessed else None
    made, wanted = (np.full(count * width + shift, 0xA5, np.uint8)[shift:] for _ in range(2))
    native.join(planes, width, guess, made)
    portable.join(planes, wanted.view(word), guess, SCRATCH)
    assert made.tobytes() == wanted.tobytes()


@settings(deadline=None, max_examples=200)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    count=COUNTS,
    seed=SEEDS,
    shift=st.integers(0, 3),
    guessed=st.booleans(),
)
def test_words_are_taken_apart_and_joined_again(
    width: int, count: int, seed: int, shift: int, guessed: bool
) -> None:
    word = f"<u{width}"
    words, guess = (bytes_of(count * width, seed + i, shift).view(word) for i in range(2))
    against = guess if guessed else None
    made, wanted = (
        tuple(np.full(count + shift, 0xA5, np.uint8)[shift:] for _ in range(width))
        for _ in range(2)
    )
    native.split(words, width, against, made)
    portable.split(words, against, wanted, SCRATCH)
    assert [plane.tobytes() for plane in made] == [plane.tobytes() for plane in wanted]
    back = np.zeros(count, word)
    native.join(made, width, against, back)
    assert back.tobytes() == words.tobytes()


@settings(deadline=None, max_examples=200)
@given(count=COUNTS, seed=SEEDS, below=st.integers(1, 256), shift=st.integers(0, 3))
def test_bytes_are_packed_and_unpacked_again(count: int, seed: int, below: int, shift: int) -> None:
    plane = bytes_of(count, seed, shift, below)
    found = np.count_nonzero(plane >= 3)
    made, wanted = (
        (np.full(-(-count // 4), 0xA5, np.uint8), np.full(found, 0xA5, np.uint8)) for _ in range(2)
    )
    native.pack(plane, *made)
    portable.pack(plane, *wanted, SCRATCH)
    assert [part.tobytes() for part in made] == [part.tobytes() for part in wanted]
    back = np.zeros(count, np.uint8)
    assert native.unpack(*made, back)
    assert back.tobytes() == plane.tobytes()


@settings(deadline=None, max_examples=200)
@given(
    count=COUNTS,
    seed=SEEDS,
    below=st.integers(1, 256),
    shift=st.integers(0, 3),
    spare=st.integers(-2, 2) | st.integers(-40_000, 40_000),
)
def test_escapes_are_counted_where_they_are_few(
    count: int, seed: int, below: int, shift: int, spare: int
) -> None:
    plane = bytes_of(count, seed, shift, below)
    wanted = int(np.count_nonzero(plane >= 3))
    most = max(wanted + spare, 0)
    found = native.count_large(plane, most)
    assert found == portable.count_large(plane, most, SCRATCH)
    assert found == (wanted if wanted <= most else None)


def test_255_escapes_in_a_row_are_counted() -> None:
    for count in (254, 255, 256, 510, 511, 70_000):
        assert native.count_large(np.full(count, 255, np.uint8), count) == count


@settings(deadline=None, max_examples=200)
@given(
    count=st.integers(1, 70) | st.sampled_from([2048, 2049, 2050, 16_386, 40_000]),
    byte=st.integers(0, 255),
    shift=st.integers(0, 3),
    other=st.none() | st.integers(0, 39_999),
)
def test_a_byte_that_is_another_is_seen_wherever_it_is(
    count: int, byte: int, shift: int, other: int | None
) -> None:
    plane = np.full(shift + count, byte, np.uint8)[shift:]
    if other is not None:
        plane[other % count] ^= 1
    found = native.is_constant(plane)
    assert found == portable.is_constant(plane) == (other is None or count == 1)


@settings(deadline=None, max_examples=200)
@given(
    width=st.sampled_from([1, 2, 4, 8]),
    rows=st.integers(1, 4),
    columns=st.sampled_from([0, 1, 7, 1024, 2049]),
    gap=st.integers(0, 3),
    shift=st.integers(0, 3),
    below=st.sampled_from([1, 2, 256]),
    guessed=st.booleans(),
    seed=SEEDS,
)
def test_the_bytes_of_each_place_are_counted(
    width: int,
    rows: int,
    columns: int,
    gap: int,
    shift: int,
    below: int,
    guessed: bool,
    seed: int,
) -> None:
    def words_of(plain: Bytes) -> np.ndarray[tuple[int, int], np.dtype[np.unsignedinteger]]:
        strides = (columns * width + gap, width)
        return np.ndarray((rows, columns), f"<u{width}", plain, strides=strides)

    size = rows * (columns * width + gap)
    words, guess = (words_of(bytes_of(size, seed + i, shift, below)) for i in range(2))
    made, wanted = (np.full((width, 256), 9, np.int64) for _ in range(2))
    zeros = native.count_planes(words, guess if guessed else None, made)
    assert zeros == portable.count_planes(words, guess if guessed else None, wanted)
    assert np.array_equal(made, wanted)
    assert made.sum() == width * words.size
    assert zeros == np.count_nonzero(words == (guess if guessed else 0))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([bytes(20_000), b"\1" * 9_000])))
def test_parts_are_put_together(parts: list[bytes]) -> None:
    mixed = tuple(memoryview(part) if len(part) % 2 else part for part in parts)
    assert native.concatenate(mixed) == b"".join(parts)


def test_256_parts_are_the_most() -> None:
    assert native.concatenate((b"ab",) * 256) == b"ab" * 256
    with pytest.raises(ValueError, match="too many"):
        native.concatenate((b"",) * 257)


@settings(deadline=None, max_examples=200)
@given(count=COUNTS, seed=SEEDS, most=st.integers(1, 256), missing=st.integers(-1, 1))
def test_bits_are_spread_and_escapes_put_between(
    count: int, seed: int, most: int, missing: int
) -> None:
    packed = bytes_of(-(-count // 4), seed, below=most)
    if count % 4:
        packed[-1] &= (1 << count % 4 * 2) - 1
    twos = packed[:, np.newaxis] >> np.array([0, 2, 4, 6], np.uint8) & 3
    threes = int(np.count_nonzero(twos.ravel()[:count] == 3))
    escapes = bytes_of(max(threes + missing, 0), seed + 1)
    made, wanted = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    told = native.unpack(packed, escapes, made)
    assert told == portable.unpack(packed, escapes, wanted, SCRATCH)
    assert told == (len(escapes) == threes)
    if told:
        assert made.tobytes() == wanted.tobytes()


def test_bits_that_fill_the_last_byte_up_are_nothing() -> None:
    for count in range(1, 9):
        packed = np.full(-(-count // 4), 0xFF, np.uint8)
        escapes = np.arange(count, dtype=np.uint8)
        out = np.zeros(count, np.uint8)
        assert native.unpack(packed, escapes, out)
        assert out.tolist() == [3 + place for place in range(count)]


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(["BF16", "F32"]),
    count=COUNTS,
    seed=SEEDS,
    coefficients=st.lists(st.floats(-3, 3) | st.sampled_from([0.5, 1 / 3]), min_size=1, max_size=5),
    any_bits=st.booleans(),
)
def test_a_sum_is_numpys_to_the_bit(
    name: str, count: int, seed: int, coefficients: list[float], any_bits: bool
) -> None:
    row = DTYPES[name]
    random = np.random.default_rng(seed)
    terms = [
        bytes_of(count * row.nbytes, seed + place, shift=1)
        if any_bits
        else narrow(random.standard_normal(count).astype(np.float32), row)
        for place, _ in enumerate(coefficients)
    ]
    with np.errstate(all="ignore"):
        wide = [widen(term.copy(), row).copy() for term in terms]
        wanted = narrow(weighted_sum(wide, coefficients), row)
    made = np.zeros(count * row.nbytes + 1, np.uint8)[1:]
    told = native.weighted_sum(tuple(terms), tuple(coefficients), row.nbytes, made)
    assert told == is_finite(wanted, row)
    if told:
        assert made.tobytes() == wanted.tobytes()
        assert all(is_finite(term, row) for term in terms)


def test_products_are_rounded_before_they_are_added() -> None:
    # What a fused product and sum would get is another float32.
    random = np.random.default_rng(1)
    one, two = (random.standard_normal(1 << 16).astype(np.float32) for _ in range(2))
    made = np.empty(len(one), np.float32)
    native.weighted_sum((one.view(np.uint8), two.view(np.uint8)), (1 / 3, 0.7), 4, made)
    first, second = np.float32(1 / 3), np.float32(0.7)
    assert np.array_equal(made, one * first + two * second)
    fused = (one * first + two.astype(np.float64) * np.float64(second)).astype(np.float32)
    assert not np.array_equal(made, fused)


@pytest.mark.parametrize("place", [0, 1, 2047, 2048, 4999])
@pytest.mark.parametrize(
    ("name", "code", "factor"),
    [
        # The largest bfloat16, times a bit more than 1, is a float32 that rounds to infinity.
        ("BF16", 0x7F7F, 1.003),
        ("BF16", 0xFF7F, 1.003),
        ("BF16", 0x7FFF, 1.0),
        ("BF16", 0xFF81, 1.0),
        ("BF16", 0x7F80, 0.0),
        ("BF16", 0x3F80, 1e300),
        # A NaN whose payload carries into the sign when it is rounded.
        ("BF16", 0x3F80, struct.unpack("<d", struct.pack("<Q", 0x7FFFFFFFFFFFFFFF))[0]),
        ("F32", 0x7F7FFFFF, 1.003),
        ("F32", 0x7FFFFFFF, 1.0),
        ("F32", 0xFF800000, -1.0),
        ("F32", 0x3F800000, -1e300),
    ],
)
def test_a_sum_that_is_not_finite_anywhere_is_told(
    name: str, code: int, factor: float, place: int
) -> None:
    row = DTYPES[name]
    term = np.zeros(5000, f"<u{row.nbytes}")
    out = np.empty(5000 * row.nbytes, np.uint8)
    assert native.weighted_sum((term.view(np.uint8),), (1.0,), row.nbytes, out)
    term[place] = code
    assert not native.weighted_sum((term.view(np.uint8),), (factor,), row.nbytes, out)


@settings(deadline=None, max_examples=200)
@given(name=st.sampled_from(["BF16", "F16", "F32"]), plain=st.binary(max_size=80), count=COUNTS)
def test_what_is_not_finite_is_found_wherever_it_is(name: str, plain: bytes, count: int) -> None:
    row = DTYPES[name]
    top = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F800000}[name]
    whole = np.zeros(count * row.nbytes, np.uint8).tobytes() + plain[: len(plain) // 4 * 4]
    found = native.has_all_ones(whole, row.nbytes, top)
    assert found == portable.has_all_ones(whole, row.nbytes, top)
    with np.errstate(all="ignore"):
        assert found != bool(np.isfinite(widen(whole, row)).all())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("join", ((b"ab",), 3, None, bytearray(3))),
        ("join", ((b"ab",), 2, None, bytearray(4))),
        ("join", ((b"ab", b"abc"), 2, None, bytearray(4))),
        ("join", ((b"ab", 256), 2, None, bytearray(4))),
        ("join", ((b"ab", -1), 2, None, bytearray(4))),
        ("join", ((b"ab", 1 << 70), 2, None, bytearray(4))),
        ("join", ((b"ab", b"ab"), 2, None, bytearray(5))),
        ("join", ((b"ab", b"ab"), 2, b"abc", bytearray(4))),
        ("join", ((b"ab", b"ab"), 2, None, b"abcd")),
        ("join", ((b"ab", "ab"), 2, None, bytearray(4))),
        ("join", ([b"ab", b"ab"], 2, None, bytearray(4))),
        ("split", (bytes(4), 3, None, (bytearray(2), bytearray(2)))),
        ("split", (bytes(5), 2, None, (bytearray(2), bytearray(2)))),
        ("split", (bytes(4), 2, None, (bytearray(2),))),
        ("split", (bytes(4), 2, None, (bytearray(2), bytearray(3)))),
        ("split", (bytes(4), 2, None, (bytearray(2), bytes(2)))),
        ("split", (bytes(4), 2, bytes(5), (bytearray(2), bytearray(2)))),
        ("split", (bytes(4), 2, None, [bytearray(2), bytearray(2)])),
        ("pack", (bytes(5), bytearray(1), bytearray(0))),
        ("pack", (bytes(4), bytearray(2), bytearray(0))),
        ("pack", (bytes(4), bytearray(1), bytearray(1))),
        ("pack", (b"\3\0\0\3", bytearray(1), bytearray(1))),
        ("pack", (bytes(4), bytes(1), bytearray(0))),
        ("pack", (bytes(4), bytearray(1), "")),
        ("count_large", ("", 1)),
        ("count_large", (b"abc", -1)),
        ("is_constant", (b"",)),
        ("is_constant", ("",)),
        ("count_planes", (b"ab", None, bytearray(2048))),
        ("count_planes", (ROWS, None, np.zeros(511, np.int64))),
        ("count_planes", (ROWS, None, bytes(4096))),
        ("count_planes", (ROWS, ROWS[:1], np.zeros(512, np.int64))),
        ("count_planes", (ROWS, ROWS[:, :1], np.zeros(512, np.int64))),
        ("count_planes", (ROWS, ROWS.view(np.uint8), np.zeros(512, np.int64))),
        ("count_planes", (ROWS[:, ::2], None, np.zeros(512, np.int64))),
        ("count_planes", (((ctypes.c_uint16 * 4) * 2)(), None, np.zeros(512, np.int64))),
        ("count_planes", (ROWS, ((ctypes.c_uint16 * 4) * 2)(), np.zeros(512, np.int64))),
        ("count_planes", (np.zeros((2, 3), "V3"), None, np.zeros(768, np.int64))),
        ("concatenate", ([b"ab"],)),
        ("concatenate", ((b"ab", "ab"),)),
        ("unpack", (b"ab", b"", bytearray(4))),
        ("unpack", (b"a", b"", bytearray(5))),
        ("unpack", (b"a", b"", b"abcd")),
        ("weighted_sum", ((), (), 2, bytearray(4))),
        ("weighted_sum", ((bytes(4),), (), 2, bytearray(4))),
        ("weighted_sum", ((bytes(4),), (1.0,), 8, bytearray(4))),
        ("weighted_sum", ((bytes(4),), (1.0,), 2, bytearray(3))),
        ("weighted_sum", ((bytes(4),), ("1",), 2, bytearray(4))),
        ("weighted_sum", ((bytes(2),), (1.0,), 2, bytearray(4))),
        ("weighted_sum", ((bytes(4),) * 257, (1.0,) * 257, 2, bytearray(4))),
        ("has_all_ones", (bytes(3), 2, 0x7F80)),
        ("has_all_ones", (bytes(8), 8, 0x7F80)),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises((ValueError, TypeError, BufferError, OverflowError)):
        getattr(native, name)(*arguments)


def test_memory_that_is_no_single_run_is_refused() -> None:
    strided = np.zeros(8, np.uint8)[::2]
    with pytest.raises(ValueError, match="contiguous"):
        native.has_all_ones(strided, 2, 0x7F80)
    with pytest.raises(ValueError, match="contiguous"):
        native.join((strided,), 1, None, bytearray(4))


@pytest.mark.parametrize("built", ["lambda: -1", "None"])
def test_a_build_of_another_version_is_not_used(built: str) -> None:
    assert native.revision() == portable.REVISION
    code = (
        "import sys, types; other = types.ModuleType('theta_store.kernels.native')\n"
        f"other.revision = {built}\n"
        "if other.revision is None: del other.revision\n"
        "sys.modules[other.__name__] = other\n"
        "import theta_store.kernels as kernels; assert kernels.native is None"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_256_terms_are_the_most() -> None:
    terms = (np.ones(3, np.float32).view(np.uint8),) * 256
    out = np.zeros(3, np.float32)
    assert native.weighted_sum(terms, (1.0,) * 256, 4, out)
    assert out.tolist() == [256.0] * 3


def test_theta_runs_without_them(tmp_path: Path) -> None:
    """A package whose C code was not built is chosen by numpy's loops."""
    code = (
        "import sys; sys.modules['theta_store.kernels.native'] = None\n"
        "import theta_store.kernels as kernels\n"
        "assert kernels.native is None\n"
        "from theta.__main__ import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def theta(*arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    weights = np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    np.savez(tmp_path / "m.npz", w=weights)
    theta("init")
    theta("add", "m.npz")
    theta("commit", "-m", "one")
    np.savez(tmp_path / "m.npz", w=weights * np.float32(1.001))
    assert "without a C compiler" in theta("commit", "-am", "two", "--timings")
    (tmp_path / "m.npz").unlink()
    theta("restore", "m.npz")
    assert np.array_equal(np.load(tmp_path / "m.npz")["w"], weights * np.float32(1.001))
    theta("fsck")
