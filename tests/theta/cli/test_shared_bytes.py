"""Files that share what stays with the file they replace, where the file system can do that.

On a file system that cannot (ext4, tmpfs), a copy stands in for the clone: to everybody above
`reflink` they look the same. `pytest --basetemp DIR` with a folder on XFS or Btrfs uses the real
one.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.theta.cli.conftest import Shell, shell
from theta.formats import writing
from theta.formats.reading import FileReader
from theta.formats.writing import FileWriter, reflink

__all__ = ["shell"]

LAYERS = 8
SIZE = 1 << 16


def _can_reflink(folder: Path) -> bool:
    one, two = folder / "reflink-1", folder / "reflink-2"
    one.write_bytes(b"x" * 8192)
    with one.open("rb") as source, two.open("wb") as target:
        return reflink(source.fileno(), target.fileno())


def _copy(source: int, target: int) -> bool:
    data = os.pread(source, os.fstat(source).st_size, 0)
    return os.pwrite(target, data, 0) == len(data)


@pytest.fixture(autouse=True)
def sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not _can_reflink(tmp_path):
        monkeypatch.setattr(writing, "reflink", _copy)


class Written:
    """How many bytes went into temporary files, and how many of those were clones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = self.clones = 0
        pwrite, init = FileWriter.pwrite, FileWriter.__init__

        def counted(out: FileWriter, start: int, data: bytes | memoryview) -> None:
            self.bytes += memoryview(data).nbytes
            pwrite(out, start, data)

        def made(out: FileWriter, *words: object, **named: object) -> None:
            init(out, *words, **named)  # type: ignore[arg-type]
            self.clones += out.cloned

        monkeypatch.setattr(FileWriter, "pwrite", counted)
        monkeypatch.setattr(FileWriter, "__init__", made)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


def _layers(**changed: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    layers = {f"l{n}": rng.standard_normal(SIZE, np.float32) for n in range(LAYERS)}
    return {name: values + np.float32(changed.get(name, 0)) for name, values in layers.items()}


@pytest.fixture
def forked(shell: Shell) -> Shell:
    """``main`` and ``other`` differ in ``l3``; ``other`` is checked out."""
    shell.save(**_layers())
    shell("add", "m.safetensors")
    shell.commit("first")
    shell("switch", "-c", "other")
    shell.commit("other", **_layers(l3=1.0))
    _settle(shell)
    return shell


def _settle(shell: Shell, name: str = "m.safetensors") -> None:
    """Let the file be as old as it must be to be trusted by its stat."""
    _age(shell.folder / name)
    shell("commit", "-m", "nothing", code=1)


def _age(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10_000_000_001))


def test_a_switch_writes_only_the_tensors_that_differ(forked: Shell, written: Written) -> None:
    path = forked.folder / "m.safetensors"
    other = path.read_bytes()
    forked("switch", "main")
    expected = forked.save("expected.safetensors", **_layers())
    assert path.read_bytes() == expected.read_bytes() != other
    assert (written.clones, written.bytes // SIZE) == (1, 4)
    forked("fsck")
    assert "Nothing changed" in forked("status").out
    _settle(forked)
    forked("switch", "other")
    assert path.read_bytes() == other
    assert written.clones == 2


_VERSION = st.dictionaries(
    st.sampled_from("abcde"),
    st.tuples(st.sampled_from(["f4", "u1", "f8"]), st.integers(0, 3000), st.integers(0, 2)),
    min_size=1,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_VERSION, min_size=2, max_size=4))
def test_whatever_two_versions_differ_in_a_switch_gives_the_bytes(
    shell: Shell, versions: list[dict[str, tuple[str, int, int]]]
) -> None:
    name = "m.safetensors"
    known = {}
    for number, version in enumerate(versions):
        arrays = {
            key: np.full(size, value).astype(kind) for key, (kind, size, value) in version.items()
        }
        path = shell.save(name, **arrays, number=np.full(1, number))
        shell("add", name)
        known[shell.commit("a version")] = path.read_bytes()
    for commit, expected in [*known.items(), *reversed(known.items())]:
        _age(path)
        shell("status")
        shell("switch", "--detach", commit)
        assert path.read_bytes() == expected
    shell("switch", "main")


