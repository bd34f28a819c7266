"""Predictors: what a chunk is expected to be, computed exactly from tensors in the store.

Owns the numbers, which are on disk. Pure: must not know the store, payload or codecs.
"""

NONE, SAME, ROWS, CAST, RESCALE, LOW_RANK, WEIGHTED_SUM, PIECES = range(8)
