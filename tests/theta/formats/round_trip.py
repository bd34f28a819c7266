"""The law of every format: a file comes back, bit for bit, from layout, literals and tensors."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from theta.formats.base import Format, Scan, TensorSpec
from theta.formats.joining import plan_join
from theta.formats.layout import Layout, decode_layout, encode_layout
from theta.formats.reading import FileReader, Source
from theta.formats.writing import FileWriter
from theta_store.dtypes import dtype

PIECES = (1, 7, 3, 64, 1000)


def spec_of(name: str, source: Source) -> TensorSpec:
    return TensorSpec(name, source.dtype, tuple(source.shape))


def plain_of(source: Source) -> bytes:
    """Read a source in pieces of odd sizes, each starting at an element, the last piece first."""
    row = dtype(source.dtype)
    size = row.size_of(tuple(source.shape))
    pieces, at = [], 0
    while at < size:
        stop = min(size, at + row.nbytes * PIECES[len(pieces) % len(PIECES)])
        pieces.append((at, stop))
        at = stop
    out = bytearray(size)
    for start, stop in reversed(pieces):
        source.read_into(start, memoryview(out)[start:stop])
    return bytes(out)


def join(
    layout: Layout,
    literals: Mapping[str, bytes],
    specs: Mapping[str, TensorSpec],
    plains: Mapping[str, bytes],
    target: Path,
) -> bytes:
    """Write the file from what a store would hold, several tensors at once, in odd pieces."""
    with FileWriter(target, layout.size) as out:
        plan = plan_join(layout, literals, out, specs)

        def feed(name: str) -> None:
            plain, cut = memoryview(plains[name]), dtype(specs[name].dtype).nbytes * 13
            for start in reversed(range(0, len(plain), cut)):
                plan.sinks[name].write(start, plain[start : start + cut])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(feed, plan.sinks))
        plan.finish()
        out.sync()
    return target.read_bytes()


def check_round_trip(path: Path, format_: Format, target: Path) -> tuple[Scan, dict[str, bytes]]:
    """Assert the law for one file; return what was found, and the plain bytes of each tensor."""
    with FileReader(path) as file:
        scan = format_.scan(file)
        plains = {name: plain_of(source) for name, source in scan.tensors.items()}
    specs = {name: spec_of(name, source) for name, source in scan.tensors.items()}
    layout = decode_layout(encode_layout(scan.layout))
    assert layout == scan.layout
    assert join(layout, scan.literals, specs, plains, target) == path.read_bytes()
    return scan, plains
