"""A fresh store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from theta_store import kernels
from theta_store.store import BRANCHES, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head=BRANCHES + "main") as opened:
        yield opened


@pytest.fixture(scope="module", params=["native", "portable"])
def loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module by the loops in C, then by those in numpy."""
    if request.param == "native":
        if kernels.native is None:
            pytest.skip("theta was installed without a C compiler")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "native", None)
        yield
