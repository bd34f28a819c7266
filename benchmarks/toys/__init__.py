"""The toy merges of the acceptance tests, with more strategies, as a report.

One noun per file: runs, scores, table, plot. Run by ``python -m benchmarks.toy_merges``.
"""
