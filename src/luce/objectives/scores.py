"""Scores Ω: how much a policy prefers a response.

Most are affine in the log-probability of the response,

    Ω(y) = β · [f(y) · log π(y|x) + g(y)],    f(y) > 0                              [PBDE, eq. 11]

and it is for these that the papers have closed-form optima. A score may be any other function of
a response, and of the response it is compared with.

[PBDE] Dumoulin et al. (2023), A density estimation perspective on learning from pairwise human
       preferences, arXiv:2311.14115.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.numerics import log1mexp
from luce.objectives.check import number
from luce.types import Responses

PerResponse: TypeAlias = Float[Tensor, " responses"]


@dataclass(frozen=True)
class Affine:
    """f(y) · log π(y|x) + g(y), with f(y) > 0. Neither f nor g depends on the policy."""

    f: Callable[[Responses], float | PerResponse]
    g: Callable[[Responses], float | PerResponse]

    def __call__(self, y: Responses, other: Responses) -> PerResponse:
        return self.f(y) * y.log_prob + self.g(y)


@dataclass(frozen=True)
class Score:
    """Ω(y) = `scale` · `value`(y, other).

    Attributes:
        term: `value` as a formula prints it.
        value: `Affine`, or any function of a response and of the one it is compared with; token
            weights that depend on both lengths belong here, and so do per-token `columns`.
        scale: β.
        needs_reference: whether it reads `Responses.reference`.
        needs_reward: whether it reads `Responses.reward` in place of log-probabilities.
    """

    term: str
    value: Callable[[Responses, Responses], PerResponse]
    scale: float = 1.0
    needs_reference: bool = False
    needs_reward: bool = False

    @property
    def affine(self) -> Affine | None:
        """f and g (without the scale) where the score has them, or None."""
        return self.value if isinstance(self.value, Affine) else None

    @property
    def formula(self) -> str:
        """Ω(y) with its numbers."""
        return self.term if self.scale == 1 else f"{number(self.scale)}·{self.term}"

    @property
    def margin_formula(self) -> str:
        """Ω(chosen) − Ω(rejected) with its numbers."""
        scale = "" if self.scale == 1 else f"{number(self.scale)}·"
        return f"{scale}[{self.term}(chosen) − {self.term}(rejected)]"

    def __call__(self, y: Responses, other: Responses | None = None) -> PerResponse:
        return self.scale * self.value(y, y if other is None else other)


def log_prob(beta: float = 1.0) -> Score:
    """Luce choice rule: Ω = β log π(y|x)  (SLiC, CPO; with β = 1 PBDE's f = 1, g = 0)."""
    return Score("log π", Affine(lambda y: 1.0, lambda y: 0.0), beta)


def mean_log_prob(beta: float = 2.0) -> Score:
    """Length-normalized: Ω = β log π(y|x) / |y|  (SimPO)."""
    return Score("(log π/|y|)", Affine(lambda y: 1 / y.length, lambda y: 0.0), beta)


def log_ratio(beta: float = 0.1) -> Score:
    """Implicit reward of DPO: Ω = β log π(y|x) / π_ref(y|x)."""
    value = Affine(lambda y: 1.0, lambda y: -y.reference_log_prob)
    return Score("log π/π_ref", value, beta, needs_reference=True)


def mean_log_ratio(beta: float = 5.0) -> Score:
    """Length-normalized implicit reward: Ω = (β / |y|) log π(y|x) / π_ref(y|x)  (LN-DPO)."""
    value = Affine(lambda y: 1 / y.length, lambda y: -y.reference_log_prob / y.length)
    return Score("((log π/π_ref)/|y|)", value, beta, needs_reference=True)


def length_regularized(beta: float = 0.1, alpha: float = 0.01) -> Score:
    """R-DPO: Ω = β log π(y|x)/π_ref(y|x) + α|y|  (Park et al., 2024).

    A longer chosen response starts with a larger margin, and so has less left to gain: length
    stops being a way to win.
    """
    value = Affine(lambda y: beta, lambda y: alpha * y.length - beta * y.reference_log_prob)
    term = f"({number(beta)}·log π/π_ref + {number(alpha)}·|y|)"
    return Score(term, value, needs_reference=True)


def log_odds() -> Score:
    """ORPO: Ω = log p/(1 − p), where p = exp(log π(y|x)/|y|)  (Hong et al., 2024, eq. 4, 5).

    With m = log π/|y| this is m − log(1 − eᵐ), infinite at m = 0. Closer to 0 than ε² (ε the
    machine epsilon, so 1.4e-14 in float32) the second term is held at its value there: Ω stays
    finite (below 32 in float32), and its slope is 1.
    """

    def value(y: Responses, other: Responses) -> PerResponse:
        mean = y.log_prob / y.length
        nearest = -(torch.finfo(mean.dtype).eps ** 2)
        return mean - log1mexp(mean.clamp(max=nearest))

    return Score("log-odds(π^(1/|y|))", value)


def reward() -> Score:
    """What a reward model says: Ω = r(x, y)."""

    def value(y: Responses, other: Responses) -> PerResponse:
        if y.reward is None:
            raise LuceError(
                "This objective trains a reward model, but the batch has no rewards. Set "
                "`model.kind: reward` in the recipe, or choose an objective for policies."
            )
        return y.reward

    return Score("r", value, needs_reward=True)


SCORES = {
    "log_prob": log_prob,
    "mean_log_prob": mean_log_prob,
    "log_ratio": log_ratio,
    "mean_log_ratio": mean_log_ratio,
    "length_regularized": length_regularized,
    "log_odds": log_odds,
    "reward": reward,
}
