"""Rows that go, come or move: laws over lists of rows, and whole tensors."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.leaves import floats, leaf
from theta.examination import Leaf, examine
from theta.recognition.base import Finding
from theta.recognition.rows import compare_rows

rows = st.lists(st.binary(min_size=1, max_size=2), max_size=12)


def _kinds(found: list[Finding]) -> dict[str, float | None]:
    return {finding.kind: finding.amount for finding in found}


def _texts(old: Leaf, new: Leaf) -> list[str]:
    return [finding.text for finding in examine(old, new).findings]


@given(rows)
def test_the_same_rows_are_nothing_to_name(given_: list[bytes]) -> None:
    assert compare_rows(given_, given_) == []


@given(rows, st.data())
def test_what_was_taken_out_is_counted(given_: list[bytes], data: st.DataObject) -> None:
    kept = [row for row in given_ if data.draw(st.booleans())]
    gone = len(given_) - len(kept)
    expected = {"rows removed": gone} if kept and gone else {}
    found = _kinds(compare_rows(given_, kept))
    assert {k: v for k, v in found.items() if k != "rows permuted"} == expected
    if len(set(given_)) == len(given_):
        assert "rows permuted" not in found
    back = _kinds(compare_rows(kept, given_))
    assert back.get("rows added", 0) == (gone if kept else 0)


@given(rows, st.randoms(use_true_random=False))
def test_another_order_is_named_exactly_when_it_is_one(given_: list[bytes], random) -> None:
    mixed = list(given_)
    random.shuffle(mixed)
    expected = {} if mixed == given_ else {"rows permuted": len(given_)}
    assert _kinds(compare_rows(given_, mixed)) == expected


def test_with_little_in_common_it_is_another_tensor() -> None:
    old = [bytes([i]) for i in range(10)]
    assert compare_rows(old, [bytes([i]) for i in range(6, 16)]) == []
    assert compare_rows(old, []) == []


def test_a_trimmed_embedding() -> None:
    old = np.random.default_rng(0).standard_normal((4096, 64))
    kept = np.sort(np.random.default_rng(1).permutation(4096)[:2160])
    assert _texts(floats(old), floats(old[kept])) == ["rows removed (1936 of 4096)"]
    assert _texts(floats(old[kept]), floats(old)) == ["rows added (1936)"]
    grown = np.concatenate([old[kept], np.ones((3, 64)) * np.arange(3)[:, None]])
    assert _texts(floats(old), floats(grown)) == ["rows removed (1936 of 4096)", "rows added (3)"]


def test_rows_in_another_order_keep_dtype_and_shape() -> None:
    old = np.random.default_rng(0).standard_normal((300, 20, 3))
    mixed = old[np.random.default_rng(1).permutation(300)]
    assert _texts(floats(old), floats(mixed)) == ["rows permuted"]
    mixed[0, 0, 0] += 1
    assert _texts(floats(old), floats(mixed)) == []


def test_rows_longer_than_a_chunk() -> None:
    old = np.zeros((3, 600_000)) + np.arange(3)[:, None]
    assert _texts(floats(old), floats(old[[0, 2]])) == ["rows removed (1 of 3)"]


def test_other_widths_dtypes_and_blocks_have_no_rows_in_common() -> None:
    old = np.random.default_rng(0).standard_normal((30, 8))
    assert _texts(floats(old), floats(old[:, :4])) == []
    assert _texts(floats(old), floats(old[:10], "BF16")) == []
    assert _texts(floats(np.zeros((4, 0))), floats(np.zeros((2, 0)))) == []
    block = leaf("GGML_Q4_0", (2, 32), bytes(36))
    assert _texts(block, leaf("GGML_Q4_0", (1, 32), bytes(18))) == []


def test_a_list_of_numbers_has_rows_too() -> None:
    names = leaf("I64", (6,), np.arange(6, dtype="<i8").tobytes())
    fewer = leaf("I64", (4,), np.array([0, 1, 4, 5], "<i8").tobytes())
    assert _texts(names, fewer) == ["rows removed (2 of 6)"]
