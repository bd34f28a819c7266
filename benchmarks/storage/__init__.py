"""Stored size per commit of theta and its peers, on models really trained here.

One noun per file: corpus, transformer, tuning, checkpoints, histories, contents, schemes, table,
plot. Run by ``python -m benchmarks.storage_sizes``.
"""
