"""Rounds: who is asked again, who is stopped, and what a budget allows."""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.contenders.limit import Copy
from benchmarks.speed.models import MODELS, quick
from benchmarks.speed.operations import Operation
from benchmarks.speed.results import Results
from benchmarks.speed.rounds import Budget, Rounds
from benchmarks.speed.scene import Scene

LONG = 3600.0


class Sleepy(Contender):
    """Takes long for its log, and has nothing else to do."""

    name = "sleepy"
    about = "sleeps"
    seconds = 0.3

    def version(self) -> str:
        return "1"

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        if operation is not Operation.LOG:
            return []
        return [[sys.executable, "-c", f"import time; time.sleep({self.seconds})"]]


class Ours(Sleepy):
    """As slow, but measured for its own sake."""

    name = "ours"
    kind = "theta"


def _run(folder: Path, contenders: Sequence[Contender], budget: Budget) -> Results:
    results, said = Results({}, {}, {}), list[str]()
    rounds = Rounds([quick(MODELS[0])], contenders, budget, folder, results, said.append)
    for number in rounds.measure():
        assert any(line.startswith(f"round {number}: ") for line in said)
    return results


def _counts(results: Results) -> dict[str, int]:
    logs = [s.contender for s in results.samples if s.operation == Operation.LOG]
    return {name: logs.count(name) for name in ("sleepy", "ours")}


def test_a_slow_peer_runs_once_and_theta_every_time(tmp_path: Path) -> None:
    budget = Budget(rounds=2, whole=LONG, each=LONG, slow=0.2)
    assert _counts(_run(tmp_path, [Sleepy(), Ours()], budget)) == {"sleepy": 1, "ours": 2}


def test_a_peer_is_stopped_at_its_limit_and_told(tmp_path: Path) -> None:
    endless = Sleepy()
    endless.seconds = 60
    budget = Budget(rounds=2, whole=LONG, each=0.1, slow=LONG)
    results = _run(tmp_path, [endless, Copy(), Ours()], budget)
    (failure,) = results.failures
    assert (failure.contender, failure.operation, failure.is_last) == ("sleepy", "log", True)
    assert failure.message.startswith("stopped")
    model = quick(MODELS[0]).name
    assert results.failed(model, "sleepy", Operation.LOAD)
    assert not results.failed(model, "sleepy", Operation.FIRST)
    assert len(results.of(model, "cp + fsync", Operation.FIRST)) == 2
    assert _counts(results) == {"sleepy": 0, "ours": 2}


def test_no_round_begins_that_the_budget_has_no_room_for(tmp_path: Path) -> None:
    budget = Budget(rounds=9, whole=0.6, each=LONG, slow=LONG)
    assert _counts(_run(tmp_path, [Sleepy()], budget))["sleepy"] == 1


def test_the_ratio_is_that_of_medians_and_its_spread_that_of_rounds(tmp_path: Path) -> None:
    budget = Budget(rounds=3, whole=LONG, each=LONG, slow=LONG)
    results = _run(tmp_path, [Copy()], budget)
    model = quick(MODELS[0]).name
    ratio = results.ratio(model, "cp + fsync", "cp + fsync", Operation.FIRST)
    assert ratio is not None
    assert (ratio.middle, ratio.least, ratio.greatest) == (1, 1, 1)
    spread = results.seconds(model, "cp + fsync", Operation.FIRST)
    assert spread is not None
    assert spread.least <= spread.middle <= spread.greatest
    assert results.ratio(model, "cp + fsync", "nobody", Operation.FIRST) is None
