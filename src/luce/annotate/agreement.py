"""Do annotators agree? Shares of equal votes, Cohen's and Fleiss' kappa, Krippendorff's alpha.

Votes are counted item by item; the intervals draw prompts again, with all their items. What cannot
be said (one annotator, no item in common, one category only) is nan with a sentence why.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

from luce.annotate.crosstab import Crosstab, coincidences, crosstab
from luce.annotate.measure import (
    Measure,
    Statistic,
    measure,
    measured,
    ratio,
    share,
    without_spread,
)
from luce.annotate.ratings import Ratings
from luce.errors import LuceError, did_you_mean
from luce.intervals import RESAMPLES

Sums: TypeAlias = np.ndarray


def percent_agreement(
    ratings: Ratings, first: str, second: str, *, seed: int = 0, resamples: int = RESAMPLES
) -> Measure:
    """The share of items on which two annotators gave the same vote, in [0, 1], among the items on
    which both voted. A tie is a vote like others.

    >>> ratings = Ratings(np.array([[1, 1], [2, 1], [2, 2], [1, np.nan]]), ("anna", "ben"))
    >>> round(percent_agreement(ratings, "anna", "ben").value, 3)
    0.667
    """
    asked = share_of_equal(crosstab(ratings, first, second), first, second)
    return measured([asked], seed=seed, resamples=resamples)[0]


def share_of_equal(table: Crosstab, first: str, second: str) -> Statistic:
    """`percent_agreement` of a crosstab."""
    same = table.first == table.second
    return Statistic(
        table.weights,
        lambda sums: ratio(sums[same].sum(axis=0), sums.sum(axis=0)),
        lambda found: measure(share(found), no_common_item(first, second)),
    )


def cohen_kappa(
    ratings: Ratings,
    first: str,
    second: str,
    weights: str = "none",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Measure:
    """Cohen's kappa of two annotators: κ = 1 − Σ d_ij o_ij / Σ d_ij e_ij over the items on which
    both voted; o_ij counts the pairs of votes that occur, e_ij = n_i· n_·j / n those that would by
    chance. 1: always the same; 0: as by chance.

    Cohen (1960, "A coefficient of agreement for nominal scales"), with d = 1 for any two different
    votes ("none"); Cohen (1968, "Weighted kappa"), with d = |v_i − v_j| ("linear") or
    (v_i − v_j)² ("quadratic"): distances of the votes as numbers, so that a grade nobody gave still
    counts.

    Raises:
        LuceError: weights are none of the three.

    >>> ratings = Ratings(np.array([[1, 1], [1, 1], [2, 2], [2, 1]]), ("anna", "ben"))
    >>> cohen_kappa(ratings, "anna", "ben").value
    0.5
    """
    asked = kappa_of(crosstab(ratings, first, second), first, second, weights)
    return measured([asked], seed=seed, resamples=resamples)[0]


def kappa_of(table: Crosstab, first: str, second: str, weights: str = "none") -> Statistic:
    """`cohen_kappa` of a crosstab."""
    if weights not in _DISTANCES:
        raise LuceError(f"cohen_kappa: no weights {weights!r}. {did_you_mean(weights, _DISTANCES)}")
    expected = _DISTANCES[weights]
    gap = np.abs(table.scale[table.first] - table.scale[table.second])
    distance = {"none": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[weights]

    def kappa(sums: Sums) -> np.ndarray:
        a, b = table.margins(sums)
        n = sums.sum(axis=0)
        by_chance = np.where(_varied(a + b), expected(table.scale, a, b), 0.0)
        return 1 - ratio(n * (distance @ sums), by_chance)

    why = _one_category(table.scale) or no_common_item(first, second)
    return Statistic(
        table.weights,
        kappa,
        lambda found: measure(without_spread(found, *table.totals()), why),
    )


def fleiss_kappa(ratings: Ratings, *, seed: int = 0, resamples: int = RESAMPLES) -> Measure:
    """Fleiss' kappa of any number of annotators: κ = (P̄ − P̄ₑ) / (1 − P̄ₑ).

    P̄ is the mean over items of the share of pairs of votes on the item that are equal, and
    P̄ₑ = Σ_j p_j², with p_j the mean over items of the share of the item's votes that are j: Fleiss
    (1971, "Measuring nominal scale agreement among many raters"), where all items have equally many
    votes, whoever gave them. Where they have not, these means over items are Gwet's generalisation
    (2014, "Handbook of Inter-Rater Reliability"): each item counts once, however many votes it has.
    Items with fewer than two votes are left out.

    >>> ratings = Ratings(np.array([[1, 1, 1], [2, 2, 1], [2, 2, np.nan]]), ("a", "b", "c"))
    >>> round(fleiss_kappa(ratings).value, 3)
    0.55
    """
    _, kappa = of_all_annotators(ratings)
    return measured([kappa], seed=seed, resamples=resamples)[0]


def observed_agreement(ratings: Ratings, *, seed: int = 0, resamples: int = RESAMPLES) -> Measure:
    """The probability that two votes on one item, drawn from those it has, are equal: P̄ of Fleiss
    (1971). The mean over items with two votes or more; in [0, 1].

    >>> observed_agreement(Ratings(np.array([[1, 1, 2], [2, 2, np.nan]]), ("a", "b", "c"))).value
    0.6666666666666666
    """
    observed, _ = of_all_annotators(ratings)
    return measured([observed], seed=seed, resamples=resamples)[0]


def of_all_annotators(ratings: Ratings) -> tuple[Statistic, Statistic]:
    """`observed_agreement` and `fleiss_kappa`, which are of the same sums."""
    sums, categories = _sums_of_items(ratings)
    shares = np.asarray(sums.sum(axis=1))[2:]
    why = _why_not(ratings, categories)

    def observed(sums: Sums) -> np.ndarray:
        return ratio(sums[1], sums[0])

    def kappa(sums: Sums) -> np.ndarray:
        n, shares = sums[0], sums[2:]
        # 1 − Σ p² alone: rounding would leave a trace of chance where there is one category
        by_chance = np.where(_varied(shares), 1 - (ratio(shares, n) ** 2).sum(axis=0), 0.0)
        return 1 - ratio(1 - observed(sums), by_chance)

    return (
        Statistic(sums, observed, lambda found: measure(share(found), why)),
        Statistic(sums, kappa, lambda found: measure(without_spread(found, shares, shares), why)),
    )


def _sums_of_items(ratings: Ratings) -> tuple[csr_array, np.ndarray]:
    """What each prompt's items with two votes or more add, and the categories: their number, their
    shares of equal pairs of votes, and for each category its share of the item's votes."""
    given = ~np.isnan(ratings.values)
    usable = given.sum(axis=1) >= 2
    given, prompts = given[usable], ratings.prompt_numbers[usable]
    items, m = len(prompts), given.sum(axis=1)
    categories, category = np.unique(ratings.values[usable][given], return_inverse=True)
    item = np.nonzero(given)[0]
    shape = (items, len(categories))
    counts = csr_array((np.ones(len(item)), (item, category)), shape=shape)
    equal = (np.asarray((counts**2).sum(axis=1)) - m) / (m * (m - 1))
    every = np.zeros(items, dtype=int)
    rows = np.concatenate([every, every + 1, category + 2])
    columns = np.concatenate([prompts, prompts, prompts[item]])
    entries = np.concatenate([every + 1.0, equal, 1 / m[item]])
    shape = (len(categories) + 2, int(prompts.max()) + 1 if items else 0)
    return csr_array((entries, (rows, columns)), shape=shape), categories


