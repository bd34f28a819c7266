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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: small work is slower by many, and much so beside other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
