"""Correlations between evaluators, or between rating dimensions, over the items both have.

Pairwise complete: a pair of columns is compared on the items on which both have a value, so that
cells may rest on different items; each says on how many.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from luce.annotate.agreement import mid_ranks, no_common_item
from luce.annotate.crosstab import Crosstab, crosstab
from luce.annotate.measure import Measure, Statistic, measure, measured, ratio
from luce.annotate.ratings import Ratings
from luce.errors import LuceError, did_you_mean
from luce.intervals import RESAMPLES, Estimate

_TITLES = {"pearson": "Pearson's r", "spearman": "Spearman's rho"}

FEWEST = 3
"""Items of which a correlation is made; two points always lie on a line."""

MOST_PAIRS = 15
"""Pairs that are told one by one; of more, the extremes."""


@dataclass(frozen=True)
class Correlation:
    """The correlation of two columns.

    Attributes:
        first, second: their names.
        items: on which both have a value.
        measure: the correlation in [−1, 1] with its interval, or why there is none.
    """

    first: str
    second: str
    items: int
    measure: Measure


@dataclass(frozen=True)
class Correlations:
    """The correlations of every two columns of a table.

    Attributes:
        method: "pearson" or "spearman".
        names: the columns.
        items: column → how many values it has.
        constant: the columns that hold one value only, or none.
        pairs: every two columns.
    """

    method: str
    names: tuple[str, ...]
    items: dict[str, int]
    constant: tuple[str, ...]
    pairs: tuple[Correlation, ...]

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """columns × columns, symmetric: the correlations, and the items of each. A column goes
        with itself: 1, or nan where it is constant."""
        place = {name: number for number, name in enumerate(self.names)}
        values = np.diag([np.nan if name in self.constant else 1.0 for name in self.names])
        counts = np.diag([self.items[name] for name in self.names])
        for pair in self.pairs:
            i, j = place[pair.first], place[pair.second]
            values[i, j] = values[j, i] = pair.measure.value
            counts[i, j] = counts[j, i] = pair.items
        return values, counts

    def plain(self) -> dict[str, Any]:
        """Values for JSON; numbers that are not finite are None."""
        return {
            "method": self.method,
            "names": list(self.names),
            "items": self.items,
            "constant": list(self.constant),
            "pairs": [
                {"first": pair.first, "second": pair.second, "items": pair.items}
                | pair.measure.plain()
                for pair in self.pairs
            ],
        }

    def lines(self) -> list[str]:
        """Words and numbers for a terminal; intervals are 95 %, by drawing prompts again."""
        known = [pair for pair in self.pairs if not pair.measure.why]
        ranked = sorted(known, key=lambda pair: pair.measure.value, reverse=True)
        head = [f"{_TITLES[self.method]} of {len(self.names):,} columns:"]
        if len(ranked) > MOST_PAIRS:
            head = [f"{head[0][:-1]}; of {len(ranked):,} pairs, the five highest and lowest:"]
            ranked = [*ranked[:5], *ranked[-5:]]
        said = [f"{p.first}, {p.second}: {p.measure.words()} on {p.items:,} items" for p in ranked]
        unknown = [pair.measure.why for pair in self.pairs if pair.measure.why]
        return head + said + list(dict.fromkeys(unknown))


def correlations(
    ratings: Ratings,
    method: str = "pearson",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Correlations:
    """Pearson's r or Spearman's ρ of every two columns, with intervals by prompt.

    Spearman's is Pearson's of the ranks, equal values at their average rank (Spearman, 1904), among
    the items of the pair, and ranked again in each draw of the bootstrap.

    Args:
        ratings: items × evaluators, or items × dimensions. Of several evaluators on several
            dimensions, make an item of each response with each evaluator.
        seed, resamples: of the intervals.

    Raises:
        LuceError: the method is none of the two.

    >>> found = correlations(Ratings(np.array([[1, 2], [2, 4], [3, 5]]), ("anna", "ben")))
    >>> round(found.pairs[0].measure.value, 3)
    0.982
    """
    if method not in _TITLES:
        raise LuceError(f"correlations: no method {method!r}. {did_you_mean(method, _TITLES)}")
    couples = [(*names, crosstab(ratings, *names)) for names in combinations(ratings.names, 2)]
    answers = measured(
        [_correlation(table, first, second, method) for first, second, table in couples],
        seed=seed,
        resamples=resamples,
    )
    given = {name: column[~np.isnan(column)] for name, column in _columns(ratings).items()}
    return Correlations(
        method,
        ratings.names,
        {name: len(values) for name, values in given.items()},
        tuple(name for name, values in given.items() if len(np.unique(values)) < 2),
        tuple(
            Correlation(first, second, table.items, answer)
            for (first, second, table), answer in zip(couples, answers, strict=True)
        ),
    )


def _columns(ratings: Ratings) -> dict[str, np.ndarray]:
    return {name: ratings.column(name) for name in ratings.names}


def _correlation(table: Crosstab, first: str, second: str, method: str) -> Statistic:
    scale = table.scale[:, None]

    def value(sums: np.ndarray) -> np.ndarray:
        a, b = table.margins(sums)
        n = sums.sum(axis=0)
        x, y = (mid_ranks(a), mid_ranks(b)) if method == "spearman" else (scale, scale)
        # about the means, so that large values of little spread lose no digits
        x, y = x - ratio((a * x).sum(axis=0), n), y - ratio((b * y).sum(axis=0), n)
        common = (sums * x[table.first] * y[table.second]).sum(axis=0)
        varied = ((a > 0).sum(axis=0) > 1) & ((b > 0).sum(axis=0) > 1)
        spread = np.sqrt((a * x**2).sum(axis=0) * (b * y**2).sum(axis=0))
        # rounding may leave a perfect correlation a little above 1
        return np.clip(ratio(common, np.where(varied & (n >= FEWEST), spread, 0.0)), -1.0, 1.0)

    why = _why(table, first, second)
    return Statistic(table.weights, value, lambda found: measure(_with_spread(found), why))


def _with_spread(found: Estimate) -> Estimate:
    """Points on one line stay there however they are drawn; the interval is then unknown, not of
    width 0."""
    if found.high - found.low < 1e-9:
        return Estimate(found.value, math.nan, math.nan, found.n)
    return found


def _why(table: Crosstab, first: str, second: str) -> str:
    if table.items == 0:
        return no_common_item(first, second)
    for name, places in ((first, table.first), (second, table.second)):
        if len(np.unique(places)) == 1:
            value = table.scale[places[0]]
            return (
                f"{name} is {value:g} on every item it shares with "
                f"{second if name == first else first}; what is constant correlates with nothing."
            )
    return f"{first} and {second} share {table.items} items; a correlation needs {FEWEST}."
