"""The derivation ``again``: what a chunk is kept as now, to be tried with slower codecs."""

from dataclasses import dataclass

from theta_store.codecs import Sorted
from theta_store.derivations.base import Claim
from theta_store.forms import Form
from theta_store.predictors import PIECES, SAME

_WITHOUT_PARAMETERS = frozenset({SAME, PIECES})


@dataclass(frozen=True)
class Again:
    """The form of one chunk, with a predictor that takes no parameters."""

    form: Form

    def claim(self, start: int, stop: int) -> Claim | None:  # noqa: ARG002 - it is one chunk's
        """Return the guess that the form has; None where there is none, or nothing to gain."""
        if self.form.predictor not in _WITHOUT_PARAMETERS or self.form.codec == Sorted.number:
            return None
        return Claim(self.form.predictor, b"", self.form.needs)
