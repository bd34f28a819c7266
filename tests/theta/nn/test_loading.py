"""Soft-merged experts from a repository: the models of the commits, without a checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from theta.compose import Expert, Given, Manifest, Random, Trunk, Zeros
from theta.nn import SoftMergedExperts
from theta.repo import Author, Details, Repo
from theta_store.errors import UnknownRevision, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH = 6
NAMES = ("a", "b", "c")
ADDRESS = "HEAD:experts.compose.json"


def _build() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, WIDTH))


def _expert(name: str) -> nn.Sequential:
    torch.manual_seed(NAMES.index(name))
    return _build()


@pytest.fixture
def experts(repo: Repo, ada: Author) -> Iterator[Repo]:
    """Experts on three branches, behind a prefix, of which no file is in the workspace."""
    first = repo.root / "first.txt"
    first.write_text("first")
    repo.add(["first.txt"])
    repo.commit("first", author=ada)
    folder = repo.root.parent
    for name in NAMES:
        state = {f"block.{key}": each for key, each in _expert(name).state_dict().items()}
        save_file({**state, "head": torch.ones(3)}, folder / "m.safetensors")
        details = Details(branch=name, as_name="m.safetensors")
        repo.commit(name, author=ada, paths=["../m.safetensors"], details=details)
    yield repo
    assert [path.name for path in repo.root.glob("*.safetensors")] == []


def _manifest(router: Zeros | Random | None = None) -> Manifest:
    named = tuple(Expert(name, name, prefix="block") for name in NAMES)
    return Manifest(Trunk("a"), named, router or Random(4), mode="smear")


def test_each_expert_is_that_of_its_commit(experts: Repo, ada: Author) -> None:
    experts.compose(_manifest(), "experts", author=ada)
    inputs = torch.randn(3, 2, WIDTH)
    for repository in (experts, experts.root, str(experts.root)):
        soft = SoftMergedExperts.from_repository(repository, ADDRESS, _build, WIDTH)
        found = soft.answer(inputs, torch.eye(3))
        for place, name in enumerate(NAMES):
            torch.testing.assert_close(found[place], _expert(name)(inputs[place]))


def test_the_repository_that_was_given_stays_open(experts: Repo) -> None:
    SoftMergedExperts.from_repository(experts, _manifest(), _build, WIDTH)
    assert experts.head.commit is not None


def test_the_router_is_that_of_the_manifest(experts: Repo) -> None:
    def router(kind: Zeros | Random) -> torch.Tensor:
        made = SoftMergedExperts.from_repository(experts, _manifest(kind), _build, WIDTH)
        return made.router.weight

    assert not router(Zeros()).any()
    assert torch.equal(router(Random(1)), router(Random(1)))
    assert not torch.equal(router(Random(1)), router(Random(2)))
    assert router(Random(1)).requires_grad


def test_branches_that_go_on_do_not_change_what_was_composed(experts: Repo, ada: Author) -> None:
    experts.compose(_manifest(), "experts", author=ada)
    before = SoftMergedExperts.from_repository(experts, ADDRESS, _build, WIDTH)
    for name in NAMES:
        experts.delete_branch(name, force=True)
    with pytest.raises(UnknownRevision):
        SoftMergedExperts.from_repository(experts, _manifest(), _build, WIDTH)
    after = SoftMergedExperts.from_repository(experts, ADDRESS, _build, WIDTH)
    for name, each in before.state_dict().items():
        assert torch.equal(each, after.state_dict()[name]), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes(repo: Repo, ada: Author, dtype: torch.dtype) -> None:
    model = _expert("a").to(dtype)
    save_file(model.state_dict(), repo.root / "m.safetensors")
    repo.add(["m.safetensors"])
    repo.commit("m", author=ada)
    manifest = Manifest(Trunk(), (Expert("a"), Expert("b")), Zeros(), mode="smear")
    build = lambda: _build().to(dtype)  # noqa: E731 - short
    soft = SoftMergedExperts.from_repository(repo, manifest, build, WIDTH)
    for name, each in model.state_dict().items():
        assert torch.equal(soft.experts.state_dict()[name][1], each)


def test_what_is_refused(experts: Repo) -> None:
    load = SoftMergedExperts.from_repository
    with pytest.raises(UsageError, match="other names or shapes"):
        load(experts, _manifest(), lambda: nn.Linear(2, 2), WIDTH)
    with pytest.raises(UsageError, match="names no manifest"):
        load(experts, "main", _build, WIDTH)
    given = Manifest(Trunk("a"), _manifest().experts, Given("x"))
    with pytest.raises(UsageError, match="zeros or random, then trained"):
        load(experts, given, _build, WIDTH)
    integers = {"block.x": torch.ones(2, dtype=torch.uint16)}
    path = Path(experts.root.parent / "m.safetensors")
    save_file(integers, path)
    author, details = Author("Ada"), Details(branch="odd", as_name="m.safetensors")
    experts.commit("odd", author=author, paths=["../m.safetensors"], details=details)
    odd = Manifest(Trunk("a"), (Expert("odd", "odd"),), Zeros(), mode="smear")
    with pytest.raises(UsageError, match="torch cannot hold U16, the dtype of"):
        load(experts, odd, _build, WIDTH)
