"""Scripts that run in a child process and print their own seconds.

Each is run by the Python of the program that it calls, so it imports nothing of the benchmarks.
"""
