"""Evaluators with known tastes and hands on the built-in world, and what they do, exactly.

An evaluator has a taste, what he makes of a response, and a hand: normal noise before the score of
1 to 5 is given. So the distribution of every score is known, and with it every correlation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.annotate import (
    length_biased,
    luce_choice,
    noisy,
    opinions,
    position_biased,
    two_tastes,
)
from luce.data.worlds.gold import words
from luce.data.worlds.tasks import Habits, Tasks, demonstrate, gold, taste
from luce.types import Annotator, Comparison

RESPONSES = 600
"""In the pool that items are drawn from."""
SCALE = torch.arange(1, 6, dtype=torch.float64)
CUTS = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
"""Where one score ends and the next begins, on a taste from 0 to 1."""
PARTS = ("helpfulness", "correctness", "politeness", "conciseness", "verbosity")
"""Dimensions of a response, each from 0 to 1; helpfulness is the gold reward over 2."""


@dataclass(frozen=True)
class Evaluator:
    """Who scores from 1 to 5.

    Attributes:
        helpful: weights of `PARTS` in what he takes for helpful.
        concise: likewise for concise.
        hand: sd of the noise, on the scale of the taste.
    """

    helpful: tuple[float, float, float, float, float]
    concise: tuple[float, float, float, float, float]
    hand: float


EVALUATORS = {
    "careful": Evaluator((1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0), 0.1),
    "strict": Evaluator((0.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0), 0.1),
    "warm": Evaluator((0.0, 0.1, 0.9, 0.0, 0.0), (0.0, 0.0, 0.0, 0.8, 0.0), 0.1),
    "likes long": Evaluator((0.0, 0.5, 0.0, 0.0, 0.6), (0.0, 0.0, 0.3, 0.4, 0.3), 0.15),
    "hasty": Evaluator((1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0), 0.45),
}
"""Tastes and hands."""


@dataclass(frozen=True)
class Pool:
    """Responses of imperfect demonstrators.

    Attributes:
        parts: each response in every dimension of `PARTS`.
        pairs: comparisons of two demonstrators' responses to the same prompt.
    """

    parts: Float[Tensor, "responses 5"] = field(repr=False)
    pairs: tuple[Comparison, ...] = field(repr=False)


@cache
def pool() -> Pool:
    """The same for every seed: seeds draw from it."""
    prompts = Tasks(0).prompts(RESPONSES)
    texts = demonstrate(prompts, Habits(), 0)
    others = demonstrate(prompts, Habits(), 1)
    rows = []
    for prompt, text in zip(prompts, texts, strict=True):
        found = gold(prompt, text)
        long = min(1.0, len(words(text)) / 30)
        rows.append((found.total / 2, found.correct, found.polite, found.concise, long))
    pairs = (Comparison(*row) for row in zip(prompts, texts, others, strict=True))
    return Pool(torch.tensor(rows, dtype=torch.float64), tuple(pairs))


def chances(
    weights: Sequence[float], hand: float, parts: Float[Tensor, "items 5"]
) -> Float[Tensor, "items 5"]:
    """P(score = 1 … 5) of every item."""
    liked = parts @ torch.tensor(list(weights), dtype=torch.float64)
    below = torch.special.ndtr((CUTS - liked.unsqueeze(1)) / hand)
    edges = torch.cat([torch.zeros_like(below[:, :1]), below, torch.ones_like(below[:, :1])], 1)
    return edges.diff(dim=1)


def scores(
    chance: Float[Tensor, "responses 5"], items: Int[Tensor, " items"], generator: torch.Generator
) -> Float[Tensor, " items"]:
    """A score of each of these items, given by the numbers of their responses."""
    return SCALE[torch.multinomial(chance[items], 1, generator=generator).squeeze(1)]


def correlation(
    first: Float[Tensor, "items 5"], second: Float[Tensor, "items 5"], ranks: bool = False
) -> float:
    """Pearson's r of two scores of one item with independent noise, items drawn alike; of their
    ranks (Spearman's, equal scores at their average rank) if asked. Exact."""
    both = first.T @ second / len(first)
    x, y = (_ranked(m) if ranks else SCALE for m in (both.sum(1), both.sum(0)))
    x, y = x - both.sum(1) @ x, y - both.sum(0) @ y
    common = x @ both @ y
    return (common / ((both.sum(1) @ x**2) * (both.sum(0) @ y**2)).sqrt()).item()


def _ranked(share: Float[Tensor, " scale"]) -> Float[Tensor, " scale"]:
    """P(X < x) + ½ P(X = x)."""
    return share.cumsum(0) - share / 2


def voters() -> dict[str, Annotator]:
    """Annotators of pairs, each with one known bias."""
    good = luce_choice(taste(), 0.3)
    polite = taste(correct=0.0, concise=0.0, polite=2.0)
    return {
        "gold": good,
        "likes long": length_biased(good, 0.15),
        "likes the first": position_biased(good, 1.5),
        "flips 1 in 5": noisy(good, 0.2),
        "polite": luce_choice(polite, 0.3),
        "two tastes": two_tastes(taste(), polite, 0.5, 0.3),
    }


@cache
def votes() -> dict[str, np.ndarray]:
    """P(a ≻ b) of every pair of the pool, of each voter."""
    pairs = pool().pairs
    return {name: np.array(opinions(voter, pairs)) for name, voter in voters().items()}


def agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Share of equal hard votes of two who draw independently, and Cohen's kappa. Exact."""
    same = float((first * second + (1 - first) * (1 - second)).mean())
    a, b = float(first.mean()), float(second.mean())
    chance = a * b + (1 - a) * (1 - b)
    return same, (same - chance) / (1 - chance)
