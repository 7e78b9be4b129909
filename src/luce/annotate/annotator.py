"""Simulated annotators: who prefers, how strongly, and with which biases.

An annotator maps comparisons to P(a ≻ b). Each function here returns one: `luce_choice` makes it
of a scorer, the others wrap annotators and change their opinions by a formula. `draw` samples the
hard labels that a data set would hold.
"""

import math
import random
from collections.abc import Sequence

from luce.errors import LuceError
from luce.types import Annotator, BatchScorer, Comparison, Scorer


def luce_choice(scorer: Scorer, temperature: float = 1.0) -> Annotator:
    """P(a ≻ b) = σ((r(a) − r(b)) / τ): chooses by the Luce rule (Bradley-Terry).

    `temperature` τ > 0 is in the unit of the reward; small values choose the better one almost
    surely.
    """
    if not temperature > 0:
        raise LuceError(f"luce_choice: temperature is {temperature}; give a number above 0.")

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        if isinstance(scorer, BatchScorer):
            rewards = scorer.many([(c.prompt, [c.a, c.b]) for c in comparisons])
        else:
            rewards = [scorer(c.prompt, [c.a, c.b]) for c in comparisons]
        return [_sigmoid((a - b) / temperature) for a, b in rewards]

    return annotate


def length_biased(annotator: Annotator, slope: float) -> Annotator:
    """logit P'(a ≻ b) = logit P(a ≻ b) + slope · (|a| − |b|), lengths in words.

    A positive slope likes long responses. An opinion of exactly 0 or 1 stays as it is.
    """

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        return [
            _shifted(p, slope * (len(c.a.split()) - len(c.b.split())))
            for p, c in zip(opinions(annotator, comparisons), comparisons, strict=True)
        ]

    return annotate


def position_biased(annotator: Annotator, bias: float) -> Annotator:
    """logit P'(a ≻ b) = logit P(a ≻ b) + bias: a positive bias likes what stands first.

    An opinion of exactly 0 or 1 stays as it is.
    """

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        return [_shifted(p, bias) for p in opinions(annotator, comparisons)]

    return annotate


def noisy(annotator: Annotator, flip: float) -> Annotator:
    """P'(a ≻ b) = (1 − flip) P(a ≻ b) + flip (1 − P(a ≻ b)): each label is flipped with
    probability `flip` in [0, 1]."""
    if not 0.0 <= flip <= 1.0:
        raise LuceError(f"noisy: flip is {flip}; give a probability in [0, 1].")

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        return [(1 - flip) * p + flip * (1 - p) for p in opinions(annotator, comparisons)]

    return annotate


def mixture(annotators: Sequence[Annotator], weights: Sequence[float]) -> Annotator:
    """P(a ≻ b) = Σ_i w_i P_i(a ≻ b): each comparison goes to one annotator at random, and who it
    was is not kept. The weights are shares: none negative, their sum 1."""
    if len(annotators) != len(weights) or not annotators:
        raise LuceError(
            f"mixture: {len(annotators)} annotators and {len(weights)} weights. "
            "Give one weight for each annotator, and at least one annotator."
        )
    if min(weights) < 0 or not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9):
        raise LuceError(
            f"mixture: the weights {list(weights)} are not shares of a whole. "
            "Give weights that are not negative and sum to 1."
        )

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        asked = [opinions(annotator, comparisons) for annotator in annotators]
        # The sum of shares may exceed 1 by a rounding error, a probability must not.
        return [
            min(1.0, math.fsum(w * p for w, p in zip(weights, ps, strict=True)))
            for ps in zip(*asked, strict=True)
        ]

    return annotate


def two_tastes(
    first: Scorer, second: Scorer, share: float = 0.5, temperature: float = 1.0
) -> Annotator:
    """P(a ≻ b) = share · σ(Δr₁/τ) + (1 − share) · σ(Δr₂/τ): a population of two tastes, of which
    the first is held by `share`. No single reward explains its choices."""
    return mixture(
        [luce_choice(first, temperature), luce_choice(second, temperature)], [share, 1 - share]
    )


def opinions(annotator: Annotator, comparisons: Sequence[Comparison]) -> list[float]:
    """The annotator's P(a ≻ b) of each comparison, checked: one each, all in [0, 1]."""
    probabilities = [float(p) for p in annotator(comparisons)]
    if len(probabilities) != len(comparisons):
        raise LuceError(
            f"An annotator gave {len(probabilities)} opinions on {len(comparisons)} comparisons. "
            "It must return one probability for each."
        )
    for number, p in enumerate(probabilities):
        if not 0.0 <= p <= 1.0:
            raise LuceError(
                f"An annotator gave {p} on comparison {number}. An opinion is the probability in "
                "[0, 1] that `a` is preferred."
            )
    return probabilities


def draw(annotator: Annotator, comparisons: Sequence[Comparison], seed: int) -> list[bool]:
    """Hard labels: True where `a` was preferred, drawn with P(a ≻ b), one draw a comparison."""
    rng = random.Random(seed)
    return [rng.random() < p for p in opinions(annotator, comparisons)]


def _sigmoid(x: float) -> float:
    # exp of a number above 0 may overflow; each branch takes it of one below
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _shifted(p: float, by: float) -> float:
    """σ(logit p + by)."""
    return p if p in (0.0, 1.0) else _sigmoid(math.log(p) - math.log1p(-p) + by)
