"""LMDB: the only package that imports it.

Owns environments, transactions, map sizes, and the translation of LMDB's errors into ours. Must
not know what records, forms or refs mean: keys and values are bytes here.
"""

from theta_store.db.environment import DATA_FILE, Environment, Reader, Writer, open_environment
from theta_store.db.filesystem import alone_in, check_local, free_bytes
from theta_store.db.meta import Meta, Table
from theta_store.db.pages import HEAD_BYTES
from theta_store.db.salvage import Salvage, salvage
from theta_store.db.volumes import VOLUME_BYTES, Volume, Volumes, page_bytes

__all__ = [
    "DATA_FILE",
    "HEAD_BYTES",
    "VOLUME_BYTES",
    "Environment",
    "Meta",
    "Reader",
    "Salvage",
    "Table",
    "Volume",
    "Volumes",
    "Writer",
    "alone_in",
    "check_local",
    "free_bytes",
    "open_environment",
    "page_bytes",
    "salvage",
]
