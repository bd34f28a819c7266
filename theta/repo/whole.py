"""All verbs together.

Owns the class `Repo`, which joins the verbs of this package. Must not hold a verb of its own.
"""

from theta.repo.applying import Applying
from theta.repo.blaming import Blaming
from theta.repo.care import Care
from theta.repo.committing import Committing
from theta.repo.comparing import Comparing
from theta.repo.composing import Composing
from theta.repo.exporting import Exporting
from theta.repo.looking import Looking
from theta.repo.moving import Moving
from theta.repo.picking import Picking
from theta.repo.repacking import Repacking
from theta.repo.searching import Searching
from theta.repo.statistics import Informed
from theta.repo.tracking import Tracking
from theta.repo.undoing import Undoing


class Repo(
    Picking,
    Searching,
    Informed,
    Blaming,
    Looking,
    Tracking,
    Committing,
    Comparing,
    Composing,
    Moving,
    Applying,
    Undoing,
    Exporting,
    Repacking,
    Care,
):
    """An open repository; use it as a context manager or call `close`."""
