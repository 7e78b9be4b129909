"""A game of preferences with its reference and price, its duels, and three worlds to play in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular import (
    TabularPolicy,
    actions,
    exploitability,
    geometric_mixture,
    nash_equilibrium,
    regularized_nash,
    rotation,
)
from luce.models.tabular.annotators import check_annotator


@dataclass(frozen=True)
class Game:
    """Two policies play for being preferred, and pay for leaving the reference.

    Attributes:
        preference: P[i, j] = P(i ≻ j), with P + Pᵀ = 1.
        reference: π_ref.
        eta: η ≥ 0, the price of a nat of KL(π ‖ π_ref) in win rates; 0 leaves it out.
    """

    preference: Float[Tensor, "n n"] = field(repr=False)
    reference: TabularPolicy
    eta: float

    def __post_init__(self) -> None:
        check_annotator(self.preference)
        if self.eta < 0:
            raise LuceError(f"eta: {self.eta:g} must be at least 0.")
        if len(self.reference.outcomes) != len(self.preference):
            raise LuceError(
                f"reference: {len(self.reference.outcomes)} outcomes, but the preferences are "
                f"between {len(self.preference)}."
            )

    @cached_property
    def equilibrium(self) -> TabularPolicy:
        """The policy that no other beats, price included; one of them if η = 0."""
        if self.eta == 0:
            return nash_equilibrium(self.preference)
        return regularized_nash(self.preference, self.reference, self.eta)

    @cached_property
    def damping(self) -> float:
        """1/(1 + λ²), the step with which damped answers come near the equilibrium soonest
        (`luce.models.tabular.rotation`). It is read off the equilibrium: a number for
        experiments, where that is known."""
        return 1 / (1 + rotation(self.equilibrium, self.preference, self.priced()) ** 2)

    def priced(self) -> float:
        """η; an error where it is 0 and a solver needs a price."""
        if self.eta == 0:
            raise LuceError(
                "eta: 0. This solver goes to the equilibrium at a price; set `eta`, or use "
                "`multiplicative_weights`, or `self_play` with `sppo`."
            )
        return self.eta

    def gap(self, policy: TabularPolicy) -> float:
        """The duality gap of a policy, in win rates: twice its exploitability."""
        return 2 * exploitability(policy, self.preference, self.reference, self.eta)

    def near(self, policy: TabularPolicy, share: float) -> TabularPolicy:
        """The geometric mixture ∝ π^{1 − share} π_ref^{share}."""
        return geometric_mixture([policy, self.reference], [1 - share, share])

    def duels(
        self,
        ours: TabularPolicy,
        theirs: TabularPolicy,
        count: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
        """How duels between responses of two policies end: the shares [i, j] of all duels in which
        our i met their j and won, and in which it lost; together they sum to 1.

        Args:
            count: None for the expected shares; else that many duels are drawn, opponents and
                verdicts, with `generator`.
        """
        met = torch.outer(ours.probability, theirs.probability)
        shares = torch.stack([met * self.preference, met * (1 - self.preference)])
        if count is not None:
            drawn = torch.multinomial(shares.flatten(), count, True, generator=generator)
            counts = torch.bincount(drawn, minlength=shares.numel())
            shares = counts.reshape(shares.shape).to(shares.dtype) / count
        return shares[0], shares[1]


ROCK_PAPER_SCISSORS = ((0.5, 0.9, 0.3), (0.1, 0.5, 0.8), (0.7, 0.2, 0.5))
"""The first beats the second, the second the third, the third the first."""

CONDORCET = ((0.5, 0.51, 0.51), (0.49, 0.5, 0.99), (0.49, 0.01, 0.5))
"""The first beats each of the others, just; the second beats the third by far."""


def game_of(preference: Sequence[Sequence[float]], eta: float) -> Game:
    """The game of a matrix given row by row, with a uniform reference.

    >>> [round(p, 4) for p in game_of(ROCK_PAPER_SCISSORS, 0.2).equilibrium.probability.tolist()]
    [0.4, 0.2553, 0.3447]
    """
    rows = torch.tensor([list(row) for row in preference], dtype=torch.float64)
    return Game(rows, actions(len(rows)).uniform(), eta)


def rock_paper_scissors(eta: float) -> Game:
    """Preferences that go round: no reward explains them, and the equilibrium mixes."""
    return game_of(ROCK_PAPER_SCISSORS, eta)


def condorcet(eta: float) -> Game:
    """A response that beats every other, and is not the one with the most wins (Borda's).

    Mean preferences against all three are .507, .66 and .333: Bradley-Terry and IPO on uniform
    pairs choose the second response; the game without a price, the first.
    """
    return game_of(CONDORCET, eta)
