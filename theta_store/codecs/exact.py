"""The number of the codec ``exact``: the guess missed nothing, so that there is no payload.

Owns the number, which is on disk. A form of this codec stores no bytes and lies in no volume; its
chunk is what its predictor says. Must not know predictors.
"""

NUMBER = 6
VERSION = 1
