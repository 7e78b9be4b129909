"""Strengths from rankings of two and more: the Plackett-Luce model."""

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from luce.annotate.bradley_terry import Fit
from luce.annotate.maximum import groups, newton, require_finite_maximum
from luce.annotate.strengths import Rows, Strengths, estimated
from luce.annotate.votes import units
from luce.errors import LuceError
from luce.intervals import RESAMPLES


@dataclass(frozen=True)
class PartialRanking:
    """Some items in order, of which the tail may be left unordered.

    Attributes:
        ordered: names, best first, without ties.
        rest: names that were there too and are all worse than those, in no order (a top-k list).
        prompt: what was ranked, the independent unit of an interval; None: the ranking is its own.
        weight: how often it counts, > 0.
    """

    ordered: tuple[str, ...]
    rest: tuple[str, ...] = ()
    prompt: Hashable | None = None
    weight: float | int = 1.0


def ranking_from_scores(
    scores: Mapping[str, float | int],
    prompt: Hashable | None = None,
    ties: random.Random | None = None,
) -> PartialRanking:
    """The ranking by falling score.

    Args:
        ties: puts items of equal score in random order, each order equally likely; None: equal
            scores are refused, since the model has no ties.

    Raises:
        LuceError: equal scores without `ties`, or a score that is not finite.

    >>> ranking_from_scores({"a": 0.1, "b": 0.7}).ordered
    ('b', 'a')
    """
    for name, score in scores.items():
        if not math.isfinite(score):
            raise LuceError(f"{name} has the score {score}; leave it out of the ranking.")
    names = list(scores)
    if ties is not None:
        ties.shuffle(names)  # the sort is stable: equal scores keep this order
    names.sort(key=lambda name: -scores[name])
    for first, second in zip(names, names[1:], strict=False):
        if ties is None and scores[first] == scores[second]:
            raise LuceError(
                f"{first} and {second} both have the score {scores[first]}, and Plackett-Luce has "
                "no ties. Give `ties=random.Random(seed)` to break them at random, or compare "
                "them in pairs (`bradley_terry` takes ties)."
            )
    return PartialRanking(tuple(names), prompt=prompt)


