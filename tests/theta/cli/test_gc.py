"""``theta gc``: keep policies give up the rest, forecast what that frees, and can be undone."""

import numpy as np
import pytest

import theta
import theta_store.gc
from tests.theta.cli.conftest import Shell
from theta_store.errors import Locked
from theta_store.leases import lock_file

BIG = 400_000


@pytest.fixture
def run(shell: Shell) -> Shell:
    """main with eight commits of a model that changes wholly: step 1 … 8, loss |n - 5|."""
    shell.save(w=1)
    shell("add", "m.safetensors")
    for n in range(1, 9):
        values = np.random.default_rng(n).standard_normal(BIG).astype(np.float32)
        shell.commit(f"c{n}", "--step", str(n), "--metric", f"loss={abs(n - 5)}", w=values)
    return shell


def _gone(shell: Shell, *words: str) -> set[str]:
    """Return the subjects of the commits that a dry run would give up."""
    expired = shell("gc", "--dry-run", "--json", *words).json["expired"]
    return {_subject(shell, id_) for id_ in expired}


def _subject(shell: Shell, id_: str) -> str:
    return str(shell("show", id_, "--json").json["message"])


def _names(*numbers: int) -> set[str]:
    return {f"c{n}" for n in numbers}


def test_each_policy_and_their_union(run: Shell) -> None:
    assert _gone(run, "--keep-last", "3") == _names(1, 2, 3, 4, 5)
    assert _gone(run, "--keep-best", "loss:2") == _names(1, 2, 3, 4, 7)
    assert _gone(run, "--keep-every", "4") == _names(1, 2, 3, 5, 6, 7)
    assert _gone(run, "--keep-last", "2", "--keep-best", "loss:1", "--keep-every", "3") == _names(
        1, 2, 4
    )
    assert _gone(run) == set()


def test_the_direction_of_a_metric_is_configured(run: Shell) -> None:
    run("config", "metric.loss", "max")
    assert _gone(run, "--keep-best", "loss:1") == _names(2, 3, 4, 5, 6, 7)


def test_tips_tags_head_and_merge_bases_are_kept(run: Shell) -> None:
    run("tag", "v1", "step:2")
    run("branch", "side", "step:3")
    assert _gone(run, "--keep-last", "1") == _names(1, 4, 5, 6, 7)
    run("checkout", "step:6")
    assert _gone(run, "--keep-last", "1") == _names(1, 4, 5, 7)
    run("switch", "side")
    (run.folder / "note.txt").write_text("x")
    run("add", "note.txt")
    run.commit("on side")
    run.commit("on side again", w=2)
    gone = _gone(run, "--keep-last", "1")
    assert gone == _names(1, 4, 5, 6, 7) | {"on side"}, "c3 is the base of main and side"


def test_a_waiting_merge_keeps_its_commits(run: Shell) -> None:
    run("switch", "-c", "side", "step:3")
    (run.folder / "note.txt").write_text("x")
    run("add", "note.txt")
    run.commit("on side")
    run("tag", "other")
    run("switch", "main")
    run("branch", "-D", "side")
    run("merge", "other", "-s", "average", "--no-commit")
    run("tag", "-d", "other")
    assert _gone(run, "--keep-last", "1") == _names(1, 2, 4, 5, 6, 7), "c3 is the merge's base"


def test_each_branch_is_read_for_itself(run: Shell) -> None:
    run("branch", "side", "step:4")
    assert _gone(run, "--keep-last", "2") == _names(1, 2, 5, 6)


def test_a_dry_run_changes_nothing_and_forecasts_what_the_disk_gets_back(run: Shell) -> None:
    with run.repo() as repo:
        before = repo.sizes()
        operations = len(list(repo.operations()))
    words = ["--keep-last", "2", "--keep-best", "loss:1"]
    told = run("gc", "--dry-run", *words).out
    assert told.count("would give up") == 5
    forecast = run("gc", "--dry-run", "--json", *words).json
    with run.repo() as repo:
        assert repo.sizes() == before
        assert len(list(repo.operations())) == operations
    assert forecast["disk_bytes"] > 5 * BIG
    report = run("gc", "--json", *words).json
    with run.repo() as repo:
        freed = before.disk_bytes - repo.sizes().disk_bytes
        assert repo.fsck() == []
    assert freed == pytest.approx(forecast["disk_bytes"], rel=0.05)
    assert report["chunks"] == forecast["chunks"]
    assert report["expired"] == forecast["expired"]
    assert len(run("log", "--json").json["commits"]) == 8
    run("ls", "step:1", code=4)
    run("export", "step:5:m.safetensors", "five.safetensors")


