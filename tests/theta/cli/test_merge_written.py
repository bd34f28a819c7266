"""The file of a merge is written while it is computed, and the old one stays until all is well."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch
from theta.workspace.copies import Copies
from theta.workspace.draft import TEMPORARY, Draft
from theta_store.ids import TensorId

Written = dict[str, frozenset[str]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Written:
    """The names that each finished file got while the merge was computed."""
    found: Written = {}
    finish = Draft.finish

    def spy(self: Draft, ids: Mapping[str, TensorId]) -> object:
        status = finish(self, ids)
        found[self._target.name] = frozenset(self._given)
        return status

    monkeypatch.setattr(Draft, "finish", spy)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(shell: Shell) -> Iterator[None]:
    yield
    assert not list(shell.folder.rglob(f"{TEMPORARY}*"))
    assert not (shell.folder / ".theta" / "draft").exists()


def _values(seed: int, count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"w{n}": rng.random((700, 600), np.float32) for n in range(count)}


def _forked(shell: Shell) -> Shell:
    """Models of chunks that are large enough to be read in their files; ``same`` is unchanged."""
    same = np.random.default_rng(9).random(500_000, np.float32)
    shell.save(same=same, **_values(0))
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", same=same, **_values(1))
    shell.commit("ours", same=same, **_values(2))
    return shell


def _from_store(shell: Shell, path: str = "m.safetensors") -> bytes:
    """Return a file of HEAD as the store gives it."""
    out = shell.folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    shell("export", "HEAD", str(out))
    return (out / path).read_bytes()


@pytest.mark.parametrize("strategy", ["average", "ties density=0.3", "slerp"])
def test_the_file_is_what_the_store_holds(shell: Shell, strategy: str, given: Written) -> None:
    _forked(shell)("merge", "rte", "-s", strategy)
    assert given == {"m.safetensors": {"w0", "w1", "w2"}}
    assert (shell.folder / "m.safetensors").read_bytes() == _from_store(shell)
    assert shell("status", "--json").json["clean"]


def test_names_that_are_picked_or_settled_come_from_the_store(shell: Shell, given: Written) -> None:
    _forked(shell)("merge", "rte", "-s", "average", "--rule", "w1 theirs")
    assert given == {"m.safetensors": {"w0", "w2"}}
    assert (shell.folder / "m.safetensors").read_bytes() == _from_store(shell)


def test_a_merge_that_waits_writes_the_same_file(shell: Shell) -> None:
    _forked(shell)("merge", "rte", "-s", "average", "--no-commit")
    waiting = (shell.folder / "m.safetensors").read_bytes()
    shell("commit", "-m", "merged")
    assert waiting == _from_store(shell)
    shell("undo")
    shell("undo")


def test_undo_brings_ours_back(shell: Shell) -> None:
    before = (_forked(shell).folder / "m.safetensors").read_bytes()
    shell("merge", "rte", "-s", "average")
    shell("undo")
    assert (shell.folder / "m.safetensors").read_bytes() == before


def test_a_merge_that_fails_leaves_the_old_file(shell: Shell, given: Written) -> None:
    before = _forked(shell).folder / "m.safetensors"
    bad = _values(3)
    bad["w2"][699, 599] = np.nan
    shell("switch", "rte")
    shell.commit("bad", **bad, same=np.random.default_rng(9).random(500_000, np.float32))
    shell("switch", "main")
    given.clear()
    old = before.read_bytes()
    answer = shell("merge", "rte", "-s", "average", "--json", code=1).json
    assert [(c["name"], c["kind"]) for c in answer["conflicts"]] == [("w2", "non-finite")]
    assert not given
    assert before.read_bytes() == old


def test_a_file_that_is_changed_meanwhile_is_not_overwritten(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forked(shell)
    settle = Draft.settle

    def change(self: Draft, *args: object) -> None:
        settle(self, *args)  # type: ignore[arg-type]
        shell.save(mine=1)

    monkeypatch.setattr(Draft, "settle", change)
    error = shell("merge", "rte", "-s", "average", code=9).err
    assert "m.safetensors would be overwritten" in error
    assert shell.load() == {"mine": 1}


def test_of_a_sharded_model_one_file_is_written_meanwhile(shell: Shell, given: Written) -> None:
    def save(seed: int) -> None:
        values = _values(seed)
        shell.save("big/s1.safetensors", w0=values["w0"])
        shell.save("big/s2.safetensors", w1=values["w1"], w2=values["w2"])

    weights = {"w0": "s1.safetensors", "w1": "s2.safetensors", "w2": "s2.safetensors"}
    (shell.folder / "big").mkdir()
    index = shell.folder / "big" / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    os.utime(index, (1_700_000_000,) * 2)
    save(0)
    shell("add", "big")
    shell("commit", "-m", "first")
    shell("switch", "-c", "rte")
    save(1)
    shell("commit", "-m", "theirs")
    shell("switch", "main")
    save(2)
    shell("commit", "-m", "ours")
    given.clear()
    shell("merge", "rte", "-s", "average")
    # The one with most of the bytes: no more room is taken than a checkout takes. The index stays.
    assert given == {
        "s1.safetensors": set(),
        "s2.safetensors": {"w1", "w2"},
    }
    for name in weights.values():
        assert (shell.folder / "big" / name).read_bytes() == _from_store(shell, f"big/{name}")


def test_names_that_share_a_tensor_get_the_same_bytes(shell: Shell, given: Written) -> None:
    torch = pytest.importorskip("torch")

    def save(seed: int) -> None:
        tied, copied = (torch.from_numpy(v) for v in _values(seed, 2).values())
        named = {"embed.w": tied, "head.w": tied, "one": copied, "two": copied.clone()}
        torch.save(named, shell.folder / "m.pt")

    save(0)
    shell("add", "m.pt")
    shell.commit("first")
    shell("switch", "-c", "rte")
    save(1)
    shell.commit("theirs")
    shell("switch", "main")
    save(2)
    shell.commit("ours")
    given.clear()
    shell("merge", "rte", "-s", "average")
    assert len(given["m.pt"]) == 3
    assert (shell.folder / "m.pt").read_bytes() == _from_store(shell, "m.pt")
    state = torch.load(shell.folder / "m.pt", weights_only=True)
    assert state["head.w"].data_ptr() == state["embed.w"].data_ptr()


def test_where_the_disk_is_nearly_full_the_file_is_written_in_the_end(
    shell: Shell, given: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theta.workspace.drafts._has_room", lambda *_: False)
    _forked(shell)("merge", "rte", "-s", "average")
    assert given == {"m.safetensors": set()}
    assert (shell.folder / "m.safetensors").read_bytes() == _from_store(shell)


def test_another_layout_than_expected_is_written_in_the_end(
    shell: Shell, given: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Draft, "becomes", lambda *_, **__: False)
    _forked(shell)("merge", "rte", "-s", "average")
    assert given == {"m.safetensors": set()}
    assert (shell.folder / "m.safetensors").read_bytes() == _from_store(shell)


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What files of the workspace said when they were asked for a chunk."""
    said: list[bool] = []
    fill = Copies.fill

    def spy(self: Copies, *args: object) -> bool:
        said.append(fill(self, *args))  # type: ignore[arg-type]
        return said[-1]

    monkeypatch.setattr(Copies, "fill", spy)
    return said


