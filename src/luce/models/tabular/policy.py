"""Policies on finitely many outcomes: n actions, or the points of a grid.

One class holds both. An outcome i weighs `measure[i]`: 1 for an action, the width of its cell for a
point of a grid. log π is a density with respect to that measure, so that sums over outcomes are
expectations, and on a grid they are the trapezoid rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.types import Responses


@dataclass(frozen=True)
class Outcomes:
    """Finitely many outcomes that policies are distributions on.

    Attributes:
        measure: what each weighs, > 0: 1 for an action, the cell's width for a point of a grid.
        lengths: tokens of each, as a response.
        points: where each lies, on a grid; None for actions.
    """

    measure: Float[Tensor, " outcomes"]
    lengths: Int[Tensor, " outcomes"]
    points: Float[Tensor, " outcomes"] | None = None

    def __len__(self) -> int:
        return len(self.measure)

    def normalize(self, scores: Float[Tensor, " outcomes"]) -> "TabularPolicy":
        """π ∝ exp(scores); gradients flow through it. An error if no outcome has any weight."""
        log_z = torch.logsumexp(scores + self.measure.log(), 0)
        if not torch.isfinite(log_z):
            raise LuceError(
                f"A policy needs scores with a finite sum of exponentials; its log is {log_z:g}."
            )
        return TabularPolicy(self, scores - log_z)

    def weights(self, values: Sequence[float] | Float[Tensor, " outcomes"]) -> "TabularPolicy":
        """π ∝ values, each ≥ 0."""
        return self.normalize(torch.as_tensor(values, dtype=torch.float64).log())

    def uniform(self) -> "TabularPolicy":
        """The same density everywhere."""
        return self.normalize(torch.zeros_like(self.measure))


def actions(n: int, lengths: Sequence[int] | None = None) -> Outcomes:
    """n actions, each a response of one token unless `lengths` says how many it has.

    >>> actions(3).weights([1.0, 1.0, 2.0]).probability.tolist()
    [0.25, 0.25, 0.5]
    """
    tokens = torch.ones(n, dtype=torch.int64) if lengths is None else torch.tensor(list(lengths))
    if len(tokens) != n or bool((tokens < 1).any()):
        raise LuceError(f"lengths: {n} actions need {n} lengths of 1 token or more.")
    return Outcomes(torch.ones(n, dtype=torch.float64), tokens)


def grid(low: float, high: float, n: int) -> Outcomes:
    """n equally spaced points from `low` to `high`; the two at the ends weigh half a cell.

    >>> grid(0.0, 1.0, 3).measure.tolist()
    [0.25, 0.5, 0.25]
    """
    if not (low < high and n >= 2):
        raise LuceError(
            f"A grid needs low < high and 2 points or more, not {low:g}, {high:g}, {n}."
        )
    points = torch.linspace(low, high, n, dtype=torch.float64)
    measure = torch.full((n,), (high - low) / (n - 1), dtype=torch.float64)
    measure[[0, -1]] /= 2
    return Outcomes(measure, torch.ones(n, dtype=torch.int64), points)


@dataclass(frozen=True)
class TabularPolicy:
    """A distribution on `outcomes`.

    Attributes:
        outcomes: what it is a distribution on.
        log_prob: log π of each, nats; a log-density on a grid. Normalized, if it was made by
            `Outcomes.normalize`.
    """

    outcomes: Outcomes
    log_prob: Float[Tensor, " outcomes"] = field(repr=False)

    @property
    def probability(self) -> Float[Tensor, " outcomes"]:
        """The probability of each outcome; on a grid, of its cell."""
        return self.outcomes.measure * self.log_prob.exp()

    @property
    def density(self) -> Float[Tensor, " outcomes"]:
        """exp(log π): on a grid the density at each point, among actions the probability."""
        return self.log_prob.exp()

    def expectation(self, values: Float[Tensor, " outcomes"]) -> Float[Tensor, ""]:
        """E_π[values]. An outcome of probability 0 adds nothing, even where its value is ±∞."""
        p = self.probability
        taken = p > 0
        return (torch.where(taken, p, 0.0) * torch.where(taken, values, 0.0)).sum()

    def variance(self, values: Float[Tensor, " outcomes"]) -> Float[Tensor, ""]:
        """Var_π(values)."""
        return self.expectation((values - self.expectation(values)) ** 2)

    def entropy(self) -> Float[Tensor, ""]:
        """−E_π[log π], nats."""
        return -self.expectation(self.log_prob)

    def kl(self, other: "TabularPolicy") -> Float[Tensor, ""]:
        """KL(π ‖ other), nats."""
        return self.expectation(self.log_prob - other.log_prob)

    def total_variation(self, other: "TabularPolicy") -> float:
        """½ Σ |π − other|, from 0 to 1."""
        return 0.5 * (self.probability - other.probability).abs().sum().item()

    def responses(self, reference: "TabularPolicy | None" = None) -> Responses:
        """Every outcome as a response, in order. Each token of one has an equal share of log π, so
        that an objective which counts tokens can be tried too."""
        lengths = self.outcomes.lengths

        def tokens(policy: TabularPolicy) -> Float[Tensor, " tokens"]:
            return torch.repeat_interleave(policy.log_prob / lengths, lengths)

        return Responses(tokens(self), lengths, None if reference is None else tokens(reference))

    def _points(self) -> Float[Tensor, " outcomes"]:
        if self.outcomes.points is None:
            raise LuceError("These outcomes are actions, and lie nowhere. Make them with `grid`.")
        return self.outcomes.points

    def mean(self) -> float:
        """E[x] on a grid."""
        return self.expectation(self._points()).item()

    def sd(self) -> float:
        """The standard deviation of x on a grid."""
        return math.sqrt(self.variance(self._points()).item())

    def mass(self, low: float, high: float) -> float:
        """P(low ≤ x ≤ high) on a grid; a cell that the interval cuts counts by the part inside."""
        x = self._points()
        half = (x[1] - x[0]) / 2
        left, right = (x - half).clamp(min=x[0]), (x + half).clamp(max=x[-1])
        inside = (right.clamp(max=high) - left.clamp(min=low)).clamp(min=0)
        return (inside * self.density).sum().item()

    def at(self, x: float) -> float:
        """The density at the point of the grid that is nearest to x."""
        return self.density[(self._points() - x).abs().argmin()].item()

    def peak(self) -> float:
        """The point of the grid where the density is highest."""
        return self._points()[self.log_prob.argmax()].item()


def mixture(
    policies: Sequence[TabularPolicy], weights: Float[Tensor, " policies"]
) -> TabularPolicy:
    """Σ wᵢ πᵢ / Σ wᵢ."""
    parts = torch.stack([p.log_prob for p in policies])
    log_weights = (weights / weights.sum()).log()
    return TabularPolicy(policies[0].outcomes, torch.logsumexp(parts + log_weights.unsqueeze(1), 0))


def divergence_of_pairs(
    policy: TabularPolicy, reference: TabularPolicy, sampled: TabularPolicy
) -> Float[Tensor, ""]:
    """L_μ = ½ E[ρ²], ρ = log π/π_ref(y) − log π/π_ref(y′) with y, y′ drawn independently from
    `sampled` = μ: what the second-order term of every GPO loss keeps small. It is the variance of
    the log-ratio under μ. (Tang et al., 2024, arXiv:2402.05749, eq. 6.)
    """
    return sampled.variance(policy.log_prob - reference.log_prob)
