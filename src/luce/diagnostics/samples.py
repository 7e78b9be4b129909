"""What can be read off sampled responses alone: how long they are, whether they end, whether they
repeat themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.errors import LuceError
from luce.intervals import Estimate, mean_interval, wilson_interval

GRAM = 4
"""Tokens in a row that are looked for a second time."""

MOST_POINTS = 60
"""Points of a survival curve that are kept."""


@dataclass(frozen=True)
class Survival:
    """S(t): the share of responses that go on after t tokens.

    Attributes:
        tokens: t, rising from 0.
        shares: S(t), one each.
        n: responses.
        unended: S at the limit, where sampling cut what had not ended. How much of it would ever
            end cannot be seen: a policy that stops with probability 1/(t + 1) always ends, one with
            1/(t + 1)² does not in half of the cases, and at t = 100 they look alike.
    """

    tokens: tuple[int, ...]
    shares: tuple[float, ...]
    n: int
    unended: Estimate

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"n": self.n, "tokens": self.tokens, "shares": self.shares}
        return found | self.unended.flat("unended")


def survival_curve(tokens: Sequence[int], ended: Sequence[bool]) -> Survival:
    """The survival curve of sampled lengths.

    Args:
        tokens: sampled tokens of each response, the end-of-turn token included.
        ended: False where the limit cut it.

    Raises:
        LuceError: no response, or lists of different lengths.

    >>> found = survival_curve([1, 2, 2], [True, True, False])
    >>> found.tokens, [round(share, 3) for share in found.shares]
    ((0, 1, 2), [1.0, 0.667, 0.333])
    """
    lengths, done = np.asarray(tokens, int), np.asarray(ended, bool)
    if not len(lengths) or len(lengths) != len(done):
        raise LuceError(
            f"survival_curve: {len(lengths)} lengths and {len(done)} ends; one each of at least "
            "one response is wanted."
        )
    last = int(lengths.max())
    at = np.unique(np.linspace(0, last, min(last + 1, MOST_POINTS)).round().astype(int))
    shares = [float(((lengths > t) | ~done).mean()) for t in at]
    cut = int((~done).sum())
    low, high = wilson_interval(cut, len(done))
    unended = Estimate(cut / len(done), low, high, len(done))
    return Survival(tuple(int(t) for t in at), tuple(shares), len(done), unended)


def repetition(ids: Sequence[int]) -> float | None:
    """The share of a response's runs of four tokens that stood in it before; None of a response
    without one.

    >>> repetition([1, 2, 3, 4, 1, 2, 3, 4])
    0.2
    """
    grams = [tuple(ids[i : i + GRAM]) for i in range(len(ids) - GRAM + 1)]
    return None if not grams else (len(grams) - len(set(grams))) / len(grams)


def mean_repetition(shares: Sequence[float | None]) -> Estimate | None:
    """The mean of `repetition` over responses, those without a run left out; None without any."""
    known = [share for share in shares if share is not None]
    return Estimate(*mean_interval(known), len(known)) if known else None
