"""What the sides of a merge made of the base: side minus base, rounded.

Owns deltas computed in place, and the kernels that add a merged delta to the base. Must not know
how deltas are merged. A block is worked on in pieces that processors' caches hold; every step is
element-wise, so the pieces cannot be seen in the result.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from theta.strategies.base import Kernel
from theta.strategies.values import Block, Floats

PIECE_ELEMENTS = 1 << 17

# From the place of the first element and the deltas of all sides to the merged delta; the deltas
# may be overwritten.
DeltaMerge = Callable[[int, Sequence[Floats]], Floats]


def pieces(block: Block) -> Iterator[Block]:
    """Yield the block in pieces, which are views."""
    assert block.base is not None, "the strategy declares that it needs a base"
    for start in range(0, len(block.base), PIECE_ELEMENTS):
        part = slice(start, start + PIECE_ELEMENTS)
        sides = tuple(side[part] for side in block.sides)
        yield Block(block.start + start, sides, block.base[part])


def into_deltas(block: Block) -> tuple[Floats, ...]:
    """Turn the sides of a block into deltas, in place, and return them."""
    assert block.base is not None, "the strategy declares that it needs a base"
    with np.errstate(all="ignore"):
        for side in block.sides:
            np.subtract(side, block.base, out=side)
    return block.sides


def add_scaled(base: Floats, merged: Floats, scale: float) -> Floats:
    """Return base + scale × merged: the product is rounded, then the sum; both are overwritten.

    A scale of 1 multiplies nothing.
    """
    if scale != 1:
        np.multiply(merged, merged.dtype.type(scale), out=merged)
    return np.add(base, merged, out=base)


def kernel_of(merge: DeltaMerge, scale: float) -> Kernel:
    """Return the kernel of base + scale × merged delta; it computes in place."""

    def kernel(block: Block) -> Floats:
        assert block.base is not None, "the strategy declares that it needs a base"
        with np.errstate(all="ignore"):
            for piece in pieces(block):
                assert piece.base is not None, "a piece has what its block has"
                add_scaled(piece.base, merge(piece.start, into_deltas(piece)), scale)
        return block.base

    return kernel
