"""What a file may follow from is listed once, however many threads ask."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from theta.workspace.ancestry import Ancestry
from theta_store.hints import Base
from theta_store.ids import BlobId, CheckpointId, ParamsId, RecordId, TensorId
from theta_store.records import Checkpoint, File, Params, ParamsEntry, TreeEntry
from theta_store.store import Store

TENSOR = TensorId(RecordId(b"t" * 32))


class _Slow:
    """A store of one checkpoint that takes its time to list the parameters."""

    def __init__(self) -> None:
        self.listed = 0

    def checkpoint(self, id_: CheckpointId) -> Checkpoint:
        assert id_ == b"c" * 32
        file = File("", BlobId(RecordId(b"l" * 32)), {})
        return Checkpoint("test", 1, (file,), ParamsId(RecordId(b"p" * 32)), {})

    def nodes(self, ids: Iterable[ParamsId]) -> list[Params]:
        self.listed += 1
        time.sleep(0.05)
        return [Params((ParamsEntry("w", TENSOR, None),)) for _ in ids]


def test_parameters_are_listed_once_for_many_threads() -> None:
    store = _Slow()
    entry = TreeEntry("m", "checkpoint", RecordId(b"c" * 32))
    hints = Ancestry(cast("Store", store), [{"m": entry}]).hints("m")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(hints, ["w"] * 8))
    assert found == [(Base(TENSOR),)] * 8
    assert store.listed == 1
