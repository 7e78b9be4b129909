"""Does an annotator agree with itself: when asked again, and when the two responses change places?

Self-consistency is over repeated draws. Position is over the order in which two responses were
shown: an annotator that looks only at the responses prefers the first one shown as often as not.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from luce.annotate.agreement import alpha_of, of_all_annotators
from luce.annotate.crosstab import coincidences
from luce.annotate.measure import (
    Measure,
    Statistic,
    measure,
    measured,
    ratio,
    share,
    sums_by_prompt,
)
from luce.annotate.ratings import Ratings, prompt_numbers
from luce.errors import LuceError
from luce.intervals import RESAMPLES, Estimate


@dataclass(frozen=True)
class SelfConsistency:
    """How often an annotator says the same of the same item.

    Attributes:
        items: with two draws or more; the others say nothing.
        draws: how many these items have.
        agreement: the probability that two draws on one item are equal, the mean over items.
        unanimous: the share of items all of whose draws are equal; falls with the number of draws.
        alpha: Krippendorff's, nominal: agreement beyond that of draws from all items mixed.
    """

    items: int
    draws: int
    agreement: Measure
    unanimous: Measure
    alpha: Measure

    def plain(self) -> dict[str, Any]:
        """Values for JSON; numbers that are not finite are None."""
        return {
            "items": self.items,
            "draws": self.draws,
            "agreement": self.agreement.plain(),
            "unanimous": self.unanimous.plain(),
            "alpha": self.alpha.plain(),
        }

    def lines(self) -> list[str]:
        """Words and numbers for a terminal; intervals are 95 %, by drawing prompts again."""
        return [
            f"{self.draws:,} draws on {self.items:,} items.",
            f"two draws on an item are equal  {self.agreement.words()}",
            f"all draws on an item are equal  {self.unanimous.words()}",
            f"Krippendorff alpha, nominal     {self.alpha.words()}",
        ]


def self_consistency(
    ratings: Ratings, *, seed: int = 0, resamples: int = RESAMPLES
) -> SelfConsistency:
    """How often one annotator, asked several times, says the same.

    Args:
        ratings: items × draws of one annotator; nan where a draw is missing.
        seed, resamples: of the intervals.

    >>> found = self_consistency(Ratings(np.array([[1, 1, 1], [2, 1, 2]]), ("1", "2", "3")))
    >>> round(found.agreement.value, 3), found.unanimous.value
    (0.667, 0.5)
    """
    given = ~np.isnan(ratings.values)
    usable = given.sum(axis=1) >= 2
    rows = ratings.values[usable]
    if len(rows):
        unanimous = np.nanmax(rows, axis=1) == np.nanmin(rows, axis=1)
    else:
        unanimous = np.zeros(0, dtype=bool)
    sums = sums_by_prompt([np.ones(len(rows)), unanimous], ratings.prompt_numbers[usable])
    agreement, _ = of_all_annotators(ratings)
    alpha = alpha_of(coincidences(ratings), ratings)
    why = "No item was asked about twice."
    asked = [
        Statistic(agreement.sums, agreement.value, lambda found: measure(share(found), why)),
        Statistic(sums, lambda s: ratio(s[1], s[0]), lambda found: measure(share(found), why)),
        alpha if len(rows) else replace(alpha, told=lambda found: measure(found, why)),
    ]
    answers = measured(asked, seed=seed, resamples=resamples)
    return SelfConsistency(len(rows), int(given[usable].sum()), *answers)


@dataclass(frozen=True)
class Position:
    """What the order in which two responses are shown does to the verdict.

    Attributes:
        pairs: of responses that were counted.
        incomplete: pairs left out, for want of a verdict or of the order.
        flip_rate: the share of pairs whose verdict is another one in the other order; a win that
            becomes a tie is one. A coin is at ½. Unknown where each pair was shown in one order.
        to_first, to_second: flips that favour what stands first in both orders, or second.
        first_preferred: P(first shown is preferred) as counted, ties as ½.
        effect: the position effect P(first shown is preferred) − ½ in [−½, ½] for orders as
            frequent as each other; 0 without a bias, positive for what stands first.
    """

    pairs: int
    incomplete: int
    flip_rate: Measure
    to_first: int
    to_second: int
    first_preferred: Measure
    effect: Measure

    def plain(self) -> dict[str, Any]:
        """Values for JSON; numbers that are not finite are None."""
        return {
            "pairs": self.pairs,
            "incomplete": self.incomplete,
            "flip_rate": self.flip_rate.plain(),
            "to_first": self.to_first,
            "to_second": self.to_second,
            "first_preferred": self.first_preferred.plain(),
            "effect": self.effect.plain(),
        }

    def lines(self) -> list[str]:
        """Words and numbers for a terminal; intervals are 95 %, by drawing prompts again."""
        left_out = f" ({self.incomplete:,} left out)" if self.incomplete else ""
        flips = self.flip_rate.words()
        if not self.flip_rate.why:
            flips += f"; {self.to_first:,} to the first shown, {self.to_second:,} to the second"
        return [
            f"{self.pairs:,} pairs{left_out}.",
            f"verdict flips with the order    {flips}",
            f"first shown is preferred        {self.first_preferred.words()}",
            f"position effect                 {self.effect.words()}: {self._verdict()}",
        ]

    def _verdict(self) -> str:
        found = self.effect.estimate
        if found.low > 0:
            return "what stands first is favoured"
        if found.high < 0:
            return "what stands second is favoured"
        return "no bias for a position can be told"


def both_orders(
    original: Sequence[float | int] | np.ndarray,
    swapped: Sequence[float | int] | np.ndarray,
    prompts: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Position:
    """Flip rate and position effect of pairs that were judged in both orders.

    The effect is the mean of ½ (original − swapped): what a response gains by standing first. How
    good the responses are cancels, since each stood first once.

    Args:
        original, swapped: for each pair of responses (a, b), P(a is preferred) in [0, 1] when a
            stood first, and when b did: 1, 0, and ½ for a tie, or soft; nan where missing. The
            verdict is the side that it leans to. Pairs with one verdict are left out.
        prompts: for each pair, whose prompt it is; None: each its own.
        seed, resamples: of the intervals.

    Raises:
        LuceError: the lengths differ, or a value is not in [0, 1].

    >>> found = both_orders([1, 1, 0, 1], [1, 0, 0, 1])
    >>> found.flip_rate.value, found.effect.value, found.to_first
    (0.25, 0.125, 1)
    """
    one, other = _probabilities(original, "original"), _probabilities(swapped, "swapped")
    if len(one) != len(other):
        raise LuceError(
            f"both_orders: {len(one)} verdicts in the original order and {len(other)} in the "
            "swapped one. Give one of each for every pair, nan where there is none."
        )
    both = ~(np.isnan(one) | np.isnan(other))
    numbers = prompt_numbers(prompts, len(one))[both]
    one, other = one[both], other[both]
    flips = np.sign(one - 0.5) != np.sign(other - 0.5)
    sums = sums_by_prompt([np.ones(len(one)), flips, one, 1 - other], numbers)
    why = "No pair has a verdict in both orders."

    def first_preferred(sums: np.ndarray) -> np.ndarray:
        return ratio(sums[2] + sums[3], 2 * sums[0])

    asked = [
        Statistic(sums, lambda s: ratio(s[1], s[0]), lambda found: measure(share(found), why)),
        Statistic(sums, first_preferred, lambda found: measure(share(found), why)),
        Statistic(sums, first_preferred, lambda found: measure(_effect(found), why)),
    ]
    flip_rate, preferred, effect = measured(asked, seed=seed, resamples=resamples)
    return Position(
        len(one),
        len(both) - len(one),
        flip_rate,
        int((flips & (one > other)).sum()),
        int((flips & (one < other)).sum()),
        preferred,
        effect,
    )


def shown_first(
    preferred: Sequence[float | int] | np.ndarray,
    first: Sequence[float | int] | np.ndarray,
    prompts: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Position:
    """The position effect where each pair was judged in one order and it is known which.

    The effect is ½ (mean P(a) where a stood first − mean P(a) where b did). If all pairs were in
    both orders equally often it would be P(first shown is preferred) − ½; unlike this share as
    counted, it does not mistake a better response that stands first more often for a bias. That
    the order was drawn without regard to the responses is taken for granted.

    Args:
        preferred: for each pair of responses (a, b), P(a is preferred) in [0, 1]; nan if missing.
        first: which stood first: 1 for a, 2 for b, nan where that is not known.
        prompts: for each pair, whose prompt it is; None: each its own.
        seed, resamples: of the intervals.

    Raises:
        LuceError: the lengths differ, a probability is not in [0, 1], or `first` holds something
            else.

    >>> found = shown_first([1, 1, 1, 0], [1, 1, 2, 2])
    >>> found.first_preferred.value, found.effect.value
    (0.75, 0.25)
    """
    p, order = _probabilities(preferred, "preferred"), np.asarray(first, dtype=float)
    if len(p) != len(order):
        raise LuceError(f"shown_first: {len(p)} verdicts and {len(order)} orders. Give one each.")
    if strange := set(order[~np.isnan(order)].tolist()) - {1.0, 2.0}:
        raise LuceError(
            f"shown_first: {strange.pop():g} stood first. Say 1 for the first response of the "
            "pair, 2 for the second, nan where it is not known."
        )
    known = ~(np.isnan(p) | np.isnan(order))
    p, a_first = p[known], order[known] == 1
    numbers = prompt_numbers(prompts, len(known))[known]
    columns = [a_first, p * a_first, ~a_first, (1 - p) * ~a_first]
    sums = sums_by_prompt(columns, numbers)

    def balanced(sums: np.ndarray) -> np.ndarray:
        return (ratio(sums[1], sums[0]) + ratio(sums[3], sums[2])) / 2

    def counted(sums: np.ndarray) -> np.ndarray:
        return ratio(sums[1] + sums[3], sums[0] + sums[2])

    missing = "No pair has both a verdict and a known order."
    unbalanced = (
        "The same response of every pair stood first; its place cannot be told from its quality."
    )
    why = unbalanced if len(p) else missing
    asked = [
        Statistic(sums, counted, lambda found: measure(share(found), missing)),
        Statistic(sums, balanced, lambda found: measure(_effect(found), why)),
    ]
    share_first, effect = measured(asked, seed=seed, resamples=resamples)
    no_flips = Measure(
        Estimate(np.nan, np.nan, np.nan, share_first.estimate.n),
        "Each pair was shown in one order.",
    )
    return Position(len(p), len(known) - len(p), no_flips, 0, 0, share_first, effect)


def _effect(found: Estimate) -> Estimate:
    """A share less ½."""
    known = share(found)
    return Estimate(known.value - 0.5, known.low - 0.5, known.high - 0.5, known.n)


def _probabilities(values: Sequence[float | int] | np.ndarray, name: str) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if (wrong := found[(found < 0) | (found > 1)]).size:
        raise LuceError(
            f"{name}: {wrong[0]:g} is no probability. Give P(the first response of the pair is "
            "preferred) in [0, 1], nan where there is no verdict."
        )
    return found
