"""Golden bytes and ids: promises on disk that no later version may break."""

import json
from pathlib import Path

import numpy as np
import pytest

from theta_store.chunking import split
from theta_store.dtypes import dtype
from theta_store.encoding import decode, encode, identify
from theta_store.ids import (
    BlobId,
    ChunkId,
    CommitId,
    ParamsId,
    RecordId,
    TensorId,
    TreeId,
    chunk_id,
)
from theta_store.records import (
    Blob,
    Checkpoint,
    Commit,
    File,
    Params,
    ParamsEntry,
    Record,
    Tensor,
    Tree,
    TreeEntry,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def _id(byte: int) -> RecordId:
    return RecordId(bytes([byte]) * 32)


def examples() -> dict[str, Record]:
    """Return one record of every kind, each field used."""
    return {
        "tensor": Tensor("BF16", (3, 4), (ChunkId(_id(1)), ChunkId(_id(2)))),
        "params": Params(
            (
                ParamsEntry("", TensorId(_id(3)), None),
                ParamsEntry("bias", TensorId(_id(4)), None),
                ParamsEntry("layer", TensorId(_id(5)), ParamsId(_id(6))),
            )
        ),
        "checkpoint": Checkpoint(
            "torch",
            1,
            (File("", BlobId(_id(7)), {"serialization_id": b"123"}), File("b", BlobId(_id(8)), {})),
            ParamsId(_id(9)),
            {"lm_head.weight": "embed.weight"},
        ),
        "blob": Blob(1 << 40, (ChunkId(_id(10)),)),
        "tree": Tree(
            (
                TreeEntry("a", "blob", _id(11), executable=True),
                TreeEntry("m.pt", "checkpoint", _id(12)),
                TreeEntry("ä", "tree", _id(13)),
            )
        ),
        "commit": Commit(
            TreeId(_id(14)),
            (CommitId(_id(15)), CommitId(_id(16))),
            "Ada <ada@example.org>",
            1_700_000_000_123_456,
            -330,
            "Merge\n\nbody",
            1000,
            {"val_loss": 2.5},
            {"run": "https://example.org/1"},
            BlobId(_id(17)),
            {"signature": b"\x00\xff"},
        ),
    }


@pytest.mark.parametrize("name", examples())
def test_records(name: str) -> None:
    golden = json.loads((GOLDEN / "records.json").read_text())[name]
    record = examples()[name]
    assert encode(record).hex() == golden["bytes"]
    assert identify(record).hex() == golden["id"]
    assert decode(bytes.fromhex(golden["bytes"])) == record


def shapes() -> list[tuple[str, tuple[int, ...]]]:
    """Return the dtypes and shapes whose ids are golden."""
    small: list[tuple[int, ...]] = [
        (),
        (0,),
        (1,),
        (7,),
        (3, 5),
        (2, 3, 4),
        (4, 0, 3),
        (1, 1, 1, 1),
    ]
    large = [
        ("F32", (300_000,)),
        ("F32", (262_145,)),
        ("F32", (700, 600)),
        ("BF16", (3, 600_000)),
        ("BF16", (5, 512, 513)),
        ("F16", (2, 2, 300_000)),
        ("F64", (1025, 129)),
        ("U8", (2_000_001,)),
        ("I64", (40, 4000)),
        ("BOOL", (3, 1 << 20)),
        ("F8_E4M3", (2, 1_500_000)),
        ("C64", (150, 1000)),
        ("F4", (4, 6)),
        ("F4", (3, 1_000_000)),
        ("F6_E2M3", (8, 12)),
        ("GGML_Q4_K", (2, 512)),
        ("GGML_Q8_0", (64, 1024)),
    ]
    return [(name, shape) for name in ("F32", "BF16", "I64") for shape in small] + large


def tensor_id(name: str, shape: tuple[int, ...]) -> str:
    """Return the id of a tensor whose bytes count up."""
    row = dtype(name)
    plain = (np.arange(row.size_of(shape), dtype=np.int64) * 31 % 251).astype(np.uint8).tobytes()
    chunks = tuple(chunk_id(plain[start:stop]) for start, stop in split(name, shape))
    return identify(Tensor(name, shape, chunks)).hex()


def test_the_chunk_rule() -> None:
    golden = json.loads((GOLDEN / "chunk_rule.json").read_text())
    assert {f"{name} {shape}": tensor_id(name, shape) for name, shape in shapes()} == golden
