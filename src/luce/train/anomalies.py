"""Gradients unlike those of the steps before: a rule that a run applies to itself."""

import math
import statistics
from collections import deque
from collections.abc import Iterable

MEMORY = 64
"""Steps whose gradient norms a step is compared with."""

LEAST = 16
"""Fewer earlier steps say nothing."""

DEVIATIONS = 6.0
"""How many robust standard deviations of log-norms are far."""

RISE, FALL = 10.0, 100.0
"""What is far is also so many times above, or below, the typical norm: runs whose norms hardly vary
reach any number of deviations."""


class RecentNorms:
    """The gradient norms of the last steps, before clipping, and whether a new one is far off.

    A norm g is far from the norms g₁ … gₙ before it where |log g − m| > 6 · 1.4826 · MAD, with m
    the median of log gᵢ and MAD the median of |log gᵢ − m| (1.4826 · MAD estimates the standard
    deviation of normal noise; Hampel, 1974), and g is tenfold the median norm, or a hundredth.

    Args:
        norms: of the steps before, oldest first.

    >>> recent = RecentNorms([1.0, 1.1, 0.9, 1.0] * 4)
    >>> recent.take(1.3), recent.take(25.0)
    (None, 1.0)
    """

    def __init__(self, norms: Iterable[float] = ()) -> None:
        self._norms = deque(norms, MEMORY)

    def take(self, norm: float) -> float | None:
        """Take in the norm of a step; where it is far from those before, the median of these,
        else None."""
        typical = self._typical(norm)
        self._norms.append(norm)
        return typical

    def values(self) -> list[float]:
        """The norms, oldest first."""
        return list(self._norms)

    def _typical(self, norm: float) -> float | None:
        if len(self._norms) < LEAST:
            return None
        typical = statistics.median(self._norms)
        if typical == 0 or FALL * norm > typical and norm < RISE * typical:
            return None
        logs = [_log(one) for one in self._norms]
        middle = statistics.median(logs)
        spread = 1.4826 * statistics.median(abs(one - middle) for one in logs)
        return typical if abs(_log(norm) - middle) > DEVIATIONS * spread else None


def _log(norm: float) -> float:
    # no gradient at all is as far away as the smallest one
    return math.log(max(norm, 5e-324))
