"""Law 2, canon: one record has one spelling."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.encoding import decode, encode, identify
from theta_store.errors import ForeignRepository, InvalidName, MalformedRecord
from theta_store.records import (
    Blob,
    Checkpoint,
    Commit,
    File,
    Params,
    ParamsEntry,
    Record,
    Tensor,
    Tree,
    TreeEntry,
)

ids = st.binary(min_size=32, max_size=32)
names = st.text(max_size=12).filter(lambda text: "." not in text)
files = st.from_regex(r"[a-zA-Zä]{1,9}", fullmatch=True)
numbers = st.integers(0, 2**62)


def _sorted_by(field: str, items: list) -> tuple:
    unique = {getattr(item, field): item for item in items}
    return tuple(unique[key] for key in sorted(unique, key=lambda name: name.encode()))


records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Tensor,
        st.sampled_from(["F32", "BF16", "F4"]),
        st.lists(numbers, max_size=4).map(tuple),
        st.lists(ids, max_size=3).map(tuple),
    ),
    st.lists(st.builds(ParamsEntry, names, ids, st.none() | ids), max_size=4).map(
        lambda entries: Params(_sorted_by("component", entries))
    ),
    st.builds(
        lambda paths, layout, params, aliases: Checkpoint(
            "torch",
            1,
            tuple(File(path, layout, {"a": b"x"}) for path in sorted(paths)),
            params,
            aliases,
        ),
        st.sets(files, min_size=1, max_size=3),
        ids,
        ids,
        st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    ),
    st.builds(Blob, numbers, st.lists(ids, max_size=3).map(tuple)),
    st.lists(
        st.builds(TreeEntry, files, st.sampled_from(["blob", "checkpoint", "tree"]), ids),
        max_size=4,
    ).map(lambda entries: Tree(_sorted_by("name", entries))),
    st.builds(
        Commit,
        ids,
        st.lists(ids, max_size=2).map(tuple),
        st.text(max_size=9),
        numbers,
        st.integers(-720, 840),
        st.text(max_size=20),
        metrics=st.dictionaries(st.text(max_size=5), st.floats(), max_size=3),
        meta=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        recipe=st.none() | ids,
        extensions=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=2),
    ),
)


@given(records)
def test_a_record_survives_and_has_one_spelling(record: Record) -> None:
    encoded = encode(record)
    assert encode(decode(encoded)) == encoded
    assert identify(decode(memoryview(encoded))) == identify(record)


@given(records, st.data())
def test_changed_bytes_never_decode_to_another_spelling(
    record: Record, data: st.DataObject
) -> None:
    encoded = bytearray(encode(record))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        other = decode(bytes(encoded))
    except (MalformedRecord, ForeignRepository):
        return
    assert encode(other) == encoded


def test_a_long_integer_is_not_canonical() -> None:
    good = encode(Blob(1, ()))
    assert good == bytes.fromhex("0401920190")
    with pytest.raises(MalformedRecord, match="canonical"):
        decode(bytes.fromhex("040192cc0190"))


def test_a_newer_record_is_newer_not_corrupt() -> None:
    with pytest.raises(ForeignRepository, match="newer"):
        decode(b"\x04\x02" + msgspec.msgpack.encode([1, []]))
    with pytest.raises(ForeignRepository, match="newer"):
        decode(b"\x63\x01")


@pytest.mark.parametrize("bad", [b"", b"\x04", b"\x04\x01", b"\x04\x01\x92", b"\x05\x01\x91\xc0"])
def test_truncated_bytes_are_malformed(bad: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode(bad)


def test_names_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidName):
        Params((ParamsEntry("\ud800", b"i" * 32, None),))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0", "x" * 600])
def test_file_names_that_could_escape_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        Tree((TreeEntry(name, "blob", b"i" * 32),))
