"""The report of the toy merges: what is counted, and that it is made of what was saved."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="pip install --group bench")

from benchmarks import toy_merges
from benchmarks.toys.plot import draw
from benchmarks.toys.scores import AVERAGE, BRANCHES, SHIFT, SPLIT, Scores, spelled
from benchmarks.toys.table import report

FACTS = dict.fromkeys(("command", "date", "machine", "revision", "packages"), "said")
PERCENT = st.floats(0, 100)


def _scores(average: list[float], other: list[float]) -> Scores:
    found = {**dict.fromkeys(BRANCHES, other), AVERAGE: average, "fisher": other}
    merges = {SPLIT: found, SHIFT: found}
    sweeps = {name: {"ties": {"0.1": average, "1": other}} for name in merges}
    return Scores(FACTS, merges, sweeps, {"dense": average, "soft": other})


@given(st.lists(st.tuples(PERCENT, PERCENT), min_size=1, max_size=5))
def test_a_rule_is_better_where_its_score_is_greater_seed_by_seed(
    pairs: list[tuple[float, float]],
) -> None:
    scores = _scores([average for average, _ in pairs], [other for _, other in pairs])
    assert scores.better(SPLIT, "fisher") == sum(other > average for average, other in pairs)
    assert scores.better(SPLIT, AVERAGE) == 0


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    scores = _scores([1.0, 2.0], [3.0, 1.0])
    scores.save(tmp_path / "scores.json")
    assert Scores.load(tmp_path / "scores.json") == scores


def test_the_report_names_the_best_lambda_of_each_scenario() -> None:
    said = report(_scores([10.0, 20.0], [30.0, 40.0]))
    assert "| `ties` | 1 | 35.0 ± 7.1 | 1 | 35.0 ± 7.1 |" in said
    assert "| `fisher` | 35.0 ± 7.1 | 2 of 2 | 35.0 ± 7.1 | 2 of 2 |" in said


def test_one_seed_has_no_deviation() -> None:
    assert spelled([50.0]) == "50.0"


def test_equal_scores_make_equal_pictures(tmp_path: Path) -> None:
    scores = _scores([1.0, 2.0], [3.0, 1.0])
    first, second = (draw(scores, tmp_path / name) for name in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_other_seeds_leave_the_page_alone(tmp_path: Path) -> None:
    before = toy_merges.PAGE.read_text()
    _scores([1.0], [2.0]).save(tmp_path / "results" / toy_merges.FILE)
    toy_merges.run(["--seeds", "1", "--redraw"], tmp_path)
    assert toy_merges.PAGE.read_text() == before
    assert {file.name for file in (tmp_path / "results").iterdir()} == {
        "toy_merges.json",
        "toy_merges.md",
        "rules.svg",
        "lambda.svg",
    }
