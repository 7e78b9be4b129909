"""How often one policy's responses beat another's on the same prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.errors import LuceError
from luce.evaluate.estimate import (
    Number,
    require_finite,
    require_finite_value,
    require_same_length,
)
from luce.intervals import bootstrap, wilson_interval


@dataclass(frozen=True)
class WinRate:
    """Mean over prompts of P(a's response beats b's), ties counted half.

    Attributes:
        value: in [0, 1].
        low, high: 95 % interval by resampling prompts. Where every prompt is a clean sweep (all 1
            or all 0) resampling sees no spread, and it is Wilson's interval over prompts; of a
            single other prompt it is all of [0, 1].
        n: prompts.
        wins, ties, losses: comparisons; one per prompt, or one per pair of samples where a
            prompt has several from each side.
        standard_error: of the mean over prompts, sd / √n (ddof = 1); nan where n = 1.
    """

    value: float
    low: float
    high: float
    n: int
    wins: int
    ties: int
    losses: int
    standard_error: float

    def record(self, *, against: str, annotator: str) -> dict[str, Any]:
        """The `win_rate` entry of evaluation.json."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "ties": self.ties,
            "comparisons": self.wins + self.ties + self.losses,
            "against": against,
            "annotator": annotator,
        }


def win_rate(
    scores_a: Sequence[Number] | Sequence[Sequence[Number]],
    scores_b: Sequence[Number] | Sequence[Sequence[Number]],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> WinRate:
    """The win rate of a over b: (1/P) Σ_p mean over i, j of 1[a_pi > b_pj] + ½·1[a_pi = b_pj].

    The scores of both sides go prompt by prompt: one number per prompt, or a list of them where
    each side was sampled several times (then every sample of a meets every sample of b).
    The same seed gives the same interval. `win_rate(a, a)` is ½ exactly.

    Raises:
        LuceError: no prompts, unequal numbers of prompts, a prompt without samples, or a score
            that is not finite.

    >>> result = win_rate([3.0, 1.0, 2.0, 5.0], [1.0, 1.0, 4.0, 0.0])
    >>> result.value, result.n, (result.wins, result.ties, result.losses)
    (0.625, 4, (2, 1, 1))
    """
    require_same_length(scores_a=scores_a, scores_b=scores_b)
    values: list[float] = []
    wins = ties = losses = 0
    for index, (a, b) in enumerate(zip(scores_a, scores_b, strict=True)):
        ours, theirs = _samples(a, "scores_a", index), _samples(b, "scores_b", index)
        won = sum(x > y for x in ours for y in theirs)
        tied = sum(x == y for x in ours for y in theirs)
        total = len(ours) * len(theirs)
        # whole numbers until the one division: a policy against itself gives 0.5 exactly
        values.append((2 * won + tied) / (2 * total))
        wins, ties, losses = wins + won, ties + tied, losses + total - won - tied
    return _over_prompts(values, (wins, ties, losses), seed, resamples)


def win_rate_of_preferences(
    preferences: Sequence[Number], *, seed: int = 0, resamples: int = 2000
) -> WinRate:
    """The win rate from an annotator's P(a ≻ b), one per prompt, in [0, 1].

    A preference above ½ counts as a win, below as a loss; the value is their mean.

    >>> win_rate_of_preferences([0.9, 0.5, 0.1, 0.9]).value
    0.6
    """
    require_finite(preferences, "preferences")
    for index, p in enumerate(preferences):
        if not 0 <= p <= 1:
            raise LuceError(f"preferences[{index}] is {p}; a probability lies in [0, 1].")
    wins, losses = sum(p > 0.5 for p in preferences), sum(p < 0.5 for p in preferences)
    counts = (wins, len(preferences) - wins - losses, losses)
    return _over_prompts([float(p) for p in preferences], counts, seed, resamples)


def _samples(scores: Number | Sequence[Number], name: str, index: int) -> Sequence[Number]:
    place = f"{name}[{index}]"
    if not isinstance(scores, Sequence):
        require_finite_value(scores, place)
        return [scores]
    if not scores:
        raise LuceError(f"{place} has no samples. Every prompt needs at least one.")
    require_finite(scores, place)
    return scores


def _over_prompts(
    values: list[float], counts: tuple[int, int, int], seed: int, resamples: int
) -> WinRate:
    n = len(values)
    if n == 0:
        raise LuceError("A win rate needs at least one prompt; none was given.")
    value = math.fsum(values) / n
    if value in (0.0, 1.0):
        low, high = wilson_interval(value * n, n)
    else:
        sample = np.asarray(values)
        found = bootstrap(lambda i: float(sample[i].mean()), n, seed=seed, resamples=resamples)
        low, high = max(0.0, found.low), min(1.0, found.high)
    error = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return WinRate(value, low, high, n, *counts, standard_error=error)
