"""Results that are sums of the terms, with coefficients that follow from lengths and angles.

Owns the inner products of terms, and the kernel that these results share. Must not know how
coefficients are found.

Frozen: the terms are the sides or, of deltas, side minus base, rounded to the dtype of the block.
An inner product is in float64: each product rounded, added as `Total` adds or, along columns, from
the first to the last. Coefficients are rounded to float32. A term whose coefficients are all 0 is
left out; the products of the others are rounded and added from the first to the last, each sum
rounded, in the dtype of the block; of deltas the base is added last.

Sine and arc cosine of two C libraries may differ in the last bit of float64: rounding to float32
hides it. The price: the coefficients of F64 have 24 bits too.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import Kernel
from theta.strategies.values import Block, Values
from theta.strategies.vectors import Columns, Kind, Rows, vectors_of
from theta_store.arithmetic import Floats

# The inner product of each pair of terms.
Gram = Sequence[Sequence[float]]


def spanned(
    values: Values,
    find: Callable[[Gram], Sequence[float]],
    *,
    kind: Kind = "tensor",
    deltas: bool = False,
) -> Kernel:
    """Return the kernel of the sum of terms whose coefficients ``find`` makes of their Gram matrix.

    ``kind``: for each of these vectors by itself, which keeps a few numbers per vector in memory.
    ``find`` gets finite numbers only: where an inner product is beyond float64, those
    of vectors at right angles, of length 1.
    """
    vectors = vectors_of(values.shape, kind)
    coefficients = np.empty((values.count, vectors.count), np.float32)
    grams = _grams(values, vectors, deltas=deltas)
    grams[~np.isfinite(grams).all(axis=(1, 2))] = np.eye(values.count)
    for vector, gram in enumerate(grams):
        coefficients[:, vector] = find(gram.tolist())
    return _kernel(vectors, coefficients, deltas=deltas)


def cosine(gram: Gram, one: int, other: int) -> float:
    """Return the cosine of the angle between two terms, from -1 to 1; with a zero vector 0."""
    lengths = math.sqrt(gram[one][one]) * math.sqrt(gram[other][other])
    return max(-1.0, min(1.0, gram[one][other] / lengths)) if lengths else 0.0


def length(parts: Sequence[float], gram: Gram) -> float:
    """Return the length of a sum of terms, given by its coefficients."""
    square = math.fsum(
        one * other * product
        for one, row in zip(parts, gram, strict=True)
        for other, product in zip(parts, row, strict=True)
    )
    return math.sqrt(max(square, 0.0))


def _terms(block: Block, *, deltas: bool) -> tuple[Floats, ...]:
    return block.deltas if deltas else block.sides


def _grams(values: Values, vectors: Rows | Columns, *, deltas: bool) -> NDArray[np.float64]:
    """Return the inner products of the terms: vectors × terms × terms."""
    grams = np.zeros((vectors.count, values.count, values.count))
    with np.errstate(all="ignore"):
        for here, start, stop in vectors.runs():
            terms = _terms(values.read(start, stop), deltas=deltas)
            wide = [vectors.shaped(term).astype(np.float64) for term in terms]
            product = np.empty_like(wide[0])
            for one in range(values.count):
                for other in range(one + 1):
                    np.multiply(wide[one], wide[other], out=product)
                    vectors.add(product, grams[here, one, other])
    for one in range(values.count):
        grams[:, :one, one] = grams[:, one, :one]
    return grams


def _kernel(vectors: Rows | Columns, coefficients: NDArray[np.float32], *, deltas: bool) -> Kernel:
    used = [term for term in range(len(coefficients)) if coefficients[term].any()]

    def kernel(block: Block) -> Floats:
        terms = _terms(block, deltas=deltas)
        total: Floats | None = None
        for term in used:
            factor = vectors.spread(coefficients[term], block.start, block.stop)
            product = np.multiply(terms[term], factor, out=terms[term])
            total = product if total is None else np.add(total, product, out=total)
        if total is None:
            total = np.zeros_like(terms[0])
        if deltas:
            assert block.base is not None, "deltas have a base"
            np.add(total, block.base, out=total)
        return total

    return kernel
