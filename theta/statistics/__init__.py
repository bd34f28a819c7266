"""Statistics of models: what a merge may know of the data that a model was trained on.

Owns the diagonal of the Fisher information and Gram matrices of the inputs of linear layers:
collecting them, adding them up, and computing them from a module of torch. Must not know the
store. torch is imported only where a module is given.
"""

from theta.statistics.accumulator import Accumulator
from theta.statistics.compute import compute
from theta.statistics.statistic import Statistic, combined

__all__ = ["Accumulator", "Statistic", "combined", "compute"]
