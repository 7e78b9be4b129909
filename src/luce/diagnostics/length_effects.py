"""What a token is worth to a model of preferences, and whether it has learned more than length."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.diagnostics.finding import Finding
from luce.errors import LuceError
from luce.intervals import Estimate, bootstrap_all

MATCHED = 0.1
"""Two responses are as long as each other if the shorter lacks at most this share of the longer."""

FEWEST_MATCHED = 30
"""Matched pairs below which their accuracy says nothing."""

REPEATS = 0.2
"""Share of repeated runs of tokens from which on responses go round in circles; text has a few
hundredths."""


@dataclass(frozen=True)
class LengthEffects:
    """Margins against lengths on pairs that training did not see.

    Attributes:
        n: pairs; `n_matched` of them are matched in length and have a preference.
        slope: margin per token by which the chosen response is longer, least squares through 0, in
            the margin's unit per token; nan where all are equally long.
        explained: share of Σ margin² that the slope accounts for.
        accuracy: of the model on pairs with a preference.
        matched: its accuracy on the matched ones; nan without any.
        matched_gain: that less the accuracy of length alone on the same matched pairs.
        rule: accuracy of length alone on the same pairs, in whichever direction is right more often
            in training.
        gain: accuracy − rule.
    """

    n: int
    n_matched: int
    slope: Estimate
    explained: Estimate
    accuracy: Estimate
    matched: Estimate
    matched_gain: Estimate
    rule: Estimate
    gain: Estimate

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {"n": self.n, "n_matched": self.n_matched}
        for name in ("slope", "explained", "accuracy", "matched", "matched_gain", "rule", "gain"):
            estimate: Estimate = getattr(self, name)
            found |= estimate.flat(name)
        return found

    @property
    def finding(self) -> Finding:
        """In words."""
        matched = (
            f"On {self.n_matched} pairs of equal length its accuracy is {self.matched.percent()}"
            if self.n_matched
            else "No pairs are equally long"
        )
        words = (
            f"A token more is worth {self.slope.words(3)} of margin, which explains "
            f"{100 * self.explained.value:.0f} % of the margins. {matched}; on all {self.n} pairs "
            f"{self.accuracy.percent()}, where length alone has {self.rule.percent()}."
        )
        if self._nothing_but_length:
            return Finding(
                f"Nothing but length is seen to have been learned. {words}",
                True,
                "See whether the annotators favor length (`luce data check`); drop or reweight "
                "pairs of very different length, or take a length-regularized objective (`rdpo`).",
            )
        return Finding(words)

    @property
    def _nothing_but_length(self) -> bool:
        matched = self.n_matched >= FEWEST_MATCHED and self.matched_gain.low <= 0
        beaten = self.gain.high < 0
        return self.accuracy.low > 0.5 and (beaten or (matched and self.gain.low <= 0))


def length_effects(
    margins: Sequence[float | int],
    rule: Sequence[float | int],
    chosen: Sequence[int],
    rejected: Sequence[int],
    labels: Sequence[float | int] | None = None,
    prompts: Sequence[Hashable] | None = None,
) -> LengthEffects:
    """What length explains of margins, and what is left at equal length.

    Args:
        margins: z of each pair.
        rule: the margin of length alone on each (`baselines.length_rule`).
        chosen, rejected: lengths, tokens.
        labels: P(chosen is preferred); pairs at ½ count for no accuracy.
        prompts: whose prompt each pair is, for the intervals; None: each its own.

    Raises:
        LuceError: no pair, or lists of different lengths.

    >>> found = length_effects([2.0, -1.0], [1.0, -1.0], [5, 2], [3, 3])
    >>> found.slope.value, found.accuracy.value
    (1.0, 0.5)
    """
    z, by_length = np.asarray(margins, float), np.asarray(rule, float)
    a, b = np.asarray(chosen, float), np.asarray(rejected, float)
    p = np.ones(len(z)) if labels is None else np.asarray(labels, float)
    if not len(z) or not len(z) == len(by_length) == len(a) == len(b) == len(p):
        raise LuceError(
            f"length_effects: {len(z)} margins, {len(by_length)} of the rule, {len(a)} and "
            f"{len(b)} lengths, {len(p)} labels; one each of at least one pair is wanted."
        )
    apart, told = a - b, p != 0.5
    right, ruled = _right(z, p), _right(by_length, p)
    equal = told & (np.abs(apart) <= MATCHED * np.maximum(a, b))

    def values(rows: np.ndarray) -> np.ndarray:
        gaps, zs = apart[rows], z[rows]
        square, whole = float(gaps @ gaps), float(zs @ zs)
        slope = float(zs @ gaps) / square if square > 0 else math.nan
        known, same = rows[told[rows]], rows[equal[rows]]
        ours, theirs = _mean(right[known]), _mean(ruled[known])
        share = slope**2 * square / whole if square > 0 and whole > 0 else math.nan
        level = _mean(right[same])
        more = level - _mean(ruled[same])
        return np.array([slope, share, ours, level, more, theirs, ours - theirs])

    found = bootstrap_all(values, len(z), prompts, resamples=1000)
    return LengthEffects(len(z), int(equal.sum()), *found)


def _right(z: np.ndarray, p: np.ndarray) -> np.ndarray:
    """1 where the sign of a margin agrees with the label, ½ where it is 0."""
    signed = np.sign(z) * np.sign(p - 0.5)
    return (signed + 1) / 2


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def repeats(before: Estimate | None, after: Estimate | None) -> Finding | None:
    """What `samples.mean_repetition` before and after training says; None where not known."""
    if after is None:
        return None
    earlier = "" if before is None else f"; before training it was {before.percent()}"
    words = f"{after.percent()} of the runs of four tokens in a sample stood in it before{earlier}."
    started = 0.0 if before is None else before.value
    if after.low > max(REPEATS, started):
        return Finding(
            f"Responses go round in circles. {words}",
            True,
            "Lower the learning rate or raise beta, and look at the samples.",
        )
    return Finding(words)
