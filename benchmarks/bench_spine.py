"""Each stage of the spine by itself, then a whole commit and checkout: ``make bench``.

    python -m pytest benchmarks/bench_spine.py

In this process, on weights from a normal distribution. Stages of a chunk take 1 MiB; the disk is
that of the temporary folder. ``cp_ratio`` measures whole commands beside ``cp``.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from theta.formats import format_by_id
from theta.formats.base import TensorSpec
from theta.formats.joining import plan_join
from theta.formats.reading import FileReader
from theta.formats.writing import FileWriter
from theta.repo import Author, Repo
from theta_store.chunking import ranges_of
from theta_store.codecs import BUILTIN, Codec
from theta_store.db import Meta, Volumes
from theta_store.dtypes import dtype
from theta_store.forms import NO_PREDICTOR, Form
from theta_store.ids import ChunkId, chunk_id
from theta_store.objects import put_form
from theta_store.records import Tensor
from theta_store.scratch import Scratch

CHUNK = 1 << 20
BATCH = 32
MIB = 64
ADA = Author("Ada <ada@example.org>")
SHAPES = {"BF16": (MIB // 16, 2048, 4096), "F32": (MIB // 16, 2048, 2048)}
DTYPES = ("BF16", "F16", "F32", "F64", "I64")


def values(name: str, count: int, seed: int = 1) -> bytes:
    """Return weights with sigma 0.02, or token counts for integers, in the bytes of a dtype."""
    normal = np.random.default_rng(seed).standard_normal(count, np.float32) * np.float32(0.02)
    match name:
        case "BF16":
            return (normal.view(np.uint32) >> 16).astype("<u2").tobytes()
        case "I64":
            return np.abs(normal * 5000).astype("<i8").tobytes()
    return normal.astype(dtype(name).carrier).tobytes()


def chunk(name: str) -> memoryview:
    return memoryview(values(name, CHUNK // dtype(name).nbytes))


def tell(benchmark: BenchmarkFixture, count: int, stored: int | None = None) -> None:
    """Print and keep bytes per second, of the fastest round, and the share that is stored."""
    info = benchmark.extra_info
    info["MB/s"] = round(count / benchmark.stats.stats.min / 1e6)
    if stored is not None:
        info["stored"] = round(stored / count, 4)
    share = f"  stored {info['stored']:.4f}" if "stored" in info else ""
    print(f"  {benchmark.name:<28} {info['MB/s']:>8} MB/s{share}")


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file of 64 MiB, one dtype."""
    name: str = request.param
    path = tmp_path_factory.mktemp("model") / f"{name}.safetensors"
    count, *shape = SHAPES[name]
    specs = [TensorSpec(f"layers.{i}.weight", name, tuple(shape)) for i in range(count)]
    layout = format_by_id("safetensors").compose(specs, metadata={}, aliases={})
    with FileWriter(path, layout.size) as out:
        plan = plan_join(layout, {}, out, {spec.name: spec for spec in specs})
        for seed, spec in enumerate(specs):
            data = values(name, spec.nbytes // dtype(name).nbytes, seed)
            plan.sinks[spec.name].write(0, memoryview(data))
        plan.finish()
    return path


def test_read(benchmark: BenchmarkFixture, model: Path) -> None:
    out = memoryview(bytearray(CHUNK))
    with FileReader(model) as reader:
        places = itertools.cycle(range(0, reader.size - CHUNK, CHUNK))
        benchmark(lambda: reader.read_into(next(places), out))
    tell(benchmark, CHUNK)


def test_hash(benchmark: BenchmarkFixture) -> None:
    plain = chunk("F32")
    benchmark(chunk_id, plain)
    tell(benchmark, CHUNK)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("codec", BUILTIN, ids=lambda codec: codec.id)
def test_encode(benchmark: BenchmarkFixture, codec: Codec, name: str) -> None:
    plain, scratch = chunk(name), Scratch()
    width = dtype(name).width
    made = benchmark(lambda: codec.encode(plain, width=width, scratch=scratch))
    tell(benchmark, CHUNK, len(made))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("codec", BUILTIN, ids=lambda codec: codec.id)
def test_decode(benchmark: BenchmarkFixture, codec: Codec, name: str) -> None:
    plain, scratch = chunk(name), Scratch()
    width, out = dtype(name).width, memoryview(bytearray(CHUNK))
    payload = memoryview(bytes(codec.encode(plain, width=width, scratch=scratch)))
    benchmark(lambda: codec.decode(payload, out, width=width, scratch=scratch))
    assert out == plain
    tell(benchmark, CHUNK)


def test_put_payload(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """One synced transaction of 32 MiB."""
    rng = np.random.default_rng(3)
    volumes = Volumes(tmp_path)
    volume, claim = volumes.create(1)

    def batch() -> tuple[tuple[list[tuple[bytes, bytes]]], dict[str, object]]:
        return ([(rng.bytes(32), rng.bytes(CHUNK)) for _ in range(BATCH)],), {}

    benchmark.pedantic(volume.put, setup=batch, rounds=8, warmup_rounds=1)
    tell(benchmark, BATCH * CHUNK)
    volumes.close()
    claim.release()


def test_index(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """One synced transaction of 4,096 rows."""
    rng = np.random.default_rng(4)
    form = Form(1, NO_PREDICTOR, 2, 1, 2, CHUNK, 700_000, 0, (), 7)
    meta = Meta(tmp_path, create=True)

    def rows() -> tuple[tuple[list[ChunkId]], dict[str, object]]:
        return ([ChunkId(rng.bytes(32)) for _ in range(4096)],), {}

    def enter(ids: list[ChunkId]) -> None:
        with meta.write() as writer:
            for id_ in ids:
                put_form(writer, id_, form)

    benchmark.pedantic(enter, setup=rows, rounds=8, warmup_rounds=1)
    benchmark.extra_info["rows/s"] = round(4096 / benchmark.stats.stats.min)
    meta.close()


def test_join(benchmark: BenchmarkFixture, model: Path, tmp_path: Path) -> None:
    """A file joined from its tensors' chunks, and synced."""
    numbers = itertools.count()
    with FileReader(model) as reader:
        scan = format_by_id("safetensors").scan(reader)
        specs = {n: TensorSpec(n, s.dtype, tuple(s.shape)) for n, s in scan.tensors.items()}
        plain = memoryview(bytearray(CHUNK))

        def join() -> None:
            with FileWriter(tmp_path / str(next(numbers)), scan.layout.size) as out:
                plan = plan_join(scan.layout, scan.literals, out, specs)
                for name, start, stop in _chunks(specs):
                    plan.sinks[name].write(start, plain[: stop - start])
                plan.finish()
                out.sync()

        benchmark.pedantic(join, rounds=5, warmup_rounds=1)
    tell(benchmark, model.stat().st_size)


def _chunks(specs: dict[str, TensorSpec]) -> Iterator[tuple[str, int, int]]:
    for name, spec in specs.items():
        count = -(-spec.nbytes // CHUNK)
        for start, stop in ranges_of(Tensor(spec.dtype, spec.shape, (ChunkId(bytes(32)),) * count)):
            yield name, start, stop


@pytest.fixture
def repos(model: Path, tmp_path: Path) -> Iterator[Iterator[Repo]]:
    """Fresh repositories, each with the model as a tracked file."""
    opened: list[Repo] = []

    def fresh() -> Iterator[Repo]:
        for number in itertools.count():
            repo = Repo.init(tmp_path / str(number))
            opened.append(repo)
            (repo.root / "model.safetensors").hardlink_to(model)
            repo.add(["model.safetensors"])
            yield repo

    yield fresh()
    for repo in opened:
        repo.close()


def test_whole_commit(benchmark: BenchmarkFixture, repos: Iterator[Repo], model: Path) -> None:
    def commit(repo: Repo) -> None:
        done = repo.commit("first", author=ADA)
        benchmark.extra_info["stored"] = round(done.stored_bytes / done.logical_bytes, 4)

    benchmark.pedantic(commit, setup=lambda: ((next(repos),), {}), rounds=5, warmup_rounds=1)
    tell(benchmark, model.stat().st_size)


def test_whole_checkout(benchmark: BenchmarkFixture, repos: Iterator[Repo], model: Path) -> None:
    repo = next(repos)
    repo.commit("first", author=ADA)
    target = repo.root / "model.safetensors"
    benchmark.pedantic(
        lambda: repo.restore(["model.safetensors"]),
        setup=lambda: target.unlink(),
        rounds=5,
        warmup_rounds=1,
    )
    assert target.read_bytes() == model.read_bytes()
    tell(benchmark, model.stat().st_size)
