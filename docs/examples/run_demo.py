"""The seed workflow on really trained models, typed line by line into a terminal.

``python docs/examples/run_demo.py [FOLDER]``: about a minute on two cores.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect

HERE = Path(__file__).parent
WORKFLOW = """\
theta init
theta track model.pt
theta commit -am "Add initial model"
python finetune.py --dataset="cb" --method="lowrank"
theta commit -am "Fine-tune on CB dataset with LoRA"
theta checkout -b rte
python finetune.py --dataset="rte" --method="dense"
theta commit -am "Fine-tune on RTE dataset"
theta checkout main
python finetune.py --dataset="anli" --method="dense"
theta commit -am "Fine-tune on ANLI dataset"
theta merge rte
theta commit -am "Merge RTE and ANLI models"
python trim_unused_embeddings.py
theta commit -am "Remove embeddings for unused tokens"
"""
SECONDS = 120


def environment() -> dict[str, str]:
    """Return the environment in which python and theta are the ones that run this."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "THETA_AUTHOR": "Demo <demo@example.org>"}


def prepare(folder: Path) -> None:
    """Copy the scripts and train the base model."""
    for script in HERE.glob("*.py"):
        shutil.copy(script, folder)
    subprocess.run([sys.executable, "make_base.py"], cwd=folder, env=environment(), check=True)


def type_line(line: str, folder: Path) -> None:
    """Run one line in a pseudo-terminal; answer the merge prompt with ``avg``."""
    print(f"\n$ {line}", flush=True)
    shell = pexpect.spawn(
        "/bin/sh", ["-c", line], cwd=folder, env=environment(), timeout=SECONDS, encoding="utf-8"
    )
    shell.logfile_read = sys.stdout
    if line.startswith("theta merge"):
        shell.expect_exact("θ ")
        shell.sendline("avg")
    shell.expect(pexpect.EOF)
    shell.close()
    if shell.exitstatus:
        raise SystemExit(f"{line}: exit code {shell.exitstatus}")


def report(folder: Path) -> None:
    """Print the graph, the accuracies, and bytes stored against bytes of files."""
    type_line("theta log --graph", folder)
    type_line("python evaluate.py", folder)
    size = 0
    log = json.loads(_output(folder, "theta", "log", "--json"))
    for commit in log["commits"]:
        files = json.loads(_output(folder, "theta", "ls", commit["commit"], "--json"))
        size += sum(file["size"] for file in files["files"])
    stored = json.loads(_output(folder, "theta", "du", "--json"))["stored_bytes"]
    count = len(log["commits"])
    print(f"\n{count} commits: {size} bytes of files, {stored} bytes stored ({stored / size:.0%})")


def _output(folder: Path, *command: str) -> bytes:
    return subprocess.check_output(command, cwd=folder, env=environment())


def main() -> None:
    """Run the demo in the folder given, or in a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SystemExit(f"{folder} is not empty")
        print("Training the base model …", flush=True)
        prepare(folder)
        for line in WORKFLOW.splitlines():
            type_line(line, folder)
        report(folder)


if __name__ == "__main__":
    main()
