"""What a strategy is: it settles one open name of a merge.

Owns the base class of all strategies, what one declares that it needs, and the kinds of conflict.
Must not know the store, files or the terminal.

A strategy is a frozen value whose fields are its parameters. `Strategy.prepare` looks at the terms
as often as it has to and returns the kernel, a pure function from a run of elements to the merged
ones. The engine calls it from any thread, for any runs, in any order: the result never depends on
how a tensor was cut.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from theta.strategies.additions import added
from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.strategies.values import Block, Floats, Values

ConflictKind = Literal[
    "content", "shape", "dtype", "modify/delete", "add/add", "non-float", "non-finite", "tied"
]
Kernel = Callable[["Block"], "Floats"]
Statistic = Literal["fisher", "gram"]

# Types of fields, with their bounds: what is out of bounds is refused when a rule is read.
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
AtLeastZero = Annotated[float, msgspec.Meta(ge=0)]
# Neither infinite nor NaN, either of which would destroy what is merged.
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
# One number for each side, in the order of the sides; none: 1 for each.
Weights = tuple[Finite, ...]


class Needs(msgspec.Struct, frozen=True):
    """What a strategy asks of a conflict.

    ``reach``: from how much a merged element follows; ``element``: the same element of each term,
    ``tensor``: anything of the tensor (read run by run in `Strategy.prepare`), ``matrix``: whole
    tensors in memory. ``most``: at most so many sides, None for any number. ``exact``: the result
    is the same bits on every machine; linear algebra is not.
    """

    base: bool = False
    reach: Literal["element", "tensor", "matrix"] = "element"
    least: int = 2
    most: int | None = None
    statistics: tuple[Statistic, ...] = ()
    random: bool = False
    exact: bool = True


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to settle a conflict; the fields of a subclass are its parameters.

    ``shape``: what comes before the strategy where terms differ in shape; None leaves a conflict.
    ``formula`` is frozen: the order of operands, the dtype of each step and every rounding belong
    to it, so that a merge can be replayed to the bit. Another formula gets another name.
    """

    id: ClassVar[str]
    formula: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content", "add/add"})
    # Whether the formula is that of the stored form `weighted-sum`, with what `linear` returns.
    is_sum: ClassVar[bool] = False
    shape: Literal["pad", "truncate"] | None = None

    @property
    def reads_base(self) -> bool:
        """Whether values of the base are read where there is one.

        A flag ``deltas`` is that of strategies which can do without.
        """
        return self.needs.base or bool(getattr(self, "deltas", False))

    def check(self, count: int) -> None:
        """Refuse parameters that do not fit ``count`` sides: a `UsageError`."""
        if count < self.needs.least or (self.needs.most is not None and count > self.needs.most):
            raise UsageError(f"{self.id} does not merge {count} sides")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple) and value and len(value) != count:
                raise UsageError(f"{self.id}: {len(value)} {name}s for {count} sides")

    def prepare(self, values: "Values") -> Kernel:
        """Return the kernel of one parameter: merged elements, in the dtype of the block."""
        raise NotImplementedError

    def linear(self, count: int, *, base: bool) -> "Linear | None":
        """Return the sum that the result is, up to rounding; None where it is no such sum."""
        del count, base
        return None


class Linear(msgspec.Struct, frozen=True):
    """A result that is a sum: coefficients of the sides in their order, and of the base."""

    sides: tuple[float, ...]
    base: float = 0.0


def weights_of(weight: Weights, count: int) -> Weights:
    """Return one weight for each side; where none were given, each is 1."""
    return weight or (1.0,) * count


def shares_of(weight: Weights, count: int, strategy: str) -> Weights:
    """Return the weights divided by their sum; a sum of 0 is a `UsageError`."""
    weights = weights_of(weight, count)
    total = added(weights)
    if total == 0:
        raise UsageError(f"{strategy}: the weights sum to 0")
    return tuple(each / total for each in weights)


def permuted(strategy: Strategy, order: Sequence[int]) -> Strategy:
    """Return the strategy with its weights in another order of the sides."""
    changed = {
        name: tuple(value[place] for place in order)
        for name in strategy.__struct_fields__
        if isinstance(value := getattr(strategy, name), tuple) and value
    }
    return msgspec.structs.replace(strategy, **changed) if changed else strategy
