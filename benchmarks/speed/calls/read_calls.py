"""Read files into memory: ``python read_calls.py FILE…``; prints the seconds."""

import sys
import time
from pathlib import Path


def main() -> None:
    start = time.perf_counter()
    held = [Path(name).read_bytes() for name in sys.argv[1:]]
    print(time.perf_counter() - start)
    assert held


if __name__ == "__main__":
    main()
