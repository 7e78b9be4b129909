"""How often each pair of votes occurs: all that agreement and correlation ask about two columns."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from luce.annotate.ratings import Ratings


@dataclass(frozen=True, eq=False)
class Crosstab:
    """Pairs of votes on one item, by prompt.

    Attributes:
        scale: the distinct votes of both sides, rising.
        first, second: for each cell (a pair of votes that occurs) the place on the scale of
            each side's vote.
        weights: cells × prompts, how often (or with what weight) the pair occurs.
        items: how many items have both votes.
    """

    scale: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weights: csr_array
    items: int

    @cached_property
    def _sides(self) -> tuple[csr_array, csr_array]:
        """For each side, scale × cells: which cells hold which vote."""
        cells, ones = np.arange(len(self.first)), np.ones(len(self.first))
        shape = (len(self.scale), len(self.first))
        return (
            csr_array((ones, (self.first, cells)), shape=shape),
            csr_array((ones, (self.second, cells)), shape=shape),
        )

    def margins(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells × draws → for each side, scale × draws: how often it gave each vote."""
        first, second = self._sides
        return first @ sums, second @ sums

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """The margins over all prompts, scale each."""
        return self.margins(np.asarray(self.weights.sum(axis=1)))


def crosstab(ratings: Ratings, first: str, second: str) -> Crosstab:
    """The crosstab of two columns over the items on which both have a vote."""
    one, other = ratings.column(first), ratings.column(second)
    both = ~(np.isnan(one) | np.isnan(other))
    prompts = ratings.prompt_numbers[both]
    return _tabulated(one[both], other[both], np.ones(len(prompts)), prompts, len(prompts))


def coincidences(ratings: Ratings) -> Crosstab:
    """Krippendorff's table of coincidences: every two votes on one item, whoever gave them, with
    the weight 2/(m − 1) of an item with m votes, for it stands for either order of the two. Items
    with one vote are left out, since nothing can be said of them.

    Krippendorff (2011), "Computing Krippendorff's alpha-reliability".
    """
    rows = np.sort(ratings.values, axis=1)  # nan goes last
    given = (~np.isnan(rows)).sum(axis=1)
    parts: list[tuple[np.ndarray, ...]] = []
    for m in np.unique(given[given >= 2]):
        items = np.flatnonzero(given == m)
        i, j = np.triu_indices(int(m), 1)
        block = rows[items]
        prompts = np.repeat(ratings.prompt_numbers[items], len(i))
        weights = np.full(len(prompts), 2 / (m - 1))
        parts.append((block[:, i].ravel(), block[:, j].ravel(), weights, prompts))
    if not parts:
        nothing = np.zeros(0)
        return _tabulated(nothing, nothing, nothing, nothing.astype(int), 0)
    one, other, weights, prompts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _tabulated(one, other, weights, prompts, int((given >= 2).sum()))


def _tabulated(
    one: np.ndarray, other: np.ndarray, weights: np.ndarray, prompts: np.ndarray, items: int
) -> Crosstab:
    scale, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    first, second = places[: len(one)], places[len(one) :]
    cells, cell = np.unique(first * len(scale) + second, return_inverse=True)
    shape = (len(cells), int(prompts.max()) + 1 if len(prompts) else 0)
    occurring = csr_array((weights, (cell, prompts)), shape=shape)
    size = max(len(scale), 1)
    return Crosstab(scale, cells // size, cells % size, occurring, items)
