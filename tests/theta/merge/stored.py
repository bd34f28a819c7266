"""Arrays as tensors of a store, for the tests of what reads them there."""

from dataclasses import dataclass

import numpy as np

from theta_store.ids import TensorId
from theta_store.store import Store

NAMES = {"float32": "F32", "float64": "F64", "float16": "F16", "uint16": "BF16"}


@dataclass(frozen=True)
class ArraySource:
    """An array as the store takes it; uint16 stands for bfloat16."""

    values: np.ndarray

    @property
    def dtype(self) -> str:
        return NAMES[self.values.dtype.name]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def read_into(self, start: int, out: memoryview) -> None:
        plain = np.ascontiguousarray(self.values).reshape(-1).view(np.uint8)
        out[:] = plain[start : start + len(out)].data


def put(store: Store, *arrays: np.ndarray) -> list[TensorId]:
    """Store arrays; they are garbage, and nothing collects it."""
    with store.session() as session:
        items = ((f"{n}", ArraySource(array)) for n, array in enumerate(arrays))
        ids = [stored.id for stored in session.put_tensors(items)]
        session.flush()
    return ids


def get(store: Store, id_: TensorId, like: np.ndarray) -> np.ndarray:
    """Return a tensor as an array of the dtype of another."""
    record = store.tensor(id_)
    out = bytearray(record.nbytes)
    store.read_range(record, 0, memoryview(out))
    return np.frombuffer(out, like.dtype).reshape(record.shape)