def krippendorff_alpha(
    ratings: Ratings, level: str = "nominal", *, seed: int = 0, resamples: int = RESAMPLES
) -> Measure:
    """Krippendorff's alpha of any number of annotators, whoever missed whichever item:
    α = 1 − (n − 1) Σ o_ck δ²_ck / Σ n_c n_k δ²_ck.

    o_ck are coincidences, n_c = Σ_k o_ck and n their total: votes on items with two or more. δ is
    1 between different votes ("nominal"), the difference of their values ("interval"), or how many
    votes lie between, half of either's own included ("ordinal"; the difference of average ranks).

    Krippendorff (2011), "Computing Krippendorff's alpha-reliability", C and D.

    Raises:
        LuceError: the level is none of the three.

    >>> ratings = Ratings(np.array([[1, 1], [2, 2], [2, 1], [1, np.nan]]), ("anna", "ben"))
    >>> round(krippendorff_alpha(ratings).value, 3)
    0.444
    """
    asked = alpha_of(coincidences(ratings), ratings, level)
    return measured([asked], seed=seed, resamples=resamples)[0]


def alpha_of(table: Crosstab, ratings: Ratings, level: str = "nominal") -> Statistic:
    """`krippendorff_alpha` of the votes' coincidences."""
    if level not in _LEVELS:
        raise LuceError(f"krippendorff_alpha: no level {level!r}. {did_you_mean(level, _LEVELS)}")

    def alpha(sums: Sums) -> np.ndarray:
        first, second = table.margins(sums)
        counts = (first + second) / 2  # a cell stands for both orders
        n = counts.sum(axis=0)
        if level == "nominal":
            apart = (table.first != table.second)[:, None]
            by_chance = n**2 - (counts**2).sum(axis=0)
        else:
            values = table.scale[:, None] if level == "interval" else mid_ranks(counts)
            values = values - ratio((counts * values).sum(axis=0), n)
            apart = (values[table.first] - values[table.second]) ** 2
            by_chance = 2 * n * (counts * values**2).sum(axis=0)
        by_chance = np.where(_varied(counts), by_chance, 0.0)
        return 1 - ratio((n - 1) * (apart * sums).sum(axis=0), by_chance)

    why = _why_not(ratings, table.scale)
    return Statistic(
        table.weights, alpha, lambda found: measure(without_spread(found, *table.totals()), why)
    )


