"""What a caller knows about where a tensor came from.

Owns the kinds of hint. A hint is never trusted: it says what to try, and the form that is stored is
verified against the tensor's own bytes. Must not know how predictions are computed.
"""

import msgspec

from theta_store.ids import TensorId


class Base(msgspec.Struct, frozen=True):
    """An older state of the tensor, or its twin in another dtype or with other rows.

    ``discover`` off: the caller knows that nothing simpler than a difference leads from it.
    """

    tensor: TensorId
    discover: bool = True


class Sum(msgspec.Struct, frozen=True):
    """Σ cᵢ · tensorᵢ by the formula ``weighted-sum``, as a linear merge computes it."""

    tensors: tuple[TensorId, ...]
    coefficients: tuple[float, ...]


class Adapter(msgspec.Struct, frozen=True):
    """base + left · right: a low-rank update whose factors are in the store, float32."""

    base: TensorId
    left: TensorId
    right: TensorId


Hint = Base | Sum | Adapter
