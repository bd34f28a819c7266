"""The page about speed shows the figures of the last run of the benchmarks, no others."""

from benchmarks import targets
from benchmarks.growing import table as growing
from benchmarks.growing.points import Growth
from benchmarks.page import part
from benchmarks.speed import table as speed
from benchmarks.speed.results import Results
from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "explanation" / "performance.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"
PEERS = Results.load(RESULTS / "peers.json")
GROWTH = Growth.load(RESULTS / "growth.json")


def test_the_tables_are_those_of_the_results() -> None:
    told = "docs/explanation/performance.md is not what the results say. Run: make bench-speed"
    assert part(PAGE, "peers") == speed.page_part(PEERS), told
    assert part(PAGE, "growth") == growing.page_part(GROWTH), told
    assert part(PAGE, "targets") == targets.part(), told


def test_the_reports_beside_the_results_are_of_the_same_run() -> None:
    assert (RESULTS / "peers.md").read_text() == speed.report(PEERS)
    assert (RESULTS / "growth.md").read_text() == growing.report(GROWTH)


def test_every_program_is_on_the_page_with_figures_or_with_its_failure() -> None:
    measured = {sample.contender for sample in PEERS.samples}
    failed = {failure.contender for failure in PEERS.failures}
    assert set(PEERS.contenders) == measured | failed
    for name in PEERS.contenders:
        assert f"| {name} |" in PAGE


def test_the_plots_are_of_the_same_run() -> None:
    for name, facts in (("peers", PEERS.facts), ("growth", GROWTH.facts)):
        plot = (DOCS / "explanation" / "performance" / f"{name}.svg").read_text()
        assert facts["date"] in plot
        assert facts["command"] in plot
