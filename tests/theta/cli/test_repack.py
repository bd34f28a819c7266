"""``theta repack``, and how a parameter is kept in words."""

import numpy as np

from tests.store.updates import adapted, trained, weights
from tests.theta.cli.conftest import Shell

BASE = weights(1, 512, 512)


def _history(shell: Shell) -> None:
    shell.save(w=BASE)
    shell("add", "m.safetensors")
    shell.commit("base")
    values: np.ndarray = BASE
    for step in range(3):
        values = trained(values, step)
        shell.commit(f"step {step}", w=values)


def test_it_tells_what_it_saved(shell: Shell) -> None:
    _history(shell)
    dry = shell("repack", "--dry-run", "--json").json
    assert dry["schema"] == "theta.repack/1"
    assert dry["replaced"] > 0
    done = shell("repack")
    assert "became" in done.out
    assert "theta gc" in done.err
    again = shell("repack", "--json").json
    assert again["replaced"] == 0
    assert shell("fsck", "--json").json["ok"]


def test_since_leaves_older_commits_alone(shell: Shell) -> None:
    _history(shell)
    one = shell("repack", "--since", "HEAD~1", "--dry-run", "--json").json["chunks"]
    assert 0 < one < shell("repack", "--dry-run", "--json").json["chunks"]


def test_an_unknown_level_is_refused(shell: Shell) -> None:
    _history(shell)
    shell("repack", "--level", "slow", code=2)


def test_a_parameter_says_how_it_is_kept(shell: Shell) -> None:
    shell.save(w=BASE)
    shell("add", "m.safetensors")
    shell.commit("base")
    shell.commit("LoRA", w=adapted(BASE, 3))
    out = shell("show", "HEAD::w", "--storage").out
    assert "LoRA-like, rank 8, found automatically" in out
    (row,) = shell("show", "HEAD::w", "--storage", "--json").json["storage"]
    assert (row["predictor"], row["rank"]) == ("low-rank", 8)
    assert row["stored_bytes"] < 0.1 * BASE.nbytes
    forms = {row["predictor"] for row in shell("du", "--by", "form", "--json").json["rows"]}
    assert forms == {"none", "low-rank"}
    shell("show", "HEAD", "--storage", code=2)


def test_a_small_parameter_says_that_it_is_kept_with_others(shell: Shell) -> None:
    shell.save(a=weights(1, 40, 50), b=weights(2, 40, 50))
    shell("add", "m.safetensors")
    shell.commit("small")
    out = shell("show", "HEAD::a", "--storage").out
    assert "together with other small tensors: " in out


def test_free_lets_gc_take_what_kept_commits_followed_from(shell: Shell) -> None:
    _history(shell)
    kept = (shell.folder / "m.safetensors").read_bytes()
    told = shell("gc", "--keep-last", "1", "--now")
    assert "theta repack --free" in told.err
    dry = shell("repack", "--free", "--dry-run", "--json").json
    assert dry["schema"] == "theta.repack/1"
    assert dry["base_bytes"] > 1 << 20
    assert "would stand on their own" in shell("repack", "--free", "--dry-run").out
    done = shell("repack", "--free")
    assert "can go" in done.out
    assert "theta gc" in done.err
    freed = shell("gc", "--now", "--json").json
    assert freed["base_bytes"] == 0
    assert freed["disk_bytes"] > 1 << 20
    (shell.folder / "m.safetensors").unlink()
    shell("restore", "m.safetensors")
    assert (shell.folder / "m.safetensors").read_bytes() == kept
    assert shell("fsck", "--json").json["ok"]
    assert "Nothing is kept only" in shell("repack", "--free").out
    shell("repack", "--free", "--since", "HEAD", code=2)
