"""Every strategy that is offered loads, says what it is, and tells the truth about its fields."""

import inspect
import subprocess
import sys

import msgspec
import pytest

from theta.strategies import STRATEGIES
from theta.strategies.base import Needs, Strategy
from theta_store.errors import UsageError

# In the order of the how-to page.
ORDER = (
    " ours theirs base average linear slerp nuslerp multislerp karcher task-arithmetic ties dare "
    "dare-ties della della-linear breadcrumbs breadcrumbs-ties sce model-stock arcee-fusion "
    "nearswap ram magmax consensus tsv-m iso-c knots fisher regmean mats passthrough union-rows "
)
every = pytest.mark.parametrize("id_", STRATEGIES.ids())


def test_the_order_is_that_of_the_page() -> None:
    places = [ORDER.index(f" {id_} ") for id_ in STRATEGIES.ids()]
    assert places == sorted(places)


@every
def test_it_loads_by_its_own_id(id_: str) -> None:
    strategy = STRATEGIES.get(id_)
    assert issubclass(strategy, Strategy)
    assert strategy.id == id_
    assert strategy.formula.rpartition("/")[0] == id_
    assert strategy.formula.rpartition("/")[2].isdecimal()


@every
def test_it_says_what_it_is_and_needs(id_: str) -> None:
    strategy = STRATEGIES.get(id_)
    assert inspect.cleandoc(strategy.__dict__["__doc__"]).partition("\n")[0].strip()
    needs = strategy.needs
    assert isinstance(needs, Needs)
    assert needs.least >= 1
    assert needs.most is None or needs.most >= needs.least
    assert strategy.kinds
    # Two sides that added a name have no base: only a pick may say that it settles them.
    if needs.base and needs.least > 1:
        assert "add/add" not in strategy.kinds


@every
def test_it_works_without_parameters_and_refuses_others(id_: str) -> None:
    strategy = STRATEGIES.get(id_)
    assert msgspec.convert({}, strategy, strict=False) == strategy()
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"no_such_parameter": 1}, strategy, strict=False)


@every
def test_its_parameters_survive_json(id_: str) -> None:
    strategy = STRATEGIES.get(id_)
    assert msgspec.json.decode(msgspec.json.encode(strategy()), type=strategy) == strategy()


def test_an_unknown_one_is_answered_with_all_others() -> None:
    with pytest.raises(UsageError, match=r"unknown strategy 'no'; there are .*karcher"):
        STRATEGIES.get("no")


def test_families_are_imported_when_asked_for() -> None:
    code = "import sys, theta.strategies as s; s.STRATEGIES.get('ours'); print(*sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name for name in made.stdout.split() if name.startswith("theta.strategies.")}
    assert loaded == {f"theta.strategies.{name}" for name in ("additions", "base", "pick")}
