"""Words are taken apart and put together byte by byte, wherever vector code starts and ends."""

import numpy as np
import pytest

from theta_store.codecs.plane import CONSTANT, RAW, Coded
from theta_store.codecs.words import decode_words, encode_words
from theta_store.kernels import Words
from theta_store.kernels.portable import FEW, take_place
from theta_store.scratch import Bytes, Scratch

pytestmark = pytest.mark.usefixtures("loops")

WIDTHS = (1, 2, 4, 8)
COUNTS = (0, 1, 2, 3, 17, FEW, FEW + 1, FEW + 7, 3 * FEW)


def words_at(count: int, width: int, shift: int = 0) -> Words:
    """Return random words that begin ``shift`` bytes into their memory."""
    memory = np.random.default_rng(count).integers(0, 256, shift + count * width, np.uint8)
    return memory[shift:].view(f"<u{width}")


def as_they_are(plane: Bytes, scratch: Scratch) -> Coded:
    return RAW, plane.tobytes()


def read(kind: int, data: memoryview, size: int, scratch: Scratch, role: str) -> Bytes | int:
    """Return a plane in memory that the next one of its role overwrites."""
    if kind == CONSTANT:
        return data[0]
    plane = scratch.array(role, size)
    plane[:] = np.frombuffer(data, np.uint8)
    return plane


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_each_plane_has_the_bytes_of_its_place(count: int, width: int, shift: int) -> None:
    words = words_at(count, width, shift)
    coded = encode_words(words, Scratch(), as_they_are, "word")
    assert [data for _, data in coded] == [
        words.view(np.uint8)[place::width].tobytes() for place in range(width)
    ]
    for place, (_, data) in enumerate(coded):
        plane = np.full(count, 0xA5, np.uint8)
        take_place(words, place, plane)
        assert plane.tobytes() == data


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", COUNTS)
def test_planes_give_the_words_back_and_nothing_of_earlier_ones(count: int, width: int) -> None:
    scratch = Scratch()
    for words in (words_at(count, width), words_at(3 * FEW, width), words_at(count, width)):
        coded = encode_words(words, scratch, as_they_are, "word")
        out = np.full(len(words), 0xA5, words.dtype)
        decode_words([(k, memoryview(data)) for k, data in coded], out, scratch, read)
        assert out.tobytes() == words.tobytes()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("constant", range(8))
def test_one_plane_may_be_one_byte_repeated(width: int, constant: int) -> None:
    words = words_at(FEW + 5, width)
    place = constant % width
    words.view(np.uint8)[place::width] = 0x81
    coded = encode_words(words, Scratch(), as_they_are, "word")
    coded[place] = CONSTANT, b"\x81"
    out = np.zeros(len(words), words.dtype)
    decode_words([(k, memoryview(data)) for k, data in coded], out, Scratch(), read)
    assert out.tobytes() == words.tobytes()
