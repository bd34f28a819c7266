"""The records of a composed file.

Owns what it takes to write the file anew as safetensors: its layout, its parameters, its ties.
Must not know where the tensors are from.
"""

from collections.abc import Mapping

from theta.checkpoint import Reader
from theta.formats import format_by_id
from theta.formats.base import TensorSpec
from theta.formats.layout import encode_layout
from theta.params import build_params
from theta_store.errors import UsageError
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import Checkpoint, File, TreeEntry
from theta_store.store import Putter

FORMAT = "safetensors"
SUFFIX = ".safetensors"
# transformers reads only files that say whose tensors they hold.
NOTES = {"format": "pt"}


def check_name(path: str) -> None:
    """Refuse a name that stands for another format."""
    if not path.lower().endswith(SUFFIX):
        raise UsageError(
            f"{path}: a composed model is written as {SUFFIX}; theta export converts it"
        )


def entry_of(
    reader: Reader,
    putter: Putter,
    path: str,
    leaves: Mapping[str, TensorId],
    aliases: Mapping[str, str],
) -> TreeEntry:
    """Return the entry of a new file of these tensors; ties that still hold are kept."""
    ties = {a: n for a, n in aliases.items() if a in leaves and leaves[a] == leaves.get(n)}
    own = {name: id_ for name, id_ in sorted(leaves.items()) if name not in ties}
    tensors = {name: reader.tensor(id_) for name, id_ in own.items()}
    specs = [TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()]
    format_ = format_by_id(FORMAT)
    layout = format_.compose(specs, metadata=NOTES, aliases=ties)
    file = File("", putter.put_bytes(encode_layout(layout)), {})
    params = build_params(own, putter)
    made = Checkpoint(format_.id, format_.version, (file,), params, ties)
    id_ = CheckpointId(putter.put_record(made))
    return TreeEntry(path.rpartition("/")[2], "checkpoint", id_)
