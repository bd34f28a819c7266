"""What a merge computes goes to the store and to whoever writes the file, once each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.theta.merge.stored import ArraySource, put
from theta.merge.outlet import Teed, expected_layout
from theta.params import build_params
from theta_store.ids import RecordId, TensorId
from theta_store.records import Checkpoint, File, TreeEntry
from theta_store.store import Store


class _Sink:
    def __init__(self) -> None:
        self.got: list[tuple[int, bytes]] = []

    def write(self, start: int, plain: memoryview) -> None:
        self.got.append((start, bytes(plain)))


def test_each_range_is_given_on_once() -> None:
    values = np.arange(10, dtype=np.float32)
    plain, sink = values.tobytes(), _Sink()
    teed = Teed(ArraySource(values), sink, [(0, 16), (16, 40)])
    assert (teed.dtype, teed.shape) == ("F32", (10,))
    # Somebody looks at a part, and at a whole range a second time.
    for start, stop in ((4, 12), (16, 40), (0, 16), (16, 40)):
        out = bytearray(stop - start)
        teed.read_into(start, memoryview(out))
        assert out == plain[start:stop]
    assert sink.got == [(16, plain[16:]), (0, plain[:16])]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


def _entry(store: Store, leaves: dict[str, TensorId], aliases: dict[str, str]) -> TreeEntry:
    with store.session() as session:
        params = build_params(leaves, session)
        layout = session.put_bytes(b"never read")
        record = Checkpoint("safetensors", 1, (File("", layout, {}),), params, aliases)
        id_ = session.put_record(record)
        session.flush()
    return TreeEntry("m", "checkpoint", RecordId(id_), False)


def test_the_layout_is_of_the_first_side_that_the_result_fits(store: Store) -> None:
    one, two = put(store, np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))
    first = _entry(store, {"a": one, "b": one}, {})
    second = _entry(store, {"a": two, "b": one}, {})
    third = _entry(store, {"a": two, "b": one}, {"c": "a"})
    entries = (first, second, third)

    def layout(names: set[str], **made: tuple[int, ...]) -> TreeEntry | None:
        specs = {name: ("F32", shape) for name, shape in made.items()}
        return expected_layout(store, entries, names, specs)

    assert layout({"b"}, a=(2, 3)) == first
    assert layout({"b"}, a=(3, 2)) == second
    assert layout({"b"}, a=(3, 2), c=(3, 2)) == third
    assert layout({"b"}, a=(9, 9)) is None
    assert layout(set(), a=(2, 3)) is None
