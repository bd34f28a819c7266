"""Prints what each predictor makes of many strange bits, one hash a line: run on other machines."""

import hashlib

import numpy as np

from tests.store.predictors.exact import NAMES
from theta_store.dtypes import DTYPES
from theta_store.predictors import cast, low_rank, rescale, rows, weighted_sum

COUNT = 9_000
COLUMNS = 90


def _plain(name: str, seed: int) -> np.ndarray:
    size = COUNT * DTYPES[name].nbytes
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def _factor(rows_: int, columns: int) -> np.ndarray:
    whole = np.random.default_rng(rows_).integers(-(1 << 24), 1 << 24, (rows_, columns))
    return np.ldexp(whole.astype(np.float32), -28)


def _guesses(predictor: str, name: str) -> list[np.ndarray]:
    row, base = DTYPES[name], _plain(name, 1)
    if predictor == "cast":
        return [cast.predict(base, row, DTYPES[to]) for to in NAMES if to != name]
    if predictor == "weighted-sum":
        return [weighted_sum.predict([base, _plain(name, 2), base], [0.3, 0.5, -2.0], row)]
    if predictor == "rows":
        map_ = np.random.default_rng(3).integers(-1, 100, COUNT // COLUMNS)
        runs, width = rows.runs_of(map_), COLUMNS * row.nbytes
        start, stop = rows.needed_range(runs, width)
        return [rows.gather(runs, base[start:stop], width, np.empty_like(base))]
    if predictor == "rescale":
        vector = _factor(1, COLUMNS)[0]
        return [rescale.predict(base, vector, axis, row, COLUMNS) for axis in (-1, 1)]
    ranks = (1, 8, 300)
    return [
        low_rank.predict(base, _factor(100, k), _factor(k, COLUMNS), row, formula, COLUMNS)
        for k in ranks
        for formula in low_rank.FORMULAS
    ]


def main() -> None:
    for predictor in ("cast", "weighted-sum", "rows", "rescale", "low-rank"):
        digest = hashlib.sha256()
        for name in NAMES:
            for guess in _guesses(predictor, name):
                digest.update(guess.tobytes())
        print(predictor, digest.hexdigest())


if __name__ == "__main__":
    main()
