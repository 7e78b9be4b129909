"""Responses of any length: chains of tokens with an end, and the mass that never gets there."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError


def survival(end: Float[Tensor, " steps"]) -> Float[Tensor, " steps"]:
    """S(T) = P(no end among the first T tokens) for T = 1, 2, …, where the t-th token is the end
    with probability `end[t − 1]`, whatever came before.

    >>> round(survival(torch.full((100,), 0.01, dtype=torch.float64))[-1].item(), 6)
    0.366032
    """
    return torch.log1p(-end).cumsum(0).exp()


def never_ending_mass(end: Float[Tensor, " steps"], tail: float = 0.0) -> tuple[float, float]:
    """(low, high) around the probability that a response never ends.

    `end` are the first end probabilities and `tail` the sum of all those after them, which must be
    finite or there is nothing to bound: S(∞) lies in [S(T) (1 − tail), S(T) e^{−tail}]. With an
    infinite `tail` both are 0.
    """
    if tail < 0:
        raise LuceError(f"tail: {tail:g} is a sum of probabilities, and must not be negative.")
    last = survival(end)[-1].item()
    return last * max(0.0, 1 - tail), last * math.exp(-tail)


@dataclass(frozen=True)
class EndingChain:
    """A Markov chain of tokens with an end token.

    Attributes:
        start: P(state) before the first token.
        step: step[i, j] = P(next token leads to state j | state i).
        end: P(the next token is the end | state i); with its row of `step` it sums to 1.
    """

    start: Float[Tensor, " states"]
    step: Float[Tensor, "states states"]
    end: Float[Tensor, " states"]

    def __post_init__(self) -> None:
        for name, total in (("start", self.start.sum()), *enumerate(self.step.sum(1) + self.end)):
            if abs(total.item() - 1) > 1e-9:
                place = name if name == "start" else f"step[{name}] with end[{name}]"
                raise LuceError(f"{place}: the probabilities sum to {total.item():g}, not to 1.")

    def survival(self, tokens: int) -> float:
        """S(T) = P(no end among the first T tokens)."""
        return (self.start @ torch.linalg.matrix_power(self.step, tokens)).sum().item()

    def _reaches(self, targets: Tensor, step: Tensor) -> Tensor:
        """Which states can reach one of `targets` along `step`."""
        reached = targets.clone()
        for _ in range(len(targets)):
            reached = reached | ((step > 0) & reached).any(1)
        return reached

    def infinite_mass(self) -> float:
        """P(the end never comes): that of falling into states from which no end can be reached."""
        ends = self._reaches(self.end > 0, self.step)
        if bool(ends.all()):
            return 0.0
        within = self.step[ends][:, ends]
        eye = torch.eye(len(within), dtype=self.step.dtype)
        finite = torch.linalg.solve(eye - within, self.end[ends])
        return 1 - (self.start[ends] @ finite).item()

    def spectral_radius(self) -> float:
        """ρ: P(length = T) falls like ρ^T, T → ∞. Only states count that a response which ends can
        pass through; 0 where lengths are bounded."""
        ends = self._reaches(self.end > 0, self.step)
        alive = ends & self._reaches(self.start > 0, self.step.T)
        if not bool(alive.any()):
            return 0.0
        return torch.linalg.eigvals(self.step[alive][:, alive]).abs().max().item()

    def critical_reward(self, beta: float) -> float:
        """The reward per token, c = −β log ρ, from which on Z = E[exp(c·length/β)] is infinite: no
        policy is optimal, DPO's partition function does not exist."""
        radius = self.spectral_radius()
        return -beta * math.log(radius) if radius > 0 else math.inf

    def partition(self, reward_per_token: float, beta: float) -> float:
        """Z = Σ_y π_ref(y) exp(c |y|/β) over responses that end, |y| counting the end token;
        infinite from `critical_reward` on.

        >>> one = torch.ones(1, dtype=torch.float64)
        >>> chain = EndingChain(one, 0.9 * one.unsqueeze(0), 0.1 * one)
        >>> round(chain.partition(0.005, beta=0.1), 6), chain.partition(0.02, beta=0.1)
        (1.952003, inf)
        """
        ends = self._reaches(self.end > 0, self.step)
        alive = ends & self._reaches(self.start > 0, self.step.T)
        if not bool(alive.any()):
            return 0.0
        if reward_per_token >= self.critical_reward(beta):
            return math.inf
        q = math.exp(reward_per_token / beta)
        within = self.step[alive][:, alive]
        eye = torch.eye(len(within), dtype=self.step.dtype)
        total = torch.linalg.solve(eye - q * within, q * self.end[alive])
        return (self.start[alive] @ total).item()
