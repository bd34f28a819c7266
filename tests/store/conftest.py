"""A fresh store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from theta_store.store import BRANCHES, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head=BRANCHES + "main") as opened:
        yield opened
