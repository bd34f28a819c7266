"""One call of hf_xet: ``python xet_calls.py VERB STORE KEPT [FILE…]``; prints its seconds.

Runs in the work tree. Owns the calls and a clock that starts after the imports. ``KEPT`` is a JSON
file that remembers the hash and size of every uploaded file.
"""

import json
import sys
import time
from pathlib import Path

import hf_xet


def upload(store: str, kept: str, *files: str) -> None:
    with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store}") as commit:
        handles = [commit.start_upload_file(name) for name in files]
    found = [handle.result().xet_info for handle in handles]
    rows = [[name, i.hash, i.file_size] for name, i in zip(files, found, strict=True)]
    Path(kept).write_text(json.dumps(rows))


def download(store: str, kept: str) -> None:
    with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{store}") as group:
        for name, digest, size in json.loads(Path(kept).read_text()):
            group.start_download_file(hf_xet.XetFileInfo(digest, size), str(Path(name).absolute()))


def main() -> None:
    verb, *words = sys.argv[1:]
    start = time.perf_counter()
    {"upload": upload, "download": download}[verb](*words)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
