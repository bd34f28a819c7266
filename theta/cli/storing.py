"""How stored forms are called when people are told about them.

Owns the wording. Must not print, nor know how forms are made.
"""

from typing import TYPE_CHECKING

from theta.cli.spelling import plural, spell_bytes

if TYPE_CHECKING:
    from theta_store.store import Kept

_WORDS = {
    "none": "by itself",
    "same": "as a difference to the tensor before",
    "rows": "as rows of the tensor before",
    "cast": "as a copy in another dtype",
    "rescale": "as the tensor before times a vector, found automatically",
    "low-rank": "LoRA-like, found automatically",
    "weighted-sum": "as the weighted sum of other tensors, as a merge makes it",
    "pieces": "as a difference to the small tensors before",
}
_TOGETHER = "together with other small tensors"


def spell_kept(kept: "Kept") -> str:
    """Spell one way of keeping, its share of the plain bytes and how deep its chain is."""
    words = f"{_WORDS.get(kept.predictor, kept.predictor)} ({kept.codec})"
    if kept.rank is not None:
        words = f"LoRA-like, rank {kept.rank}, found automatically ({kept.codec})"
    if kept.codec == "exact":
        words = _TOGETHER
    share = kept.stored / kept.plain if kept.plain else 0.0
    deep = f", {plural(kept.depth, 'step')} from a chunk that stands alone" if kept.depth else ""
    return f"{words}: {share:.1%} of {spell_bytes(kept.plain)}{deep}"


def kept_as_json(kept: "Kept") -> dict[str, object]:
    """Return the keys that others rely on."""
    return {
        "predictor": kept.predictor,
        "codec": kept.codec,
        "chunks": kept.chunks,
        "stored_bytes": kept.stored,
        "plain_bytes": kept.plain,
        "depth": kept.depth,
        "rank": kept.rank,
    }
