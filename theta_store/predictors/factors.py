"""Thin factors of a difference of two matrices: whether there are any, and which.

Owns the spectral gap and the randomised singular value decomposition. Must not know the store, nor
how factors are used. Nothing here must give the same bits everywhere: factors are stored.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import Floats, half_step
from theta_store.dtypes import DType

Factor = NDArray[np.float32]
Wide = NDArray[np.float64]

GAP = 8.0
MOST_FOUND = 72
MOST_IN_NOISE = 40
LEAST_CHANGED = 0.2
OVERSAMPLING = 8
POWER_STEPS = 2
AUDIBLE = 1.25
MOST_SAMPLED = 90
TILE = 256
MOST_PRODUCTS = 1 << 18
SEED = 0x7E7A


def noise_level(values: Floats, row: DType) -> float:
    """Return the rms of what rounding to the dtype did to values like these."""
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(half_step(finite, row) ** 2) / 3)) if len(finite) else 0.0


def bits_worth(row: DType) -> int:
    """Return how many bits of a factor matter to a difference of tensors of this dtype."""
    return 30 if row.nbytes >= 4 else 16


def looks_low_rank(sub: Wide, noise: float) -> int | None:
    """Return the rank of a difference by a random sub-matrix of it, or None: no clear gap.

    ``sub`` is about 96 × 96, ``noise`` the rms of the rounding in it. A difference in few places
    only is none of low rank: residual codecs keep it better.
    """
    small = sub[:MOST_SAMPLED, :MOST_SAMPLED]
    if min(small.shape) < 2 or not np.isfinite(small).all():
        return None
    if np.count_nonzero(small) < LEAST_CHANGED * small.size:
        return None
    values = np.linalg.svd(small.astype(np.float64, copy=False), compute_uv=False)
    return _rank(values, noise * _spread(small.shape), GAP, MOST_IN_NOISE)


def factorise(
    difference: Factor, rank: int, *, noise: float = 0.0, bits: int = 30
) -> tuple[Factor, Factor] | None:
    """Return left (m × r) and right (r × n), whose product is the difference but for noise.

    ``rank`` is a first guess; r is where the singular values fall off or reach the noise (its rms
    per element). ``bits`` is how many bits below the largest of its row or column an element keeps:
    fewer are stored smaller. None if nothing of low rank is found. The difference is only read,
    and copied only where it holds what float32 cannot square.
    """
    matrix, scale = _tamed(difference)
    floor, limit = noise / scale * _spread(matrix.shape), min(matrix.shape)
    # OpenBLAS takes eigenvectors of matrices wider than 64 with threads: see `_times`.
    for most in (rank, max(rank, min(2 * rank + OVERSAMPLING, 64 - OVERSAMPLING))):
        basis, values = _range(matrix, min(most + OVERSAMPLING, limit))
        found = _rank(values, floor, GAP / 2, len(values) - 1)
        if found is not None:
            thin, wide = _refined(matrix, basis, found)
            root = np.sqrt(scale)
            return _shortened(thin * root, 1, bits), _shortened(wide * root, 0, bits)
    return None


def left_factor(difference: Factor, right: Factor, bits: int = 30) -> Factor:
    """Return the left factor (m × r) of some rows that with a right one (r × n) is nearest to them.

    Least squares by the normal equations in float64. What is not finite counts as zero.
    """
    matrix = np.where(np.isfinite(difference), difference, np.float32(0))
    wide = right.T.astype(np.float64)
    inverse = np.linalg.pinv(_times(wide.T, wide), hermitian=True)
    return _shortened(_times(_times(matrix, wide), inverse), 1, bits)


def _spread(shape: tuple[int, ...]) -> float:
    """Return the largest singular value of noise of rms 1."""
    return float(np.sqrt(shape[0]) + np.sqrt(shape[1]))


def _rank(values: NDArray[Any], floor: float, least: float, most: int) -> int | None:
    """Return how many singular values stand out, if the rest falls far below them or is noise.

    Noise hides a fall that would be clear without it: at ``most`` so many are believed, and only if
    few of them are near to it. Else it is a spectrum that goes on below the noise.
    """
    if len(values) < 2 or not values[0] > least * floor:
        return None
    loud = int(np.count_nonzero(values > AUDIBLE * floor))
    near = loud - int(np.count_nonzero(values > 2 * AUDIBLE * floor))
    if floor > 0 and loud <= min(most, len(values) - 1) and near <= max(2, loud // 4):
        return loud
    clean = np.maximum(values, max(AUDIBLE * floor, float(values[0]) * 1e-9))
    falls = clean[:-1] / clean[1:]
    rank = int(np.argmax(falls[:MOST_FOUND])) + 1
    return rank if falls[rank - 1] >= least else None


def _tamed(difference: Factor) -> tuple[Factor, float]:
    """Return a matrix that float32 arithmetic can square, and by what it was divided."""
    largest = float(np.abs(difference).max(initial=0))
    if np.isfinite(largest) and (largest == 0 or 2.0**-40 < largest < 2.0**40):
        return difference, 1.0
    tamed = np.where(np.isfinite(difference), difference, np.float32(0))
    scale = 2.0 ** float(np.frexp(np.abs(tamed).max(initial=0))[1])
    tamed /= np.float32(scale)
    return tamed, scale


def _range(matrix: Factor, width: int) -> tuple[Wide, Wide]:
    """Return an orthonormal basis of where the matrix is largest, and the singular values there."""
    start = np.random.default_rng(SEED).standard_normal((matrix.shape[1], width), np.float32)
    basis = _orthonormal(_times(matrix, start))
    for _ in range(POWER_STEPS):
        other = _orthonormal(_times(matrix.T, basis.astype(np.float32)))
        basis = _orthonormal(_times(matrix, other.astype(np.float32)))
    squares, turn = _principal(_times(matrix.T, basis.astype(np.float32)))
    return _times(basis, turn), np.sqrt(squares)


def _refined(matrix: Factor, basis: Wide, rank: int) -> tuple[Wide, Wide]:
    """Return balanced factors of this rank, a power step closer and in float64."""
    other = _orthonormal(_times(matrix.T, basis[:, :rank]))
    basis = _orthonormal(_times(matrix, other))
    rest = _times(matrix.T, basis)
    squares, turn = _principal(rest)
    # Directions that vanish have no part in the product.
    root = np.sqrt(np.sqrt(np.maximum(squares, np.finfo(float).tiny)))
    return _times(basis, turn) * root, (_times(rest, turn) / root).T


def _orthonormal(thin: NDArray[Any]) -> Wide:
    """Return orthonormal columns that span the same; directions that vanish become zero."""
    wide = thin.astype(np.float64)
    for _ in range(2):
        squares, turn = _principal(wide)
        real = squares > squares[0] * 1e-14
        wide = _times(wide, turn / np.sqrt(np.where(real, squares, np.inf)))
    return wide


def _principal(thin: NDArray[Any]) -> tuple[Wide, Wide]:
    """Return the squared singular values of a thin matrix, largest first, and how to turn it."""
    wide = thin.astype(np.float64)
    squares, turn = np.linalg.eigh(_times(wide.T, wide))
    return np.maximum(squares[::-1], 0), turn[:, ::-1]


def _times(left: NDArray[Any], thin: NDArray[Any]) -> NDArray[Any]:
    """Multiply by a thin matrix, in its dtype, tile by tile.

    Tiles are small enough for OpenBLAS to start no threads of its own: on a busy machine waiting
    for them costs a hundred times the product, and theta's threads work on other tensors.
    """
    width = thin.shape[1]
    tall, broad = max(8, MOST_PRODUCTS // (TILE * width)), TILE
    out = np.zeros((left.shape[0], width), thin.dtype)
    for top in range(0, left.shape[0], tall):
        for at in range(0, left.shape[1], broad):
            tile = left[top : top + tall, at : at + broad].astype(thin.dtype, copy=False)
            out[top : top + tall] += tile @ thin[at : at + broad]
    return out


def _shortened(factor: Wide, axis: int, bits: int) -> Factor:
    exponent = np.frexp(np.abs(factor).max(axis=axis, keepdims=True))[1] - bits
    short: Factor = np.ldexp(np.rint(np.ldexp(factor, -exponent)), exponent).astype(np.float32)
    return short
