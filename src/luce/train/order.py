"""The order of the data: a pure function of (seed, step), whatever was killed or split in between.

Nothing here has state, so a resumed run, a run with other micro-batches and a run on more ranks
see the same rows at the same step.
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4)
def permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` visits `rows` rows.

    Sorts raw 64-bit draws of PCG64, whose stream numpy guarantees; `Generator.permutation` may
    change between numpy releases.
    """
    draws = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(rows)
    return np.argsort(draws, kind="stable")


def rows_of_step(rows: int, batch_size: int, seed: int, step: int, last: int) -> list[int]:
    """Row numbers of optimizer step `step` (from 0); `last` is one past the final position.

    The epochs follow each other without a gap: position p of the run is row
    `permutation(epoch = p // rows)[p % rows]`.

    >>> sorted(rows_of_step(3, 2, 0, 0, 6) + rows_of_step(3, 2, 0, 1, 6)[:1])
    [0, 1, 2]
    """
    positions = _positions(batch_size, step, last)
    return [int(permutation(rows, seed, p // rows)[p % rows]) for p in positions]


def visits_of_step(rows: int, batch_size: int, step: int, last: int) -> list[int]:
    """For each row of `rows_of_step`, how often the run has visited it before: its epoch.

    >>> visits_of_step(3, 2, 1, 6)
    [0, 1]
    """
    return [p // rows for p in _positions(batch_size, step, last)]


def _positions(batch_size: int, step: int, last: int) -> range:
    start = step * batch_size
    return range(start, min(start + batch_size, last))
