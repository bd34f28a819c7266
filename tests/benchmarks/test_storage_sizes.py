"""The benchmark of stored sizes, run whole on a tiny model."""

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("lz4", reason="pip install --group bench")
pytest.importorskip("matplotlib", reason="pip install --group bench")

from benchmarks import storage_sizes
from benchmarks.storage.checkpoints import QUICK, Checkpoints
from benchmarks.storage.histories import Files, build_histories
from benchmarks.storage.results import Results
from benchmarks.storage.table import markdown

SCHEMES = ["plain copy", "file dedup", "Xet", "ZipNN", "BitX", "theta fast", "order-0 bound"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def results(cache: Path) -> Results:
    arguments = ["--quick", "--histories", "talk", "sparse", "trim", "--schemes", *SCHEMES]
    return storage_sizes.run(arguments, cache)


def test_every_scheme_has_a_figure_for_every_commit(results: Results) -> None:
    assert [row.name for row in results.rows] == ["talk", "sparse", "trim"]
    for row in results.rows:
        assert list(row.columns) == SCHEMES
        assert all(len(column.costs) == len(row.commits) for column in row.columns.values())
        assert row.share("plain copy") == 1
        assert row.share("file dedup") == 1


def test_embedding_and_rest_make_the_whole(results: Results) -> None:
    for row in results.rows:
        for name in ("ZipNN", "BitX", "theta fast", "order-0 bound"):
            whole, embedding, rest = (
                row.columns[name].sizes(part) for part in ("total", "embedding", "rest")
            )
            assert [a + b for a, b in zip(embedding, rest, strict=True)] == list(whole)
            share = row.commits[0].embedding_bytes / row.commits[0].plain_bytes
            assert embedding[0] / whole[0] == pytest.approx(share, rel=0.1)
        assert row.columns["Xet"].sizes("embedding") is None


def test_nothing_is_below_its_bound_where_elements_are_coded_alone(results: Results) -> None:
    first = {name: column.costs[0].total for name, column in results.rows[1].columns.items()}
    assert first["order-0 bound"] < first["ZipNN"] < first["BitX"] < first["plain copy"]
    assert first["order-0 bound"] < first["theta fast"] < first["plain copy"]


def test_the_files_are_the_results(results: Results, cache: Path) -> None:
    folder = cache / "results"
    assert Results.load(folder / "storage_sizes.json") == results
    assert (folder / "storage_sizes.md").read_text() == markdown(results)
    assert {path.name for path in folder.glob("*.svg")} == {"talk.svg", "histories.svg"}
    report = markdown(results)
    assert "cumulative MB" in report
    assert all(digest in report for digest in results.model["sha256 of tensors"].values())


def test_a_report_is_made_again_from_the_results(results: Results, cache: Path) -> None:
    folder = cache / "results"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.glob("*.svg"):
        path.unlink()
    assert storage_sizes.run(["--redraw", "--out", str(folder), "--plots", str(folder)]) == results
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_training_gives_the_same_bits_again(results: Results, cache: Path, tmp_path: Path) -> None:
    again = Checkpoints.open(QUICK, tmp_path)
    again.path("lora")
    again.path("sparse")
    kept = results.model["sha256 of tensors"]
    assert again.digests().items() <= kept.items()


def test_histories_are_what_they_say(results: Results, cache: Path, tmp_path: Path) -> None:
    at = Checkpoints.open(QUICK, cache / "storage")
    copy = Checkpoints(at.settings, at.corpus, tmp_path / "checkpoints")
    shutil.copytree(at.folder, copy.folder)
    files = Files(copy, tmp_path / "files")
    base, sparse = files.state("base"), files.state("sparse")
    moved = sum(int((sparse[name] != base[name]).sum()) for name in base)
    assert 0 < moved <= 0.006 * sum(value.numel() for value in base.values())
    lora = files.state("lora")
    for name, value in lora.items():
        difference = (value - base[name]).double()
        rank = torch.linalg.matrix_rank(difference, rtol=1e-3) if value.ndim == 2 else 0
        assert rank <= 8, name
    trimmed = files.state("trimmed")["embed.weight"]
    assert 0 < len(trimmed) < len(base["embed.weight"])
    names = [history.name for history in build_histories(copy)]
    assert len(set(names)) == len(names) >= 16
