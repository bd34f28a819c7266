"""Golden bytes of form rows, with and without needs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.errors import ForeignRepository, MalformedRecord
from theta_store.forms import Form, Need, decode_form, encode_form

GOLDEN = Path(__file__).parent.parent / "golden" / "forms.txt"
ROWS = [
    Form(1, 0, 0, 1, 1, 4096, 4096, 0, (), 7),
    Form(2, 0, 2, 1, 2, 1 << 20, 702_345, 0, (), 123_456),
    Form(
        3,
        1,
        3,
        1,
        4,
        1 << 20,
        99,
        2,
        (Need("chunk", bytes(range(32)), 0, 0), Need("tensor", b"\xff" * 32, 4096, 1 << 40)),
        1 << 33,
    ),
    Form(0, 7, 6, 1, 2, 8192, 0, 1, (Need("chunk", bytes(range(32)), 16384, 24576),), 77),
]
numbers = st.integers(0, 2**63)
needs = st.builds(
    Need,
    st.sampled_from(["chunk", "tensor"]),
    st.binary(min_size=32, max_size=32),
    numbers,
    numbers,
)


def test_golden_rows() -> None:
    assert [encode_form(row).hex() for row in ROWS] == GOLDEN.read_text().split()


@given(st.builds(Form, *[numbers] * 8, st.lists(needs, max_size=3).map(tuple), numbers))
def test_rows_come_back(row: Form) -> None:
    assert decode_form(encode_form(row)) == row


def test_newer_and_broken_rows() -> None:
    with pytest.raises(ForeignRepository, match="newer"):
        decode_form(b"\x02" + encode_form(ROWS[0])[1:])
    with pytest.raises(MalformedRecord):
        decode_form(encode_form(ROWS[0])[:-2])
