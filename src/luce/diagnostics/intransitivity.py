"""Can any scalar reward explain these votes? Cycles, Bradley-Terry misfit, and a verdict in words.

An item is what would have one reward. Name the models to ask of a reward for each model; name each
response (prompt and model together) to ask of a reward for each response.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from luce.annotate.votes import Vote
from luce.diagnostics.misfit import (
    Misfit,
    bradley_terry_misfit,
    counted,
    distance_words,
    p_words,
    test_words,
)
from luce.diagnostics.triads import Triads, triads_over_all_votes, triads_within_prompts
from luce.diagnostics.trials import Trials, fitted_probabilities, trials_of
from luce.errors import LuceError
from luce.intervals import RESAMPLES

Verdict: TypeAlias = Literal["adequate", "not adequate", "cannot be told"]

MOST_ITEMS = 400
"""Items beyond which the misfit test takes too long."""


@dataclass(frozen=True)
class Intransitivity:
    """What the votes say of a scalar reward.

    Attributes:
        verdict: "adequate", "not adequate" or "cannot be told".
        sentence: the verdict in words, with its numbers.
        within_prompts: triads of items judged on one prompt; None where there are none.
        over_all_votes: triads by the majority over all prompts; None where there are none.
        misfit: the test of Bradley-Terry.
        notes: what else the numbers say, in sentences.
    """

    verdict: Verdict
    sentence: str
    within_prompts: Triads | None
    over_all_votes: Triads | None
    misfit: Misfit
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON; None for what is not finite."""
        within, over = self.within_prompts, self.over_all_votes
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "within_prompts": within.plain() if within else None,
            "over_all_votes": over.plain() if over else None,
            "misfit": self.misfit.plain(),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """What a terminal shows: the verdict first."""
        said = [self.sentence, *self.notes]
        for triads in (self.within_prompts, self.over_all_votes):
            said += triads.lines() if triads else []
        return said + self.misfit.lines()


def intransitivity(
    votes: Sequence[Vote],
    *,
    margin: float = 0.05,
    level: float = 0.05,
    seed: int = 0,
    resamples: int = RESAMPLES,
    simulations: int = 1000,
) -> Intransitivity:
    """Whether a scalar reward for each item is adequate for these votes.

    - "not adequate": Bradley-Terry is refuted by the likelihood-ratio test, or more than a quarter
      of the triads within prompts are cyclic, at `level` for both together (Bonferroni). A quarter
      is the most that a reward with independent noise can give, whatever its link: if a ≻ b with
      P = p ≥ ½ and b ≻ c with q ≥ ½, then a ≻ c with at least max(p, q), and a cycle has at most
      p (1 − p) for p the larger.
    - "adequate": the pairs' probabilities are within `margin` of Bradley-Terry's (root mean square,
      upper 97.5 % limit), even if the misfit that is left is beyond doubt.
    - "cannot be told": neither.

    Args:
        votes: of weight 1. Several votes of a prompt on a pair count as one (their mean): they
            share the prompt's accidents. Votes without a prompt are independent.
        margin: distance in probability that does not matter.
        level: of the tests.
        seed, resamples, simulations: of the intervals and of the null models; at least 2 / level
            simulations.

    Raises:
        LuceError: a vote that says nothing or is weighted, more than `MOST_ITEMS` items, or more
            triads than can be counted.

    >>> game = [("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")]
    >>> votes = [Vote(a, b, 1.0 if i % 5 else 0.0) for a, b in game for i in range(200)]
    >>> intransitivity(votes, resamples=20, simulations=40).verdict
    'not adequate'
    >>> intransitivity(votes[:6], resamples=20, simulations=40).verdict
    'cannot be told'
    """
    for name, value in (("margin", margin), ("level", level)):
        if not 0 < value < 1:
            raise LuceError(f"{name} is {value}; give a number between 0 and 1.")
    if simulations < 2 / level:
        raise LuceError(
            f"{simulations} simulations cannot show what happens once in {2 / level:.0f} times. "
            "Give at least that many (1000, say)."
        )
    trials = trials_of(votes)
    if len(trials.names) > MOST_ITEMS:
        raise LuceError(
            f"{len(trials.names):,} items are more than {MOST_ITEMS}. Name the items by who wrote "
            "them (the model) rather than by what they say, or take a part of the votes."
        )
    fitted = fitted_probabilities(trials.wins())
    ways = {"seed": seed, "simulations": simulations}
    within = triads_within_prompts(trials, fitted, resamples=resamples, **ways)
    over = triads_over_all_votes(trials, fitted, resamples=resamples, **ways)
    misfit = bradley_terry_misfit(trials, **ways)
    verdict, sentence = _verdict(trials, within, misfit, margin, level)
    return Intransitivity(verdict, sentence, within, over, misfit, tuple(_notes(within, misfit)))


