"""Modules of torch that hold several models at once.

Owns soft merging of experts, and loading them from a repository. It is the one part of theta, with
`theta.statistics.compute`, that imports torch; no other part imports it. Must not write anything.
"""

from theta.nn.soft_merged import SoftMergedExperts

__all__ = ["SoftMergedExperts"]