def plackett_luce(
    rankings: Sequence[PartialRanking],
    *,
    prior_sd: float | int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Strengths:
    """Strengths π such that the best of a set C is i with probability π_i / Σ_{j ∈ C} π_j, the next
    one the best of those left, and so on (Luce, 1959; Plackett, 1975); by maximum likelihood.

    Rankings of two are votes, and the result is then that of `bradley_terry`.

    Args:
        rankings: each of at least two items; they need not be the same ones.
        prior_sd, resamples, seed: as in `bradley_terry`.

    Raises:
        LuceError: an item twice in one ranking, a ranking of fewer than two, a weight that is not
            above 0, or, without a prior, a maximum that is not finite: the graph with an edge from
            each item to those it was put before is not strongly connected (Hunter, 2004,
            assumption 1).

    >>> ranks = [("a", "b", "c"), ("b", "a", "c"), ("a", "c", "b"), ("c", "a", "b")]
    >>> found = plackett_luce([PartialRanking(names) for names in ranks], resamples=0)
    >>> found.items[0].name
    'a'
    """
    stages = _stages(rankings)
    if prior_sd is not None and not 0 < prior_sd < math.inf:
        raise LuceError(f"prior_sd is {prior_sd}; give a number of nats above 0, or None.")
    sd = None if prior_sd is None else float(prior_sd)
    if sd is None:
        require_finite_maximum(stages.before(stages.weight), stages.names, "Plackett-Luce")

    def fit(drawn: np.ndarray | None, start: Fit | None) -> Fit | None:
        weight = stages.weight
        if drawn is not None:
            weight = weight * np.bincount(drawn, minlength=len(rankings))[stages.ranking]
        if sd is None and len(groups(stages.before(weight))) > 1:
            return None
        return _fit(stages, weight, sd, start.log_strengths if start else None)

    # the first stage of a ranking offers all its items
    first = np.flatnonzero(np.diff(stages.ranking, prepend=-1))
    rows = Rows(
        kind="rankings",
        n=len(rankings),
        names=stages.names,
        points=np.bincount(stages.chosen[first], stages.weight[first], len(stages.names)),
        taken=stages.weight[first] @ stages.offered[first],
        prompts=units([ranking.prompt for ranking in rankings]),
        groups=groups(stages.before(stages.weight)),
    )
    return estimated("Plackett-Luce", rows, fit, prior_sd=sd, resamples=resamples, seed=seed)


@dataclass(frozen=True)
class _Stages:
    """Each choice of a best one: of which ranking, who was chosen, and from whom.

    Attributes:
        names: the items, in the order in which they appear.
        ranking, chosen, weight: one entry a stage.
        offered: (stages, items), 1.0 for each item that was there to choose, else 0.0.
    """

    names: tuple[str, ...]
    ranking: np.ndarray
    chosen: np.ndarray
    weight: np.ndarray
    offered: np.ndarray

    def before(self, weight: np.ndarray) -> np.ndarray:
        """before[i, j]: the weight with which i was chosen while j was there; (items, items)."""
        n, stages = len(self.names), len(self.chosen)
        chosen = csr_array((weight, (self.chosen, np.arange(stages))), shape=(n, stages))
        found = np.asarray(chosen @ self.offered)
        np.fill_diagonal(found, 0.0)
        return found


def _stages(rankings: Sequence[PartialRanking]) -> _Stages:
    if not rankings:
        raise LuceError("There are no rankings. Give at least one of two items or more.")
    numbers: dict[str, int] = {}
    ranking, chosen, weight, there = [], [], [], []
    for number, one in enumerate(rankings):
        names = one.ordered + one.rest
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise LuceError(f"rankings[{number}] holds {twice!r} twice; name each item once.")
        if not one.ordered or len(names) < 2:
            raise LuceError(
                f"rankings[{number}] puts {len(one.ordered)} of {len(names)} items in order; it "
                "takes a best one and another to say something. Leave it out."
            )
        if not 0 < one.weight < math.inf:
            raise LuceError(f"rankings[{number}] has the weight {one.weight}; give one above 0.")
        items = [numbers.setdefault(name, len(numbers)) for name in names]
        for place in range(min(len(one.ordered), len(names) - 1)):
            there.append(items[place:])
            ranking.append(number)
            chosen.append(items[place])
            weight.append(float(one.weight))
    offered = np.zeros((len(there), len(numbers)))
    for row, items in zip(offered, there, strict=True):
        row[items] = 1.0
    return _Stages(tuple(numbers), np.array(ranking), np.array(chosen), np.array(weight), offered)


def _fit(
    stages: _Stages, weight: np.ndarray, prior_sd: float | None, start: np.ndarray | None
) -> Fit:
    """Maximises Σ_stages w (θ_chosen − log Σ_{j offered} exp θ_j) − Σ θ² / (2 sd²)."""
    n = len(stages.names)
    precision = 0.0 if prior_sd is None else prior_sd**-2
    gauge = max(1e-12, weight.sum() / 4 / n**2) if prior_sd is None else 0.0

    def likelihood(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        high = theta.max()
        strength = np.exp(theta - high)
        total = stages.offered @ strength
        p = stages.offered * strength / total[:, None]
        value = weight @ (theta[stages.chosen] - high - np.log(total))
        expected = p.T @ weight
        gradient = np.bincount(stages.chosen, weight, n) - expected - precision * theta
        curvature = np.diag(expected + precision) - p.T @ (weight[:, None] * p)
        return float(value - precision * (theta**2).sum() / 2), gradient, curvature + gauge

    theta = newton(likelihood, np.zeros(n) if start is None else start, "Plackett-Luce")
    theta = theta - theta.mean()
    value, _, curvature = likelihood(theta)
    value += precision * float((theta**2).sum()) / 2
    return Fit(theta, value, curvature - gauge)
