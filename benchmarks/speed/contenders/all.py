"""Which programs are measured, in the order of the table.

Owns the list. Must not measure anything.
"""

from benchmarks.speed.contenders.base import Contender
from benchmarks.speed.contenders.borg import Borg
from benchmarks.speed.contenders.dvc import Dvc
from benchmarks.speed.contenders.git_lfs import GitLfs
from benchmarks.speed.contenders.git_theta import GitTheta
from benchmarks.speed.contenders.limit import Copy, Hash, Read
from benchmarks.speed.contenders.oxen import Oxen
from benchmarks.speed.contenders.restic import Restic
from benchmarks.speed.contenders.theta_cli import ThetaCli
from benchmarks.speed.contenders.theta_python import ThetaPython
from benchmarks.speed.contenders.xet import Xet


def contenders() -> list[Contender]:
    """Return every program; nothing is installed yet."""
    limits = [Copy(), Read(), Hash()]
    peers = [GitLfs(), Dvc(), Oxen(), Xet(), Borg(), Restic(), GitTheta()]
    return [*limits, ThetaCli(), ThetaPython(), *peers]
