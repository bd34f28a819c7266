"""How a user says that sides are to be aligned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.alignment import ARCHITECTURES
from theta.merge import Alignment, parse_alignment
from theta_store.errors import UsageError


@given(st.none() | st.sampled_from(list(ARCHITECTURES)), st.none() | st.integers(1, 999))
def test_the_text_says_all_of_it(architecture: str | None, heads: int | None) -> None:
    said = Alignment(architecture, heads)
    assert parse_alignment(str(said)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ARCHITECTURE. is expected"),
        ("mlp", "ARCHITECTURE. is expected"),
        ("rebasin=", "ARCHITECTURE. is expected"),
        ("rebasin heads=2 heads=3", "ARCHITECTURE. is expected"),
        ("rebasin heads=x", "heads=N is expected"),
        ("rebasin width=3", "heads=N is expected"),
        ("rebasin=vgg", "no architecture is called 'vgg'"),
    ],
)
def test_other_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_alignment(text)
