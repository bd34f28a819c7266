"""Rounds: in each, every program takes every model through every operation.

Owns the order, the budget and what happens to a program that fails or is slow. Must not know any
program or model. The order of programs turns by one each round, so that none is always first.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.models import Model
from benchmarks.speed.operations import COMMITS, PLACED, WRITTEN, Operation, Variant
from benchmarks.speed.process import Failed, Stopped, Took, take
from benchmarks.speed.results import Failure, Results, Sample
from benchmarks.speed.scene import Scene, stored

VARIANTS: tuple[Variant, ...] = ("first", "layer", "tuned")
# Round 0 warms caches and byte-code up, and is not kept.
WARM_UP = 0


class Talk(Protocol):
    """Whoever hears how far the run is."""

    def __call__(self, line: str) -> None:
        """Hear a line."""


@dataclass(frozen=True)
class Budget:
    """How long all may take, in seconds.

    A peer that needs more than ``slow`` for a model is not asked again; ``each`` is the most
    that a peer gets for a model; no round after the first begins that would end after ``whole``.
    """

    rounds: int
    whole: float
    each: float
    slow: float


@dataclass
class _Left:
    """What a program has left of its time for one model."""

    whole: float
    used: float = 0.0

    @property
    def is_over(self) -> bool:
        return self.used >= self.whole

    def take(self, commands: Commands, scene: Scene, extra: Mapping[str, str]) -> list[Took]:
        done = []
        for command in commands:
            environment = scene.environment(extra)
            limit = max(0.0, self.whole - self.used)
            try:
                done.append(take(command, scene.work, environment, limit))
            except Stopped:
                self.used = self.whole
                raise Failed(f"stopped: all operations took more than {self.whole:.0f} s") from None
            self.used += done[-1].wall
        return done


@dataclass
class Rounds:
    """A run; ``folder`` is on the disk that is measured."""

    models: Sequence[Model]
    contenders: Sequence[Contender]
    budget: Budget
    folder: Path
    results: Results
    talk: Talk
    _dropped: set[tuple[str, str]] = field(default_factory=set)
    _spent: dict[tuple[str, str], float] = field(default_factory=dict)

    def measure(self) -> Iterator[int]:
        """Measure round after round, as many as the budget has room for; yield after each."""
        start = time.monotonic()
        sources = {model.name: self._sources(model) for model in self.models}
        for number in range(1, self.budget.rounds + 1):
            began = time.monotonic()
            if number > 1 and began - start + self._expected() > self.budget.whole:
                self.talk(f"no time for round {number}")
                break
            for model in self.models:
                self._round(number, model, sources[model.name])
            self.talk(f"round {number}: {time.monotonic() - began:.0f} s")
            yield number

    def warm_up(self, model: Model) -> None:
        """Take every program through a small model once, and forget what it took."""
        sources = self._sources(model)
        for contender in self.contenders:
            for _ in self._scenario(WARM_UP, model, contender, sources):
                pass
        shutil.rmtree(self.folder / model.name)

    def _sources(self, model: Model) -> dict[Variant, Path]:
        sources = {variant: self.folder / model.name / variant for variant in VARIANTS}
        model.write(sources)
        return sources

    def _expected(self) -> float:
        """Return what a round takes without those that are not asked again."""
        return sum(spent for key, spent in self._spent.items() if key not in self._dropped)

    def _round(self, number: int, model: Model, sources: Mapping[Variant, Path]) -> None:
        turn = number % len(self.contenders)
        for contender in [*self.contenders[turn:], *self.contenders[:turn]]:
            if (model.name, contender.name) in self._dropped:
                continue
            start = time.monotonic()
            for found in self._scenario(number, model, contender, sources):
                self._keep(found)
            spent = time.monotonic() - start
            self.talk(f"round {number}, {model.name}, {contender.name}: {spent:.1f} s")
            self._spent[model.name, contender.name] = spent
            if spent > self.budget.slow and contender.kind == "peer":
                self._dropped.add((model.name, contender.name))

    def _keep(self, found: Sample | Failure) -> None:
        if isinstance(found, Sample):
            self.results.samples.append(found)
            return
        self.results.failures.append(found)
        self._dropped.add((found.model, found.contender))
        self.talk(f"{found.contender}, {found.operation}: {found.message}")

    def _scenario(
        self, number: int, model: Model, contender: Contender, sources: Mapping[Variant, Path]
    ) -> Iterator[Sample | Failure]:
        root = self.folder / "scene"
        scene = Scene(root, model.files, sources)
        scene.make()
        scene.place("first")
        is_peer = contender.kind == "peer"
        left = _Left(self.budget.each if is_peer else self.budget.whole)
        for operation in Operation:
            try:
                if operation is Operation.FIRST:
                    left.take(contender.set_up(scene), scene, contender.environment(scene))
                sample = self._operation(number, model.name, contender, scene, operation, left)
                if sample is not None:
                    yield sample
            except Failed as failed:
                is_last = operation is Operation.FIRST or left.is_over
                yield Failure(model.name, contender.name, operation, str(failed), is_last)
                if is_last:
                    break
        shutil.rmtree(root)

    def _operation(
        self,
        number: int,
        model: str,
        contender: Contender,
        scene: Scene,
        operation: Operation,
        left: _Left,
    ) -> Sample | None:
        extra = contender.environment(scene)
        commands = contender.timed(operation, scene)
        if not commands:
            return None
        _arrange(scene, operation)
        left.take(contender.before(operation, scene), scene, extra)
        os.sync()
        took = left.take(commands, scene, extra)
        start = time.perf_counter()
        os.sync()
        sync = time.perf_counter() - start
        _check(scene, operation)
        wall = sum(_seconds(one, contender) for one in took)
        cpu = sum(one.cpu for one in took)
        places = contender.stores(scene) if operation in COMMITS else []
        size = stored(places) if places else None
        return Sample(model, contender.name, operation.value, number, wall, wall + sync, cpu, size)


def _arrange(scene: Scene, operation: Operation) -> None:
    """Bring the work tree to what the operation begins with."""
    if operation in PLACED and operation is not Operation.FIRST:
        scene.place(PLACED[operation])
    elif operation is Operation.TOUCH:
        scene.touch()
    elif operation is Operation.CHECKOUT:
        scene.clear()


def _check(scene: Scene, operation: Operation) -> None:
    """Compare what was written."""
    if operation in WRITTEN and (other := scene.differing(WRITTEN[operation])):
        raise Failed(f"{', '.join(other[:2])} did not come back byte for byte")


def _seconds(took: Took, contender: Contender) -> float:
    return float(took.said.splitlines()[-1]) if contender.own_clock else took.wall
