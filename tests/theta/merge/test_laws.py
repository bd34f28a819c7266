"""Laws of merging, for random models and strategies: the engine, from commits to a commit."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from theta.repo import Author, Repo

ADA = Author("Ada")
NAMES = ["embed.w", "h.0.w", "h.1.w", "norm"]
KINDS = [np.float32, np.float16, np.float64]
STRATEGIES = [
    "average",
    "linear weight=main:0.3,rte:0.7",
    "task-arithmetic weight=0.5",
    "ties density=0.5 weight=main:0.4,rte:0.6",
    "dare density=0.5",
    "breadcrumbs density=0.6",
    "slerp t=0.5",
    "magmax",
]
Model = dict[str, np.ndarray]
LAWS = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def histories(draw: st.DrawFn) -> tuple[Model, Model, Model]:
    """A model, and what two sides made of it: each changed, dropped or added some parameters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(KINDS))

    def values() -> np.ndarray:
        return rng.standard_normal((3, 4)).astype(kind)

    base = {name: values() for name in NAMES}

    def side() -> Model:
        made = dict(base)
        for name in draw(st.sets(st.sampled_from(NAMES))):
            made[name] = values()
        for name in draw(st.sets(st.sampled_from(["new.a", "new.b"]), max_size=1)):
            made[name] = values()
        return made

    return base, side(), side()


def _commit(repo: Repo, model: Model, message: str) -> None:
    save_file(model, repo.root / "m.safetensors")
    (repo.root / "message").write_text(message)
    repo.add(["m.safetensors", "message"])
    repo.commit(message, author=ADA)


def _fork(folder: str, base: Model, ours: Model, theirs: Model) -> Repo:
    repo = Repo.init(Path(folder))
    _commit(repo, base, "base")
    repo.switch("rte", create=True)
    _commit(repo, theirs, "rte")
    repo.switch("main")
    _commit(repo, ours, "main")
    return repo


def _merge(repo: Repo, other: str, strategy: str, **more: object) -> Model | None:
    method = repo.merge_method(["message::* ours"], strategy, **more)  # type: ignore[arg-type]
    answer = repo.merge(repo.plan_merge(other), method, author=ADA)
    if answer.state != "merged":
        assert answer.state == "conflicts"
        return None
    return load_file(repo.root / "m.safetensors")


def _same(one: Model | None, two: Model | None) -> bool:
    if one is None or two is None:
        return one is two
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and one[name].tobytes() == two[name].tobytes()
        for name in one
    )


@LAWS
@given(histories(), st.sampled_from(STRATEGIES))
def test_who_changed_nothing_has_no_say(history: tuple[Model, Model, Model], strategy: str) -> None:
    base, side, _ = history
    for ours, theirs in ((side, base), (base, side), (side, side)):
        with tempfile.TemporaryDirectory() as folder, _fork(folder, base, ours, theirs) as repo:
            assert _same(_merge(repo, "rte", strategy), side)


@LAWS
@given(histories(), st.sampled_from(STRATEGIES))
def test_it_does_not_matter_who_merges_whom(
    history: tuple[Model, Model, Model], strategy: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, _fork(folder, *history) as repo:
        one = _merge(repo, "rte", strategy, seed=3)
        if one is not None:
            repo.undo()
        repo.switch("rte")
        assert _same(_merge(repo, "main", strategy, seed=3), one)


@LAWS
@given(histories(), st.sampled_from(STRATEGIES))
def test_what_one_side_changed_is_taken_to_the_bit(
    history: tuple[Model, Model, Model], strategy: str
) -> None:
    base, ours, theirs = history
    with tempfile.TemporaryDirectory() as folder, _fork(folder, base, ours, theirs) as repo:
        merged = _merge(repo, "rte", strategy)
    if merged is None:
        return
    for name in base:
        moved = [side for side in (ours, theirs) if side[name] is not base[name]]
        if len(moved) < 2:
            expected = (moved or [base])[0][name]
            assert merged[name].tobytes() == expected.tobytes()


@LAWS
@given(histories(), st.sampled_from(STRATEGIES), st.integers(0, 9))
def test_a_replay_gives_the_same_tree_with_any_number_of_threads(
    history: tuple[Model, Model, Model], strategy: str, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, _fork(folder, *history) as repo:
        if _merge(repo, "rte", strategy, seed=seed) is None:
            return
        repo.config.set("core.threads", "1")
        with Repo(repo.root) as again:
            assert again.replay_merge("HEAD").same
        assert repo.fsck() == []


@pytest.mark.parametrize("strategy", ["average", "linear weight=0.5", "slerp t=0.5"])
def test_sides_that_agree_up_to_sign_of_zero_still_differ(strategy: str) -> None:
    """Ids decide what changed: equal numbers of other bits are a change."""
    base = {"w": np.array([1, 0.0], np.float32)}
    ours, theirs = {"w": np.array([2, 0.0], np.float32)}, {"w": np.array([1, -0.0], np.float32)}
    with tempfile.TemporaryDirectory() as folder, _fork(folder, base, ours, theirs) as repo:
        assert [c.name for c in repo.plan_merge("rte").conflicts] == ["w", None]
        assert _merge(repo, "rte", strategy) is not None
