"""Selectors: which pairs, or which list, the judged samples of a prompt give to learn from.

A selector is asked for one prompt at a time, and gives nothing where the samples tell nothing: all
of them equal, or fewer than two left. Why is counted. Chance comes from the caller's generator, so
that the same seed gives the same rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float

from luce.errors import LuceError
from luce.models.tabular import acceptance


@dataclass(frozen=True)
class Candidates:
    """The n ≥ 2 samples of one prompt as they were judged.

    Attributes:
        rewards: one each, in the annotator's unit; of an annotator that only compares, the mean
            probability of beating the others (Borda score).
        lengths: tokens.
        beats: P(i ≻ j), nan where it was not asked; None where the rewards are all there is.
        members: rewards by each member of an ensemble; None where there is none.
        widths: how little is known of each one's difference from the first, ‖Δφ‖ in Σ⁻¹
            (`luce.online.explore`); None where no selector asks.
        rivals: which are an opponent's; None where all are the policy's own.
    """

    rewards: Float[np.ndarray, " n"]
    lengths: Float[np.ndarray, " n"]
    beats: Float[np.ndarray, "n n"] | None = None
    members: Float[np.ndarray, "members n"] | None = None
    widths: Float[np.ndarray, " n"] | None = None
    rivals: Bool[np.ndarray, " n"] | None = None

    def known(self, i: int, j: int) -> bool:
        """Whether anybody said which of the two is better."""
        return self.beats is None or not bool(np.isnan(self.beats[i, j]))

    def margin(self, i: int, j: int) -> float:
        """How far i is ahead of j, in units of the rewards."""
        return float(self.rewards[i] - self.rewards[j])


@dataclass(frozen=True)
class Pair:
    """Two samples by number, the better one first; `weight` is how much the pair counts."""

    better: int
    worse: int
    weight: float = 1.0


@dataclass(frozen=True)
class Listing:
    """All samples of a prompt, in the order of `rewards`."""


@dataclass(frozen=True)
class Nothing:
    """No row, and why: a word for the ledger."""

    reason: str


Chosen: TypeAlias = Pair | Listing | Nothing


@dataclass(frozen=True)
class Terms:
    """What selectors may be told.

    Attributes:
        length_penalty: reward that a token costs, for `length_penalized`.
        acceptance_beta: β > 0 of the optimal policy exp(r/β) that `rejection` samples, in the unit
            of the rewards.
        optimism: reward that a unit of width is worth, for `optimism`.
    """

    length_penalty: float = 0.0
    acceptance_beta: float = 1.0
    optimism: float = 1.0


Selector: TypeAlias = Callable[[Candidates, Terms, np.random.Generator], Chosen]


def best_vs_worst(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The highest reward against the lowest; of equal ones any (Dong et al., 2024,
    arXiv:2405.07863, section 3.2)."""
    return _ahead(found.rewards, rng)


