"""How sides are aligned before a merge, as a user says it.

Owns the value and its text. Must not know how units are matched.
"""

from dataclasses import dataclass

from theta_store.errors import UsageError

REBASIN = "rebasin"
HINT = "theta merge REVISION --align 'rebasin=transformer-encoder heads=8'"


@dataclass(frozen=True)
class Alignment:
    """Weight matching: the architecture, None to tell it by names, and the heads of attention.

    Where ``heads`` is None the ``config.json`` beside the model says it.
    """

    architecture: str | None = None
    heads: int | None = None

    def __str__(self) -> str:
        text = REBASIN if self.architecture is None else f"{REBASIN}={self.architecture}"
        return text if self.heads is None else f"{text} heads={self.heads}"


def parse_alignment(text: str) -> Alignment:
    """Read ``rebasin[=ARCHITECTURE] [heads=N]``; what is nothing of the kind is a `UsageError`."""
    from theta.alignment import check_architecture

    first, *more = text.split() or [""]
    method, equals, architecture = first.partition("=")
    if method != REBASIN or len(more) > 1 or (equals and not architecture):
        raise UsageError(f"--align {text!r}: rebasin[=ARCHITECTURE] is expected", hint=HINT)
    if architecture:
        check_architecture(architecture)
    heads = None
    if more:
        key, _, value = more[0].partition("=")
        if key != "heads" or not value.isdecimal() or not int(value):
            raise UsageError(f"--align {text!r}: heads=N is expected, not {more[0]!r}", hint=HINT)
        heads = int(value)
    return Alignment(architecture or None, heads)