def test_a_second_run_gives_up_nothing_more(run: Shell) -> None:
    words = ["--keep-last", "2", "--keep-best", "loss:2", "--keep-every", "3"]
    run("gc", *words)
    again = run("gc", "--json", *words).json
    assert again["expired"] == []
    assert (again["chunks"], again["disk_bytes"]) == (0, 0)


def test_an_expiry_is_undone_until_it_is_collected(run: Shell) -> None:
    with run.repo() as repo:
        expired = repo.expirable(theta.keep.last(2))
        with lock_file(repo.store.folder / "gc.lock"), pytest.raises(Locked):
            repo.gc(keep=theta.keep.last(2))
        assert repo.store.expired() == set(expired)
        repo.undo()
        assert repo.store.expired() == set()
        assert all(repo.entries(commit) for commit in expired)


def test_undo_goes_past_what_was_collected(run: Shell) -> None:
    run("gc", "--keep-last", "2")
    assert "commit c8" in run("undo", "--dry-run").out
    run("undo")
    assert _subject(run, "HEAD") == "c7"
    run("redo")
    assert _subject(run, "HEAD") == "c8"
    run("forget", "step:7")
    run("undo")
    run("ls", "step:7")


def test_bad_numbers_are_refused(run: Shell) -> None:
    for words in (
        ["--keep-last", "0"],
        ["--keep-every", "-1"],
        ["--keep-best", "loss"],
        ["--keep-best", "loss:x"],
        ["--keep-best", ":3"],
    ):
        run("gc", *words, code=2)


def test_a_metric_that_no_commit_has_is_refused(run: Shell) -> None:
    for words in (["--keep-best", "lss:2"], ["--keep-last", "1", "--keep-best", "lss:2"]):
        for more in (["--dry-run"], []):
            told = run("gc", *words, *more, code=4).err
            assert "no commit has the metric 'lss'" in told
            assert "did you mean loss?" in told
    assert "theta log" in run("gc", "--keep-best", "accuracy:1", code=4).err
    with run.repo() as repo:
        assert not repo.store.expired()


def test_a_repository_without_commits_has_no_metric_to_miss(shell: Shell) -> None:
    assert shell("gc", "--keep-best", "loss:2", "--json").json["expired"] == []


def test_from_python(run: Shell) -> None:
    with run.repo() as repo:
        keep = theta.keep.last(1) | theta.keep.best("loss", 1)
        forecast = repo.gc(keep=keep, dry_run=True)
        done = repo.gc(keep=keep)
        assert done.expired == forecast.expired
        assert len(done.expired) == 6


def test_bases_of_what_is_kept_stay_and_are_told(shell: Shell) -> None:
    values = np.random.default_rng(0).standard_normal(4 * BIG).astype(np.float32)
    shell.save(w=values)
    shell("add", "m.safetensors")
    for n in range(1, 4):
        values = values + np.random.default_rng(n).normal(0, 1e-4, len(values)).astype(np.float32)
        shell.commit(f"c{n}", w=values)
    told = shell("gc", "--keep-last", "1", "--dry-run")
    assert "would stay: later checkpoints are stored as differences" in told.err
    forecast = shell("gc", "--keep-last", "1", "--dry-run", "--json").json
    assert 16 * BIG < forecast["base_bytes"] < 32 * BIG
    done = shell("gc", "--keep-last", "1", "--now", "--json").json
    assert done["base_bytes"] == forecast["base_bytes"]
    assert "differences" not in shell("gc", "-q").err


def test_clusters_are_no_bases(shell: Shell) -> None:
    small = {f"w{n}": np.random.default_rng(n).normal(size=2000) for n in range(200)}
    shell.save(**small)
    shell("add", "m.safetensors")
    shell("commit", "-m", "small")
    assert shell("gc", "--dry-run", "--json").json["base_bytes"] == 0


def test_what_a_full_disk_cannot_be_given_back_is_told(
    run: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(theta_store.gc, "free_bytes", lambda _: 0)
    told = run("gc", "--keep-last", "1", "--now")
    assert "the disk got back 0 B" in told.out
    assert "inside the store's files are free for the next commits" in told.err
    again = run("gc", "--now", "--json").json
    assert again["idle_bytes"] > 1 << 20
    assert again["room_bytes"] > 0
