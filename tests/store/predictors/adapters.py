"""Matrices that a trained adapter was merged into, as trainers do it."""

from dataclasses import dataclass

import numpy as np

from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import DTYPES, DType
from theta_store.scratch import Bytes


@dataclass(frozen=True)
class Merged:
    """Plain bytes before and after, and the dtype."""

    row: DType
    shape: tuple[int, int]
    base: Bytes
    new: Bytes

    @property
    def difference(self) -> np.ndarray:
        """The step in float32."""
        values = [widen(plain, self.row).reshape(self.shape) for plain in (self.new, self.base)]
        return (values[0] - values[1]).astype(np.float32)

    def sample(self, size: int = 96) -> np.ndarray:
        """A random sub-matrix of the step."""
        random = np.random.default_rng(0)
        rows, columns = (np.sort(random.choice(n, min(size, n), replace=False)) for n in self.shape)
        return self.difference[rows][:, columns].astype(np.float64)


def merged(
    name: str,
    shape: tuple[int, int],
    *,
    rank: int = 8,
    product_first: bool = True,
    decay: float = 0.3,
    step: float = 1.5e-3,
) -> Merged:
    """Return weights of deviation 0.02 after ``W + s · B·A`` of rms ``step``."""
    row, random = DTYPES[name], np.random.default_rng(5)
    compute = np.float64 if name == "F64" else np.float32
    base = narrow((random.standard_normal(shape[0] * shape[1]) * 0.02).astype(compute), row)
    thin = random.standard_normal((shape[0], rank)) * np.exp(-decay * np.arange(rank))
    product = thin.astype(np.float32) @ random.standard_normal((rank, shape[1]), np.float32)
    product *= np.float32(step / np.sqrt(np.mean(product**2)))
    if product_first:
        product = widen(narrow(product.reshape(-1), row), row).reshape(shape)
    new = narrow((widen(base, row) + product.reshape(-1)).astype(compute), row)
    return Merged(row, shape, base, new)


def residual_bits(guess: Bytes, plain: Bytes, row: DType) -> float:
    """Return the order-0 entropy of the zigzagged residual, in bits per element."""
    words = plain.view(f"<u{row.nbytes}") - guess.view(f"<u{row.nbytes}")
    signed = words.view(f"<i{row.nbytes}").astype(np.int64)
    counts = np.unique((signed << 1) ^ (signed >> 63), return_counts=True)[1]
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum())
