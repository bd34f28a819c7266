"""The plain cache never holds more than its capacity, and keeps what was used last."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from theta_store.ids import ChunkId
from theta_store.plain_cache import PlainCache


def _id(number: int) -> ChunkId:
    return ChunkId(number.to_bytes(32, "big"))


uses = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60)


@given(uses, st.integers(0, 60))
def test_the_bound_holds_and_the_oldest_go_first(
    used: list[tuple[int, int]], capacity: int
) -> None:
    cache, kept = PlainCache(capacity), dict[int, int]()
    for number, size in used:
        if cache.get(_id(number)) is None:
            cache.put(_id(number), np.zeros(size, np.uint8))
            if size <= capacity:
                kept[number] = size
        else:
            kept[number] = kept.pop(number)
        while sum(kept.values()) > capacity:
            kept.pop(next(iter(kept)))
        held = {
            n: len(found) for n in range(10) if (found := cache._chunks.get(_id(n))) is not None
        }
        assert held == kept
        assert sum(held.values()) <= capacity