def _verdict(
    trials: Trials, within: Triads | None, misfit: Misfit, margin: float, level: float
) -> tuple[Verdict, str]:
    votes = (
        f"{counted(trials.votes, 'vote')} on {counted(len(misfit.pairs), 'pair')} of "
        f"{counted(misfit.items, 'item')}"
    )
    tests = [
        p for p in (misfit.p_value, within.coin.p_more if within else math.nan) if not math.isnan(p)
    ]
    each = level / max(1, len(tests))
    if within and within.coin.p_more < each:
        share = within.share
        return "not adequate", (
            f"A scalar reward is not adequate: {100 * share.value:.1f} % of triads within prompts "
            f"are cyclic ({100 * share.low:.1f} to {100 * share.high:.1f}; {within.cyclic:,} of "
            f"{within.cyclic + within.transitive:,}), more than the quarter that any scalar "
            f"with independent noise can make ({p_words(within.coin.p_more)}); {votes}."
        )
    if misfit.degrees == 0:
        return "cannot be told", (
            f"Whether a scalar reward is adequate cannot be told from {votes}: the pairs "
            "close no loop, so that some scalar fits any votes on them."
        )
    test = test_words(misfit)
    distance = misfit.distance
    if distance.high <= margin:
        if misfit.p_value < each:
            test = f"a small misfit that is no accident, {test}"
        return "adequate", (
            f"A scalar reward is adequate: Bradley-Terry is off by at most {distance.high:.3f} in "
            f"probability (root mean square; margin {margin:g}), {test}; {votes}."
        )
    if misfit.p_value < each:
        worst = misfit.pairs[0]
        return "not adequate", (
            f"A scalar reward is not adequate: the best Bradley-Terry fit is off by "
            f"{distance_words(distance)} in probability (root mean square), {test}; {votes}. "
            f"Worst: {worst.a} over {worst.b} with P = {worst.seen:.2f}, fitted {worst.fitted:.2f}."
        )
    reach = (
        f"they have fewer than 10 votes each, and the fit may be off by {distance.low:.2f} or more"
        if math.isnan(distance.high)
        else f"the fit may be off by {distance.low:.2f} to {distance.high:.2f} in probability"
    )
    return "cannot be told", (
        f"Whether a scalar reward is adequate cannot be told from {votes}: {reach} "
        f"(margin {margin:g}), {test}."
    )


def _notes(within: Triads | None, misfit: Misfit) -> list[str]:
    notes = []
    if misfit.trials < misfit.votes:
        notes.append(
            f"{misfit.votes:,} votes count as {misfit.trials:,}: those of one prompt on one pair "
            "are one."
        )
    if within and within.cyclic + within.transitive:
        null = within.bradley_terry
        seen, expected = 100 * within.share.value, 100 * null.share.value
        if null.p_more < 0.025:
            notes.append(
                f"More triads within prompts are cyclic ({seen:.2f} %) than the noise round one "
                f"strength for each item makes ({expected:.2f} %): strengths are closer within a "
                "prompt than over all, or the judgement goes round."
            )
        elif null.p_fewer < 0.025:
            notes.append(
                f"Fewer triads within prompts are cyclic ({seen:.2f} %) than the noise round one "
                f"strength for each item makes ({expected:.2f} %): the votes of a prompt follow an "
                "order of their own, which a reward for each response can have."
            )
    return notes
