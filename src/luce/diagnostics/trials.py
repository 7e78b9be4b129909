"""Votes as independent trials: one for each pair of items of a prompt."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from luce.annotate.bradley_terry import fit_bradley_terry
from luce.annotate.maximum import pieces
from luce.annotate.votes import Vote, vote_table
from luce.errors import LuceError


@dataclass(frozen=True)
class Trials:
    """What the votes say, each pair of items once for a prompt: several votes of one prompt on one
    pair are not independent, and count as one whose p is their mean.

    Attributes:
        names: the items, in the order in which they appear.
        first, second: numbers of the two items, first < second.
        p: P(first ≻ second); one half is a tie.
        prompt: the number of the prompt, from 0. A vote without a prompt is one of its own.
        votes: how many votes there were.
        prompted: whether any vote names its prompt.
    """

    names: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    p: np.ndarray
    prompt: np.ndarray
    votes: int
    prompted: bool

    @property
    def n(self) -> int:
        """How many trials."""
        return len(self.p)

    def wins(self) -> np.ndarray:
        """wins[i, j]: how often i beat j, a tie half; (items, items)."""
        n = len(self.names)
        found = np.zeros((n, n))
        np.add.at(found, (self.first, self.second), self.p)
        np.add.at(found, (self.second, self.first), 1 - self.p)
        return found


def trials_of(votes: Sequence[Vote]) -> Trials:
    """The votes as trials.

    Raises:
        LuceError: a vote that says nothing (as in `luce.annotate.votes.vote_table`), or one of a
            weight other than 1: diagnostics count votes, and weights say nothing of how many.
    """
    table = vote_table(votes)
    if (table.weight != 1).any():
        number = int(np.flatnonzero(table.weight != 1)[0])
        raise LuceError(
            f"votes[{number}] has the weight {table.weight[number]}, and diagnostics count votes. "
            "Give each vote as often as it was cast."
        )
    swapped = table.a > table.b
    first, second = np.minimum(table.a, table.b), np.maximum(table.a, table.b)
    p = np.where(swapped, 1 - table.p, table.p)
    prompts: Sequence[Hashable] = range(table.n) if table.prompts is None else table.prompts
    numbers: dict[Hashable, int] = {}
    prompt = np.array([numbers.setdefault(one, len(numbers)) for one in prompts])
    keys = np.stack([prompt, first, second])
    found, place = np.unique(keys, axis=1, return_inverse=True)
    place = place.ravel()
    mean = np.bincount(place, p) / np.bincount(place)
    return Trials(
        table.names, found[1], found[2], mean, found[0], table.n, table.prompts is not None
    )


def fitted_probabilities(wins: np.ndarray) -> np.ndarray:
    """P(i ≻ j) of the best Bradley-Terry fit, to simulate from; one half for pairs that were not
    compared, and items that nothing connects are fitted apart.

    The maximum likelihood makes strengths too far apart, infinitely so where the wins have no way
    back (Ford, 1957), and what is drawn from it has too few cycles. Firth's correction (1993) takes
    the bias away to first order: half of each pair's leverage is added to the wins of both sides;
    here each pair has the mean leverage, (items − 1) / pairs.
    """
    games = wins + wins.T
    compared = games > 0
    found = np.full(wins.shape, 0.5)
    for piece in pieces(games):
        inside = np.ix_(piece, piece)
        half = (len(piece) - 1) / max(1, compared[inside].sum())
        theta = fit_bradley_terry(wins[inside] + half * compared[inside]).log_strengths
        found[inside] = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    return np.where(compared, found, 0.5)
