"""One process that flips bits, checks and reads: ``flip_reader SOUND WORK``, flips on stdin.

For each flip it copies the repository ``SOUND`` to ``WORK``, flips the bit, and prints two lines of
JSON: what fsck says, then whether everything reads as before. A bug ends it with a traceback.
"""

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from theta.repo import Repo
from theta_store.errors import ThetaError


def check(folder: Path) -> int:
    """Return how many problems fsck names; a store that cannot be opened is one."""
    try:
        with Repo.open(folder) as repo:
            return len(repo.fsck())
    except ThetaError:
        return 1


def read(folder: Path) -> dict[str, str]:
    """Return the sums of all parameters and files of all commits, and the log."""
    found = {}
    with Repo.open(folder) as repo:
        for id_, commit in repo.log():
            found[id_.hex()] = commit.message
            for path, entry in repo.entries(id_).items():
                if entry.kind == "checkpoint":
                    for name, tensor in repo.params(id_, path):
                        key = f"{id_.hex()} {path} {name}"
                        found[key] = hashlib.sha256(repo.read_tensor(tensor)).hexdigest()
            target = folder / "out"
            repo.export(id_.hex(), target)
            for file in sorted(target.rglob("*")):
                if file.is_file():
                    key = f"{id_.hex()} {file.relative_to(target)}"
                    found[key] = hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.rmtree(target)
    return found


def tell(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    sound, work = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(sound, work)
    truth = read(work)
    for file, bit in json.load(sys.stdin):
        shutil.rmtree(work)
        shutil.copytree(sound, work)
        data = bytearray((work / file).read_bytes())
        data[bit // 8] ^= 1 << bit % 8
        (work / file).write_bytes(data)
        start = time.monotonic()
        problems = check(work)
        tell(problems=problems, seconds=time.monotonic() - start)
        try:
            tell(same=read(work) == truth)
        except ThetaError as error:
            tell(same=False, error=str(error))


if __name__ == "__main__":
    main()
