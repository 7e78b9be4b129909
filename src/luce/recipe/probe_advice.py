"""Which learning rate and which β to take, from short runs at several: bounds, reasons, words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from luce.evaluate import mean_by_prompt
from luce.recipe.probe_measure import Measured

KL_PER_STEP = 0.05
"""Nats of KL a response that a step may add, as the mean over the probe. Fifty steps at this pace
are 2.5 nats, the KL of taking the best of 33 samples; a run of 1,000 steps that kept it up would be
50 nats away, where the policies of Gao et al. (2023, arXiv:2210.10760, figure 1) are past the best
of their gold reward."""

CHOSEN_FALL = 0.2
"""Nats a token by which the chosen responses may fall in the probe: each of their tokens is then
0.8 times as likely as before. Runs whose samples get better lose a tenth or two in all their steps,
which are more."""


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes:
        value: None where nothing that was tried will do.
        reason: why, in words.
    """

    value: float | None
    reason: str


def refusal(one: Measured) -> str:
    """Why a setting will not do; "" where it will."""
    if one.failure:
        return one.failure
    before, after = one.loss
    if not after < before:
        return f"the held-out loss did not fall ({before:.4g} → {after:.4g})"
    if one.kl is not None and one.kl.value > KL_PER_STEP * one.steps:
        return f"KL of {one.kl.value / one.steps:.2g} nats a step"
    if one.chosen is not None and one.chosen.value < -CHOSEN_FALL:
        return f"chosen responses fell by {-one.chosen.value:.2g} nats a token"
    return ""


def surely_worse(one: Measured, best: Measured) -> bool:
    """Whether held-out rows are judged (or, of demonstrations, predicted) worse than by the best:
    the 95 % interval of the paired difference lies below 0."""
    if one is best or not one.quality:
        return False
    apart = [a - b for a, b in zip(one.quality, best.quality, strict=True)]
    kept = [(x, p) for x, p in zip(apart, one.prompts, strict=True) if math.isfinite(x)]
    found = mean_by_prompt([x for x, _ in kept], [p for _, p in kept])
    return found.high < 0


def advise_learning_rate(tried: Sequence[Measured]) -> Advice:
    """The largest learning rate that passes the bounds and is not surely worse than the best."""
    fit = [one for one in tried if not refusal(one)]
    if not fit:
        lowest = min(tried, key=lambda one: one.learning_rate)
        return Advice(
            None,
            f"No learning rate of those tried will do; the smallest, {lowest.learning_rate:g}: "
            f"{refusal(lowest)}. Try smaller ones with --learning-rates, or look at the data.",
        )
    best = max(fit, key=_quality)
    kept = [one for one in fit if not surely_worse(one, best)]
    found = max(kept, key=lambda one: one.learning_rate)
    reason = f"{found.learning_rate:g} is the largest learning rate tried {_passed(found)}"
    if found is not best:
        reason += f" (the best is that of {best.learning_rate:g}, {_told_quality(best)})"
    above = [one for one in tried if one.learning_rate > found.learning_rate]
    if above:
        following = min(above, key=lambda one: one.learning_rate)
        why = refusal(following) or f"{_told_quality(following)} is surely worse"
        return Advice(
            found.learning_rate, f"{reason}. {following.learning_rate:g} will not do: {why}."
        )
    return Advice(found.learning_rate, f"{reason}. No larger one was tried.")


def advise_beta(tried: Sequence[Measured], own: float) -> Advice:
    """The β nearest to the recipe's that passes the bounds and is not surely worse than the best.

    A short run shows a β that cannot hold the policy, and one so large that nothing is learned;
    between these it has no evidence, and the recipe's stays.
    """
    fit = [one for one in tried if not refusal(one) and one.beta is not None]
    if not fit:
        return Advice(
            None,
            "No β of those tried will do at this learning rate. Try others with --betas, or a "
            "smaller learning rate.",
        )
    best = max(fit, key=_quality)
    kept = [one for one in fit if not surely_worse(one, best)]
    found = min(kept, key=lambda one: (abs(math.log(_beta(one) / own)), -_beta(one)))
    if math.isclose(_beta(found), own):
        return Advice(
            found.beta,
            f"The recipe's β of {own:g} stays: {_passed(found, 'at it')}, and so short a run tells "
            "no more of β.",
        )
    mine = next((one for one in tried if math.isclose(_beta(one), own)), None)
    why = "it was not tried"
    if mine is not None:
        why = refusal(mine) or f"{_told_quality(mine)} is surely worse than {_told_quality(best)}"
    return Advice(
        found.beta,
        f"{found.beta:g} is the β nearest to the recipe's {own:g} {_passed(found)}. {own:g} will "
        f"not do: {why}.",
    )


def _beta(one: Measured) -> float:
    return one.beta if one.beta is not None else math.nan


def _quality(one: Measured) -> float:
    known = [x for x in one.quality if math.isfinite(x)]
    return math.fsum(known) / len(known) if known else -one.loss[1]


def _told_quality(one: Measured) -> str:
    if one.accuracy is not None:
        return f"held-out accuracy {100 * one.accuracy.value:.1f} %"
    return f"held-out loss {one.loss[1]:.4g}"


def _passed(one: Measured, lead: str = "whose") -> str:
    """The bounds that a setting keeps, with its numbers."""
    parts = []
    if one.kl is not None:
        pace = one.kl.value / one.steps
        parts.append(f"KL stays under {KL_PER_STEP:g} nats a step ({pace:.2g})")
    if one.chosen is not None:
        parts.append(
            f"chosen log-prob falls by no more than {CHOSEN_FALL:g} nats a token "
            f"({one.chosen.value:+.2g})"
        )
    parts.append(f"{_told_quality(one)} is not surely below the best")
    return f"{lead} {'; '.join(parts)}"
