"""Transactions: what is looked up and set for many keys at once is as if it were one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store.db import Table
from theta_store.db.salvage import salvage
from theta_store.store import META, Store

keys = st.sets(st.binary(min_size=1, max_size=40), max_size=30)


@settings(deadline=None, max_examples=40)
@given(there=keys, new=keys, asked=keys)
def test_many_keys_are_as_each_of_them(
    tmp_path_factory: pytest.TempPathFactory, there: set[bytes], new: set[bytes], asked: set[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("environment") / "store"
    Store.create(folder, head="refs/heads/main").close()
    with Store(folder) as store:
        with store._meta.write() as writer:
            writer.add_all(Table.RECORDS, [(key, b"old" + key) for key in there])
            # What is there stays; what this transaction put counts as well.
            writer.add_all(Table.RECORDS, [(key, b"new" + key) for key in new])
            assert writer.lacking(Table.RECORDS, new) == set()
        with store._meta.read() as reader:
            assert reader.lacking(Table.RECORDS, asked) == asked - there - new
            assert reader.lacking(Table.CHUNKS, asked) == asked
            found = {key: bytes(value) for key, value in reader.items(Table.RECORDS)}
        assert found == {key: b"new" + key for key in new} | {key: b"old" + key for key in there}
    with salvage(folder / META) as salvaged:
        assert salvaged.lacking(Table.RECORDS, asked) == asked - there - new
