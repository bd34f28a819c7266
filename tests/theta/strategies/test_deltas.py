"""What every strategy keeps to that merges deltas: the laws of merging, and odd inputs."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, lattices, normal, swap
from theta.strategies import STRATEGIES
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Strategy
from theta_store.errors import UsageError

PARAMETERS = [
    ("task-arithmetic", {}),
    ("task-arithmetic", {"weight": (0.3, 0.7), "normalize": True, "lambda": 0.5}),
    ("ties", {}),
    ("ties", {"density": 0.4, "weight": (0.3, 0.7), "lambda": 0.5}),
    ("ties", {"density": 0.4, "variant": "peft"}),
    ("ties", {"density": 0.4, "variant": "paper", "normalize": False}),
    ("dare", {"density": 0.5}),
    ("dare", {"density": 0.5, "rescale": "inverse", "normalize": True}),
    ("dare-ties", {"density": 0.5, "weight": (0.3, 0.7)}),
    ("dare-ties", {"density": 0.5, "rescale": "none"}),
    ("della", {"density": 0.6}),
    ("della-linear", {"density": 0.6, "weight": (0.3, 0.7)}),
    ("breadcrumbs", {"density": 0.5, "gamma": 0.2}),
    ("breadcrumbs-ties", {"density": 0.5, "gamma": 0.2, "weight": (0.3, 0.7)}),
    ("sce", {}),
    ("sce", {"select_topk": 0.3}),
    ("ram", {}),
    ("ram", {"epsilon": 0.05, "r": 0.5}),
    ("magmax", {"lambda": 0.5}),
    ("consensus", {}),
    ("consensus", {"k": 1, "weight": (0.3, 0.7)}),
]
# With these the one side that changed anything is the result.
WHOLE = [
    ("task-arithmetic", {}),
    ("ties", {}),
    ("ties", {"variant": "peft"}),
    ("ties", {"variant": "paper"}),
    ("dare", {}),
    ("dare-ties", {}),
    ("della", {}),
    ("della-linear", {}),
    ("breadcrumbs", {}),
    ("breadcrumbs-ties", {}),
    ("sce", {}),
    ("ram", {}),
    ("magmax", {}),
    ("consensus", {"k": 1}),
]
SHAPES = [(), (0,), (1,), (33,), (5, 1), (1, 5), (3, 0), (16, 12), (8, 3, 5), (4, 1, 3)]
every = pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)


def make(name: str, parameters: dict[str, object]) -> Strategy:
    return msgspec.convert(parameters, STRATEGIES.get(name), strict=False)


@every
@pytest.mark.parametrize("cut", [1, 7])
@pytest.mark.parametrize("shape", [(33,), (16, 12), (8, 3, 5), (5, 1)], ids=str)
def test_the_result_does_not_see_cuts(name, parameters, cut: int, shape) -> None:
    branches, strategy = normal(shape), make(name, parameters)
    whole = merge_arrays(strategy, *branches.terms)
    pieces = merge_arrays(strategy, *branches.terms, cut=cut)
    assert whole.tobytes() == pieces.tobytes()


@every
@settings(max_examples=15)
@given(lattices(2, 2), st.integers(1, 9))
def test_equal_magnitudes_do_not_see_cuts(name, parameters, branches: Branches, cut: int) -> None:
    strategy = make(name, parameters)
    whole = merge_arrays(strategy, *branches.terms)
    pieces = merge_arrays(strategy, *branches.terms, cut=cut)
    assert whole.tobytes() == pieces.tobytes()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [(n, p) for n, p in PARAMETERS if not STRATEGIES.get(n).needs.random],
    ids=str,
)
@pytest.mark.parametrize("shape", [(33,), (16, 12)], ids=str)
def test_two_sides_may_be_swapped(name, parameters, shape) -> None:
    strategy, branches = make(name, parameters), normal(shape)
    swapped, others = swap(strategy, branches, (1, 0))
    there = merge_arrays(strategy, *branches.terms)
    back = merge_arrays(swapped, *others.terms)
    assert there.tobytes() == back.tobytes()


@pytest.mark.parametrize(("name", "parameters"), WHOLE, ids=str)
@pytest.mark.parametrize("place", [0, 1])
@settings(max_examples=15)
@given(branches=lattices(2, 2))
def test_the_only_change_is_the_result(name, parameters, place: int, branches: Branches) -> None:
    sides = [branches.base.copy(), branches.base.copy()]
    sides[place] = branches.sides[0]
    merged = merge_arrays(make(name, parameters), sides, branches.base)
    assert np.array_equal(merged, branches.sides[0])


@every
def test_where_nothing_changed_the_base_stays(name, parameters) -> None:
    base = normal((16, 12)).base
    merged = merge_arrays(make(name, parameters), [base, base], base)
    assert np.array_equal(merged, base)


@every
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_any_shape_and_dtype_is_merged(name, parameters, kind) -> None:
    for shape in SHAPES:
        branches = normal(shape, kind=kind)
        merged = merge_arrays(make(name, parameters), *branches.terms)
        assert (merged.shape, merged.dtype) == (shape, kind)
        assert np.isfinite(merged).all()


@every
@pytest.mark.parametrize("change", [1.0, -0.5])
def test_constant_and_opposite_changes_are_merged(name, parameters, change: float) -> None:
    base = normal((16, 12)).base
    sides = [base + np.float32(1), base + np.float32(change)]
    merged = merge_arrays(make(name, parameters), sides, base)
    assert np.isfinite(merged).all()
    assert np.abs(merged - base).max() < 10


@every
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_overflow_is_silent(name, parameters, kind) -> None:
    top = np.finfo(kind).max
    base = np.array([[top, -top, 1, 0]] * 3, kind)
    sides = [-base, np.array([[-top, top, top, -top]] * 3, kind)]
    merge_arrays(make(name, parameters), sides, base)


@every
def test_a_base_is_needed(name, parameters) -> None:
    sides = normal((4,)).sides
    with pytest.raises(UsageError, match=r"needs a base"):
        merge_arrays(make(name, parameters), sides)
    assert "add/add" not in STRATEGIES.get(name).kinds


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ties", {"density": 0}),
        ("ties", {"density": 1.1}),
        ("ties", {"variant": "theirs"}),
        ("ties", {"rho": 1}),
        ("dare", {"density": "none"}),
        ("dare", {"rescale": "l2"}),
        ("della", {"density": 0.1}),
        ("della-linear", {"density": 0.9}),
        ("della", {"epsilon": -0.1}),
        ("breadcrumbs", {"gamma": 1}),
        ("breadcrumbs-ties", {"density": -1}),
        ("sce", {"select_topk": 0}),
        ("ram", {"epsilon": -1}),
        ("consensus", {"k": 0}),
        ("consensus", {"threshold": -1}),
        ("magmax", {"weight": [1, 2]}),
        ("magmax", {"lambda": "inf"}),
        ("ties", {"lambda": "nan"}),
        ("task-arithmetic", {"weight": ["nan", 1]}),
    ],
    ids=str,
)
def test_bounds_are_kept(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        make(name, parameters)


def test_parameters_are_read_from_text() -> None:
    strategy = make("ties", {"density": "0.2", "lambda": "2", "normalize": "false"})
    assert strategy == make("ties", {"density": 0.2, "lambda": 2.0, "normalize": False})


@pytest.mark.parametrize("name", ["task-arithmetic", "dare", "della-linear", "breadcrumbs"])
def test_weights_that_sum_to_nothing_cannot_be_normalized(name: str) -> None:
    with pytest.raises(UsageError, match=r"sum to 0"):
        make(name, {"weight": (1, -1), "normalize": True}).check(2)
    make(name, {"weight": (1, -1)}).check(2)
