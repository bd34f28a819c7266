"""The benchmark of speed, run whole on tiny models, with a program that fails."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pip install --group bench")

from benchmarks import peers
from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.contenders.limit import Copy, Hash, Read
from benchmarks.speed.contenders.theta_cli import ThetaCli
from benchmarks.speed.contenders.theta_python import ThetaPython
from benchmarks.speed.operations import COMMITS, PLACED, Operation
from benchmarks.speed.process import Failed
from benchmarks.speed.programs import Programs
from benchmarks.speed.results import Results
from benchmarks.speed.scene import Scene
from benchmarks.speed.table import page_part, report


class Forgetful(Contender):
    """Keeps nothing, says that it did, and cannot log."""

    name = "forgetful"
    about = "keeps nothing"

    def version(self) -> str:
        return "1"

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        if operation is Operation.LOAD:
            return []
        if operation is Operation.LOG:
            return [[sys.executable, "-c", "raise SystemExit('I forgot')"]]
        return [["true"]]


class Missing(Contender):
    """Is not to be had."""

    name = "missing"
    about = "not there"

    def install(self, programs: Programs) -> None:
        raise Failed("no such package")

    def version(self) -> str:
        raise AssertionError

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        raise AssertionError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def results(cache: Path) -> Results:
    known = [Copy(), Read(), Hash(), ThetaCli(), ThetaPython(), Forgetful(), Missing()]
    return peers.run(["--quick", "--rounds", "1", "--models", "fp32"], cache, known)


def test_theta_does_every_operation(results: Results) -> None:
    for name, lacks in (("theta", {Operation.LOAD}), ("theta API", set())):
        found = {op for op in Operation if results.of("fp32", name, op)}
        assert found == set(Operation) - lacks
        assert not any(failure.contender == name for failure in results.failures)


def test_what_was_not_written_is_found_out(results: Results) -> None:
    said = {f.operation: f.message for f in results.failures if f.contender == "forgetful"}
    assert set(said) == {Operation.LOG, Operation.SWITCH, Operation.CHECKOUT}
    assert "exited 1: I forgot" in said[Operation.LOG]
    assert "did not come back byte for byte" in said[Operation.SWITCH]
    assert results.of("fp32", "forgetful", Operation.TUNED)


def test_what_is_not_there_is_told_with_its_reason(results: Results) -> None:
    assert "- missing: `no such package`" in page_part(results)
    assert "| missing | failed | failed |" in page_part(results)


def test_what_a_program_lacks_is_no_failure(results: Results) -> None:
    row = next(line for line in page_part(results).splitlines() if "| forgetful |" in line)
    assert row.endswith("| failed | – |")
    assert results.contenders["forgetful"]["lacks"] == [Operation.LOAD]


def test_only_what_keeps_a_history_has_a_size(results: Results) -> None:
    sizes = [results.stored("fp32", "theta", operation) for operation in COMMITS]
    assert all(size is not None and size > 0 for size in sizes)
    assert results.stored("fp32", "sha256sum", Operation.FIRST) is None


def test_the_files_are_the_results(results: Results, cache: Path) -> None:
    folder = cache / "results"
    assert Results.load(folder / "peers.json") == results
    assert (folder / "peers.md").read_text() == report(results)
    before = (folder / "peers.svg").read_bytes()
    assert peers.run(["--quick", "--redraw"], cache) == results
    assert (folder / "peers.svg").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"peers.json", "peers.md", "peers.svg"}


def test_nothing_is_left_of_the_models(results: Results, cache: Path) -> None:
    assert not list(cache.glob("speed-*"))
    assert results.models["fp32"]["about"].startswith("a tiny model")
    assert set(PLACED) < set(COMMITS)
