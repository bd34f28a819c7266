"""The derivation ``rows``: rows of a base of the same row width, in other order or number."""

from dataclasses import dataclass

from theta_store.derivations.base import Claim
from theta_store.forms import Need
from theta_store.ids import TensorId
from theta_store.predictors import ROWS, rows
from theta_store.predictors.head import encode_head

# What one chunk may pull together from all over its base: more is read too often to be worth it.
REACH_BYTES = 64 << 20


@dataclass(frozen=True)
class Rows:
    """The base row of every row, -1 where there is none."""

    id: TensorId
    row_bytes: int
    rows: rows.Rows

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return the runs of a chunk's rows; None where they are strewn over too large a base."""
        first, last = start // self.row_bytes, stop // self.row_bytes
        runs = rows.runs_of(self.rows[first:last])
        low, high = rows.needed_range(runs, self.row_bytes)
        if low == high or high - low > max(REACH_BYTES, 2 * (stop - start)):
            return None
        params = encode_head(rows.head_of(runs, self.row_bytes))
        return Claim(ROWS, params, (Need("tensor", self.id, low, high),))
