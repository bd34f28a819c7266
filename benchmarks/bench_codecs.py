"""Size and speed per core of the residual codecs, beside BitX, on chunks of 1 MiB.

    python -m benchmarks.bench_codecs [--chunks 4] [--rounds 7]

Pairs are made, not trained: weights from a normal distribution and steps as an Adam optimiser takes
them (about 1e-5 each, of random sign). BitX is a re-implementation: XOR with the base, byte planes,
zstd level 3 per plane, the smaller of that and the same without XOR. Speeds are plain bytes per
second of processor time, best of some rounds; every payload is decoded and compared.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from theta_store.codecs import RESIDUAL, Guess, ResidualCodec
from theta_store.codecs.exponents import exponent_code, order_of
from theta_store.dtypes import DTYPES, DType
from theta_store.scratch import Bytes, Scratch

CHUNK = 1 << 20
SPREAD = 0.02
STEP = 1e-5
SPARSE = 0.005
ROUNDED_STEPS = 10
BITX_LEVEL = 3


@dataclass(frozen=True)
class Pair:
    """Plain bytes of one chunk before and after training."""

    name: str
    dtype: DType
    base: Bytes
    plain: Bytes


def weights(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    return (random.standard_normal(count) * SPREAD).astype(np.float32)


def exact_step(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return what one or a few steps of Adam add: nearly the same size everywhere."""
    sizes = STEP * np.abs(1 + 0.3 * random.standard_normal(count))
    return sizes * random.choice([-1, 1], count)


def step(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    return exact_step(random, count).astype(np.float32)


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def pairs(random: np.random.Generator) -> Iterator[Pair]:
    """Make one chunk of each kind."""
    f32, bf16, f64 = DTYPES["F32"], DTYPES["BF16"], DTYPES["F64"]
    base = weights(random, CHUNK // 4)
    yield Pair("fp32", f32, base.view(np.uint8), (base + step(random, len(base))).view(np.uint8))
    wide = weights(random, CHUNK // 2)
    cast = to_bf16(wide + step(random, len(wide)))
    yield Pair("fp32 cast to bf16", bf16, to_bf16(wide).view(np.uint8), cast.view(np.uint8))
    bits = start = to_bf16(wide)
    for _ in range(ROUNDED_STEPS):
        bits = to_bf16(from_bf16(bits) + step(random, len(bits)))
    yield Pair("pure bf16", bf16, start.view(np.uint8), bits.view(np.uint8))
    some = random.random(len(start)) < SPARSE
    moved = np.where(some, to_bf16(from_bf16(start) + 30 * step(random, len(start))), start)
    yield Pair("sparse bf16", bf16, start.view(np.uint8), moved.view(np.uint8))
    some = random.random(len(base)) < SPARSE
    changed = np.where(some, base + 30 * step(random, len(base)), base)
    yield Pair("sparse fp32", f32, base.view(np.uint8), changed.view(np.uint8))
    double = random.standard_normal(CHUNK // 8) * SPREAD
    after = double + exact_step(random, len(double))
    yield Pair("fp64", f64, double.view(np.uint8), after.view(np.uint8))


def bitx(pair: Pair) -> int:
    """Return the bytes that BitX takes, without frames' places."""
    tool = zstandard.ZstdCompressor(level=BITX_LEVEL)

    def planes(chunk: Bytes) -> int:
        width = pair.dtype.width
        return sum(len(tool.compress(chunk[place::width].tobytes())) for place in range(width))

    return min(planes(pair.base ^ pair.plain), planes(pair.plain))


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of one call."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(codec: ResidualCodec, pair: Pair, scratch: Scratch, rounds: int) -> NDArray[np.float64]:
    """Return stored bytes and the seconds that encoding and decoding took."""
    guess = Guess(pair.base, pair.base if codec.id == "sorted" else None)
    plain, out = pair.plain.data, np.empty(CHUNK, np.uint8)
    width = pair.dtype.width
    payload = memoryview(bytes(codec.encode(plain, guess, dtype=pair.dtype, scratch=scratch)))
    codec.decode(payload, guess, out.data, width=width, scratch=scratch)
    if not np.array_equal(out, pair.plain):
        raise SystemExit(f"{codec.id} does not give {pair.name} back")
    encoding = seconds(
        lambda: codec.encode(plain, guess, dtype=pair.dtype, scratch=scratch), rounds
    )
    decoding = seconds(
        lambda: codec.decode(payload, guess, out.data, width=width, scratch=scratch), rounds
    )
    return np.array([len(payload), encoding, decoding])


def ordering(pair: Pair, scratch: Scratch, rounds: int) -> float:
    """Return the seconds that the order of a key takes, which a cache of orders would save."""
    code = exponent_code(pair.dtype)
    if code is None:
        raise SystemExit(f"{pair.dtype.name} has no exponents")
    return seconds(lambda: order_of(pair.base, code, pair.dtype.width, scratch), rounds)


def main() -> None:
    """Measure and print one line per pair and codec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    scratch = Scratch()
    made = [list(pairs(np.random.default_rng(seed))) for seed in range(arguments.chunks)]
    total = CHUNK * arguments.chunks
    print(f"{'pair':18} {'codec':7} {'size':>7} {'of BitX':>8} {'encode':>12} {'decode':>12}")
    for same in zip(*made, strict=True):
        rival = sum(bitx(pair) for pair in same)
        print(f"{same[0].name:18} {'BitX':7} {rival / total:7.4f}")
        for codec in RESIDUAL:
            rows = [measure(codec, pair, scratch, arguments.rounds) for pair in same]
            size, encoding, decoding = np.sum(rows, axis=0)
            print(
                f"{'':18} {codec.id:7} {size / total:7.4f} {size / rival:8.3f} "
                f"{total / encoding / 1e6:7.0f} MB/s {total / decoding / 1e6:7.0f} MB/s"
            )
        order = sum(ordering(pair, scratch, arguments.rounds) for pair in same)
        print(f"{'':18} order of the key alone: {total / order / 1e6:.0f} MB/s")


if __name__ == "__main__":
    main()
