"""Print the accuracy of every commit on every task: ``python evaluate.py``."""

import json
import subprocess
import tempfile
from pathlib import Path

from patchnet import TASKS, accuracy, load
from rich.console import Console
from rich.table import Table

log = json.loads(subprocess.check_output(["theta", "log", "--json"]))
table = Table("commit", "parents", "subject", *TASKS)
with tempfile.TemporaryDirectory() as folder:
    for commit in log["commits"]:
        id_ = commit["commit"][:10]
        path = Path(folder) / f"{id_}.pt"
        subprocess.run(["theta", "-q", "export", f"{id_}:model.pt", path], check=True)
        net = load(path)
        scores = [f"{accuracy(net, task):.1%}" for task in TASKS]
        parents = " ".join(parent[:6] for parent in commit["parents"])
        table.add_row(id_[:6], parents, commit["message"], *scores)
Console(width=110).print(table)
