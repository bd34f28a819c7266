"""The models of the merge benchmark are the same in one file and in shards."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.merging.llama import Llama
from theta.formats.reading import FileReader
from theta.formats.safetensors import Safetensors
from theta.formats.shard_index import shards_of

SMALL = {"hidden": 8, "inner": 16, "layers": 3, "heads": 2, "vocabulary": 32}


def _tensors(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with FileReader(path) as file:
            for name, source in Safetensors().scan(file).tensors.items():
                plain = bytearray(2 * int(np.prod(source.shape)))
                source.read_into(0, memoryview(plain))
                found[name] = bytes(plain)
    return found


@pytest.mark.parametrize("share", [1.0, 0.05])
@pytest.mark.parametrize("tuned", [None, 1])
def test_shards_hold_what_one_file_holds(tmp_path: Path, tuned: int | None, share: float) -> None:
    Llama(**SMALL).write(tmp_path / "one", tuned, share)
    Llama(**SMALL, shards=4).write(tmp_path / "four", tuned, share)
    index = (tmp_path / "four" / "model.safetensors.index.json").read_bytes()
    files = {path.name for path in (tmp_path / "four").glob("*.safetensors")}
    assert set(shards_of(index) or ()) == files
    assert len(files) == 4
    assert _tensors(tmp_path / "one") == _tensors(tmp_path / "four")


def test_a_small_share_of_the_bytes_is_moved(tmp_path: Path) -> None:
    model = Llama(**SMALL)
    model.write(tmp_path / "base")
    model.write(tmp_path / "few", 1, 0.05)
    base, few = _tensors(tmp_path / "base"), _tensors(tmp_path / "few")
    moved = sum(len(plain) for name, plain in base.items() if few[name] != plain)
    assert 0 < moved < 0.2 * sum(map(len, base.values()))
