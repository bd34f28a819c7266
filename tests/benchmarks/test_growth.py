"""The benchmark of growth, run on one axis at small places; slopes of known curves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="pip install --group bench")

from benchmarks import growth
from benchmarks.growing import branches, histories, sizes, tensors
from benchmarks.growing.files import CHUNK, write_sparse
from benchmarks.growing.points import Curve, Growth, Point
from benchmarks.growing.table import report


@given(st.floats(-2, 2), st.floats(1e-3, 10))
def test_the_slope_of_a_power_is_its_exponent(power: float, factor: float) -> None:
    points = tuple(Point("a", x, "op", factor * x**power) for x in (1.0, 10.0, 100.0))
    curve = Curve("a", "op", points)
    assert curve.slope == pytest.approx(power, abs=1e-6)
    assert curve.last_slope == pytest.approx(power, abs=1e-6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Growth:
    return growth.run(["--quick", "--axes", "tensors", "history", "branches"], cache)


def test_every_operation_has_a_point_at_every_place(measured: Growth) -> None:
    assert set(measured.axes) == {"tensors", "history", "branches"}
    for axis in (tensors, histories, branches):
        curves = [curve for curve in measured.curves() if curve.axis == axis.AXIS]
        assert len(curves) >= 5
        for curve in curves:
            assert [point.place for point in curve.points] == list(axis.QUICK)
            assert all(point.seconds > 0 for point in curve.points)


def test_the_files_are_the_points(measured: Growth, cache: Path) -> None:
    folder = cache / "results"
    assert Growth.load(folder / "growth.json") == measured
    assert (folder / "growth.md").read_text() == report(measured)
    before = (folder / "growth.svg").read_bytes()
    assert growth.run(["--quick", "--redraw"], cache) == measured
    assert (folder / "growth.svg").read_bytes() == before


def test_large_models_take_little_disk(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_sparse(path, "w", 8, seed=1)
    assert path.stat().st_size > 8 * CHUNK
    assert path.stat().st_blocks * 512 < CHUNK
    data = path.read_bytes()[-8 * CHUNK :]
    assert len({data[i * CHUNK : (i + 1) * CHUNK] for i in range(8)}) == 8
    assert max(sizes.SHARDS) * sizes.MIB * CHUNK >= 8e9