def _change(path: Path, how: Callable[[bytearray], None]) -> None:
    """Change a file so that its stat does not tell."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    how(data)
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_ours_is_read_in_its_file(shell: Shell, filled: list[bool]) -> None:
    path = _forked(shell).folder / "m.safetensors"
    shell("merge", "rte", "-s", "average", "-m", "one")
    expected = path.read_bytes()
    # Ours, what is the same on both sides, and that again where the file is written.
    assert filled.count(True) >= 8
    filled.clear()
    shell("undo")
    assert filled.count(True) == 2, "what the merge left as it was"
    shell("merge", "rte", "-s", "average", "-m", "two")
    assert path.read_bytes() == expected == _from_store(shell)


def test_what_its_file_gives_is_verified(
    shell: Shell, filled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _forked(shell).folder / "m.safetensors"
    shell("merge", "rte", "-s", "average", "-m", "one")
    expected = path.read_bytes()
    shell("undo")
    fill = Copies.fill

    def lie(self: Copies, id_: object, out: memoryview) -> bool:
        found = fill(self, id_, out)  # type: ignore[arg-type]
        out[0] ^= 1
        return found

    monkeypatch.setattr(Copies, "fill", lie)
    shell("merge", "rte", "-s", "average", "-m", "two")
    assert any(filled)
    assert path.read_bytes() == expected
    shell("fsck")


def test_a_file_that_became_shorter_is_not_read(shell: Shell, filled: list[bool]) -> None:
    path = _forked(shell).folder / "m.safetensors"
    with shell.repo() as repo:
        (entry,) = repo.entries(repo.head.commit).values()
        tensor = repo.store.tensor(_named(repo, entry.id)["w0"])
        filled.clear()
        with repo.workspace.lent(["m.safetensors"]):
            out = bytearray(tensor.nbytes)
            repo.store.read_range(tensor, 0, memoryview(out))
            assert filled == [True, True]
            _change(path, lambda data: data.clear())
            again = bytearray(tensor.nbytes)
            repo.store.read_range(tensor, 0, memoryview(again))
    assert filled == [True, True, False, False]
    assert again == out == _values(2)["w0"].tobytes()


def _named(repo: object, checkpoint: object) -> dict[str, object]:
    from theta.params import flatten

    store = repo.store  # type: ignore[attr-defined]
    return dict(flatten(store, store.checkpoint(checkpoint).params))
