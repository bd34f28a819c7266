"""What a change is, where it has a name: a cast, a scaling, a low rank, rows that came or went.

Owns one file per kind of change. Must not know where tensors come from. Nothing here decides
anything: a change that is not recognised is still measured.
"""
