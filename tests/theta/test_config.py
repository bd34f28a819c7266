"""Configuration: sizes are read as people write them, and limits reach the store."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.config import Config, size
from theta.repo import Repo
from theta_store.errors import UsageError
from theta_store.limits import MEMORY, Limits


@given(st.integers(0, 10**6), st.sampled_from(["", "K", "M", "G", "T", "k", "m"]), st.booleans())
def test_sizes_are_decimal_or_binary(count: int, unit: str, binary: bool) -> None:
    infix = "i" if binary and unit else ""
    power = " KMGT".index(unit.upper() or " ")
    wanted = count * (1024 if infix else 1000) ** power
    assert size(f"{count}{unit}{infix}B") == wanted
    assert size(f"{count} {unit}{infix}") == wanted


@pytest.mark.parametrize("text", ["", "many", "5iB", "-1MB", "1..2MB", "4 X"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        size(text)


def test_limits_reach_the_store(tmp_path: Path) -> None:
    Repo.init(tmp_path).close()
    with Repo.open(tmp_path) as repo:
        assert repo.store.limits == Limits()
        assert repo.limits.memory == size("400MB") == MEMORY
        repo.config.set("core.memory", "64MiB")
        repo.config.set("core.threads", "3")
    with Repo.open(tmp_path) as repo:
        assert repo.store.limits == Limits(3, 64 << 20)
    with Repo(tmp_path, limits=Limits(1, 1 << 20)) as repo:
        assert repo.store.limits == Limits(1, 1 << 20)


@pytest.mark.parametrize(("key", "value"), [("core.memory", "much"), ("core.threads", "0")])
def test_limits_that_are_none_are_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(UsageError, match="expected"):
        Config(None, path).set(key, value)
    section, name = key.split(".")
    path.write_text(f'[{section}]\n{name} = "{value}"\n')
    with pytest.raises(UsageError, match=r"config\.toml"):
        Config(None, path).limits()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("user.nme", "did you mean user.name?"),
        ("Core.threads", "did you mean core.threads?"),
        ("metric.", "metric.NAME"),
        ("zzz", "metric.NAME"),
    ],
)
def test_a_key_that_no_theta_reads_is_refused(tmp_path: Path, key: str, hint: str) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(UsageError, match="is no setting of theta") as caught:
        Config(None, path).set(key, "x")
    assert hint in str(caught.value.hint)
    assert not path.exists()
    path.write_text("[newer]\nkey = 1\n")
    config = Config(None, path)
    config.set("metric.val_loss", "min")
    assert config.text("newer.key") == "1", "a file may hold keys of a newer theta"
    config.unset("newer.key")
    assert config.text("newer.key") is None