def mid_ranks(counts: np.ndarray) -> np.ndarray:
    """Scale × draws, how often each value occurs → its average rank less ½: the number of values
    below and half of those equal."""
    return np.cumsum(counts, axis=0) - counts / 2


def no_common_item(first: str, second: str) -> str:
    """Why nothing can be said of two columns that share no item."""
    return f"There is no item on which both {first} and {second} have a vote."


def _unequal(scale: np.ndarray, a: Sums, b: Sums) -> np.ndarray:
    return a.sum(axis=0) * b.sum(axis=0) - (a * b).sum(axis=0)


def _linear(scale: np.ndarray, a: Sums, b: Sums) -> np.ndarray:
    """Σ_ij a_i b_j |v_i − v_j|: each gap of the scale counts for all pairs that lie across it."""
    below_a, below_b = np.cumsum(a, axis=0)[:-1], np.cumsum(b, axis=0)[:-1]
    above_a, above_b = a.sum(axis=0) - below_a, b.sum(axis=0) - below_b
    return np.diff(scale) @ (below_a * above_b + above_a * below_b)


def _quadratic(scale: np.ndarray, a: Sums, b: Sums) -> np.ndarray:
    """Σ_ij a_i b_j (v_i − v_j)², from the moments of either side about the middle of the scale."""
    v = scale - scale.mean() if len(scale) else scale
    return (v**2 @ a) * b.sum(axis=0) - 2 * (v @ a) * (v @ b) + a.sum(axis=0) * (v**2 @ b)


_DISTANCES: dict[str, Callable[[np.ndarray, Sums, Sums], np.ndarray]] = {
    "none": _unequal,
    "linear": _linear,
    "quadratic": _quadratic,
}
_LEVELS = ("nominal", "ordinal", "interval")


def _varied(counts: np.ndarray) -> np.ndarray:
    """Draws in which at least two categories occur; rounding may hide it in a difference."""
    return (counts > 0).sum(axis=0) > 1


def _one_category(categories: np.ndarray) -> str:
    if len(categories) != 1:
        return ""
    return f"Every vote is {categories[0]:g}; with one category all agreement may be by chance."


def _why_not(ratings: Ratings, categories: np.ndarray) -> str:
    if len(ratings.names) < 2:
        return "There is one annotator; agreement is between two or more."
    return _one_category(categories) or "No item has votes of two annotators."