def test_a_file_that_is_not_what_it_was_gives_nothing(forked: Shell, written: Written) -> None:
    path = forked.folder / "m.safetensors"
    forked.save(**_layers(l0=5.0))
    forked("switch", "--force", "main")
    assert path.read_bytes() == forked.save("expected.safetensors", **_layers()).read_bytes()
    assert written.clones == 0


def test_a_file_that_changes_while_it_is_cloned_gives_nothing(
    forked: Shell, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forked.folder / "m.safetensors"
    clone = writing.reflink

    def late(source: int, target: int) -> bool:
        with path.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"late")
        return clone(source, target)

    monkeypatch.setattr(writing, "reflink", late)
    forked("switch", "main")
    assert path.read_bytes() == forked.save("expected.safetensors", **_layers()).read_bytes()
    # It was begun twice: what was cloned is not what was known.
    assert (written.clones, written.bytes > LAYERS * SIZE * 4) == (1, True)
    assert sorted(p.name for p in forked.folder.iterdir()) == [
        ".theta",
        "expected.safetensors",
        "m.safetensors",
    ]


def test_a_merge_shares_what_does_not_conflict(forked: Shell, written: Written) -> None:
    forked("switch", "main")
    forked.commit("ours", **_layers(l3=3.0, l5=1.0))
    _settle(forked)
    written.bytes = written.clones = 0
    forked("merge", "other", "-s", "linear")
    expected = forked.save("expected.safetensors", **_layers(l3=2.0, l5=1.0))
    path = forked.folder / "m.safetensors"
    got, wanted = (
        np.frombuffer(p.read_bytes()[-SIZE * 4 * LAYERS :], "f4") for p in (path, expected)
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert (written.clones, written.bytes // SIZE) == (1, 4)
    forked("fsck")
    tree = forked("status", "--json").json
    assert not tree["files"], tree


def test_a_file_with_checksums_is_written_whole(
    shell: Shell, written: Written, tmp_path: Path
) -> None:
    path = shell.folder / "m.npz"
    np.savez(path, *_layers().values())
    shell("add", "m.npz")
    shell.commit("first")
    before = path.read_bytes()
    np.savez(path, *_layers(l3=1.0).values())
    shell.commit("second")
    _settle(shell, "m.npz")
    shell("switch", "--detach", "HEAD~1")
    assert path.read_bytes() == before
    assert written.clones == 0


def test_a_large_file_that_was_just_written_is_not_read_again(
    forked: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theta.workspace.draft.LEAST_SETTLED", 0)
    read: list[Path] = []
    fill = FileReader.read_into

    def counted(reader: FileReader, start: int, out: memoryview) -> None:
        read.append(reader.path)
        fill(reader, start, out)

    forked("switch", "main")
    monkeypatch.setattr(FileReader, "read_into", counted)
    assert "Nothing changed" in forked("status").out
    assert not read
    forked.save(**_layers(l0=9.0))
    assert "Nothing changed" not in forked("status").out
    assert read


def test_a_full_fine_tune_is_written_as_a_new_file(forked: Shell, written: Written) -> None:
    forked.commit("all", **_layers(**{f"l{n}": 1.0 for n in range(LAYERS)}))
    _settle(forked)
    forked("switch", "main")
    assert written.clones == 0
    assert forked.save("expected.safetensors", **_layers()).read_bytes() == (
        (forked.folder / "m.safetensors").read_bytes()
    )


def test_a_file_that_shares_needs_no_room_for_what_it_shares(
    forked: Shell, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SIZE * 4 * 2
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    forked("switch", "main")
    assert written.clones == 1
    _settle(forked)
    free = SIZE * 4 - 1
    told = forked("switch", "other", code=7).err
    assert "are free" in told
    assert forked("status", "--json").json["branch"] == "main"


def test_a_save_right_after_the_switch_is_not_taken_for_its_file(
    forked: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def then_saved(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if target.name == "m.safetensors":
            monkeypatch.setattr(Path, "replace", replace)
            forked.save("new.safetensors", **_layers(l1=7.0)).replace(target)
        return done

    monkeypatch.setattr("theta.workspace.draft.LEAST_SETTLED", 0)
    monkeypatch.setattr(Path, "replace", then_saved)
    forked("switch", "main")
    assert "changed" in forked("status").out
    forked("switch", "other", code=9)
