"""How theta's cost grows: with the model's size, the history, the tensors, the branches.

One noun per file: an axis each, points, table, plot. Run by ``python -m benchmarks.growth``.
"""
