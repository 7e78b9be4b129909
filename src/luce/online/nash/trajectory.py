"""What a solver does, step by step, and how far from the equilibrium it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular import TabularPolicy, exploitabilities
from luce.online.nash.game import Game


@dataclass(frozen=True)
class Trajectory:
    """The policies of a solver, the start included.

    Attributes:
        game: what is played.
        log_probs: log π of each step, nats.
        gap: the duality gap of each, in win rates.
        divergence: KL(π* ‖ π) of each, nats; infinite where π never takes an action that the
            equilibrium π* takes.
    """

    game: Game
    log_probs: Float[Tensor, "steps n"] = field(repr=False)
    gap: Float[Tensor, " steps"] = field(repr=False)
    divergence: Float[Tensor, " steps"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.gap)

    @property
    def policy(self) -> TabularPolicy:
        """The last one."""
        return TabularPolicy(self.game.reference.outcomes, self.log_probs[-1])

    @property
    def probabilities(self) -> Float[Tensor, "steps n"]:
        """π of each step."""
        return self.log_probs.exp() * self.game.reference.outcomes.measure

    @property
    def distance(self) -> float:
        """The largest difference of a probability between the last policy and the equilibrium."""
        wanted = self.game.equilibrium.probability
        return (self.probabilities[-1] - wanted).abs().max().item()

    def average(self, last: int | None = None) -> TabularPolicy:
        """The mean of the last policies, by default of all: Σ π_t/T, not of their logarithms."""
        return self.game.reference.outcomes.normalize(_log_mean(self.log_probs[-(last or 0) :]))

    def averages(self) -> "Trajectory":
        """The mean of the policies so far, at each step."""
        steps = torch.arange(1, len(self) + 1, dtype=self.log_probs.dtype).unsqueeze(1)
        return measured(self.game, torch.logcumsumexp(self.log_probs, 0) - steps.log())

    def swing(self, last: int) -> float:
        """How far a probability still moves: the largest range of one over the last steps."""
        tail = self.probabilities[-last:]
        return (tail.amax(0) - tail.amin(0)).max().item()


def _log_mean(log_probs: Float[Tensor, "steps n"]) -> Float[Tensor, " n"]:
    return torch.logsumexp(log_probs, 0) - torch.tensor(float(len(log_probs))).log()


def measured(game: Game, log_probs: Float[Tensor, "steps n"]) -> Trajectory:
    """Policies with their gaps and divergences."""
    wanted = game.equilibrium
    mass = wanted.probability
    taken = mass > 0
    ratio = torch.where(taken, wanted.log_prob - log_probs, 0.0)
    gap = 2 * exploitabilities(log_probs, game.preference, game.reference, game.eta)
    return Trajectory(game, log_probs, gap, torch.where(taken, mass * ratio, 0.0).sum(1))


def solve(game: Game, policies: Iterator[TabularPolicy], steps: int) -> Trajectory:
    """The start and the next `steps` policies of a solver, measured.

    >>> from luce.online.nash import fixed_point, rock_paper_scissors
    >>> game = rock_paper_scissors(eta=1.0)
    >>> found = solve(game, fixed_point(game), 30)
    >>> len(found), found.distance < 1e-12
    (31, True)
    """
    if steps < 1:
        raise LuceError(f"steps: {steps} must be at least 1.")
    taken = list(islice(policies, steps + 1))
    return measured(game, torch.stack([p.log_prob for p in taken]))
