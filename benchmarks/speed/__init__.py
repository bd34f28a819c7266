"""Seconds of theta and its peers, on the same files, in one run.

One noun per file: models, scene, process, programs, contenders, rounds, results, table, plot. Run
by ``python -m benchmarks.peers``.
"""
