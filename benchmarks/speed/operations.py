"""What every program is asked to do, in the order in which a round asks it.

Owns the operations, the state of the files that each begins with, and what must lie in the work
tree after it. Must not know any program.

The history: ``main`` holds the commits first, nothing, touch and layer; the branch ``tuned`` starts
at layer and adds the fine-tune.
"""

from enum import StrEnum
from typing import Literal

Variant = Literal["first", "layer", "tuned"]


class Operation(StrEnum):
    """An operation; its value is the column of the table."""

    FIRST = "first commit"
    NOTHING = "nothing changed"
    TOUCH = "touched"
    LAYER = "one layer"
    TUNED = "full fine-tune"
    LOG = "log"
    DIFF = "diff of a layer"
    SWITCH = "switch"
    CHECKOUT = "checkout"
    LOAD = "load"


COMMITS = (
    Operation.FIRST,
    Operation.NOTHING,
    Operation.TOUCH,
    Operation.LAYER,
    Operation.TUNED,
)
PLACED: dict[Operation, Variant] = {
    Operation.FIRST: "first",
    Operation.LAYER: "layer",
    Operation.TUNED: "tuned",
}
# Both end on main, whose last commit is the layer's.
WRITTEN: dict[Operation, Variant] = {Operation.SWITCH: "layer", Operation.CHECKOUT: "layer"}