def best_vs_random(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The highest reward against any other; nothing where the other is as good."""
    best = _one_of(found.rewards == found.rewards.max(), rng)
    other = int(rng.choice([i for i in range(len(found.rewards)) if i != best]))
    return _ordered(found, best, other)


def random_pair(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """Any two, of those that were compared where not all were: what a plain iteration of on-policy
    pairs has."""
    n = len(found.rewards)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if found.known(i, j)]
    first, second = pairs[int(rng.integers(len(pairs)))]
    return _ordered(found, first, second)


def across(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """A sample of the policy against one of its opponent's, any two that were compared: the duels
    of Nash-MD and IPO-MD (Munos et al., 2023, arXiv:2312.00886; Calandriello et al., 2024,
    arXiv:2403.08635)."""
    if found.rivals is None:
        raise LuceError("select: across sets the policy against an opponent. Set `opponent`.")
    pairs = [
        (int(i), int(j))
        for i in np.flatnonzero(~found.rivals)
        for j in np.flatnonzero(found.rivals)
        if found.known(int(i), int(j))
    ]
    if not pairs:
        return Nothing("no_opponent")  # every sample of one side was left out
    first, second = pairs[int(rng.integers(len(pairs)))]
    return _ordered(found, first, second)


def best_vs_second(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The highest reward against the highest of those below it: the hardest pair with the best."""
    below = found.rewards < found.rewards.max()
    if not below.any():
        return Nothing("tie")
    second = found.rewards == found.rewards[below].max()
    return Pair(_one_of(~below, rng), _one_of(second, rng))


def length_penalized(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """Best against worst by reward less a price on every token (Dong et al., 2024, section 4)."""
    return _ahead(found.rewards - terms.length_penalty * found.lengths, rng)


def tournament(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The most wins over the others against the fewest: by P(i ≻ j) where it was asked, else by
    who has the higher reward."""
    if found.beats is None:
        wins = np.sign(found.rewards[:, None] - found.rewards[None, :]).sum(1)
    else:
        wins = np.nansum(np.where(np.eye(len(found.rewards)) == 1, np.nan, found.beats - 0.5), 1)
    return _ahead(wins, rng)


def margin_weighted(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """Best against worst, counting as much as the two are apart."""
    chosen = _ahead(found.rewards, rng)
    if not isinstance(chosen, Pair):
        return chosen
    return Pair(chosen.better, chosen.worse, found.margin(chosen.better, chosen.worse))


def listwise(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """All samples, for objectives that learn from rankings."""
    return Nothing("tie") if np.ptp(found.rewards) == 0 else Listing()


def rejection(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """Two of the samples that statistical rejection sampling keeps: each with probability
    exp((r − max r)/β), so that the kept ones are distributed as the optimal policy's (Liu et al.,
    2024, arXiv:2309.06657, Algorithm 1; exact as n grows, since max r is that of the samples)."""
    kept = acceptance(torch.from_numpy(found.rewards), terms.acceptance_beta).numpy()
    there = np.flatnonzero(rng.random(len(kept)) < kept)
    if len(there) < 2:
        return Nothing("rejected")
    first, second = rng.choice(there, size=2, replace=False)
    return _ordered(found, int(first), int(second))


def widest(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The pair on whose difference the members of an ensemble disagree most: where one more label
    tells most. Of equal ones any; the mean reward says which is better."""
    if found.members is None:
        raise LuceError(
            "select: widest asks where the members of an ensemble disagree, and the annotator is "
            "none. Train one with `model.ensemble`, or choose best_vs_worst."
        )
    apart = found.members[:, :, None] - found.members[:, None, :]
    spread = np.triu(apart.std(0), k=1)
    if spread.max() == 0:
        return Nothing("tie")
    rows, columns = np.nonzero(spread == spread.max())
    at = int(rng.integers(len(rows)))
    return _ordered(found, int(rows[at]), int(columns[at]))


def enhancer(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The first sample against the one of whose difference from it least is known: the enhancer of
    Xiong et al. (2024, arXiv:2312.11456, Algorithm 1), which explores for the main agent."""
    return _ordered(found, 0, most_unknown(_widths(found)))


def optimism(found: Candidates, terms: Terms, rng: np.random.Generator) -> Chosen:
    """The first sample against the one with the highest reward + c · width."""
    hopes = found.rewards + terms.optimism * _widths(found)
    return _ordered(found, 0, 1 + int(hopes[1:].argmax()))


def most_unknown(widths: Float[np.ndarray, " n"]) -> int:
    """The sample whose difference from the first is the widest; of equal ones the first."""
    return 1 + int(widths[1:].argmax())


def _widths(found: Candidates) -> np.ndarray:
    if found.widths is None:
        raise LuceError(
            "select: enhancer and optimism measure how little is known of a difference by the "
            "last-layer features of a reward model. Name one: `online.features`."
        )
    return found.widths


def _ahead(values: np.ndarray, rng: np.random.Generator) -> Chosen:
    if np.ptp(values) == 0:
        return Nothing("tie")
    return Pair(_one_of(values == values.max(), rng), _one_of(values == values.min(), rng))


def _ordered(found: Candidates, first: int, second: int) -> Chosen:
    p = 0.5 if found.beats is None else float(found.beats[first, second])
    margin = found.margin(first, second) if found.beats is None or np.isnan(p) else p - 0.5
    if margin == 0:
        return Nothing("tie")
    return Pair(first, second) if margin > 0 else Pair(second, first)


def _one_of(which: np.ndarray, rng: np.random.Generator) -> int:
    """The number of one of the True entries, any of them."""
    return int(rng.choice(np.flatnonzero(which)))


SELECTORS: Mapping[str, Selector] = {
    "best_vs_worst": best_vs_worst,
    "best_vs_random": best_vs_random,
    "random_pair": random_pair,
    "best_vs_second": best_vs_second,
    "length_penalized": length_penalized,
    "tournament": tournament,
    "margin_weighted": margin_weighted,
    "listwise": listwise,
    "rejection": rejection,
    "widest": widest,
    "enhancer": enhancer,
    "optimism": optimism,
    "across": across,
}
