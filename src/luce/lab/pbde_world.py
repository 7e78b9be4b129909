"""The one-dimensional world of PBDE: coffee between −10 and 10, and judgements of pairs of cups.

p* = 0.4 N(−2.5, 0.25²) + 0.6 N(2.5, 1), π_pre = N(0, 5²), both cut to [−10, 10] (Dumoulin et al.,
2023, arXiv:2311.14115, eq. 10 and section 4.3). Points lie on a grid, where every optimum is exact.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.models.tabular import (
    Outcomes,
    TabularPolicy,
    grid,
    luce_annotator,
    mixture,
    mixture_of_annotators,
)

SHARES = (0.4, 0.6)
"""Of the two tastes."""
FINE = 401
"""Points of the grid on which closed forms are compared."""


@dataclass(frozen=True)
class World:
    """The grid and the densities on it.

    Attributes:
        space: the grid.
        tastes: its two modes, what each of two people likes.
        target: p*, one person who likes both.
        pretrained: π_pre, from which the policy starts and both responses of a pair are drawn.
    """

    space: Outcomes
    tastes: tuple[TabularPolicy, TabularPolicy]
    target: TabularPolicy
    pretrained: TabularPolicy

    @property
    def one_person(self) -> Float[Tensor, "n n"]:
        """P(i ≻ j) of one Luce annotator who likes both (eq. 24)."""
        return luce_annotator(self.target)

    @property
    def two_people(self) -> Float[Tensor, "n n"]:
        """P(i ≻ j) where one of two Luce annotators is asked, and nobody notes whom (eq. 25)."""
        return mixture_of_annotators([luce_annotator(p) for p in self.tastes], SHARES)


def world(points: int) -> World:
    """The world on a grid of that many points."""
    space = grid(-10.0, 10.0, points)
    tastes = normal(space, -2.5, 0.25), normal(space, 2.5, 1.0)
    shares = torch.tensor(SHARES, dtype=torch.float64)
    return World(space, tastes, mixture(tastes, shares), normal(space, 0.0, 5.0))


def normal(space: Outcomes, mean: float, sd: float) -> TabularPolicy:
    """A normal density, cut to the grid."""
    assert space.points is not None
    return space.normalize(-0.5 * ((space.points - mean) / sd) ** 2)


@dataclass(frozen=True)
class Judged:
    """Judgements of pairs of points, those of the same two points counted together.

    The loss of a judgement is linear in its label, so that a count and the share of wins hold all
    that the judgements say.

    Attributes:
        a, b: numbers of the two points, a < b.
        share: of the judgements that a won.
        weight: share of all judgements that this pair had.
    """

    a: Int[Tensor, " cells"] = field(repr=False)
    b: Int[Tensor, " cells"] = field(repr=False)
    share: Float[Tensor, " cells"] = field(repr=False)
    weight: Float[Tensor, " cells"] = field(repr=False)


def judge(
    preference: Float[Tensor, "n n"], proposal: TabularPolicy, pairs: int, seed: int
) -> Judged:
    """Draw both points of `pairs` pairs from `proposal`, and one judgement of each."""
    draw = torch.Generator().manual_seed(seed)
    n = len(preference)
    drawn = torch.multinomial(proposal.probability, 2 * pairs, replacement=True, generator=draw)
    i, j = drawn.reshape(2, pairs)
    first = torch.rand(pairs, generator=draw, dtype=torch.float64) < preference[i, j]
    a, b = torch.minimum(i, j), torch.maximum(i, j)
    won = torch.where(i <= j, first, ~first).double()
    cells, where = torch.unique(a * n + b, return_inverse=True)
    count = torch.zeros(len(cells), dtype=torch.float64).index_add(0, where, torch.ones_like(won))
    wins = torch.zeros_like(count).index_add(0, where, won)
    a, b = cells // n, cells % n
    apart = a != b  # a point against itself says nothing
    return Judged(a[apart], b[apart], (wins / count)[apart], (count / pairs)[apart])
