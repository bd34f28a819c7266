"""``theta export``: its options, what it says, and its exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell


@pytest.fixture
def big(shell: Shell) -> Shell:
    """A repository with one commit of ``m.safetensors``: three tensors of 4000 bytes."""
    values = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32)
    shell.save(x=values[0], y=values[1], z=values[2])
    (shell.folder / "config.json").write_text("{}")
    shell("add", "m.safetensors", "config.json")
    shell.commit("first")
    return shell


def test_a_file_without_options_is_a_copy(big: Shell) -> None:
    done = big("export", "HEAD:m.safetensors", "copy.safetensors")
    assert "Wrote 1 file to copy.safetensors" in done.err
    assert done.out == ""
    data = (big.folder / "m.safetensors").read_bytes()
    assert (big.folder / "copy.safetensors").read_bytes() == data


def test_the_ending_of_the_target_names_the_format(big: Shell) -> None:
    assert big("export", "HEAD:m.safetensors", "m.npz", "--json").json == {
        "schema": "theta.export/1",
        "files": ["m.npz"],
    }
    expected = load_file(big.folder / "m.safetensors")
    with np.load(big.folder / "m.npz") as loaded:
        assert set(loaded.files) == set(expected)
        assert all(np.array_equal(loaded[name], expected[name]) for name in expected)


def test_the_format_is_named_by_an_option(big: Shell) -> None:
    Path("out").mkdir()
    big("export", "HEAD:m.safetensors", "out", "--format", "npz")
    assert [path.name for path in Path("out").iterdir()] == ["m.npz"]


@pytest.mark.parametrize("options", [[], ["--format", "safetensors", "--shard-size", "1GB"]])
def test_a_slash_at_the_end_makes_a_folder(big: Shell, options: list[str]) -> None:
    big("export", "HEAD:m.safetensors", "new/out/", *options)
    data = (big.folder / "m.safetensors").read_bytes()
    made = load_file(big.folder / "new" / "out" / "m.safetensors")
    assert made.keys() == load_file(big.folder / "m.safetensors").keys()
    assert options or (big.folder / "new" / "out" / "m.safetensors").read_bytes() == data
    big("export", "HEAD:config.json", "new/out/")
    assert (big.folder / "new" / "out" / "config.json").read_text() == "{}"
    big("export", "HEAD:config.json", "new/out/", code=9)
    big("export", "HEAD:config.json", "m.safetensors/", code=9)


@pytest.mark.parametrize(
    ("size", "count"),
    [("8000", 2), ("8KB", 2), ("7.9kb", 3), ("8KiB", 2), ("4000B", 3), ("1", 3), ("12K", 1)],
)
def test_shard_sizes(big: Shell, size: str, count: int) -> None:
    files = big("export", "HEAD:m.safetensors", "s.safetensors", "--shard-size", size, "--json")
    shards = [f"s-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    expected = ["s.safetensors.index.json", *shards] if count > 1 else ["s.safetensors"]
    assert files.json["files"] == expected
    if count > 1:
        index = json.loads((big.folder / "s.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == 12000


def test_casts(big: Shell) -> None:
    big("export", "HEAD:m.safetensors", "h.npz", "--dtype", "f16")
    expected = load_file(big.folder / "m.safetensors")["x"].astype(np.float16)
    assert np.array_equal(np.load("h.npz")["x"], expected)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("HEAD:m.safetensors", "m.safetensors"), 9, "exists; nothing was written"),
        (("HEAD:m.safetensors", "n", "--dtype", "F8_E4M3"), 2, "an 8-bit float needs a scale"),
        (("HEAD:m.safetensors", "n", "--format", "gguf"), 2, "'gguf' is not known"),
        (("HEAD:m.safetensors", "n", "--shard-size", "big"), 2, "'big' is no size"),
        (("HEAD:m.safetensors", "n", "--shard-size", "0"), 2, "at least one byte"),
        (("HEAD:m.safetensors", "n.npy"), 2, "npy holds one tensor, not 3"),
        (("HEAD:m.safetensors", "n.npz", "--dtype", "BF16"), 2, "npz cannot hold BF16"),
        (("HEAD:config.json", "n", "--dtype", "BF16"), 2, "plain file"),
        (("HEAD", "n", "--dtype", "BF16"), 2, "theta export HEAD:FILE"),
        (("HEAD:m.safetensors::x", "n.npy"), 2, "theta cat HEAD:m.safetensors::x > FILE.npy"),
        (("HEAD:nope.npz", "n.npz"), 4, "holds no file 'nope.npz'"),
    ],
)
def test_what_is_refused(big: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    before = sorted(path.name for path in big.folder.iterdir())
    assert says in big("export", *words, code=code).err
    assert sorted(path.name for path in big.folder.iterdir()) == before


def test_a_parameter_is_written_as_numpy_writes_it(big: Shell) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "theta", "cat", "HEAD::x"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    np.save("x.npy", load_file("m.safetensors")["x"])
    assert data == Path("x.npy").read_bytes()
