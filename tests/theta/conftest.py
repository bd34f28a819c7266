"""A fresh repository in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from theta.repo import Author, Repo

ADA = Author("Ada <ada@example.org>", 60)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with Repo.init(tmp_path / "work") as opened:
        yield opened


@pytest.fixture
def ada() -> Author:
    return ADA
