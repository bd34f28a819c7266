"""The page about merging shows the figures of the last toy merges, and claims what they say."""

from statistics import mean

import pytest

from benchmarks.page import part
from benchmarks.toys.scores import AVERAGE, BRANCHES, SHIFT, SPLIT, Scores, spelled
from benchmarks.toys.table import page_part, report
from tests.docs.pages import DOCS, ROOT, table
from theta.strategies import STRATEGIES

PAGE = (DOCS / "how-to" / "merging.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"
SCORES = Scores.load(RESULTS / "toy_merges.json")
INFORMED = {"fisher", "regmean", "mats"}
SEEDS = 5


def _mean(scenario: str, rule: str) -> float:
    return mean(SCORES.merges[scenario][rule])


def test_the_tables_are_those_of_the_results() -> None:
    told = (
        "docs/how-to/merging.md is not what the results say. Run: python -m benchmarks.toy_merges"
    )
    assert part(PAGE, "toys") == page_part(SCORES), told
    assert (RESULTS / "toy_merges.md").read_text() == report(SCORES), told


def test_the_plots_are_of_the_same_run() -> None:
    for name in ("rules", "lambda"):
        plot = (DOCS / "how-to" / "merging" / f"{name}.svg").read_text()
        assert SCORES.facts["date"] in plot
        assert SCORES.facts["command"] in plot


def test_every_strategy_has_its_place_in_the_table_of_choices() -> None:
    advised = " ".join(row[1] for row in table(PAGE, "## Which strategy"))
    named = set(advised.replace(",", " ").replace(";", " ").split())
    assert set(STRATEGIES.ids()) <= named


@pytest.mark.parametrize("scenario", [SPLIT, SHIFT])
def test_grams_beat_the_average_in_every_run(scenario: str) -> None:
    for rule in ("regmean", "mats"):
        assert SCORES.better(scenario, rule) == SEEDS


def test_fisher_beats_it_on_shifted_inputs_and_hardly_differs_on_split_classes() -> None:
    assert SCORES.better(SHIFT, "fisher") == SEEDS
    assert 0 < SCORES.better(SPLIT, "fisher") < SEEDS
    assert abs(_mean(SPLIT, "fisher") - _mean(SPLIT, AVERAGE)) < 1


@pytest.mark.parametrize("scenario", [SPLIT, SHIFT])
def test_ties_does_not_beat_the_average_even_at_its_best(scenario: str) -> None:
    found = SCORES.sweeps[scenario]["ties density=0.2"]
    assert max(map(mean, found.values())) < _mean(scenario, AVERAGE)


def test_what_knows_only_weights_beats_the_average_in_one_scenario_at_most() -> None:
    for rule in set(SCORES.rules) - INFORMED - {AVERAGE}:
        over = [_mean(scenario, rule) - _mean(scenario, AVERAGE) for scenario in (SPLIT, SHIFT)]
        assert min(over) < 0.05, rule
    assert SCORES.better(SPLIT, "tsv-m") == SEEDS
    assert _mean(SHIFT, "tsv-m") < _mean(SHIFT, AVERAGE)


def test_on_shifted_inputs_a_branch_alone_knows_more_than_merges_without_statistics() -> None:
    alone = min(_mean(SHIFT, branch) for branch in BRANCHES)
    assert all(_mean(SHIFT, rule) < alone for rule in set(SCORES.rules) - INFORMED)


@pytest.mark.parametrize("scenario", [SPLIT, SHIFT])
def test_task_arithmetic_at_its_best_is_about_the_average(scenario: str) -> None:
    best = max(map(mean, SCORES.sweeps[scenario]["task-arithmetic"].values()))
    assert best == pytest.approx(_mean(scenario, AVERAGE), abs=0.5)
    for rule in ("task-arithmetic", "dare density=0.5"):
        assert _mean(scenario, rule) < _mean(scenario, AVERAGE)


def test_the_experts_scored_what_the_page_says() -> None:
    soft, dense = (spelled(SCORES.experts[name]) for name in ("soft", "dense"))
    said = " ".join(PAGE.split())
    assert f"merged so scored {soft}, one network of the same cost {dense} (" in said
