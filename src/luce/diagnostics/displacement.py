"""Likelihood displacement: what the growth of a margin is made of.

A margin loss sees log π(chosen) − log π(rejected) alone. The difference may grow while both fall,
and then probability has gone to responses that nobody judged (Pal et al., 2024, arXiv:2402.13228;
Razin et al., 2024, arXiv:2410.08847).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import Estimate, bootstrap_all

TOO_MUCH = 0.5
"""Nats a token by which the preferred response may fall: each of its tokens is then 0.6 times as
likely as it was. Runs whose samples get better lose a tenth or two."""


@dataclass(frozen=True)
class Displacement:
    """How log-probabilities moved on pairs that training did not see.

    Attributes:
        n: pairs with a preference.
        chosen, rejected: mean change of log π of the preferred and of the other response, nats.
        chosen_per_token, rejected_per_token: the same per token.
        from_chosen: the share of the margin's growth that came from raising the preferred one: 1 −
            the share that came from lowering the other. Below 0 where the preferred one fell.
        both_fell: share of pairs in which both fell.
        mass: mean change of log(π(chosen) + π(rejected)), nats: below 0, probability has left both.
    """

    n: int
    chosen: Estimate
    rejected: Estimate
    chosen_per_token: Estimate
    rejected_per_token: Estimate
    from_chosen: Estimate
    both_fell: Estimate
    mass: Estimate

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"n": self.n}
        for name in (
            "chosen",
            "rejected",
            "chosen_per_token",
            "rejected_per_token",
            "from_chosen",
            "both_fell",
            "mass",
        ):
            estimate: Estimate = getattr(self, name)
            found |= estimate.flat(name)
        return found

    @property
    def finding(self) -> Finding:
        """In words."""
        growth = self.chosen.value - self.rejected.value
        if growth <= 0:
            made = f"The log-probability margin did not grow ({growth:+.2f} nats)"
        elif self.chosen.value <= 0:
            made = f"The log-probability margin grew by {growth:.2f} nats, all from lowering"
        elif self.rejected.value >= 0:
            made = f"The log-probability margin grew by {growth:.2f} nats, all from raising"
        else:
            made = (
                f"The log-probability margin grew by {growth:.2f} nats, "
                f"{100 * self.from_chosen.value:.0f} % of it from raising chosen"
            )
        words = (
            f"{made}: chosen {self.chosen.value:+.2f}, rejected {self.rejected.value:+.2f} nats, "
            f"{self.chosen_per_token.value:+.3f} and {self.rejected_per_token.value:+.3f} a token. "
            f"Both fell in {self.both_fell.percent()} of {self.n} held-out pairs; the "
            f"log-probability of the two together changed by {self.mass.words(2)} nats."
        )
        if self.chosen_per_token.high < -TOO_MUCH:
            return Finding(
                f"Probability has left the data's good responses. {words}",
                True,
                "Lower the learning rate, raise beta, add a likelihood term on the chosen response "
                "(`dpo_nll`, `dpop`), or drop pairs whose responses are nearly the same.",
            )
        return Finding(words)


def displacement(
    before: tuple[Sequence[float | int], Sequence[float | int]],
    after: tuple[Sequence[float | int], Sequence[float | int]],
    tokens: tuple[Sequence[int], Sequence[int]],
    labels: Sequence[float | int] | None = None,
    prompts: Sequence[Hashable] | None = None,
) -> Displacement | None:
    """How chosen and rejected moved; None where no pair has a preference.

    Args:
        before, after: log π(y|x) of the chosen and of the rejected responses, nats.
        tokens: their lengths, ≥ 1.
        labels: P(chosen is preferred); below ½ the rejected one is the preferred, at ½ neither.
        prompts: whose prompt each pair is, for the intervals; None: each its own.

    Raises:
        LuceError: lists of different lengths.

    >>> found = displacement(([-2.0], [-2.0]), ([-1.0], [-5.0]), ([2], [3]))
    >>> found.chosen.value, found.rejected_per_token.value, found.from_chosen.value
    (1.0, -1.0, 0.25)
    """
    columns = [np.asarray(side, float) for pair in (before, after, tokens) for side in pair]
    n = len(columns[0])
    p = np.ones(n) if labels is None else np.asarray(labels, float)
    if any(len(column) != n for column in (*columns, p)):
        raise LuceError(
            f"displacement: lists of {[len(c) for c in (*columns, p)]} entries; one each is wanted."
        )
    told = p != 0.5
    if not told.any():
        return None
    swap = (p < 0.5)[told]
    a0, b0, a1, b1, ta, tb = (column[told] for column in columns)
    chosen, rejected = np.where(swap, b1 - b0, a1 - a0), np.where(swap, a1 - a0, b1 - b0)
    long, short = np.where(swap, tb, ta), np.where(swap, ta, tb)
    mass = np.logaddexp(a1, b1) - np.logaddexp(a0, b0)
    fell = (chosen < 0) & (rejected < 0)

    def values(rows: np.ndarray) -> np.ndarray:
        up, down = chosen[rows].mean(), rejected[rows].mean()
        growth = up - down
        return np.array(
            [
                up,
                down,
                (chosen[rows] / long[rows]).mean(),
                (rejected[rows] / short[rows]).mean(),
                up / growth if growth > 0 else math.nan,
                fell[rows].mean(),
                mass[rows].mean(),
            ]
        )

    drawn = None if prompts is None else [k for k, one in zip(prompts, told, strict=True) if one]
    found = bootstrap_all(values, int(told.sum()), drawn, resamples=1000)
    return Displacement(int(told.sum()), *found)
