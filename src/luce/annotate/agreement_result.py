"""Everything about the agreement of one table of votes, in one object."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from luce.annotate.agreement import (
    alpha_of,
    kappa_of,
    of_all_annotators,
    share_of_equal,
)
from luce.annotate.crosstab import Crosstab, coincidences, crosstab
from luce.annotate.measure import Measure, Statistic, measured
from luce.annotate.ratings import Ratings
from luce.errors import LuceError, did_you_mean
from luce.intervals import RESAMPLES

MOST_PAIRS = 15
"""Pairs of annotators that are told one by one; of more, the extremes."""

MOST_CATEGORIES = 12
"""Different votes that are counted one by one."""

_LEVELS: dict[str, tuple[str, ...]] = {
    "nominal": ("nominal",),
    "ordinal": ("nominal", "ordinal"),
    "interval": ("nominal", "ordinal", "interval"),
}
_WEIGHTS: dict[str, str | None] = {
    "nominal": None,
    "ordinal": "linear",
    "interval": "quadratic",
}


@dataclass(frozen=True)
class PairAgreement:
    """How far two annotators agree on the items on which both have a vote.

    Attributes:
        first, second: their names.
        items: with votes of both.
        agreement: share of these items on which the votes are equal.
        kappa: Cohen's.
        weighted_kappa: with linear weights on an ordinal scale, quadratic ones on an interval
            scale; None on a nominal scale.
    """

    first: str
    second: str
    items: int
    agreement: Measure
    kappa: Measure
    weighted_kappa: Measure | None


@dataclass(frozen=True)
class Agreement:
    """Who agrees with whom in a table of votes.

    Attributes:
        names: the annotators.
        level: how the votes were read: "nominal", "ordinal" or "interval".
        items, prompts: with any vote, and how many prompts they belong to.
        shared: items with two votes or more; all below is about these.
        votes: annotator → how many.
        categories: vote → how often it was given, rising.
        observed: the probability that two votes on one item are equal.
        fleiss: Fleiss' kappa.
        alpha: level → Krippendorff's alpha, for each level that the votes allow.
        pairs: every two annotators.
    """

    names: tuple[str, ...]
    level: str
    items: int
    prompts: int
    shared: int
    votes: dict[str, int]
    categories: dict[float, int]
    observed: Measure
    fleiss: Measure
    alpha: dict[str, Measure]
    pairs: tuple[PairAgreement, ...]

    def matrix(self, of: str = "agreement") -> tuple[np.ndarray, np.ndarray]:
        """annotators × annotators, symmetric: the values of `agreement`, `kappa` or
        `weighted_kappa`, and how many items each is of. An annotator agrees with themself: 1.

        Raises:
            LuceError: there is no such statistic in the table.
        """
        known = ["agreement", "kappa", *(["weighted_kappa"] if self.level != "nominal" else [])]
        if of not in known:
            raise LuceError(f"No {of!r} between annotators here. {did_you_mean(of, known)}")
        place = {name: number for number, name in enumerate(self.names)}
        values = np.eye(len(place))
        counts = np.diag([self.votes[name] for name in self.names])
        for pair in self.pairs:
            i, j = place[pair.first], place[pair.second]
            found = {
                "agreement": pair.agreement,
                "kappa": pair.kappa,
                "weighted_kappa": pair.weighted_kappa,
            }[of]
            assert found is not None
            values[i, j] = values[j, i] = found.value
            counts[i, j] = counts[j, i] = pair.items
        return values, counts

    def plain(self) -> dict[str, Any]:
        """Values for JSON; numbers that are not finite are None."""
        return {
            "names": list(self.names),
            "level": self.level,
            "items": self.items,
            "prompts": self.prompts,
            "shared": self.shared,
            "votes": self.votes,
            "categories": {f"{vote:g}": count for vote, count in self.categories.items()},
            "observed": self.observed.plain(),
            "fleiss": self.fleiss.plain(),
            "alpha": {level: found.plain() for level, found in self.alpha.items()},
            "pairs": [_plain(pair) for pair in self.pairs],
        }

    def lines(self) -> list[str]:
        """Words and numbers for a terminal; intervals are 95 %, by drawing prompts again."""
        given = ", ".join(f"{vote:g} × {count:,}" for vote, count in self.categories.items())
        if len(self.categories) > MOST_CATEGORIES:
            low, high = min(self.categories), max(self.categories)
            given = f"{len(self.categories):,} different ones from {low:g} to {high:g}"
        said = [
            f"{len(self.names):,} annotators, {sum(self.votes.values()):,} votes on "
            f"{self.items:,} items of {self.prompts:,} prompts; {self.shared:,} items have two or "
            "more.",
            f"Votes ({self.level}): {given or 'none'}.",
            f"two votes on an item are equal  {self.observed.words()}",
            f"Fleiss' kappa                   {self.fleiss.words()}",
        ]
        for level, found in self.alpha.items():
            said.append(f"{f'Krippendorff alpha, {level}':32}{found.words()}")
        return said + self._pair_lines()

    def _pair_lines(self) -> list[str]:
        ranked = sorted(
            (p for p in self.pairs if p.items), key=lambda p: p.agreement.value, reverse=True
        )
        apart = len(self.pairs) - len(ranked)
        tail = [f"{apart:,} pairs of annotators have no item in common."] if apart else []
        if len(ranked) <= MOST_PAIRS:
            return [_line(pair) for pair in ranked] + tail
        ends = [*ranked[:5], *ranked[-5:]]
        head = f"Of {len(ranked):,} pairs of annotators, the five that agree most and least:"
        return [head, *(_line(pair) for pair in ends), *tail]


def agreement(
    ratings: Ratings, level: str = "nominal", *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Everything about the agreement of one table of votes.

    Args:
        level: what the numbers of the votes mean. "nominal": names only; "ordinal": places in an
            order (a tie between 0 and 1 is ½); "interval": amounts whose differences compare.
        seed, resamples: of the intervals.

    Raises:
        LuceError: the level is none of the three.

    >>> ratings = Ratings(np.array([[1, 1], [2, 1], [2, 2], [1, 1]]), ("anna", "ben"))
    >>> found = agreement(ratings, resamples=50)
    >>> found.pairs[0].agreement.value, found.pairs[0].kappa.value
    (0.75, 0.5)
    """
    if level not in _LEVELS:
        raise LuceError(f"agreement: no level {level!r}. {did_you_mean(level, _LEVELS)}")
    given = ~np.isnan(ratings.values)
    categories, counts = np.unique(ratings.values[given], return_counts=True)
    table, levels, weights = coincidences(ratings), _LEVELS[level], _WEIGHTS[level]
    asked = [*of_all_annotators(ratings), *(alpha_of(table, ratings, each) for each in levels)]
    couples = [
        (first, second, crosstab(ratings, first, second))
        for first, second in combinations(ratings.names, 2)
    ]
    for first, second, both in couples:
        asked += _of_pair(both, first, second, weights)
    answers = iter(measured(asked, seed=seed, resamples=resamples))
    return Agreement(
        ratings.names,
        level,
        items=int(given.any(axis=1).sum()),
        prompts=len(np.unique(ratings.prompt_numbers[given.any(axis=1)])),
        shared=table.items,
        votes=dict(zip(ratings.names, given.sum(axis=0).tolist(), strict=True)),
        categories=dict(zip(categories.tolist(), counts.tolist(), strict=True)),
        observed=next(answers),
        fleiss=next(answers),
        alpha={each: next(answers) for each in levels},
        pairs=tuple(
            PairAgreement(
                first,
                second,
                both.items,
                agreement=next(answers),
                kappa=next(answers),
                weighted_kappa=next(answers) if weights else None,
            )
            for first, second, both in couples
        ),
    )


def _of_pair(both: Crosstab, first: str, second: str, weights: str | None) -> list[Statistic]:
    asked = [share_of_equal(both, first, second), kappa_of(both, first, second)]
    return asked + ([kappa_of(both, first, second, weights)] if weights else [])


def _plain(pair: PairAgreement) -> dict[str, Any]:
    found = {"agreement": pair.agreement, "kappa": pair.kappa}
    if pair.weighted_kappa is not None:
        found["weighted_kappa"] = pair.weighted_kappa
    names = {"first": pair.first, "second": pair.second, "items": pair.items}
    return names | {name: statistic.plain() for name, statistic in found.items()}


def _line(pair: PairAgreement) -> str:
    text = (
        f"{pair.first}, {pair.second}: equal on {pair.agreement.words()} of {pair.items:,} items, "
        f"kappa {pair.kappa.words()}"
    )
    weighted = pair.weighted_kappa
    return text if weighted is None else f"{text}, weighted {weighted.words()}"
